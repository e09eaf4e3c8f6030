"""The same elements under other axes, and tensors of one number: NumPy's names."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Integral
from typing import Any

from graphc.declare import views
from graphc.declare.broadcasting import broadcast_maps
from graphc.declare.names import check_shape, node_text, shape_text
from graphc.declare.origin import fail, stamp
from graphc.declare.rearrange import nodes_of
from graphc.declare.reducing import normal_axes, one_axis
from graphc.declare.tensor import Tensor, as_node
from graphc.errors import ShapeError, TypeMismatchError
from graphc.ir.affine import Extent, index, size
from graphc.ir.build import constant_node
from graphc.ir.node import Node

Axes = int | Sequence[int]


def ravel(x: Any) -> Tensor:
    """All elements of x along one axis, in row-major order.

    Parameters
    ----------
    x : Tensor, number or array
        Without a free extent, unless it has but one axis.

    Raises
    ------
    ShapeError
        When a free extent stands beside other axes: its product with them has no name.

    Examples
    --------
    >>> import graphc as gc
    >>> gc.ravel(gc.param("W", (3, 4))).shape
    (12,)
    """
    node = as_node(x, "ravel")
    free = [e for e in node.shape if isinstance(e, str)]
    if free and node.rank > 1:
        message = f"ravel: {node_text(node)} has the free extent {free[0]} beside other axes, so the number is unknown"
        fail(ShapeError, message, f"keep the axis of {free[0]}: gc.reshape(x, ({free[0]!r}, -1)).")
    return Tensor(views.reshape(node, (-1,)) if node.rank != 1 else node)


def squeeze(x: Any, axis: Axes | None = None) -> Tensor:
    """x without its axes of extent 1.

    Parameters
    ----------
    x : Tensor, number or array
    axis : int or tuple of int, optional
        Which axes; all of extent 1 when it is None.

    Raises
    ------
    ShapeError
        When an axis does not exist or has another extent.

    Examples
    --------
    >>> import graphc as gc
    >>> gc.squeeze(gc.input("X", ("n", 1, 3))).shape
    ('n', 3)
    """
    node = as_node(x, "squeeze")
    ones = [t for t, e in enumerate(node.shape) if e == 1]
    gone = ones if axis is None else normal_axes(node, axis, "gc.squeeze")
    for t in gone:
        if node.shape[t] != 1:
            message = f"squeeze: axis {t} of {node_text(node)} has extent {node.shape[t]}, not 1"
            fail(ShapeError, message, "x[:, 0] reads one place of an axis, gc.sum and gc.mean reduce it.")
    return Tensor(views.subscript(node, tuple(0 if t in gone else slice(None) for t in range(node.rank))))


def expand_dims(x: Any, axis: Axes) -> Tensor:
    """x with new axes of extent 1.

    Parameters
    ----------
    x : Tensor, number or array
    axis : int or tuple of int
        Where they stand in the result.

    Raises
    ------
    ShapeError
        When the result has no such axis.

    Examples
    --------
    >>> import graphc as gc
    >>> gc.expand_dims(gc.input("X", ("n", 3)), 1).shape
    ('n', 1, 3)
    """
    node = as_node(x, "expand_dims")
    new = list(axis) if isinstance(axis, Sequence) else [axis]
    rank = node.rank + len(new)
    places = normal_axes(constant_node(0, (1,) * rank), tuple(new), "gc.expand_dims of the result")
    return Tensor(views.subscript(node, tuple(None if t in places else slice(None) for t in range(rank))))


def swapaxes(x: Any, axis1: int, axis2: int) -> Tensor:
    """x with two axes exchanged.

    Parameters
    ----------
    x : Tensor or array
    axis1, axis2 : int

    Raises
    ------
    ShapeError
        When an axis does not exist.

    Examples
    --------
    >>> import graphc as gc
    >>> gc.swapaxes(gc.input("X", ("n", 2, 3)), 0, 2).shape
    (3, 2, 'n')
    """
    node = as_node(x, "swapaxes")
    a, b = (one_axis(node, axis, "gc.swapaxes") for axis in (axis1, axis2))
    order = [b if t == a else a if t == b else t for t in range(node.rank)]
    return Tensor(views.transpose(node, order))


def moveaxis(x: Any, source: Axes, destination: Axes) -> Tensor:
    """x with some axes at other positions; the others keep their order.

    Parameters
    ----------
    x : Tensor or array
    source : int or tuple of int
        Which axes of `x`.
    destination : int or tuple of int
        Where they stand in the result.

    Raises
    ------
    ShapeError
        When an axis does not exist, or there are more of one than of the other.

    Examples
    --------
    >>> import graphc as gc
    >>> gc.moveaxis(gc.input("X", ("n", 2, 3)), 0, -1).shape
    (2, 3, 'n')
    """
    node = as_node(x, "moveaxis")
    old, new = (
        [one_axis(node, a, "gc.moveaxis") for a in (axes if isinstance(axes, Sequence) else [axes])]
        for axes in (source, destination)
    )
    if len(old) != len(new) or len(set(old)) < len(old) or len(set(new)) < len(new):
        message = f"moveaxis: the axes {source} of {node_text(node)} do not go to {destination} one by one"
        fail(ShapeError, message, "name each axis once, and a place for each.")
    rest = iter([t for t in range(node.rank) if t not in old])
    order = [old[new.index(t)] if t in new else next(rest) for t in range(node.rank)]
    return Tensor(views.transpose(node, order))


def flip(x: Any, axis: Axes | None = None) -> Tensor:
    """x with the elements along some axes in reverse order.

    Parameters
    ----------
    x : Tensor or array
    axis : int or tuple of int, optional
        Which axes; all of them when it is None. Free extents are fine.

    Raises
    ------
    ShapeError
        When an axis does not exist.

    Examples
    --------
    >>> import graphc as gc
    >>> gc.flip(gc.input("X", ("n", 3)), axis=1).shape
    ('n', 3)
    """
    node = as_node(x, "flip")
    axes = normal_axes(node, axis, "gc.flip")
    at = [size(e) - 1 - index(t) if t in axes else index(t) for t, e in enumerate(node.shape)]
    return Tensor(views.view(node, node.shape, at))


def broadcast_to(x: Any, shape: Sequence[Extent] | Extent) -> Tensor:
    """x repeated along new axes and along axes of extent 1.

    Parameters
    ----------
    x : Tensor, number or array
    shape : tuple of int and str
        Of the result; its last axes are those of `x`.

    Raises
    ------
    ShapeError
        When an extent of `x` is neither 1 nor that of the result.

    Examples
    --------
    >>> import graphc as gc
    >>> gc.broadcast_to(gc.param("b", (3,)), ("n", 3)).shape
    ('n', 3)
    """
    node, wanted = as_node(x, "broadcast_to"), check_shape(shape, "gc.broadcast_to")
    own = wanted[len(wanted) - node.rank :]
    if node.rank > len(wanted) or any(a not in (1, b) for a, b in zip(node.shape, own)):
        message = f"broadcast_to: {node_text(node)} does not broadcast to {shape_text(wanted)}"
        fail(ShapeError, message, "from the last axis on, extents are equal or that of the tensor is 1.")
    return Tensor(spread(node, wanted))


def spread(node: Node, shape: Sequence[Extent]) -> Node:
    """out[.., i..] = node[i..] where the extents of node are those of the last axes, or 1."""
    return views.view(node, shape, broadcast_maps(node.shape, len(shape)))


def full_like(x: Any, fill_value: Any) -> Tensor:
    """A tensor of the shape of x that is the same everywhere.

    Parameters
    ----------
    x : Tensor or array
        Whose shape is taken.
    fill_value : number, Tensor or array
        What stands everywhere; of a shape that broadcasts to that of `x`.

    Raises
    ------
    ShapeError
        When `fill_value` does not broadcast.

    Examples
    --------
    >>> import graphc as gc
    >>> gc.full_like(gc.input("X", ("n", 3)), 0.5).shape
    ('n', 3)
    """
    value, shape = as_node(fill_value, "full_like"), as_node(x, "full_like").shape
    if value.rank == 0:
        return Tensor(stamp(spread(value, shape)))
    return broadcast_to(Tensor(value), shape)


def zeros_like(x: Any) -> Tensor:
    """Zeros in the shape of x.

    Parameters
    ----------
    x : Tensor or array

    Examples
    --------
    >>> import graphc as gc
    >>> gc.zeros_like(gc.input("X", ("n", 3))).shape
    ('n', 3)
    """
    return full_like(x, 0)


def ones_like(x: Any) -> Tensor:
    """Ones in the shape of x; over a free extent their sum is the number of rows at run time.

    Parameters
    ----------
    x : Tensor or array

    Examples
    --------
    >>> import graphc as gc
    >>> gc.sum(gc.ones_like(gc.input("X", ("n", 3)))).shape
    ()
    """
    return full_like(x, 1)


def meshgrid(*xs: Any, indexing: str = "xy") -> list[Tensor]:
    """The coordinates of a grid: each vector along an axis of its own, repeated along those of the others.

    Parameters
    ----------
    *xs : Tensors, arrays or numbers
        The places along each axis; their extents may be free.
    indexing : str
        ``"xy"`` puts the first vector along the second axis, as pictures have it; ``"ij"`` along the first.

    Raises
    ------
    ShapeError
        When one of them has more than one axis.
    TypeMismatchError
        When `indexing` is something else.

    Examples
    --------
    >>> import graphc as gc
    >>> u, v = gc.meshgrid(gc.input("U", ("n",)), gc.input("V", (3,)), indexing="ij")
    >>> v.shape
    ('n', 3)
    """
    if indexing not in ("xy", "ij"):
        fail(TypeMismatchError, f"meshgrid: the indexing is {indexing!r}", 'it is "xy" or "ij".')
    nodes = [as_node(x, "meshgrid") for x in xs]
    for node in nodes:
        if node.rank > 1:
            fail(ShapeError, f"meshgrid: {node_text(node)} has {node.rank} axes", "give vectors, one for each axis.")
    places = list(range(len(nodes)))
    if indexing == "xy" and len(nodes) > 1:
        places[:2] = [1, 0]
    shape: list[Extent] = [1] * len(nodes)
    for node, t in zip(nodes, places):
        shape[t] = node.shape[0] if node.rank else 1
    return [Tensor(views.view(n, shape, [index(t)] * n.rank)) for n, t in zip(nodes, places)]


def vstack(xs: Sequence[Any]) -> Tensor:
    """Matrices one below the other, vectors as rows.

    Parameters
    ----------
    xs : sequence of Tensors or arrays

    Raises
    ------
    ShapeError
        When the shapes do not agree, or a first axis has a free extent.

    Examples
    --------
    >>> import graphc as gc
    >>> gc.vstack([gc.param("a", (3,)), gc.param("B", (2, 3))]).shape
    (3, 3)
    """
    rows = [views.subscript(n, (None,) * (2 - n.rank)) for n in nodes_of(xs, "vstack")]
    return Tensor(views.concatenate(rows, 0, "vstack"))


def hstack(xs: Sequence[Any]) -> Tensor:
    """Tensors side by side: joined along the second axis, vectors along their only one.

    Parameters
    ----------
    xs : sequence of Tensors or arrays

    Raises
    ------
    ShapeError
        When the shapes do not agree, or the joined axis has a free extent.

    Examples
    --------
    >>> import graphc as gc
    >>> gc.hstack([gc.input("X", ("n", 2)), gc.input("U", ("n", 3))]).shape
    ('n', 5)
    """
    parts = [views.subscript(n, (None,) * (1 - n.rank)) for n in nodes_of(xs, "hstack")]
    return Tensor(views.concatenate(parts, min(1, parts[0].rank - 1), "hstack"))


def split(x: Any, indices_or_sections: Any, axis: int = 0) -> list[Tensor]:
    """x in parts along an axis of known extent.

    Parameters
    ----------
    x : Tensor or array
        With at least one axis.
    indices_or_sections : int or sequence of int
        How many equal parts; or the places where the parts after the first one begin.
    axis : int
        Which axis is cut.

    Raises
    ------
    ShapeError
        When the axis has a free extent, equal parts do not exist, or a part is empty.

    Examples
    --------
    >>> import graphc as gc
    >>> [part.shape for part in gc.split(gc.input("X", ("n", 6)), 3, axis=1)]
    [('n', 2), ('n', 2), ('n', 2)]
    """
    node = as_node(x, "split")
    t = one_axis(node, axis, "gc.split")
    extent = node.shape[t]
    if isinstance(extent, str):
        message = f"split: axis {t} of {node_text(node)} has the free extent {extent}"
        fail(ShapeError, message, "tensors are cut along an axis of known extent.")
    places = _places(node, t, extent, indices_or_sections)
    ends = zip([0, *places], [*places, extent])
    return [Tensor(views.subscript(node, (slice(None),) * t + (slice(a, b),))) for a, b in ends]


def _places(node: Node, t: int, extent: int, where: Any) -> list[int]:
    """Where the parts after the first one begin."""
    if not isinstance(where, Integral):
        return [int(p) for p in where]
    if where < 1 or extent % where:
        message = f"split: axis {t} of {node_text(node)} has {extent} elements, which are not {where} equal parts"
        fail(ShapeError, message, "give a divisor, or the places where the parts begin.")
    return list(range(extent // int(where), extent, extent // int(where)))
