"""Sums of nodes, in which zeros are left out."""

from __future__ import annotations

from collections.abc import Sequence

import sympy

from graphc.ir.build import elementwise
from graphc.ir.node import Equation, Node
from graphc.ir.scalar import placeholder


def add_nodes(nodes: Sequence[Node]) -> Node | None:
    """The sum of nodes of one shape; zeros are left out, None when nothing remains."""
    kept = [n for n in nodes if not is_zero(n)]
    if len(kept) < 2:
        return kept[0] if kept else None
    return elementwise(sympy.Add(*[placeholder(i) for i in range(len(kept))]), kept)


def is_zero(node: Node) -> bool:
    """True for the constant 0."""
    return isinstance(node, Equation) and node.body == 0 and node.reducer == "sum"
