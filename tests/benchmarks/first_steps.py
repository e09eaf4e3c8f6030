"""Seconds to the first step of networks, beside JAX: ``python -m tests.benchmarks.first_steps``.

Every row is from processes of their own with an empty code cache. "From start" begins with the process; the other
columns leave out what ``import jax`` and ``import numpy, sympy, graphc`` take, but not the import of Numba. Seconds of
the processor stand beside those of the clock, which others on a machine lengthen.

32 inputs, ``depth`` layers of tanh, 64 wide or 40, 43, 46, .., ten classes, 64 rows, Adam; two transformer blocks (4
heads, 32 x 64, 16 rows); a recurrent network of 32 units whose 32 steps are written out, where JAX has a scan, or are
one as well. JAX's step is a scan in one jitted function.

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
from tests.benchmarks.first_step_networks import data, in_graphc, in_jax, init

DEEP = [("equal", 2), ("equal", 10), ("equal", 20), ("equal", 40), ("different", 10), ("different", 20)]
PENALTY = 1e-4

Clock = tuple[float, float]
Step = tuple[float, float, float]  # what it took by both clocks, and its loss
Fit = Callable[[str, list[int], float], Step]


def widths(kind: str, depth: int) -> list[int]:
    return [64] * depth if kind == "equal" else [40 + 3 * t for t in range(depth)]


def now() -> Clock:
    return time.perf_counter(), time.process_time()


def since(before: Clock) -> Clock:
    after = now()
    return after[0] - before[0], after[1] - before[1]


def graphc_fit() -> Fit:
    """Declares and trains one step."""
    gc = importlib.import_module("graphc")
    importlib.import_module("sympy")

    def fit(kind: str, sizes: list[int], penalty: float) -> Step:
        x, t = data(kind, sizes)
        started = now()
        Z, J = in_graphc(kind, sizes, penalty)
        run = gc.Model(output=Z, loss=J).fit(x, t, optimizer="adam", steps=1, batch_size=len(x))
        return *since(started), run.history["loss"][-1]

    return fit


def jax_fit() -> Fit:
    """The same in JAX."""
    jax = importlib.import_module("jax")
    jnp, each = jax.numpy, jax.tree_util.tree_map
    jax.block_until_ready(jnp.zeros(3) + 1)

    def fit(kind: str, sizes: list[int], penalty: float) -> Step:
        (x, t), params = data(kind, sizes), init(kind, sizes)
        started = now()
        loss = in_jax(kind, sizes, penalty)

        def step(state: Any, k: Any) -> Any:
            params, m, v = state
            value, g = jax.value_and_grad(loss)(params, x, t)
            m = each(lambda m, g: 0.9 * m + 0.1 * g, m, g)
            v = each(lambda v, g: 0.999 * v + 0.001 * g**2, v, g)
            change = lambda m, v: 1e-3 * m / (1 - 0.9**k) / (jnp.sqrt(v / (1 - 0.999**k)) + 1e-8)
            return (each(lambda p, m, v: p - change(m, v), params, m, v), m, v), value

        zeros = each(jnp.zeros_like, params)
        run = jax.jit(lambda state: jax.lax.scan(step, state, jnp.arange(1.0, 2.0)))
        _, losses = jax.block_until_ready(run((params, zeros, zeros)))
        return *since(started), float(losses[0])

    return fit


FITS = {"graphc": graphc_fit, "jax": jax_fit}


def child(who: str, kind: str, sizes: list[int]) -> Step:
    """What a process of its own does."""
    fit = FITS[who]()
    if kind == "penalty":
        fit(kind, sizes, PENALTY)
        return fit(kind, sizes, 7 * PENALTY)
    return fit(kind, sizes, 0.0)


def measure(who: str, kind: str, sizes: list[int], before: list[int] | None = None) -> tuple[float, ...]:
    """From the start of a fresh process with an empty cache, after its imports, of the processor, and the loss; with
    ``before`` another process has filled the cache."""
    with tempfile.TemporaryDirectory() as folder:
        for one in [before, sizes] if before else [sizes]:
            answer, whole = answer_of("first_steps", [who, kind, json.dumps(one)], folder)
    return (whole, *answer)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--child", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        who, kind, sizes = options.child
        print(json.dumps(child(who, kind, json.loads(sizes))))
        return
    columns = " | ".join(f"{who} {what}" for who in ("graphc", "JAX") for what in ("from start", "s", "processor, s"))
    print(f"| first step | {columns} |\n|---" + "|---" * 6 + "|")
    cases: list[tuple[str, list[Any]]] = [(f"{depth} {kind}", ["dense", widths(kind, depth)]) for kind, depth in DEEP]
    cases += [("two blocks", ["blocks", [2]]), ("32 times unrolled", ["unrolled", [32]]), ("a scan", ["scanned", [32]])]
    cases += [("another penalty", ["penalty", [64, 64]]), ("another width", ["dense", [64, 80], [64, 64]])]
    for name, arguments in cases:
        found = np.array([np.median([measure(who, *arguments) for _ in range(options.repeats)], 0) for who in FITS])
        np.testing.assert_allclose(*found[:, -1], rtol=1e-5, err_msg=f"{name}: not the same network")
        print(f"| {name} | " + " | ".join(f"{s:.2f}" for s in np.ravel(found[:, :-1])) + " |", flush=True)


if __name__ == "__main__":
    main()
