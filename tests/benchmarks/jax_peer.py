"""JAX. Modes:

``jit``         one jitted, buffer-donating call a step; the data are resident, the batch index is in the state
``scan``        lax.scan over ``workload.scan`` steps in one call
``jit_flat``, ``scan_flat``   the same with all parameters raveled into one vector, so that the update is one loop

Several copies are a vmap of the step over parameters, moments and learning rates.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax import lax
from jax.flatten_util import ravel_pytree

from tests.benchmarks import jax_networks
from tests.benchmarks import workloads as wl

ACT = {
    "tanh": jnp.tanh,
    "relu": jax.nn.relu,
    "elu": jax.nn.elu,
    "gelu": lambda z: jax.nn.gelu(z, approximate=False),
    "leaky_relu": lambda z: jax.nn.leaky_relu(z, 0.01),
    "linear": lambda z: z,
    "sigmoid": jax.nn.sigmoid,
    "silu": jax.nn.silu,
    "softmax": lambda z: jax.nn.softmax(z, axis=-1),
    "softplus": jax.nn.softplus,
    "custom": lambda z: z * jax.nn.sigmoid(1.7 * z) + jnp.sin(z) ** 2 / 10,
}


def network(w, params, x):
    for layer in range(wl.depth(w)):
        x = x @ params[f"W{layer}"] + params[f"b{layer}"]
        if layer < wl.depth(w) - 1:
            x = ACT[w.act](x)
    return x


def loss(w, params, x, y):
    if w.network:
        return jax_networks.LOSSES[w.network](params, x, y)
    z = network(w, params, x)
    if w.loss == "ce":
        return jnp.mean(jax.nn.logsumexp(z, -1) - jnp.take_along_axis(z, y[:, None], 1)[:, 0])
    if w.loss == "mse":
        return jnp.mean((z - y) ** 2)
    return jnp.mean(jnp.maximum(z, 0) - z * y + jnp.log1p(jnp.exp(-jnp.abs(z))))


def initial(w):
    return jax_networks.prepared(w.network) if w.network else wl.init(w)


def update(w, rate, params, m, v, g, step):
    """``params, m, v`` after one update; ``step`` counts from 1."""
    tree = jax.tree.map
    if w.opt == "sgd":
        return tree(lambda p, g: p - rate * g, params, g), m, v
    if w.opt == "momentum":
        m = tree(lambda m, g: w.momentum * m + g, m, g)
        return tree(lambda p, m: p - rate * m, params, m), m, v
    t = step.astype(w.dtype)
    c1, c2 = 1 - wl.B1**t, 1 - wl.B2**t
    m = tree(lambda m, g: wl.B1 * m + (1 - wl.B1) * g, m, g)
    v = tree(lambda v, g: wl.B2 * v + (1 - wl.B2) * g * g, v, g)
    params = tree(lambda p, m, v: p - rate * (m / c1) / (jnp.sqrt(v / c2) + wl.EPS), params, m, v)
    return params, m, v


def all_copies(w, step):
    """The step of all copies, which share the data and the step number; its loss is their mean."""
    axes = (0, 0, 0, None)
    mapped = jax.vmap(step, in_axes=(axes, None, None, 0), out_axes=(axes, 0))
    rates = jnp.asarray(wl.learning_rates(w))

    def whole(state, X, Y):
        state, values = mapped(state, X, Y, rates)
        return state, jnp.mean(values)

    return whole


class Peer:
    def __init__(self, w: wl.Workload, mode: str, threads: int) -> None:
        X, Y = wl.data(w)
        self.data = jnp.asarray(X), jnp.asarray(Y.astype("int32") if w.loss == "ce" else Y)
        params = {k: jnp.asarray(v) for k, v in initial(w).items()}
        unravel = lambda params: params
        if mode.endswith("_flat"):
            params, unravel = ravel_pytree(params)
        zeros = lambda: jax.tree.map(jnp.zeros_like, params)
        self.state = params, zeros(), zeros(), jnp.zeros((), jnp.int32)
        gradient = jax.value_and_grad(lambda p, x, y: loss(w, unravel(p), x, y))

        def step(state, X, Y, rate=w.lr):
            params, m, v, t = state
            start = (t % w.n_batches) * w.batch
            batch = (lax.dynamic_slice_in_dim(a, start, w.batch) for a in (X, Y))
            value, g = gradient(params, *batch)
            return (*update(w, rate, params, m, v, g, t + 1), t + 1), value

        if w.copies > 1:
            repeated = jax.tree.map(lambda p: jnp.repeat(p[None], w.copies, 0), self.state[:3])
            self.state = *repeated, self.state[3]
            step = all_copies(w, step)

        self.chunk = w.scan if mode.startswith("scan") else 1
        many = lambda state, X, Y: lax.scan(lambda s, _: step(s, X, Y), state, None, length=w.scan)
        self.call = jax.jit(many if mode.startswith("scan") else step, donate_argnums=0)

    def run(self, n: int, keep: bool = False) -> list[float]:
        losses = []
        for _ in range(-(-n // self.chunk)):
            self.state, values = self.call(self.state, *self.data)
            if keep:
                losses += [float(a) for a in jnp.atleast_1d(values)]
        jax.block_until_ready(self.state)
        return losses
