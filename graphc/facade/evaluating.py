"""``predict`` and ``evaluate``: outputs, loss and metrics of a model for arrays that are bound to its inputs."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from graphc.facade import devices
from graphc.facade.checking import verify_evaluation
from graphc.facade.core import Core
from graphc.facade.preparing import CHUNK, chunk, evaluator
from graphc.facade.programs import Compiled
from graphc.facade.singular import check_matrices
from graphc.facade.weighing import row_weights, weighed
from graphc.ir.node import Leaf
from graphc.lower.lengths import has_rows, row_extents, shape_of
from graphc.native.buffers import aligned
from graphc.run.data import Bound, bind
from graphc.run.prepared import MOST, Ready, checks_of, usable
from graphc.run.sources import Rows, read_ahead, rows_within
from graphc.run.training import Evaluator, mean_of_totals


def outputs_of(model: Core, args: Sequence[Any], place: Any, verify: bool) -> list[Any]:
    """What ``predict`` gives, for arrays as they were passed."""
    found = _again(model, args, "predict", place)
    if found is None:
        names = tuple(f"output:{n}" for n in model._outputs)
        found = _values(model, model.inputs, names, (), args, "predict", place, verify)
    return found[0]


def losses_of(model: Core, args: Sequence[Any], place: Any, verify: bool) -> dict[str, Any]:
    """What ``evaluate`` gives, for arrays as they were passed."""
    names, columns = evaluated_roots(model)
    again = _again(model, args, "evaluate", place)
    found, values = again or _values(model, model.training_inputs, columns, names, args, "evaluate", place, verify)
    means = dict(zip(names, values.tolist(), strict=True))
    return model.metrics.report(means, dict(zip(columns, found, strict=True)))


def weighted_losses(model: Core, args: Sequence[Any], weights: Any, place: Any, verify: bool) -> dict[str, Any]:
    """What ``evaluate`` gives where rows count as they weigh."""
    data = bind(model.training_inputs, args, model.dtype, model.label_limits, "evaluate", place and place.machine,
                columns=model.columns, by_rows=place is None)  # fmt: skip
    model.check_rows(data.rows)
    own = row_weights(weights, data.rows, model.dtype)
    return loss_and_metrics(model, replace(data, weights=own), place, verify)


def _again(model: Core, args: Sequence[Any], what: str, place: Any) -> tuple[list[Any], NDArray] | None:
    """What a prepared call gives; None where there is none for arrays that look like these."""
    ready = model.ready.get(what) if place is None and not model.checks_bounds else None
    return ready and ready(model, args)


def _values(
    model: Core,
    inputs: Sequence[Leaf],
    outputs: tuple[str, ...],
    scalars: tuple[str, ...],
    args: Sequence[Any],
    what: str,
    place: Any,
    verify: bool,
) -> tuple[list[Any], NDArray]:
    data = bind(inputs, args, model.dtype, model.label_limits, what, place and place.machine, columns=model.columns,
                by_rows=place is None and len(row_extents(inputs)) < 2)  # fmt: skip
    model.check_rows(data.lengths)
    values = evaluate(model, outputs, scalars, data, place, verify)
    if model.matrices:
        _look_for_singular(model, outputs, scalars, data, [*map(np.asarray, values[0]), values[1]])
    if place is None and not model.matrices and not model.checks_bounds:
        model.ready[what] = _prepared(model, inputs, outputs, scalars, args, data)
    return values


def _look_for_singular(
    model: Core, outputs: tuple[str, ...], scalars: tuple[str, ...], data: Bound, results: Sequence[NDArray]
) -> None:
    if any(np.isnan(r).any() for r in results):
        feed = {leaf: np.asarray(x) for leaf, x in data.arrays.items()}
        feed |= {leaf: model.params[str(leaf.name)] for leaf in model.kept_leaves}
        roots = [model.evaluation_roots[n] for n in (*outputs, *scalars)]
        check_matrices(results, roots, feed, {}, model.dtype)


def _prepared(
    model: Core,
    inputs: Sequence[Leaf],
    outputs: tuple[str, ...],
    scalars: tuple[str, ...],
    args: Sequence[Any],
    data: Bound,
) -> _Ready | None:
    """The next call with arrays that look like these, where that saves something."""
    compiled, program = evaluator(model, outputs, scalars, data.lengths)
    shapes = [shape_of(model.raw_roots[n].shape, data.lengths) for n in outputs]
    arrays = [data.arrays[leaf] for leaf in inputs]
    size = program.arena_size + sum(map(math.prod, shapes))
    divided = program.parts is not None and len(program.parts.of(data.rows)) > 1
    small = size * np.dtype(model.dtype).itemsize <= MOST and not program.program.uses_blas and not divided
    return _Ready(model, compiled, program, shapes, inputs, data) if small and usable(args, arrays) else None


class _Ready:
    """A prepared call of an evaluation program."""

    def __init__(
        self,
        model: Core,
        compiled: Compiled,
        program: Evaluator,
        shapes: Sequence[tuple[int, ...]],
        inputs: Sequence[Leaf],
        data: Bound,
    ) -> None:
        self.parameters = model.params.flat
        head, totals = program.head(self.parameters, compiled.constants, data.lengths)
        self._means = (lambda: mean_of_totals(totals())) if program.n_scalars else _none
        checks = checks_of(inputs, model.label_limits)
        arrays = [data.arrays[leaf] for leaf in inputs]
        self._ready = Ready(program.program, "evaluate", head, head[-1:], arrays, checks, shapes, model.dtype)
        self._order = [inputs.index(leaf) for leaf in compiled.facts.inputs]
        self._count = len(inputs)

    def __call__(self, model: Core, args: Sequence[Any]) -> tuple[list[NDArray], NDArray] | None:
        """Outputs and means of scalars, or None when the arrays look otherwise."""
        if len(args) != self._count or model.params.flat is not self.parameters or not self._ready.takes(args):
            return None
        return self._ready([args[t] for t in self._order], self._means)


_NO_SCALARS = np.empty(0)


def _none() -> NDArray:
    """The means of no scalars."""
    return _NO_SCALARS


def evaluate(
    model: Core, outputs: tuple[str, ...], scalars: tuple[str, ...], data: Bound, place: Any, verify: bool
) -> tuple[list[Any], NDArray]:
    """Some outputs and some scalars of a model, on the CPU or at a place of their own."""
    model.params.initialize(0)
    if place is not None:
        return devices.evaluate(model, outputs, scalars, data, place, verify)
    compiled, program = evaluator(model, outputs, scalars, data.lengths)
    if verify:
        verify_evaluation(model, compiled, outputs, scalars, data)
    if any(isinstance(a, Rows) for a in data.arrays.values()):
        return _in_blocks(model, outputs, scalars, data)
    return _compute(model, compiled, program, outputs, data)


def _in_blocks(
    model: Core, outputs: tuple[str, ...], scalars: tuple[str, ...], data: Bound
) -> tuple[list[Any], NDArray]:
    """A block of rows after the other, where rows are independent; else all of them."""
    compiled, program = evaluator(model, outputs, scalars, data.lengths)
    independent = chunk(model, (*outputs, *scalars), data.rows) == CHUNK
    size = (rows_within(data.arrays, CHUNK) if independent else None) or data.rows
    blocks = [slice(begin, min(begin + size, data.rows)) for begin in range(0, data.rows, size)]
    parts, means = [], np.zeros(len(scalars))
    gather = lambda rows: {leaf: a[rows] if has_rows(leaf) else a for leaf, a in data.arrays.items()}
    with contextlib.closing(read_ahead(blocks, gather)) as gathered:
        for rows, arrays in gathered:
            found, values = _compute(model, compiled, program, outputs, Bound(arrays, rows.stop - rows.start, []))
            parts.append(found)
            means += values * ((rows.stop - rows.start) / data.rows)
    return [np.concatenate(of_output) for of_output in zip(*parts, strict=True)] if outputs else [], means


def _compute(
    model: Core, compiled: Compiled, program: Evaluator, outputs: tuple[str, ...], data: Bound
) -> tuple[list[Any], NDArray]:
    """One call for all rows that are given."""
    shapes = [shape_of(model.raw_roots[n].shape, data.lengths) for n in outputs]
    arrays = [aligned(math.prod(s), model.dtype)[: math.prod(s)].reshape(s) for s in shapes]
    ordered = [data.arrays[leaf] for leaf in compiled.facts.inputs]
    return arrays, program.run(model.params.flat, ordered, compiled.constants, data.lengths, arrays)


def loss_and_metrics(model: Core, data: Bound, place: Any = None, verify: bool = True) -> dict[str, Any]:
    """Loss and metrics over data that are already bound, on the CPU or at a place of their own."""
    model, data = weighed(model, data)
    names, columns = evaluated_roots(model)
    found, values = evaluate(model, columns, names, data, place, verify)
    means = {n: float(v) for n, v in zip(names, values, strict=True)}
    return model.metrics.report(means, dict(zip(columns, map(np.asarray, found), strict=True)))


def evaluated_roots(model: Core) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """What the program of ``evaluate`` computes: means over rows, and columns."""
    return ("loss", *model.metrics.summed), tuple(model.metrics.columns)


def means_of(model: Core, data: Bound, verify: bool = True) -> dict[str, float]:
    """Loss and metrics as programs compute them: means over the rows, of which measures are made."""
    names = ("loss", *model.metric_names)
    values = evaluate(model, (), names, data, None, verify)[1]
    return {n: float(v) for n, v in zip(names, values, strict=True)}
