"""The same elements in another arrangement."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from graphc.declare import views
from graphc.declare.names import check_shape, shape_text
from graphc.declare.origin import fail
from graphc.declare.reducing import one_axis
from graphc.declare.tensor import Tensor, as_node
from graphc.errors import ShapeError, TypeMismatchError
from graphc.ir.affine import Extent, index
from graphc.ir.node import Node


def reshape(x: Any, shape: Sequence[Extent] | Extent) -> Tensor:
    """The elements of x in row-major order, in another shape.

    Parameters
    ----------
    x : Tensor or array
    shape : tuple of int and str
        At most one extent is -1 and follows from the others; a free extent stays the first axis.

    Raises
    ------
    ShapeError
        When the numbers of elements differ, or a free extent would move.

    Examples
    --------
    >>> import graphc as gc
    >>> X = gc.input("X", ("n", 28, 28))
    >>> gc.reshape(X, ("n", -1)).shape
    ('n', 784)
    >>> gc.reshape(X, (-1, 784)).shape
    ('n', 784)
    """
    entries = [shape] if isinstance(shape, int | str) else list(shape)
    check_shape([e for e in entries if e != -1], "gc.reshape")
    return Tensor(views.reshape(as_node(x, "reshape"), entries))


def transpose(x: Any, axes: Sequence[int] | None = None) -> Tensor:
    """x with its axes in another order, reversed by default.

    Parameters
    ----------
    x : Tensor or array
    axes : sequence of int, optional
        Axis t of the result is axis ``axes[t]`` of `x`.

    Raises
    ------
    ShapeError
        When `axes` does not name each axis once.

    Examples
    --------
    >>> import graphc as gc
    >>> gc.transpose(gc.input("X", ("n", 3, 4)), (0, 2, 1)).shape
    ('n', 4, 3)
    """
    node = as_node(x, "transpose")
    order = range(node.rank)[::-1] if axes is None else [a + node.rank if a < 0 else a for a in axes]
    return Tensor(views.transpose(node, order))


def concatenate(xs: Iterable[Any], axis: int = 0) -> Tensor:
    """Tensors joined along an axis of known extent.

    Parameters
    ----------
    xs : sequence of Tensors or arrays
        Of equal shapes, the joined axis apart.
    axis : int

    Raises
    ------
    ShapeError
        When the shapes do not agree or the joined axis has a free extent.

    Examples
    --------
    >>> import graphc as gc
    >>> X = gc.input("X", ("n", 2)); U = gc.input("U", ("n", 3))
    >>> gc.concatenate([X, U], axis=1).shape
    ('n', 5)
    """
    nodes = nodes_of(xs, "concatenate")
    if nodes[0].rank == 0:
        fail(ShapeError, "concatenate: scalars have no axis to join", "use gc.stack.")
    return Tensor(views.concatenate(nodes, one_axis(nodes[0], axis, "gc.concatenate")))


def stack(xs: Iterable[Any], axis: int = 0) -> Tensor:
    """Tensors of one shape joined along a new axis.

    Parameters
    ----------
    xs : sequence of Tensors and arrays
        At least one.
    axis : int
        Where the new axis stands in the result.

    Raises
    ------
    ShapeError
        When the shapes differ.

    Examples
    --------
    >>> import graphc as gc
    >>> gc.stack([gc.input("X", ("n",)), gc.input("U", ("n",))], axis=1).shape
    ('n', 2)
    """
    nodes = nodes_of(xs, "stack")
    for node in nodes[1:]:
        if node.shape != nodes[0].shape:
            shapes = f"{shape_text(nodes[0].shape)} and {shape_text(node.shape)}"
            fail(ShapeError, f"stack: the shapes {shapes} differ", "stacked tensors have one shape.")
    rank = nodes[0].rank + 1
    place = axis + rank if axis < 0 else axis
    if not 0 <= place < rank:
        fail(ShapeError, f"stack: axis {axis} does not exist", f"the axes of the result are 0 to {rank - 1}.")
    return Tensor(views.concatenate([_with_axis(n, place) for n in nodes], place))


def _with_axis(node: Node, place: int) -> Node:
    shape = [*node.shape[:place], 1, *node.shape[place:]]
    return views.view(node, shape, [index(t) for t in range(len(shape)) if t != place])


def nodes_of(xs: Iterable[Any], what: str) -> list[Node]:
    """The nodes of the parts that are joined, at least one."""
    if isinstance(xs, Tensor):
        fail(TypeMismatchError, f"{what}: the parts are one Tensor", "give a list of Tensors.")
    nodes = [as_node(x, what) for x in xs]
    if not nodes:
        fail(ShapeError, f"{what}: there are no parts", "give at least one Tensor.")
    return nodes
