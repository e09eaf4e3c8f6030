"""graphc, declared with its public API. Modes: ``fit`` takes the given number of threads, ``auto`` (what a user gets)
chooses it by measuring."""

from __future__ import annotations

import graphc as gc
from tests.benchmarks import graphc_networks
from tests.benchmarks import workloads as wl


def activation(name: str, z: gc.Tensor) -> gc.Tensor:
    if name == "custom":
        return z * gc.sigmoid(1.7 * z) + gc.sin(z) ** 2 / 10
    return getattr(gc.activations, name)(z)



class Peer:
    """One ``fit`` a call, without shuffling; the parameters and the optimizer's state go on from call to call.

    Several copies are one ``sweep`` a call, which begins at the initial weights.
    """

    def __init__(self, w: wl.Workload, mode: str, threads: int) -> None:
        X, Y = wl.data(w)
        self.model = declared(w)
        self.data = {"X": X, "T": Y}
        wanted = None if mode == "auto" else threads
        self.options = {"optimizer": optimizer(w), "batch_size": w.batch, "shuffle": False, "threads": wanted}
        self.restarts = w.copies > 1

    def run(self, n: int, keep: bool = False) -> list[float]:
        record = "step" if keep else "epoch"
        train = self.model.sweep if self.restarts else self.model.fit
        losses = train(self.data, steps=n, record=record, **self.options).history["loss"]
        if not keep:
            return []
        return losses.mean(axis=0).tolist() if self.restarts else [float(v) for v in losses]


def declared(w: wl.Workload) -> gc.Model:
    if w.network:
        output, J = graphc_networks.declared(w.network)
    else:
        output = network(w, gc.input("X", ("n", w.sizes[0])))
        J = loss(w, output)
    return gc.Model(output=output, loss=J, dtype=w.dtype)


def network(w: wl.Workload, h: gc.Tensor) -> gc.Tensor:
    params = {name: gc.param(name, value.shape, value) for name, value in wl.init(w).items()}
    for layer in range(wl.depth(w)):
        h = h @ params[f"W{layer}"] + params[f"b{layer}"]
        if layer < wl.depth(w) - 1:
            h = activation(w.act, h)
    return h


def loss(w: wl.Workload, output: gc.Tensor) -> gc.Tensor:
    """The losses as on paper; graphc finds the stable form of the cross-entropy of a sigmoid."""
    if w.loss == "ce":
        return gc.losses.cross_entropy(output, gc.input("T", ("n",), dtype="int64"))
    T = gc.input("T", ("n", w.sizes[-1]))
    if w.loss == "mse":
        return gc.mean((output - T) ** 2)
    p = gc.sigmoid(output)
    return gc.mean(-(T * gc.log(p) + (1 - T) * gc.log(1 - p)))


def optimizer(w: wl.Workload) -> object:
    if w.opt == "adam":
        rate = wl.learning_rates(w) if w.copies > 1 else w.lr
        return gc.Adam(rate, b1=wl.B1, b2=wl.B2, eps=wl.EPS)
    return gc.Momentum(w.lr, mu=w.momentum) if w.opt == "momentum" else gc.SGD(w.lr)
