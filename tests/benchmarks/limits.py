"""What the machine can do: ``python -m tests.benchmarks.limits THREADS`` prints one JSON object.

``gemm_float32``, ``gemm_float64``        FLOP/s, the best of BLAS (through NumPy) and graphc's own tiles
``function_float32``, ``function_float64``    seconds an element of the fastest of exp, log, tanh, sin, in cache
``copy_near``, ``copy_far``               bytes a second, read and written, in the second-level cache and in memory
``cache_bytes``                           the last cache: what is smaller may count as near

Each is the best of many runs: a limit is what was reached once.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from graphc.native.build import Program, build

SECONDS = 0.25  # for one figure
TILE = (128, 768, 256)  # rows, inner, columns of the product of tiles: inside the second-level cache
SQUARES = (512, 2048)  # of the products of BLAS
NAMES = ("exp", "log", "tanh", "sin")
ELEMENTS = 16384
NEAR, FAR = 128 * 1024, 128 * 2**20  # bytes of each of the two arrays that are copied
DTYPES = ("float32", "float64")


def best_seconds(calls: list[Callable[[], object]]) -> float:
    """The least time in which all calls are done, each in a thread of its own."""
    best, end = float("inf"), time.perf_counter() + SECONDS
    with ThreadPoolExecutor(len(calls)) as pool:
        while time.perf_counter() < end:
            begin = time.perf_counter()
            list(pool.map(lambda call: call(), calls))
            best = min(best, time.perf_counter() - begin)
    return best


def program_text(dtype: str) -> tuple[str, dict[str, tuple[str, ...]]]:
    """Entries that repeat a product of tiles, and each function over an array."""
    m, k, n = TILE
    pointer = f"{dtype}*"
    text = f"from graphc.primitives.names import {', '.join(NAMES)}, gemm, noalias\n"
    text += f"def product(A, B, C, times):\n    for t in range(times):\n        gemm(A, 0, {k}, 1, B, 0, {n}, 1, "
    text += f"C, 0, {n}, {m}, {n}, {k}, C, 0, 0)\n    return 0\n"
    words: dict[str, tuple[str, ...]] = {"product": (pointer, pointer, pointer, "int64")}
    for name in NAMES:
        text += f"def each_{name}(X, Y, times):\n    noalias()\n    for t in range(times):\n"
        text += f"        for i in range({ELEMENTS}):\n            Y[i] = {name}(X[i])\n    return 0\n"
        words[f"each_{name}"] = (pointer, pointer, "int64")
    return text, words


def tiles_flops(program: Program, dtype: str, threads: int) -> float:
    """FLOP/s of one product a thread."""
    m, k, n = TILE
    times = 20
    sets = [[np.ones(size, dtype) for size in (m * k, k * n, m * n)] for _ in range(threads)]
    calls = [lambda a=arrays: program.call("product", *(x.ctypes.data for x in a), times) for arrays in sets]
    return threads * times * 2 * m * k * n / best_seconds(calls)


def blas_flops(dtype: str) -> float:
    """FLOP/s of NumPy's product; the number of threads is an environment variable."""
    rates = []
    for n in SQUARES:
        a, b, c = (np.ones((n, n), dtype) for _ in range(3))
        rates.append(2 * n**3 / best_seconds([lambda a=a, b=b, c=c: np.matmul(a, b, out=c)]))
    return max(rates)


def function_seconds(program: Program, dtype: str, threads: int) -> float:
    """Seconds an element of the fastest function."""
    x = np.linspace(0.5, 2, ELEMENTS).astype(dtype)
    times = max(1, 2**20 // ELEMENTS)
    found = []
    for name in NAMES:
        outs = [np.empty_like(x) for _ in range(threads)]
        calls = [lambda y=y, e=f"each_{name}": program.call(e, x.ctypes.data, y.ctypes.data, times) for y in outs]
        found.append(best_seconds(calls) / (threads * times * ELEMENTS))
    return min(found)


def copy_rate(size: int, threads: int) -> float:
    """Bytes a second, read and written, of one copy a thread."""
    pairs = [(np.ones(size, "uint8"), np.ones(size, "uint8")) for _ in range(threads)]
    times = max(1, 2**24 // size)

    def copy(target: np.ndarray, source: np.ndarray) -> None:
        for _ in range(times):
            np.copyto(target, source)

    calls = [lambda p=pair: copy(*p) for pair in pairs]
    return threads * times * 2 * size / best_seconds(calls)


def cache_bytes() -> int:
    """The size of the last cache, 32 MiB where the system does not say."""
    sizes = Path("/sys/devices/system/cpu/cpu0/cache").glob("index*/size")
    return max((int(path.read_text().strip().rstrip("K")) * 1024 for path in sizes), default=32 * 2**20)


def measure(threads: int) -> dict[str, float]:
    limits: dict[str, float] = {
        "copy_near": copy_rate(NEAR, threads), "copy_far": copy_rate(FAR, threads), "cache_bytes": cache_bytes()
    }  # fmt: skip
    for dtype in DTYPES:
        text, words = program_text(dtype)
        with tempfile.TemporaryDirectory() as folder:
            program = build(text, words, name="limits", folder=folder)
        tiles, blas = tiles_flops(program, dtype, threads), blas_flops(dtype)
        limits |= {f"tiles_{dtype}": tiles, f"blas_{dtype}": blas, f"gemm_{dtype}": max(tiles, blas)}
        limits[f"function_{dtype}"] = function_seconds(program, dtype, threads)
    return limits


if __name__ == "__main__":
    print(json.dumps(measure(int(sys.argv[1]))))
