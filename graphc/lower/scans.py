"""The steps of a scan as kernels: where carried values lie, and what is computed in every step.

Carried values lie one step after the other, h[0], h[1], .., h[T]: a step reads one slot and writes the next, so that
nothing is copied and every value is there for the adjoint.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from graphc.ir.affine import Extent
from graphc.ir.node import Equation, Node
from graphc.ir.scan import Unrolled
from graphc.ir.walk import inside, sources
from graphc.lower.kernels import Kernel, Nest, Pack, Steps, equations_of
from graphc.lower.layout import Buffer
from graphc.lower.loop_fusion import copy_of, store_shared


class Planner(Protocol):
    """What planning the steps takes of the planner of all."""

    kernels: list[Kernel]
    buffers: dict[Node, Buffer]
    pinned: dict[Node, Buffer]
    parts_of_scans: list[Buffer]

    def stored(self, y: Equation, beside: Nest, reader: Nest) -> Nest:
        """The nest of a part of an equation that is computed beside another."""
        ...


def lower_scan(planner: Planner, wanted: Sequence[Unrolled], lower: Callable[[Equation], None]) -> None:
    """Plan the steps of a scan of which some values are wanted; ``lower`` plans one equation."""
    scan, buffers = wanted[0].scan, planner.buffers
    own = inside([*scan.nexts, *(node.of for node in wanted)], scan.leaves)
    earlier, late = int(scan.backward), int(not scan.backward)
    before: list[Kernel] = []
    after: list[Kernel] = []
    results: list[Buffer] = []

    def part(node: Node, whole: Buffer, slot: Extent, moves: bool, extents: Sequence) -> Buffer:
        made = Buffer(whole.name, whole.region, tuple(extents), node=node, whole=whole, slot=slot, moves=moves)
        planner.parts_of_scans.append(made)
        return made

    for c in scan.carries:
        name = str(c.leaf.name)
        whole = _slots(name, scan.length, c.leaf.shape)
        results.append(whole)
        begin = scan.length if scan.backward else 0
        start = part(c.start, whole, begin, isinstance(begin, str), c.leaf.shape)
        before.append(_copy(c.start, start))
        buffers[c.leaf] = part(c.leaf, whole, earlier, True, c.leaf.shape)
        _compute_in(planner, own, c.next, part(c.next, whole, late, True, c.leaf.shape), after)
        for node in wanted:
            if node.of in (c.leaf, c.next) and node not in buffers:
                slot = earlier if node.of is c.leaf else late
                buffers[node] = part(node, whole, slot, False, node.shape)
    for s in scan.slices:
        buffers[s.leaf] = part(s.leaf, buffers[s.given], 0, True, s.leaf.shape)
    for node in wanted:
        if node not in buffers:
            buffers[node] = Buffer(node.of.name or "v", "A", node.shape, node=node)
            results.append(buffers[node])
            _compute_in(planner, own, node.of, part(node.of, buffers[node], 0, True, node.of.shape), after)
    outer, planner.kernels = planner.kernels, []
    for node in own:
        if isinstance(node, Equation):
            lower(node)
    inner = [*store_shared(planner.kernels, planner.stored), *after]
    fixed = [k for k in inner if _is_fixed(k, own)]
    inner = [k for k in inner if k not in fixed]
    outside = dict.fromkeys([*scan.outside, *(s for n in own for s in sources(n) if s not in own)])
    outside |= dict.fromkeys(n for n in (c.next for c in scan.carries) if n not in own)
    outside |= {k.node: None for k in fixed if isinstance(k, Nest)}
    moving = [b for b in planner.parts_of_scans if b.moves and b.whole is not None]
    moving = [b for b in moving if any(b.whole is r for r in results) or any(b is buffers[s.leaf] for s in scan.slices)]
    planner.kernels = [*outer, *fixed, Steps(wanted[0], before, inner, moving, results, [*outside])]


def _slots(name: str, length: Extent, shape: tuple[Extent, ...]) -> Buffer:
    """Room for a carried value before the first step and after each."""
    if isinstance(length, int):
        return Buffer(name, "A", (length + 1, *shape))
    return Buffer(name, "A", (length, *shape), more=1)


def _copy(node: Node, out: Buffer) -> Nest:
    return Nest(copy_of(node), out, "map", tuple(i for i, e in enumerate(node.shape) if e != 1))


def _compute_in(planner: Planner, own: Sequence[Node], node: Node, out: Buffer, after: list[Kernel]) -> None:
    """Compute a node of the step where it is wanted, or copy it there when it is wanted at two places, or is a leaf or
    the same in every step."""
    if isinstance(node, Equation) and node in own and node not in planner.pinned:
        planner.pinned[node] = out
    else:
        after.append(_copy(node, out))


def _is_fixed(kernel: Kernel, own: Sequence[Node]) -> bool:
    """True for the copy of a factor that is the same in every step."""
    if isinstance(kernel, Pack):
        return kernel.node not in own
    return isinstance(kernel, Nest) and kernel.copied and not any(
        s in own for y in equations_of(kernel) for s in sources(y)
    )
