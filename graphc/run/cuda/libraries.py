"""Which parts of CUDA are there: found without importing any of them, and what to say when one is missing."""

from __future__ import annotations

import importlib.util

from graphc.errors import MissingExtraError

COMPILER = ("numba_cuda", "cuda.core")


def require_compiler() -> None:
    """Raise MissingExtraError unless kernels can be compiled."""
    for package in COMPILER:
        if not _found(package):
            raise MissingExtraError(_missing(package))


def _found(package: str) -> bool:
    try:
        return importlib.util.find_spec(package) is not None
    except ModuleNotFoundError:  # a package above it
        return False


def _missing(package: str) -> str:
    return (
        f'target="cuda" needs the package {package.replace("_", "-")}\n'
        '  hint: install it with: pip install "graphc[cuda13]", or "graphc[cuda12]" for a driver of CUDA 12'
    )
