"""Checks that an equation is well formed; cheap, and run after every stage."""

from __future__ import annotations

from collections.abc import Iterable
from weakref import WeakSet

from graphc.errors import REPORT, CompilerError
from graphc.ir.affine import gathers, indices
from graphc.ir.build import is_view
from graphc.ir.node import REDUCERS, Equation, Node, Read, extent_symbol, extent_symbols, operand_maps
from graphc.ir.parts import symbols_of
from graphc.ir.scalar import placeholder
from graphc.ir.walk import topological

_sound: WeakSet[Node] = WeakSet()  # an equation does not change


def verify(roots: Iterable[Node]) -> None:
    """Raise CompilerError naming the equation when a node of the graph is malformed: a defect of graphc itself."""
    for node in topological(roots):
        if isinstance(node, Equation) and node not in _sound:
            problem = _problem(node)
            if problem:
                raise CompilerError(f"internal defect: malformed equation {node!r}: {problem}\n  hint: {REPORT}")
            _sound.add(node)


def _problem(y: Equation) -> str | None:
    if y.reducer not in REDUCERS:
        return f"unknown reducer {y.reducer}"
    if not 0 <= y.n_free <= len(y.extents):
        return "more free indices than extents"
    allowed = {placeholder(j) for j in range(len(y.operands))}
    allowed |= {extent_symbol(e) for e in extent_symbols(y.body)}  # also the size of what nothing reads any more
    stray = symbols_of(y.body) - allowed
    if stray:
        return f"the body uses {sorted(map(str, stray))} that no operand gives"
    idle = _idle_indices(y)
    if idle:
        return f"nothing reads its free indices {idle}"
    for op in y.operands:
        if isinstance(op, Read) and len(op.at) != op.node.rank:
            return f"{op.node!r} has {op.node.rank} axes but is read with {len(op.at)} indices"
    return _bad_map(y)


def _idle_indices(y: Equation) -> list[int]:
    """The free indices that no operand and no mask holds; only views and functions of matrices have them."""
    if is_view(y) or y.dense:
        return []
    maps = [m for op in y.operands for m in operand_maps(op)] + [m.map for m in y.masks]
    used = set().union(*map(indices, maps))
    return [i for i in range(y.n_free) if y.extents[i] != 1 and i not in used]


def _bad_map(y: Equation) -> str | None:
    maps = [m for op in y.operands for m in operand_maps(op)] + [m.map for m in y.masks]
    if any(i >= len(y.extents) or i < 0 for m in maps for i in indices(m)):
        return "an index map uses an index that the equation does not have"
    if any(len(g.at) != g.node.rank for m in maps for g in gathers(m)):
        return "a gather reads labels with a wrong number of indices"
    return None
