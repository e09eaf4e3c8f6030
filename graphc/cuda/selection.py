"""The machine that ``target="cuda"`` means: a GPU, or the emulator where somebody asked for it."""

from __future__ import annotations

import functools
from collections.abc import Generator
from contextlib import contextmanager

from graphc.cuda import libraries
from graphc.cuda.driver import Gpu
from graphc.cuda.emulator import Emulator
from graphc.cuda.machine import Machine
from graphc.lower.tiers import Tier
from graphc.records import record


@record(frozen=True)
class Place:
    """A machine and, for tests and comparisons, the tier that every plan is to take on it."""

    machine: Machine
    tier: Tier | None = None


_chosen: list[Place] = []


@contextmanager
def use(machine: Machine | None = None, tier: Tier | None = None) -> Generator[Machine, None, None]:
    """Let ``target="cuda"`` mean another machine, by default the emulator on the CPU.

    >>> with use(Emulator()):                                               # doctest: +SKIP
    ...     model.fit(x, t, target="cuda")
    """
    place = Place(machine or Emulator(), tier)
    _chosen.append(place)
    try:
        yield place.machine
    finally:
        _chosen.remove(place)


def here(number: int = 0) -> Place:
    """The chosen machine, else GPU ``number``.

    Raises
    ------
    DeviceError, MissingExtraError
        When that cannot be used; the text says what is missing.
    """
    return _chosen[-1] if _chosen else Place(_gpu(number))


@functools.cache
def _gpu(number: int) -> Gpu:
    return Gpu(number)


def is_there() -> bool:
    """Whether ``target="auto"`` takes a machine of this kind."""
    return bool(_chosen) or libraries.available()
