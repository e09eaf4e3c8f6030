"""Validation data: as they were given, or a fraction of the rows that is left out of training."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from numbers import Real
from typing import Any

import numpy as np
from numpy.typing import NDArray

from graphc.errors import DomainError
from graphc.facade.core import Core
from graphc.facade.state import SPLIT_STREAM
from graphc.facade.weighing import held_out_weights, row_weights
from graphc.lower.lengths import has_rows, rows_by_extent
from graphc.primitives import philox
from graphc.run.data import Bound, bind
from graphc.run.sources import Rows

Split = tuple[Bound, NDArray | None, Bound | None]


def split(
    model: Core, data: Bound, weights: NDArray | None, wanted: Any, seed: int, machine: Any = None
) -> Split:
    """Validation data as given, on the host or a machine, or a fraction of the rows chosen by the seed and left out of
    training."""
    if wanted is None:
        return data, weights, None
    if not isinstance(wanted, Real):
        args, own = held_out_weights(model.training_inputs, wanted)
        columns = model.columns | data.columns
        as_rows = len(model.row_extents) < 2
        held_out = bind(
            model.training_inputs, args, model.dtype, model.label_limits, "validation", machine, columns=columns,
            by_rows=as_rows,
        )  # fmt: skip
        return data, weights, replace(held_out, weights=row_weights(own, held_out.rows, model.dtype))
    parts = {e: _halves(n, wanted, seed, t) for t, (e, n) in enumerate(rows_by_extent(data.arrays).items())}
    kept, out = ({e: half[place] for e, half in parts.items()} for place in range(2))
    chosen = (next(iter(rows.values())) for rows in (kept, out))
    mine, others = (None if weights is None else np.ascontiguousarray(weights[rows]) for rows in chosen)
    return rows_of(data, kept), mine, replace(rows_of(data, out), weights=others)


def _halves(rows: int, wanted: Any, seed: int, extent: int) -> tuple[NDArray, NDArray]:
    """The rows that stay and those that are left out, of one free extent after another."""
    count = int(round(float(wanted) * rows))
    if not 0.0 < float(wanted) < 1.0 or not 0 < count < rows:
        raise DomainError(
            f"fit: validation={wanted} of {rows} rows leaves {count} to validate on\n"
            f"  hint: give a fraction between 0 and 1, or a tuple of arrays"
        )
    order = philox.permutation(rows, seed, extent, SPLIT_STREAM)
    return np.sort(order[count:]), np.sort(order[:count])


def rows_of(data: Bound, rows: Mapping[str, NDArray]) -> Bound:
    """Some rows of the data, by extent; of those that lie on a machine, on the host."""
    divided = lambda leaf: has_rows(leaf) and leaf.shape[0] in rows
    arrays = {leaf: _some(a, rows[str(leaf.shape[0])]) if divided(leaf) else a for leaf, a in data.arrays.items()}
    return Bound(arrays, max(map(len, rows.values()), default=1), data.notes, columns=data.columns)


def _some(array: Any, rows: NDArray) -> Any:
    return array.take(rows) if isinstance(array, Rows) else np.ascontiguousarray(np.asarray(array)[rows])
