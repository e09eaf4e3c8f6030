"""Which primitive computes a matrix product: emitted tiles or BLAS.

The choice depends on shape and type alone, never on a timing or on the number of threads, so that the same declaration
gives the same bits.  The measurements behind it stand in ``docs/cost_model.md``.
"""

from __future__ import annotations

from collections.abc import Mapping

from graphc.ir.affine import Extent
from graphc.lower.kernels import Product

TILE_LIMIT = 2 * 2**20  # bytes of the right factor
FEW_ROWS = 16
TILES, BLAS = "gemm", "blas_gemm"
BYTES = {"float32": 4, "float64": 8}


def prefer_blas(m: int, n: int, k: int, dtype: str) -> bool:
    """Whether a product C[m, n] = A[m, k] B[k, n] is left to BLAS: when B takes more than 2 MiB.

    The tiles read B in panels without packing it. Up to this size whole vectors gave 103 to 117 GFLOP/s in float32 on
    one Zen 4 core where OpenBLAS gave 83 to 112; above it, rows that are powers of two apart fall out of the caches
    (512x2048x2048: 63 against 102, in float64 21 against 53).
    """
    return m >= FEW_ROWS and n > 1 and k * n * BYTES[dtype] > TILE_LIMIT


def product_method(p: Product, capacity: Mapping[str, int], dtype: str) -> str:
    """Name of the primitive: "gemm" (emitted tiles) or "blas_gemm"."""
    m, n, k = (_size(e, capacity) for e in (p.m, p.n, p.k))
    return BLAS if prefer_blas(m, n, k, dtype) else TILES


def _size(e: Extent, capacity: Mapping[str, int]) -> int:
    return e if isinstance(e, int) else capacity.get(e, 256)
