"""What :mod:`tests.benchmarks.first_steps` trains, in graphc and in JAX: the data, the parameters, output and loss.

Modules that a process does not need are not imported: what an import takes is measured.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tests.benchmarks import networks as nets

INPUTS, CLASSES, ROWS = 32, 10, 64
FEATURES, UNITS = 8, 32  # of the recurrent network
RECURRENT = ("unrolled", "scanned")  # each step written out, or one as a scan
Arrays = dict[str, np.ndarray]


def data(kind: str, sizes: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    normal = lambda *shape: rng.normal(size=shape).astype("f4")
    if kind == "blocks":
        return normal(16, nets.LENGTH, nets.WIDTH), normal(16, nets.LENGTH, nets.WIDTH)
    if kind in RECURRENT:
        return normal(32, sizes[0], FEATURES), normal(32, 1)
    return normal(ROWS, INPUTS), rng.integers(0, CLASSES, ROWS)


def init(kind: str, sizes: Sequence[int]) -> Arrays:
    """Initial values of all parameters."""
    rng = np.random.default_rng(1)
    normal = lambda *shape: (rng.normal(size=shape) / np.sqrt(shape[0])).astype("f4")
    if kind == "blocks":
        return {f"{name}{t}": value for t in range(sizes[0]) for name, value in nets.init("transformer").items()}
    if kind in RECURRENT:
        shapes = {"A": (FEATURES, UNITS), "B": (UNITS, UNITS), "V": (UNITS, 1)}
        return {name: normal(*shape) for name, shape in shapes.items()} | {"c": np.zeros(UNITS, "f4")}
    ends = [INPUTS, *sizes, CLASSES]
    weights = {f"W{t}": normal(*pair) for t, pair in enumerate(zip(ends, ends[1:]))}
    return weights | {f"B{t}": np.zeros(size, "f4") for t, size in enumerate(ends[1:])}


def of_layer(p: dict[str, Any], t: int) -> dict[str, Any]:
    """The parameters whose names end with a number, without it."""
    return {name.removesuffix(str(t)): value for name, value in p.items() if name.endswith(str(t))}


def in_graphc(kind: str, sizes: Sequence[int], penalty: float) -> tuple[Any, Any]:
    """Output and loss."""
    gc = importlib.import_module("graphc")
    p = {name: gc.param(name, value.shape, value) for name, value in init(kind, sizes).items()}
    if kind == "blocks":
        block = importlib.import_module("tests.benchmarks.graphc_networks").block
        h, T = (gc.input(word, ("n", nets.LENGTH, nets.WIDTH)) for word in "XT")
        for t in range(sizes[0]):
            h = block(of_layer(p, t), h)
        return h, gc.losses.mse(h, T)
    if kind in RECURRENT:
        X, T = gc.input("X", ("n", sizes[0], FEATURES)), gc.input("T", ("n", 1))
        step = lambda h, x: gc.tanh(x @ p["A"] + h @ p["B"] + p["c"])
        h = gc.tanh(X[:, 0] @ p["A"] + p["c"])
        if kind == "scanned":
            h, _ = gc.scan(lambda h, x: (step(h, x), None), h, X[:, 1:])
        else:
            for t in range(1, sizes[0]):
                h = step(h, X[:, t])
        return h @ p["V"], gc.losses.mse(h @ p["V"], T)
    X, T = gc.input("X", ("n", INPUTS)), gc.input("T", ("n",), dtype="int64")
    h, last = X, len(sizes)
    for t in range(last):
        h = gc.tanh(h @ p[f"W{t}"] + p[f"B{t}"])
    Z = h @ p[f"W{last}"] + p[f"B{last}"]
    J = gc.losses.cross_entropy(Z, T)
    return Z, J + gc.l2([p[f"W{t}"] for t in range(last + 1)], penalty) if penalty else J


def in_jax(kind: str, sizes: Sequence[int], penalty: float) -> Callable[..., Any]:
    """The loss as a function of parameters and data; time runs through a scan, as users of JAX write it."""
    jax = importlib.import_module("jax")
    jnp = jax.numpy

    def blocks(p: dict[str, Any], x: Any, t: Any) -> Any:
        block = importlib.import_module("tests.benchmarks.jax_networks").block
        for layer in range(sizes[0]):
            x = block(of_layer(p, layer), x)
        return jnp.mean((x - t) ** 2)

    def recurrent(p: dict[str, Any], x: Any, t: Any) -> Any:
        step = lambda h, row: (jnp.tanh(row @ p["A"] + h @ p["B"] + p["c"]), None)
        first = jnp.tanh(x[:, 0] @ p["A"] + p["c"])
        h, _ = jax.lax.scan(step, first, jnp.swapaxes(x[:, 1:], 0, 1))
        return jnp.mean((h @ p["V"] - t) ** 2)

    def dense(p: dict[str, Any], x: Any, t: Any) -> Any:
        h, last = x, len(sizes)
        for layer in range(last):
            h = jnp.tanh(h @ p[f"W{layer}"] + p[f"B{layer}"])
        z = h @ p[f"W{last}"] + p[f"B{last}"]
        J = jnp.mean(jax.nn.logsumexp(z, axis=1) - z[jnp.arange(len(x)), t])
        return J + penalty * sum(jnp.sum(p[f"W{t}"] ** 2) for t in range(last + 1)) if penalty else J

    return {"blocks": blocks, **dict.fromkeys(RECURRENT, recurrent)}.get(kind, dense)
