"""Many copies of one network, trained or evaluated in one native call: each thread takes the next until none is left.

A training program is an ordinary C function of pointers, so a sweep needs no program of its own. A few lines of machine
code call it for one row of a table after the other, with the instructions that also train one network alone: each copy
gets the same bits. What a copy keeps (parameters, states, control words) has a row of its own; what it only needs while
it runs (gradients, arena, row order) belongs to the thread and stays in its cache.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Protocol

import numpy as np
from numpy.typing import DTypeLike, NDArray

from graphc.emit import control
from graphc.lower.lengths import Lengths
from graphc.native.buffers import LINE, address, aligned
from graphc.native.loader import Program, assemble, load, statistics
from graphc.records import record
from graphc.run import bounds
from graphc.run.sampler import Sampler
from graphc.run.thread_team import one_thread_of_blas, spread
from graphc.run.training import BAD, Evaluator, Settings, Trainer, set_control, words_of
from graphc.run.worker import carry_out

ARGUMENTS = "PGSALKHCFRQ"  # of a training program, before the data, "me" and "team"
EVALUATION = "PALKCF"  # of an evaluation program, before the data
OF_A_THREAD = "GAL"
_OF_A_CALL = (control.STOP, control.PROGRESS, control.STATUS, control.DONE, control.BAD_GRADIENT, control.BAD_UPDATE,
              control.VERDICT)  # fmt: skip


@record(frozen=True)
class Start:
    """Where one copy begins: its weights, hyper-parameters and place in the data; and for how many steps it goes."""

    parameters: NDArray
    hyper: NDArray
    sampler: Sampler
    steps: int
    settings: Settings


class Trained(Protocol):
    """What the copies' memory depends on of a trainer, on any target."""

    total: int
    n_metrics: int
    dtype: np.dtype
    extra_words: int

    def epochs_ahead(self, sampler: Sampler, steps: int) -> int: ...


class Copies:
    """The memory of the copies, a row each, and how each of them ended.

    Attributes
    ----------
    parameters, states, totals, control : arrays of shape (copies, at least what one needs)
    history : array of shape (copies, epochs, 1 + metrics)
        Means over the epochs that ended; control[EPOCHS] tells how many.
    losses : array of shape (copies, steps)
        The loss of every step, of copies that record it.
    steps : array of shape (copies,)
        How many each of them is to do.
    status : array of shape (copies,)
        One of FINISHED, STOPPED, NONFINITE, CONVERGED, OVERFLOW.
    """

    def __init__(self, starts: Sequence[Start], trainer: Trained, n_states: int) -> None:
        count, width = len(starts), 1 + trainer.n_metrics
        epochs = max(trainer.epochs_ahead(s.sampler, s.steps) for s in starts)
        recorded = max((s.steps for s in starts if s.settings.record_steps), default=1)
        self.starts = starts
        self.parameters = rows_of(count, trainer.total, trainer.dtype)
        self.states = rows_of(count, n_states * trainer.total, trainer.dtype)
        self.hyper = rows_of(count, len(starts[0].hyper), np.float64)
        self.n_words = control.size_of(len(starts[0].sampler.extents)) + trainer.extra_words
        self.control = rows_of(count, self.n_words, np.int64)
        self.totals = rows_of(count, control.F_SIZE + trainer.n_metrics, np.float64)
        self.history = np.empty((count, epochs, width))
        self.losses = np.full((count, recorded), np.nan)
        self.steps, self.status = np.zeros(count, np.int64), np.zeros(count, np.int64)
        for place, start in enumerate(starts):
            self.begin(place, start.steps)

    def begin(self, place: int, steps: int) -> None:
        """Put a copy back to its start, from where it is to go so many steps."""
        start = self.starts[place]
        self.steps[place] = steps
        self.parameters[place, : start.parameters.size] = start.parameters
        self.states[place] = 0
        self.hyper[place, : start.hyper.size] = start.hyper
        set_control(self.control[place], start.sampler, steps, 0, start.settings)
        self.totals[place] = 0.0
        self.totals[place, control.TOLERANCE] = start.settings.tolerance

    def go_on(self, places: NDArray, steps: NDArray, in_order: bool) -> NDArray:
        """Make control words ready for a call of so many steps; returns the steps done before it.

        With ``in_order`` the data hold the rows as the steps take them.
        """
        c, done = self.control, self.control[places, control.DONE]
        for word in _OF_A_CALL:
            c[places, word] = 0
        c[places, control.STEPS] = steps
        if in_order:
            c[places, control.SHUFFLE] = 0
        return done

    def place_of(self, place: int) -> Sampler:
        """Where a copy stands in its data."""
        epoch, position = (int(self.control[place, word]) for word in (control.EPOCH, control.POSITION))
        return replace(self.starts[place].sampler, epoch=epoch, position=position)

    def words_of(self, place: int) -> NDArray:
        """The control words of one copy."""
        return self.control[place, : self.n_words]

    def word(self, word: int) -> NDArray:
        """One control word of every copy."""
        return self.control[:, word]


class Own:
    """An array for every copy, of an input that not all of them share."""

    def __init__(self, arrays: Sequence[Any]) -> None:
        self.arrays = arrays

    @functools.cached_property
    def addresses(self) -> NDArray:
        """Where the arrays lie."""
        return np.array([address(a) for a in self.arrays])


def data_of(shared: Sequence[Any], place: int) -> list[Any]:
    """Constants and data as one copy reads them."""
    return [x.arrays[place] if isinstance(x, Own) else x for x in shared]


@record(frozen=True)
class Pace:
    """Where the way of the copies is divided into native calls: at the ends of epochs, and of blocks of rows.

    ``per_epoch`` and ``batch`` are the steps of an epoch and the rows of a step. ``epoch_end`` is told which copies
    have ended an epoch, and says which of them stop. ``block`` makes of the data of a copy that stands at some place in
    them the next rows, at most ``most``, in the order of the steps.
    """

    per_epoch: int
    batch: int
    epoch_end: Callable[[NDArray], NDArray] | None = None
    block: Callable[[Sequence[Any], int, Sampler, int], Sequence[Any]] | None = None
    most: int = 0

    def ahead(self, copies: Copies, places: NDArray) -> NDArray:
        """The steps to the next of these ends."""
        steps = self.per_epoch - copies.control[places, control.POSITION] // self.batch
        return np.minimum(steps, self.most // self.batch) if self.block else steps


class Together:
    """Trains copies with one program; every thread makes one native call, or one for every part of a pace."""

    def __init__(
        self, trainer: Trainer, copies: Copies, shared: Sequence[Any], threads: int, pace: Pace | None = None
    ) -> None:
        """``shared`` are the constants, then the data in the order of the program's inputs, some of them ``Own``."""
        self.program, self.copies, self.shared, self.pace = trainer.program, copies, shared, pace
        self.threads = min(threads, len(copies.starts))
        self.seconds_per_step = trainer.seconds_per_step
        self.partials = bool(trainer.partials)
        self.buffers = [self._buffers(trainer) for _ in range(self.threads)]

    @staticmethod
    def _buffers(trainer: Trainer) -> list[NDArray]:
        """What belongs to a thread: OF_A_THREAD, and the parts of a batch that is computed in blocks."""
        return [*trainer.working_memory(), *(aligned(p.size, p.dtype) for p in trainer.partials)]

    def train(self, watch: Callable[[int], bool]) -> None:
        """All copies to their ends; ``watch`` is told the steps done, and stops all by returning True.

        A copy that met a number that is not finite is trained again up to the step before, as a run alone would be.
        """
        copies = self.copies
        self._to_the_end(np.arange(len(copies.starts)), watch, self.pace and self.pace.epoch_end)
        copies.status[:] = copies.word(control.STATUS)
        again = np.flatnonzero(np.isin(copies.status, BAD))
        for place in again.tolist():
            copies.begin(place, int(copies.control[place, control.DONE]))
        self._to_the_end(again, lambda done: False)

    def _to_the_end(
        self, places: NDArray, watch: Callable[[int], bool], epoch_end: Callable[[NDArray], NDArray] | None = None
    ) -> None:
        """Call after call, until every copy has ended or all are told to stop."""
        c, going = self.copies, places
        while going.size:
            epochs, stopped = c.word(control.EPOCHS)[going], False
            for group, steps, data in self._calls(going):
                stopped = stopped or self._call(group, steps, data, watch)
            if stopped:
                return
            crossed = going[c.word(control.EPOCHS)[going] > epochs]
            over = crossed[epoch_end(crossed)] if epoch_end and crossed.size else crossed[:0]
            left = c.steps[going] - c.word(control.DONE)[going]
            going = going[(c.word(control.STATUS)[going] == control.FINISHED) & (left > 0) & ~np.isin(going, over)]

    def _calls(self, going: NDArray) -> Iterator[tuple[NDArray, NDArray, Sequence[Any]]]:
        """Copies, their steps and their data, of every call until the next end: one, or with blocks one for all that
        take the same rows."""
        c, pace = self.copies, self.pace
        left = c.steps[going] - c.word(control.DONE)[going]
        steps = left if pace is None else np.minimum(left, pace.ahead(c, going))
        if pace is None or pace.block is None:
            yield going, steps, self.shared
            return
        alike: dict[tuple[int, ...], list[int]] = {}
        for t, place in enumerate(going.tolist()):
            at = c.place_of(place)
            alike.setdefault((at.seed, at.epoch, at.position, int(steps[t])), []).append(t)
        for (*_, count), numbers in alike.items():
            first = int(going[numbers[0]])
            constants, *data = self.shared
            rows = pace.block(data, first, c.place_of(first), count * pace.batch)
            yield going[numbers], steps[numbers], [constants, *rows]

    def _call(self, places: NDArray, steps: NDArray, data: Sequence[Any], watch: Callable[[int], bool]) -> bool:
        """Some steps of some copies; whether all are to stop."""
        c, asked = self.copies, False
        before = c.go_on(places, steps, in_order=data is not self.shared)
        progress = int(before.sum())

        def wants_end() -> bool:
            nonlocal asked
            asked = asked or watch(progress + int(c.word(control.PROGRESS).sum()))
            return asked

        self._run(places, before, data, wants_end)
        wants_end()
        for word in (control.DONE, control.PROGRESS):
            c.control[places, word] += before
        return asked

    def _run(self, places: NDArray, before: NDArray, data: Sequence[Any], wants_end: Callable[[], bool]) -> None:
        """One native call a thread."""
        table, counter = self._table(places, before, data), aligned(1, np.int64)
        own = [np.array([address(a) for a in buffers]) for buffers in self.buffers]
        steps = int(self.copies.control[places, control.STEPS].sum())
        fixed = (self.program.address("train"), address(table), len(places), address(counter))
        call = trampoline(ARGUMENTS, table.shape[1], self.partials)
        work = lambda: _share_out(self.program, call, [(*fixed, address(a)) for a in own])
        self._tell(places, before, data)

        def stop() -> None:
            self.copies.control[:, control.STOP] = 1

        carry_out(work, steps * self.seconds_per_step / self.threads, wants_end, stop)
        for place in places.tolist():
            bounds.look(self.program, self.copies.words_of(place))

    def _tell(self, places: NDArray, before: NDArray, shared: Sequence[Any]) -> None:
        """The extents of the arrays of every copy, where its program checks them."""
        c, (gradients, arena, integers, *partials) = self.copies, self.buffers[0]
        for place, done in zip(places.tolist(), before.tolist(), strict=True) if self.program.told else ():
            constants, *data = data_of(shared, place)
            own = [c.parameters[place], gradients, c.states[place], arena, integers, constants, c.hyper[place],
                   c.words_of(place), c.totals[place], c.history[place], c.losses[place][done:]]  # fmt: skip
            bounds.tell(self.program, c.words_of(place), [*own, *data, *partials])

    def _table(self, places: NDArray, before: NDArray, shared: Sequence[Any]) -> NDArray:
        """The arguments of every copy: addresses, then "thread 0 of 1"; those of the thread are filled in later."""
        c, (constants, *data) = self.copies, shared
        rows = {"P": c.parameters, "S": c.states, "H": c.hyper, "C": c.control, "F": c.totals, "R": c.history,
                "Q": c.losses}  # fmt: skip
        end = len(ARGUMENTS) + len(data)
        table = np.zeros((len(places), end + self.partials + 2), np.int64)
        for letter, array in rows.items():
            table[:, ARGUMENTS.index(letter)] = address(array) + places * array.strides[0]
        table[:, ARGUMENTS.index("Q")] += before * c.losses.itemsize  # a call counts its steps from 0
        table[:, ARGUMENTS.index("K")] = address(constants)
        for at, x in enumerate(data, len(ARGUMENTS)):
            table[:, at] = x.addresses[places] if isinstance(x, Own) else address(x)
        table[:, -1] = 1
        return table


def rows_of(count: int, width: int, dtype: DTypeLike) -> NDArray:
    """Zeros of shape (count, at least width); every row starts on a cache line."""
    per_line = LINE // np.dtype(dtype).itemsize
    padded = -(-max(width, 1) // per_line) * per_line
    return aligned(count * padded, dtype).reshape(count, padded)


def evaluate_many(
    evaluator: Evaluator, parameters: NDArray, shared: Sequence[Any], rows: Lengths, threads: int, seconds: float
) -> NDArray:
    """The means of the scalars for many sets of parameters, one a row: shape (sets, scalars).

    Parameters
    ----------
    evaluator : Evaluator
        Of a program without outputs.
    parameters : array of shape (sets, at least what one needs)
        As :func:`rows_of` makes it.
    shared : sequence of arrays
        Constants, then the data in the order of the program's inputs, some of them ``Own``.
    seconds : float
        What it is expected to take, for Ctrl-C to be heard.
    """
    count, (constants, *data) = len(parameters), shared
    one = words_of(rows, bounds.room(evaluator.program))
    words = rows_of(count, one.size, np.int64)
    totals = rows_of(count, control.F_SIZE + evaluator.n_scalars, np.float64)
    words[:, : one.size] = one
    table, counter = np.zeros((count, len(EVALUATION) + len(data)), np.int64), aligned(1, np.int64)
    for letter, array in {"P": parameters, "C": words, "F": totals}.items():
        table[:, EVALUATION.index(letter)] = address(array) + np.arange(count) * array.strides[0]
    table[:, EVALUATION.index("K")] = address(constants)
    for at, x in enumerate(data, len(EVALUATION)):
        table[:, at] = x.addresses if isinstance(x, Own) else address(x)
    sizes = (evaluator.arena_size, evaluator.dtype), (evaluator.integer_size, np.int64)
    buffers = [[aligned(size, kind) for size, kind in sizes] for _ in range(min(threads, count))]
    own = [np.array([address(a) for a in pair]) for pair in buffers]
    program, call = evaluator.program, trampoline(EVALUATION, table.shape[1])
    noted = [words[place, : one.size] for place in range(count if program.told else 0)]
    for place, c in enumerate(noted):
        head = [parameters[place], *buffers[0], constants, c, totals[place]]
        bounds.tell(program, c, [*head, *data_of(data, place)])
    fixed = (program.address("evaluate"), address(table), count, address(counter))

    def stop() -> None:
        words[:, control.STOP] = 1

    work = lambda: _share_out(program, call, [(*fixed, address(a)) for a in own])
    carry_out(work, seconds, lambda: False, stop)
    for c in noted:
        bounds.look(program, c)
    means = totals[:, control.TOTALS : control.TOTALS + evaluator.n_scalars]
    return means / np.maximum(totals[:, control.WEIGHT], 1.0)[:, None]


def _share_out(program: Program, call: Any, arguments: Sequence[tuple[int, ...]]) -> None:
    """One native call a thread, the calling thread among them; those that cannot be started leave more to the rest."""
    failed: list[int] = []

    def take(me: int, mine: tuple[int, ...]) -> None:
        if len(arguments) > 1:
            spread(me)
        statistics["native_calls"] += 1
        status = call(*mine)
        if status:
            failed.append(status)

    with one_thread_of_blas(program):
        _in_threads([functools.partial(take, me, mine) for me, mine in enumerate(arguments)])
    if failed:
        raise RuntimeError(f"{program.name} returned status {failed[0]}")


def _in_threads(works: Sequence[Callable[[], None]]) -> None:
    helpers = [threading.Thread(target=work, daemon=True) for work in works[1:]]
    try:
        with contextlib.suppress(RuntimeError):  # no thread to be had
            for helper in helpers:
                helper.start()
        works[0]()
    finally:
        for helper in helpers:
            if helper.ident is not None:
                helper.join()


# ---------------------------------------------------------------- the machine code


@functools.cache
def trampoline(letters: str, arity: int, partials: bool = False) -> Any:
    """``int32 f(entry, table, copies, counter, own)``: calls a program of ``arity`` arguments for row after row.

    ``letters`` are those of its arguments that the host provides; data and other numbers follow. With ``partials`` the
    last argument before "me" and "team" belongs to the thread, too. The next row comes from a counter that threads
    share; a row whose stop word is set is passed over.
    """
    engine = load(assemble(_text(letters, arity, partials)))
    word = ctypes.c_void_p
    prototype = ctypes.CFUNCTYPE(ctypes.c_int32, word, word, ctypes.c_int64, word, word)
    call = prototype(engine.get_function_address("graphc_many"))
    call.engine = engine  # the code lives as long as its engine
    return call


def _text(letters: str, arity: int, partials: bool) -> str:
    """Every argument is passed as a word of 64 bits: pointers and whole numbers go the same way in C."""
    mine = [letter for letter in OF_A_THREAD if letter in letters]
    own = {letters.index(letter): at for at, letter in enumerate(mine)}
    own |= {arity - 3: len(mine)} if partials else {}
    loads = [line for place in range(arity) for line in _load(place, own)]
    passed = ", ".join(f"i64 %a{place}" for place in range(arity))
    return f"""
define i32 @graphc_many(ptr %entry, ptr %table, i64 %copies, ptr %counter, ptr %own) {{
start:
  %result = alloca i64
  %exception = alloca ptr
  br label %next
next:
  %copy = atomicrmw add ptr %counter, i64 1 monotonic
  %more = icmp slt i64 %copy, %copies
  br i1 %more, label %look, label %done
look:
  %words = mul i64 %copy, {arity}
  %row = getelementptr i64, ptr %table, i64 %words
  %where = getelementptr i64, ptr %row, i64 {letters.index("C")}
  %c = load ptr, ptr %where
  %stop_at = getelementptr i64, ptr %c, i64 {control.STOP}
  %stop = load atomic i64, ptr %stop_at monotonic, align 8
  %stopped = icmp ne i64 %stop, 0
  br i1 %stopped, label %next, label %run
run:
{chr(10).join(loads)}
  %status = call i32 %entry(ptr %result, ptr %exception, {passed})
  %failed = icmp ne i32 %status, 0
  br i1 %failed, label %fail, label %next
fail:
  ret i32 %status
done:
  ret i32 0
}}
"""


def _load(place: int, own: Mapping[int, int]) -> tuple[str, str]:
    """Argument number ``place``: from the buffers of the thread, else from the row of the copy."""
    base, at = ("%own", own[place]) if place in own else ("%row", place)
    return f"  %p{place} = getelementptr i64, ptr {base}, i64 {at}", f"  %a{place} = load i64, ptr %p{place}"
