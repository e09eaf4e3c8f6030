"""Elements that are moved, repeated, chosen or surrounded along axes: NumPy's names."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from numbers import Integral
from typing import Any

import numpy as np

from graphc.declare import views
from graphc.declare.names import node_text
from graphc.declare.origin import fail
from graphc.declare.pointwise import where
from graphc.declare.rearrange import reshape
from graphc.declare.reducing import one_axis
from graphc.declare.shapes import Axes, ones_like, ravel
from graphc.declare.tensor import Tensor, as_node
from graphc.errors import ShapeError, TypeMismatchError
from graphc.ir.affine import Affine, Extent, constant, floor_div, index, modulo
from graphc.ir.node import Mask, Node

_MODES = ("constant", "edge", "reflect", "symmetric", "wrap")


def roll(x: Any, shift: Axes, axis: Axes | None = None) -> Tensor:
    """x with its elements moved along an axis of known extent; what leaves at one end comes back at the other.

    Parameters
    ----------
    x : Tensor or array
    shift : int or tuple of int
        By how many places, a number for each axis.
    axis : int or tuple of int, optional
        Along which axes; the elements of the flattened tensor are moved when it is None.

    Raises
    ------
    ShapeError
        When an axis does not exist or has a free extent.
    TypeMismatchError
        When a shift is no whole number.

    Examples
    --------
    >>> import graphc as gc
    >>> gc.roll(gc.input("X", ("n", 3)), 1, axis=1).shape
    ('n', 3)
    """
    node = as_node(x, "roll")
    if axis is None:
        return reshape(roll(ravel(Tensor(node)), shift, 0), node.shape)
    axes = list(axis) if isinstance(axis, Sequence) else [axis]
    shifts = list(shift) if isinstance(shift, Sequence) else [shift] * len(axes)
    axes = axes * len(shifts) if len(axes) == 1 else axes
    if len(axes) != len(shifts) or not all(isinstance(s, Integral) for s in shifts):
        hint = "give a whole number for each axis."
        fail(TypeMismatchError, f"roll: the shift is {shift!r} for the axis {axis!r}", hint)
    at = [index(t) for t in range(node.rank)]
    for a, s in zip(axes, shifts):
        t = one_axis(node, a, "gc.roll")
        extent = _known(node, t, "roll", "elements are moved")
        at[t] = modulo(at[t] - int(s), extent, node.shape)
    return Tensor(views.view(node, node.shape, at))


def repeat(x: Any, repeats: int | Sequence[int], axis: int | None = None) -> Tensor:
    """Every element several times in a row.

    Parameters
    ----------
    x : Tensor or array
    repeats : int or sequence of int
        How often; a number for each place of the axis when it is a sequence.
    axis : int, optional
        Along which axis; the flattened tensor when it is None.

    Raises
    ------
    ShapeError
        When the axis does not exist or has a free extent, or nothing would be left.
    TypeMismatchError
        When `repeats` is neither a whole number nor one for each place.

    Examples
    --------
    >>> import graphc as gc
    >>> gc.repeat(gc.input("X", ("n", 3)), 2, axis=1).shape
    ('n', 6)
    """
    node = ravel(x).node if axis is None else as_node(x, "repeat")
    t = one_axis(node, 0 if axis is None else axis, "gc.repeat")
    counts = np.asarray(repeats)
    if counts.dtype.kind not in "iu" or counts.ndim > 1 or (counts < 0).any():
        fail(TypeMismatchError, f"repeat: the repeats are {repeats!r:.60}", "give whole numbers of at least 0.")
    if counts.ndim == 0 and counts == 1:
        return Tensor(node)
    extent = _known(node, t, "repeat", "elements are repeated")
    if counts.size not in (1, extent) or not counts.sum():
        message = f"repeat: {counts.size} repeats for axis {t} of {node_text(node)} with extent {extent}"
        fail(ShapeError, message, "give one number, or one for each place; at least one element is left.")
    if counts.size == 1:
        each = int(counts.ravel()[0])
        return _along(node, t, extent * each, lambda i, shape: floor_div(i, each, shape))
    return Tensor(views.subscript(node, (slice(None),) * t + (np.repeat(np.arange(extent), counts),)))


def tile(x: Any, reps: Axes) -> Tensor:
    """x several times side by side along its axes.

    Parameters
    ----------
    x : Tensor, number or array
    reps : int or tuple of int
        How often along each axis, those of the last axes last; an axis of free extent stays as it is.

    Raises
    ------
    ShapeError
        When an axis of free extent would be repeated.
    TypeMismatchError
        When `reps` holds no whole numbers of at least 1.

    Examples
    --------
    >>> import graphc as gc
    >>> gc.tile(gc.input("X", ("n", 3)), (1, 2)).shape
    ('n', 6)
    """
    node, times = as_node(x, "tile"), list(reps) if isinstance(reps, Sequence) else [reps]
    if not all(isinstance(r, Integral) and r >= 1 for r in times):
        fail(TypeMismatchError, f"tile: the repetitions are {reps!r}", "give whole numbers of at least 1.")
    node = views.subscript(node, (None,) * (len(times) - node.rank))
    times = [1] * (node.rank - len(times)) + [int(r) for r in times]
    shape = [e if r == 1 else r * _known(node, t, "tile", "elements are repeated")
             for t, (e, r) in enumerate(zip(node.shape, times))]  # fmt: skip
    at = [modulo(index(t), e, shape) if isinstance(e, int) else index(t) for t, e in enumerate(node.shape)]
    return Tensor(views.view(node, shape, at))


def pad(x: Any, pad_width: Any, mode: str = "constant", constant_values: Any = 0) -> Tensor:
    """x with more elements around it.

    Parameters
    ----------
    x : Tensor or array
    pad_width : int, pair, or one pair for each axis
        How many elements before and after; 0 for an axis of free extent.
    mode : str
        ``"constant"``, or a copy of elements of x: ``"edge"``, ``"reflect"``, ``"symmetric"``, ``"wrap"``.
    constant_values : number or Tensor
        What stands around x; a scalar.

    Raises
    ------
    ShapeError
        When a width does not fit the axes, or elements would be put beside a free extent.
    TypeMismatchError
        When the mode is another one.

    Examples
    --------
    >>> import graphc as gc
    >>> gc.pad(gc.input("X", ("n", 5)), ((0, 0), (1, 2))).shape
    ('n', 8)
    """
    node = as_node(x, "pad")
    if mode not in _MODES:
        fail(TypeMismatchError, f"pad: the mode is {mode!r}", f"known are {', '.join(_MODES)}.")
    widths = _widths(node, pad_width)
    for t, (before, after) in enumerate(widths):
        if before or after:
            _known(node, t, "pad", "elements are put around it")
    if mode == "constant":
        return _surrounded(node, widths, constant_values)
    places = [np.pad(np.arange(e), w, mode) if w != (0, 0) else None for e, w in zip(node.shape, widths)]
    for t, place in enumerate(places):
        if place is not None:
            node = views.subscript(node, (slice(None),) * t + (place,))
    return Tensor(node)


def _widths(node: Node, width: Any) -> list[tuple[int, int]]:
    """The elements before and after each axis, as NumPy reads them."""
    try:
        found = np.broadcast_to(np.asarray(width), (node.rank, 2))
    except ValueError:
        found = np.asarray(0.5)
    if found.dtype.kind not in "iu" or (found < 0).any():
        message = f"pad: the width is {width!r:.60} for the axes of {node_text(node)}"
        fail(ShapeError, message, "give a whole number, a pair (before, after), or a pair for each axis.")
    return [(int(a), int(b)) for a, b in found]


def _surrounded(node: Node, widths: list[tuple[int, int]], value: Any) -> Tensor:
    """out[i..] = node[i - before..] inside, else the value."""
    shape: list[Extent] = []
    at: list[Affine] = []
    masks: list[Mask] = []
    for t, (e, (before, after)) in enumerate(zip(node.shape, widths)):
        shape.append(e + before + after if isinstance(e, int) else e)
        at.append(constant(0) if e == 1 else index(t) - before)
        if isinstance(e, int) and (before or after):
            place = index(t) - before
            masks += [Mask("ge", place), Mask("ge", constant(e - 1) - place)]
    padded = Tensor(views.view(node, shape, at, masks))
    if isinstance(value, int | float) and value == 0:
        return padded
    inside = views.view(ones_like(Tensor(node)).node, shape, at, masks)
    return where(Tensor(inside), padded, value)


def take(x: Any, indices: Any, axis: int | None = None) -> Tensor:
    """The elements of x at some places of an axis: ``x[:, indices]`` for axis 1.

    Parameters
    ----------
    x : Tensor or array
    indices : int, array of integers, or integer data
        Which places; the result has their axes in place of `axis`.
    axis : int, optional
        Of which axis; of the flattened tensor when it is None.

    Raises
    ------
    ShapeError
        When a place is out of range.
    TypeMismatchError
        When `indices` is no integer data.

    Examples
    --------
    >>> import graphc as gc
    >>> gc.take(gc.input("X", ("n", 5)), [4, 0], axis=1).shape
    ('n', 2)
    """
    node = ravel(x).node if axis is None else as_node(x, "take")
    t = one_axis(node, 0 if axis is None else axis, "gc.take")
    return Tensor(node)[(slice(None),) * t + (indices,)]


def _known(node: Node, t: int, name: str, what: str) -> int:
    """The extent of an axis that must be known."""
    extent = node.shape[t]
    if isinstance(extent, str):
        message = f"{name}: axis {t} of {node_text(node)} has the free extent {extent}"
        fail(ShapeError, message, f"{what} along an axis of known extent.")
    return extent


def _along(node: Node, t: int, extent: int, place: Callable[[Affine, Sequence[Extent]], Affine]) -> Tensor:
    """node read at another place along one axis, which has a new extent."""
    shape = [extent if s == t else e for s, e in enumerate(node.shape)]
    at = [place(index(s), shape) if s == t else index(s) for s in range(node.rank)]
    return Tensor(views.view(node, shape, at))
