"""Data that are made dense only where they are needed: the rows of sparse matrices, of files of another type.

A program reads row ``at + i`` of its data behind a pointer. A block that holds some rows of an epoch, in the order in
which its steps take them, is therefore read by the same program, with a pointer to where row 0 would lie: the bits are
those of data that are in memory as a whole.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from graphc.ir.node import Leaf
from graphc.native.buffers import address
from graphc.primitives import philox
from graphc.run.sampler import Sampler

BLOCK = 2**24  # bytes of dense rows at a time
LARGE = 2**28  # bytes: smaller files of another type are converted as a whole


@dataclass(frozen=True)
class Rows:
    """Rows of a matrix that is sparse, or an array on disk that another type is read from; ``[rows]`` makes them dense.

    ``chosen`` are the rows that belong to it, all when it is None.
    """

    whole: Any
    dtype: np.dtype
    chosen: NDArray | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        """As of an array."""
        return (len(self), *self.whole.shape[1:])

    @property
    def nbytes(self) -> int:
        """Of all rows, dense."""
        return int(np.prod(self.shape, dtype=np.int64)) * self.dtype.itemsize

    def __len__(self) -> int:
        return self.whole.shape[0] if self.chosen is None else len(self.chosen)

    def take(self, rows: NDArray) -> Rows:
        """Some of the rows, not yet dense."""
        return Rows(self.whole, self.dtype, rows if self.chosen is None else self.chosen[rows])

    def __getitem__(self, rows: Any) -> NDArray:
        wanted = rows if self.chosen is None else self.chosen[rows]
        found = self.whole[wanted]
        return np.ascontiguousarray(found.toarray() if hasattr(found, "toarray") else found, dtype=self.dtype)


def is_sparse(value: Any) -> bool:
    """Whether a value is a sparse matrix or array of SciPy."""
    return type(value).__module__.startswith("scipy.sparse")


def as_rows(value: Any, dtype: DTypeLike) -> Rows | None:
    """A sparse matrix by rows, or a large file of numbers of another type; None for what is an array as it stands."""
    wanted = np.dtype(dtype)
    if is_sparse(value):
        return Rows(value.tocsr(), wanted)
    on_disk = isinstance(value, np.memmap) and value.dtype != wanted and value.dtype.kind in "fiub"
    return Rows(value, wanted) if on_disk and value.nbytes >= LARGE else None


def values_of(rows: Rows) -> NDArray:
    """The numbers that are stored, to be looked through; of a file a view of the disk."""
    return rows.whole.data if is_sparse(rows.whole) else rows.whole


class Behind:
    """Where row 0 would lie of a block that begins with row ``first``: all that a native call asks of an array."""

    def __init__(self, block: NDArray, first: int) -> None:
        self.block = block
        width = block.strides[0]
        self.__array_interface__ = {**block.__array_interface__, "data": (address(block) - first * width, False)}


def rows_within(arrays: Mapping[Leaf, Any], batch: int) -> int | None:
    """Rows of a block, whole batches; None when all data are in memory."""
    widths = [a.nbytes // max(len(a), 1) for a in arrays.values() if isinstance(a, Rows)]
    return max(1, BLOCK // max(1, sum(widths) * batch)) * batch if widths else None


def block_of(
    leaves: Sequence[Leaf], data: Sequence[Any], extent: str, sampler: Sampler, count: int, order: NDArray | None
) -> list[Any]:
    """The next ``count`` rows of the epoch for every input that has rows, as a program reads them in order."""
    first, last = sampler.position, min(sampler.position + count, sampler.rows)
    rows = slice(first, last) if order is None else order[first:last]
    return [
        Behind(np.ascontiguousarray(array[rows]), first) if leaf.shape[:1] == (extent,) else array
        for leaf, array in zip(leaves, data, strict=True)
    ]


class Order:
    """The order of the rows in the present epoch, kept until the next one begins."""

    def __init__(self) -> None:
        self._known: tuple[int, int, int] | None = None
        self._rows = np.empty(0, np.int64)

    def of(self, sampler: Sampler) -> NDArray:
        """All rows as the epoch takes them."""
        wanted = sampler.rows, sampler.seed, sampler.epoch
        if wanted != self._known:
            self._known, self._rows = wanted, philox.permutation(*wanted)
        return self._rows
