"""Every primitive that a generated program may call, under the name it calls it by."""

from typing import Any

from graphc.run.primitives import vmath
from graphc.run.primitives.blas import blas_gemm
from graphc.run.primitives.gemm import gemm, transpose
from graphc.run.primitives.memory import (
    atomic_load,
    atomic_store,
    copy,
    fill,
    noalias,
    nonfinite,
    radd,
    rlargest,
    rmax,
    rmin,
    rtop,
)
from graphc.run.primitives.packed import packed_gemm
from graphc.run.primitives.rng import permuted
from graphc.run.primitives.threads import meet
from graphc.run.primitives.vmath import *  # noqa: F403  the names of the scalar table

__all__ = [
    "atomic_load", "atomic_store", "blas_gemm", "copy", "fill", "gemm", "meet", "noalias", "nonfinite", "packed_gemm",
    "permuted", "radd", "rlargest", "rmax", "rmin", "rtop", "transpose",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    return getattr(vmath, name)
