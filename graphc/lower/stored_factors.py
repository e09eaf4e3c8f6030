"""What a scan computes of another scan's values alone is computed by the steps of that one, and read back.

An adjoint multiplies cotangents by derivatives of what the steps before it computed: a gate's slope shares its
exponential with the gate.  Here the factor becomes a value of the forward step, v[t, ..], where one loop computes both;
what is read of the forward steps is the factor instead of its arguments.  It is to scans what
:func:`graphc.lower.loop_fusion.store_shared` is to phases.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import sympy

from graphc.ir.build import equation
from graphc.ir.node import Equation, Leaf, Node, Read
from graphc.ir.parts import parts_of_kind, symbols_of
from graphc.ir.scalar import cost, placeholder, placeholders
from graphc.ir.scan import Carry, Scan, Slice, Unrolled, scan_of, unrolled
from graphc.ir.walk import annotate, inside, rebuild, scans_whole, topological, with_sources
from graphc.lower.loop_fusion import STORED, guarded, largest_parts, replaced_part, straight


def with_stored_factors(roots: Iterable[Node]) -> list[Node]:
    """The roots, with scans that read factors where they would compute them."""
    roots = list(roots)
    order = scans_whole(roots)
    wanted: dict[Scan, list[Node]] = {}
    for node in order:
        if isinstance(node, Unrolled):
            wanted.setdefault(node.scan, []).append(node.of)
    if len(wanted) < 2:
        return roots
    new: dict[Node, Node] = {}
    found: dict[Scan, _Reading] = {}
    for node in order:
        moved = new[node] = with_sources(node, new)
        if isinstance(node, Unrolled) and isinstance(moved, Unrolled):
            if node.scan not in found:
                found[node.scan] = _Reading(moved.scan, [new[of] for of in wanted[node.scan]])
            new[node] = annotate(found[node.scan].value(moved.of), node)
    return [new[root] for root in roots]


class _Reading:
    """A scan whose steps read factors of other scans' values; ``wanted`` are the nodes of its step asked for."""

    def __init__(self, scan: Scan, wanted: Sequence[Node]) -> None:
        self._of = {s.leaf: s.given for s in scan.slices if isinstance(s.given, Unrolled)}
        self._factors: dict[Unrolled, Leaf] = {}
        self._now: dict[Node, Node] = {}
        for node in inside([*scan.nexts, *wanted], scan.leaves):
            moved = with_sources(node, self._now)
            self._now[node] = annotate(self._split(moved) if isinstance(moved, Equation) else moved, node)
        carries = [Carry(c.leaf, c.start, self._now.get(c.next, c.next)) for c in scan.carries]
        slices = [*scan.slices, *(Slice(leaf, given) for given, leaf in self._factors.items())]
        read = {*topological([*(c.next for c in carries), *(self._now.get(of, of) for of in wanted)])}
        self._scan = scan_of(
            scan.length, carries, [s for s in slices if s.leaf in read], scan.backward, scan.truncate
        )

    def value(self, of: Node) -> Node:
        """v[t, ..] of a node of the step that was asked for."""
        return unrolled(self._scan, self._now.get(of, of), of in self._now)

    def _split(self, y: Equation) -> Node:
        """An equation that reads its expensive factors: any of an elementwise one, the softmaxes of a sum."""
        if guarded(y) or not (y.elementwise or y.reducer == "sum"):
            return y
        for scan in dict.fromkeys(given.scan for given in self._of.values()):
            before: Equation | None = None
            while y is not before and (part := self._factor(y, scan)) is not None:
                before, y = y, self._reading(y, part, scan)  # which may order the operands anew
        return y

    def _factor(self, y: Equation, scan: Scan) -> sympy.Expr | None:
        """A part of the body that values of one scan decide, and that is worth a place of its own."""
        of = lambda op: isinstance(op.node, Leaf) and op.node in self._of and self._of[op.node].scan is scan
        given = {placeholder(j): op for j, op in enumerate(y.operands) if isinstance(op, Read) and of(op)}
        known = {s for s, op in given.items() if op.node.shape == y.extents and op.at == straight(y.extents)}
        parts = largest_parts(y.body, known) if y.elementwise else []
        of_rows = lambda e: symbols_of(e) <= given.keys() and bool(symbols_of(e) & known) and not symbols_of(e) <= known
        exps = sorted(filter(of_rows, parts_of_kind(y.body, sympy.exp)), key=sympy.default_sort_key)
        return next((part for part in (*parts, *exps) if part != y.body and cost(part) >= STORED), None)

    def _reading(self, y: Equation, part: sympy.Expr, scan: Scan) -> Equation:
        """y with a part of its body read, which becomes a value of the other scan's step."""
        used, at = placeholders(part), straight(y.extents)
        names = {placeholder(j): placeholder(t) for t, j in enumerate(used)}
        given = [op for op in (y.operands[j] for j in used) if isinstance(op, Read)]
        reads = [Read(self._of[op.node].of, op.at) for op in given if isinstance(op.node, Leaf)]
        factor = unrolled(scan, equation(y.extents, len(y.extents), "sum", part.xreplace(names), reads))
        assert isinstance(factor, Unrolled)
        known = next((leaf for leaf, given in self._of.items() if given is factor), None)
        leaf = known or self._factors.setdefault(factor, Leaf("slope", y.extents, "step"))
        body = replaced_part(y.body, part, placeholder(len(y.operands)))
        made = rebuild(y, [*y.operands, Read(leaf, at)], body)
        assert isinstance(made, Equation)
        return made
