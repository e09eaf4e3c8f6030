"""Aligned arrays, and addresses for native calls."""

from __future__ import annotations

import ctypes
import os

import numpy as np
from numpy.typing import DTypeLike, NDArray

LINE = 64  # bytes of a cache line: vectors of every buffer start on one


def aligned(count: int, dtype: DTypeLike) -> NDArray:
    """A zeroed one-dimensional array of at least one element that starts on a cache line."""
    kind = np.dtype(dtype)
    size = max(int(count), 1) * kind.itemsize
    raw = np.zeros(size + LINE, dtype=np.uint8)
    start = -raw.ctypes.data % LINE
    return raw[start : start + size].view(kind)


def realigned(values: NDArray) -> NDArray:
    """A copy of a one-dimensional array that starts on a cache line."""
    copy = aligned(values.size, values.dtype)
    copy[: values.size] = values
    return copy[: values.size]


def address(array: NDArray) -> int:
    """Where the data of a contiguous array begin."""
    return array.__array_interface__["data"][0]


class Addresses:
    """Where arrays begin that are passed in call after call, asked once for each; they are kept alive."""

    def __init__(self) -> None:
        self._known: dict[str, tuple[NDArray, int]] = {}

    def of(self, name: str, array: NDArray) -> int:
        """The address of the array that goes by a name."""
        known = self._known.get(name)
        if known is None or known[0] is not array:
            known = self._known[name] = array, address(array)
        return known[1]


def trim() -> None:
    """Return freed memory to the system, where the C library can (glibc): compiling leaves some 15 MB, in half a
    millisecond."""
    give_back = getattr(ctypes.CDLL(None), "malloc_trim", None) if os.name == "posix" else None
    if give_back is not None:
        give_back(0)
