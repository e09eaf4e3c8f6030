"""Where things lie: sizes that may depend on the capacity of a free extent, buffers and their strides.

A free extent such as n has a run-time count ``n`` (the rows of this batch) and a capacity ``n_cap``, the most rows that
the buffers hold.  The capacity is a literal in a training program and a run-time value in a compiled function.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from graphc.ir.affine import Extent
from graphc.ir.letters import safe_name
from graphc.ir.node import Node
from graphc.records import record

ALIGN = 16  # elements: 64 bytes of float32, so that vectors of every buffer start on a cache line


@record(frozen=True)
class Count:
    """A number of elements: ``sum coef * product of capacities``."""

    terms: tuple[tuple[tuple[str, ...], int], ...] = ()

    @staticmethod
    def of(extents: Sequence[Extent]) -> Count:
        """The product of extents."""
        coef = math.prod(e for e in extents if isinstance(e, int))
        return Count(((tuple(sorted(e for e in extents if isinstance(e, str))), coef),))

    def __add__(self, other: Count) -> Count:
        total = dict(self.terms)
        for names, coef in other.terms:
            total[names] = total.get(names, 0) + coef
        return Count(tuple(sorted((n, c) for n, c in total.items() if c)))

    def aligned(self) -> Count:
        """Every term rounded up to a whole cache line."""
        return Count(tuple((names, -(-coef // ALIGN) * ALIGN) for names, coef in self.terms))

    def at(self, capacity: Mapping[str, int]) -> int:
        """The number, for given capacities."""
        return sum(coef * math.prod(capacity[n] for n in names) for names, coef in self.terms)

    def text(self) -> str:
        """Program text: ``16 + 64*n_cap``."""
        parts = ["*".join([str(coef), *(f"{safe_name(n)}_cap" for n in names)]) for names, coef in self.terms]
        return " + ".join(p.removeprefix("1*") for p in parts) or "0"


@record
class Buffer:
    """Storage of one node: a region (the pointer argument it lies behind), an offset, row-major strides.

    With ``whole`` it is a part of another buffer, from the element whose first index is ``slot``; one that ``moves`` is
    ``slot`` behind the number of the step in a scan, so that its place is known within the loop alone; a slot may be
    the number of steps, known at run time.  It has room for ``more`` than its first extent says, or along every axis
    for as many as ``room`` says: 1 where a loop goes through one after the other, a block where it goes block by block.
    """

    name: str
    region: str
    extents: tuple[Extent, ...]
    offset: Count = Count()
    node: Node | None = None
    integer: bool = False
    whole: Buffer | None = None
    slot: Extent = 0
    moves: bool = False
    more: int = 0
    room: tuple[Extent, ...] = ()

    @property
    def size(self) -> Count:
        if self.room:
            return Count.of(self.room)
        rest = Count.of((self.more, *self.extents[1:])) if self.more else Count()
        return Count.of(self.extents) + rest

    @property
    def strides(self) -> tuple[Count, ...]:
        """Distance in elements between neighbours along each axis."""
        if not self.room:
            return tuple(Count.of(self.extents[t + 1 :]) for t in range(len(self.extents)))
        return tuple(Count.of(self.room[t + 1 :]) if e != 1 else Count() for t, e in enumerate(self.room))

    def in_blocks(self, axis: int) -> bool:
        """Whether it has room for a block along an axis."""
        return bool(self.room) and self.room[axis] not in (1, self.extents[axis])


def root_of(buffer: Buffer) -> Buffer:
    """The buffer that has memory of its own: what a part belongs to."""
    return root_of(buffer.whole) if buffer.whole is not None else buffer


def place_part(buffer: Buffer, capacity: Mapping[str, int]) -> None:
    """Give a part of a buffer that does not move its offset, a number where the capacities are known."""
    assert buffer.whole is not None
    row = Count.of((buffer.slot, *buffer.whole.extents[1:])) if buffer.slot else Count()
    place = buffer.whole.offset + row
    known = all(n in capacity for names, _ in place.terms for n in names)
    buffer.offset = Count((((), place.at(capacity)),)) if known else place


@record
class Live:
    """A buffer request of the plan: alive from the kernel that writes it to the last that reads it."""

    buffer: Buffer
    start: int
    end: int


def plan_memory(requests: Sequence[Live], capacity: Mapping[str, int]) -> Count:
    """Give every buffer an offset so that no two that live at the same time overlap; returns the size of the arena.

    Buffers are placed in order of size, each at the lowest offset where it fits beside those alive with it (first fit).
    With a capacity that is not known yet, memory is not shared: every buffer has its own place.
    """
    if not _known(requests, capacity):
        return stack(requests)
    placed: list[tuple[int, int, Live]] = []
    for r in sorted(requests, key=lambda r: (-r.buffer.size.at(capacity), r.start)):
        length = -(-max(r.buffer.size.at(capacity), 1) // ALIGN) * ALIGN
        offset = _first_fit([(a, b) for a, b, o in placed if o.start <= r.end and r.start <= o.end], length)
        r.buffer.offset = Count((((), offset),)) if offset else Count()
        placed.append((offset, offset + length, r))
    return Count((((), max((b for _, b, _ in placed), default=0)),))


def _first_fit(taken: list[tuple[int, int]], length: int) -> int:
    offset = 0
    for start, end in sorted(taken):
        if start - offset >= length:
            break
        offset = max(offset, end)
    return offset


def stack(requests: Sequence[Live]) -> Count:
    """One buffer after the other; returns the size of the arena."""
    total = Count()
    for r in requests:
        r.buffer.offset = total
        total = total + r.buffer.size.aligned()
    return total


def apart(requests: Sequence[Live], capacity: Mapping[str, int]) -> Count:
    """A place of its own for every buffer, as numbers where the capacities are known; returns the size of the arena."""
    total = stack(requests)
    if not _known(requests, capacity):
        return total
    for r in requests:
        r.buffer.offset = Count((((), r.buffer.offset.at(capacity)),))
    return Count((((), total.at(capacity)),))


def _known(requests: Sequence[Live], capacity: Mapping[str, int]) -> bool:
    return all(n in capacity for r in requests for names, _ in r.buffer.size.terms for n in names)


def overlaps(requests: Sequence[Live], capacity: Mapping[str, int]) -> list[tuple[str, str]]:
    """Pairs of buffers that live at the same time and share memory: must be empty."""
    found = []
    for n, a in enumerate(requests):
        for b in requests[n + 1 :]:
            together = a.start <= b.end and b.start <= a.end
            a0, b0 = a.buffer.offset.at(capacity), b.buffer.offset.at(capacity)
            apart = a0 + a.buffer.size.at(capacity) <= b0 or b0 + b.buffer.size.at(capacity) <= a0
            if together and not apart:
                found.append((a.buffer.name, b.buffer.name))
    return found
