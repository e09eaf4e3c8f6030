"""SciPy's BLAS by symbol: found without importing SciPy, registered when a program needs it, held to one thread."""

from __future__ import annotations

import ctypes
import functools
import importlib.util
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import llvmlite.binding as llvm

SYMBOLS = {"graphc_blas_sgemm": "sgemm", "graphc_blas_dgemm": "dgemm"}
_SPELLINGS = ("scipy_{}_", "{}_")
_THREADS = ("scipy_openblas_{}_num_threads", "openblas_{}_num_threads")


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


class _OneThread:
    """BLAS calls inside use one thread: the same bits for any number of tasks, and no threads fighting for cores.

    The setting belongs to the process: SciPy calls from other Python threads see it too while this is active.  Several
    runs may be inside at once; the last one out restores the old setting.  Does nothing without such a setting.
    """

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.inside = 0
        self.before = 0

    def __enter__(self) -> None:
        get, put = _thread_functions()
        with self.lock:
            if self.inside == 0 and get is not None and put is not None:
                self.before = get()
                put(1)
            self.inside += 1

    def __exit__(self, *_: object) -> None:
        _, put = _thread_functions()
        with self.lock:
            self.inside -= 1
            if self.inside == 0 and put is not None:
                put(self.before)


_ONE_THREAD = _OneThread()


@functools.cache
def _thread_functions() -> Sequence[Any]:
    found = [_lookup(name.format(verb) for name in _THREADS) for verb in ("get", "set")]
    return [None, None] if None in found else found


def one_thread() -> _OneThread:
    """A context in which BLAS uses one thread; see :class:`_OneThread`."""
    return _ONE_THREAD
