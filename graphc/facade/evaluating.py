"""``predict`` and ``evaluate``: outputs, loss and metrics of a model for arrays that are bound to its inputs."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from graphc.facade import devices
from graphc.facade.checking import verify_evaluation
from graphc.facade.core import Core
from graphc.facade.preparing import evaluator
from graphc.ir.node import Node
from graphc.run.data import Bound
from graphc.run.memory import aligned


def evaluate(
    model: Core, outputs: tuple[str, ...], scalars: tuple[str, ...], data: Bound, place: Any, verify: bool
) -> tuple[list[Any], NDArray]:
    """Some outputs and some scalars of a model, on the CPU or at a place of their own."""
    model.params.initialize(0)
    if place is not None:
        return devices.evaluate(model, outputs, scalars, data, place, verify)
    compiled, program = evaluator(model, outputs, scalars, data.rows)
    if verify:
        verify_evaluation(model, compiled, outputs, scalars, data)
    shapes = [_shape(model.raw_roots[n], data.rows) for n in outputs]
    arrays = [aligned(int(np.prod(s, dtype=np.int64)), model.dtype) for s in shapes]
    ordered = [data.arrays[leaf] for leaf in compiled.facts.inputs]
    values = program.run(model.params.flat, ordered, compiled.constants, data.rows, arrays)
    return [a[: int(np.prod(s))].reshape(s) for a, s in zip(arrays, shapes, strict=True)], values


def loss_and_metrics(model: Core, data: Bound, place: Any = None, verify: bool = True) -> dict[str, float]:
    """Loss and metrics over data that are already bound, on the CPU or at a place of their own."""
    names = ("loss", *model.metric_names)
    values = evaluate(model, (), names, data, place, verify)[1]
    return {n: float(v) for n, v in zip(names, values, strict=True)}


def _shape(node: Node, rows: int) -> tuple[int, ...]:
    return tuple(e if isinstance(e, int) else rows for e in node.shape)
