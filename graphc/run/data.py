"""Arrays from the user, checked against what was declared and brought to the dtype of the program."""

from __future__ import annotations

import contextlib
import itertools
import math
import weakref
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from graphc.errors import DataError, UnknownNameError
from graphc.ir.affine import Extent
from graphc.ir.letters import close_name
from graphc.ir.node import Leaf
from graphc.lower.lengths import Lengths, lengths_of
from graphc.native.buffers import address
from graphc.records import record
from graphc.run.frames import KEEP, Columns, as_array, as_table, names_of
from graphc.run.loaders import gathered
from graphc.run.sources import as_rows, is_sparse, values_of

CPU = 1  # as DLPack counts kinds of devices
LARGE = 2**18  # bytes of an array; smaller ones are looked through in some 10 microseconds
NO_COLUMNS = Columns()
MOST_ORDERED = 5  # arrays whose orders are tried to explain an error


@record
class Bound:
    """Data ready for a program: contiguous arrays by input, the number of rows (of the longest of several free
    extents), names of the columns of frames; of rows that are held out also their weights."""

    arrays: dict[Leaf, NDArray]
    rows: int
    notes: list[str]
    unseen: dict[Leaf, NDArray] = field(default_factory=dict)
    columns: dict[str, tuple[str, ...]] = field(default_factory=dict)
    weights: NDArray | None = None

    @property
    def lengths(self) -> Lengths:
        """The rows, of each extent where there are several."""
        return lengths_of(self.arrays)

    def look(self, leaves: Iterable[Leaf]) -> None:
        """Look through those of some inputs that :func:`bind` left out; ``unseen`` holds them as they were given.

        Raises
        ------
        DataError
            When one holds NaN or infinity.
        """
        for leaf in [leaf for leaf in leaves if leaf in self.unseen]:
            _check_finite(leaf, self.unseen[leaf], self.arrays[leaf])
            del self.unseen[leaf]


class Seen:
    """The large array that was looked through for NaN and infinity last, for every input.

    An array is known by the object, where its elements lie and what they are. It may be changed all the same: what is
    known here only says that the look may wait until something goes wrong.
    """

    def __init__(self) -> None:
        self._known: dict[Leaf, tuple[Any, tuple]] = {}

    def knows(self, leaf: Leaf, value: Any, array: NDArray) -> bool:
        """Whether this array was looked through before."""
        known, kind = self._known.get(leaf, (None, ()))
        return known is not None and known() is value and kind == _kind(array)

    def note(self, leaf: Leaf, value: Any, array: NDArray) -> None:
        """This array has been looked through."""
        self._known.pop(leaf, None)
        if array.nbytes >= LARGE:
            with contextlib.suppress(TypeError):  # lists and the like, which no weak reference can name
                self._known[leaf] = weakref.ref(value), _kind(array)


def _kind(array: NDArray) -> tuple:
    return address(array), array.shape, array.strides, array.dtype.str


def bind(
    inputs: Sequence[Leaf],
    args: Sequence[Any],
    dtype: str,
    limits: Mapping[Leaf, Collection[Extent]],
    what: str = "fit",
    machine: Any = None,
    seen: Seen | None = None,
    columns: Columns = NO_COLUMNS,
    by_rows: bool = False,
) -> Bound:
    """Match data to inputs, by position in the order of declaration or by name in one mapping.

    Arrays that lie on ``machine`` already are taken as they are; their values are not looked at. Those that ``seen``
    knows are not looked through for NaN again, but left in ``unseen`` of the result. The columns of data frames are
    taken by the names in ``columns``, where there are some for an input. With ``by_rows`` sparse matrices and large
    files of another type stay what they are, as :class:`graphc.run.sources.Rows`.

    Raises
    ------
    DataError
        When data are missing, too many, of a wrong shape or kind, empty, NaN or infinite, or labels out of range.
    UnknownNameError
        When a mapping names an input that does not exist.
    """
    notes: list[str] = []
    passed = _by_name(inputs, gathered(args, what, notes), what)
    given = {leaf: _encoded(leaf, as_table(v), columns.encoders.get(str(leaf.name))) for leaf, v in passed.items()}
    names = {str(leaf.name): found for leaf in inputs if (found := names_of(given[leaf])) is not None}
    named = {leaf: as_array(leaf, value, columns.get(str(leaf.name))) for leaf, value in given.items()}
    there = {leaf: _on_machine(leaf, named[leaf], dtype, machine) for leaf in inputs if lies_on(named[leaf], machine)}
    bound = Bound({}, 1, notes, columns={n: tuple(columns.get(n, found)) for n, found in names.items()})
    for leaf in inputs:
        rows = by_rows and leaf not in there and _rows(leaf, named[leaf], dtype, notes)
        if rows:
            bound.arrays[leaf] = rows
            continue
        bound.arrays[leaf] = there[leaf] if leaf in there else _seen(bound, leaf, named[leaf], dtype, seen)
        if leaf in limits and leaf not in there:
            check_labels(leaf, bound.arrays[leaf], limits[leaf], {})
    bound.rows = count_rows(bound.arrays)
    return bound


def _encoded(leaf: Leaf, value: Any, encoder: Any) -> Any:
    """The value with numbers for words, where the input has an encoder."""
    if encoder is None:
        return value
    try:
        return encoder.encoded(leaf, value)
    except DataError as error:
        raise DataError(f"{leaf.name}: {error}") from None


def _rows(leaf: Leaf, value: Any, dtype: str, notes: list[str]) -> Any:
    """Rows that are made dense when they are needed, where a value has such."""
    if leaf.dtype == "int" or not leaf.shape or not isinstance(leaf.shape[0], str):
        return None
    rows = as_rows(value, dtype)
    if rows is not None:
        _check_shape(leaf, rows)
        values = values_of(rows)
        step = max(1, LARGE // int(np.prod(values.shape[1:], dtype=np.int64)))
        for begin in range(0, len(values) if values.dtype.kind == "f" else 0, step):
            part = values[begin : begin + step]
            with np.errstate(over="ignore"):
                fits = is_finite(np.asarray(part, dtype=dtype))
            if not fits:
                hint = "remove or fill such values, or use dtype=\"float64\" if they are only large"
                raise DataError(f"{leaf.name} holds a value that is no finite {dtype}\n  hint: {hint}")
        notes.append(f"{leaf.name}: {type(value).__name__} of {value.dtype}, made dense in blocks of rows")
    return rows


def _seen(bound: Bound, leaf: Leaf, value: Any, dtype: str, seen: Seen | None) -> NDArray:
    """The converted array, looked through now or left for later."""
    given, result = _converted(leaf, value, dtype, bound.notes)
    if leaf.dtype == "int":
        return result
    if seen is not None and seen.knows(leaf, value, given):
        bound.unseen[leaf] = given
        return result
    _check_finite(leaf, given, result)
    if seen is not None:
        seen.note(leaf, value, given)
    return result


def lies_on(value: Any, machine: Any) -> bool:
    """Whether a value lies in the memory of a GPU or other machine, not of the host."""
    if machine is None or isinstance(value, np.ndarray):
        return False
    if hasattr(value, "__cuda_array_interface__") or getattr(value, "machine", None) is machine:
        return True
    return hasattr(value, "__dlpack_device__") and int(value.__dlpack_device__()[0]) != CPU


def _on_machine(leaf: Leaf, value: Any, dtype: str, machine: Any) -> Any:
    array = machine.adopt(value, str(leaf.name))
    _check_shape(leaf, array)
    wanted = np.dtype(np.int32 if leaf.dtype == "int" else dtype)
    if array.dtype != wanted:
        raise DataError(
            f"{describe(leaf)} lies on the GPU with values of type {array.dtype}; the program reads {wanted}\n"
            f"  hint: convert it there, or pass a NumPy array"
        )
    return array


def _by_name(inputs: Sequence[Leaf], args: Sequence[Any], what: str) -> dict[Leaf, Any]:
    if len(args) == 1 and isinstance(args[0], Mapping):
        return _from_mapping(inputs, args[0], what)
    if len(args) != len(inputs):
        wanted = ", ".join(describe(leaf) for leaf in inputs) or "no inputs"
        raise DataError(
            f"{what}: the model reads {len(inputs)} inputs ({wanted}) but {len(args)} arrays were given\n"
            f"  hint: pass one array for each, in this order, or a dict by name"
        )
    _check_order(inputs, args, what)
    return dict(zip(inputs, args, strict=True))


def _check_order(inputs: Sequence[Leaf], args: Sequence[Any], what: str) -> None:
    """Refuse arrays that fit the inputs in another order only."""
    shapes: list[Any] = [getattr(a, "shape", None) for a in args]
    if len(args) > MOST_ORDERED or None in shapes or all(map(_fits, inputs, shapes)):
        return
    if any(all(map(_fits, inputs, order)) for order in itertools.permutations(shapes)):
        given = ", ".join(str(tuple(shape)) for shape in shapes)
        named = ", ".join(f"{str(leaf.name)!r}: .." for leaf in inputs)
        raise DataError(
            f"{what}: the model reads {', '.join(map(describe, inputs))}, in the order of declaration, "
            f"but the arrays have shapes {given}: they fit in another order\n"
            f"  hint: pass them in that order, or by name: {{{named}}}"
        )


def _fits(leaf: Leaf, shape: Sequence[int]) -> bool:
    return len(shape) == len(leaf.shape) and all(
        isinstance(e, str) or e == found for e, found in zip(leaf.shape, shape, strict=True)
    )


def _from_mapping(inputs: Sequence[Leaf], data: Mapping[str, Any], what: str) -> dict[Leaf, Any]:
    known = {str(leaf.name): leaf for leaf in inputs}
    for name in data:
        if name not in known:
            raise UnknownNameError(
                f"{what}: no input is named {name!r}; the model reads {', '.join(known) or 'no inputs'}\n"
                f"  hint: {close_name(str(name), known)}"
            )
    missing = [name for name in known if name not in data]
    if missing:
        raise DataError(
            f"{what}: data for {', '.join(describe(known[n]) for n in missing)} are missing\n"
            f"  hint: add {missing[0]!r} to the dict"
        )
    return {known[name]: value for name, value in data.items()}


def describe(leaf: Leaf) -> str:
    """``X (n, 64)``."""
    shape = f"({', '.join(map(str, leaf.shape))}{',' if len(leaf.shape) == 1 else ''})"
    return f"{leaf.name} {shape}" + (" of integers" if leaf.dtype == "int" else "")


def convert(leaf: Leaf, value: Any, dtype: str) -> NDArray:
    """The value as a contiguous array of the program's dtype; NaN and infinity pass, as in NumPy."""
    return _converted(leaf, value, dtype, [])[1]


def _converted(leaf: Leaf, value: Any, dtype: str, notes: list[str]) -> tuple[NDArray, NDArray]:
    """The value as an array, and as one that the program reads, not yet looked through for NaN."""
    if _is_ready(leaf, value, dtype):
        return value, value
    array = _as_array(leaf, value)
    _check_shape(leaf, array)
    wanted = np.dtype(np.int64 if leaf.dtype == "int" else dtype)
    if leaf.dtype == "int":
        return array, _contiguous(_whole(leaf, array), wanted)
    if array.dtype.kind not in "fiub":
        words = f"; words: {KEEP.format(leaf.name)}" if array.dtype.kind in "OUST" else ""
        hint = f"convert it to floats first{words}"
        raise DataError(f"{leaf.name} holds values of type {array.dtype}, not numbers\n  hint: {hint}")
    if array.dtype.kind == "f" and array.dtype != wanted:
        notes.append(f"{leaf.name}: {array.dtype} cast to {wanted}")
    with np.errstate(over="ignore"):
        return array, _contiguous(array, wanted)


def _is_ready(leaf: Leaf, value: Any, dtype: str) -> bool:
    """Whether a value is just what the program reads, as it is in most calls."""
    wanted = np.int64 if leaf.dtype == "int" else dtype
    if type(value) is not np.ndarray or value.dtype != wanted:
        return False
    return bool(value.flags.c_contiguous and value.size) and _fits(leaf, value.shape)


def _contiguous(array: NDArray, dtype: np.dtype) -> NDArray:
    """The array side by side in memory; NumPy would give a scalar an axis."""
    return np.ascontiguousarray(array, dtype=dtype).reshape(array.shape)


def _as_array(leaf: Leaf, value: Any) -> NDArray:
    if is_sparse(value):
        raise DataError(
            f"{leaf.name}: the data are a sparse matrix ({type(value).__name__} of shape {value.shape}); "
            f"here dense arrays are needed\n  hint: pass data.toarray(); fit, predict and evaluate on CPUs take it"
        )
    try:
        return np.asarray(value)
    except (ValueError, TypeError) as error:
        raise DataError(
            f"{leaf.name}: a {type(value).__name__} is no array: {error}\n  hint: pass a NumPy array"
        ) from None


def _check_shape(leaf: Leaf, array: Any) -> None:
    if not _fits(leaf, array.shape):
        hint = "reshape the data or declare the input with their shape"
        if len(array.shape) == 1 and len(leaf.shape) == 2 and leaf.shape[1] == 1:
            hint = f"pass {leaf.name} as a column: data.reshape(-1, 1)"
        raise DataError(f"{describe(leaf)} was declared but the data have shape {array.shape}\n  hint: {hint}")
    if 0 in array.shape:
        raise DataError(f"{describe(leaf)} got data of shape {array.shape}: no rows\n  hint: pass at least one row")


def _whole(leaf: Leaf, array: NDArray) -> NDArray:
    if array.dtype.kind in "iub":
        return array
    if array.dtype.kind == "f" and np.isfinite(array).all() and np.all(array == np.rint(array)):
        return array
    raise DataError(
        f"{describe(leaf)} got values of type {array.dtype} that are not whole numbers\n"
        f"  hint: pass class numbers 0, 1, 2, .. as integers"
    )


def _check_finite(leaf: Leaf, given: NDArray, array: NDArray) -> None:
    if is_finite(array):
        return
    at = tuple(int(i) for i in np.argwhere(~np.isfinite(array))[0])
    hint = "remove or fill such values, for example with np.nan_to_num"
    if np.isfinite(given[at]):
        hint = f"that is too large for {array.dtype}: scale the data, or use dtype=\"float64\""
    raise DataError(f"{leaf.name} holds {given[at]} at {list(at)}\n  hint: {hint}")


def is_finite(array: NDArray) -> bool:
    """Whether no value is NaN or infinite; in a large array a sum of squares that is finite says so in a third of the
    time."""
    if array.size < 4096:
        return math.isfinite(np.vdot(array, array)) or bool(np.isfinite(array).all())
    flat = array.ravel()
    with np.errstate(all="ignore"):
        return bool(np.isfinite(np.dot(flat, flat)) or np.isfinite(flat).all())


def check_labels(leaf: Leaf, array: NDArray, extents: Iterable[Extent], sizes: Mapping[str, int]) -> None:
    """Labels must lie in each of the extents they select from, as far as ``sizes`` tells the free ones.

    Raises
    ------
    DataError
        When one does not.
    """
    low, high = int(array.min()), int(array.max())
    known = [e if isinstance(e, int) else sizes[e] for e in extents if isinstance(e, int) or e in sizes]
    if low < 0 and not known:
        raise DataError(f"{leaf.name} serves as an index but holds {low}\n  hint: number the classes from 0")
    limit = min(known, default=high + 1)
    if low < 0 or high >= limit:
        raise DataError(
            f"{leaf.name} holds labels from {low} to {high} but there are {limit} classes, 0 to {limit - 1}\n"
            f"  hint: number the classes from 0, or widen the last layer"
        )


def count_rows(arrays: Mapping[Leaf, NDArray]) -> int:
    """The common length of everything that begins with a free extent, the longest of several; 1 when nothing does.

    Raises
    ------
    DataError
        When two inputs give one extent different lengths.
    """
    first: dict[Extent, tuple[Leaf, int]] = {}
    for leaf, array in arrays.items():
        if not leaf.shape or not isinstance(leaf.shape[0], str):
            continue
        other, rows = first.setdefault(leaf.shape[0], (leaf, len(array)))
        if rows != len(array):
            raise DataError(
                f"{other.name} has {rows} rows but {leaf.name} has {len(array)}; both count the extent "
                f"{leaf.shape[0]!r}\n  hint: pass the same number of rows"
            )
    return max((rows for _, rows in first.values()), default=1)


def check_rows(needed: Mapping[str, int], sizes: Mapping[str, int], what: str = "the data have") -> None:
    """Refuse data that are shorter than a fixed place of theirs that is read.

    Raises
    ------
    DataError
        Naming the extent and both numbers.
    """
    for extent, least in needed.items():
        if sizes.get(extent, least) < least:
            raise DataError(
                f"row {least - 1} of {extent!r} is read, but {what} {sizes[extent]}\n"
                f"  hint: pass at least {least} rows (a place from the end counts its distance)"
            )
