"""Derivatives row by row: J[n, .., p] = dr[n, ..]/dw[p] for rows that are independent of one another.

Every row gets parameters of its own, w[p] read as E[n, p]; the cotangent of E, with 1 for every row of r, then holds
the rows of the Jacobian side by side, and costs what one gradient costs. A Jacobian by one-hot cotangents would carry a
second index of rows through the network.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import sympy

from graphc.derive.gradient import adjoints
from graphc.ir.affine import identity, index, substitute
from graphc.ir.build import constant_node, equation
from graphc.ir.contract import map_mask, map_operand
from graphc.ir.node import Equation, Leaf, Mask, Node, Operand, Read
from graphc.ir.scalar import placeholder
from graphc.ir.scan import Unrolled
from graphc.ir.walk import rebuild, replace_operand, sources, topological


class RowsMeetError(Exception):
    """Some node on the way reads other rows than its own; ``node`` is that node."""

    def __init__(self, node: Node) -> None:
        super().__init__(f"{node!r} reads other rows than its own")
        self.node = node


def row_jacobians(r: Node, wrt: Sequence[Leaf], rows: str) -> list[Node]:
    """For r[n, i..], n running over the rows: out[i.., n, p..] = dr[n, i..]/dw[p..] for every w.

    Raises
    ------
    RowsMeetError
        When a row of r depends on other rows of what depends on w.
    """
    own = {w: Leaf(str(w.name), (rows, *w.shape), "input") for w in wrt}
    lifted = with_own_rows(r, own, rows)
    lead, n = r.shape[1:], r.rank - 1
    one_hot = [Mask("eq", index(t) - index(n + 1 + t)) for t in range(n)]
    extents = (*lead, *r.shape)
    seed = equation(extents, len(extents), "sum", sympy.Integer(1), [], one_hot)
    bars = adjoints(lifted, [*own.values()], seed, lead)
    found = [bars.get(e) or constant_node(0, (*lead, *e.shape)) for e in own.values()]
    return _shared_again(found, {e: w for w, e in own.items()})


def with_own_rows(r: Node, own: Mapping[Leaf, Leaf], rows: str) -> Node:
    """r with E[n, p] for w[p] in row n."""
    new: dict[Node, Node] = {**own}
    for node in topological([r]):
        if isinstance(node, Unrolled) and any(s in new for s in sources(node)):
            raise RowsMeetError(node)
        if isinstance(node, Equation) and any(s in new for s in sources(node)):
            new[node] = _lifted(node, new, rows)
    return new.get(r, r)


def _lifted(y: Equation, new: Mapping[Node, Node], rows: str) -> Node:
    has_rows = y.shape[:1] == (rows,)
    moved = 0 if has_rows else 1
    if rows in y.shape[1:] or y.shape.count(rows) > 1:
        raise RowsMeetError(y)
    shift = lambda a: substitute(a, lambda i: index(i + moved))
    operands: list[Operand] = []
    for op in y.operands:
        there = map_operand(op, shift)
        if isinstance(op, Read) and isinstance(there, Read) and op.node in new:
            if op.node.shape[:1] == (rows,):
                if not has_rows or there.at[0] != index(0):
                    raise RowsMeetError(y)
                there = Read(new[op.node], there.at)
            else:
                there = Read(new[op.node], (index(0), *there.at))
        operands.append(there)
    masks = [map_mask(m, shift) for m in y.masks]
    extents = y.extents if has_rows else (rows, *y.extents)
    return equation(extents, y.n_free + moved, y.reducer, y.body, operands, masks)


def _shared_again(roots: Sequence[Node], back: Mapping[Node, Leaf]) -> list[Node]:
    """The roots with w[p] for E[n, p]."""
    new: dict[Node, Node] = {}
    for node in topological(roots):
        if isinstance(node, Equation):
            operands: list[Operand] = []
            for op in node.operands:
                if isinstance(op, Read) and op.node in back:
                    operands.append(Read(back[op.node], op.at[1:]))
                else:
                    operands.append(replace_operand(op, new))
            new[node] = rebuild(node, operands)
        elif node in back:  # a root that is E itself
            w = back[node]
            at = tuple(index(t + 1) for t in range(w.rank))
            new[node] = equation(node.shape, node.rank, "sum", placeholder(0), [Read(w, at)], [])
        else:
            new[node] = node
    return [new[r] for r in roots]


def check_rows_apart(y: Node, x: Node, rows: str) -> None:
    """Refuse a y whose rows depend on other rows of x.

    Raises
    ------
    RowsMeetError
        Naming the node in which they meet.
    """
    active: set[Node] = {x}
    for node in topological([y]):
        if isinstance(node, Leaf) or not any(s in active for s in sources(node)):
            continue
        if not isinstance(node, Equation):
            raise RowsMeetError(node)
        active.add(node)
        if node.shape[:1] != (rows,) or rows in node.shape[1:]:
            raise RowsMeetError(node)
        if any(op.node in active and op.at[:1] != identity(1) for op in node.reads):
            raise RowsMeetError(node)
