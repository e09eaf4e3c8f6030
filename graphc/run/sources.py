"""Data that are made dense only where they are needed: the rows of sparse matrices, of files, of files of another type.

A program reads row ``at + i`` of its data behind a pointer. A block that holds some rows of an epoch, in the order in
which its steps take them, is therefore read by the same program, with a pointer to where row 0 would lie: the bits are
those of data that are in memory as a whole.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from graphc.ir.node import Leaf
from graphc.late import late
from graphc.native.buffers import address
from graphc.primitives import philox
from graphc.records import record
from graphc.run.sampler import Sampler

if TYPE_CHECKING:
    from concurrent import futures
else:
    futures = late("concurrent.futures")

BLOCK = 2**24  # bytes of dense rows at a time
LARGE = 2**28  # bytes: smaller files of another type are converted as a whole


@record(frozen=True)
class Rows:
    """Rows of a matrix that is sparse, or of an array on disk; ``[rows]`` makes them dense.

    ``chosen`` are the rows that belong to it, all when it is None. With ``sorted`` rows are read in the order in which
    they lie, as HDF5 asks for.
    """

    whole: Any
    dtype: np.dtype
    chosen: NDArray | None = None
    sorted: bool = False

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
        return replace(self, chosen=rows if self.chosen is None else self.chosen[rows])

    def __getitem__(self, rows: Any) -> NDArray:
        wanted = rows if self.chosen is None else self.chosen[rows]
        found = self._in_order(wanted) if self.sorted and not isinstance(wanted, slice) else self.whole[wanted]
        return np.ascontiguousarray(found.toarray() if hasattr(found, "toarray") else found, dtype=self.dtype)


    def _in_order(self, rows: NDArray) -> NDArray:
        """The rows as they lie in the file, put into the order in which they are wanted."""
        lying, places = np.unique(rows, return_inverse=True)
        return np.asarray(self.whole[lying])[places]


def is_sparse(value: Any) -> bool:
    """Whether a value is a sparse matrix or array of SciPy."""
    return type(value).__module__.startswith("scipy.sparse")


def as_rows(value: Any, dtype: DTypeLike) -> Rows | None:
    """A sparse matrix by rows, a large file of numbers of another type or one that is no memory, as a data set of h5py;
    None for what is an array as it stands."""
    wanted = np.dtype(dtype)
    if is_sparse(value):
        return Rows(value.tocsr(), wanted)
    if is_stored(value) and value.dtype.kind in "fiub" and value.nbytes >= LARGE:
        return Rows(value, wanted, sorted=True)
    on_disk = isinstance(value, np.memmap) and value.dtype != wanted and value.dtype.kind in "fiub"
    return Rows(value, wanted) if on_disk and value.nbytes >= LARGE else None


def is_stored(value: Any) -> bool:
    """Whether a value is read from a file in parts, as data sets of h5py: it has chunks, but no memory."""
    wanted = ("chunks", "shape", "dtype", "nbytes", "__getitem__")
    return all(hasattr(value, name) for name in wanted) and not isinstance(value, np.ndarray)


def values_of(rows: Rows) -> NDArray:
    """The numbers that are stored, to be looked through; of a file a view of the disk."""
    return rows.whole.data if is_sparse(rows.whole) else rows.whole


class Behind:
    """Where row 0 would lie of a block that begins with row ``first``: all that a native call asks of an array."""

    def __init__(self, block: NDArray, first: int) -> None:
        self.block, self.reach = block, (first * block[:1].size, (first + len(block)) * block[:1].size)
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


class Ahead:
    """The next block of rows, which a thread gathers while a native call runs: neither holds Python's lock."""

    def __init__(self) -> None:
        self._pool: futures.ThreadPoolExecutor | None = None
        self._next: tuple[Any, futures.Future] | None = None

    def take(self, key: Any, gather: Callable[[], Any]) -> Any:
        """What ``gather()`` gives, from the thread where it was begun under this key; errors of the thread too."""
        begun, self._next = self._next, None
        if begun is None or begun[0] != key:
            return gather()
        return begun[1].result()

    def begin(self, key: Any, gather: Callable[[], Any]) -> None:
        """Let the thread gather what is taken next under this key."""
        self._pool = self._pool or futures.ThreadPoolExecutor(1, "graphc-rows")
        self._next = key, self._pool.submit(gather)

    def close(self) -> None:
        """End the thread, after the block that it is at."""
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=True)
        self._pool = self._next = None


def read_ahead(places: Sequence[Any], gather: Callable[[Any], Any]) -> Generator[tuple[Any, Any]]:
    """Every place with ``gather(place)``, the next of which a thread begins with meanwhile; to be closed."""
    ahead = Ahead()
    try:
        for t, place in enumerate(places):
            found = ahead.take(t, partial(gather, place))
            if t + 1 < len(places):
                ahead.begin(t + 1, partial(gather, places[t + 1]))
            yield place, found
    finally:
        ahead.close()


class Blocks:
    """The blocks of rows of a run, each in the order in which its steps take the rows."""

    def __init__(self, leaves: Sequence[Leaf], extent: str, shuffle: bool, most: int) -> None:
        """``most`` are the rows of a block, whole batches."""
        self.leaves, self.extent, self.shuffle, self.most = leaves, extent, shuffle, most
        self.order, self.ahead = Order(), Ahead()

    def take(self, data: Sequence[Any], sampler: Sampler, count: int, left: int) -> list[Any]:
        """The next ``count`` rows for every input that has rows; a thread begins with the next of ``left`` after it."""
        found = self.ahead.take(*self._asked(data, replace(sampler), count))
        place = _after(sampler, count)
        if left > 0:
            self.ahead.begin(*self._asked(data, place, min(left, self.most)))
        return found

    def _asked(self, data: Sequence[Any], sampler: Sampler, count: int) -> tuple[Any, Callable[[], list[Any]]]:
        """What a block is known by, and how it is gathered."""
        last = min(sampler.position + count, sampler.rows)

        def gather() -> list[Any]:
            order = self.order.of(sampler) if self.shuffle else None
            return block_of(self.leaves, data, self.extent, sampler, count, order)

        return (sampler.seed, sampler.epoch, sampler.position, last), gather


def _after(sampler: Sampler, count: int) -> Sampler:
    """The place in the data after so many rows of the epoch."""
    if sampler.position + count < sampler.rows:
        return replace(sampler, position=sampler.position + count)
    return replace(sampler, epoch=sampler.epoch + 1, position=0)


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
