"""The plan of one training step: where parameters, gradients, the batch and the loss lie."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import field
from types import MappingProxyType

from graphc.errors import DataError
from graphc.ir.affine import Extent
from graphc.ir.letters import safe_name
from graphc.ir.node import Leaf, Node
from graphc.ir.walk import free_extents
from graphc.ir.walk import leaves as leaves_of
from graphc.lower.layout import ALIGN, Buffer, Count
from graphc.lower.lengths import Lengths, inner_extents, most, row_extents
from graphc.lower.plan import Places, Plan, PlanOptions, copy_of, make_plan
from graphc.records import record

PARTS = 16  # of a batch that is computed in blocks: as many threads may share it
LARGE = 1 << 22  # bytes of a step's values at one time from which blocks pay
SPREAD = 1 << 20  # bytes of all of them, one after another, from which they pay: else sums read what others wrote
BLOCK_BYTES = 1 << 17  # of the values of a block: a part of the second-level cache
FEWEST, MOST = 64, 4096  # rows of a block
HEAVY = 1 << 22  # bytes of so many rows from which fewer make a block: where a row is a whole array
MOST_PARAMETERS = 1 << 16  # whose gradients are added once more a block
OF_SEVERAL = ("rows", "turns", "pass", "at", "first", "last")  # names of each of several free extents, after its own


@record
class Input:
    """An input of a program: the pointer its data come through and the buffer that holds the rows of the batch, or
    that is where they lie."""

    leaf: Leaf
    pointer: str
    buffer: Buffer
    batched: bool
    row: int

    @property
    def integer(self) -> bool:
        return self.leaf.dtype == "int"

    @property
    def in_place(self) -> bool:
        """Whether rows are read where the data lie."""
        return self.buffer.moves


@record
class Draw:
    """A random tensor: the buffer that every step fills, its number, elements of a row (or of all of it)."""

    leaf: Leaf
    buffer: Buffer
    number: int
    batched: bool
    row: int


@record
class Layout:
    """The parameters one after the other: offsets in elements, each on a cache line, and the total."""

    offsets: dict[Leaf, int]
    names: dict[Leaf, str]
    total: int


@record
class StepPlan:
    """A plan over batches of rows: what a training, an evaluation or a prediction program needs to know.

    With ``whole_batch`` a step takes up to so many rows, block after block of up to ``capacity``; ``in_place`` are the
    roots that are written where the caller wants them. Where batches run over several free extents, ``extents`` tells
    the capacity of each and there is no one ``batch``; the ``inner`` of them are taken whole.
    """

    plan: Plan
    layout: Layout
    inputs: list[Input]
    batch: str | None
    capacity: int
    constants: list[Buffer] = field(default_factory=list)
    integer_arena: Count = field(default_factory=Count)
    whole_batch: int = 0
    draws: list[Draw] = field(default_factory=list)
    in_place: Mapping[str, Buffer] = field(default_factory=dict)
    extents: tuple[tuple[str, int], ...] = ()
    inner: tuple[str, ...] = ()

    @property
    def rows(self) -> str | None:
        """The one free extent that batches divide, None where there are several or none."""
        found = [e for e in self.capacities if e not in self.inner]
        return found[0] if len(found) == 1 else None

    @property
    def capacities(self) -> dict[str, int]:
        """The most rows of every free extent."""
        return dict(self.extents) or ({self.batch: self.capacity} if self.batch else {})


def layout_parameters(params: Sequence[Leaf], taken: Sequence[str] = ()) -> Layout:
    """Contiguous storage for parameters, so that the optimizer is one pass; no name is one of ``taken``."""
    offsets, names, total = {}, {}, 0
    for leaf in params:
        offsets[leaf] = total
        names[leaf] = safe_name(str(leaf.name), [*taken, *names.values()])
        size = Count.of(leaf.shape).at({})
        total += -(-max(size, 1) // ALIGN) * ALIGN
    return Layout(offsets, names, total)


def batch_extent(inputs: Sequence[Leaf]) -> str | None:
    """The one free extent that batches run over: the leading one of the inputs.

    Raises
    ------
    DataError
        When inputs lead with different free extents, or have a free extent elsewhere.
    """
    found = row_extents(inputs)
    if len(found) > 1:
        first, second = (next(leaf for leaf in inputs if leaf.shape[:1] == (e,)) for e in found[:2])
        raise DataError(
            f"here batches run over one free extent, but {first.name} begins with {found[0]!r} and "
            f"{second.name} with {found[1]!r}\n"
            f"  hint: give both inputs the same name of their first extent"
        )
    return next(iter(found), None)


def check_sizes(roots: Iterable[Node], leaves: Iterable[Leaf]) -> None:
    """Refuse what depends on a free extent that no array has.

    Raises
    ------
    DataError
        Naming the extent.
    """
    for name in sorted(free_extents(roots) - {e for leaf in leaves for e in leaf.shape if isinstance(e, str)}):
        raise DataError(
            f"the result depends on the extent {name!r}, but nothing that it reads has that extent\n"
            f"  hint: list an input whose shape has {name!r}, or give that extent a number"
        )


def plan_step(
    roots: Mapping[str, Node],
    params: Sequence[Leaf],
    capacity: Lengths,
    options: PlanOptions,
    gradients: Mapping[Leaf, str] = MappingProxyType({}),
    names: Mapping[Node, str] = MappingProxyType({}),
    random: Mapping[Leaf, int] = MappingProxyType({}),
    in_order: Mapping[str, str] | None = None,
) -> StepPlan:
    """Plan ``roots`` for batches of up to ``capacity`` rows, of one free extent or of each that it names; with
    ``in_order`` these are read where they lie, one batch behind the other; roots that it gives pointers to are written
    there where they have rows on their first axis.

    ``gradients`` names the root that is the gradient of a parameter (it goes to region G beside the parameter),
    ``names`` gives the names of unnamed equations in formulas, ``random`` the numbers of random tensors.
    """
    used = leaves_of(roots.values())
    inputs = [leaf for leaf in used if leaf.kind == "input"]
    check_sizes(roots.values(), [leaf for leaf in used if leaf.kind != "random"])
    extents = () if isinstance(capacity, int) else capacity
    batch = None if extents else batch_extent(inputs)
    room = dict(extents) or ({batch: int(most(capacity))} if batch else {})
    rows = [name for e in room for name in names_of_rows(e, alone=not extents)]
    if len(set(rows)) < len(rows):
        raise DataError(
            f"the free extents {', '.join(map(repr, room))} cannot be told apart in a program\n"
            f"  hint: give one of them another name"
        )
    layout = layout_parameters(params, rows)
    places: dict[Leaf, Buffer] = {
        leaf: Buffer(layout.names[leaf], "P", leaf.shape, _at(layout.offsets[leaf])) for leaf in params
    }
    taken = [*rows, *layout.names.values()]
    described = [_input(leaf, room, taken, in_order is not None) for leaf in inputs]
    places |= {i.leaf: i.buffer for i in described}
    draws = [_draw(leaf, random[leaf], room, taken) for leaf in used if leaf.kind == "random"]
    places |= {d.leaf: d.buffer for d in draws}
    constants = _place_constants([leaf for leaf in used if leaf.kind == "constant"], taken)
    places |= {b.node: b for b in constants if isinstance(b.node, Leaf)}
    targets = {
        name: Buffer(layout.names[leaf], "G", leaf.shape, _at(layout.offsets[leaf]))
        for leaf, name in gradients.items()
    }
    in_place = _written_in_place({root: roots[root] for root in in_order or ()}, in_order or {}, batch, taken)
    targets |= in_place
    own = [i.buffer for i in described if i.batched and not i.integer and not i.in_place]
    own += [d.buffer for d in draws]
    if gradients:
        roots = {name: _kept(node) if name not in targets else node for name, node in roots.items()}
    inner = inner_extents(inputs)
    batches = tuple(e for e in room if e not in inner)
    plan = make_plan(roots, Places(places, targets, room, own, batches, team=True), options, names)
    _unique_names(plan, taken, [*(i.buffer for i in described), *(d.buffer for d in draws)])
    integers = _integer_arena(described, room, order=0 if extents else most(capacity))
    integers = Count() if in_order is not None else integers
    found = StepPlan(plan, layout, described, batch, most(capacity), constants, integers, draws=draws)
    found.in_place, found.extents, found.inner = in_place, extents, inner
    return found


def names_of_rows(extent: str, alone: bool) -> list[str]:
    """The names of a program's own for a free extent: rows of the batch and their capacity; of one of several also
    those of :mod:`graphc.emit.several`."""
    n = safe_name(extent)
    return [n, f"{n}_cap", *(f"{n}_{end}" for end in OF_SEVERAL if not alone)]


def rows_of_block(step: StepPlan, dtype: str) -> int:
    """Rows of a block where a batch is better computed in blocks than as a whole, else 0: a power of two."""
    if not step.batch or step.layout.total > MOST_PARAMETERS or step.capacity <= FEWEST:
        return 0
    itemsize, capacity = (8 if dtype == "float64" else 4), {step.batch: step.capacity}
    size = step.plan.arena.at(capacity) * itemsize
    values = [b for b in step.plan.buffers.values() if b.region == "A" and step.batch in b.extents]
    if size < LARGE and sum(b.size.at(capacity) for b in values) * itemsize < SPREAD:
        return 0
    rows, row = BLOCK_BYTES * step.capacity // size, -(-size // step.capacity)
    fewest = FEWEST if FEWEST * row <= HEAVY else _power_below(HEAVY // row)
    return max(fewest, min(MOST, _power_below(rows)))


def _power_below(n: int) -> int:
    """The largest power of two that is not above n, at least 1."""
    return 1 << max(n, 1).bit_length() - 1


def _kept(root: Node) -> Node:
    """A root that the update does not overwrite: a parameter is copied before."""
    return copy_of(root) if isinstance(root, Leaf) else root


def _at(offset: int) -> Count:
    return Count((((), offset),)) if offset else Count()


def _input(leaf: Leaf, batches: Collection[Extent], taken: list[str], in_order: bool) -> Input:
    name = safe_name(str(leaf.name), taken)
    pointer = safe_name(f"{leaf.name}_data", taken)
    taken += [name, pointer]
    batched = bool(leaf.shape) and leaf.shape[0] in batches
    integer = leaf.dtype == "int"
    row = Count.of([e for e in (leaf.shape[1:] if batched else leaf.shape) if isinstance(e, int)]).at({})
    if not batched:
        return Input(leaf, pointer, Buffer(pointer, pointer, leaf.shape, integer=integer), False, row)
    if in_order:
        return Input(leaf, pointer, Buffer(name, pointer, leaf.shape, integer=integer, moves=True), True, row)
    return Input(leaf, pointer, Buffer(name, "L" if integer else "A", leaf.shape, integer=integer), True, row)


def _written_in_place(
    roots: Mapping[str, Node], pointers: Mapping[str, str], batch: str | None, taken: list[str]
) -> dict[str, Buffer]:
    """The places of outputs that have the rows on their first axis alone."""
    found = {}
    for root, node in roots.items():
        if node.shape[:1] == (batch,) and batch not in node.shape[1:]:
            name = safe_name(f"{root}_rows", taken)
            taken.append(name)
            found[root] = Buffer(name, pointers[root], node.shape, moves=True)
    return found


def _draw(leaf: Leaf, number: int, batches: Collection[Extent], taken: list[str]) -> Draw:
    name = safe_name(str(leaf.name), taken)
    taken.append(name)
    batched = bool(leaf.shape) and leaf.shape[0] in batches
    own = leaf.shape[1:] if batched else leaf.shape
    row = Count.of([e for e in own if isinstance(e, int)]).at({})
    return Draw(leaf, Buffer(name, "A", leaf.shape), number, batched, row)


def _place_constants(constants: Sequence[Leaf], taken: list[str]) -> list[Buffer]:
    """Constant arrays lie one after the other behind the pointer K, numbered within their program: a number of this
    process in the text would let the next declaration, or the next process, compile it once more."""
    buffers, offset = [], 0
    for k, leaf in enumerate(constants):
        name = safe_name(f"K_{k}", taken)
        taken.append(name)
        buffers.append(Buffer(name, "K", leaf.shape, _at(offset), node=leaf))
        offset += -(-Count.of(leaf.shape).at({}) // ALIGN) * ALIGN
    return buffers


def _integer_arena(inputs: Sequence[Input], room: Mapping[str, int], order: int) -> Count:
    """Region L: the ``order`` of the rows, then the integer inputs of the batch."""
    offset = order
    for i in inputs:
        if i.integer and i.batched:
            i.buffer.offset = _at(offset)
            offset += Count.of(i.leaf.shape).at(room)
    return _at(offset)


def _unique_names(plan: Plan, taken: Sequence[str], named: Sequence[Buffer]) -> None:
    """Every arena buffer gets a name of its own that nothing else has; ``named`` are those that have theirs."""
    names = set(taken)
    done = {id(b) for b in named}
    for buffer in [r.buffer for r in plan.requests] + plan.in_place:
        if id(buffer) in done:
            continue
        base, n = safe_name(buffer.name, ()), 1
        name = base
        while name in names:
            n += 1
            name = f"{base}_{n}"
        buffer.name = name
        names.add(name)
