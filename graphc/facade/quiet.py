"""The epochs of a fit at whose ends Python has nothing to do: many of them are one native call."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from graphc.facade.core import Core
from graphc.facade.evaluating import evaluated_roots
from graphc.facade.options import Options
from graphc.facade.preparing import evaluator
from graphc.facade.validating import HeldOut
from graphc.native.buffers import address
from graphc.run.epoch_ends import EpochEnds, Validation, Watcher, is_log, period, program_for
from graphc.run.history import Run
from graphc.run.sources import Rows
from graphc.run.training import Trainer

LONGEST, MOST = 0.5, 2**16  # seconds and epochs of a call
LOGGED = 0.1  # seconds of one whose epochs are written down afterwards
GROWTH = 8  # a call has at most so many times the epochs of the one before, which told what an epoch takes
FEWEST = 16  # epochs that are left: fewer are not worth finding the program


class QuietEpochs:
    """Tells for which epochs the next native call is.

    The first epoch of a fit always ends in Python: it tells which quantities there are, and what watches one that there
    is not says so.

    Parameters
    ----------
    names : sequence of str
        The quantities that training has a history of, in the order of the program.
    per_epoch, batch : int
        Steps of an epoch, rows of a step.
    """

    def __init__(
        self,
        model: Core,
        trainer: Any,
        options: Options,
        run: Run,
        held_out: HeldOut | None,
        names: Sequence[str],
        per_epoch: int,
        batch: int,
    ) -> None:
        self.model, self.trainer, self.options, self.run = model, trainer, options, run
        self.held_out, self.names, self.per_epoch, self.batch = held_out, names, per_epoch, batch
        self.begun, self.epochs, self.pace = run.epochs, 1, 0.0
        self.ends: EpochEnds | None = None
        on_cpu = isinstance(trainer, Trainer) and model.params.flat.nbytes % 8 == 0
        self.possible = on_cpu and all(period(c) != 1 for c in options.callbacks)

    def _is_short(self) -> bool:
        """Whether one thread trains, for an epoch that is short beside a call."""
        threads, step = self.options.threads, self.trainer.seconds_per_step
        self.pace = self.per_epoch * step
        alone = threads == 1 or (threads is None and self.trainer.tuner.is_alone(self.per_epoch, step))
        return alone and self.pace < LONGEST / 5

    def next(self, left: int) -> EpochEnds | None:
        """The ends of the epochs of the next call, of ``left`` steps that are still to do; None when Python has
        something to do at the end of the next epoch."""
        if not self.possible or self.run.epochs == self.begun:
            return None
        if self.ends is None:
            self.ends = self._made(left) if self._is_short() else None
            self.possible = self.ends is not None
        return self._prepared(self.ends, left) if self.ends else None

    def _made(self, left: int) -> EpochEnds | None:
        epochs = left // self.per_epoch
        validation = self._validation() if self.held_out is not None else None
        watchers: list[Watcher] = [c for c in self.options.callbacks if not (period(c) or is_log(c))]  # pyright: ignore
        watched = {w.watched(self.run)[0] for w in watchers}
        if epochs < FEWEST or (self.held_out is not None and validation is None) or not watched <= self._plain():
            return None
        program = program_for(epochs)
        flat, per_epoch = self.model.params.flat, self.per_epoch
        return program and EpochEnds(program, flat, per_epoch, self.batch, self.names, validation, watchers)

    def _plain(self) -> set[str]:
        """Quantities that are reported as programs compute them."""
        found = {"loss"} | {n for n, m in self.model.metrics.measures.items() if not m.parts and not m.columns}
        return found | {f"val_{name}" for name in found}

    def _validation(self) -> Validation | None:
        """The evaluation of the validation data; None where it takes several threads or does more than add up."""
        assert self.held_out is not None
        model, data = self.held_out.model, self.held_out.data
        names, columns = evaluated_roots(model)
        if columns or any(isinstance(a, Rows) for a in data.arrays.values()):
            return None
        compiled, program = evaluator(model, columns, names, data.lengths)
        if program.parts is not None and len(program.parts.of(data.rows)) > 1:
            return None
        head, _ = program.head(model.params.flat, compiled.constants, data.lengths)
        arrays = [*head, *(data.arrays[leaf] for leaf in compiled.facts.inputs)]
        return Validation(program.program, [address(a) for a in arrays], head[-1], names, arrays)

    def _prepared(self, ends: EpochEnds, left: int) -> EpochEnds | None:
        run, position = self.run, self.model.state.sampler.position
        periods = [n for n in map(period, self.options.callbacks) if n is not None]
        rest = min((n - run.epochs % n for n in periods), default=MOST + 1)
        if rest == 1:
            return None
        epochs = min(self.epochs, rest)
        ends.first = self.per_epoch - position // self.batch
        ends.steps = min(left, ends.first + (epochs - 1) * self.per_epoch)
        ends.seconds = epochs * self.pace
        ends.prepare(run, epochs, epochs if epochs == rest else 0)
        return ends

    def learn(self, done: int, seconds: float) -> None:
        """What a call of so many steps took: the next one is as long as it may be."""
        self.pace = seconds / max(done // self.per_epoch, 1)
        longest = LOGGED if any(map(is_log, self.options.callbacks)) else LONGEST
        self.epochs = max(1, min(GROWTH * self.epochs, int(longest / max(self.pace, 1e-9)), MOST))
