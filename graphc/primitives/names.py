"""Every primitive that a generated program may call, under the name it calls it by."""

from typing import Any

from graphc.primitives.barrier import meet
from graphc.primitives.calls import invoke
from graphc.primitives.draws import random_bernoulli, random_normal, random_uniform
from graphc.primitives.matmul.blas import blas_gemm
from graphc.primitives.matmul.dots import contract_dots
from graphc.primitives.matmul.gemm import contract, gemm
from graphc.primitives.matmul.lines import contract_lines
from graphc.primitives.matmul.packed_gemm import packed_gemm
from graphc.primitives.matmul.transpose import transpose
from graphc.primitives.memory import (
    atomic_load,
    atomic_store,
    chains,
    copy,
    fill,
    noalias,
    nonfinite,
    radd,
    rlargest,
    rmax,
    rmin,
    rtop,
    wide,
)
from graphc.primitives.shuffle import permuted
from graphc.primitives.vector_math import functions
from graphc.primitives.vector_math.functions import *  # noqa: F403  the names of the scalar table

__all__ = [
    "atomic_load", "atomic_store", "blas_gemm", "chains", "contract", "contract_dots", "contract_lines", "copy", "fill",
    "gemm", "invoke", "meet", "noalias", "nonfinite", "packed_gemm", "permuted", "radd", "random_bernoulli",
    "random_normal", "random_uniform", "rlargest", "rmax", "rmin", "rtop", "transpose", "wide",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    return getattr(functions, name)
