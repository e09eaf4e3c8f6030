"""Networks of the field that are no stack of dense layers: their data and initial weights, in NumPy.

Each peer declares them in a module of its own (``<peer>_networks.py``) as its users would; all begin at the same
arrays.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

Arrays = dict[str, np.ndarray]

CLASSES = 10
LENGTH, WIDTH, HEADS, HIDDEN = 32, 64, 4, 256  # of the transformer block
STEPS, INPUTS, UNITS = 32, 16, 64  # of the LSTM
GATES = "ifco"
DEEP = 20  # units of each layer of the networks of differential equations
VISCOSITY = 0.01 / np.pi


def _normal(rng: np.random.Generator, *shape: int) -> np.ndarray:
    return (rng.standard_normal(shape) / np.sqrt(np.prod(shape[:-1]))).astype("float32")


def _zeros(*shape: int) -> np.ndarray:
    return np.zeros(shape, "float32")


def _lenet(rng: np.random.Generator) -> Arrays:
    return {
        "K0": _normal(rng, 5, 5, 1, 6), "k0": _zeros(6), "K1": _normal(rng, 5, 5, 6, 16), "k1": _zeros(16),
        "W0": _normal(rng, 256, 120), "b0": _zeros(120), "W1": _normal(rng, 120, 84), "b1": _zeros(84),
        "W2": _normal(rng, 84, CLASSES), "b2": _zeros(CLASSES),
    }  # fmt: skip


def _block(rng: np.random.Generator) -> Arrays:
    """``g`` and ``h`` scale the two layer norms, ``s`` and ``t`` shift them."""
    square = {name: _normal(rng, WIDTH, WIDTH) for name in ("Q", "K", "V", "O")}
    ones = {name: np.ones(WIDTH, "float32") for name in "gh"} | {name: _zeros(WIDTH) for name in "st"}
    return square | ones | {
        "U": _normal(rng, WIDTH, HIDDEN), "u": _zeros(HIDDEN), "D": _normal(rng, HIDDEN, WIDTH), "d": _zeros(WIDTH),
    }  # fmt: skip


def _lstm(rng: np.random.Generator) -> Arrays:
    """The kernel, the recurrent kernel and the bias of each gate: input, forget, cell, output."""
    found = {f"W{gate}": _normal(rng, INPUTS, UNITS) for gate in GATES}
    found |= {f"U{gate}": _normal(rng, UNITS, UNITS) for gate in GATES} | {f"b{gate}": _zeros(UNITS) for gate in GATES}
    return found | {"V": _normal(rng, UNITS, CLASSES), "v": _zeros(CLASSES)}


def _deep(inputs: int, layers: int) -> Callable[[np.random.Generator], Arrays]:
    sizes = [inputs, *[DEEP] * layers, 1]

    def make(rng: np.random.Generator) -> Arrays:
        pairs = [*zip(sizes, sizes[1:])]
        weights = {f"W{t}": _normal(rng, *pair) for t, pair in enumerate(pairs)}
        return weights | {f"b{t}": _zeros(b) for t, (_, b) in enumerate(pairs)}

    return make


INIT: dict[str, Callable[[np.random.Generator], Arrays]] = {
    "lenet": _lenet, "burgers": _deep(2, 4), "transformer": _block, "lstm": _lstm,
    "order 4": _deep(1, 3), "order 6": _deep(1, 3),
}  # fmt: skip


def init(network: str) -> Arrays:
    """Initial weights: normal with variance 1/fan_in, biases 0."""
    return INIT[network](np.random.default_rng(42))


def data(network: str, rows: int) -> tuple[np.ndarray, np.ndarray]:
    """What the network reads: pictures and labels; x and t; two sequences; sequences and labels; x and a source."""
    rng = np.random.default_rng(7)
    normal = lambda *shape: rng.standard_normal((rows, *shape)).astype("float32")
    between = lambda: rng.uniform(-1, 1, (rows, 1)).astype("float32")
    if network == "transformer":
        return normal(LENGTH, WIDTH), normal(LENGTH, WIDTH)
    if network in ("lenet", "lstm"):
        X = normal(1, 28, 28) if network == "lenet" else normal(STEPS, INPUTS)
        teacher = rng.standard_normal((X[0].size, CLASSES))
        return X, (X.reshape(rows, -1) @ teacher).argmax(1).astype(np.int64)
    x, other = between(), between()
    return x, other if network == "burgers" else np.sin(3 * x)
