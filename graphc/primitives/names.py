"""Every primitive that a generated program may call, under the name it calls it by; its module is loaded then."""

from __future__ import annotations

import importlib
from typing import Any

_NAMES = {
    "barrier": "meet",
    "calls": "invoke",
    "draws": "random_bernoulli random_normal random_uniform",
    "matmul.blas": "blas_gemm",
    "matmul.dots": "contract_dots",
    "matmul.gemm": "contract gemm",
    "matmul.lines": "contract_lines",
    "matmul.packed_gemm": "packed_gemm",
    "matmul.transpose": "transpose",
    "memory": "atomic_load atomic_store chains copy fill noalias nonfinite radd rlargest rmax rmin rtop wide",
    "shuffle": "permuted",
}
_HOME = {name: module for module, names in _NAMES.items() for name in names.split()}
_SCALARS = "vector_math.functions"

__all__ = [*_HOME]  # pyright: ignore[reportUnsupportedDunderAll]


def __getattr__(name: str) -> Any:
    if name.startswith("__"):
        raise AttributeError(name)
    module = importlib.import_module(f"graphc.primitives.{_HOME.get(name, _SCALARS)}")
    value = globals()[name] = getattr(module, name)
    return value
