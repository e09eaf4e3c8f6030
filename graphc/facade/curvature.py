"""``fit`` with an optimizer that uses curvature: what is made ready for a run that is one of the others.

An epoch is one step on every batch, and the batches stay the same.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from graphc.emit.descent import descent_program
from graphc.errors import DomainError
from graphc.facade.batches import Batches, batches_of, with_batch_sizes
from graphc.facade.checking import verify_training
from graphc.facade.core import Core
from graphc.facade.fitting import Prepared, filled, start
from graphc.facade.objectives import STILL, check_constraints, hessian_times, least_squares, products, residuals
from graphc.facade.options import Options
from graphc.facade.preparing import trainer, training_lowered
from graphc.facade.resuming import Part, whole_run
from graphc.facade.splitting import rows_of, split
from graphc.facade.validating import held_out_for
from graphc.facade.weighing import row_weights
from graphc.lower.lengths import Lengths, by_extent
from graphc.optim.curvature import Curvature, LevenbergMarquardt, NewtonCG
from graphc.primitives import philox
from graphc.run.data import Bound, bind
from graphc.run.descent import Batch, Descent, GradientDescent
from graphc.run.history import Run
from graphc.run.sampler import STREAM

Taken = tuple[Bound, NDArray | None]


def check(model: Core, how: Curvature) -> None:
    """Refuse a model that an optimizer cannot train."""
    check_constraints(model, how.name)
    _refuse_modes(model, how.name)


def fit(model: Core, args: Sequence[Any], options: Options, public: Any, part: Part | None = None) -> Run:
    """Train ``model`` and return what happened; callbacks get ``public``. As a ``part`` of a run it adds to that, with
    the options of the part."""
    part = part or whole_run(model, options)
    return start(model, prepare(model, args, part), part, args, public)


def prepare(model: Core, args: Sequence[Any], part: Part) -> Prepared:
    """Options checked, data bound and divided, programs made and checked."""
    run, options = part.run, with_batch_sizes(part.options, model.training_inputs)
    how: Curvature = options.optimizer
    check(model, how)
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
    descent = _descent(model, how, batches, cut.capacity, options, run)
    model.last_curvature = how
    validation = held_out_for(model, held_out)
    run.compile_seconds += time.perf_counter() - started
    return Prepared(options, data, weights, validation, cut, descent, how.hyper, {}, seed, run.notes)


def source(model: Core, how: Curvature, batch_size: int) -> str:
    """The text of an optimizer's program, then those of what it calls: of the last fit, where it was one by it."""
    texts = [descent_program(how.name, model.dtype).text]
    if isinstance(how, LevenbergMarquardt):
        texts += [part.function.source for part in residuals(model, verify=False)]
    else:
        last = model.last_compiled if model.last_curvature == how else None
        texts.append((last.lowered if last else training_lowered(model, STILL, batch_size)).text.shown)
    if isinstance(how, NewtonCG):
        texts.append(hessian_times(model, verify=False).source)
    return "\n\n".join(texts)


def _refuse_modes(model: Core, name: str) -> None:
    """Refuse what a line search cannot compare: a loss that is drawn anew, or that changes states."""
    found = [str(leaf.name) for leaf in (*model.random_numbers, *model.updates)]
    if found:
        raise DomainError(
            f"fit: {name} evaluates the loss several times a step, "
            f"but every step of {model.name} draws or updates {', '.join(found)}\n"
            f"  hint: take an update rule such as gc.Adam(1e-3)"
        )


def _batches(data: Bound, weights: NDArray | None, cut: Batches, seed: int | None) -> list[Taken]:
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


def _descent(
    model: Core, how: Curvature, batches: Sequence[Taken], capacity: Lengths, options: Options, run: Run
) -> Descent:
    """The optimizer with the programs that it calls, compiled and checked."""
    if isinstance(how, LevenbergMarquardt):
        taken = [_taken(data, weights, []) for data, weights in batches]
        return least_squares(model, how, taken, capacity, options.verify)
    data, weights = batches[0]
    weighted = weights is not None
    program = trainer(model, STILL, capacity, weighted, in_order=True)
    if options.verify:
        run.notes += verify_training(model, program, STILL, data, weighted, options.precision)
    multiply = [products(model, data, options.verify) for data, _ in batches] if isinstance(how, NewtonCG) else []
    taken = [_taken(*batch, model.program_data(*batch)) for batch in batches]
    return GradientDescent(program, how, taken, multiply)


def _taken(data: Bound, weights: NDArray | None, inputs: Sequence[Any]) -> Batch:
    rows = data.rows if isinstance(data.lengths, int) else 1
    return Batch((data, weights), inputs, data.lengths, rows, float(rows if weights is None else weights.sum()))
