"""The training run: one native call, while the calling thread draws progress and listens for Ctrl-C.

The compiled loop holds no lock and touches no Python object, so it may run in any thread.  It looks at a stop word
after every step; a stopped run keeps the parameters of its last whole step.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import field, replace

import numpy as np
from numpy.typing import NDArray

from graphc.emit import control
from graphc.errors import CompilerError
from graphc.lower.lengths import Lengths
from graphc.native.buffers import Addresses, address, aligned
from graphc.native.build import Program
from graphc.records import record
from graphc.run import bounds
from graphc.run.epoch_ends import EpochEnds
from graphc.run.mirrored import Mirrored
from graphc.run.row_parts import RowParts, assign, copied, share_parts
from graphc.run.sampler import Sampler
from graphc.run.thread_team import (
    Arguments,
    TeamTuner,
    arguments_of,
    call_together,
    first_team,
    one_thread_of_blas,
)
from graphc.run.worker import carry_out

Watch = Callable[[int], bool]
BAD = (control.NONFINITE, control.OVERFLOW)
KEPT = 2.0  # seconds of steps that a run repeats at most, when one of them was not finite
SHARE = 0.01  # of a run's time at most that keeping copies takes


class RuleState(Mirrored):
    """What an update rule remembers between steps: its states, laid out like the parameters, and the step number;
    for parameters of which it keeps a running mean, which state that is."""

    what = "the optimizer's states"

    def __init__(self, values: NDArray, step: int = 0, averages: Mapping[str, int] | None = None) -> None:
        super().__init__(values)
        self.step, self.averages = step, dict(averages or {})
        self._known = step

    def known(self) -> None:
        self._known = self.step

    def lost(self) -> None:
        """The states of the host belong to an earlier step."""
        self.step = self._known


@record
class Totals:
    """Running totals of an epoch that a run may leave unfinished: weight of the rows seen, sums, largest gradient."""

    values: NDArray = field(default_factory=lambda: np.zeros(control.F_SIZE))


@record
class Moving:
    """Everything that a step changes: parameters, the rule's state, the place in the data, running totals."""

    held: Mirrored
    rule: RuleState
    sampler: Sampler
    totals: Totals

    @property
    def parameters(self) -> NDArray:
        """The newest parameters, on the host."""
        return self.held.values

    def copy(self, into: Moving | None = None) -> Moving:
        """What :meth:`restore` puts back; ``into`` is an older copy of the same sizes, whose memory is used again."""
        if into is not None and len(into.totals.values) == len(self.totals.values):
            into.restore(self)
            return into
        rule, totals = RuleState(copied(self.rule.values), self.rule.step), Totals(self.totals.values.copy())
        return Moving(Mirrored(copied(self.parameters)), rule, replace(self.sampler), totals)

    def restore(self, kept: Moving) -> None:
        """Put back, in place, what :meth:`copy` kept."""
        assign(self.parameters, kept.parameters)
        assign(self.rule.values, kept.rule.values)
        self.rule.step = kept.rule.step
        self.totals.values[:] = kept.totals.values
        self.sampler.epoch, self.sampler.position = kept.sampler.epoch, kept.sampler.position


@record(frozen=True)
class Settings:
    """How a run goes about it: new order of the rows every epoch, losses of all steps kept, tolerance (0 for none),
    the number of threads (None to choose)."""

    shuffle: bool = True
    record_steps: bool = False
    tolerance: float = 0.0
    threads: int | None = None


@record
class Call:
    """One native call: what goes in, and what came out.

    ``overflow`` tells of an update that was not finite: the place of the first bad value, counted through parameters
    and then states, and that value. ``ends`` is what happens at the ends of its epochs.
    """

    steps: int
    status: int = 0
    done: int = 0
    epochs: NDArray = field(default_factory=lambda: np.empty((0, 1)))
    step_losses: NDArray = field(default_factory=lambda: np.empty(0))
    overflow: tuple[int, float] | None = None
    threads: int = 1
    ends: EpochEnds | None = None


@record
class Kept:
    """What there was before some step: the copy that a run goes back to when it meets a number that is not finite."""

    moving: Moving
    done: int
    epochs: int
    losses: int
    taken: float
    cost: float

    @property
    def old(self) -> bool:
        """Whether it is time for the next copy."""
        return time.perf_counter() - self.taken > max(KEPT, self.cost / SHARE)


class Trainer:
    """A compiled training program with its buffers; calls continue where the last one ended."""

    notes: Sequence[str] = ()  # what a run says about it

    def __init__(
        self,
        program: Program,
        sizes: Mapping[str, int],
        dtype: str,
        capacity: Lengths,
        n_metrics: int,
        seconds_per_step: float = 0.0,
    ) -> None:
        self.program, self.dtype, self.capacity, self.n_metrics = program, np.dtype(dtype), capacity, n_metrics
        self.seconds_per_step = seconds_per_step
        self.sizes, self.total = sizes, sizes["parameters"]
        self.partials = [aligned(sizes["partials"], dtype)] if sizes.get("partials") else []
        self.own = [self.working_memory()]
        self.gradients, self.arena, self.integers = self.own[0]
        self.extra_words = bounds.room(program)
        words = control.size_of(0 if isinstance(capacity, int) else len(capacity))
        self.control = aligned(words + self.extra_words, np.int64)
        self.known, self.places = Addresses(), [[address(a) for a in self.own[0]]]
        self.tuner = TeamTuner()
        self.kept: Kept | None = None

    def working_memory(self) -> tuple[NDArray, NDArray, NDArray]:
        """Gradients, arena and integers: of all threads, or of each where the program adds parts of a batch."""
        arena, integers = self.sizes["arena"], self.sizes["integers"]
        return aligned(self.total, self.dtype), aligned(arena, self.dtype), aligned(integers, np.int64)

    def hold(self, inputs: Sequence[NDArray]) -> None:
        """Bring data to where the program runs: on the CPU they are there."""

    def run(
        self,
        moving: Moving,
        inputs: Sequence[NDArray],
        call: Call,
        settings: Settings,
        watch: Watch | None = None,
        settle: Callable[[], None] | None = None,
    ) -> None:
        """Train for up to ``call.steps`` steps; ``watch`` is told the progress, and stops the run by returning True.

        Parameters
        ----------
        moving
            Changed in place. After a step whose loss, gradient or update was not finite, everything is as it was
            before that step.
        inputs
            Constants, hyper-parameters, then the data in the order of the program's inputs.
        call
            Filled in, also when an exception passes: then with the steps done before it.
        settle
            Called once before the copy of what was there at the beginning (``kept``) is given up.

        As few native calls as it takes: one, after short trials when the number of threads is not yet chosen; a long
        run is divided, so that not much is lost when a step has to be repeated. With ``call.ends`` one call of one
        thread, which may leave steps to do.
        """
        if len(moving.totals.values) != control.F_SIZE + self.n_metrics:
            moving.totals.values = np.zeros(control.F_SIZE + self.n_metrics)
        call.done, call.status = 0, control.FINISHED
        call.epochs, call.step_losses = np.empty((0, 1 + self.n_metrics)), np.empty(0)
        kept = self._keep(moving, call)
        while call.done < call.steps and call.status == control.FINISHED:
            team, steps = (1, call.steps) if call.ends else self._next(call.steps - call.done, settings)
            if kept.old and not self.extra_words:  # what is not there undoes all of the call
                if settle is not None:
                    settle()
                kept, settle = self._keep(moving, call), None
            before, call.threads = call.done, team
            started = time.perf_counter()
            try:
                self._part(moving, inputs, call, settings, watch, steps, team, call.ends)
            except CompilerError:
                self._undo(moving, call, kept)
                raise
            finally:
                if call.status in BAD:
                    self._go_back(moving, inputs, call, settings, kept)
            if call.ends is not None:
                return
            if call.done - before == steps:
                self._learn(team, steps, time.perf_counter() - started)

    def _next(self, left: int, settings: Settings) -> tuple[int, int]:
        """(threads, steps) of the next native call, of ``left`` steps that are still to do."""
        team, steps = self.tuner.next(left, self.seconds_per_step, settings.threads)
        return team, min(steps, max(1, int(KEPT / max(self.seconds_per_step, 1e-9))))

    def probe(self, moving: Moving, inputs: Sequence[NDArray], call: Call, places: Sequence[slice]) -> None:
        """One step in order of the rows, by all cores where steps are long; the gradients at ``places`` and all working
        memory hold NaN before, so that what is read without having been written shows. The next run keeps its copies in
        the memory of ``moving``."""
        team = first_team(self.seconds_per_step)
        moving.totals.values = np.zeros(control.F_SIZE + self.n_metrics)
        call.epochs = np.empty((0, 1 + self.n_metrics))
        for gradients, arena, _ in self._memory_of(team):
            assign(arena, np.nan)
            for place in places:
                assign(gradients[place], np.nan)
        self._part(moving, inputs, call, Settings(shuffle=False), None, 1, team)
        self.kept = Kept(moving, 0, 0, 0, 0.0, 0.0)

    def _keep(self, moving: Moving, call: Call) -> Kept:
        """A copy of everything that the next steps change, in the memory of the last one."""
        started = time.perf_counter()
        copy = moving.copy(self.kept.moving if self.kept else None)
        now = time.perf_counter()
        self.kept = Kept(copy, call.done, len(call.epochs), len(call.step_losses), now, now - started)
        return self.kept

    def _go_back(self, moving: Moving, inputs: Sequence[NDArray], call: Call, settings: Settings, kept: Kept) -> None:
        """To the parameters before the step that was not finite: the same steps again from the copy, up to that one."""
        status, steps = call.status, call.done - kept.done
        if status == control.OVERFLOW:
            call.overflow = first_bad(np.concatenate([moving.parameters, moving.rule.values]))
        moving.restore(kept.moving)
        call.done, call.epochs = kept.done, call.epochs[: kept.epochs]
        call.step_losses = call.step_losses[: kept.losses]
        if steps:
            self._part(moving, inputs, call, settings, None, steps, call.threads)
        call.status = status

    def _undo(self, moving: Moving, call: Call, kept: Kept) -> None:
        """To where the call began, as if it had not been made."""
        moving.restore(kept.moving)
        call.done, call.status = kept.done, control.FINISHED
        call.epochs, call.step_losses = call.epochs[: kept.epochs], call.step_losses[: kept.losses]

    def _learn(self, team: int, steps: int, seconds: float) -> None:
        """What the next call may expect: the time of a step, and which number of threads is faster."""
        self.tuner.learn(team, steps, seconds)
        if team == 1:
            self.seconds_per_step = seconds / steps

    def _part(
        self,
        moving: Moving,
        inputs: Sequence[NDArray],
        call: Call,
        settings: Settings,
        watch: Watch | None,
        steps: int,
        team: int,
        ends: EpochEnds | None = None,
    ) -> None:
        set_control(self.control, moving.sampler, steps, moving.rule.step, settings)
        c, f = self.control, moving.totals.values
        f[control.TOLERANCE] = settings.tolerance
        c[control.STEEP + moving.sampler.epoch % 2] = f[control.GRADIENT] > settings.tolerance
        history = np.empty((self.epochs_ahead(moving.sampler, steps), 1 + self.n_metrics))
        losses = np.empty(steps if settings.record_steps else 0)
        arguments = self.arguments(moving.parameters, moving.rule.values, inputs, (f, history, losses), team)
        try:
            if ends is None:
                work = lambda: call_together(self.program, "train", arguments, team)
                self._native(work, steps * self.seconds_per_step, watch, lambda: call.done)
            else:
                work = lambda: ends.call(self.program, arguments_of(0, arguments), c)
                self._native(work, ends.seconds, watch, lambda: ends.done)
        finally:
            moving.rule.step = int(c[control.STEP])
            moving.sampler.epoch, moving.sampler.position = int(c[control.EPOCH]), int(c[control.POSITION])
            f[control.GRADIENT] = np.inf if c[control.STEEP + moving.sampler.epoch % 2] else 0.0
            done = int(c[control.DONE])
            call.status, call.done = int(c[control.STATUS]), call.done + done
            call.epochs = _joined(call.epochs, history[: int(c[control.EPOCHS])])
            call.step_losses = _joined(call.step_losses, losses[:done])
        bounds.look(self.program, c)

    def arguments(
        self, parameters: NDArray, states: NDArray, inputs: Sequence[NDArray], books: Sequence[NDArray], team: int
    ) -> Arguments:
        """Those of a call: ``inputs`` are constants, hyper-parameters, data, and ``books`` totals, history, losses."""
        constants, hyper, *data = inputs
        owned = {"P": parameters, "S": states, "K": constants, "C": self.control, "F": books[0]}
        p, s, k, c, f = (self.known.of(name, array) for name, array in owned.items())
        given = [address(a) for a in (hyper, *books[1:], *data, *self.partials)]
        (g, *own), more = self._memory_of(team)[0], [*books, *data, *self.partials]
        bounds.tell(self.program, self.control, [parameters, g, states, *own, constants, hyper, self.control, *more])
        each = [[p, g, s, a, i, k, given[0], c, f, *given[1:]] for g, a, i in self.places]
        return each if self.partials else each[0]

    def _memory_of(self, team: int) -> list[tuple[NDArray, NDArray, NDArray]]:
        """The working memory of the program, or of each thread where it adds parts of a batch."""
        while self.partials and len(self.own) < team:
            self.own.append(self.working_memory())
            self.places.append([address(a) for a in self.own[-1]])
        return self.own

    def epochs_ahead(self, sampler: Sampler, steps: int) -> int:
        """At least as many as the epochs that so many steps can end."""
        return epochs_within(sampler, steps, self.capacity if isinstance(self.capacity, int) else 1)

    def _native(
        self, work: Callable[[], None], seconds: float, watch: Watch | None, before: Callable[[], int]
    ) -> None:
        def wants_end() -> bool:
            return watch is not None and watch(before() + int(self.control[control.PROGRESS]))

        def stop() -> None:
            self.control[control.STOP] = 1

        carry_out(work, seconds, wants_end, stop)


def _joined(before: NDArray, rows: NDArray) -> NDArray:
    """The rows behind those of the calls before, without the memory that was made ready for more."""
    return np.concatenate([before, rows]) if len(before) else rows.copy()


def epochs_within(sampler: Sampler, steps: int, capacity: int) -> int:
    """At least as many as the epochs that so many steps of up to ``capacity`` rows can end or begin."""
    return steps // -(-sampler.rows // capacity) + 2


def set_control(c: NDArray, sampler: Sampler, steps: int, number: int, settings: Settings) -> None:
    """Control words of a native call: ``steps`` steps from ``sampler`` on, after ``number`` steps of the rule."""
    c[:] = 0
    c[control.ROWS], c[control.STEPS], c[control.STEP] = sampler.rows, steps, number
    c[control.EPOCH], c[control.POSITION] = sampler.epoch, sampler.position
    c[control.SHUFFLE], c[control.RECORD_STEPS] = settings.shuffle, settings.record_steps
    c[control.KEY0], c[control.KEY1] = sampler.keys
    for t, (rows, _) in enumerate(sampler.extents):
        c[control.slot(t, 0) : control.slot(t + 1, 0)] = rows, *sampler.keys_of(t)


def first_bad(values: NDArray) -> tuple[int, float]:
    """Place and value of the first number that is not finite."""
    at = int(np.argmin(np.isfinite(values)))
    return at, float(values[at])


def words_of(rows: Lengths, more: int = 0) -> NDArray:
    """The control words of an evaluation of all rows, with room for so many behind them."""
    size = control.size_of(0 if isinstance(rows, int) else len(rows))
    c = np.zeros(size + more, np.int64)
    c[control.ROWS] = rows if isinstance(rows, int) else 1
    c[control.slot(0, control.ROWS_OF) : size : control.SLOTS] = () if isinstance(rows, int) else [n for _, n in rows]
    return c


class Evaluator:
    """A compiled evaluation program: outputs and totals over all rows; with ``parts`` many rows are divided among
    threads."""

    def __init__(
        self, program: Program, sizes: Mapping[str, int], dtype: str, n_scalars: int, parts: RowParts | None = None
    ) -> None:
        self.program, self.dtype, self.n_scalars, self.parts = program, np.dtype(dtype), n_scalars, parts
        self.arena_size, self.integer_size = sizes["arena"], sizes["integers"]

    def run(
        self,
        parameters: NDArray,
        data: Sequence[NDArray],
        constants: NDArray,
        rows: Lengths,
        outputs: Sequence[NDArray],
        arena: NDArray | None = None,
    ) -> NDArray:
        """Fill ``outputs``; returns the mean of every scalar over the rows. ``arena`` is memory to work in."""
        parts = self.parts.of(rows) if self.parts and arena is None and isinstance(rows, int) else [None]
        whole = [address(a) for a in (*data, *outputs)]
        places = self.parts.places(data, outputs) if self.parts and len(parts) > 1 else lambda first: whole
        skips = self.parts.skipped(data, outputs) if self.parts and len(parts) > 1 else lambda first: []
        totals = np.zeros((len(parts), 1 + self.n_scalars))

        def work(k: int) -> None:
            part = parts[k]
            first, count = (part.start, part.stop - part.start) if part else (0, rows)
            head, found = self.head(parameters, constants, count, arena)
            bounds.tell(self.program, head[4], [*head, *data, *outputs], skips(first))
            self.program.call("evaluate", *(address(a) for a in head), *places(first))
            bounds.look(self.program, head[4])
            totals[k] = found()

        with one_thread_of_blas(self.program):
            share_parts(len(parts), work)
        return mean_of_totals(totals.sum(0))

    def head(
        self, parameters: NDArray, constants: NDArray, rows: Lengths, arena: NDArray | None = None
    ) -> tuple[list[NDArray], Callable[[], NDArray]]:
        """The arguments before the data, the last two of which are new in every call, and what reads the totals: the
        rows, then the sum of every scalar over them."""
        c = words_of(rows, bounds.room(self.program))
        f = np.zeros(control.F_SIZE + self.n_scalars)
        integers = aligned(self.integer_size, np.int64)
        arena = aligned(self.arena_size, self.dtype) if arena is None else arena

        def totals() -> NDArray:
            return np.array([f[control.WEIGHT], *f[control.TOTALS : control.TOTALS + self.n_scalars]])

        return [parameters, arena, integers, constants, c, f], totals


def mean_of_totals(totals: NDArray) -> NDArray:
    """The means of scalars of which the sums are known, behind the number of rows."""
    return totals[1:] / max(totals[0], 1.0)
