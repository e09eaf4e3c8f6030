"""A native call made ready for arrays that look like those of the call before.

What a call checks is the same as long as type, shape, strides and dtype of its arguments are: they are compared, and
what was found out then is used again. Values are looked at in every call where they matter (NaN in data, labels out of
range).
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from graphc.ir.affine import Extent
from graphc.ir.node import Leaf
from graphc.native.buffers import LINE, address
from graphc.native.bundles import Bundled
from graphc.native.loader import Program
from graphc.run.data import check_labels, is_finite

MOST = 2**20  # bytes of working memory and results; beyond, a call takes longer than what is saved

Look = tuple[tuple[int, ...], tuple[int, ...], np.dtype]
Check = Callable[[NDArray], bool | None]


def look_of(array: NDArray) -> Look:
    """What two arrays must have in common for a prepared call to take the one for the other."""
    return array.shape, array.strides, array.dtype


class Looks:
    """What the arguments of a call looked like, and what is checked of every value.

    Parameters
    ----------
    arrays : sequence of arrays
        The data of the call before.
    checks : mapping of int to function
        For the data at a place: whether its values may be taken. It may raise.
    """

    def __init__(self, arrays: Sequence[NDArray], checks: Mapping[int, Check]) -> None:
        self._looks, self._checks = [look_of(a) for a in arrays], list(checks.items())

    def take(self, arrays: Sequence[Any]) -> bool:
        """Whether arguments look the same and may be taken."""
        if len(arrays) != len(self._looks):
            return False
        for a, (shape, strides, dtype) in zip(arrays, self._looks, strict=True):
            if not isinstance(a, np.ndarray) or a.shape != shape or a.strides != strides or a.dtype != dtype:
                return False
        return all(check(arrays[place]) is not False for place, check in self._checks)


def checks_of(inputs: Sequence[Leaf], limits: Mapping[Leaf, Collection[Extent]]) -> dict[int, Check]:
    """What is checked of every value: that it is finite, that a label is in its range."""
    return {
        t: partial(check_labels, leaf, extents=limits.get(leaf, ()), sizes={}) if leaf.dtype == "int" else is_finite
        for t, leaf in enumerate(inputs)
        if leaf.dtype != "int" or leaf in limits
    }


class Ready:
    """A call of one entry of a program.

    Parameters
    ----------
    program, entry : Program, str
        What is called.
    head : sequence of arrays
        The arguments before the data: working memory, constants and the like, which belong to this call.
    fresh : sequence of arrays
        Those of ``head`` that begin anew in every call; they hold their first values now.
    arrays : sequence of arrays
        The data of the call before.
    checks : mapping of int to function
        For the data at a place: whether its values may be taken. It may raise.
    shapes, dtype
        Of the results.
    """

    def __init__(
        self,
        program: Program,
        entry: str,
        head: Sequence[NDArray],
        fresh: Sequence[NDArray],
        arrays: Sequence[NDArray],
        checks: Mapping[int, Check],
        shapes: Sequence[tuple[int, ...]],
        dtype: str,
    ) -> None:
        given = [0] * (len(arrays) + len(shapes))
        self._call = Bundled(program, entry, [*map(address, head), *given])
        self._kept, self._first = head, len(head)
        self._fresh = [(a, a.copy()) for a in fresh]
        self.takes = Looks(arrays, checks).take
        self._results = [(shape, int(np.prod(shape, dtype=np.int64))) for shape in shapes]
        self._spare, self._dtype = LINE // np.dtype(dtype).itemsize, np.dtype(dtype)
        self._busy = threading.Lock()

    def __call__(self, arrays: Sequence[NDArray], after: Callable[[], Any] = tuple) -> tuple[list[NDArray], Any] | None:
        """The results, in memory of their own, and what ``after`` reads; None while another thread is in this call."""
        if not self._busy.acquire(blocking=False):
            return None
        try:
            for array, first in self._fresh:
                np.copyto(array, first)
            results, values = [], self._call.values
            for at, array in enumerate(arrays, self._first):
                values[at] = array.__array_interface__["data"][0]
            for at, (shape, count) in enumerate(self._results, self._first + len(arrays)):
                result, values[at] = self._result(shape, count)
                results.append(result)
            self._call()
            return results, after()
        finally:
            self._busy.release()

    def _result(self, shape: tuple[int, ...], count: int) -> tuple[NDArray, int]:
        """Zeros that begin on a cache line."""
        raw = np.zeros(count + self._spare, self._dtype)
        begin = raw.__array_interface__["data"][0]
        skipped = -begin % LINE
        first = skipped // self._dtype.itemsize
        return raw[first : first + count].reshape(shape), begin + skipped


def usable(given: Sequence[Any], arrays: Sequence[NDArray]) -> bool:
    """Whether data were passed as the program reads them, so that no copy is needed."""
    return len(given) == len(arrays) and all(
        isinstance(g, np.ndarray) and g.dtype == a.dtype and g.shape == a.shape and address(g) == address(a)
        for g, a in zip(given, arrays, strict=True)
    )
