"""Matrix products, tiles and tiles of packed operands beside BLAS: ``python -m tests.benchmarks.products`` prints
the table of ``docs/cost_model.md``."""

from __future__ import annotations

import tempfile
import time
from statistics import median

import numpy as np

from graphc.native.build import Program, build
from graphc.run.thread_team import one_thread_of_blas

SHAPES = [
    (32, 30, 16), (64, 64, 128), (64, 128, 10), (128, 784, 256), (128, 256, 128),
    (1024, 64, 256), (1024, 256, 256), (512, 1677, 644), (512, 1024, 2048), (512, 2048, 2048), (64, 2048, 2048),
]  # fmt: skip
PRIMITIVES = ("gemm", "packed_gemm", "blas_gemm")
IMPORTS = "from graphc.primitives.names import blas_gemm, gemm, packed_gemm\n"
SECONDS, REPEATS = 0.05, 7


def source() -> tuple[str, list[str]]:
    """One entry for each shape, primitive and way to store A: ``times`` products C = A B."""
    text, names = IMPORTS, []
    for m, k, n in SHAPES:
        for primitive in PRIMITIVES:
            for word, strides in (("rows", f"{k}, 1"), ("columns", f"1, {m}")):
                names.append(f"{primitive}_{word}_{m}_{k}_{n}")
                call = f"{primitive}(A, 0, {strides}, B, 0, {n}, 1, C, 0, {n}, {m}, {n}, {k}, C, 0, 0)"
                text += f"def {names[-1]}(A, B, C, times):\n    for t in range(times):\n        {call}\n    return 0\n"
    return text, names


def rate(program: Program, entry: str, m: int, k: int, n: int) -> float:
    """GFLOP/s, the median of some runs."""
    random = np.random.default_rng(0)
    a, b = (random.normal(size=size).astype("float32") for size in (m * k, k * n))
    c = np.zeros(m * n, "float32")
    pointers = [x.ctypes.data for x in (a, b, c)]
    one = _seconds(program, entry, pointers, 1)
    times = max(1, int(SECONDS / max(_seconds(program, entry, pointers, 10) / 10, one / 1000, 1e-8)))
    return 2e-9 * m * k * n * times / median(_seconds(program, entry, pointers, times) for _ in range(REPEATS))


def _seconds(program: Program, entry: str, pointers: list[int], times: int) -> float:
    started = time.perf_counter()
    program.call(entry, *pointers, times)
    return time.perf_counter() - started


def main() -> None:
    text, names = source()
    with tempfile.TemporaryDirectory() as folder:
        program = build(text, dict.fromkeys(names, ("float32*",) * 3 + ("int64",)), name="products", folder=folder)
        with one_thread_of_blas(program):
            print_table(program)


def print_table(program: Program) -> None:
    print("| M×K×N, float32 | tiles / packed / BLAS | with A transposed |\n|---|---|---|")
    for m, k, n in SHAPES:
        pairs = []
        for word in ("rows", "columns"):
            rates = (rate(program, f"{p}_{word}_{m}_{k}_{n}", m, k, n) for p in PRIMITIVES)
            pairs.append(" / ".join(f"{x:.0f}" for x in rates))
        print(f"| {m}×{k}×{n} | {' | '.join(pairs)} |")


if __name__ == "__main__":
    main()
