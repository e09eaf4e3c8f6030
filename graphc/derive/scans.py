"""The derivatives of a scan: its adjoint is a scan from the last step to the first, its tangent one in its direction.

For h[t + 1] = f(h[t], x[t], w) the cotangents are

    hbar[t] = hbar[t + 1] df/dh + what else reads h[t]
    xbar[t] = hbar[t + 1] df/dx
    wbar = sum_t hbar[t + 1] df/dw

with df taken at h[t], x[t] by the one differentiation rule; where the scan is truncated hbar[t] is 0 at the first step
of every window but the first.  The forward scan stores what they read; what no cotangent
decides is computed beside the loop, so that wbar is one product over all steps.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence

import sympy

from graphc.derive.adding import add_nodes, is_zero
from graphc.derive.pullback import pullback, pushforward
from graphc.ir.affine import Extent, constant, index
from graphc.ir.build import constant_node, equation
from graphc.ir.lifting import hoisted
from graphc.ir.node import Equation, Leaf, Node, Read
from graphc.ir.scalar import placeholder, where
from graphc.ir.scan import Carry, Scan, at_step, linked, transposed, unrolled
from graphc.ir.walk import inside


def pullback_scan(
    scan: Scan, bars: Mapping[Node, Node], active: Collection[Node], lead: tuple[Extent, ...] = ()
) -> dict[Node, Node]:
    """The cotangents of what a scan reads, given those of nodes of its step at all steps, v[t, ..].

    With ``lead`` every cotangent is a stack of them, v[s.., t, ..].
    """
    depth = len(lead)
    given: dict[Node, Node] = {leaf: unrolled(scan, leaf) for leaf in scan.leaves}
    seeds: dict[Node, list[Node]] = defaultdict(list)
    for of, bar in bars.items():
        leaf = Leaf("seed", lead + of.shape, "step")
        given[leaf] = transposed(bar, [depth, *range(depth), *range(depth + 1, bar.rank)])
        seeds[of].append(leaf)
    step = inside([*scan.nexts, *bars], scan.leaves)
    later = {c: Leaf(f"{c.leaf.name}_bar", lead + c.leaf.shape, "step") for c in scan.carries}
    found = _through_step(step, seeds, later, active, lead)
    while any(c.leaf not in found for c in later):  # no cotangent ever reaches those
        later = {c: leaf for c, leaf in later.items() if c.leaf in found}
        found = _through_step(step, seeds, later, active, lead)
    given |= {node: unrolled(scan, node) for node in inside(scan.nexts, [c.leaf for c in scan.carries])}
    cut = _Cut(scan, given)
    before = {c: cut(found[c.leaf]) for c in later}
    carries = [Carry(leaf, constant_node(0, leaf.shape), before[c]) for c, leaf in later.items()]
    lifting = hoisted(scan.length, carries, given, not scan.backward)[1]
    result: dict[Node, list[Node]] = defaultdict(list)
    for c in later:
        result[c.start].append(at_step(lifting.all(before[c]), scan.first))
    for s in scan.slices:
        if s.leaf in found:
            bar = lifting.all(found[s.leaf])
            result[s.given].append(transposed(bar, [*range(1, depth + 1), 0, *range(depth + 1, bar.rank)]))
    own = {*step, *scan.leaves}
    for node, bar in found.items():
        if node not in own:
            result[node].append(lifting.total(bar))
    return {node: total for node, parts in result.items() if (total := add_nodes(parts)) is not None}


class _Cut:
    """What derivatives are of a truncated scan: 0 for the first step of a window, but the first; itself of another."""

    def __init__(self, scan: Scan, given: dict[Node, Node]) -> None:
        self._linked = Leaf("linked", (), "step") if scan.truncate else None
        if self._linked is not None:
            given[self._linked] = linked(scan)

    def __call__(self, bar: Node) -> Node:
        if self._linked is None:
            return bar
        at = tuple(constant(0) if e == 1 else index(i) for i, e in enumerate(bar.shape))
        body = where(placeholder(0), placeholder(1), sympy.Integer(0))
        return equation(bar.shape, bar.rank, "sum", body, [Read(self._linked, ()), Read(bar, at)])


def _through_step(
    step: Sequence[Node],
    seeds: Mapping[Node, Sequence[Node]],
    later: Mapping[Carry, Node],
    active: Collection[Node],
    lead: tuple[Extent, ...],
) -> dict[Node, Node]:
    """The cotangents of the leaves of a step and of what it reads beside them, for those of its results."""
    parts = {node: list(found) for node, found in seeds.items()}
    for c, leaf in later.items():
        parts.setdefault(c.next, []).append(leaf)
    own = set(step)
    for node in reversed(step):
        bar = add_nodes(parts.pop(node, [])) if isinstance(node, Equation) else None
        if bar is None or not isinstance(node, Equation):
            continue
        for j, op in enumerate(node.operands):
            if isinstance(op, Read) and (op.node in own or op.node in active):
                parts.setdefault(op.node, []).append(pullback(node, bar, j, lead))
    found = {node: add_nodes(bars) for node, bars in parts.items()}
    return {node: bar for node, bar in found.items() if bar is not None}


def pushforward_scan(scan: Scan, wanted: Sequence[Node], tangents: Mapping[Node, Node]) -> dict[Node, Node]:
    """The tangents at all steps of nodes of a step, given those of what the scan reads: its step is the tangent of the
    step."""
    given: dict[Node, Node] = {leaf: unrolled(scan, leaf) for leaf in scan.leaves}
    given |= {node: unrolled(scan, node) for node in inside(scan.nexts, [c.leaf for c in scan.carries])}
    fixed = dict(tangents)
    for s in scan.slices:
        if s.given in tangents:
            fixed[s.leaf] = Leaf(f"{s.leaf.name}_dot", s.leaf.shape, "step")
            given[fixed[s.leaf]] = tangents[s.given]
    step = [n for n in inside([*scan.nexts, *wanted], scan.leaves) if isinstance(n, Equation)]
    leaves = {c: Leaf(f"{c.leaf.name}_dot", c.leaf.shape, "step") for c in scan.carries}
    cut = _Cut(scan, given)
    moving = {c for c in scan.carries if c.start in tangents}
    while True:
        found = fixed | {c.leaf: cut(leaves[c]) for c in moving}
        for node in step:
            dot = pushforward(node, found)
            if dot is not None and not is_zero(dot):
                found[node] = dot
        reached = {c for c in scan.carries if c.next in found} | moving
        if reached == moving:
            break
        moving = reached
    carries = [
        Carry(leaves[c], tangents.get(c.start) or constant_node(0, c.leaf.shape), found.get(c.next) or
              constant_node(0, c.leaf.shape)) for c in scan.carries if c in moving
    ]  # fmt: skip
    lifting = hoisted(scan.length, carries, given, scan.backward)[1]
    return {of: lifting.all(found[of]) for of in wanted if of in found}
