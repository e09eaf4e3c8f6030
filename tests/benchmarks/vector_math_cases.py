"""What the benchmark of the scalar functions gives to every contestant: the same functions on the same numbers."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np

LENGTH = 16384  # at most three arrays of 128 KiB: they stay in the L2 cache
BLOCK_SECONDS = 0.002
PRECISIONS = ("float32", "float64")
# Where a network uses the function; the second row is the exponent of power.
RANGES = {
    **dict.fromkeys(("exp", "sigmoid", "softplus", "sin", "cos", "tan"), (-10, 10)),
    **dict.fromkeys(("expm1", "tanh", "sinh", "cosh", "atan"), (-5, 5)),
    **dict.fromkeys(("asin", "acos"), (-1, 1)),
    **{"erf": (-3, 3), "log": (1e-3, 100), "log1p": (-0.9, 10), "sqrt": (0, 100), "power": (0.1, 10)},
}
EXPONENTS = (-3, 3)


def arguments(name: str, precision: str) -> list[np.ndarray]:
    """One row of numbers, two for power."""
    rng = np.random.default_rng(7)
    rows = [RANGES[name], EXPONENTS] if name == "power" else [RANGES[name]]
    return [rng.uniform(*ends, LENGTH).astype(precision) for ends in rows]


def passes_per_block(run: Callable[[int], object]) -> int:
    """How many passes over the row make a block long enough to be timed."""
    run(1)
    return max(3, int(BLOCK_SECONDS / block(run, 5) / LENGTH * 1e9))


def block(run: Callable[[int], object], passes: int) -> float:
    """Nanoseconds an element in one block; a pass before it brings the rows back to the cache."""
    run(1)
    started = time.perf_counter()
    run(passes)
    return (time.perf_counter() - started) / passes / LENGTH * 1e9


def repeated(call: Callable[[], object]) -> Callable[[int], None]:
    """``run(passes)`` of a library's function."""

    def run(passes: int) -> None:
        for _ in range(passes):
            call()

    return run
