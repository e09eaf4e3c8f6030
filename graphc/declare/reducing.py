"""Reductions of whole axes: which axes are meant, and the equation."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Integral
from typing import Any

import sympy

from graphc.declare.computed_places import note_places
from graphc.declare.names import node_text
from graphc.declare.origin import fail, stamp
from graphc.declare.views import view
from graphc.errors import ShapeError, TypeMismatchError
from graphc.ir.affine import Affine, index
from graphc.ir.build import equation
from graphc.ir.node import Mask, Node, Operand, Position, Read, Reducer, extent_symbol
from graphc.ir.scalar import equal, maximum, placeholder, where


def normal_axes(node: Node, axis: Any, what: str) -> tuple[int, ...]:
    """The axes meant by ``axis=None | int | tuple``, ascending and counted from 0.

    Raises
    ------
    ShapeError
        When an axis does not exist or is named twice.
    """
    if axis is None:
        return tuple(range(node.rank))
    axes = tuple(axis) if isinstance(axis, tuple | list) else (axis,)
    if not all(isinstance(a, Integral) and not isinstance(a, bool) for a in axes):
        hint = "axis is a whole number, a tuple of them, or None for all; over= is for indexed expressions."
        fail(TypeMismatchError, f"{what}: the axis is {axis!r}", hint)
    found = [int(a) + node.rank if a < 0 else int(a) for a in axes]
    if any(not 0 <= a < node.rank for a in found):
        hint = f"its axes are 0 to {node.rank - 1}." if node.rank else "it has no axes at all."
        fail(ShapeError, f"{what}: axis {axis} does not exist in {node_text(node)}", hint)
    if len(set(found)) < len(found):
        fail(ShapeError, f"{what}: an axis is named twice in {axis}", "name each axis once.")
    return tuple(sorted(found))


def one_axis(node: Node, axis: Any, what: str) -> int:
    """The one axis meant by ``axis=``, counted from 0.

    Raises
    ------
    ShapeError
        When it does not exist.
    TypeMismatchError
        When it is no whole number.
    """
    axes = normal_axes(node, axis, what)
    if len(axes) != 1:
        fail(TypeMismatchError, f"{what}: the axis is {axis!r}", "give one whole number.")
    return axes[0]


def reduce_axes(
    node: Node, reducer: Reducer, axes: Sequence[int], mean: bool = False, ddof: sympy.Expr = sympy.S.Zero
) -> Node:
    """out[kept..] = reduce_{axes} node[..], divided by the number of elements less ddof for a mean."""
    kept = [t for t in range(node.rank) if t not in axes]
    order = [*kept, *axes]
    extents = [node.shape[t] for t in order]
    at = tuple(index(order.index(t)) for t in range(node.rank))
    body: sympy.Expr = placeholder(0)
    if mean:
        body = body / _left(sympy.Mul(*[extent_symbol(node.shape[t]) for t in axes]), ddof)
    return stamp(equation(extents, len(kept), reducer, body, [Read(node, at)]), [node])


def _left(count: sympy.Expr, ddof: sympy.Expr) -> sympy.Expr:
    """The number of elements less ddof, as in NumPy never below 0: with fewer rows the mean is infinite or NaN."""
    return count - ddof if count.is_number or ddof <= 1 else maximum(count - ddof, sympy.S.Zero)


def keep_axes(node: Node, reduced: Node, axes: Sequence[int]) -> Node:
    """The result of a reduction with an extent of 1 in place of every reduced axis."""
    shape = [1 if t in axes else e for t, e in enumerate(node.shape)]
    return view(reduced, shape, [index(t) for t in range(node.rank) if t not in axes])


def arg_axis(node: Node, axis: int, reducer: Reducer) -> Node:
    """out[i..] = min_k (k where x[i.., k] is the largest (or smallest) or NaN, else the extent): the first of them."""
    top = reduce_axes(node, reducer, (axis,))
    kept = [t for t in range(node.rank) if t != axis]
    order = [*kept, axis]
    at = tuple(index(order.index(t)) for t in range(node.rank))
    k = index(len(kept))
    operands: list[Operand] = [Read(node, at), Read(top, tuple(index(t) for t in range(len(kept)))), Position(k)]
    extent = extent_symbol(node.shape[axis])
    number = equal(placeholder(0), placeholder(0))
    body = where(equal(placeholder(0), placeholder(1)), placeholder(2), where(number, extent, placeholder(2)))
    found = stamp(equation([node.shape[t] for t in order], len(kept), "min", body, operands), [node])
    return note_places(found, node.shape[axis])


def running(node: Node, axis: int, reducer: Reducer) -> Node:
    """out[.., i, ..] = reduce_{k <= i} node[.., k, ..]."""
    n = node.rank
    at: list[Affine] = [index(t) for t in range(n)]
    at[axis] = index(n)
    mask = [Mask("ge", index(axis) - index(n))]
    extents = (*node.shape, node.shape[axis])
    return stamp(equation(extents, n, reducer, placeholder(0), [Read(node, tuple(at))], mask), [node])
