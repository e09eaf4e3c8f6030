"""``sweep``: one network many times, each copy with its own hyper-parameters, initial weights and order of the data."""

from __future__ import annotations

import copy
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from graphc.declare.entries import entry
from graphc.declare.origin import located
from graphc.emit import control
from graphc.errors import DivergenceError
from graphc.facade.batches import batches_of, with_batch_sizes
from graphc.facade.checking import verify_training
from graphc.facade.copies import Begun, Divided, divided
from graphc.facade.core import Core
from graphc.facade.devices import place_for, together, trainer_for
from graphc.facade.evaluating import loss_and_metrics
from graphc.facade.fitting import check_schedules, filled, in_order
from graphc.facade.options import Options
from graphc.facade.resuming import OVER
from graphc.facade.settings import Setting, as_read, completed, grid, separated
from graphc.facade.state import Parameters, State
from graphc.facade.validating import held_out_for
from graphc.facade.watched_copies import Watched
from graphc.facade.weighing import row_weights
from graphc.ir.node import Leaf
from graphc.lower.training import layout_parameters
from graphc.native.stack import cores
from graphc.optim import Rule
from graphc.records import record
from graphc.run.data import Bound, bind
from graphc.run.history import History, Run
from graphc.run.interrupt import DeferredInterrupt
from graphc.run.progress import NoProgress, progress_line
from graphc.run.sources import rows_within
from graphc.run.sweep import Copies, Pace
from graphc.show.notebook import text_and_picture
from graphc.show.plots import plot_sweep
from graphc.show.sweep_table import sweep_text
from graphc.show.verdicts import Ended, verdicts

if TYPE_CHECKING:
    from graphc.cuda.selection import Place

_ENDS = {control.STOPPED: "interrupted", control.NONFINITE: "diverged", control.CONVERGED: "converged",
         control.OVERFLOW: "diverged"}  # fmt: skip


@entry
@record
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
        "finished", "converged", "early stopping", "diverged" or "interrupted".
    verdicts : list of str
        "too small", "good", "too large" (see :mod:`graphc.show.verdicts`); "" for a copy that was interrupted.
    seconds, compile_seconds, threads, notes
        As for ``fit``.
    runs : list of Run
        With validation data or callbacks: best epoch and latest values of every copy.
    judged : tuple of str and float
        What copies are compared by: "loss", a name of the history such as "val_loss"; and -1 where more is better.
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
    runs: list[Run] = field(default_factory=list)
    judged: tuple[str, float] = ("loss", 1.0)

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
        ends = [_ENDS.get(status, "finished" if done == steps else "interrupted") for status, done, steps in found]
        over = [run.stopped in OVER for run in self.runs] or [False] * len(self)
        return [self.runs[i].stopped if by_callback else ends[i] for i, by_callback in enumerate(over)]

    @cached_property
    def losses(self) -> NDArray:
        """The mean of the loss over the last epoch; NaN for a copy that diverged."""
        last = np.array([m[e - 1] if e else np.nan for m, e in zip(self.means, self.epochs, strict=True)])
        return np.where([s == "diverged" for s in self.stopped], np.nan, last)

    @cached_property
    def scores(self) -> NDArray:
        """What copies are compared by, NaN for one that diverged: the loss; with validation data that of the epoch
        whose parameters the copy has, or what ``EarlyStopping`` monitors."""
        name, _ = self.judged
        if name == "loss":
            return self.losses
        told = [run.best.get(name, run.latest.get(name, np.nan)) for run in self.runs]
        return np.where([s == "diverged" for s in self.stopped], np.nan, told)

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
            **({self.judged[0]: float(self.scores[i])} if self.judged[0] != "loss" else {}),
            "best_loss": float(curve.min()) if curve.size else float("nan"),
            "steps": int(self.steps[i]),
            "stopped": self.stopped[i],
            "verdict": self.verdicts[i],
        }

    @cached_property
    def best_index(self) -> int:
        """The copy with the least loss over its last epoch; with validation data by what they say.

        Raises
        ------
        DivergenceError
            When every copy diverged.
        """
        if np.isnan(self.scores).all():
            raise DivergenceError("sweep: no copy has a finite loss\n  hint: sweep over smaller values")
        return int(np.nanargmin(self.judged[1] * self.scores))

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
        twin.params.restore(c.parameters[i, : twin.params.held.size])
        twin.state = State(twin.params.held.size, twin.dtype)
        rule = twin.state.rule(self.rules[i].text, len(self.rules[i].states))
        rule.values[:], rule.step = c.states[i, : rule.values.size], int(c.control[i, control.STEP])
        epoch, position = (int(c.control[i, word]) for word in (control.EPOCH, control.POSITION))
        twin.state.sampler = replace(start.sampler, epoch=epoch, position=position)
        totals = twin.state.totals.values = c.totals[i, : control.F_SIZE + len(twin.metric_names)].copy()
        totals[control.GRADIENT] = np.inf if c.control[i, control.STEEP + epoch % 2] else 0.0
        twin.shuffled, twin.last_run, twin.last_sweep = self.shuffled, None, None
        return twin

    def run(self, i: int) -> Run:
        """What a fit of copy ``i`` alone would have told; times are an equal share."""
        share = 1 / len(self)
        history = History({n: values[i, : self._length(i, n)].tolist() for n, values in self.history.items()})
        latest = {name: values[-1] for name, values in history.items() if values}
        if self.epochs[i]:
            latest["loss"] = float(self.means[i, self.epochs[i] - 1])
        return Run(
            history, int(self.steps[i]), self.seconds * share, self.compile_seconds * share, self.threads,
            self.stopped[i], dict(self.runs[i].best) if self.runs else {}, list(self.notes), self.seeds[i],
            int(self.epochs[i]), latest, "step" if self._by_step else "epoch",
        )  # fmt: skip

    @property
    def _by_step(self) -> bool:
        return self.copies.starts[0].settings.record_steps

    def _length(self, i: int, name: str) -> int:
        """The entries of a copy under a name of the history."""
        if self.runs and name.startswith("val_"):
            return len(self.runs[i].history[name])
        return int(self.steps[i] if name == "loss" and self._by_step else self.epochs[i])

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
        bound = bind(inputs, args, twin.dtype, twin.label_limits, "evaluate", columns=twin.columns,
                     by_rows=len(self.declared.row_extents) < 2)  # fmt: skip
        read = as_read({leaf: own[leaf].tolist() for leaf in left_out}, twin.dtype, twin.label_limits)
        found = []
        for i, row in enumerate(self.copies.parameters[: len(self)]):
            twin.params.restore(row[: twin.params.held.size])
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

    def _repr_html_(self) -> str:
        return text_and_picture(str(self), self.plot)

    def __str__(self) -> str:
        return sweep_text(
            self.rules[0].name, [*self.swept, *self.inputs], self.table, self.seconds, self.threads, self.judged
        )

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
    options = with_batch_sizes(options.for_parameters(model.params.trained), model.training_inputs)
    args, several = separated(model.training_inputs, args)
    swept, settings = grid(options.rule, seeds, paired, several)
    first, side_by_side = settings[0], max(Counter(s.inputs for s in settings).values())  # at once on a GPU
    place, choice = _place(model, replace(options, optimizer=first.rule), args, side_by_side)
    parts = _data(model, args, options, settings, several, place)
    data, weights, held_out = parts.splits[first.seed]
    batches = batches_of(options, data)
    options = in_order(options, batches)
    model.check_rows(batches.last, "the last batch has")
    check_schedules(options, 0, batches.per_epoch)
    started = time.perf_counter()
    weighted = weights is not None
    trainer = trainer_for(model, options, first.rule, batches.capacity, weighted, place, side_by_side)
    held_out_for(model, held_out)
    notes = [*model.notes, *data.notes, *choice, *trainer.notes, *_verified(model, trainer, options, first, parts)]
    compile_seconds = time.perf_counter() - started
    begun = Begun(model, options, batches, settings, parts)
    copies = Copies(begun.starts(), trainer, len(first.rule.states))
    watched = Watched(model, public, options, settings, copies, parts) if options.by_epoch else None
    pace = _pace(begun, data, watched)
    group = together(trainer, copies, begun.program_data(), options.threads or cores(), pace)
    line = progress_line(begun.steps * len(settings), "sweep") if options.progress else NoProgress()
    started = time.perf_counter()
    with line as drawn, DeferredInterrupt() as ctrl_c:
        try:
            group.train(lambda done: drawn.draw(done) or ctrl_c.seen)
        finally:
            if watched is not None:
                watched.end()
            result = model.last_sweep = _collect(begun, copies, swept, public, watched)
            result.seconds, result.compile_seconds = time.perf_counter() - started, compile_seconds
            result.threads, result.notes = group.threads, notes
    return result


def _data(
    model: Core,
    args: Sequence[Any],
    options: Options,
    settings: Sequence[Setting],
    several: Mapping[Leaf, Sequence[Any]],
    place: Place | None,
) -> Divided:
    """What the copies train on and are validated on."""
    inputs, limits = model.training_inputs, model.label_limits
    by_rows = place is None and len(model.row_extents) < 2
    data = bind(inputs, filled(inputs, args), model.dtype, limits, "sweep", place and place.machine,
                columns=model.columns, by_rows=by_rows)  # fmt: skip
    weights = row_weights(options.sample_weight, data.rows, model.dtype)
    return divided(model, data, weights, options.validation, settings, as_read(several, model.dtype, limits))


def _verified(model: Core, trainer: Any, options: Options, first: Setting, parts: Divided) -> list[str]:
    """Check a program that is new, with the parameters and data of the first copy; notes."""
    if not options.verify:
        return []
    params = Parameters(layout_parameters(model.kept_leaves), model.dtype)
    params.initialize(first.seed, everything=True)
    data, weights, _ = parts.splits[first.seed]
    return verify_training(model, trainer, first.rule, data, weights is not None, options.precision, params)


def _place(model: Core, options: Options, args: Sequence[Any], copies: int) -> tuple[Place | None, list[str]]:
    """The machine of all copies, None for the CPU, and notes."""
    if options.by_epoch and options.target == "auto":
        return None, ["target='auto' took the CPU: there is validation or early stopping"]
    return place_for(model, options, args, copies)


def _pace(begun: Begun, data: Bound, watched: Watched | None) -> Pace | None:
    """Where native calls end: with every epoch that is watched, with every block of rows that is made dense."""
    rows, b = rows_within(data.arrays, begun.batches.size), begun.batches
    if watched is None and rows is None:
        return None
    return Pace(b.per_epoch, b.size, watched and watched.epoch_end, begun.block() if rows else None, rows or 0)


def _collect(begun: Begun, copies: Copies, swept: list[str], public: Any, watched: Watched | None) -> Sweep:
    """What the rows of the copies say."""
    settings, model, count = begun.settings, begun.model, len(begun.settings)
    probed = copies.losses[count:, 0].reshape(len(begun.groups), begun.probes).mean(axis=1)
    initial = dict(zip(begun.groups, probed.tolist(), strict=True))
    means = _padded([_curve(copies, i) for i in range(count)])
    names = ["loss", *model.metric_names]
    history = model.metrics.report({name: means[:, :, t] for t, name in enumerate(names)})
    if begun.options.record == "step":
        history["loss"] = _step_losses(copies, count)
    if watched is not None:
        told = [name for name in watched.runs[0].history if name.startswith("val_")]
        history |= {n: _padded([np.array(run.history[n]) for run in watched.runs], means.shape[1]) for n in told}
    inputs = {str(leaf.name): np.array([s.inputs[t] for s in settings]) for t, leaf in enumerate(begun.parts.own)}
    return Sweep(
        model, public, [s.rule for s in settings], [s.seed for s in settings], inputs, swept, copies, history,
        means[:, :, 0], np.array([initial[s.seed, s.inputs] for s in settings]),
        np.array([len(_curve(copies, i)) for i in range(count)]), begun.options.shuffle,
        runs=[] if watched is None else watched.runs, judged=("loss", 1.0) if watched is None else watched.judged,
    )  # fmt: skip


def _padded(curves: Sequence[NDArray], least: int = 0) -> NDArray:
    """Curves of unequal length side by side, NaN behind their ends."""
    longest = max(least, *map(len, curves))
    found = np.full((len(curves), longest, *curves[0].shape[1:]), np.nan)
    for row, curve in zip(found, curves, strict=True):
        row[: len(curve)] = curve
    return found


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
