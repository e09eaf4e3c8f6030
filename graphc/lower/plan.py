"""From equations to a plan: which kernel computes what, in which order, and where every value lies."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import field
from types import MappingProxyType
from typing import TypeVar

from graphc.ir.affine import Affine, Gather, identity, index, size
from graphc.ir.build import always_true
from graphc.ir.node import Equation, Leaf, Mask, Node, Read
from graphc.ir.scalar import cost, placeholder
from graphc.ir.scan import Unrolled
from graphc.ir.walk import consumers, scans_whole, sources, with_own_leaves, within_steps
from graphc.lower.contractions import Copy, Tiles, Transposed, is_sum_of_products, tiles_of, without_masks
from graphc.lower.cost import BYTES, TILES, product_method, side_by_side
from graphc.lower.exponentials import (
    Exponentials,
    exponentials_of,
    may_store,
    reading_exponentials,
    softmaxes_in,
)
from graphc.lower.kernels import (
    Contraction,
    Kernel,
    Nest,
    Pack,
    Product,
    StoredTerms,
    View,
    loop_order,
)
from graphc.lower.layout import Buffer, Count, Live, apart, place_part, plan_memory
from graphc.lower.lifetimes import lifetimes, overwriting
from graphc.lower.logsumexp_parts import Parts, has_parts, parts_of, reading_parts
from graphc.lower.loop_fusion import copy_of, store_shared
from graphc.lower.norms import Rescue, reading_rescues, rescue_of
from graphc.lower.phases import SMALL, assign_phases, sums_of_rows
from graphc.lower.products import Matched, as_product, bias_of
from graphc.lower.residues import by_remainders
from graphc.lower.row_loops import keep_one_row, run_by_rows
from graphc.lower.scans import lower_scan
from graphc.lower.score_blocks import Uses, in_blocks
from graphc.lower.stored_factors import with_stored_factors
from graphc.records import record
from graphc.rewrite.norms import norms_in

T = TypeVar("T")
TWICE = 2  # times the size of an array that it may have with zeros around, for the sake of loops


@record
class Plan:
    """Kernels in the order they run, the buffer of every node, and the size of the arena."""

    kernels: list[Kernel]
    buffers: dict[Node, Buffer]
    arena: Count
    requests: list[Live]
    capacity: dict[str, int]
    roots: dict[str, Node] = field(default_factory=dict)
    in_place: list[Buffer] = field(default_factory=list)

    @property
    def phases(self) -> list[list[Kernel]]:
        """The kernels by phase; threads meet between two phases."""
        found: dict[int, list[Kernel]] = {}
        for kernel in self.kernels:
            found.setdefault(kernel.phase, []).append(kernel)
        return [found[p] for p in sorted(found)]


@record(frozen=True)
class PlanOptions:
    """How a plan is made.

    The choice between tiles and packed tiles depends on ``dtype``. With ``by_rows`` a sum over the whole batch is made
    of the sums of its rows, so that threads share it. With ``apart`` no two buffers share memory: after a run every
    value is there to be looked at. With ``tensors`` products are found in equations of any rank, for a printer that
    knows :class:`~graphc.lower.kernels.Contraction`. With ``passes`` a row is computed in few passes, for threads that
    compute whole rows: a logsumexp stores the exponentials that a softmax reads, nests over the same rows share a loop.
    """

    dtype: str = "float32"
    by_rows: bool = False
    apart: bool = False
    tensors: bool = False
    passes: bool = False


@record(frozen=True)
class Places:
    """Where values lie that a plan does not place.

    ``leaves`` says it of inputs and parameters, ``destinations`` of named roots (the others get a place in the arena);
    ``own`` are arena buffers that live all the time, such as the gathered rows of the batch. ``capacity`` is the most
    that a free extent may be, ``batches`` are the free extents of the rows. A ``team`` of threads computes a step.
    """

    leaves: Mapping[Leaf, Buffer]
    destinations: Mapping[str, Buffer] = field(default_factory=dict)
    capacity: Mapping[str, int] = field(default_factory=dict)
    own: Sequence[Buffer] = ()
    batches: Sequence[str] = ()
    team: bool = False


def make_plan(
    roots: Mapping[str, Node],
    places: Places,
    options: PlanOptions,
    names: Mapping[Node, str] = MappingProxyType({}),
) -> Plan:
    """Plan the computation of ``roots``; the buffers of unnamed nodes take the ``names`` that formulas give them."""
    wanted = dict(zip(roots, with_own_leaves(with_stored_factors(roots.values())), strict=True))
    return _Planner(wanted, places, options, names).run()


class _Planner:
    def __init__(
        self, roots: dict[str, Node], places: Places, options: PlanOptions, names: Mapping[Node, str]
    ) -> None:
        self.roots, self.names = roots, names
        self.capacity, self.own = dict(places.capacity), list(places.own)
        self.batches, self.team = places.batches, places.team
        self.dtype, self.options = options.dtype, options
        self.buffers: dict[Node, Buffer] = {**places.leaves}
        self.kernels: list[Kernel] = []
        self.copies: list[Kernel] = []
        self.walk = scans_whole(self.roots.values())
        self.steps = within_steps(self.walk)
        self.order = [n for n in self.walk if isinstance(n, Equation)]
        self.count = consumers(self.roots.values())
        self.pinned: dict[Node, Buffer] = {}
        self.found: dict[Node, tuple[Tiles, list[Copy]] | None] = {}
        self.rescues: dict[Node, Rescue] = {}
        self.parts_of_scans: list[Buffer] = []
        self.parts: dict[Node, Parts] = {node: parts_of(node) for node in self.order if has_parts(node)}
        self.terms: dict[Node, Exponentials] = {}
        self.summed: set[Node] = set()
        for name, buffer in places.destinations.items():
            self._pin(name, buffer)

    def _pin(self, name: str, buffer: Buffer) -> None:
        """Compute a root where it is wanted, or copy it there when it is a leaf or wanted at two places."""
        node = self.roots[name]
        if isinstance(node, Equation) and node not in self.pinned:
            self.pinned[node] = buffer
            return
        self.copies.append(Nest(copy_of(node), buffer, "map", tuple(i for i, e in enumerate(node.shape) if e != 1)))

    def run(self) -> Plan:
        absorbed = self._absorbed()
        whole = self._wanted_whole(absorbed)
        if self.options.passes:
            self._find_exponentials(whole)

        def lower(node: Node) -> None:
            if isinstance(node, Unrolled):
                if node not in self.buffers:
                    found = [n for n in self.walk if isinstance(n, Unrolled) and n.scan is node.scan]
                    lower_scan(self, found, lower_one)
            elif isinstance(node, Equation) and node not in self.steps:
                lower_one(node)

        def lower_one(node: Equation) -> None:
            self._lower_rescues(node)
            if node in self.parts:
                self._lower_parts(node, node in whole)
            elif node not in absorbed:
                self._lower(node, absorbed)

        for node in self.walk:
            lower(node)
        self.kernels = [*store_shared(self.kernels, self.stored), *self.copies]
        rows = [b for b in self.own if b.extents and b.extents[0] in self.capacity]
        given = [*rows, *(b for b in self.buffers.values() if b.region == "L")]
        self.kernels = assign_phases(self.kernels, self.buffers, given, self.batches, self.capacity)
        wanted = [*self.roots.values()]
        if self.options.passes and not self.team:
            self._run_by_rows(lambda a, b: a is b)
        shared = {} if self.options.apart else overwriting(self.kernels, self.buffers, wanted, self.own)
        if self.options.passes and self.batches:
            place = lambda b: shared.get(id(b), (b, b))[1]
            self._run_by_rows(lambda a, b: place(a) is place(b))
        requests = lifetimes(self.kernels, self.buffers, wanted, self.own, shared)
        arena = apart(requests, self.capacity) if self.options.apart else plan_memory(requests, self.capacity)
        for buffer, root in shared.values():
            buffer.offset = root.offset
        for part in self.parts_of_scans:
            if not part.moves:
                place_part(part, self.capacity)
        in_place = [*(buffer for buffer, _ in shared.values()), *self.parts_of_scans]
        return Plan(self.kernels, self.buffers, arena, requests, self.capacity, self.roots, in_place)

    def _run_by_rows(self, same: Callable[[Buffer, Buffer], bool]) -> None:
        """Put nests over the same rows into one loop where caches do not hold all rows, or all of a block of them;
        and large scores into blocks of queries."""
        size, kept = BYTES[self.dtype], [self.buffers[root] for root in self.roots.values()]
        runs = run_by_rows(self.kernels, self.buffers, same, self.capacity, size, self.team)
        if not self.options.apart:
            self.kernels = in_blocks(Uses(self.kernels, self.buffers, [*kept, *self.own], same, size, self.team))
            keep_one_row(runs, self.kernels, self.buffers, kept)

    def _absorbed(self) -> dict[Node, Equation]:
        """Contractions that the equation adding their bias computes along: contraction -> that equation."""
        found: dict[Node, Equation] = {}
        for node in self.order:
            for read in node.reads:
                y = read.node
                if not isinstance(y, Equation) or self.count[y] > 1 or y in self.pinned:
                    continue
                match = self._as_product(y)
                if match and bias_of(node, y, match) and node not in found.values():
                    found[y] = node
        return found

    def _wanted_whole(self, absorbed: Mapping[Node, Equation]) -> set[Node]:
        """The logsumexps that somebody reads as one value: roots, factors of products, biases, gathered labels."""
        wanted = [*self.roots.values(), *(s for n in self.walk if isinstance(n, Unrolled) for s in sources(n))]
        found = {root for root in wanted if root in self.parts}
        for node in self.order:
            product = node in absorbed or node in absorbed.values() or self._as_product(node) or self._tiles(node)
            reads = {read.node for read in node.reads}
            found |= {s for s in sources(node) if s in self.parts and (product or s not in reads)}
        return found

    def _lower_parts(self, node: Equation, whole: bool) -> None:
        """A logsumexp: one loop nest gives its two parts, another their sum where it is wanted."""
        parts, name, terms = self.parts[node], self._name(node), self.terms.get(node)
        stored = self._stored_terms(terms, name) if terms is not None else None
        if stored is not None and node not in self.summed:
            nest = self._nest(node, stored.inverse)
        else:
            top = self.buffers[parts.top] = Buffer(name, "A", node.shape, node=parts.top)
            nest = self._nest(node, top)
            nest.log = self.buffers[parts.log] = Buffer(f"{name}_log", "A", node.shape, node=parts.log)
        nest.terms = stored
        self.kernels.append(nest)
        if whole:
            self.kernels.append(self._nest(copy_of(node), self._buffer(node)))

    def _stored_terms(self, terms: Exponentials, name: str) -> StoredTerms:
        out = self.buffers[terms.terms] = Buffer(f"{name}_exp", "A", terms.terms.shape, node=terms.terms)
        inverse = self.buffers[terms.inverse] = Buffer(f"{name}_inverse", "A", terms.inverse.shape, node=terms.inverse)
        return StoredTerms(out, terms.at, inverse, terms.terms)

    def _find_exponentials(self, whole: Collection[Node]) -> None:
        """The logsumexps whose exponentials some equation reads, and those that are read as sums, too."""
        able: dict[Node, Parts] = {y: self.parts[y] for y in self.order if y in self.parts and may_store(y)}
        for y in self.order:
            for of, at in softmaxes_in(y, self._near(y, able)):
                if of not in self.terms:
                    self.terms[of] = exponentials_of(of, able[of], at)
        reading = (reading_exponentials(y, self._near(y, self.terms)) for y in self.order)
        self.summed = {*whole, *(read.node for y in reading for read in y.reads)}

    def _near(self, y: Equation, among: Mapping[Node, T]) -> dict[Node, T]:
        """Those of some logsumexps whose exponentials y may read: steps of a scan read none of before the first."""
        within = any(s in self.steps for s in y.sources)
        return {of: among[of] for of in y.sources if of in among and (of in self.steps or not within)}

    def _lower_rescues(self, node: Equation) -> None:
        """What a norm needs where its sum of squares leaves the range of numbers, once for all that read the sum."""
        for total in norms_in(node):
            if total not in self.rescues:
                rescue = self.rescues[total] = rescue_of(total, self.dtype)
                name = self._name(total)
                for y, end in rescue.steps:
                    out = self.buffers[y] = Buffer(f"{name}_{end}", "A", y.shape, node=y)
                    nest = self._nest(y, out)
                    nest.part_of = node
                    self.kernels.append(nest)

    def _buffer(self, node: Equation) -> Buffer:
        found = self.pinned.get(node) or Buffer(self._name(node), "A", node.shape, node=node)
        self.buffers[node] = found
        return found

    def _name(self, node: Equation) -> str:
        return node.name or self.names.get(node) or f"t{len(self.kernels)}"

    def _lower(self, node: Equation, absorbed: Mapping[Node, Equation]) -> None:
        contraction = next((c for c, y in absorbed.items() if y is node), node)
        assert isinstance(contraction, Equation)
        match = self._as_product(contraction)
        out = self._buffer(node)
        if match is None:
            found = self._tiles(node)
            self.kernels += self._contraction(node, out, *found) if found else self._loops(node, out)
            return
        bias = bias_of(node, contraction, match) if contraction is not node else None
        product = self._product(node, contraction, match, out, bias)
        if not side_by_side(product) and product_method(product, self.capacity, self.dtype) == TILES:
            self._pack(product, match.b.node)
        self.kernels.append(product)

    def _as_product(self, y: Equation) -> Matched | None:
        """The matrix product that y is, when all strides are literals, which the primitives need.

        A free extent of unknown capacity inside a matrix makes them run-time values.
        """
        match = as_product(y)
        if match is None:
            return None
        inner = [e for node in (y, match.a.node, match.b.node) for e in node.shape[1:]]
        inner += [y.extents[match.column]] if match.column is not None else []
        return match if all(isinstance(e, int) or e in self.capacity for e in inner) else None

    def _tiles(self, y: Equation) -> tuple[Tiles, list[Copy]] | None:
        """The tiles of a product in an equation of any rank, found once."""
        if not self.options.tensors:
            return None
        if y not in self.found:
            self.found[y] = tiles_of(y, self._steps)
        return self.found[y]

    def _steps(self, node: Node) -> tuple[int, ...] | None:
        """The distances along the axes of a node, None where they are not literal or its values are whole numbers."""
        strides = Buffer("", "A", node.shape).strides
        names = {name for step in strides for terms, _ in step.terms for name in terms}
        if (isinstance(node, Leaf) and node.dtype == "int") or not names <= self.capacity.keys():
            return None
        return tuple(step.at(self.capacity) for step in strides)

    def _contraction(self, node: Equation, out: Buffer, tiles: Tiles, copies: Sequence[Copy]) -> list[Kernel]:
        """Products in an equation of any rank, behind the copies of factors that they need."""
        found: list[Kernel] = []
        packed = None
        for copy in copies:
            if isinstance(copy, Transposed):
                b = self.buffers[tiles.b.node]
                packed = Buffer(f"{b.name}_T", "A", (copy.rows, copy.columns))
                view = View(b, Count((((), copy.row),)), Count((((), copy.column),)))
                found.append(Pack(tiles.b.node, view, packed, copy.columns, copy.rows))
                continue
            found.append(self._copy(copy))
        a, b = self.buffers[tiles.a.node], packed or self.buffers[tiles.b.node]
        made = tuple(copy for copy in copies if isinstance(copy, Equation))
        return [*found, Contraction(node, out, tiles, a, b, packed, made)]

    def _pack(self, p: Product, source: Node) -> None:
        """Transpose the right factor first: its columns do not lie side by side."""
        p.packed = Buffer(f"{p.b.buffer.name}_T", "A", (p.k, p.n))
        self.kernels.append(Pack(source, p.b, p.packed, p.n, p.k))

    def _loops(self, node: Equation, out: Buffer) -> Sequence[Kernel]:
        """The kernels of what is no product: where a sum of products has masks, without them."""
        known = any(r.node in self.parts for r in node.reads)
        if not self.options.tensors or not node.masks or known or not is_sum_of_products(node):
            return self._nests(node, out)
        divided = by_remainders(node)
        found = self._tiles(divided[0]) if divided else None
        if divided and found:
            parts = self.buffers[divided[0]] = Buffer(f"{out.name}_parts", "A", divided[0].shape, node=divided[0])
            free = tuple(i for i in range(node.n_free) if node.extents[i] != 1)
            return [*self._contraction(divided[0], parts, *found), Nest(node, out, "map", free, form=divided[1])]
        reads = without_masks(node, TWICE)
        if reads is None:
            return self._nests(node, out)
        copies: list[Equation] = [r.node for r, own in zip(reads, node.reads, strict=True) if r is not own]  # pyright: ignore
        form = Equation(node.extents, node.n_free, node.reducer, node.body, tuple(reads), ())
        before = [self._copy(copy) for copy in copies]
        how, order = loop_order(form, lambda read: self.buffers[read.node].strides)
        return [*before, Nest(node, out, how, order, form=form)]

    def _copy(self, copy: Equation) -> Nest:
        """The loops of a copy of a factor, with zeros around or transposed."""
        name = f"{self.buffers[copy.reads[0].node].name}_{'0' if copy.masks else 'T'}"
        self.buffers[copy] = Buffer(name, "A", copy.shape, node=copy)
        nest = self._nest(copy, self.buffers[copy])
        nest.copied = True
        return nest

    def _nests(self, node: Equation, out: Buffer) -> list[Nest]:
        """The loops of an equation: one nest, or one for the sums of the rows and one that adds them up."""
        sums = sums_of_rows(node, self.batches) if self.options.by_rows else None
        if sums is None or Count.of(node.extents).at(self.capacity) * cost(node.body) < SMALL:
            return [self._nest(node, out)]
        buffer = self.buffers[sums] = Buffer(f"{out.name}_rows", "A", sums.shape, node=sums)
        total = Equation(node.extents[:1], 0, "sum", placeholder(0), (Read(sums, identity(1)),), ())
        rows = self._nest(sums, buffer)
        rows.part_of = node
        return [rows, Nest(node, out, "register", (0,), form=total)]

    def _nest(self, node: Equation, out: Buffer) -> Nest:
        y = reading_rescues(node, self.rescues, self.dtype)
        y = reading_parts(reading_exponentials(y, self._near(y, self.terms)), self.parts)
        form = y if y is not node else None
        target = scatter_target(node)
        if target is not None:
            t = target[0]
            free = [i for i in range(node.n_free) if i != t and node.extents[i] != 1]
            bound = [i for i in range(node.n_free, len(node.extents)) if node.extents[i] != 1]
            return Nest(node, out, "scatter", (*bound, *free), t, form=form)
        how, order = loop_order(y, lambda read: self.buffers[read.node].strides)
        nest = Nest(node, out, how, order, form=form)
        if node.dense and node.reducer != "cholesky":
            nest.work = Buffer(f"{out.name}_work", "A", node.reads[0].node.shape)
        return nest

    def stored(self, y: Equation, beside: Nest, reader: Nest) -> Nest:
        """The nest of a part of ``reader`` that is computed beside another."""
        out = Buffer(f"{beside.out.name}_slope", "A", y.shape, node=y)
        self.buffers[y] = out
        return Nest(y, out, "map", beside.order, part_of=reader.node)

    def _product(
        self, node: Equation, contraction: Equation, match: Matched, out: Buffer, bias: Read | None
    ) -> Product:
        extent = contraction.extents
        m = extent[match.row] if match.row is not None else 1
        n = extent[match.column] if match.column is not None else 1
        a = self._view(match.a, match.row, match.bound)
        b = self._view(match.b, match.bound, match.column)
        c = View(out, self._stride(out, match.row), self._stride(out, match.column))
        add = self._view(bias, None, match.column) if bias else None
        return Product(node, contraction, out, a, b, c, m, n, extent[match.bound], match.scale, add)

    def _view(self, read: Read, row: int | None, column: int | None) -> View:
        buffer = self.buffers[read.node]
        steps = {a.plain_index: s for a, s in zip(read.at, buffer.strides, strict=True)}
        return View(buffer, steps.get(row, Count()), steps.get(column, Count()))

    @staticmethod
    def _stride(out: Buffer, axis: int | None) -> Count:
        return out.strides[axis] if axis is not None else Count()


def scatter_target(y: Equation) -> tuple[int, Mask] | None:
    """The free index p that a mask ``gather - p = 0`` determines in a sum: no loop over p is needed.

    What the gather gives must be known to lie within the extent of p, else the sum would be written elsewhere.
    """
    if y.reducer != "sum" or y.elementwise:
        return None
    for mask in y.masks:
        if mask.kind != "eq" or len(mask.map.terms) != 2 or mask.map.const:
            continue
        gather = next(((a, c) for a, c in mask.map.terms if isinstance(a, Gather)), None)
        free = next(((a, c) for a, c in mask.map.terms if isinstance(a, int) and a < y.n_free), None)
        if gather and free and gather[1] == -free[1] and abs(free[1]) == 1 and index(free[0]) not in gather[0].at:
            inside = Mask("ge", size(y.extents[free[0]]) - 1 - Affine(0, ((gather[0], 1),)))
            if inside in y.masks or always_true(inside, y.extents):
                return free[0], mask
    return None
