"""graphc, declared with its public API."""

from __future__ import annotations

import graphc as gc
from tests.benchmarks import workloads as wl

ACT = {"tanh": gc.tanh, "relu": gc.relu, "custom": lambda z: z * gc.sigmoid(1.7 * z) + gc.sin(z) ** 2 / 10}


class Peer:
    """One ``fit`` a call, without shuffling; the parameters and the optimizer's state go on from call to call."""

    def __init__(self, w: wl.Workload, mode: str, threads: int) -> None:
        self.w, self.threads = w, threads
        X, Y = wl.data(w)
        params = wl.init(w)
        output = network(w, gc.input("X", ("n", w.sizes[0])))
        self.model = gc.Model(output=output, loss=loss(w, output), dtype=w.dtype)
        for name, value in params.items():
            self.model.params[name] = value
        self.data = {"X": X, "T": Y}
        self.optimizer = optimizer(w)

    def run(self, n: int, keep: bool = False) -> list[float]:
        record = "step" if keep else "epoch"
        run = self.model.fit(
            self.data, optimizer=self.optimizer, steps=n, batch_size=self.w.batch, shuffle=False, record=record,
            progress=False, threads=self.threads,
        )
        return [float(v) for v in run.history["loss"]] if keep else []


def network(w: wl.Workload, h: gc.Tensor) -> gc.Tensor:
    for layer in range(wl.depth(w)):
        fan_in, fan_out = w.sizes[layer : layer + 2]
        h = h @ gc.param(f"W{layer}", (fan_in, fan_out), 0.0) + gc.param(f"b{layer}", (fan_out,), 0.0)
        if layer < wl.depth(w) - 1:
            h = ACT[w.act](h)
    return h


def loss(w: wl.Workload, output: gc.Tensor) -> gc.Tensor:
    """The losses as on paper; graphc finds the stable form of the cross-entropy of a sigmoid."""
    if w.loss == "ce":
        return gc.losses.cross_entropy(output, gc.input("T", ("n",), dtype="int64"))
    T = gc.input("T", ("n", 1))
    if w.loss == "mse":
        return gc.mean((output - T) ** 2)
    p = gc.sigmoid(output)
    return gc.mean(-(T * gc.log(p) + (1 - T) * gc.log(1 - p)))


def optimizer(w: wl.Workload) -> object:
    if w.opt == "adam":
        return gc.Adam(w.lr, b1=wl.B1, b2=wl.B2, eps=wl.EPS)
    return gc.Momentum(w.lr, mu=w.momentum) if w.opt == "momentum" else gc.SGD(w.lr)
