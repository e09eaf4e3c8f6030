"""Stages: what many threads may compute side by side, one element each, before they wait for one another.

Kernels of a plan run in order.  Two conflict when one writes where the other reads or writes; memory that buffers
share is seen through their addresses.  A kernel joins the *group* of an earlier one when each of its elements needs
nothing of that group but the same element, so that one thread computes both: an activation beside its matrix product,
a function beside its derivative.  Any other conflict puts it into a later stage.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import field

from graphc.ir.affine import Affine, Extent, gathers
from graphc.ir.node import Equation, Leaf, Node, Read, operand_maps
from graphc.lower.kernels import Kernel, Nest, Pack, Steps, equations_of, results_of
from graphc.lower.layout import Buffer, Count, root_of
from graphc.lower.loop_fusion import reads_straight
from graphc.records import record

Span = tuple[str, int, int]


@record
class Group:
    """Kernels that one thread computes element by element, in this order; ``shape`` are their common free extents."""

    kernels: list[Kernel]
    stage: int
    shape: tuple[Extent, ...]
    open: bool

    @property
    def head(self) -> Kernel:
        return self.kernels[0]


@record
class _Access:
    """What a kernel touches: the span it writes, and every read with its span (None for reads across elements)."""

    writes: list[Span]
    reads: list[tuple[Span, bool]] = field(default_factory=list)


def stages_of(
    kernels: Sequence[Kernel],
    buffers: Mapping[Node, Buffer],
    capacity: Mapping[str, int],
    joins: Callable[[Kernel], bool],
) -> list[list[Group]]:
    """The groups of every stage.

    Parameters
    ----------
    kernels
        In the order of the plan; transposed copies are left out, since a thread reads any stride.
    joins
        Whether a kernel is computed element by element, so that others may join it.
    """
    made: list[tuple[Group, _Access]] = []
    groups: list[Group] = []
    for kernel in kernels:
        if isinstance(kernel, Pack):
            continue
        access = _access(kernel, buffers, capacity)
        group = _place(kernel, access, made, joins)
        if group not in groups:
            groups.append(group)
        made.append((group, access))
    last = max((g.stage for g in groups), default=-1)
    return [[g for g in groups if g.stage == s] for s in range(last + 1)]


def _place(kernel: Kernel, access: _Access, made: list[tuple[Group, _Access]], joins: Callable) -> Group:
    """The group a kernel joins, or a new one in the first stage where nothing stands against it."""
    against = [(g, _conflict(access, earlier)) for g, earlier in made]
    stage = max((g.stage + 1 for g, found in against if found), default=0)
    shape = kernel.node.shape if isinstance(kernel.node, Equation) else ()
    if stage and joins(kernel):
        hosts = {id(g): g for g, found in against if found and g.stage == stage - 1}
        host = next(iter(hosts.values()))
        apart = any(found == "apart" for g, found in against if g is host)
        if len(hosts) == 1 and host.open and host.shape == shape and not apart:
            host.kernels.append(kernel)
            return host
    return Group([kernel], stage, shape, joins(kernel))


def _conflict(later: _Access, earlier: _Access) -> str:
    """Empty, "element" when the same thread may do both one after the other, or "apart"."""
    found = ""
    for span, at_own_place in later.reads:
        hit = [w for w in earlier.writes if _overlap(span, w)]
        if hit:
            found = "element" if at_own_place and hit == [span] and found != "apart" else "apart"
    for span in later.writes:
        if any(_overlap(span, w) for w in earlier.writes):
            found = "element" if span in earlier.writes and found != "apart" else "apart"
        for other, at_own_place in earlier.reads:
            if _overlap(span, other):
                same = at_own_place and other == span
                found = "element" if same and found != "apart" else "apart"
    return found


def _overlap(a: Span, b: Span) -> bool:
    return a[0] == b[0] and a[1] < b[2] and b[1] < a[2]


def _access(kernel: Kernel, buffers: Mapping[Node, Buffer], capacity: Mapping[str, int]) -> _Access:
    access = _Access([_span(b, capacity) for b in results_of(kernel)])
    if isinstance(kernel, Steps):
        access.reads = [(_span(root_of(buffers[s]), capacity), False) for s in kernel.outside if s in buffers]
        return access
    own = {id(y) for y in equations_of(kernel)}
    for y in equations_of(kernel):
        for read in reads_of(y):
            if id(read.node) in own or read.node not in buffers:
                continue
            buffer = buffers[read.node]
            straight = _at_own_place(read, y, kernel)
            access.reads.append((_span(buffer, capacity), straight))
    return access


def _span(buffer: Buffer, capacity: Mapping[str, int]) -> Span:
    """Where a buffer lies; one that moves, from where the step of the scan stands in what it is a part of."""
    if buffer.moves and buffer.whole is not None:
        start = Count.of((buffer.slot, *buffer.whole.extents[1:])).at(capacity)
        return f"{buffer.region} {id(buffer.whole)}", start, start + max(buffer.size.at(capacity), 1)
    start = buffer.offset.at(capacity)
    return buffer.region, start, start + max(buffer.size.at(capacity), 1)


def reads_of(y: Equation) -> Iterator[Read]:
    """Every read of an equation, also inside the index maps of its operands and masks."""
    yield from y.reads
    maps: list[Affine] = [m for op in y.operands for m in operand_maps(op)] + [m.map for m in y.masks]
    for m in maps:
        for g in gathers(m):
            yield Read(g.node, g.at)


def _at_own_place(read: Read, y: Equation, kernel: Kernel) -> bool:
    """True when element i of the result reads element i of the node, row-major like the result."""
    if isinstance(read.node, Leaf) or not isinstance(kernel, Nest) or kernel.how == "scatter":
        return False
    return reads_straight(y, read)
