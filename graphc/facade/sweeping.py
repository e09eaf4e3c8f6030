"""``sweep``: one network many times, each copy with its own hyper-parameters, initial weights and order of the data."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from graphc.declare.origin import located
from graphc.emit import control
from graphc.emit.update import hyper_values
from graphc.errors import DivergenceError
from graphc.facade.batches import Batches, batches_of, with_batch_sizes
from graphc.facade.checking import verify_training
from graphc.facade.core import Core
from graphc.facade.devices import place_for, together, trainer_for
from graphc.facade.evaluating import loss_and_metrics
from graphc.facade.fitting import MOST_STEPS, check_schedules, filled, in_order
from graphc.facade.options import Options
from graphc.facade.settings import Setting, as_read, completed, grid, separated
from graphc.facade.state import Parameters, State
from graphc.facade.weighing import row_weights
from graphc.ir.node import Leaf
from graphc.lower.training import layout_parameters
from graphc.optim import Rule
from graphc.run.data import Bound, bind
from graphc.run.interrupt import DeferredInterrupt
from graphc.run.progress import NoProgress, progress_line
from graphc.run.sampler import Sampler
from graphc.run.sweep import Copies, Own, Start
from graphc.run.thread_team import cores
from graphc.run.training import Settings
from graphc.show.plots import plot_sweep
from graphc.show.sweep_table import sweep_text
from graphc.show.verdicts import Ended, verdicts

PROBED = 64  # rows on which the loss before training is measured, at least
_ENDS = {control.STOPPED: "interrupted", control.NONFINITE: "diverged", control.CONVERGED: "converged",
         control.OVERFLOW: "diverged"}  # fmt: skip


@dataclass
class Sweep:
    """The result of :meth:`graphc.Model.sweep`; print it for the table.

    Attributes
    ----------
    rules : list of Rule
        The optimizer of every copy.
    seeds : list of int
        The seed of every copy.
    inputs : dict of str to array of shape (copies,)
        What every copy has for the inputs without axes of which several values were given.
    history : dict of str to array of shape (copies, epochs)
        The same numbers as the history of ``fit``, NaN after the end of a copy; ``"loss"`` has shape (copies, steps)
        with ``record="step"``.
    initial : array of shape (copies,)
        The loss before the first update, on the first batches of the copy.
    losses : array of shape (copies,)
        The mean over the last epoch; NaN for a copy that diverged.
    steps, epochs : arrays of shape (copies,)
        Steps done, and epochs, where one that the run ends within counts too.
    stopped : list of str
        "finished", "converged", "diverged" or "interrupted".
    verdicts : list of str
        "too small", "good", "too large" (see :mod:`graphc.show.verdicts`); "" for a copy that was interrupted.
    seconds, compile_seconds, threads, notes
        As for ``fit``.
    """

    declared: Core
    public: Callable[[Core], Any]
    rules: list[Rule]
    seeds: list[int]
    inputs: dict[str, NDArray]
    swept: list[str]
    copies: Copies
    history: dict[str, NDArray]
    means: NDArray
    initial: NDArray
    epochs: NDArray
    shuffled: bool
    seconds: float = 0.0
    compile_seconds: float = 0.0
    threads: int = 1
    notes: list[str] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.rules)

    @cached_property
    def steps(self) -> NDArray:
        """Steps done by every copy."""
        return self.copies.word(control.DONE)[: len(self)].copy()

    @cached_property
    def stopped(self) -> list[str]:
        """How every copy ended."""
        wanted = [s.steps for s in self.copies.starts]
        found = zip(self.copies.status.tolist(), self.steps.tolist(), wanted, strict=False)
        return [_ENDS.get(status, "finished" if done == steps else "interrupted") for status, done, steps in found]

    @cached_property
    def losses(self) -> NDArray:
        """The mean of the loss over the last epoch; NaN for a copy that diverged."""
        last = np.array([m[e - 1] if e else np.nan for m, e in zip(self.means, self.epochs, strict=True)])
        return np.where([s == "diverged" for s in self.stopped], np.nan, last)

    @cached_property
    def verdicts(self) -> list[str]:
        """What the value of the first swept hyper-parameter is: "too small", "good" or "too large"."""
        ended = [self._ended(i) for i in range(len(self))]
        return verdicts(ended)

    def _ended(self, i: int) -> Ended:
        values = [self._value(i, name) for name in self.swept]
        rate, *others = values or [0.0]
        own = (float(column[i]) for column in self.inputs.values())  # another loss: not to be compared
        curve = self.means[i, : self.epochs[i]]
        return Ended(rate, (self.seeds[i], *others, *own), float(self.initial[i]), curve.tolist(), self.stopped[i])

    def _value(self, i: int, name: str) -> float:
        return float(self.rules[i].hyper[name])  # pyright: ignore[reportArgumentType]  a number: it was an array

    @cached_property
    def table(self) -> list[dict[str, Any]]:
        """One dict a copy: its swept values, seed, initial, loss, best_loss, steps, stopped, verdict."""
        return [self._row(i) for i in range(len(self))]

    def _row(self, i: int) -> dict[str, Any]:
        curve = self.means[i, : self.epochs[i]]
        return {
            **{name: self._value(i, name) for name in self.swept},
            **{name: column[i].item() for name, column in self.inputs.items()},
            "seed": self.seeds[i],
            "initial": float(self.initial[i]),
            "loss": float(self.losses[i]),
            "best_loss": float(curve.min()) if curve.size else float("nan"),
            "steps": int(self.steps[i]),
            "stopped": self.stopped[i],
            "verdict": self.verdicts[i],
        }

    @cached_property
    def best_index(self) -> int:
        """The copy with the least loss over its last epoch.

        Raises
        ------
        DivergenceError
            When every copy diverged.
        """
        if np.isnan(self.losses).all():
            raise DivergenceError("sweep: no copy has a finite loss\n  hint: sweep over smaller values")
        return int(np.nanargmin(self.losses))

    @cached_property
    def best(self) -> Any:
        """The best copy as a :class:`graphc.Model` of its own, which goes on training where the copy ended."""
        return self.model(self.best_index)

    def model(self, i: int) -> Any:
        """Copy ``i`` as a :class:`graphc.Model`, as ``initialize(seed).fit(...)`` alone would have left it."""
        return self.public(self._copy(i))

    def _copy(self, i: int) -> Core:
        c, start = self.copies, self.copies.starts[i]
        twin = copy.copy(self.declared)
        twin._params = Parameters(layout_parameters(twin.kept_leaves), twin.dtype)
        twin.params.restore(c.parameters[i, : twin.params.flat.size])
        twin.state = State(twin.params.flat.size, twin.dtype)
        rule = twin.state.rule(self.rules[i].text, len(self.rules[i].states))
        rule.values[:], rule.step = c.states[i, : rule.values.size], int(c.control[i, control.STEP])
        epoch, position = (int(c.control[i, word]) for word in (control.EPOCH, control.POSITION))
        twin.state.sampler = replace(start.sampler, epoch=epoch, position=position)
        twin.state.totals.values = c.totals[i, : control.F_SIZE + len(twin.metric_names)].copy()
        twin.shuffled, twin.last_run, twin.last_sweep = self.shuffled, None, None
        return twin

    def parameters(self, i: int) -> dict[str, NDArray]:
        """The parameters of copy ``i`` by name."""
        return dict(self.model(i).params)

    @located
    def evaluate(self, *data: Any) -> dict[str, NDArray]:
        """Loss and metrics of every copy over a whole set, exactly: arrays of shape (copies,).

        Inputs that were swept may be left out: every copy has its own value of them.
        """
        inputs, twin = self.declared.training_inputs, self._copy(0)
        own = {leaf: self.inputs[str(leaf.name)] for leaf in inputs if str(leaf.name) in self.inputs}
        args, left_out = completed(inputs, filled(inputs, data), {leaf: values[0] for leaf, values in own.items()})
        bound = bind(inputs, args, twin.dtype, twin.label_limits, "evaluate", columns=twin.columns)
        read = as_read({leaf: own[leaf].tolist() for leaf in left_out}, twin.dtype, twin.label_limits)
        found = []
        for i, row in enumerate(self.copies.parameters[: len(self)]):
            twin.params.restore(row[: twin.params.flat.size])
            mine = {leaf: values[own[leaf][i].item()] for leaf, values in read.items()}
            found.append(loss_and_metrics(twin, replace(bound, arrays={**bound.arrays, **mine})))
        return {name: np.array([values[name] for values in found]) for name in found[0]}

    def plot(self, path: str | Path) -> None:
        """Write the loss over the epochs and over the first swept value to a picture; needs the extra ``plot``."""
        drawn = [i for i in range(len(self)) if self.epochs[i]]
        name, *_ = *self.swept, *self.inputs, "seed"
        values = [self.table[i][name] for i in drawn]
        curves = [self.means[i, : self.epochs[i]].tolist() for i in drawn]
        plot_sweep(name, values, curves, [self.verdicts[i] for i in drawn], path)

    def __str__(self) -> str:
        return sweep_text(self.rules[0].name, [*self.swept, *self.inputs], self.table, self.seconds, self.threads)

    def __repr__(self) -> str:
        over = ", ".join([*self.swept, *self.inputs]) or "seeds"
        return f"<Sweep of {len(self)} copies over {over}; print it for the table>"


# ---------------------------------------------------------------- the run


def sweep(
    model: Core,
    args: Sequence[Any],
    seeds: list[int],
    options: Options,
    public: Callable[[Core], Any],
    paired: bool = False,
) -> Sweep:
    """Train all copies and return what happened; also left in ``model.last_sweep``, for a run that is interrupted."""
    inputs, options = model.training_inputs, with_batch_sizes(options, model.training_inputs)
    args, several = separated(inputs, args)
    swept, settings = grid(options.rule, seeds, paired, several)
    rule, first_seed = settings[0].rule, settings[0].seed
    place, choice = place_for(model, replace(options, optimizer=rule), args, len(settings))
    machine, given = place and place.machine, filled(inputs, args)
    data = bind(inputs, given, model.dtype, model.label_limits, "sweep", machine, columns=model.columns)
    own = as_read(several, model.dtype, model.label_limits)
    weights = row_weights(options.sample_weight, data.rows, model.dtype)
    started = time.perf_counter()
    batches = batches_of(options, data)
    options = in_order(options, batches)
    model.check_rows(batches.last, "the last batch has")
    check_schedules(options, 0, batches.per_epoch)
    trainer = trainer_for(model, options, rule, batches.capacity, weights is not None, place, len(settings))
    notes = [*model.notes, *data.notes, *choice, *trainer.notes]
    if options.verify:
        first = Parameters(layout_parameters(model.kept_leaves), model.dtype)
        first.initialize(first_seed, everything=True)
        weighted = weights is not None
        notes += verify_training(model, trainer, rule, data, weighted, options.precision, first)
    compile_seconds = time.perf_counter() - started
    made = _Made(model, public, options, batches, settings, [str(leaf.name) for leaf in own])
    copies = Copies(made.starts(), trainer, len(rule.states))
    shared = model.program_data(made.with_own(data, own), weights)
    group = together(trainer, copies, shared, options.threads or cores())
    line = progress_line(made.steps * len(settings), "sweep") if options.progress else NoProgress()
    started = time.perf_counter()
    with line as drawn, DeferredInterrupt() as ctrl_c:
        try:
            group.train(lambda done: drawn.draw(done) or ctrl_c.seen)
        finally:
            result = model.last_sweep = made.collect(copies, swept)
            result.seconds, result.compile_seconds = time.perf_counter() - started, compile_seconds
            result.threads, result.notes = group.threads, notes
    return result


class _Made:
    """The copies of a sweep as they begin, and what is read off them at the end.

    After the copies proper come probes: copies that make one step each, from the initial weights of a seed with the
    inputs of a copy, on its first batches; they tell the loss before training.
    """

    def __init__(
        self,
        model: Core,
        public: Callable[[Core], Any],
        options: Options,
        batches: Batches,
        settings: list[Setting],
        inputs: Sequence[str],
    ) -> None:
        self.model, self.public, self.options, self.settings, self.inputs = model, public, options, settings, inputs
        self.batches, per_epoch = batches, batches.per_epoch
        self.steps = options.steps or (options.epochs * per_epoch if options.epochs else MOST_STEPS)
        self.begun = list(dict.fromkeys((s.seed, s.inputs) for s in settings))
        self.probes = min(per_epoch, -(-PROBED // _rows_a_step(batches)))

    def starts(self) -> list[Start]:
        """The copies proper, then the probes."""
        o = self.options
        weights = {seed: self._weights(seed) for seed in dict.fromkeys(s.seed for s in self.settings)}
        settings = Settings(o.shuffle, o.record == "step", o.tolerance)
        starts = [
            Start(weights[s.seed], _hyper(s.rule), self._sampler(s.seed), self.steps, settings) for s in self.settings
        ]
        probe, hyper = Settings(o.shuffle, record_steps=True), starts[0].hyper
        return starts + [
            Start(weights[seed], hyper, self._sampler(seed, k), 1, probe)
            for seed, _ in self.begun
            for k in range(self.probes)
        ]

    def with_own(self, data: Bound, own: Mapping[Leaf, Mapping[float, NDArray]]) -> Bound:
        """The data with the values that every copy, and every probe, has of the swept inputs."""
        values = [s.inputs for s in self.settings] + [mine for _, mine in self.begun for _ in range(self.probes)]
        arrays = {leaf: Own([read[mine[t]] for mine in values]) for t, (leaf, read) in enumerate(own.items())}
        return replace(data, arrays={**data.arrays, **arrays})  # pyright: ignore[reportArgumentType]

    def _weights(self, seed: int) -> NDArray:
        fresh = Parameters(layout_parameters(self.model.kept_leaves), self.model.dtype)
        fresh.initialize(seed, everything=True)
        return fresh.flat

    def _sampler(self, seed: int, batches: int = 0) -> Sampler:
        b = self.batches
        return Sampler(seed, 0, batches * b.size, b.rows, b.size, b.extents)

    def collect(self, copies: Copies, swept: list[str]) -> Sweep:
        """What the rows of the copies say."""
        count = len(self.settings)
        probed = copies.losses[count:, 0].reshape(len(self.begun), self.probes).mean(axis=1)
        initial = dict(zip(self.begun, probed.tolist(), strict=True))
        curves = [_curve(copies, i) for i in range(count)]
        longest = max(map(len, curves))
        means = np.full((count, longest, copies.history.shape[2]), np.nan)
        for row, curve in zip(means, curves, strict=True):
            row[: len(curve)] = curve
        names = ["loss", *self.model.metric_names]
        history = self.model.metrics.report({name: means[:, :, t] for t, name in enumerate(names)})
        if self.options.record == "step":
            history["loss"] = _step_losses(copies, count)
        return Sweep(
            self.model, self.public, [s.rule for s in self.settings], [s.seed for s in self.settings],
            {name: np.array([s.inputs[t] for s in self.settings]) for t, name in enumerate(self.inputs)},
            swept, copies, history, means[:, :, 0], np.array([initial[s.seed, s.inputs] for s in self.settings]),
            np.array(list(map(len, curves))), self.options.shuffle,
        )  # fmt: skip


def _rows_a_step(batches: Batches) -> int:
    """The rows that a step takes, along the shortest of several extents."""
    return min((batch for _, batch in batches.extents), default=batches.size)


def _hyper(rule: Rule) -> NDArray:
    return np.array([*hyper_values(rule).values, 0.0])


def _curve(copies: Copies, i: int) -> NDArray:
    """Means over the epochs of a copy, shape (epochs, 1 + metrics); the last may be over the part that was done."""
    ended = copies.history[i, : copies.control[i, control.EPOCHS]]
    weight = copies.totals[i, control.WEIGHT]
    if not copies.control[i, control.DONE] or not weight > 0:
        return ended
    part = copies.totals[i, control.TOTALS : control.TOTALS + ended.shape[1]] / weight
    return np.concatenate([ended, part[None]])


def _step_losses(copies: Copies, count: int) -> NDArray:
    """The loss of every step, NaN after the end of a copy."""
    done = copies.control[:count, control.DONE]
    losses = copies.losses[:count, : max(int(done.max()), 1)].copy()
    losses[np.arange(losses.shape[1]) >= done[:, None]] = np.nan
    return losses
