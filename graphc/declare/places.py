"""Elements read from, and put at, places along an axis that integer data tell: NumPy's names."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sympy

from graphc.declare.computed_places import at_places
from graphc.declare.index_ast import Indexed
from graphc.declare.names import node_text, shape_text
from graphc.declare.origin import fail, stamp
from graphc.declare.pointwise import where
from graphc.declare.reducing import one_axis
from graphc.declare.shapes import broadcast_to
from graphc.declare.tensor import Tensor, as_node
from graphc.declare.views import gather, labels_leaf, labels_of, place_of, view
from graphc.errors import DomainError, IndexNotationError, ShapeError, TypeMismatchError
from graphc.ir.affine import Affine, Extent, constant, index
from graphc.ir.build import equation
from graphc.ir.node import Mask, Node, Operand, Position, Read, Reducer
from graphc.ir.scalar import equal, maximum, minimum, placeholder
from graphc.ir.scalar import where as choose

_REDUCE: dict[str, tuple[Reducer, Any]] = {
    "sum": ("sum", sympy.Add), "prod": ("prod", sympy.Mul), "max": ("max", maximum), "min": ("min", minimum),
}  # fmt: skip


def take_along_axis(x: Any, indices: Any, axis: int = -1) -> Tensor:
    """out[i, j] = x[indices[i, j], j] along the first axis, and likewise along another.

    Parameters
    ----------
    x : Tensor or array
    indices : Tensor or array of integers
        Of as many axes as `x`; but for `axis` their extents are those of `x` or 1. A Tensor is declared with
        ``dtype="int64"``, or what gc.argmax, argmin, argsort or top_k gives.
    axis : int
        Along which axis the places are.

    Returns
    -------
    Tensor
        As long as `indices` along `axis`.

    Raises
    ------
    ShapeError
        When the axis does not exist, the shapes do not fit, or a constant index is out of range.
    TypeMismatchError
        When `indices` are no integer data.

    Examples
    --------
    >>> import graphc as gc
    >>> label = gc.input("T", ("n",), dtype="int64")
    >>> gc.take_along_axis(gc.input("Z", ("n", 10)), label[:, None], axis=1).shape
    ('n', 1)
    """
    node, t, labels = _read("take_along_axis", x, indices, axis)
    shape: list[Extent] = [labels.shape[s] if s == t or e == 1 else e for s, e in enumerate(node.shape)]
    at = [constant(0) if e == 1 else index(s) for s, e in enumerate(node.shape)]
    computed: list[tuple[Read, Extent]] = []
    at[t] = place_of(labels, _aligned(labels), node.shape[t], len(shape), computed)
    return Tensor(at_places(node, shape, at, computed) if computed else view(node, shape, at))


def put_along_axis(x: Any, indices: Any, values: Any, axis: int = -1, reduce: str | None = None) -> Tensor:
    """A tensor like x in which out[indices[i, j], j] = values[i, j] along the first axis, and likewise along another.

    Parameters
    ----------
    x : Tensor or array
        It stays as it is; where nothing is put, the result has its elements.
    indices : Tensor or array of integers
        Of as many axes as `x`; but for `axis` their extents are those of `x` or 1. A Tensor is declared with
        ``dtype="int64"``.
    values : Tensor, number or array
        Broadcast to the shape of `indices`.
    axis : int
        Along which axis the places are.
    reduce : "sum", "prod", "max", "min" or None
        What becomes of an element of `x` and the values that are put there. None puts the last of them in its stead.

    Raises
    ------
    ShapeError
        When the axis does not exist, the shapes do not fit, or a constant index is out of range.
    TypeMismatchError
        When `indices` are no integer data.
    DomainError
        When `reduce` is another word.

    Examples
    --------
    >>> import graphc as gc
    >>> place = gc.input("p", ("n", 2), dtype="int64")
    >>> gc.put_along_axis(gc.input("X", ("n", 5)), place, 1.0, axis=1, reduce="sum").shape
    ('n', 5)
    """
    if reduce is not None and reduce not in _REDUCE:
        fail(DomainError, f"put_along_axis: reduce is {reduce!r:.40}", 'choose "sum", "prod", "max", "min" or None.')
    node, t, labels = _read("put_along_axis", x, indices, axis)
    if labels_leaf(labels) is None:
        message = f"put_along_axis: the places {node_text(labels)} are computed"
        fail(TypeMismatchError, message, "read at such places, x[p], or multiply by gc.one_hot(p, count).")
    wide = [e if s != t else labels.shape[t] for s, e in enumerate(node.shape)]
    put = _spread(values, wide)
    own = tuple(index(s) for s in range(node.rank))
    if reduce is None:
        return _replaced(node, labels, put, t)
    reducer, join = _REDUCE[reduce]
    met = _met(node, labels, t, reducer, placeholder(0), [_of_values(put, t)])
    body = join(placeholder(0), placeholder(1))
    return Tensor(stamp(equation(node.shape, node.rank, "sum", body, [Read(node, own), Read(met, own)]), [node, put]))


def _spread(values: Any, shape: Sequence[Extent]) -> Node:
    node = as_node(values, "put_along_axis")
    behind = shape[len(shape) - node.rank :]
    if node.rank > len(shape) or any(e not in (1, wanted) for e, wanted in zip(node.shape, behind)):
        message = f"put_along_axis: the values are {node_text(node)} for indices of shape {shape_text(shape)}"
        fail(ShapeError, message, "they are as many, or broadcast to that shape.")
    return broadcast_to(Tensor(node), tuple(shape)).node


def _replaced(node: Node, labels: Node, put: Node, t: int) -> Tensor:
    """The last value that is put at a place; its number is sought first."""
    k = Position(index(node.rank))
    own = tuple(index(s) for s in range(node.rank))
    last = _met(node, labels, t, "max", placeholder(0), [k])
    body = choose(equal(placeholder(1), placeholder(2)), placeholder(0), sympy.S.Zero)
    chosen = _met(node, labels, t, "sum", body, [_of_values(put, t), k, Read(last, own)])
    return where(Tensor(last) >= 0, Tensor(chosen), Tensor(node))


def _met(x: Node, labels: Node, t: int, reducer: Reducer, body: sympy.Expr, operands: Sequence[Operand]) -> Node:
    """out[.., a, ..] = reduce over k, where labels[.., k, ..] = a, of a body."""
    at = list(_aligned(labels))
    at[t] = index(x.rank)
    mask = Mask("eq", gather(labels, tuple(at), x.shape[t]) - index(t))
    return stamp(equation((*x.shape, labels.shape[t]), x.rank, reducer, body, operands, [mask]), [x])


def _of_values(put: Node, t: int) -> Read:
    return Read(put, tuple(index(put.rank if s == t else s) for s in range(put.rank)))


def _aligned(labels: Node) -> tuple[Affine, ...]:
    """Where labels are read: at the indices of the result, those of an extent of 1 at 0."""
    return tuple(constant(0) if e == 1 else index(s) for s, e in enumerate(labels.shape))


def _read(what: str, x: Any, indices: Any, axis: Any) -> tuple[Node, int, Node]:
    for value in (x, indices):
        if isinstance(value, Indexed):
            hint = "between index letters stand reads of integer data such as X[T[i], j]."
            fail(IndexNotationError, f"gc.{what} works on whole axes, and {value!r} is an indexed expression", hint)
    node = as_node(x, what)
    t = one_axis(node, axis, f"gc.{what}")
    labels = labels_of(node, t, indices.node if isinstance(indices, Tensor) else indices)
    fits = labels.rank == node.rank and all(
        s == t or e in (1, node.shape[s]) or node.shape[s] == 1 and what == "take_along_axis"
        for s, e in enumerate(labels.shape)
    )
    if not fits:
        message = f"{what}: the indices have shape {shape_text(labels.shape)} for axis {t} of {node_text(node)}"
        fail(ShapeError, message, "but for that axis they have the extents of the tensor, or 1.")
    return node, t, labels
