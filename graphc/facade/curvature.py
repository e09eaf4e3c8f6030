"""``fit`` with an optimizer that uses curvature: the iteration here, everything that it evaluates a native call.

History, validation, callbacks, checkpoints and Ctrl-C are those of the other optimizers; an epoch is one step on every
batch, and the batches stay the same. What the model keeps is whole after every step.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from graphc.errors import DivergenceError, DomainError
from graphc.facade.batches import Batches, batches_of, with_batch_sizes
from graphc.facade.checking import verify_training
from graphc.facade.core import Core
from graphc.facade.diagnosis import explain_divergence
from graphc.facade.fitting import MOST_STEPS, begin_history, epoch_end, filled, validated
from graphc.facade.objectives import STILL, Gradients, SquaredResiduals, check_constraints
from graphc.facade.options import Options
from graphc.facade.preparing import trainer
from graphc.facade.resuming import Part, whole_run
from graphc.facade.splitting import rows_of, split
from graphc.facade.validating import HeldOut, held_out_for
from graphc.facade.weighing import row_weights
from graphc.lower.lengths import Lengths, by_extent
from graphc.optim.curvature import LBFGS, ConjugateGradient, Curvature, LevenbergMarquardt, NewtonCG
from graphc.primitives import philox
from graphc.run.data import Bound, bind
from graphc.run.descent import Point, conjugate_gradient, lbfgs, newton_cg
from graphc.run.history import Run
from graphc.run.interrupt import DeferredInterrupt
from graphc.run.least_squares import Residuals, levenberg_marquardt
from graphc.run.progress import NoProgress, progress_line
from graphc.run.sampler import STREAM
from graphc.run.steered import RunningHyper
from graphc.run.training import Totals

METHODS: dict[type[Curvature], Callable[..., Point | Residuals | None]] = {
    LBFGS: lbfgs,
    ConjugateGradient: conjugate_gradient,
    NewtonCG: newton_cg,
    LevenbergMarquardt: levenberg_marquardt,
}
Batch = tuple[Bound, NDArray | None]


def check(model: Core, how: Curvature) -> None:
    """Refuse a model that an optimizer cannot train."""
    check_constraints(model, how.name)
    _refuse_modes(model, how.name)


def fit(model: Core, args: Sequence[Any], options: Options, public: Any, part: Part | None = None) -> Run:
    """Train ``model`` and return what happened; callbacks get ``public``. As a ``part`` of a run it adds to that, with
    the options of the part."""
    check(model, options.optimizer)
    part = part or whole_run(model, options)
    run, options = part.run, with_batch_sizes(part.options, model.training_inputs)
    how: Curvature = options.optimizer
    run.hyper = RunningHyper()
    inputs, sampler = model.training_inputs, model.state.sampler
    data = bind(inputs, filled(inputs, args), model.dtype, model.label_limits, "fit", columns=model.columns)
    weights = row_weights(options.sample_weight, data.rows, model.dtype)
    seed = sampler.seed if options.seed is None else int(options.seed)
    data, weights, held_out = split(model, data, weights, options.validation, seed)
    cut = batches_of(options, data)
    model.check_rows(cut.last, "the last batch has")
    model.params.initialize(seed)
    started = time.perf_counter()
    run.note([*model.notes, *part.taken_up.notes, *data.notes])
    batches = _batches(data, weights, cut, seed if options.shuffle else None)
    problems = _problems(model, batches, cut.capacity, options, run)
    validation = held_out_for(model, held_out)
    run.compile_seconds += time.perf_counter() - started
    if options.seed is not None:
        sampler.restart(seed)
    sampler.bind(cut.rows, cut.size, cut.extents)
    run.seed = sampler.seed
    model.columns |= data.columns
    _Loop(model, how, problems, batches, options, run, validation, public, part).run_all()
    return run


def _refuse_modes(model: Core, name: str) -> None:
    """Refuse what a line search cannot compare: a loss that is drawn anew, or that changes states."""
    found = [str(leaf.name) for leaf in (*model.random_numbers, *model.updates)]
    if found:
        raise DomainError(
            f"fit: {name} evaluates the loss several times a step, "
            f"but every step of {model.name} draws or updates {', '.join(found)}\n"
            f"  hint: take an update rule such as gc.Adam(1e-3)"
        )


def _batches(data: Bound, weights: NDArray | None, cut: Batches, seed: int | None) -> list[Batch]:
    """The rows in parts that stay the same, drawn once by the seed (None: as given); of several free extents those that
    need fewer steps begin again."""
    if cut.per_epoch == 1:
        return [(data, weights)]
    sizes = by_extent(data.arrays)
    batch = [size for _, size in cut.extents] or [cut.size]
    parts = {e: _parts(n, batch[t], seed, t and STREAM + t - 1) for t, (e, n) in enumerate(sizes.items())}
    chosen = [{e: of[k % len(of)] for e, of in parts.items()} for k in range(cut.per_epoch)]
    weighed = lambda rows: None if weights is None else np.ascontiguousarray(weights[next(iter(rows.values()))])
    return [(rows_of(data, rows), weighed(rows)) for rows in chosen]


def _parts(rows: int, size: int, seed: int | None, stream: int) -> list[NDArray]:
    order = np.arange(rows) if seed is None else philox.permutation(rows, seed, 0, stream)
    return [np.sort(order[begin : begin + size]) for begin in range(0, rows, size)]


def _problems(
    model: Core, batches: Sequence[Batch], capacity: Lengths, options: Options, run: Run
) -> list[Gradients | SquaredResiduals]:
    """What is made small on every batch, compiled and checked."""
    if isinstance(options.optimizer, LevenbergMarquardt):
        return [SquaredResiduals(model, data, options.verify) for data, _ in batches]
    data, weights = batches[0]
    weighted = weights is not None
    program = trainer(model, STILL, capacity, weighted, in_order=True)
    if options.verify:
        run.notes += verify_training(model, program, STILL, data, weighted, options.precision)
    return [Gradients(model, program, data, weights, options.threads, options.verify) for data, weights in batches]


class _Loop:
    """Steps until the run is over."""

    def __init__(
        self,
        model: Core,
        how: Curvature,
        problems: Sequence[Gradients | SquaredResiduals],
        batches: Sequence[Batch],
        options: Options,
        run: Run,
        held_out: HeldOut | None,
        public: Any,
        part: Part,
    ) -> None:
        self.model, self.how, self.problems, self.batches, self.options, self.run = (
            model, how, problems, batches, options, run
        )  # fmt: skip
        self.held_out, self.public, self.part = held_out, public, part
        self.names = ["loss", *model.metric_names]
        begin_history(model, run, held_out is not None)
        self.state = model.state.rule(how.text, how.states)
        self._begin_epoch()
        self.here: Point | Residuals | None = None

    def run_all(self) -> None:
        o, per_epoch = self.options, len(self.problems)
        total = self.part.before + (o.steps or (o.epochs * per_epoch if o.epochs else MOST_STEPS))
        self.part.begin(self.model, self.public)
        line = progress_line(total, "training") if o.progress else NoProgress()
        started = time.perf_counter()
        try:
            with DeferredInterrupt() as ctrl_c, line as drawn:
                drawn.next_call(self.run.steps)
                self._steps(0 if self.part.taken_up.over else total, drawn, ctrl_c)
        except BaseException as reason:
            self.run.stopped = "diverged" if isinstance(reason, DivergenceError) else "interrupted"
            raise
        finally:
            self._close_epoch()
            self.run.seconds += time.perf_counter() - started
            self.part.end(self.model, self.public)

    def _steps(self, total: int, line: NoProgress, ctrl_c: DeferredInterrupt) -> None:
        while self.run.steps < total and not ctrl_c.seen:
            moved = self._step()
            line.draw(1)
            line.next_call(1)
            sampler = self.model.state.sampler
            if sampler.position == 0:
                steepest = self.steepest
                self._close_epoch()
                values = validated(self.held_out)
                if epoch_end(self.model, self.run, self.options, values, self.public):
                    return
                if self.options.tol is not None and steepest <= self.options.tolerance:
                    self.run.stopped = "converged"
                    return
            if not moved and len(self.problems) == 1:
                self.run.stopped = "no progress"
                return

    def _step(self) -> bool:
        """One step on the batch that comes next; whether it moved."""
        model, sampler = self.model, self.model.state.sampler
        at = sampler.position // max(sampler.batch, 1)
        problem, (data, weights) = self.problems[at], self.batches[at]
        here = self.here
        if here is None or len(self.problems) > 1 or self.options.by_epoch and self._changed(here):
            here = problem.at(model.params.flat)
        if not (np.isfinite(here.f) and np.isfinite(here.g).all()):
            explain_divergence(model, data, weights, self.how, whole=True)
        if isinstance(problem, SquaredResiduals):
            here.metrics = problem.metrics()
        steep = float(np.abs(here.g).max(initial=0.0))
        size = model.params.held.size
        values = self.state.values[: self.how.states * size].reshape(-1, size)
        enough = self.options.tol is not None and steep <= self.options.tolerance
        there = None if enough else METHODS[type(self.how)](problem, here, values, self.state.step, self.how)
        counted = 1 if sampler.extents else data.rows
        self._record(here, counted if weights is None else float(weights.sum()), steep)
        if there is not None:
            model.params.flat[:] = there.x
            self.state.step += 1
        self.here = there or here
        sampler.position += counted
        if sampler.position >= sampler.rows:
            sampler.position, sampler.epoch = 0, sampler.epoch + 1
        return there is not None

    def _changed(self, here: Point | Residuals) -> bool:
        """Whether a callback set parameters."""
        return not np.array_equal(here.x, self.model.params.flat)

    def _record(self, here: Point | Residuals, weight: float, steep: float) -> None:
        self.sums = [total + weight * value for total, value in zip(self.sums, (here.f, *here.metrics), strict=True)]
        self.rows += weight
        self.steepest = max(self.steepest, steep)
        self.run.steps += 1
        if self.options.record == "step":
            self.run.history["loss"].append(float(here.f))

    def _close_epoch(self) -> None:
        """Means over the epoch, also of one that the run ends within."""
        if not self.rows:
            return
        self.run.epochs += 1
        means = dict(zip(self.names, [total / self.rows for total in self.sums], strict=True))
        for name, value in self.model.metrics.report(means).items():
            self.run.latest[name] = value
            if name != "loss" or self.options.record != "step":
                self.run.history[name].append(value)
        self._begin_epoch()
        self.model.state.totals = Totals()

    def _begin_epoch(self) -> None:
        self.sums, self.rows, self.steepest = [0.0] * len(self.names), 0.0, 0.0
