"""Where a training run stands in its data: which seed, epoch and row come next.  Everything a resume needs."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from graphc.lower.lengths import Lengths
from graphc.primitives.philox import order_keys
from graphc.records import record

STREAM = 3  # of the order of the second of several free extents; the first has that of a single one


@record
class Sampler:
    """Position in the sequence of batches: the order of epoch ``epoch`` depends on (seed, epoch) alone.

    Of several free extents ``extents`` holds the rows and the batch size of each; ``rows`` and ``position`` count steps
    then, and ``batch`` is 1. Which rows of an extent a step takes follows from the number of the step.
    """

    seed: int = 0
    epoch: int = 0
    position: int = 0
    rows: int = 0
    batch: int = 0
    extents: tuple[tuple[int, int], ...] = ()

    @staticmethod
    def over(lengths: Lengths) -> Sampler:
        """One step over all rows."""
        if isinstance(lengths, int):
            return Sampler(rows=lengths, batch=lengths)
        return Sampler(rows=1, batch=1, extents=tuple((n, n) for _, n in lengths))

    def restart(self, seed: int) -> None:
        """Begin again with another seed."""
        self.seed, self.epoch, self.position = seed, 0, 0

    def bind(self, rows: int, batch: int, extents: tuple[tuple[int, int], ...] = ()) -> None:
        """Go on with this data length and batch size; another one than before begins a new epoch."""
        if (rows, batch, extents) != (self.rows, self.batch, self.extents):
            self.epoch += self.position > 0
            self.position = 0
        self.rows, self.batch, self.extents = rows, batch, extents

    @property
    def keys(self) -> tuple[int, int]:
        """The keys of the order for :func:`graphc.primitives.philox.permuted`."""
        return order_keys(self.seed)

    def keys_of(self, extent: int) -> tuple[int, int]:
        """The keys of the order of one of several free extents, by its number."""
        return order_keys(self.seed, extent and STREAM + extent - 1)

    def next_rows(self, extent: int) -> tuple[int, int, int]:
        """(pass, first row, row behind the last) of the next step, in the order of one of several free extents."""
        rows, batch = self.extents[extent]
        turns = -(-rows // batch)
        number, turn = divmod(self.epoch * self.rows + self.position, turns)
        return number, turn * batch, min(turn * batch + batch, rows)

    def as_dict(self) -> dict[str, Any]:
        """For checkpoints."""
        return {name: value for name, value in asdict(self).items() if name != "extents" or value}
