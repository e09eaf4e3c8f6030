"""Data frames and series of pandas, polars, Arrow and whoever speaks like them: their columns by name, as arrays.

A frame has ``columns`` and ``to_numpy``, a series ``name`` and ``to_numpy``, a table of Arrow ``column_names`` and
``column``, a column of it ``to_pylist`` and ``to_numpy``. No such library is imported, but pyarrow for what has nothing
but a stream of Arrow.
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from graphc.errors import DataError
from graphc.ir.node import Leaf

FILL = {
    "pandas": "fill it or drop such rows: frame.fillna(0), frame.dropna()",
    "pyarrow": "fill it or drop such rows: column.fill_null(0), table.drop_null()",
    "polars": "fill it or drop such rows: frame.fill_null(0), frame.drop_nulls()",
}
KEEP = 'let the model keep their numbers: model.encoders["{}"] = gc.Encoder().fit(frame)'
ENCODE = {
    "pandas": "pd.get_dummies(frame), pd.factorize(frame[name]), or an encoder of scikit-learn",
    "polars": "frame.to_dummies(name), or an encoder of scikit-learn",
}


def is_frame(value: Any) -> bool:
    """Whether a value has named columns."""
    return _is_arrow_table(value) or (hasattr(value, "columns") and hasattr(value, "to_numpy"))


def _is_arrow_table(value: Any) -> bool:
    return hasattr(value, "column_names") and callable(getattr(value, "column", None))


def as_table(value: Any) -> Any:
    """What gives its columns as a stream of Arrow only, as a result of DuckDB, as a table; anything else as it is.

    Raises
    ------
    DataError
        When pyarrow, which reads such streams, is not installed.
    """
    if not hasattr(value, "__arrow_c_stream__") or is_frame(value) or is_series(value):
        return value
    if importlib.util.find_spec("pyarrow") is None:
        kind = type(value).__name__
        hint = "pip install pyarrow, or pass arrays"
        raise DataError(f"a {kind} is a stream of Arrow, which pyarrow reads\n  hint: {hint}")
    return importlib.import_module("pyarrow").table(value)


def is_series(value: Any) -> bool:
    """Whether a value is one column."""
    if not hasattr(value, "to_numpy") or hasattr(value, "columns"):
        return False
    return hasattr(value, "name") or hasattr(value, "to_pylist")


def names_of(value: Any) -> tuple[str, ...] | None:
    """The names of the columns of a frame."""
    if not is_frame(value):
        return None
    return tuple(map(str, value.column_names if _is_arrow_table(value) else value.columns))


def columns_of(value: Any) -> list[Any]:
    """The columns of a frame, in order."""
    if _is_arrow_table(value):
        return [value.column(t) for t in range(len(value.column_names))]
    return [value[name] for name in value.columns]


def named_columns(value: Any) -> dict[str, Any]:
    """The columns of a frame by name."""
    return dict(zip(names_of(value) or (), columns_of(value), strict=True))


def is_missing(value: Any) -> bool:
    """Whether a value of a column is none: None, NaN, or pandas' NA."""
    return value is None or type(value).__name__ == "NAType" or bool(value != value)


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
        column = numbers(value, str(getattr(value, "name", leaf.name)), str(leaf.name))
        return column[:, None] if leaf.shape[1:] == (1,) else column
    if not is_frame(value):
        return value
    names, given = list(names_of(value) or ()), columns_of(value)
    columns = [numbers(given[t], names[t], str(leaf.name)) for t in _in_order(leaf, names, known)]
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


def numbers(series: Any, name: str, what: str) -> NDArray:
    """A column as numbers, none of them missing.

    Raises
    ------
    DataError
        Which begins with ``what``.
    """
    library = type(series).__module__.partition(".")[0]
    array = _array(series)
    if array.dtype.kind not in "fiub":
        array = _from_objects(series, name, what, library)
    if array.dtype.kind == "f" and np.isnan(array).any():
        row = int(np.argmax(np.isnan(array)))
        hint = FILL.get(library, "fill it or drop such rows")
        raise DataError(f"{what}: the column {name!r} holds no number in row {row}\n  hint: {hint}")
    return array


def _array(series: Any) -> NDArray:
    """Without a copy where the numbers lie side by side; Arrow asks whether there may be one."""
    if isinstance(series, np.ndarray):
        return series
    if not hasattr(series, "to_pylist"):
        return np.asarray(series.to_numpy())
    try:
        return np.asarray(series.to_numpy(zero_copy_only=False))
    except (TypeError, NotImplementedError, ValueError):  # of a kind that has no array, as a dictionary of words
        return np.array(series.to_pylist(), dtype=object)


def _from_objects(series: Any, name: str, what: str, library: str) -> NDArray:
    """Numbers among which some are missing lie in a column of objects; text and dates do so, too."""
    values = series.to_pylist() if hasattr(series, "to_pylist") else list(series)
    missing = [is_missing(v) for v in values]
    if all(m or isinstance(v, int | float | np.number | np.bool_) for v, m in zip(values, missing)):
        return np.array([np.nan if m else float(v) for v, m in zip(values, missing)])
    kind = getattr(series, "dtype", None) or getattr(series, "type", "objects")
    others = ENCODE.get(library, "an encoder of scikit-learn")
    told = f"{what}: the column {name!r} holds {kind}, not numbers"
    raise DataError(f"{told}\n  hint: {KEEP.format(what)}, or make numbers of it: {others}")


class Columns(dict[str, tuple[str, ...]]):
    """What a model knows of frames: the names of their columns, and what makes numbers of words, by input."""

    def __init__(self, names: Mapping[str, tuple[str, ...]] = MappingProxyType({})) -> None:
        super().__init__(names)
        self.encoders: dict[str, Any] = {}

    def __or__(self, others: Any) -> Columns:
        both = Columns({**self, **others})
        both.encoders = self.encoders
        return both
