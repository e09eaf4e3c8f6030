"""The two parts of a logsumexp: ``log sum_k exp u = top + log sum_k exp(u - top)`` with ``top = max_k u``.

They are stored apart, because their sum would have lost digits before ``z - logsumexp(z)`` is formed.  Each part is a
node with a buffer of its own, and whoever reads the logsumexp reads both, as :class:`of_parts`.  Matrix products and
whatever is wanted outside the program read the sum, which then has a buffer of its own too.
"""

from __future__ import annotations

from collections.abc import Mapping

import sympy

from graphc.ir.affine import identity
from graphc.ir.node import Equation, Node, Operand, Read
from graphc.ir.scalar import placeholder
from graphc.records import record


class of_parts(sympy.Function):
    """top + log, an argument of sums that is added last: first the difference of large numbers, where it is exact."""

    is_real = True
    nargs = 2


@record(frozen=True)
class Parts:
    """top[i] = max_k u[i, k], or 0 where that is not finite;  log[i] = log sum_k exp(u[i, k] - top[i])."""

    top: Equation
    log: Equation


def has_parts(node: Node) -> bool:
    """True for a logsumexp of more than one value."""
    return isinstance(node, Equation) and node.reducer == "logsumexp" and any(e != 1 for e in node.bound)


def parts_of(y: Equation) -> Parts:
    """The two parts of a logsumexp."""
    top = Equation(y.extents, y.n_free, "max", y.body, y.operands, y.masks)
    operands = (*y.operands, Read(top, identity(y.n_free)))
    body = y.body - placeholder(len(y.operands))
    return Parts(top, Equation(y.extents, y.n_free, "logsumexp", body, operands, y.masks))


def reading_parts(y: Equation, parts: Mapping[Node, Parts]) -> Equation:
    """The equation with both parts in place of every logsumexp it reads; y itself where it reads none."""
    operands: list[Operand] = list(y.operands)
    both = {}
    for j, op in enumerate(y.operands):
        if isinstance(op, Read) and op.node in parts:
            operands[j] = Read(parts[op.node].top, op.at)
            operands.append(Read(parts[op.node].log, op.at))
            both[placeholder(j)] = of_parts(placeholder(j), placeholder(len(operands) - 1))
    if not both:
        return y
    return Equation(y.extents, y.n_free, y.reducer, y.body.xreplace(both), tuple(operands), y.masks)
