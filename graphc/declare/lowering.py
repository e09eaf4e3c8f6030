"""Indexed expressions to equations: outside reductions one operation is one node, as the operators of Tensor make it;
the body of a reduction is the whole product under it.
"""

from __future__ import annotations

from collections.abc import Sequence

import sympy

from graphc.declare.elementwise import checked
from graphc.declare.expression import DIV, MUL, NEG
from graphc.declare.index_ast import (
    Access,
    Apply,
    Index,
    Indexed,
    Iverson,
    Place,
    Reduce,
    free_indices,
    reductions,
)
from graphc.declare.origin import fail, stamp
from graphc.declare.ranges import Ranges, find_ranges, to_affine
from graphc.errors import IndexNotationError
from graphc.ir.affine import index
from graphc.ir.build import constant_node, equation
from graphc.ir.node import Indicator, Mask, Node, Operand, Position, Read, extent_symbol
from graphc.ir.scalar import placeholder

_PRODUCTS = (MUL, DIV, NEG)


def lower(expr: Indexed | sympy.Expr, left: Sequence[Index]) -> Node:
    """The node out[left..] = expr.

    Raises
    ------
    IndexNotationError
        When an index is neither on the left nor summed, or has no range.
    """
    stray = [i for i in free_indices(expr) if i not in left]
    if stray:
        names = ", ".join(i.name for i in left)
        message = f"index {stray[0]} is neither on the left [{names}] nor summed"
        fail(IndexNotationError, message, f"add it to the left, or write gc.sum(..., over={stray[0]}).")
    bound = [i for r in reductions(expr) for i in r.over]
    order = [*left, *bound]
    run = _Lowering(find_ranges(expr, order), order)
    return run.result(expr, list(left))


class _Lowering:
    """Lowers one definition; ``order`` ranks its indices, those on the left first."""

    def __init__(self, ranges: Ranges, order: Sequence[Index]) -> None:
        self.ranges = ranges
        self.rank = {i: t for t, i in enumerate(order)}

    def result(self, expr: Indexed | sympy.Expr, left: list[Index]) -> Node:
        shape = [self.ranges[i] for i in left]
        if not isinstance(expr, Indexed):
            return stamp(constant_node(expr, shape))
        if isinstance(expr, Apply | Reduce) and self.free(expr) == left:
            return self.node(expr)
        operands = [self.operand(expr, left)]
        return stamp(equation(shape, len(left), "sum", placeholder(0), operands), _nodes(operands))

    def free(self, expr: Indexed | sympy.Expr) -> list[Index]:
        return sorted(free_indices(expr), key=self.rank.__getitem__)

    def node(self, expr: Apply | Reduce) -> Node:
        """The equation of an operation or a reduction, its free indices in order of rank."""
        free = self.free(expr)
        scope = [*free, *expr.over] if isinstance(expr, Reduce) else free
        operands: list[Operand] = []
        if isinstance(expr, Reduce):
            body = self.body(expr.arg, scope, operands)
            if expr.mean:
                body = body / sympy.Mul(*[extent_symbol(self.ranges[i]) for i in expr.over])
        else:
            body = checked(expr.op, [self.place(a, scope, operands) for a in expr.args])
        extents = [self.ranges[i] for i in scope]
        reducer = expr.reducer if isinstance(expr, Reduce) else "sum"
        return stamp(equation(extents, len(free), reducer, body, operands), _nodes(operands))

    def body(self, expr: Indexed | sympy.Expr, scope: list[Index], operands: list[Operand]) -> sympy.Expr:
        """The scalar body under a reduction: a product as a whole; its other factors are nodes of their own."""
        if not isinstance(expr, Apply) or expr.op not in _PRODUCTS:
            return self.place(expr, scope, operands)
        return checked(expr.op, [self.body(a, scope, operands) for a in expr.args])

    def place(self, expr: Indexed | sympy.Expr, scope: list[Index], operands: list[Operand]) -> sympy.Expr:
        """A number as it is; the placeholder of an operand otherwise."""
        if not isinstance(expr, Indexed):
            return expr
        operands.append(self.operand(expr, scope))
        return placeholder(len(operands) - 1)

    def operand(self, expr: Indexed, scope: list[Index]) -> Operand:
        place = {i: t for t, i in enumerate(scope)}
        extents = [self.ranges[i] for i in scope]
        if isinstance(expr, Access):
            at = (to_affine(a, place, extents, e) for a, e in zip(expr.at, expr.node.shape))
            return Read(expr.node, tuple(at))
        if isinstance(expr, Iverson):
            return Indicator(Mask(expr.kind, to_affine(expr.map, place, extents)))
        if isinstance(expr, Place):
            return Position(to_affine(expr.map, place, extents))
        assert isinstance(expr, Apply | Reduce)
        return Read(self.node(expr), tuple(index(place[i]) for i in self.free(expr)))


def _nodes(operands: Sequence[Operand]) -> list[Node]:
    return [op.node for op in operands if isinstance(op, Read)]
