"""Weights of rows that are evaluated: the same model with a loss and metrics in which every row counts as it weighs."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from graphc.declare.tensor import Tensor
from graphc.errors import DataError
from graphc.facade.core import Core
from graphc.facade.measured import Metrics
from graphc.ir.node import Leaf
from graphc.rewrite.weights import is_row_mean, weight_rows
from graphc.run.data import Bound


def row_weights(weights: Any, rows: int, dtype: str) -> NDArray | None:
    """The argument ``sample_weight``, checked: a weight a row."""
    if weights is None:
        return None
    given = np.asarray(weights)
    if given.dtype.kind not in "fiub":
        raise DataError(f"sample_weight holds values of type {given.dtype}, not numbers\n  hint: one weight a row")
    array = np.ascontiguousarray(given, dtype=dtype)
    if array.shape != (rows,):
        raise DataError(f"sample_weight has shape {array.shape} but there are {rows} rows\n  hint: one weight a row")
    if not np.isfinite(array).all() or (array < 0).any() or not array.any():
        raise DataError("sample_weight holds negative, NaN or only zero weights\n  hint: give weights of at least 0")
    return array


def held_out_weights(inputs: Sequence[Leaf], given: Any) -> tuple[Sequence[Any], Any]:
    """Validation data as they were passed, and their weights: one array more, or the entry "sample_weight"."""
    names = {str(leaf.name) for leaf in inputs}
    if isinstance(given, Mapping) and "sample_weight" in given and "sample_weight" not in names:
        return ({name: value for name, value in given.items() if name != "sample_weight"},), given["sample_weight"]
    args = tuple(given) if isinstance(given, tuple | list) else (given,)
    return (args[:-1], args[-1]) if len(args) == len(inputs) + 1 else (args, None)


def weighed(model: Core, data: Bound) -> tuple[Core, Bound]:
    """A model and data whose loss and metrics are those of ``data`` with its weights; the parameters are shared.

    Means over rows get weights whose mean is 1, so that rows may still be taken in chunks:

        1/n sum_i l_i    ->    1/n sum_i w_i l_i,    w_i <- w_i n / sum_i w_i
    """
    if data.weights is None:
        return model, data
    twin, means = model.once("weighed", lambda: _twin(model))
    twin._params, twin.dtype = model.params, model.dtype
    weights = data.weights / data.weights.mean(dtype=np.float64) if means else data.weights
    arrays = {**data.arrays, model.weight_leaf: np.ascontiguousarray(weights, dtype=model.dtype)}
    return twin, replace(data, arrays=arrays, weights=None)


def _twin(model: Core) -> tuple[Core, bool]:
    """The model with weights as one more input, and whether all that it computes are means over rows."""
    names, rows = ["loss", *model.metric_names], str(model.weight_leaf.shape[0])
    roots = {name: model.graph.roots[name] for name in names}
    means = all(is_row_mean(root, rows) for root in roots.values())
    made = {name: Tensor(weight_rows(root, model.weight_leaf, divided=not means)) for name, root in roots.items()}
    twin = copy.copy(model)
    twin._cache, twin.ready = {}, {}
    twin._loss, twin.metrics = made["loss"], Metrics.of_roots(model.metrics.told(), {**made, **model.metrics.columns})
    twin._metrics = twin.metrics.scalars
    return twin, means
