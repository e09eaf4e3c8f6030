"""Several threads that execute one native function together, and the choice of how many.

Every thread calls the same program with its number; they meet inside (:func:`graphc.primitives.barrier.meet`).
There is no pool: threads live as long as the call, so a fork or a second Python thread finds nothing to trip over.
The number of threads never changes a bit of the result, so it can be chosen by measuring on the run itself.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from graphc.native import blas_library
from graphc.native.build import Program
from graphc.native.stack import cores
from graphc.records import record

WORTH = 15e-6  # seconds: shorter steps are not worth dividing, threads meet four times a step
TRIAL = 0.01  # seconds of a trial
LONGER = 3  # the second trial has so many times the steps of the first
GAIN = 0.9  # several threads must need at most this share of the time of one
DOUBT, AGAIN = 0.25, 2.0  # seconds of work before the other choice is tried again: at first, and at last
LOSS = 0.02  # of the time at most is lost by trying with steps that take longer than a trial should
FEW, MANY, WINDOW = 3, 32, 0.5  # calls (at least, at most) and their seconds, whose fastest says what a step takes


def first_team(seconds_per_step: float) -> int:
    """Threads of a step before anything was measured: a long one is worth all cores."""
    return cores() if seconds_per_step >= TRIAL else 1


@record
class Pace:
    """What calls of some number of threads take: seconds to begin (threads start and find their cores), and a step.

    ``recent`` holds the seconds of the last calls and what a step of each took.
    """

    start: float
    recent: list[tuple[float, float]]

    @property
    def step(self) -> float:
        """Seconds of a step."""
        return min(step for _, step in self.recent)

    def seconds(self, steps: int) -> float:
        """Of a call of so many steps."""
        return self.start + steps * self.step

    def observe(self, steps: int, seconds: float) -> None:
        """Take a call into account; what is faster than expected makes the beginning shorter first."""
        self.start = max(0.0, min(self.start, seconds - steps * self.step))
        self.recent.append((seconds, (seconds - self.start) / steps))
        while len(self.recent) > FEW and (len(self.recent) > MANY or sum(s for s, _ in self.recent[1:]) > WINDOW):
            self.recent.pop(0)


class TeamTuner:
    """The number of threads of one program: chosen by two trials of one thread and two of all cores.

    A trial of several threads says little by itself, since beginning takes them some milliseconds; the second is
    longer, so that more of it is steps.  A call too short to make good for its beginning stays serial.

    Other processes may have disturbed the trials, and a machine does not stay as busy as it was.  So every call counts,
    and now and then a short one goes to the choice that was not taken: soon at first, more seldom when nothing changes.
    """

    def __init__(self) -> None:
        self.paces: dict[int, Pace] = {}
        self.trials: dict[int, list[tuple[int, float]]] = {}
        self.trying = self.tried = False
        self.spent, self.again, self.chosen = 0.0, DOUBT, 0

    def next(self, left: int, seconds_per_step: float, wanted: int | None) -> tuple[int, int]:
        """(threads, steps) of the next native call, of ``left`` steps that are still to do."""
        self.trying = False
        if wanted is not None:
            return wanted, left
        team = cores()
        if team == 1 or seconds_per_step < WORTH:
            return 1, left
        if len(self.paces) == 2:
            return self._choose(left, team)
        if left * seconds_per_step < 2 * TRIAL:
            return 1, left
        self.trying = True
        order = (1, team) if first_team(seconds_per_step) == 1 else (team, 1)
        members = min(order, key=lambda n: len(self.trials.get(n, [])))
        steps = max(1, int(TRIAL * (LONGER if self.trials.get(members) else 1) / seconds_per_step))
        return members, min(left, steps)

    def is_alone(self, steps: int, seconds_per_step: float) -> bool:
        """Whether one thread would do so many steps, as far as is known."""
        team = cores()
        if team == 1 or seconds_per_step < WORTH:
            return True
        return not self._is_faster(team, steps) if len(self.paces) == 2 else steps * seconds_per_step < 2 * TRIAL

    def _is_faster(self, team: int, steps: int) -> bool:
        """Whether several threads do so many steps clearly faster than one."""
        return self.paces[team].seconds(steps) < GAIN * self.paces[1].seconds(steps)

    def _choose(self, left: int, team: int) -> tuple[int, int]:
        """The faster number of threads, or for a short call the other one when it is time to try it again."""
        chosen, other = (team, 1) if self._is_faster(team, left) else (1, team)
        trial = min(left, max(1, int(LONGER * TRIAL / self.paces[other].step)))
        lost = trial * (self.paces[other].step - self.paces[chosen].step) - LONGER * TRIAL
        if self.spent >= max(self.again, lost / LOSS) and self.paces[other].seconds(left) >= TRIAL:
            self.spent, self.tried = 0.0, True
            return other, trial
        if chosen != self.chosen:
            self.chosen, self.spent, self.again = chosen, 0.0, DOUBT
        elif self.tried:
            self.again = min(2 * self.again, AGAIN)
        self.tried = False
        return chosen, min(left, max(1, int(self.again / self.paces[chosen].step)))

    def learn(self, team: int, steps: int, seconds: float) -> None:
        """Take a call into account: ``steps`` steps took ``seconds``."""
        if self.trying:
            found = self.trials.setdefault(team, [])
            found.append((steps, seconds))
            if len(found) == 2:
                self.paces[team] = _pace(*found)
        elif team in self.paces:
            self.paces[team].observe(steps, seconds)
            self.spent += seconds if team == self.chosen else 0.0


def _pace(first: tuple[int, float], second: tuple[int, float]) -> Pace:
    """From two calls, the second a longer one: a step takes at most what it took there, the rest is the beginning."""
    (few, short), (many, long) = first, second
    step = min(short / few, long / many)
    return Pace(max(0.0, short - few * step), [(short, short / few), (long, long / many)])


Arguments = Sequence[Any] | Sequence[Sequence[Any]]


def arguments_of(me: int, arguments: Arguments) -> Sequence[Any]:
    """The arguments of thread ``me``: those of all threads, or its own."""
    return arguments[me] if isinstance(arguments[0], list) else arguments


def call_together(program: Program, entry: str, arguments: Arguments, team: int) -> None:
    """Run an entry in ``team`` threads, the calling one among them, and wait for all; ``arguments`` are those of all
    threads, or a list for each."""
    with one_thread_of_blas(program):
        if team == 1:
            program.call(entry, *arguments_of(0, arguments), 0, 1)
            return
        gate = _Gate()
        members = [
            threading.Thread(target=_member, args=(program, entry, arguments, me, team, gate), daemon=True)
            for me in range(1, team)
        ]
        try:
            for member in members:
                member.start()
            gate.all_there = True
        finally:  # when a thread could not be started, those that wait already must go home
            gate.opened.set()
        spread(0)
        program.call(entry, *arguments_of(0, arguments), 0, team)
        for member in members:
            member.join()


class _Gate:
    def __init__(self) -> None:
        self.opened = threading.Event()
        self.all_there = False


def _member(program: Program, entry: str, arguments: Arguments, me: int, team: int, gate: _Gate) -> None:
    gate.opened.wait()
    if gate.all_there:
        spread(me)
        program.call(entry, *arguments_of(me, arguments), me, team)


def spread(me: int) -> None:
    """Move the calling thread to a core of its own, where the scheduler may then move it again.

    A new thread starts on the core of the one that made it.  Since waiting threads yield, the scheduler may see no
    reason to move it for the whole call: two threads then share one core while another is idle.
    """
    if not hasattr(os, "sched_setaffinity"):
        return
    allowed = os.sched_getaffinity(0)
    mine = sorted(allowed)[(os.getpid() + me) % len(allowed)]
    with contextlib.suppress(OSError):
        os.sched_setaffinity(0, {mine})
        os.sched_setaffinity(0, allowed)


def one_thread_of_blas(program: Program) -> AbstractContextManager[None]:
    """BLAS held to one thread while a program that calls it runs: the bits do not depend on the number of cores."""
    return blas_library.one_thread() if program.uses_blas else nullcontext()
