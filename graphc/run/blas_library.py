"""SciPy's BLAS by symbol: found without importing SciPy, registered when a program needs it, held to one thread."""

from __future__ import annotations

import contextlib
import ctypes
import functools
import importlib.util
from collections.abc import Iterator
from pathlib import Path

import llvmlite.binding as llvm

SYMBOLS = {"graphc_blas_sgemm": "sgemm", "graphc_blas_dgemm": "dgemm"}
_SPELLINGS = ("scipy_{}_", "{}_")
_THREADS = ("scipy_openblas_{}_num_threads", "openblas_{}_num_threads")

TILE_LIMIT = 2 * 2**20


def prefer_blas(m: int, n: int, k: int, dtype: str) -> bool:
    """Whether a product C[m, n] = A[m, k] B[k, n] is left to BLAS: when B takes more than 2 MiB.

    The tiles read B in panels without packing it. Up to this size they gave 100 to 117 GFLOP/s in float32 on one
    Zen 4 core where OpenBLAS gave 85 to 112, and were up to 4 times as fast on ragged and small shapes; above it,
    rows that are powers of two apart fall out of the caches (512x2048x2048: 86 against 98, in float64 31 against 53).
    The choice depends on shape and type alone, never on a timing: the same program gives the same bits.
    """
    size = {"float32": 4, "float64": 8}[dtype]
    return m >= 16 and k * n * size > TILE_LIMIT


def provide_for(image: bytes) -> None:
    """Register the BLAS routines that an object file calls; a program without any never loads the library."""
    needed = {symbol for symbol in SYMBOLS if symbol.encode() in image}
    for symbol in needed:
        llvm.add_symbol(symbol, address(SYMBOLS[symbol]))


@functools.cache
def _library() -> ctypes.CDLL | None:
    """A handle through which the BLAS that SciPy uses is visible.

    SciPy's extension module links to it, and a lookup through a module's handle searches what the module links to.
    """
    spec = importlib.util.find_spec("scipy")
    if spec is None or spec.origin is None:
        return None
    modules = sorted((Path(spec.origin).parent / "linalg").glob("cython_blas*.so"))
    return ctypes.CDLL(str(modules[0])) if modules else None


def _lookup(names: Iterator[str]) -> ctypes._CFuncPtr | None:
    library = _library()
    found = (getattr(library, name, None) for name in names)
    return next((function for function in found if function is not None), None)


@functools.cache
def address(routine: str) -> int:
    """Where ``"sgemm"`` or ``"dgemm"`` (Fortran calling convention, 32-bit integers) starts."""
    function = _lookup(spelling.format(routine) for spelling in _SPELLINGS)
    if function is not None:
        return ctypes.cast(function, ctypes.c_void_p).value or 0
    return _capsule_address(routine)


def _capsule_address(routine: str) -> int:
    """The same address from SciPy's Cython interface, which every SciPy has but which takes longer to import."""
    from scipy.linalg import cython_blas

    capsule = cython_blas.__pyx_capi__[routine]
    name = ctypes.pythonapi.PyCapsule_GetName
    name.restype, name.argtypes = ctypes.c_char_p, [ctypes.py_object]
    pointer = ctypes.pythonapi.PyCapsule_GetPointer
    pointer.restype, pointer.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]
    return pointer(capsule, name(capsule))


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """BLAS calls inside use one thread: the same bits for any number of tasks, and no threads fighting for cores.

    The setting belongs to the process: SciPy calls from other Python threads see it too while this is active. Does
    nothing when the library has no such setting.
    """
    get, put = (_lookup(name.format(verb) for name in _THREADS) for verb in ("get", "set"))
    before = get() if get is not None and put is not None else None
    if put is None or before is None:
        yield
        return
    put(1)
    try:
        yield
    finally:
        put(before)
