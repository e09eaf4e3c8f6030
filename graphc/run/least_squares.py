"""The Levenberg-Marquardt method as a trainer: what its program (:mod:`graphc.emit.least_squares`) knows of a model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import field, replace

import numpy as np
from numpy.typing import NDArray

from graphc.emit import least_squares as tables
from graphc.lower.lengths import Lengths
from graphc.native.buffers import aligned
from graphc.native.build import Program
from graphc.optim.curvature import Curvature
from graphc.records import record
from graphc.run.descent import Batch, Called, Descent, joined
from graphc.run.thread_team import TeamTuner
from graphc.run.training import Settings

MULTIPLICATIONS = 2e9  # a second, until a step has been measured


@record(frozen=True)
class Block:
    """Residuals that a call gives, so many, ``inside`` of them a row: where they and their derivatives by each array of
    parameters lie in what it gives; the factor before them; the call itself, where no block before has made it."""

    count: int
    inside: int
    residual: int
    jacobian: Sequence[int]
    factor: float
    call: Called | None


@record
class Asked:
    """What stands where a training program would: precision and sizes of the model, its gradient."""

    dtype: np.dtype
    total: int
    n_metrics: int
    capacity: Lengths
    seconds_per_step: float
    control: NDArray
    extra_words: int
    tuner: TeamTuner = field(default_factory=TeamTuner)

    def __post_init__(self) -> None:
        self.gradients = aligned(self.total, self.dtype)


class LeastSquares(Descent):
    """Trains with the Levenberg-Marquardt method.

    Parameters
    ----------
    how, batches
        As of :class:`Descent`.
    evaluated : Asked
    places : sequence of (int, int)
        Of every array of parameters: where it lies, and its length.
    again : bool
        Whether the memory of ``given`` has what the last call gave only.
    """

    def __init__(
        self, how: Curvature, batches: Sequence[Batch], evaluated: Asked, places: Sequence[tuple[int, int]], again: bool
    ) -> None:
        self.stored = places
        packed = sum(size for _, size in places)
        super().__init__(how, batches, evaluated, -(-packed // 4) * 4)
        self.again = again
        self._metrics: Sequence[Called] = []
        self._calls: list[Called] = []

    def ask(self, given: NDArray, blocks: Sequence[Sequence[Block]], metrics: Sequence[Called]) -> None:
        """Of every batch the blocks, whose calls read :attr:`point` and write to ``given``, and what gives metrics."""
        self.exchanged, self._metrics = given, metrics
        flat = [block for of_batch in blocks for block in of_batch]
        self._calls = [block.call for block in flat if block.call is not None]
        self.weights = np.array([*self.weights, *(block.factor for block in flat)])
        numbers = [self.many, len(self.stored), self.words.size, self.again]
        starts = np.cumsum([0, *(size for _, size in self.stored)]).tolist()
        table = [n for start, place in zip(starts, self.stored, strict=False) for n in (start, *place)]
        ends = np.cumsum([0, *map(len, blocks)]).tolist()
        table += [n for pair in zip(ends, ends[1:], strict=False) for n in pair]
        called = iter(range(len(self._calls)))
        for b in flat:
            table += [-1 if b.call is None else next(called), b.count, b.inside, b.residual, *b.jacobian]
        work = sum(b.count for b in flat) * self.many**2 + self.many**3 / 3
        self.seconds_per_step = self.evaluated.seconds_per_step = work / MULTIPLICATIONS
        whole = aligned(self.words.size + len(table), np.int64)
        whole[: self.words.size], whole[self.words.size :] = self.words, table
        whole[[tables.PACKED, tables.PARAMS, tables.TABLE, tables.AGAIN]] = numbers
        self.words = whole
        for t, call in enumerate(metrics):
            self.evaluated.control[:] = call.words
            self.remember(t)

    def evaluations(self, team: int) -> Sequence[NDArray]:
        if not self._metrics:
            return [np.zeros(1 + len(self.batches), np.int64)] * team
        called = [call.places for call in self._metrics]
        return [joined([call.program for call in self._metrics], "evaluate", called, 0, 1)] * team

    def others(self, parameters: NDArray) -> Sequence[Called]:  # noqa: ARG002  they read the point that is looked at
        return self._calls

    def _next(self, left: int, settings: Settings) -> tuple[int, int]:
        return 1, super()._next(left, replace(settings, threads=1))[1]

    def programs(self) -> Sequence[tuple[Program, NDArray]]:
        metrics = [(call.program, self.evaluated.control) for call in self._metrics]
        return [*metrics, *((call.program, call.words) for call in self._calls)]
