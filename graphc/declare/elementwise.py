"""One scalar operation on tensors and numbers, element by element: one equation."""

from __future__ import annotations

from collections.abc import Sequence

import sympy

from graphc.declare.broadcasting import broadcast_read, broadcast_shape
from graphc.declare.expression import Op
from graphc.declare.names import shape_text
from graphc.declare.origin import fail, stamp
from graphc.errors import DomainError
from graphc.ir.build import equation
from graphc.ir.node import Node
from graphc.ir.scalar import is_complex, placeholder

_UNDEFINED = (sympy.zoo, sympy.nan, sympy.oo, -sympy.oo)


def apply(op: Op, args: Sequence[Node | sympy.Expr]) -> Node:
    """out[i..] = op(args[i..]..), numbers standing in the body as they are."""
    nodes = [a for a in args if isinstance(a, Node)]
    shape = broadcast_shape(nodes, lambda: op.text.format(*[_short(a) for a in args]))
    body = build_body(op, [a if not isinstance(a, Node) else None for a in args])
    return stamp(equation(shape, len(shape), "sum", body, [broadcast_read(n, shape) for n in nodes]), nodes)


def _short(arg: Node | sympy.Expr) -> str:
    if not isinstance(arg, Node):
        return str(arg)
    return arg.name or shape_text(arg.shape)


def build_body(op: Op, args: Sequence[sympy.Expr | None]) -> sympy.Expr:
    """The body of op, with a placeholder for every argument that is None.

    Raises
    ------
    DomainError
        When a number in it leaves the domain, such as a division by 0.
    """
    free = iter(range(len(args)))
    filled = [placeholder(next(free)) if a is None else a for a in args]
    return checked(op, filled)


def checked(op: Op, args: Sequence[sympy.Expr]) -> sympy.Expr:
    """op of expressions, which must stay finite and real."""
    body = op(*args)
    if body.has(*_UNDEFINED) or is_complex(body):
        shown = op.text.format(*("x" if a.free_symbols else a for a in args))
        fail(DomainError, f"{shown} is not finite and real", "change the constant.")
    return body
