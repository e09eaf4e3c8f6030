"""Matrix products, tiles and tiles of packed operands beside BLAS: ``python -m tests.benchmarks.products``.

It prints the table of ``docs/cost_model.md``: what is known of the processor, which way each product takes, and its
share of what tiles reach whose operands never leave the nearest cache. An older processor is tried by the variables of
Numba, such as ``NUMBA_CPU_NAME=haswell NUMBA_CPU_FEATURES=+avx,+avx2,+fma`` (BLAS: ``OPENBLAS_CORETYPE=Haswell``).
"""

from __future__ import annotations

import tempfile
import time
from statistics import median
from typing import Any, cast

import numpy as np

from graphc.lower.cost import CUTS, PACKED, TILES, product_method
from graphc.lower.kernels import Product, View
from graphc.lower.layout import Buffer, Count
from graphc.lower.processor import processor
from graphc.native.build import Program, build
from graphc.primitives import host
from graphc.primitives.matmul.vector_ir import vector_unit
from graphc.run.thread_team import one_thread_of_blas

SHAPES = [
    (32, 30, 16), (64, 64, 128), (64, 128, 10), (128, 784, 256), (128, 256, 128),
    (1024, 64, 256), (1024, 256, 256), (512, 1677, 644), (512, 1024, 2048), (512, 2048, 2048), (64, 2048, 2048),
]  # fmt: skip
PEAK = (24, 64, 48)  # operands of 21 KiB
PRIMITIVES = ("gemm", "packed_gemm", "blas_gemm")
IMPORTS = "from graphc.primitives.names import blas_gemm, gemm, packed_gemm\n"
NAMES = {TILES: "tiles", PACKED: "packed"}
SECONDS, REPEATS = 0.05, 7


def source() -> tuple[str, list[str]]:
    """One entry for each shape, primitive and way to store A: ``times`` products C = A B."""
    text, names = IMPORTS, []
    for m, k, n in [*SHAPES, PEAK]:
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
    peak = max(rate(program, f"gemm_rows_{'_'.join(map(str, PEAK))}", *PEAK) for _ in range(REPEATS))
    size, registers = vector_unit()
    print(f"{processor()}, made for {host.name()}: {registers} registers of {size} bytes; {CUTS}")
    print(f"Tiles whose operands never leave the nearest cache: {peak:.0f} GFLOP/s\n")
    columns = ("M×K×N", "tiles / packed / BLAS", "taken", "of the peak", "A transposed", "taken", "of the peak")
    print(f"| {' | '.join(columns)} |\n{'|---' * len(columns)}|")
    for m, k, n in SHAPES:
        cells = [f"{m}×{k}×{n}"]
        for across in (False, True):
            way, word = product_method(product(m, k, n, across), {}, "float32"), "columns" if across else "rows"
            rates = {p: rate(program, f"{p}_{word}_{m}_{k}_{n}", m, k, n) for p in PRIMITIVES}
            cells += [" / ".join(f"{x:.0f}" for x in rates.values()), NAMES[way], f"{rates[way] / peak:.0%}"]
        print(f"| {' | '.join(cells)} |", flush=True)


def product(m: int, k: int, n: int, across: bool) -> Product:
    """C = A B, with A as it lies, or transposed."""
    one = Count.of(())
    left = (one, Count.of((m,))) if across else (Count.of((k,)), one)
    a, b = View(Buffer("a", "A", (m, k)), *left), View(Buffer("b", "B", (k, n)), Count.of((n,)), one)
    c = View(Buffer("c", "C", (m, n)), Count.of((n,)), one)
    return Product(cast("Any", None), cast("Any", None), c.buffer, a, b, c, m, n, k, 1)


if __name__ == "__main__":
    main()
