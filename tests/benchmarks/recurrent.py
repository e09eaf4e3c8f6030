"""An LSTM beside JAX's scan, in turns: ``python -m tests.benchmarks.recurrent [rounds]``.

Sequences of 32 steps of 16 numbers, 64 units, ten classes, batch 32, SGD, float32; both start from the same parameters
and read the same batches, so that their losses are the same. JAX uses as many threads as it likes.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

import graphc as gc

STEPS, INPUTS, UNITS, CLASSES, BATCH, BATCHES = 32, 16, 64, 10, 32, 20
RATE = 0.1


def network() -> gc.Model:
    """The network as users write it."""
    X, y = gc.input("X", ("n", STEPS, INPUTS)), gc.input("y", ("n",), dtype="int64")
    logits = gc.nn.sequential(X, gc.nn.LSTM(UNITS), gc.nn.Dense(CLASSES))
    return gc.Model(output=logits, loss=gc.losses.cross_entropy(logits, y)).initialize(0)


def jax_epoch(x: np.ndarray, y: np.ndarray) -> Callable:
    """An epoch of the same network: its gates side by side, one product a step, as JAX users write it."""
    xs, ys = jnp.asarray(x.reshape(BATCHES, BATCH, STEPS, INPUTS)), jnp.asarray(y.reshape(BATCHES, BATCH))

    def loss(p, x, y):
        inputs = jnp.swapaxes(x, 0, 1) @ p["W"] + p["b"]

        def step(carry, z):
            h, c = carry
            i, f, g, o = jnp.split(z + h @ p["U"], 4, axis=-1)
            c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
            return (jax.nn.sigmoid(o) * jnp.tanh(c), c), None

        zero = jnp.zeros((BATCH, UNITS), jnp.float32)
        (h, _), _ = jax.lax.scan(step, (zero, zero), inputs)
        logits = jax.nn.log_softmax(h @ p["V"] + p["B"])
        return -jnp.take_along_axis(logits, y[:, None], 1).mean()

    @jax.jit
    def epoch(p):
        def one(p, batch):
            value, g = jax.value_and_grad(loss)(p, *batch)
            return jax.tree.map(lambda w, d: w - RATE * d, p, g), value

        return jax.lax.scan(one, p, (xs, ys))

    return epoch


def main(rounds: str = "7") -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(BATCHES * BATCH, STEPS, INPUTS)).astype("float32")
    y = rng.integers(0, CLASSES, BATCHES * BATCH)
    model, epoch = network(), jax_epoch(x, y)
    w = model.params
    p = {k: jnp.asarray(np.concatenate([w[f"{k}{g}0"] for g in "ifco"], axis=-1)) for k in "WUb"}
    p |= {"V": jnp.asarray(w["W0"]), "B": jnp.asarray(w["B0"])}

    def graphc(threads: int) -> float:
        run = model.fit(x, y, optimizer=gc.SGD(RATE), epochs=1, batch_size=BATCH, shuffle=False, threads=threads)
        return run.history["loss"][-1]

    def first(f: Callable) -> float:
        start = time.perf_counter()
        f()
        return time.perf_counter() - start

    losses = []
    own = first(lambda: losses.append(graphc(1)))
    peer = first(lambda: losses.append(epoch(p)[1].mean()))
    print(f"first epoch: graphc {own:.2f} s, JAX scan {peer:.2f} s; losses {losses[0]:.6f}, {losses[1]:.6f}")
    turns = {"graphc, 1 thread": lambda: graphc(1), "graphc, 2 threads": lambda: graphc(2),
             "JAX scan": lambda: epoch(p)[1].block_until_ready()}  # fmt: skip
    taken: dict[str, list[float]] = {name: [] for name in turns}
    for _ in range(int(rounds)):
        for name, f in turns.items():
            taken[name].append(first(f) / BATCHES * 1e3)
    for name, found in taken.items():
        ratio = statistics.median(found) / statistics.median(taken["JAX scan"])
        spread = f"({min(found):.2f} to {max(found):.2f})"
        print(f"{name}: {statistics.median(found):.2f} ms a step {spread}, {ratio:.2f} of JAX")


if __name__ == "__main__":
    main(*sys.argv[1:])
