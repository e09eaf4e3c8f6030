"""What happens to the copies of a sweep at the ends of epochs: validation and early stopping, as in fits alone."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from graphc.emit import control
from graphc.facade.copies import Divided, shared
from graphc.facade.core import Core
from graphc.facade.evaluating import evaluated_roots, loss_and_metrics
from graphc.facade.fitting import begin_history, epoch_end
from graphc.facade.options import Options
from graphc.facade.preparing import evaluator
from graphc.facade.settings import Setting
from graphc.facade.state import Parameters
from graphc.facade.weighing import weighed
from graphc.lower.training import layout_parameters
from graphc.native.stack import cores
from graphc.run.data import Bound
from graphc.run.history import Run
from graphc.run.sources import Rows
from graphc.run.steering import EarlyStopping
from graphc.run.sweep import Copies, evaluate_many, rows_of


class Watched:
    """A run for every copy, with callbacks of its own, and a model whose parameters are the copy's.

    Attributes
    ----------
    runs : list of Run
        What a fit of each copy alone would tell.
    """

    def __init__(
        self,
        model: Core,
        public: Callable[[Core], Any],
        options: Options,
        settings: Sequence[Setting],
        copies: Copies,
        parts: Divided,
    ) -> None:
        self.model, self.copies = model, copies
        self.names = ["loss", *model.metric_names]
        self.twins = [_twin(model, copies.parameters[i]) for i in range(len(settings))]
        self.public = [public(twin) for twin in self.twins]
        self.options = [replace(options, callbacks=copy.deepcopy(options.callbacks)) for _ in settings]
        self.runs = [Run(record=options.record, seed=s.seed) for s in settings]
        rows = [r for s in settings if (r := parts.held_out(s)) is not None]
        self.validation = Validation(self.twins, rows, copies, options.threads or cores()) if rows else None
        for run, own, seen in zip(self.runs, self.options, self.public, strict=True):
            begin_history(model, run, bool(rows))
            for c in own.callbacks:
                c.begin(run, seen)

    def epoch_end(self, places: NDArray) -> NDArray:
        """Which of the copies that have ended an epoch are to stop; probes are not watched."""
        own = [place for place in places.tolist() if place < len(self.runs)]
        values = self.validation.of(own) if self.validation else [None] * len(own)
        stops = {i: self._epoch_end(i, found) for i, found in zip(own, values, strict=True)}
        return np.array([stops.get(place, False) for place in places.tolist()])

    def _epoch_end(self, i: int, validated: Mapping[str, Any] | None) -> bool:
        run, words = self.runs[i], self.copies.control[i]
        run.epochs, run.steps = int(words[control.EPOCHS]), int(words[control.DONE])
        means = dict(zip(self.names, self.copies.history[i, run.epochs - 1], strict=True))
        for name, value in self.model.metrics.report(means).items():
            run.latest[name] = float(value)
        return epoch_end(self.twins[i], run, self.options[i], validated, self.public[i])

    @property
    def judged(self) -> tuple[str, float]:
        """What copies are compared by: its name, and -1 where more is better; the loss before the end of an epoch."""
        named = [(str(c.monitor), c.sign) for c in self.options[0].callbacks if isinstance(c, EarlyStopping)]
        wanted = [*(n for n in named if n[0].startswith("val_")), ("val_loss", 1.0)]
        return next((n for n in wanted if any(n[0] in run.latest for run in self.runs)), ("loss", 1.0))

    def end(self) -> None:
        """After the last step: the best parameters are put back."""
        for run, own, seen in zip(self.runs, self.options, self.public, strict=True):
            for c in own.callbacks:
                c.end(run, seen)


class Validation:
    """Loss and metrics of copies over the rows that are held out for each.

    All in one call where that gives the same bits: where no metric is made of columns, the rows are in memory, and one
    copy's are not divided among threads. One by one the first time, which checks the program.
    """

    def __init__(self, twins: Sequence[Core], held_out: Sequence[Bound], copies: Copies, threads: int) -> None:
        self.twins, self.held_out, self.parameters, self.threads = twins, held_out, copies.parameters, threads
        self.model, self.checked = twins[0], False
        self.weighed = [weighed(self.model, rows) for rows in held_out]
        names, columns = evaluated_roots(self.weighed[0][0])
        self.names, lengths = names, held_out[0].lengths
        self.compiled, self.program = evaluator(self.weighed[0][0], columns, names, lengths)
        stored = any(isinstance(a, Rows) for a in held_out[0].arrays.values())
        parts = self.program.parts.of(lengths) if self.program.parts and isinstance(lengths, int) else [None]
        self.side_by_side = not columns and not stored and len(parts) == 1

    def of(self, places: Sequence[int]) -> list[dict[str, Any]]:
        """What ``evaluate`` says of each of some copies."""
        if self.side_by_side and self.checked and places:
            return self._together(places)
        self.checked = True
        return [loss_and_metrics(self.twins[i], self.held_out[i]) for i in places]

    def _together(self, places: Sequence[int]) -> list[dict[str, Any]]:
        points = rows_of(len(places), self.parameters.shape[1], self.parameters.dtype)
        points[:] = self.parameters[places]
        read = [shared([self.weighed[i][1].arrays[leaf] for i in places]) for leaf in self.compiled.facts.inputs]
        data, lengths = [self.compiled.constants, *read], self.held_out[0].lengths
        seconds = self.compiled.facts.seconds_per_step * len(places) / self.threads
        found = evaluate_many(self.program, points, data, lengths, self.threads, seconds)
        report = self.model.metrics.report
        return [report(dict(zip(self.names, row, strict=True)), {}) for row in found.tolist()]


def _twin(model: Core, parameters: NDArray) -> Core:
    """The model with the parameters of a copy, in their place."""
    twin = copy.copy(model)
    twin._params = Parameters(layout_parameters(model.kept_leaves), model.dtype)
    twin._params.adopt(parameters[: twin._params.flat.size])
    return twin
