"""scikit-learn: MLPClassifier.

It has neither custom activations nor a squared error, sizes its output by the classes that occur, and trains one
network at a time: no W4, no W5, no W10.
``fit`` is its only fast entry (``partial_fit`` validates on each call), so a run trains whole epochs from the initial
weights. Its Adam adds eps to sqrt(v) before the bias correction, which shows in the losses of W3 (2e-4 at step 10).
"""

from __future__ import annotations

import warnings

import numpy as np
from sklearn.neural_network import MLPClassifier

from tests.benchmarks import NotExpressible
from tests.benchmarks import workloads as wl


class Seeded(MLPClassifier):
    """An MLPClassifier that starts from given weights and can keep its step losses."""

    start: dict[str, np.ndarray]
    losses: list[float] | None = None

    def _initialize(self, y, layer_units, dtype):
        super()._initialize(y, layer_units, dtype)
        layers = range(len(layer_units) - 1)
        self.coefs_ = [self.start[f"W{i}"].copy() for i in layers]
        self.intercepts_ = [self.start[f"b{i}"].copy() for i in layers]

    def _backprop(self, *args, **kwargs):
        result = super()._backprop(*args, **kwargs)
        if self.losses is not None:
            self.losses.append(float(result[0]))
        return result


class Peer:
    restarts = True  # each run begins at the initial weights

    def __init__(self, w: wl.Workload, mode: str, threads: int) -> None:
        if w.network:
            raise NotExpressible("MLPClassifier has dense layers only")
        if w.loss == "mse":
            raise NotExpressible("MLPClassifier has neither a custom activation nor this loss")
        if w.copies > 1:
            raise NotExpressible("MLPClassifier trains one network at a time")
        X, Y = wl.data(w)
        self.w, self.chunk = w, w.n_batches
        self.data = X, Y.ravel().astype(int)
        if w.loss == "ce" and len(np.unique(self.data[1])) < w.sizes[-1]:
            raise NotExpressible("MLPClassifier sizes its output by the classes that occur")

    def run(self, n: int, keep: bool = False) -> list[float]:
        w = self.w
        net = Seeded(
            hidden_layer_sizes=w.sizes[1:-1], activation=w.act, batch_size=w.batch, alpha=0.0, tol=0.0,
            solver="adam" if w.opt == "adam" else "sgd", learning_rate_init=w.lr, momentum=w.momentum,
            nesterovs_momentum=False, shuffle=False, n_iter_no_change=10**9, max_iter=-(-n // self.chunk),
        )
        net.start = wl.init(w)
        net.losses = [] if keep else None
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it warns of not having converged
            net.fit(*self.data)
        return net.losses or []
