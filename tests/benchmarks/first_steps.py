"""Seconds to the first step of networks, beside JAX: ``python -m tests.benchmarks.first_steps``.

Every row is from processes of their own with an empty code cache. "From start" begins with the process; the other
columns leave out what ``import jax`` and ``import numpy, sympy, graphc`` take, but not the import of Numba. 32 inputs,
``depth`` layers of tanh, 64 wide or 40, 43, 46, .., ten classes, 64 rows, Adam. JAX's step is a scan in one jitted
function. Seconds of the processor stand beside those of the clock, which others on a machine lengthen.

*Another penalty* is the second of two models of two layers in one process, which differ in the weight of a penalty;
*another width* a second process, after one whose layers were as wide as before, but for one.
"""

from __future__ import annotations

import argparse
import importlib
import json
import tempfile
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from tests.benchmarks.contestants import answer_of

DEEP = [("equal", 2), ("equal", 10), ("equal", 20), ("equal", 40), ("different", 10), ("different", 20)]
INPUTS, CLASSES, ROWS = 32, 10, 64
PENALTY = 1e-4

Clock = tuple[float, float]
Fit = Callable[[list[int], float], Clock]


def widths(kind: str, depth: int) -> list[int]:
    return [64] * depth if kind == "equal" else [40 + 3 * t for t in range(depth)]


def data() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    return rng.normal(size=(ROWS, INPUTS)).astype("f4"), rng.integers(0, CLASSES, ROWS)


def now() -> Clock:
    return time.perf_counter(), time.process_time()


def since(before: Clock) -> Clock:
    after = now()
    return after[0] - before[0], after[1] - before[1]


def graphc_fit() -> Fit:
    """Declares and trains one step."""
    gc = importlib.import_module("graphc")
    importlib.import_module("sympy")
    x, t = data()

    def fit(sizes: list[int], penalty: float) -> Clock:
        started = now()
        X, T = gc.input("X", ("n", INPUTS)), gc.input("T", ("n",), dtype="int64")
        ends = [INPUTS, *sizes, CLASSES]
        W = [gc.param(f"W{t}", pair) for t, pair in enumerate(zip(ends, ends[1:]))]
        B = [gc.param(f"B{t}", (size,), init=0.0) for t, size in enumerate(ends[1:])]
        H = X
        for w, b in zip(W[:-1], B[:-1], strict=True):
            H = gc.tanh(H @ w + b)
        Z = H @ W[-1] + B[-1]
        J = gc.losses.cross_entropy(Z, T)
        if penalty:
            J = J + gc.l2(W, penalty)
        gc.Model(output=Z, loss=J).fit(x, t, optimizer="adam", steps=1, batch_size=ROWS)
        return since(started)

    return fit


def jax_fit() -> Fit:
    """The same in JAX."""
    jax = importlib.import_module("jax")
    jnp, each = jax.numpy, jax.tree_util.tree_map
    (x, t), rng = data(), np.random.default_rng(1)
    jax.block_until_ready(jnp.zeros(3) + 1)

    def fit(sizes: list[int], penalty: float) -> Clock:
        ends = [INPUTS, *sizes, CLASSES]
        params = [(rng.normal(size=pair).astype("f4") / 8, np.zeros(pair[1], "f4")) for pair in zip(ends, ends[1:])]
        started = now()

        def loss(params: Any) -> Any:
            h = x
            for w, b in params[:-1]:
                h = jnp.tanh(h @ w + b)
            z = h @ params[-1][0] + params[-1][1]
            J = jnp.mean(jax.nn.logsumexp(z, axis=1) - z[jnp.arange(ROWS), t])
            return J + penalty * sum(jnp.sum(w**2) for w, _ in params) if penalty else J

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
        return since(started)

    return fit


FITS = {"graphc": graphc_fit, "jax": jax_fit}


def child(who: str, case: str, sizes: list[int]) -> Clock:
    """What a process of its own does, and what it took."""
    fit = FITS[who]()
    if case == "penalty":
        fit(sizes, PENALTY)
        return fit(sizes, 7 * PENALTY)
    return fit(sizes, 0.0)


def measure(who: str, case: str, sizes: list[int], before: list[int] | None = None) -> tuple[float, float, float]:
    """From the start of a fresh process with an empty cache, after its imports, and of the processor; with ``before``
    another process has filled the cache."""
    with tempfile.TemporaryDirectory() as folder:
        for one in [before, sizes] if before else [sizes]:
            answer, whole = answer_of("first_steps", [who, case, json.dumps(one)], folder)
    return (whole, *answer)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--child", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        who, case, sizes = options.child
        print(json.dumps(child(who, case, json.loads(sizes))))
        return
    columns = " | ".join(f"{who} {what}" for who in ("graphc", "JAX") for what in ("from start", "s", "processor, s"))
    print(f"| first step | {columns} |\n|---" + "|---" * 6 + "|")
    cases: list[tuple[str, list[Any]]] = [(f"{depth} {kind}", ["first", widths(kind, depth)]) for kind, depth in DEEP]
    cases += [("another penalty", ["penalty", [64, 64]]), ("another width", ["first", [64, 80], [64, 64]])]
    for name, arguments in cases:
        found = [np.median([measure(who, *arguments) for _ in range(options.repeats)], 0) for who in FITS]
        print(f"| {name} | " + " | ".join(f"{s:.2f}" for s in np.ravel(found)) + " |", flush=True)


if __name__ == "__main__":
    main()
