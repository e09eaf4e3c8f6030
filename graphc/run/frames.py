"""Data frames and series of pandas, polars and whoever speaks like them: their columns by name, as arrays.

No such library is imported: a frame has ``columns`` and ``to_numpy``, a series ``name`` and ``to_numpy``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from graphc.errors import DataError
from graphc.ir.node import Leaf

FILL = {
    "pandas": "fill it or drop such rows: frame.fillna(0), frame.dropna()",
    "polars": "fill it or drop such rows: frame.fill_null(0), frame.drop_nulls()",
}
ENCODE = {
    "pandas": "make numbers of it: pd.get_dummies(frame), pd.factorize(frame[name]), or an encoder of scikit-learn",
    "polars": "make numbers of it: frame.to_dummies(name), or an encoder of scikit-learn",
}


def is_frame(value: Any) -> bool:
    """Whether a value has named columns."""
    return hasattr(value, "columns") and hasattr(value, "to_numpy")


def is_series(value: Any) -> bool:
    """Whether a value is one column with a name."""
    return hasattr(value, "to_numpy") and hasattr(value, "name") and not hasattr(value, "columns")


def names_of(value: Any) -> tuple[str, ...] | None:
    """The names of the columns of a frame."""
    return tuple(map(str, value.columns)) if is_frame(value) else None


def as_array(leaf: Leaf, value: Any, known: Sequence[str] | None = None) -> Any:
    """A frame or series as the array that an input reads; anything else as it is.

    Parameters
    ----------
    known
        The names that the columns of the frame had which the model was trained with. They are taken by name.

    Raises
    ------
    DataError
        When columns are missing, unknown or twice there, or hold text or nothing.
    """
    if is_series(value):
        column = _numbers(leaf, value, str(value.name))
        return column[:, None] if leaf.shape[1:] == (1,) else column
    if not is_frame(value):
        return value
    names = list(value.columns)
    order = _in_order(leaf, list(map(str, names)), known)
    columns = [_numbers(leaf, value[names[t]], str(names[t])) for t in order]
    if len(columns) == 1 and len(leaf.shape) == 1:
        return columns[0]
    return np.column_stack(columns) if columns else np.empty((len(value), 0))


def _in_order(leaf: Leaf, names: list[str], known: Sequence[str] | None) -> list[int]:
    """The places of the columns in the order in which the model knows them."""
    if known is None:
        return list(range(len(names)))
    twice = [n for n in known if names.count(n) > 1]
    missing, new = [n for n in known if n not in names], [n for n in names if n not in known]
    wrong = {"missing": missing, "not known": new, "there more than once": twice}
    if missing or new or (twice and names != list(known)):
        told = "; ".join(f"{what}: {', '.join(map(repr, found))}" for what, found in wrong.items() if found)
        hint = f"the model was trained with {', '.join(map(repr, known))}; pass frame[[..]] with these, or an array"
        raise DataError(f"{leaf.name}: the columns of the frame are not those of the training ({told})\n  hint: {hint}")
    return list(range(len(names))) if twice else [names.index(n) for n in known]


def _numbers(leaf: Leaf, series: Any, name: str) -> NDArray:
    """A column as numbers, none of them missing."""
    library = type(series).__module__.partition(".")[0]
    array = np.asarray(series.to_numpy())
    if array.dtype.kind not in "fiub":
        array = _from_objects(leaf, series, name, library)
    if array.dtype.kind == "f" and np.isnan(array).any():
        row = int(np.argmax(np.isnan(array)))
        hint = FILL.get(library, "fill it or drop such rows")
        raise DataError(f"{leaf.name}: the column {name!r} holds no number in row {row}\n  hint: {hint}")
    return array


def _from_objects(leaf: Leaf, series: Any, name: str, library: str) -> NDArray:
    """Numbers among which some are missing lie in a column of objects; text and dates do so, too."""
    try:
        values = list(series)
        missing = [v is None or v is not v or type(v).__name__ == "NAType" for v in values]
        if not all(m or isinstance(v, int | float | np.number | np.bool_) for v, m in zip(values, missing)):
            raise TypeError
        return np.array([np.nan if m else float(v) for v, m in zip(values, missing)])
    except TypeError:
        hint = ENCODE.get(library, "make numbers of it, for example with an encoder of scikit-learn")
        what = f"{leaf.name}: the column {name!r} holds {series.dtype}, not numbers"
        raise DataError(f"{what}\n  hint: {hint}") from None
