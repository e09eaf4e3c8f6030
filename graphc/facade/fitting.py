"""``fit``: options checked, data bound, the run carried out in as few native calls as the options allow."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from graphc.emit import control
from graphc.emit.update import hyper_values
from graphc.errors import DataError, DivergenceError, DomainError
from graphc.facade.batches import Batches, batches_of, with_batch_sizes
from graphc.facade.checking import verify_training
from graphc.facade.core import Core
from graphc.facade.devices import place_for, trainer_for
from graphc.facade.diagnosis import explain_divergence, explain_overflow
from graphc.facade.options import Options
from graphc.facade.quiet import QuietEpochs
from graphc.facade.rehearsing import Rehearsal
from graphc.facade.resuming import Part, whole_run
from graphc.facade.splitting import split
from graphc.facade.trials import TrainingTrial
from graphc.facade.validating import HeldOut, held_out_for
from graphc.facade.weighing import row_weights
from graphc.optim import Curvature, average_places
from graphc.records import record
from graphc.run.data import Bound, Seen, bind
from graphc.run.descent import Descent
from graphc.run.epoch_ends import EpochEnds, is_log
from graphc.run.history import Run
from graphc.run.interrupt import DeferredInterrupt
from graphc.run.progress import NoProgress, progress_line
from graphc.run.sources import Blocks, rows_within
from graphc.run.steered import RunningHyper
from graphc.run.steering import EarlyStopping
from graphc.run.training import Call, Moving, Settings, Trainer

if TYPE_CHECKING:
    from graphc.cuda.training import CudaTrainer

MOST_STEPS = 1_000_000  # when only a tolerance ends the run
ENDS = {control.CONVERGED: "converged", control.STUCK: "no progress"}  # what a run says of the end that a call found


@record
class Prepared:
    """What a fit finds out before its first step; of ``hyper`` a run makes its own. ``reads`` and the like are what the
    model knows of the program."""

    options: Options
    data: Bound
    weights: NDArray | None
    held_out: HeldOut | None
    batches: Batches
    trainer: Trainer | CudaTrainer
    hyper: tuple[float, ...]
    averages: dict[str, int]
    seed: int
    notes: list[str]


def fit(model: Core, args: Sequence[Any], options: Options, public: Any, part: Part | None = None) -> Run:
    """Train ``model`` and return what happened; callbacks get ``public``. As a ``part`` of a run it adds to that, with
    the options of the part."""
    part = part or whole_run(model, options)
    return start(model, prepare(model, args, part), part, args, public)


def prepare(model: Core, args: Sequence[Any], part: Part) -> Prepared:
    """Options checked, data bound, programs made and checked."""
    run = part.run
    options = with_batch_sizes(part.options.for_parameters(model.params.trained), model.training_inputs)
    hyper = hyper_values(options.rule).values
    inputs = model.training_inputs
    place, choice = place_for(model, options, args)
    run.target = "cuda" if place else "cpu"
    seen = None if place or options.by_epoch else model.seen
    machine, given = place and place.machine, filled(inputs, args)
    as_rows = place is None and len(model.row_extents) < 2
    data = bind(inputs, given, model.dtype, model.label_limits, "fit", machine, seen, model.columns, as_rows)
    weights = row_weights(options.sample_weight, data.rows, model.dtype)
    sampler = model.state.sampler
    seed = sampler.seed if options.seed is None else int(options.seed)
    data, weights, held_out = split(model, data, weights, options.validation, seed, machine)
    batches = batches_of(options, data)
    options = in_order(options, batches)
    model.shuffled = options.shuffle
    model.check_rows(batches.last, "the last batch has")
    before = model.state.rules.get(options.rule.text)
    check_schedules(options, before.step - run.steps + part.before if before else 0, batches.per_epoch)
    model.params.initialize(seed)
    started = time.perf_counter()
    rule, weighted = options.rule, weights is not None
    trial = lambda: TrainingTrial(model, batches.capacity, rule, data, weighted, None)
    with Rehearsal(model.params.held.size, trial) as rehearsal:
        compiling = rehearsal if options.verify else None
        trainer = trainer_for(model, options, rule, batches.capacity, weighted, place, compiling=compiling)
    run.choice = "" if isinstance(trainer, Trainer) else trainer.choice
    validation = held_out_for(model, held_out, place, options.verify)
    run.note([*model.notes, *part.taken_up.notes, *data.notes, *choice, *trainer.notes])
    if options.verify:
        how = options.precision, None, rehearsal.trial
        run.notes += verify_training(model, trainer, rule, data, weighted, *how)
    run.compile_seconds += time.perf_counter() - started
    data.look(set(data.unseen) - set(model.nan_propagating))
    averages = average_places(options.rule, model.params.trained)
    return Prepared(options, data, weights, validation, batches, trainer, hyper, averages, seed, run.notes)


def start(model: Core, found: Prepared, part: Part, args: Sequence[Any], public: Any) -> Run:
    """The run, from the place in the data where the last one ended."""
    run, sampler, batches = part.run, model.state.sampler, found.batches
    before = _Before(model) if found.data.unseen else None
    if found.options.seed is not None:
        sampler.restart(found.seed)
    sampler.bind(batches.rows, batches.size, batches.extents)
    if sampler.position == 0:  # a new epoch: nothing of one that was left unfinished belongs to it
        model.state.totals.values[:] = 0.0
    run.seed = sampler.seed
    loop = _Loop(model, found, part, public)
    if found.data.columns:
        model.columns |= found.data.columns
    loop.before, loop.given = before, tuple(args)
    loop.run_all()
    return run


def check_schedules(options: Options, done: int, per_epoch: int) -> None:
    """Refuse schedules that leave the domain of their hyper-parameter within the run."""
    steps = options.steps or (options.epochs * per_epoch if options.epochs else 1)
    options.rule.check_steps(done + 1, done + steps)


def filled(inputs: Sequence[Any], args: Sequence[Any]) -> Sequence[Any]:
    """``fit({})`` and ``fit()`` for a loss without data."""
    empty = not args or (len(args) == 1 and isinstance(args[0], Mapping) and not args[0])
    return () if empty and not inputs else args


def in_order(options: Options, batches: Batches) -> Options:
    """A batch of all rows takes them as they are given: another order would change nothing but rounding."""
    return replace(options, shuffle=options.shuffle and batches.size < batches.rows)


class _Before:
    """What a fit changes before its first step: the place in the data, running totals."""

    def __init__(self, model: Core) -> None:
        self.sampler, self.totals = replace(model.state.sampler), model.state.totals.values.copy()

    def restore(self, model: Core) -> None:
        """Put it back, as if the data had been refused before the fit began."""
        model.state.sampler.__dict__.update(asdict(self.sampler))
        model.state.totals.values = self.totals
        model.seen, model.last_run = Seen(), Run(record=model.last_run.record if model.last_run else "epoch")


class _Loop:
    """Native calls until the run is over: one, or one an epoch when something must happen at epoch ends."""

    def __init__(self, model: Core, found: Prepared, part: Part, public: Any) -> None:
        run, data, options, batches = part.run, found.data, found.options, found.batches
        self.public, self.part = public, part
        self.model, self.trainer, self.data, self.held_out = model, found.trainer, data, found.held_out
        self.options, self.run, self.batch = options, run, batches.size
        self.weights, self.hyper = found.weights, np.array([*found.hyper, 0.0])
        self.per_epoch, self.averages = batches.per_epoch, found.averages
        self.by_epoch = options.by_epoch
        self.before: _Before | None = None
        self.given: tuple[Any, ...] = ()
        self.total, self.rows_at_once = 0, rows_within(data.arrays, batches.size)
        extent, rows = str(model.weight_leaf.shape[0]), self.rows_at_once
        self.blocks = Blocks(model.reads[0], extent, options.shuffle, rows) if rows else None
        self.inputs = self._inputs()
        rule = model.state.rule(options.rule.text, len(options.rule.states))
        steers = not isinstance(options.optimizer, Curvature)
        run.hyper = RunningHyper(options.rule, self.hyper, lambda: rule.step) if steers else RunningHyper()
        self.names = ["loss", *model.metric_names]
        begin_history(model, run, self.held_out is not None)
        about = model, self.trainer, options, run, self.held_out, self.names, self.per_epoch, self.batch
        quiet = self.by_epoch and not self.rows_at_once and not model.checks_bounds
        self.quiet = QuietEpochs(*about) if quiet else None

    def run_all(self) -> None:
        o = self.options
        total = self.total = self.part.before + (o.steps or (o.epochs * self.per_epoch if o.epochs else MOST_STEPS))
        self.part.begin(self.model, self.public)
        if self.run.trajectory is not None:
            self.run.trajectory.data = self.given
        line = progress_line(total, "training") if o.progress else NoProgress()
        started = time.perf_counter()
        try:
            self.trainer.hold(self.inputs)
            with line as drawn:
                drawn.next_call(self.run.steps)
                self._calls(0 if self.part.taken_up.over else total - self.run.steps, drawn)
        except BaseException as reason:
            self.run.stopped = "diverged" if isinstance(reason, DivergenceError | DomainError) else "interrupted"
            raise
        finally:
            if self.blocks:
                self.blocks.ahead.close()
            self._record_unfinished()
            self.run.seconds += time.perf_counter() - started
            self.part.end(self.model, self.public)

    def _calls(self, total: int, line: NoProgress) -> None:
        left = total
        while left > 0:
            call = self._next_call(left, line.draw)
            left -= call.done
            line.next_call(call.done)
            if self.by_epoch and len(call.epochs) and self._epoch_end(call.ends):
                return
            if call.status in ENDS:
                self.run.stopped = ENDS[call.status]
                return

    def _next_call(self, left: int, draw: Callable[[int], None]) -> Call:
        """To the end of the run, or as far as Python has nothing to do."""
        ends = self.quiet.next(left) if self.quiet else None
        if self.quiet and ends:
            started = time.perf_counter()
            call = self._call(ends.steps, draw, ends)
            self.quiet.learn(call.done, time.perf_counter() - started)
            return call
        to_epoch_end = self.per_epoch - self.model.state.sampler.position // self.batch
        most = min(left, to_epoch_end) if self.by_epoch or self.rows_at_once else left
        return self._call(min(most, self.rows_at_once // self.batch) if self.rows_at_once else most, draw)

    def _call(self, steps: int, draw: Callable[[int], None], ends: EpochEnds | None = None) -> Call:
        model, o = self.model, self.options
        state = model.state
        kept = state.rule(o.rule.text, len(o.rule.states))
        kept.averages = self.averages
        moving = Moving(model.params.held, kept, state.sampler, state.totals)
        inputs, call = self.inputs, Call(steps, ends=ends)
        if self.blocks:
            inputs = [*inputs[:2], *self._block(self.blocks, inputs[2:], steps)]
        settings = Settings(o.shuffle and not self.rows_at_once, o.record == "step", o.tolerance, o.threads)
        with DeferredInterrupt() as ctrl_c:
            try:
                extra = {"settle": lambda: self._look_at_data(moving)} if self.data.unseen else {}
                self.trainer.run(moving, inputs, call, settings, lambda done: draw(done) or ctrl_c.seen, **extra)
            finally:
                self._record(call)
        if call.overflow is not None or call.status == control.NONFINITE:
            self._look_at_data(moving)
        if call.overflow is not None:
            explain_overflow(model, o.rule, *call.overflow)
        if call.status == control.NONFINITE:
            self._explain_divergence()
        return call

    def _explain_divergence(self) -> NoReturn:
        if isinstance(self.trainer, Descent):
            taken = self.trainer.batch_at(self.model.state.sampler).taken
            explain_divergence(self.model, *taken, self.options.optimizer, whole=True)
        explain_divergence(self.model, self.data, self.weights, self.options.rule)

    def _look_at_data(self, moving: Moving) -> None:
        """Look through data that were taken as seen: a bad value in them undoes the whole fit and is told first.

        The trainer asks for it before it gives up the copy of what was there at the beginning.
        """
        try:
            self.data.look([*self.data.unseen])
        except DataError:
            assert self.before is not None and isinstance(self.trainer, Trainer) and self.trainer.kept is not None
            moving.restore(self.trainer.kept.moving)
            self.before.restore(self.model)
            raise

    def _inputs(self) -> list[NDArray]:
        """Constants, hyper-parameters, data; the hyper-parameters alone where the trainer has its batches."""
        if isinstance(self.trainer, Descent):
            return [self.hyper[:0], self.hyper]
        constants, *data = self.model.program_data(self.data, self.weights)
        return [constants, self.hyper, *data]

    def _block(self, blocks: Blocks, data: list[Any], steps: int) -> list[Any]:
        """The rows of the next steps, in the order that the program would take them in."""
        left = self.total - self.run.steps - steps
        return blocks.take(data, self.model.state.sampler, steps * self.batch, left * self.batch)

    def _record(self, call: Call) -> None:
        self.run.steps += call.done
        self.run.threads, before = call.threads, self.run.epochs
        columns = self._add_rows(call.epochs)
        if call.ends is not None:
            call.ends.finish()
            columns |= add_validation(self.model, self.run, call.ends)
            call.ends.tell_callbacks(self.run, before)
            self._log(call.ends, before, call.done, columns)
        if self.options.record == "step":
            self.run.history["loss"] += call.step_losses.tolist()

    def _record_unfinished(self) -> None:
        """The means over the last epoch, when the run ends within it."""
        partial = self.model.state.totals.values
        if self.run.steps and partial[control.WEIGHT] > 0:
            self._add_rows(partial[None, control.TOTALS :] / partial[control.WEIGHT])

    def _log(self, ends: EpochEnds, before: int, done: int, columns: dict[str, list[float]]) -> None:
        """Let logs take note of the epochs of a call, as if each had just ended."""
        logs, run, latest = [c for c in self.options.callbacks if is_log(c)], self.run, dict(self.run.latest)
        steps, epochs = run.steps, run.epochs
        try:
            for t in range(ends.quiet if logs else 0):
                run.hyper.behind = done - ends.first - t * self.per_epoch
                run.steps, run.epochs = steps - run.hyper.behind, before + 1 + t
                run.latest |= {name: values[t] for name, values in columns.items()}
                for log in logs:
                    log.epoch_end(run, self.public)
        finally:
            run.hyper.behind, run.steps, run.epochs = 0, steps, epochs
            run.latest |= latest

    def _add_rows(self, rows: NDArray) -> dict[str, list[float]]:
        """Means over epochs, a row each; returned by quantity."""
        self.run.epochs += len(rows)
        if not len(rows):
            return {}
        found = self.model.metrics.report(dict(zip(self.names, rows.T, strict=True)))
        columns = {name: values.tolist() for name, values in found.items()}
        for name, values in columns.items():
            self.run.latest[name] = values[-1]
            if name != "loss" or self.options.record != "step":
                self.run.history[name] += values
        return columns

    def _epoch_end(self, ends: EpochEnds | None) -> bool:
        if ends is None:
            values = validated(self.held_out)
            return epoch_end(self.model, self.run, self.options, values, self.public)
        return ends.in_python and call_back(self.run, self.options, self.public)


def begin_history(model: Core, run: Run, validated: bool) -> None:
    """Lists under the names that a run will report, empty where it does not go on from another part."""
    names = ["loss", *model.metrics.in_training]
    names += [f"val_{name}" for name in ("loss", *model.metrics.numbers)] if validated else []
    for name in names:
        run.history.setdefault(name, [])


def validated(held_out: HeldOut | None) -> dict[str, Any] | None:
    """Loss and metrics over the rows that are held out, where there are some."""
    return None if held_out is None else held_out.evaluated()


def epoch_end(model: Core, run: Run, options: Options, values: Mapping[str, Any] | None, public: Any) -> bool:
    """Notes what validation gave and asks the callbacks, at the end of an epoch; whether the run is to stop."""
    if values is not None:
        for name in ("loss", *model.metrics.numbers):
            value = values[name]
            run.latest[f"val_{name}"] = value
            run.history[f"val_{name}"].append(value)
    return call_back(run, options, public)


def add_validation(model: Core, run: Run, ends: EpochEnds) -> dict[str, list[float]]:
    """What a native call found of the validation data, as if it had been evaluated epoch by epoch; returned by
    quantity."""
    rows = ends.values
    if ends.validation is None or not len(rows):
        return {}
    names, numbers, report = ends.validation.names, ("loss", *model.metrics.numbers), model.metrics.report
    if any(m.parts for m in model.metrics.measures.values()):  # one by one: arrays of NumPy may round otherwise
        found = [report(dict(zip(names, row, strict=True))) for row in rows.tolist()]
        columns = {f"val_{name}": [values[name] for values in found] for name in numbers}
    else:
        found = dict(zip(names, rows.T.tolist(), strict=True))
        columns = {f"val_{name}": found[name] for name in numbers}
    for name, values in columns.items():
        run.history[name] += values
        run.latest[name] = values[-1]
    return columns


def call_back(run: Run, options: Options, public: Any) -> bool:
    """Callbacks at the end of an epoch; whether the run is to stop."""
    stop = False
    for c in options.callbacks:
        if c.epoch_end(run, public):
            stop = True
            run.stopped = "early stopping" if isinstance(c, EarlyStopping) else "callback"
    return stop
