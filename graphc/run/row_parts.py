"""Independent rows in parts, which several threads take in turn.

Where parts begin depends on the number of rows alone, so that neither the number of threads nor who took which part
changes a bit: a part's rows are computed as they are in one call, and what is added up is added in the order of parts.
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from graphc.native.buffers import address
from graphc.native.stack import cores
from graphc.records import record
from graphc.run.thread_team import spread

PARTS = 16  # at most
WORTH = 2e-3  # seconds of work from which dividing pays: threads begin within a tenth of it
PIECE = 1 << 22  # bytes of an array that one thread fills at a time


@record(frozen=True)
class RowParts:
    """Which arrays of a program have the rows on their first axis: they are passed a part at a time, the others whole.

    ``chunk`` is how many rows go through the program at once, ``seconds`` what they are expected to take.
    """

    inputs: Sequence[bool]
    outputs: Sequence[bool]
    chunk: int
    seconds: float

    def of(self, rows: int) -> list[slice]:
        """The parts, each of whole chunks but for the last; one where dividing does not pay."""
        chunks = -(-rows // self.chunk)
        if chunks * self.seconds < WORTH:
            return [slice(0, rows)]
        size = -(-chunks // PARTS) * self.chunk
        return [slice(begin, min(begin + size, rows)) for begin in range(0, rows, size)]

    def places(self, inputs: Sequence[NDArray], outputs: Sequence[NDArray]) -> Callable[[int], list[int]]:
        """Where the arrays of a part begin, by its first row."""
        pairs = [*zip(inputs, self.inputs, strict=True), *zip(outputs, self.outputs, strict=True)]
        steps = [(address(a), a.strides[0] if has_rows else 0) for a, has_rows in pairs]
        return lambda first: [begin + first * step for begin, step in steps]

    def skipped(self, inputs: Sequence[NDArray], outputs: Sequence[NDArray]) -> Callable[[int], list[int]]:
        """How many elements of the arrays lie before that."""
        pairs = [*zip(inputs, self.inputs, strict=True), *zip(outputs, self.outputs, strict=True)]
        steps = [a[:1].size if has_rows else 0 for a, has_rows in pairs]
        return lambda first: [first * step for step in steps]


def share_parts(count: int, work: Callable[[int], None]) -> None:
    """``work(k)`` for every k below ``count``, by as many threads as there are cores; the first error is raised."""
    team, numbers, errors = min(cores(), count), itertools.count(), []

    def take(me: int) -> None:
        if team > 1:
            spread(me)
        for k in numbers:
            if k >= count or errors:
                return
            try:
                work(k)
            except BaseException as error:  # noqa: BLE001  a thread's error is the caller's
                errors.append(error)

    threads = [threading.Thread(target=take, args=(me,), daemon=True) for me in range(1, team)]
    for thread in threads:
        thread.start()
    try:
        take(0)
    except BaseException as error:
        errors.append(error)
        raise
    finally:
        for thread in threads:
            thread.join()
    if errors:
        raise errors[0]


def assign(target: NDArray, values: ArrayLike) -> None:
    """``target[:] = values`` for a flat array, a large one by all cores: touching memory for the first time is slow."""
    given, size = np.broadcast_to(np.asarray(values), target.shape), PIECE // target.itemsize

    def work(k: int) -> None:
        target[k * size : (k + 1) * size] = given[k * size : (k + 1) * size]

    share_parts(-(-target.size // size), work)


def copied(values: NDArray) -> NDArray:
    """The numbers of a flat array in new memory."""
    copy = np.empty_like(values)
    assign(copy, values)
    return copy
