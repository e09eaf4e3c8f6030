"""Optimizers that use curvature, as trainers: a native call takes many steps, as one of a training program does.

The program of :mod:`graphc.emit.descent` calls what evaluates loss and gradient by its address, so nothing of an
iteration is Python. Parameters and states are rounded to the precision of the model, sums are made in float64 by one
thread: bits depend on no number of threads.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Any

import numpy as np
from numpy.typing import NDArray

from graphc.emit import control
from graphc.emit import descent as words
from graphc.emit.descent import descent_program
from graphc.lower.lengths import Lengths
from graphc.native.buffers import address, aligned
from graphc.native.build import Program, build
from graphc.native.bundles import bundle
from graphc.optim.curvature import Curvature
from graphc.records import record
from graphc.run import bounds
from graphc.run.data import Bound
from graphc.run.epoch_ends import EpochEnds
from graphc.run.sampler import Sampler
from graphc.run.thread_team import Arguments, arguments_of, one_thread_of_blas
from graphc.run.training import Call, Moving, Settings, Trainer, Watch, set_control


@functools.cache
def program_for(method: str, dtype: str) -> Program:
    """The program of an optimizer, compiled once for all models."""
    text = descent_program(method, dtype)
    program = build(text.text, {text.entry: text.signature}, name=text.name)
    program.subnormals = True  # directions keep small numbers; the programs that are called flush
    return program


@record(frozen=True)
class Batch:
    """Rows that a step takes: as data and weights (``taken``), as constants and data in the order of the program's
    inputs; their lengths, how many rows or turns they count as, and their weight."""

    taken: tuple[Bound, NDArray | None]
    inputs: Sequence[Any]
    lengths: Lengths
    rows: int
    weight: float


@record(frozen=True)
class Called:
    """A call that a program makes: of what, with which arguments; ``words`` are the control words among them."""

    program: Program
    arguments: Sequence[NDArray]
    words: NDArray

    @property
    def places(self) -> list[int]:
        """Where the arguments lie."""
        return [address(a) for a in self.arguments]


class Descent(Trainer):
    """Trains with an optimizer that uses curvature; those who derive from it say what is called.

    Parameters
    ----------
    how : Curvature
    batches : sequence of Batch
        In the order of the steps of an epoch; each stays the same.
    evaluated : Trainer
        Has precision and sizes of the model, the gradient, control words, the choice of the number of threads.
    many : int
        How many pairs, products or packed parameters there are.
    """

    def __init__(self, how: Curvature, batches: Sequence[Batch], evaluated: Any, many: int) -> None:
        self.how, self.batches, self.evaluated, self.many = how, batches, evaluated, many
        self.dtype, self.total = evaluated.dtype, evaluated.total
        program = program_for(how.name, self.dtype.name)
        sizes = {"parameters": self.total, "arena": 0, "integers": 0}
        metrics, seconds = evaluated.n_metrics, evaluated.seconds_per_step
        super().__init__(program, sizes, self.dtype.name, evaluated.capacity, metrics, seconds)
        self.extra_words, self.tuner = evaluated.extra_words, evaluated.tuner
        self.point, self.vectors, self.words = self.own[0]
        self.totals, self.found = np.zeros(control.F_SIZE + metrics), np.empty((3, 1 + metrics))
        self.weights = np.array([b.weight for b in batches])
        self.unread = np.zeros(1), aligned(1, self.dtype), np.empty(0)  # hyper-parameters, states, losses of steps
        self.exchanged = aligned(1, self.dtype)
        k, c = self.words, evaluated.control
        flag = c.size - self.extra_words if self.extra_words else control.STOP
        k[[words.SIZE, words.MEMORY, words.WORDS]] = self.total, many, c.size
        k[[words.FLAG, words.SCALARS, words.BATCHES]] = flag, 1 + metrics, len(batches)
        k[words.ROWS_OF] = max(b.rows for b in batches)
        k[words.TEMPLATES + len(batches) * c.size :][: len(batches)] = [b.rows for b in batches]

    def working_memory(self) -> tuple[NDArray, NDArray, NDArray]:
        """The point that is looked at, vectors in double precision, whole numbers."""
        vectors = words.room(self.how.name, self.total, self.many)
        return aligned(self.total, self.dtype), aligned(vectors, np.float64), aligned(self.behind_words, np.int64)

    @property
    def behind_words(self) -> int:
        """The whole numbers: words, control words of what is called and rows of each batch."""
        return words.TEMPLATES + len(self.batches) * (self.evaluated.control.size + 1)

    def batch_at(self, sampler: Sampler) -> Batch:
        """The batch of the next step."""
        return self.batches[sampler.position // max(sampler.batch, 1)]

    def remember(self, batch: int) -> None:
        """Control words are found as they are now when a batch is evaluated."""
        c = self.evaluated.control
        at = words.TEMPLATES + batch * c.size
        self.words[at : at + c.size] = c

    def evaluations(self, team: int) -> Sequence[NDArray]:
        """What every thread calls to evaluate: room for a bundle, then that of each batch."""
        raise NotImplementedError

    def others(self, parameters: NDArray) -> Sequence[Called]:
        """What else is called, by the first thread."""
        raise NotImplementedError

    def programs(self) -> Sequence[tuple[Program, NDArray]]:
        """All that is called, with the control words."""
        raise NotImplementedError

    def arguments(
        self, parameters: NDArray, states: NDArray, inputs: Sequence[NDArray], books: Sequence[NDArray], team: int
    ) -> Arguments:
        """Those of a call; of ``inputs`` the hyper-parameters alone, the batches are known."""
        calls, others = self.evaluations(team), self.unread[0]
        found = self.others(parameters)
        if found:
            others = joined([called.program for called in found], "call", [called.places for called in found], 0, 1)
            self.words[words.WIDTH_OF_B] = len(others) // (1 + len(found))
        self.words[words.WIDTH] = len(calls[0]) // (1 + len(self.batches))
        self._alive = others, calls
        own = self.evaluated.control, self.totals, self.found, self.weights, others, self.exchanged
        before = parameters, self.evaluated.gradients, states, self.vectors
        after = self.words, inputs[1], self.control, *books, self.point, *own
        first, last = [address(a) for a in before], [address(a) for a in after]
        return [[*first, address(mine), *last] for mine in calls]

    def _native(
        self, work: Callable[[], None], seconds: float, watch: Watch | None, before: Callable[[], int]
    ) -> None:
        with ExitStack() as held:
            for program in {id(program): program for program, _ in self.programs()}.values():
                held.enter_context(one_thread_of_blas(program))
            super()._native(work, seconds, watch, before)

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
        self.words[words.LOOKS] = 0
        try:
            super()._part(moving, inputs, call, settings, watch, steps, team, ends)
        finally:
            if self.words[words.STUCK]:
                call.status = control.STUCK
        for program, control_words in self.programs():
            bounds.look(program, control_words)

    def _learn(self, team: int, steps: int, seconds: float) -> None:
        super()._learn(team, max(int(self.words[words.LOOKS]), 1), seconds)
        self.evaluated.seconds_per_step = self.seconds_per_step


Products = Callable[[NDArray, NDArray], Called]


class GradientDescent(Descent):
    """One that asks for loss and gradient, by as many threads as pay, and may multiply by the Hessian.

    Parameters
    ----------
    gradients : Trainer
        Of the rule that changes nothing.
    how, batches
        As of :class:`Descent`.
    products : sequence of function
        Of each batch: the call that multiplies by the Hessian at some parameters, which reads a vector and writes the
        product behind it.
    """

    def __init__(
        self, gradients: Trainer, how: Curvature, batches: Sequence[Batch], products: Sequence[Products] = ()
    ) -> None:
        super().__init__(how, batches, gradients, how.most)
        self.products = products
        self.exchanged = aligned(2 * self.total if products else 1, self.dtype)
        self._evaluations: dict[int, list[NDArray]] = {}
        self._others: tuple[NDArray | None, list[Called]] = None, []
        for t, batch in enumerate(batches):
            set_control(gradients.control, Sampler.over(batch.lengths), 1, 0, Settings(shuffle=False))
            self._called(batch, 1)  # tells the extents of arrays, where they are checked
            self.remember(t)
        gradients.control[:] = 0

    def _called(self, batch: Batch, team: int) -> Arguments:
        """The arguments of the program that is called."""
        constants, *data = batch.inputs
        hyper, states, losses = self.unread
        books = self.totals, self.found, losses
        return self.evaluated.arguments(self.point, states, [constants, hyper, *data], books, team)

    def evaluations(self, team: int) -> Sequence[NDArray]:
        if team not in self._evaluations:
            called, program = [self._called(batch, team) for batch in self.batches], self.evaluated.program
            each = [program] * len(called)
            self._evaluations[team] = [joined(each, "train", called, me, team) for me in range(team)]
        return self._evaluations[team]

    def others(self, parameters: NDArray) -> Sequence[Called]:
        if self._others[0] is not parameters:
            self._others = parameters, [product(parameters, self.exchanged) for product in self.products]
        return self._others[1]

    def programs(self) -> Sequence[tuple[Program, NDArray]]:
        own = self.evaluated.program, self.evaluated.control
        return [own, *((called.program, called.words) for called in self._others[1])]


def joined(
    programs: Sequence[Program], entry: str, arguments: Sequence[Arguments], me: int, team: int
) -> NDArray:
    """Room for a bundle, and those of a thread for several programs with their arguments."""
    member = [me, team] if entry == "train" else []
    rows = [bundle(p, entry, [*arguments_of(me, own), *member]) for p, own in zip(programs, arguments, strict=True)]
    table = np.zeros((1 + len(rows), max(map(len, rows))), np.int64)
    for t, row in enumerate(rows, 1):
        table[t, : len(row)] = row
    return table.reshape(-1)
