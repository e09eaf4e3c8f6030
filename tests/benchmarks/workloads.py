"""The workloads: shapes, seeded data, initial weights, hyper-parameters. All plain NumPy, so that every framework
starts from the very same arrays and sees the very same batches in the same order.

* Dense weights are (in, out): ``y = x @ W + b``.
* Batch i is rows [i*B, (i+1)*B) of the data, i modulo the number of batches; the data are generated shuffled.
* The loss of step k is the loss on batch k *before* update k, so ``losses[k]`` is the loss after k updates.
* Adam: ``p -= lr * mhat/(sqrt(vhat) + eps)``.   Momentum: ``v = mu*v + g; p -= lr*v`` (no Nesterov, no dampening).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import Any

import numpy as np

from tests.benchmarks import networks

B1, B2, EPS = 0.9, 0.999, 1e-8


@dataclass(frozen=True)
class Workload:
    """A dense network, its data and how it is trained.

    ``sizes`` are the layer widths; ``act`` names an activation, custom is z*sigmoid(1.7*z) + sin(z)**2/10; ``loss`` is
    bce (on logits), ce or mse; ``opt`` is adam, momentum or sgd; ``scan`` is the number of steps per call in the modes
    that run many steps in one call. Of several ``copies``, each has its own of the :func:`learning_rates`; a step is
    one of all copies, its loss their mean. A ``network`` of :mod:`.networks` stands instead of layers. After the
    numbers of steps in ``parity`` the peers' losses are compared.
    """

    name: str
    title: str
    sizes: tuple[int, ...]
    act: str
    loss: str
    batch: int
    n_batches: int
    opt: str
    lr: float
    scan: int
    momentum: float = 0.0
    dtype: str = "float32"
    copies: int = 1
    parity: tuple[int, ...] = (0, 10, 100)
    network: str = ""


def _of_field(name: str, title: str, network: str, loss: str, *rest: Any) -> Workload:
    return Workload(name, title, (), "", loss, *rest, network=network)


WORKLOADS = {
    w.name: w
    for w in [
        Workload("W1", "tabular 30-16-1", (30, 16, 1), "tanh", "bce", 32, 16, "adam", 1e-3, 1000),
        Workload("W2", "digits 64-128-10", (64, 128, 10), "relu", "ce", 64, 28, "adam", 1e-3, 500),
        Workload("W3", "mnist 784-256-128-10", (784, 256, 128, 10), "relu", "ce", 128, 64, "adam", 1e-3, 50),
        Workload("W4", "wide 1024-2048-2048-1000", (1024, 2048, 2048, 1000), "relu", "ce", 512, 4, "momentum", 1e-2, 4,
                 momentum=0.9),
        Workload("W5", "custom act 64-256-256-1", (64, 256, 256, 1), "custom", "mse", 1024, 16, "adam", 1e-3, 20),
        Workload("W9", "online (W1, batch 1, SGD)", (30, 16, 1), "tanh", "bce", 1, 512, "sgd", 1e-2, 5000),
        Workload("W10", "sweep, 64 copies of W1", (30, 16, 1), "tanh", "bce", 32, 16, "adam", 1e-3, 200, copies=64),
        Workload("W11", "logistic 30-1, all of 10^6 rows", (30, 1), "tanh", "bce", 1_000_000, 1, "sgd", 1e-1, 10),
        Workload("W12", "20-32-32-1, all of 10^5 rows", (20, 32, 32, 1), "tanh", "mse", 100_000, 1, "adam", 1e-3, 10),
        _of_field("W6", "LeNet-5, 28x28", "lenet", "ce", 64, 4, "sgd", 5e-2, 20),
        _of_field("W7", "Burgers' equation, 4 layers of 20", "burgers", "mse", 256, 8, "adam", 1e-3, 100),
        _of_field("W8", "transformer block 32x64, 4 heads", "transformer", "mse", 16, 8, "adam", 1e-3, 20),
        _of_field("W13", "LSTM, 32 steps, 64 units", "lstm", "ce", 32, 20, "sgd", 1e-1, 20),
        _of_field("W14", "fourth derivative, 3 layers of 20", "order 4", "mse", 256, 8, "adam", 1e-3, 20),
        _of_field("W15", "sixth derivative, 3 layers of 20", "order 6", "mse", 256, 8, "adam", 1e-3, 20),
    ]
}


@lru_cache(1)
def data(w: Workload) -> tuple[np.ndarray, np.ndarray]:
    """``(X, Y)`` of all batches: X (N, sizes[0]); Y (N,) int64 labels for ce, else (N, 1).

    The targets come from a random linear teacher, so that losses go down. The last data are kept, so that making them
    counts for nobody's first step.
    """
    if w.network:
        return networks.data(w.network, w.batch * w.n_batches)
    rng = np.random.default_rng(7)
    X = rng.standard_normal((w.batch * w.n_batches, w.sizes[0]))
    teacher = rng.standard_normal((w.sizes[0], w.sizes[-1])) / np.sqrt(w.sizes[0])
    Z = X @ teacher
    target = {"ce": lambda: Z.argmax(1).astype(np.int64), "bce": lambda: Z > 0, "mse": lambda: np.sin(2 * Z)}[w.loss]()
    return X.astype(w.dtype), target if w.loss == "ce" else target.astype(w.dtype)


def init(w: Workload) -> dict[str, np.ndarray]:
    """Initial ``W0, b0, W1, b1, ...``: normal with variance 1/fan_in (2/fan_in for relu), biases 0."""
    if w.network:
        return networks.init(w.network)
    rng = np.random.default_rng(42)
    gain = 2.0 if w.act == "relu" else 1.0
    params = {}
    for layer, (a, b) in enumerate(pairwise(w.sizes)):
        params[f"W{layer}"] = (rng.standard_normal((a, b)) * np.sqrt(gain / a)).astype(w.dtype)
        params[f"b{layer}"] = np.zeros(b, w.dtype)
    return params


def learning_rates(w: Workload) -> np.ndarray:
    """One rate a copy; all copies begin at the same :func:`init`."""
    return np.logspace(-4, -1, w.copies).astype(w.dtype) if w.copies > 1 else np.array([w.lr], w.dtype)


def depth(w: Workload) -> int:
    """The number of layers."""
    return len(w.sizes) - 1
