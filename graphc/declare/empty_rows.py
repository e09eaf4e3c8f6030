"""Rows of which a mask leaves nothing: their softmax is 0, their logsumexp −∞, and no gradient passes.

``exp(x - logsumexp(x))`` of a row of −∞ would be NaN.  What may be −∞ is known before there are data: a constant holds
it, and ``+``, ``*`` and ``where`` lead it on.  Where every row keeps an element, nothing is added to the equations.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import sympy

from graphc.declare import pointwise
from graphc.declare.broadcasting import broadcast_read
from graphc.declare.origin import stamp
from graphc.declare.reducing import keep_axes, normal_axes, reduce_axes
from graphc.declare.tensor import Tensor, as_node
from graphc.ir.affine import Extent, affine
from graphc.ir.build import elementwise, equation
from graphc.ir.node import Equation, Indicator, Leaf, Mask, Node, Operand, Read
from graphc.ir.scalar import placeholder, placeholder_index, where


def masked(what: str, x: Tensor, axis: Any, mask: Any) -> tuple[Tensor, Tensor | None]:
    """What is left of the elements where a mask is not 0, and where something is.

    The first is −∞ where the mask is 0. In rows along `axis` of which nothing is more than −∞ its first element is 0,
    so that their logsumexp is a number, and what a mask on the indices hides is −∞ there, too. The second is 1 in the
    other rows, their axes with extent 1; it is None when nothing is known to be missing.
    """
    z = x if mask is True else pointwise.where(mask, x, -np.inf)
    axes = normal_axes(z.node, axis, what)
    alone = mask is not True and not np.isneginf(_lowest(x.node)).any()
    some = _some_left(z.node, axes, as_node(mask, "where") if alone else None)
    return (z, None) if some is None else (_first_left(some.node, z.node, axes), some)


def _first_left(some: Node, z: Node, axes: Sequence[int]) -> Tensor:
    """z where some of a row is left; else 0 at the first place along the axes, −∞ at the others."""
    kept, value, first, infinite = map(placeholder, range(4))
    infinity = as_node(-np.inf, "where")
    place = Indicator(Mask("eq", affine(0, dict.fromkeys(axes, 1))))
    operands = [broadcast_read(some, z.shape), broadcast_read(z, z.shape), place, broadcast_read(infinity, z.shape)]
    body = where(kept, value, where(first, sympy.S.Zero, infinite))
    return Tensor(stamp(equation(z.shape, z.rank, "sum", body, operands), [some, z]))


def _some_left(z: Node, axes: Sequence[int], mask: Node | None) -> Tensor | None:
    """1 where an element along the axes is more than −∞; with a mask, z is known to be −∞ outside of it alone."""
    low = _lowest(z)
    if not np.isneginf(low.max(axis=tuple(axes))).any():
        return None
    if mask is None:
        top = Tensor(keep_axes(z, reduce_axes(z, "max", axes), axes))
        return pointwise.stop_gradient(pointwise.less(-np.inf, top))
    kept = [t - z.rank + mask.rank for t in axes if t >= z.rank - mask.rank]
    chosen = elementwise(where(placeholder(0), sympy.S.One, sympy.S.Zero), [mask])
    return Tensor(stamp(keep_axes(mask, reduce_axes(chosen, "max", kept), kept)))


def _lowest(node: Node) -> np.ndarray:
    """−∞ where an element may be −∞ because a constant is, else 0; an axis of free extent counts as one of extent 1."""
    shape = tuple(e if isinstance(e, int) else 1 for e in node.shape)
    if isinstance(node, Leaf):
        infinite = np.isinf(node.value) if node.kind == "constant" else False
        return np.broadcast_to(np.where(infinite, -np.inf, 0.0), shape)
    if not isinstance(node, Equation) or not node.elementwise:
        return np.zeros(shape)
    return np.broadcast_to(_of_body(node.body, node), shape)


def _of_body(body: sympy.Expr, y: Equation) -> np.ndarray:
    j = placeholder_index(body)
    if j is not None:
        operand = y.operands[j]
        return _read(operand, y.extents) if isinstance(operand, Read) else np.zeros(())
    if isinstance(body, where):
        return _of_choice(body, y)
    if body.is_Add or body.is_Mul:
        return _least([_of_body(part, y) for part in body.args])
    return np.zeros(())


def _read(read: Read, extents: Sequence[Extent]) -> np.ndarray:
    low = _lowest(read.node)
    spread = _spread(low, read, extents)
    return np.full((), low.min()) if spread is None else spread


def _of_choice(body: sympy.Expr, y: Equation) -> np.ndarray:
    """Of where(c, a, b): which branch is taken may be known of c, a constant or a condition on the indices."""
    condition, a, b = body.args
    low, high = _of_body(a, y), _of_body(b, y)
    j = placeholder_index(condition)
    chosen = _known(y.operands[j], y.extents) if j is not None else None
    return _least([low, high]) if chosen is None else np.where(chosen, low, high)


def _least(parts: Sequence[np.ndarray]) -> np.ndarray:
    found = np.zeros(())
    for part in parts:
        found = np.minimum(found, part)
    return found


def _known(operand: Operand, extents: Sequence[Extent]) -> np.ndarray | None:
    """The value of a condition for every element, where it is known."""
    if isinstance(operand, Indicator):
        return _of_indices(operand, extents)
    if not isinstance(operand, Read):
        return None
    node, value = operand.node, None
    if isinstance(node, Leaf) and node.kind == "constant":
        value = np.asarray(node.value) != 0
    elif isinstance(node, Equation) and node.elementwise and not node.masks and node.body == placeholder(0):
        value = _known(node.operands[0], node.extents)
    return None if value is None else _spread(value, operand, extents)


def _of_indices(operand: Indicator, extents: Sequence[Extent]) -> np.ndarray | None:
    """[map >= 0] and [map = 0] for whole numbers times indices of known extent."""
    mask = operand.mask
    if mask.kind == "divides":
        return None
    value = np.full((1,) * len(extents), mask.map.const)
    for i, coef in mask.map.terms:
        extent = extents[i] if isinstance(i, int) else None
        if not isinstance(extent, int):
            return None
        value = value + coef * np.arange(extent).reshape([-1 if t == i else 1 for t in range(len(extents))])
    return {"ge": value >= 0, "eq": value == 0, "ne": value != 0}[mask.kind]


def _spread(value: np.ndarray, read: Read, extents: Sequence[Extent]) -> np.ndarray | None:
    """What a read of a value gives for every element; None where it is read otherwise than along some axes."""
    shape = [e if isinstance(e, int) else 1 for e in read.node.shape]
    places = [(a.plain_index, t) for t, a in enumerate(read.at) if shape[t] != 1 or a.plain_index is not None]
    if len({i for i, _ in places}) < len(places):
        return None
    if any(i is None or read.node.shape[t] != extents[i] for i, t in places):
        return None
    order = [t for _, t in sorted((i or 0, t) for i, t in places)]
    lined = np.broadcast_to(value, shape).transpose([*order, *(t for t in range(len(shape)) if t not in order)])
    sizes = {i: shape[t] for i, t in places}
    return lined.reshape([sizes.get(i, 1) for i in range(len(extents))])
