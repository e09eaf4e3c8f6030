"""PyTensor. Modes: ``numba`` (the default linker of PyTensor 3) and ``c`` (the CVM linker)."""

from __future__ import annotations

import numpy as np
import pytensor
import pytensor.tensor as pt

from tests.benchmarks import NotExpressible
from tests.benchmarks import workloads as wl

LINKER = {"numba": "NUMBA", "c": "CVM"}


def shared(value, name):
    return pytensor.shared(value.copy(), name=name, shape=value.shape)


def activation(w, z):
    c = np.dtype(w.dtype).type
    if w.act == "tanh":
        return pt.tanh(z)
    return pt.maximum(z, c(0)) if w.act == "relu" else z * pt.sigmoid(c(1.7) * z) + pt.sin(z) ** 2 / c(10)


def loss(w, params, x, y):
    for layer in range(wl.depth(w)):
        x = x @ params[f"W{layer}"] + params[f"b{layer}"]
        if layer < wl.depth(w) - 1:
            x = activation(w, x)
    if w.loss == "ce":
        return -pt.special.log_softmax(x, axis=-1)[pt.arange(w.batch), y].mean()
    return (pt.softplus(x) - x * y).mean() if w.loss == "bce" else ((x - y) ** 2).mean()


def updates(w, params, gradients):
    """Pairs (shared variable, its new value)."""
    c = np.dtype(w.dtype).type
    b1, b2, one = c(wl.B1), c(wl.B2), c(1)
    t = shared(np.array(0, w.dtype), "t")
    pairs = {t: t + one}
    c1, c2 = one - b1 ** pairs[t], one - b2 ** pairs[t]
    for (name, p), g in zip(params.items(), gradients, strict=True):
        m, v = (shared(np.zeros_like(p.get_value()), kind + name) for kind in "mv")
        if w.opt == "sgd":
            pairs[p] = p - c(w.lr) * g
        elif w.opt == "momentum":
            pairs[m] = c(w.momentum) * m + g
            pairs[p] = p - c(w.lr) * pairs[m]
        else:
            pairs[m] = b1 * m + (one - b1) * g
            pairs[v] = b2 * v + (one - b2) * g * g
            pairs[p] = p - c(w.lr) * (pairs[m] / c1) / (pt.sqrt(pairs[v] / c2) + c(wl.EPS))
    return pairs


class Peer:
    def __init__(self, w: wl.Workload, mode: str, threads: int) -> None:
        if w.copies > 1:
            raise NotExpressible("one network at a time is compiled here")
        if w.network:
            raise NotExpressible("dense networks alone are written here")
        pytensor.config.floatX = w.dtype
        X, Y = (pytensor.shared(a, borrow=True) for a in wl.data(w))
        params = {k: shared(v, k) for k, v in wl.init(w).items()}
        i = shared(np.array(0, "int64"), "i")
        rows = slice(i * w.batch, (i + 1) * w.batch)
        value = loss(w, params, pt.specify_shape(X[rows], (w.batch, w.sizes[0])), Y[rows]).astype(w.dtype)
        changes = {i: (i + 1) % w.n_batches, **updates(w, params, pytensor.grad(value, list(params.values())))}
        self.call = pytensor.function([], value, updates=list(changes.items()), mode=LINKER[mode])
        self.call.trust_input = True

    def run(self, n: int, keep: bool = False) -> list[float]:
        if keep:
            return [float(self.call()) for _ in range(n)]
        for _ in range(n):
            self.call()
        return []
