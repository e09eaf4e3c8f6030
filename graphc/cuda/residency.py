"""Data on a machine: all of them, or part after part where they do not fit.

Parts are rows of one epoch in the order in which they are visited, so that a kernel reads them one after the other.
While one part is computed with, the host gathers the next and sends it beside the machine's work.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from graphc.cuda.arrays import DeviceArray
from graphc.cuda.machine import Machine
from graphc.primitives.philox import permuted
from graphc.records import record
from graphc.run.sampler import Sampler

SHARE = 0.8  # of the free memory that data may take
LONGEST = 2**32 - 1  # elements that 32-bit index arithmetic reaches
PART = 64 * 2**20  # bytes of a part


def on_machine(
    machine: Machine, x: Any, kind: np.dtype, note: str = "", into: DeviceArray | None = None
) -> DeviceArray:
    """An array of the host as one of the machine, in the memory of ``into`` where that has its size and kind; one that
    lies there already as it is. ``note`` is for errors."""
    if isinstance(x, DeviceArray):
        return x
    size = max(x.size, 1)
    array = into
    if array is None or (array.size, array.dtype) != (size, kind):
        array = machine.array(size, kind, note=note)
    machine.upload(array.part(0, x.size), np.ascontiguousarray(x, kind))
    return array


def fits(machine: Machine, data: Sequence[Any], kinds: Sequence[np.dtype]) -> bool:
    """Whether all data can lie on the machine at once."""
    wanted = sum(x.size * kind.itemsize for x, kind in zip(data, kinds, strict=True) if not isinstance(x, DeviceArray))
    return wanted <= SHARE * machine.room() and all(x.size <= LONGEST for x in data)


@record(frozen=True)
class Ahead:
    """A part that is on its way: epoch and position of its first row, rows, and its arrays."""

    epoch: int
    position: int
    rows: int
    arrays: list[DeviceArray]


class Parts:
    """Two sets of buffers, filled in turn.

    Parameters
    ----------
    data
        Arrays of the host; those with rows first are cut, the others are brought over as they are.
    batched
        Which of them have rows.
    capacity
        Rows of a batch: a part holds whole batches, but for the last of an epoch.
    """

    def __init__(
        self,
        machine: Machine,
        data: Sequence[NDArray],
        kinds: Sequence[np.dtype],
        batched: Sequence[bool],
        capacity: int,
    ) -> None:
        self.machine, self.data, self.kinds, self.batched = machine, list(data), list(kinds), list(batched)
        row = sum(x[0].size * k.itemsize for x, k, b in zip(data, kinds, batched, strict=True) if b)
        self.rows = max(1, PART // max(row, 1) // capacity) * capacity
        self.sets = [[self._room(x, k, b) for x, k, b in zip(data, kinds, batched, strict=True)] for _ in range(2)]
        self.turn = 0
        self.ahead: Ahead | None = None

    def _room(self, x: NDArray, kind: np.dtype, batched: bool) -> DeviceArray:
        if not batched:
            return on_machine(self.machine, x, kind)
        return self.machine.array(self.rows * x[0].size, kind)

    def take(self, sampler: Sampler, shuffle: bool) -> Ahead:
        """The part that begins where the sampler stands: the one sent ahead, or it is sent now."""
        found = self.ahead
        if found is None or (found.epoch, found.position) != (sampler.epoch, sampler.position):
            found = self._send(sampler, sampler.epoch, sampler.position, shuffle)
        self.ahead = None
        self.machine.join()
        return found

    def send_after(self, part: Ahead, sampler: Sampler, shuffle: bool) -> None:
        """Send the part that follows, beside what the machine computes."""
        position = part.position + part.rows
        epoch, position = (part.epoch + 1, 0) if position >= sampler.rows else (part.epoch, position)
        self.ahead = self._send(sampler, epoch, position, shuffle)

    def _send(self, sampler: Sampler, epoch: int, position: int, shuffle: bool) -> Ahead:
        count = min(self.rows, sampler.rows - position)
        places = np.arange(position, position + count)
        rows = permuted(sampler.rows, places, *sampler.keys, epoch) if shuffle else places
        arrays = self.sets[self.turn]
        self.turn = 1 - self.turn
        for x, target, kind, batched in zip(self.data, arrays, self.kinds, self.batched, strict=True):
            if batched:
                values = np.ascontiguousarray(x[rows], kind)
                self.machine.send(target.part(0, values.size), values)
        return Ahead(epoch, position, count, arrays)
