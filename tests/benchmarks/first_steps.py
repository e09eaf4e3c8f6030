"""Seconds to the first step of deep networks, beside JAX: ``python -m tests.benchmarks.first_steps``.

Every number is from a process of its own with an empty code cache; the import of graphc or JAX is left out, that of
Numba is not. 32 inputs, ``depth`` layers of tanh, 64 wide or 40, 43, 46, .., ten classes, 64 rows, Adam. JAX's step is
a scan in one jitted function. Seconds of the processor stand beside those of the clock, which others on a machine
lengthen.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import subprocess
import sys
import tempfile
import time
from typing import Any

import numpy as np

CASES = [("equal", 2), ("equal", 10), ("equal", 20), ("equal", 40), ("different", 10), ("different", 20)]
INPUTS, CLASSES, ROWS = 32, 10, 64


def widths(kind: str, depth: int) -> list[int]:
    return [64] * depth if kind == "equal" else [40 + 3 * t for t in range(depth)]


def data() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    return rng.normal(size=(ROWS, INPUTS)).astype("f4"), rng.integers(0, CLASSES, ROWS)


def first_of_graphc(sizes: list[int]) -> tuple[float, float]:
    gc = importlib.import_module("graphc")
    x, t = data()
    started = time.perf_counter(), time.process_time()
    X, T = gc.input("X", ("n", INPUTS)), gc.input("T", ("n",), dtype="int64")
    layers = [gc.nn.Dense(size, "tanh") for size in sizes]
    Z = gc.nn.sequential(INPUTS, *layers, gc.nn.Dense(CLASSES))(X)
    gc.Model(output=Z, loss=gc.losses.cross_entropy(Z, T)).fit(x, t, optimizer="adam", steps=1, batch_size=ROWS)
    return time.perf_counter() - started[0], time.process_time() - started[1]


def first_of_jax(sizes: list[int]) -> tuple[float, float]:
    jax = importlib.import_module("jax")
    jnp, each = jax.numpy, jax.tree_util.tree_map
    (x, t), rng, ends = data(), np.random.default_rng(1), [INPUTS, *sizes, CLASSES]
    params = [(rng.normal(size=pair).astype("f4") / 8, np.zeros(pair[1], "f4")) for pair in zip(ends, ends[1:])]
    jax.block_until_ready(jnp.zeros(3) + 1)
    started = time.perf_counter(), time.process_time()

    def loss(params: Any) -> Any:
        h = x
        for w, b in params[:-1]:
            h = jnp.tanh(h @ w + b)
        z = h @ params[-1][0] + params[-1][1]
        return jnp.mean(jax.nn.logsumexp(z, axis=1) - z[jnp.arange(ROWS), t])

    def step(state: Any, k: Any) -> Any:
        params, m, v = state
        value, g = jax.value_and_grad(loss)(params)
        m = each(lambda m, g: 0.9 * m + 0.1 * g, m, g)
        v = each(lambda v, g: 0.999 * v + 0.001 * g**2, v, g)
        change = lambda m, v: 1e-3 * m / (1 - 0.9**k) / (jnp.sqrt(v / (1 - 0.999**k)) + 1e-8)
        return (each(lambda p, m, v: p - change(m, v), params, m, v), m, v), value

    zeros = each(jnp.zeros_like, params)
    run = jax.jit(lambda state: jax.lax.scan(step, state, jnp.arange(1.0, 2.0)))
    jax.block_until_ready(run((params, zeros, zeros)))
    return time.perf_counter() - started[0], time.process_time() - started[1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--child", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        who, kind, depth = options.child
        first = {"graphc": first_of_graphc, "jax": first_of_jax}[who]
        print(json.dumps(first(widths(kind, int(depth)))))
        return
    print("| first step, s | graphc | of the processor | JAX | of the processor |\n|---|---|---|---|---|")
    for kind, depth in CASES:
        found = [np.median([measure(w, kind, depth) for _ in range(options.repeats)], 0) for w in ("graphc", "jax")]
        print(f"| {depth} {kind} | " + " | ".join(f"{s:.1f}" for s in np.ravel(found)) + " |", flush=True)


def measure(who: str, kind: str, depth: int) -> tuple[float, float]:
    """What a fresh process with an empty cache says."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "tests.benchmarks.first_steps", "--child", who, kind, str(depth)]
        environment = os.environ | {"GRAPHC_CACHE": folder}
        result = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    return json.loads(result.stdout)


if __name__ == "__main__":
    main()
