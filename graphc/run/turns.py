"""Threads of Python that use one model: one after the other, and none while another one trains it.

A program writes to memory that belongs to the model, with the interpreter's lock released: two at once would write to
the same rows, and have been seen to corrupt the heap.
"""

from __future__ import annotations

import functools
import os
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar
from weakref import WeakSet

from graphc.errors import BusyError

LOOK = 0.02  # seconds between two looks at whether who has the turn is training

_all: WeakSet[Turns] = WeakSet()
P = ParamSpec("P")
R = TypeVar("R")
M = TypeVar("M", bound="Used")


class Turns:
    """``with turns:`` waits for other threads; ``with turns.training:`` makes them fail meanwhile.

    A thread that has the turn may take it again, as a callback does that predicts. A thread that waits for a whole
    training run looks like one that hangs, and waits for ever where a callback waits for it: so it is told.
    """

    def __init__(self) -> None:
        self._lock, self._trains, self.training = threading.RLock(), False, Training(self)
        _all.add(self)

    def __enter__(self) -> None:
        if self._lock.acquire(blocking=False):
            return
        while not self._lock.acquire(timeout=LOOK):
            if self._trains:
                raise BusyError(
                    "the model is being trained by another thread\n"
                    "  hint: wait until fit or sweep has ended, or give each thread a copy: copy.copy(model)"
                )

    def __exit__(self, *error: object) -> None:
        self._lock.release()

    def after_fork(self) -> None:
        """The child of a fork has the thread that forked alone: nobody is left to give the turn back."""
        if not self._lock._is_owned():  # type: ignore[attr-defined]
            self._lock, self._trains, self.training = threading.RLock(), False, Training(self)


class Training:
    """The turn of a thread that trains."""

    def __init__(self, turns: Turns) -> None:
        self._turns, self._depth = turns, 0

    def __enter__(self) -> None:
        self._turns.__enter__()
        self._depth += 1
        self._turns._trains = True

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self._depth -= 1
        self._turns._trains = self._depth > 0
        self._turns.__exit__()


def _anew() -> None:
    for turns in list(_all):
        turns.after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_anew)


class Used(Protocol):
    """What several threads may use."""

    _core: Any


def in_turn(method: Callable[Concatenate[M, P], R]) -> Callable[Concatenate[M, P], R]:
    """A method of a model, which waits for other threads that use the same one."""

    @functools.wraps(method)
    def waits(model: M, /, *args: P.args, **options: P.kwargs) -> R:
        with model._core.turns:
            return method(model, *args, **options)

    return waits


def training(method: Callable[Concatenate[M, P], R]) -> Callable[Concatenate[M, P], R]:
    """A method that trains, during which other threads are told so."""

    @functools.wraps(method)
    def trains(model: M, /, *args: P.args, **options: P.kwargs) -> R:
        with model._core.turns.training:
            return method(model, *args, **options)

    return trains
