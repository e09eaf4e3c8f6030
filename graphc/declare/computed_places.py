"""Places that words compute (argmax, argsort, top_k): whole numbers below an extent, so that they may be an index."""

from __future__ import annotations

from collections.abc import Sequence
from weakref import WeakKeyDictionary

import sympy

from graphc.declare.origin import stamp
from graphc.ir.affine import Affine, Extent, index
from graphc.ir.build import equation, is_view
from graphc.ir.node import Equation, Node, Operand, Position, Read
from graphc.ir.scalar import equal, placeholder, stop_gradient, where

_below: WeakKeyDictionary[Node, Extent] = WeakKeyDictionary()


def note_places(node: Node, extent: Extent) -> Node:
    """The node, remembered to hold nothing but whole numbers from 0 to the extent less 1, whatever it reads."""
    _below[node] = extent
    return node


def extent_of_places(node: Node) -> Extent | None:
    """Below which extent the places stay that a node holds; None for all that holds something else."""
    while node not in _below and isinstance(node, Equation) and is_view(node) and node.reads and not node.masks:
        node = node.reads[0].node
    return _below.get(node)


def at_places(
    node: Node, shape: Sequence[Extent], at: Sequence[Affine], places: Sequence[tuple[Read, Extent]]
) -> Node:
    """out[i..] = Σ_k where([p(i..) = k], node[at(i.., k)], 0) with a k for each of the computed places p.

    An index map cannot read what is computed, so that all of the axis is read, as one-hot vectors would.
    """
    operands: list[Operand] = [Read(node, tuple(at))]
    body: sympy.Expr = placeholder(0)
    for read, _ in places:
        j = len(operands)
        operands += [read, Position(index(len(shape) + (j - 1) // 2))]
        body = where(equal(stop_gradient(placeholder(j)), placeholder(j + 1)), body, sympy.S.Zero)
    extents = (*shape, *(extent for _, extent in places))
    return stamp(equation(extents, len(shape), "sum", body, operands), [node])
