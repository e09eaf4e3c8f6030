"""The networks of the field in graphc: output and loss."""

from __future__ import annotations

import numpy as np

import graphc as gc
from tests.benchmarks import networks as nets

Declared = tuple[gc.Tensor, gc.Tensor]
Params = dict[str, gc.Tensor]


def lenet(p: Params) -> Declared:
    X, T = gc.input("X", ("n", 1, 28, 28)), gc.input("T", ("n",), dtype="int64")
    h = X
    for t in range(2):
        h = gc.max_pool(gc.relu(gc.conv2d(h, p[f"K{t}"], p[f"k{t}"])), 2)
    h = gc.reshape(h, ("n", 256))
    h = gc.relu(h @ p["W0"] + p["b0"])
    h = gc.relu(h @ p["W1"] + p["b1"])
    z = h @ p["W2"] + p["b2"]
    return z, gc.losses.cross_entropy(z, T)


def block(p: Params, X: gc.Tensor) -> gc.Tensor:
    shape, size = ("n", nets.LENGTH, nets.WIDTH), nets.WIDTH // nets.HEADS
    heads = lambda a: gc.transpose(gc.reshape(a, ("n", nets.LENGTH, nets.HEADS, size)), (0, 2, 1, 3))
    a = gc.layer_norm(X, scale=p["g"], shift=p["s"])
    mixed = gc.attention(*(heads(a @ p[name]) for name in "QKV"))
    h = X + gc.reshape(gc.transpose(mixed, (0, 2, 1, 3)), shape) @ p["O"]
    a = gc.layer_norm(h, scale=p["h"], shift=p["t"])
    return h + gc.gelu(a @ p["U"] + p["u"]) @ p["D"] + p["d"]


def transformer(p: Params) -> Declared:
    X, T = (gc.input(word, ("n", nets.LENGTH, nets.WIDTH)) for word in "XT")
    h = block(p, X)
    return h, gc.mean((h - T) ** 2)


def lstm(p: Params) -> Declared:
    """As :class:`graphc.nn.LSTM` has it, with given parameters."""
    X, T = gc.input("X", ("n", nets.STEPS, nets.INPUTS)), gc.input("T", ("n",), dtype="int64")

    def step(carry, x):
        h, c = carry
        i, f, g, o = (x @ p[f"W{gate}"] + h @ p[f"U{gate}"] + p[f"b{gate}"] for gate in nets.GATES)
        c = gc.sigmoid(f) * c + gc.sigmoid(i) * gc.tanh(g)
        h = gc.sigmoid(o) * gc.tanh(c)
        return (h, c), h

    zero = np.zeros((1, nets.UNITS))
    (h, _), _ = gc.scan(step, (zero, zero), X)
    z = h @ p["V"] + p["v"]
    return z, gc.losses.cross_entropy(z, T)


def deep(p: Params, h: gc.Tensor) -> gc.Tensor:
    """Layers of tanh, and one without."""
    last = len(p) // 2 - 1
    for t in range(last):
        h = gc.tanh(h @ p[f"W{t}"] + p[f"b{t}"])
    return h @ p[f"W{last}"] + p[f"b{last}"]


def burgers(p: Params) -> Declared:
    x, t = gc.input("X", ("n", 1)), gc.input("T", ("n", 1))
    u = deep(p, gc.concatenate([x, t], axis=1))
    return u, gc.mean((u.d(t) + u * u.d(x) - nets.VISCOSITY * u.d(x, 2)) ** 2)


def order(k: int, p: Params) -> Declared:
    x, source = gc.input("X", ("n", 1)), gc.input("T", ("n", 1))
    u = deep(p, x)
    return u, gc.mean((u.d(x, k) - source) ** 2)


NETWORKS = {
    "lenet": lenet, "burgers": burgers, "transformer": transformer, "lstm": lstm,
    "order 4": lambda p: order(4, p), "order 6": lambda p: order(6, p),
}  # fmt: skip


def declared(network: str) -> Declared:
    """Output and loss of a network with its initial weights."""
    params = {name: gc.param(name, value.shape, value) for name, value in nets.init(network).items()}
    return NETWORKS[network](params)
