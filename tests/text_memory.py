"""The memory of a program whose text is checked: who wrote which element, and when.

Values are not kept, but of whole numbers that serve as an index.  Every element knows the buffer through whose name it
was written and the moment of the first such write; moments count statements in the order in which the program runs
them.  A read is right when it stays within its buffer, and that buffer's name has written the element in this step,
before.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

NOBODY, PADDING = -1, -2


@dataclass(frozen=True)
class Place:
    """A buffer in numbers: elements ``start`` to ``start + size`` of its region."""

    name: str
    start: int
    size: int
    number: int = 0


@dataclass
class Step:
    """Where the program stands: beginnings, as moments, of the step, of what threads do unordered, and of the nest."""

    step: int = 0
    interval: int = 0
    nest: int = 0


Addresses = slice | NDArray  # all of a block that lies in one piece, or a flat list


@dataclass
class Access:
    """Elements that one statement touches; ``moments`` makes the moments, one for all or one each."""

    at: Addresses
    moments: Callable[[], int | NDArray]
    low: int
    high: int

    @cached_property
    def times(self) -> int | NDArray:
        """The moments."""
        return self.moments()


@dataclass
class Region:
    """What lies behind one pointer.

    ``state`` may be read before it is written; ``values`` are whole numbers that are kept, ``known`` constants that may
    be whole numbers; ``places`` are the buffers by name; ``bare`` is how much may be addressed by no name; a ``result``
    must have been written in the end; ``moving`` are parts of buffers whose place a loop over steps decides: the number
    of the buffer, and the size of the part, None for all that is left.
    """

    name: str
    size: int
    state: bool = False
    values: NDArray | None = None
    places: dict[str, Place] = field(default_factory=dict)
    bare: int | None = None
    known: NDArray | None = None
    result: bool = False
    moving: dict[str, tuple[int, int | None]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.owner = np.full(0 if self.state else self.size, NOBODY, np.int32)
        self.first = np.full(self.owner.size, -1, np.int64)
        self.thread = np.zeros(self.owner.size, np.int8)
        self.reads: list[tuple[Place, Access]] = []

    def add(self, name: str, start: int, size: int, number: int = 0) -> None:
        """A buffer of that name, or a part of the buffer of a number."""
        self.places[name] = Place(name, start, size, number or len(self.places) + 1)

    def walk(self, name: str) -> None:
        """All of it is gone through under a name, a batch of rows after the other."""
        self.add(self.name, 0, self.size)
        self.moving[name] = self.places[self.name].number, None

    def pad(self) -> None:
        """What no buffer holds is never written, and may be read as it is."""
        self.owner[:] = PADDING
        for place in self.places.values():
            self.owner[place.start : place.start + place.size] = NOBODY

    def place(self, name: str | None) -> Place:
        """The buffer of that name; without a name, all that may be addressed without one."""
        if name is not None:
            return self.places[name]
        return Place(self.name, 0, self.size if self.bare is None else self.bare)

    def missing(self) -> str | None:
        """A sentence when an element of a result was never written."""
        unwritten = np.flatnonzero(self.owner == NOBODY) if self.result else ()
        return f"{self.name}[{unwritten[0]}] was never written" if len(unwritten) else None

    # ------------------------------------------------------------------ reads and writes
    def read(self, place: Place, access: Access, now: Step, me: int) -> tuple[int, str] | None:
        """The first element that must not be read, and why."""
        if self.state:
            return None
        owner, first = self.owner[access.at], self.first[access.at]
        wanted = (owner == place.number) if place.number else (owner != NOBODY)
        fresh = wanted & ((first >= now.step) | (owner == PADDING))
        if not fresh.all():
            return self._why(access, int(np.argmin(fresh)), owner, wanted)
        if first.size and first.max() >= now.nest:
            late = (first > access.times) & (owner != PADDING)
            if late.any():
                return _nth(access, int(np.argmax(late))), "is written later, by this very loop nest"
        others = (first >= now.interval) & (self.thread[access.at] != me)
        if others.any():
            return _nth(access, int(np.argmax(others))), "another thread writes since the threads last met"
        self.reads.append((place, access))
        return None

    def _why(self, access: Access, n: int, owner: NDArray, wanted: NDArray) -> tuple[int, str]:
        at = _nth(access, n)
        if owner[n] == NOBODY:
            return at, "nothing has written"
        if wanted[n]:
            return at, "nothing has written in this step"
        name = next((p.name for p in self.places.values() if p.number == owner[n]), self.name)
        return at, f"was last written as part of {name}"

    def write(self, place: Place, access: Access, now: Step, me: int) -> tuple[int, str] | None:
        """Take note of a write; the first element that the nest still reads as another buffer, and why that is bad."""
        if self.state:
            return None
        owner, first = self.owner[access.at], self.first[access.at]
        lost = self._lost(place, access) if self.reads and (owner != place.number).any() else None
        moments = np.where((owner == place.number) & (first >= now.step), first, access.times)
        if isinstance(access.at, slice):
            self.first[access.at] = moments
        else:  # of several writes of one element the first counts: the one that is assigned last
            self.first[access.at[::-1]] = moments[::-1]
        padding = (owner == PADDING) & (place.number == 0)  # between buffers, written by no buffer's name
        self.owner[access.at], self.thread[access.at] = np.where(padding, PADDING, place.number), me
        return lost

    def _lost(self, place: Place, access: Access) -> tuple[int, str] | None:
        """An element whose reading comes after this write overwrites it."""
        never = np.iinfo(np.int64).max
        for other, read in self.reads:
            if other.number == place.number or read.high < access.low or access.high < read.low:
                continue
            low, high = min(read.low, access.low), max(read.high, access.high)
            written = np.full(high + 1 - low, never)
            np.minimum.at(written, _from(low, access.at), access.times)
            late = written[_from(low, read.at)] < read.times
            if late.any():
                return _nth(read, int(np.argmax(late))), f"the loop nest reads as part of {other.name} later"
        return None


def _from(low: int, at: Addresses) -> Addresses:
    return slice(at.start - low, at.stop - low) if isinstance(at, slice) else at - low


def _nth(access: Access, n: int) -> int:
    return access.at.start + n if isinstance(access.at, slice) else int(access.at[n])
