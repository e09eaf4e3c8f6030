"""Loss and gradient at given parameters, again and again: a training step whose rule changes nothing."""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from graphc.emit import control
from graphc.lower.lengths import Lengths
from graphc.run import bounds
from graphc.run.sampler import Sampler
from graphc.run.thread_team import Arguments, call_together
from graphc.run.training import BAD, Settings, Trainer, set_control
from graphc.run.worker import SHORT, carry_out

MANY = 1_000_000  # calls that may follow


class GradientCall:
    """A call of one step over all rows of a batch, in their order, made ready once.

    ``parameters`` is read by every call; ``trainer.gradients`` then holds the gradient. Calls of one trainer share its
    memory: not in two threads at once.
    """

    def __init__(self, trainer: Trainer, parameters: NDArray, inputs: Sequence[NDArray], rows: Lengths) -> None:
        self.trainer, self._sampler = trainer, Sampler.over(rows)
        self._c, self._f = np.zeros_like(trainer.control), np.zeros(control.F_SIZE + trainer.n_metrics)
        set_control(self._c, self._sampler, 1, 0, Settings(shuffle=False))
        self._history = np.empty((3, 1 + trainer.n_metrics))
        self._arrays = parameters, np.empty(1, trainer.dtype), inputs, (self._f, self._history, np.empty(0))
        self._arguments: dict[int, Arguments] = {}  # by the number of threads

    def __call__(self, threads: int | None) -> list[float] | None:
        """Loss and metrics; None where loss or gradient is not finite."""
        trainer, seconds = self.trainer, self.trainer.seconds_per_step
        trainer.control[:] = self._c
        self._f[:] = 0.0
        team, _ = trainer.tuner.next(MANY, seconds, threads)
        if team not in self._arguments or trainer.extra_words:
            self._arguments[team] = trainer.arguments(*self._arrays, team)
        work = lambda: call_together(trainer.program, "train", self._arguments[team], team)
        started = time.perf_counter()
        if seconds < SHORT:
            work()
        else:
            carry_out(work, seconds, lambda: False, lambda: None)
        taken = time.perf_counter() - started
        bounds.look(trainer.program, trainer.control)
        trainer.tuner.learn(team, 1, taken)
        if team == 1:
            trainer.seconds_per_step = min(taken, seconds) if seconds < SHORT else taken
        finite = int(trainer.control[control.STATUS]) not in BAD
        return self._history[0].tolist() if finite else None
