"""What whole numbers that select must keep to, and how long free extents must be, read off a graph."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from graphc.ir.affine import Affine, Extent, Gather, Size, gathers
from graphc.ir.node import Equation, Indicator, Leaf, Mask, Node, Read
from graphc.ir.scalar import number, placeholder
from graphc.ir.walk import topological


def label_limits(roots: Iterable[Node]) -> dict[Leaf, set[Extent]]:
    """For integer data that are used as an index: the extents that they select from."""
    limits: dict[Leaf, set[Extent]] = {}
    for node in topological(roots):
        if isinstance(node, Equation):
            for j, read in enumerate(node.operands):
                for a, extent in zip(read.at, read.node.shape, strict=True) if isinstance(read, Read) else ():
                    _limit(a, None if _held_below(a, extent, node, j) else extent, limits)
            for mask in (*node.masks, *(op.mask for op in node.operands if isinstance(op, Indicator))):
                _limit(mask.map, None, limits)
    return limits


def _held_below(a: Affine, extent: Extent, node: Equation, j: int) -> bool:
    """Whether operand j is read only where a mask says that its labels are below the extent: the adjoint of ``s[:4]``
    with s a sum by labels reads where labels are at most 3."""
    if not gathers(a):
        return False
    tests = {placeholder(t): op.mask for t, op in enumerate(node.operands) if isinstance(op, Indicator)}
    if any(_says_below(mask, a, extent) for mask in node.masks):
        return True
    others = (node.body.xreplace({test: number(0)}) for test, mask in tests.items() if _says_below(mask, a, extent))
    return any(placeholder(j) not in other.free_symbols for other in others)


def _says_below(mask: Mask, a: Affine, extent: Extent) -> bool:
    """Whether a mask is limit - a >= 0 with a limit below the extent."""
    rest = a + mask.map
    return mask.kind == "ge" and isinstance(extent, int) and not rest.terms and rest.const < extent


def _limit(a: Affine, extent: Extent | None, limits: dict[Leaf, set[Extent]]) -> None:
    """A label alone selects from the extent it stands for; in a mask it only has the bound of its declaration. Labels
    that are read by labels select from those."""
    alone = len(a.terms) == 1 and a.const == 0 and extent is not None
    for g in gathers(a):
        outermost = any(g is atom for atom, _ in a.terms)
        if isinstance(g.node, Leaf) and outermost:
            known = [extent] if alone else [g.node.bound]
            limits.setdefault(g.node, set()).update(e for e in known if e is not None)
        if outermost:
            for inner, labels in zip(g.at, g.node.shape, strict=True):
                _limit(inner, labels, limits)


def rows_needed(roots: Iterable[Node]) -> dict[str, int]:
    """For free extents of which fixed places are read (``x[5]``, ``x[-3]``, ``x[[0, 5]]``): how long they must be."""
    needed: dict[str, int] = {}
    for node in topological(roots):
        if not isinstance(node, Equation) or node.masks or any(isinstance(op, Indicator) for op in node.operands):
            continue
        for read in node.reads:
            for a, extent in zip(read.at, read.node.shape, strict=True):
                if isinstance(extent, str):
                    needed[extent] = max(needed.get(extent, 1), _needed(a, extent))
    return {extent: n for extent, n in needed.items() if n > 1}


def _needed(a: Affine, extent: str) -> int:
    if not a.terms:
        return a.const + 1
    [(atom, coef), *others] = a.terms
    if others or coef != 1:
        return 1
    if isinstance(atom, Size) and atom.name == extent:
        return -a.const
    fixed = isinstance(atom, Gather) and isinstance(atom.node, Leaf) and atom.node.kind == "constant"
    return a.const + int(np.max(atom.node.value)) + 1 if fixed else 1
