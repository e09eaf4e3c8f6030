"""The networks of the field in JAX: what is made of the initial weights before training, and the loss."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from tests.benchmarks import networks as nets


def cross_entropy(z, y):
    return jnp.mean(jax.nn.logsumexp(z, -1) - jnp.take_along_axis(z, y[:, None], 1)[:, 0])


def of_lenet(p):
    """XLA's convolutions take channels last, so the first dense layer reads its inputs in that order."""
    return p | {"W0": p["W0"].reshape(16, 4, 4, 120).transpose(1, 2, 0, 3).reshape(256, 120)}


def lenet(p, x, y):
    h = x.transpose(0, 2, 3, 1)
    for t in range(2):
        h = jax.lax.conv_general_dilated(h, p[f"K{t}"], (1, 1), "VALID", dimension_numbers=("NHWC", "HWIO", "NHWC"))
        h = jax.nn.relu(h + p[f"k{t}"])
        h = jax.lax.reduce_window(h, -jnp.inf, jax.lax.max, (1, 2, 2, 1), (1, 2, 2, 1), "VALID")
    h = h.reshape(len(h), 256)
    for t in range(2):
        h = jax.nn.relu(h @ p[f"W{t}"] + p[f"b{t}"])
    return cross_entropy(h @ p["W2"] + p["b2"], y)


def layer_norm(x, scale, shift):
    mean, var = x.mean(-1, keepdims=True), x.var(-1, keepdims=True)
    return (x - mean) * jax.lax.rsqrt(var + 1e-5) * scale + shift


def block(p, x):
    size = nets.WIDTH // nets.HEADS
    heads = lambda a: a.reshape(len(x), nets.LENGTH, nets.HEADS, size).transpose(0, 2, 1, 3)
    a = layer_norm(x, p["g"], p["s"])
    q, k, v = (heads(a @ p[name]) for name in "QKV")
    weights = jax.nn.softmax(q @ k.transpose(0, 1, 3, 2) / np.sqrt(size), -1)
    h = x + (weights @ v).transpose(0, 2, 1, 3).reshape(x.shape) @ p["O"]
    a = layer_norm(h, p["h"], p["t"])
    return h + jax.nn.gelu(a @ p["U"] + p["u"], approximate=False) @ p["D"] + p["d"]


def transformer(p, x, y):
    return jnp.mean((block(p, x) - y) ** 2)


def of_lstm(p):
    """Gates side by side: one product a step."""
    joined = {name: np.concatenate([p[f"{name}{gate}"] for gate in nets.GATES], -1) for name in "WUb"}
    return joined | {"V": p["V"], "v": p["v"]}


def lstm(p, x, y):
    inputs = jnp.swapaxes(x, 0, 1) @ p["W"] + p["b"]

    def step(carry, z):
        h, c = carry
        i, f, g, o = jnp.split(z + h @ p["U"], 4, axis=-1)
        c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
        return (jax.nn.sigmoid(o) * jnp.tanh(c), c), None

    zero = jnp.zeros((len(x), nets.UNITS), jnp.float32)
    (h, _), _ = jax.lax.scan(step, (zero, zero), inputs)
    return cross_entropy(h @ p["V"] + p["v"], y)


def deep(p, h):
    last = len(p) // 2 - 1
    for t in range(last):
        h = jnp.tanh(h @ p[f"W{t}"] + p[f"b{t}"])
    return h @ p[f"W{last}"] + p[f"b{last}"]


def along(f):
    """Value and derivative of a function of rows of one number each: forward, which is the faster way here."""
    return lambda x: jax.jvp(f, (x,), (jnp.ones_like(x),))


def burgers(p, x, t):
    u = lambda x, t: deep(p, jnp.concatenate([x, t], 1))
    (value, u_x), (_, u_xx) = along(along(lambda x: u(x, t)))(x)
    _, u_t = along(lambda t: u(x, t))(t)
    return jnp.mean((u_t + value * u_x - nets.VISCOSITY * u_xx) ** 2)


def order(k):
    def loss(p, x, y):
        f = lambda x: deep(p, x)
        for _ in range(k):
            f = lambda x, g=f: along(g)(x)[1]
        return jnp.mean((f(x) - y) ** 2)

    return loss


LOSSES = {
    "lenet": lenet, "burgers": burgers, "transformer": transformer, "lstm": lstm,
    "order 4": order(4), "order 6": order(6),
}  # fmt: skip
PREPARED = {"lenet": of_lenet, "lstm": of_lstm}


def prepared(network):
    """The initial weights in the form that the loss takes."""
    return PREPARED.get(network, lambda p: p)(nets.init(network))
