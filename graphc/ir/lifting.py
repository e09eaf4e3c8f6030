"""Nodes of a step for all steps at once, v[t, ..]: what no carried value decides is computed beside the scan."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from graphc.ir.affine import (
    Affine,
    Extent,
    FloorDiv,
    Gather,
    Modulo,
    affine,
    constant,
    gathers,
    index,
    indices,
)
from graphc.ir.affine import substitute as substitute_indices
from graphc.ir.build import equation, is_view
from graphc.ir.node import Equation, Indicator, Leaf, Mask, Node, Operand, Position, Read
from graphc.ir.scalar import placeholder
from graphc.ir.scan import Carry, Scan, Slice, in_every_step, scan_of, unrolled
from graphc.ir.walk import annotate, inside, rebuild, sources, with_sources


class Lifting:
    """Values at all steps: ``known`` are those of leaves and of nodes that a scan computes, v[t, ..]."""

    def __init__(self, length: Extent, known: Mapping[Node, Node]) -> None:
        self.length = length
        self.known = dict(known)

    def all(self, node: Node) -> Node:
        """v[t, ..] of any node."""
        found = self.varying(node)
        return in_every_step(node, self.length) if found is None else found

    def varying(self, node: Node) -> Node | None:
        """v[t, ..] of a node that has other values in other steps, None of another."""
        for part in inside([node], list(self.known)):
            if part not in self.known:
                assert isinstance(part, Equation)
                self.known[part] = self._equation(part, 0, part.n_free + 1)
        return self.known.get(node)

    def total(self, node: Node) -> Node:
        """sum_t v[t, ..]."""
        if isinstance(node, Equation) and node.reducer == "sum" and any(s in self.known for s in sources(node)):
            for source in sources(node):
                self.varying(source)
            return self._equation(node, node.n_free, node.n_free)
        lifted, rank = self.all(node), node.rank
        at = tuple(constant(0) if e == 1 else index(i) for i, e in enumerate(node.shape))
        return equation((*node.shape, self.length), rank, "sum", placeholder(0), [Read(lifted, (index(rank), *at))])

    def _equation(self, y: Equation, at: int, n_free: int) -> Node:
        """y with the index of the steps put at a place of its indices."""
        time = index(at)

        def moved(x: Affine) -> Affine:
            return self._map(substitute_indices(x, lambda i: index(i + (i >= at))), time)

        operands: list[Operand] = []
        for op in y.operands:
            if isinstance(op, Read):
                places = tuple(map(moved, op.at))
                lifted = self.known.get(op.node)
                operands.append(Read(op.node, places) if lifted is None else Read(lifted, (time, *places)))
            elif isinstance(op, Position):
                operands.append(Position(moved(op.map)))
            else:
                operands.append(Indicator(Mask(op.mask.kind, moved(op.mask.map), op.mask.modulus)))
        masks = [Mask(m.kind, moved(m.map), m.modulus) for m in y.masks]
        extents: tuple[Extent, ...] = (*y.extents[:at], self.length, *y.extents[at:])
        return equation(extents, n_free, y.reducer, y.body, operands, masks)

    def _map(self, x: Affine, time: Affine) -> Affine:
        """The map with gathers that read at all steps."""
        out = constant(x.const)
        for atom, coef in x.terms:
            moved = atom
            if isinstance(atom, Gather):
                places = tuple(self._map(a, time) for a in atom.at)
                lifted = self.known.get(atom.node)
                moved = Gather(atom.node, places) if lifted is None else _labels(lifted, (time, *places))
            elif isinstance(atom, FloorDiv | Modulo):
                moved = type(atom)(self._map(atom.inner, time), atom.divisor)
            out = out + affine(0, {moved: coef})
        return out


def _labels(node: Node, at: tuple[Affine, ...]) -> Gather:
    """The gather node[at..], from the labels themselves where the node only turns their axes."""
    if is_view(node) and isinstance(node, Equation) and node.reads:
        read = node.reads[0]
        return _labels(read.node, tuple(substitute_indices(a, at.__getitem__, node.extents) for a in read.at))
    return Gather(node, at)


def hoisted(
    length: Extent, carries: Sequence[Carry], given: Mapping[Node, Node], backward: bool,
    truncate: int = 0,
) -> tuple[Scan, Lifting]:
    """The scan whose steps compute what depends on carried values alone, and the values of all else at all steps.

    ``given`` are the values v[t, ..] of leaves and of nodes that other scans compute.
    """
    own, nexts = [c.leaf for c in carries], [c.next for c in carries]
    outside = Lifting(length, given)
    core: list[Node] = inside(nexts, own)
    swap: dict[Node, Node] = {}
    looked: dict[Node, list[Operand]] = {
        node: _looked_up(node, core, outside, swap) for node in core if isinstance(node, Equation)
    }
    read = [s for ops in looked.values() for op in ops for s in _read_by(op)]
    for node in dict.fromkeys([*nexts, *read]):
        if node not in core and node not in swap.values() and outside.varying(node) is not None:
            swap[node] = _slice_leaf(node)
    now = _replaced(core, looked, swap)
    after = [Carry(c.leaf, c.start, now.get(c.next, swap.get(c.next, c.next))) for c in carries]
    slices = [Slice(leaf, outside.all(node)) for node, leaf in swap.items() if isinstance(leaf, Leaf)]
    scan = scan_of(length, after, slices, backward, truncate)
    known = {leaf: unrolled(scan, leaf) for leaf in own} | {old: unrolled(scan, new) for old, new in now.items()}
    return scan, Lifting(length, {**given, **known})


def _read_by(op: Operand) -> list[Node]:
    maps = op.at if isinstance(op, Read) else (op.map,) if isinstance(op, Position) else (op.mask.map,)
    return [*([op.node] if isinstance(op, Read) else []), *(g.node for a in maps for g in gathers(a))]


def _looked_up(y: Equation, core: Sequence[Node], outside: Lifting, swap: dict[Node, Node]) -> list[Operand]:
    """The operands of an equation of the step, where rows of a table at labels of the step are slices of their own."""
    operands: list[Operand] = []
    for op in y.operands:
        labels = {g.node for a in op.at for g in gathers(a)} if isinstance(op, Read) else set()
        if isinstance(op, Read) and labels & outside.known.keys() and op.node not in core and not labels & set(core):
            used = sorted(set().union(*map(indices, op.at)))
            place = {old: index(new) for new, old in enumerate(used)}
            at = tuple(substitute_indices(a, place.__getitem__) for a in op.at)
            shape = tuple(y.extents[i] for i in used)
            rows = equation(shape, len(shape), "sum", placeholder(0), [Read(op.node, at)])
            leaf = swap.setdefault(rows, _slice_leaf(rows))
            op = Read(leaf, tuple(map(index, used)))
        operands.append(op)
    return operands


def _replaced(
    core: Sequence[Node], operands: Mapping[Node, Sequence[Operand]], swap: Mapping[Node, Node]
) -> dict[Node, Node]:
    """The nodes of a step with operands of their own, reading others."""
    now: dict[Node, Node] = dict(swap)
    for node in core:
        made = rebuild(node, list(operands[node])) if isinstance(node, Equation) else node
        now[node] = annotate(with_sources(made, now), node)
    return {node: now[node] for node in core}


def _slice_leaf(node: Node) -> Leaf:
    whole = isinstance(node, Leaf) and node.dtype == "int"
    return Leaf(node.name or "x", node.shape, "step", "int" if whole else "float")
