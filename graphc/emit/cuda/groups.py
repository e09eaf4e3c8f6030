"""Groups of kernels for the threads of a grid: loops over elements, lanes of a reduction, tiles of a product.

Every loop strides by the number of threads or blocks, and nothing is kept in a thread across a barrier: the text gives
the same results for any number of threads, also for one.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace

from graphc.emit.cuda.arithmetic import Term, minus, plus, times, u
from graphc.emit.cuda.bodies import (
    COUNT,
    JOIN,
    START,
    Element,
    bias_text,
    decode,
    is_plain,
    joint_element,
    loop_bound,
    product_element,
    scaled,
    term_of,
    view_text,
)
from graphc.emit.cuda.memory_map import Places
from graphc.emit.text import Text
from graphc.ir.affine import Extent
from graphc.ir.letters import index_letters
from graphc.ir.node import Node
from graphc.lower.kernels import Kernel, Nest, Pack, Product, Steps, caption_of
from graphc.lower.layout import Count
from graphc.lower.plan import scatter_target
from graphc.lower.stages import Group, stages_of
from graphc.lower.tiers import lanes_of
from graphc.records import record

TILE, DEPTH, PATCH = 32, 32, 2
"""A block computes TILE x TILE elements of a product from DEPTH columns and rows at a time, PATCH x PATCH a thread."""


@record(frozen=True)
class Team:
    """Who computes: texts of a thread's number and the number of threads, of its block and the number of blocks.

    ``barrier`` prints what makes all of them wait for one another.
    """

    me: str
    team: str
    block: str
    blocks: str
    barrier: Callable[[Text], None]


def one_block() -> Team:
    """The threads of a block that is alone."""
    return Team("thread", "threads", "U(0)", "U(1)", lambda text: text.add("cuda.syncthreads()"))


class GroupPrinter:
    """Prints groups of one program; ``method`` names how each is computed."""

    def __init__(
        self,
        text: Text,
        places: Places,
        team: Team,
        method: Callable[[Group], str],
        captions: Mapping[Node, str],
        dtype: str,
    ) -> None:
        self.text, self.places, self.team, self.method = text, places, team, method
        self.captions, self.dtype, self.own_rows = captions, dtype, False

    def print(self, group: Group) -> None:
        """All kernels of a group, their formulas above them."""
        self.text.add(*(f"# {caption_of(k, self.captions)}" for k in group.kernels))
        ways = {"elements": self._elements, "lanes": self._lanes, "tiles": self._tiles, "scatter": self._scatter,
                "matrices": self._matrices, "steps": self._steps, "rows": self._steps_of_rows}  # fmt: skip
        ways["elements" if self.own_rows else self.method(group)](group)

    # ------------------------------------------------------------------ loops of threads
    def every(self, total: Term, inside: Callable[[], None], name: str = "e") -> None:
        """Elements 0 .. total - 1, shared among all threads."""
        self.strided(name, total, self.team.me, self.team.team, inside)

    def lanes(self, total: Term, inside: Callable[[], None], name: str = "e") -> None:
        """Elements 0 .. total - 1, shared among the threads of each block."""
        self.strided(name, total, "thread", "threads", inside)

    def strided(self, name: str, total: Term, first: str, step: str, inside: Callable[[], None]) -> None:
        self.text.add(f"{name} = {first}")
        with self.text.block(f"while {name} < {u(total)}:"):
            inside()
            self.text.add(f"{name} = U({name} + {step})")

    # ------------------------------------------------------------------ one element a thread
    def _elements(self, group: Group) -> None:
        names = free_names(group.shape)

        def inside() -> None:
            decode(self.text, "e", names, group.shape)
            self._statements(group.kernels, names, {})

        if self.own_rows:
            width = size_of(group.shape[1:])
            self.strided("e", times("last_row", width), u(plus(times("first_row", width), "thread")), "threads", inside)
        else:
            self.every(size_of(group.shape), inside)

    def _statements(self, kernels: Sequence[Kernel], names: Sequence[Term], known: dict[Node, str]) -> None:
        """One element of each kernel; neighbours without guards share what they compute."""
        for plain, run in itertools.groupby(kernels, is_plain):
            if plain:
                joint_element(self.text, self.places, [k for k in run if isinstance(k, Nest)], known, self.dtype)
                known = {}
                continue
            for kernel in run:
                self._element(kernel, names)
                known = {kernel.node: "s"} if isinstance(kernel, Product) else {}

    def _element(self, kernel: Kernel, names: Sequence[Term]) -> None:
        if isinstance(kernel, Product):
            row, column = product_place(kernel, names)
            product_element(self.text, self.places, kernel, row, column)
        elif isinstance(kernel, Nest):
            Element(self.text, self.places, kernel, self.dtype).print()

    def _scatter(self, group: Group) -> None:
        """One thread for every value of the free indices that no gather gives."""
        nest = group.head
        assert isinstance(nest, Nest)
        found = scatter_target(nest.equation)
        assert found is not None
        others = [i for i in range(nest.equation.n_free) if i != found[0] and nest.equation.extents[i] != 1]
        element = Element(self.text, self.places, nest, self.dtype)
        extents = [nest.equation.extents[i] for i in others]

        def inside() -> None:
            decode(self.text, "e", [element.names[i] for i in others], extents)
            element.scatter(others)

        self.every(size_of(extents), inside)

    def _matrices(self, group: Group) -> None:
        """One thread for every matrix of a stack."""
        nest = group.head
        assert isinstance(nest, Nest)
        element = Element(self.text, self.places, nest, self.dtype)
        extents = [nest.equation.extents[i] for i in nest.order]

        def inside() -> None:
            decode(self.text, "e", [element.names[i] for i in nest.order], extents)
            element.function_of_matrix()

        self.every(size_of(extents), inside)

    # ------------------------------------------------------------------ steps of a scan
    def _steps(self, group: Group) -> None:
        """One step after the other, all threads together."""
        steps = group.head
        assert isinstance(steps, Steps)
        scan, add = steps.node.scan, self.text.add
        assert isinstance(scan.length, int)  # free ones stay on the CPU
        self._stages(steps.before)
        with self.text.block(f"for now_ in range(U({scan.length})):"):
            add(f"now = {minus(scan.length - 1, 'U(now_)') if scan.backward else 'U(now_)'}")
            for b in steps.moving:
                assert b.whole is not None
                step = times(plus("now", b.slot), self.places.number(Count.of(b.whole.extents[1:])))
                add(f"{self.places.start(b)} = {u(plus(self.places.start(b.whole), step))}")
            self._stages(steps.kernels)

    def _steps_of_rows(self, group: Group) -> None:
        """Every block makes all steps of rows of its own: its threads wait for one another alone."""
        block, blocks = self.team.block, self.team.blocks
        share = lambda number: f"U(U({COUNT}*{number}) // {blocks})"
        self.text.add(f"first_row = {share(block)}", f"last_row = {share(f'U({block} + U(1))')}")
        with self._of_a_block():
            self._steps(group)

    @contextmanager
    def _of_a_block(self) -> Generator[None, None, None]:
        team, self.own_rows = self.team, True
        self.team = replace(team, barrier=lambda text: text.add("cuda.syncthreads()"))
        yield
        self.team, self.own_rows = team, False

    def _stages(self, kernels: Sequence[Kernel]) -> None:
        """Stage after stage of a step, all threads waiting for one another behind each."""
        for groups in stages_of(kernels, self.places.buffers, self.places.capacity, self._joins):
            for group in groups:
                self.print(group)
            self.team.barrier(self.text)

    def _joins(self, kernel: Kernel) -> bool:
        return self.own_rows or self.method(Group([kernel], 0, (), open=False)) in ("elements", "tiles")

    # ------------------------------------------------------------------ long reductions
    def _lanes(self, group: Group) -> None:
        """Partial sums in fixed places, then their sum in a fixed order: one block an element of the result."""
        nest = group.head
        assert isinstance(nest, Nest)
        element = Element(self.text, self.places, nest, self.dtype)
        y, bound, lanes = nest.equation, element.bound, lanes_of(nest, self.places.capacity)

        def partial_sum() -> None:
            self.text.add(f"s = {START[y.reducer]}")
            value, lines = element.body()
            self.text.add("q = e")
            with self.text.block(f"while q < {u(size_of([y.extents[i] for i in bound]))}:"):
                decode(self.text, "q", [element.names[i] for i in bound], [y.extents[i] for i in bound])
                element.join(value, lines)
                self.text.add(f"q = U(q + U({lanes}))")
            self.text.add("G[e] = s")

        def inside() -> None:
            decode(self.text, "o", element.names[: y.n_free], y.shape)
            self.lanes(lanes, partial_sum)
            self.fold(y.reducer, lanes)
            with self.text.block("if thread == U(0):"):
                self.text.add(f"{element.out()} = G[0]")
            self.text.add("cuda.syncthreads()")

        self.strided("o", size_of(y.shape), self.team.block, self.team.blocks, inside)

    def fold(self, reducer: str, lanes: int) -> None:
        """G[0] = the reduction of G, halving it again and again."""
        self.text.add("cuda.syncthreads()", f"h = U({lanes // 2})")

        def add() -> None:
            self.text.add(f"G[e] = {JOIN[reducer].format('G[e]', 'G[U(e + h)]')}")

        with self.text.block("while h > U(0):"):
            self.lanes("h", add)
            self.text.add("cuda.syncthreads()", "h = U(h >> U(1))")

    # ------------------------------------------------------------------ tiles of a product
    def _tiles(self, group: Group) -> None:
        """Tiles of the result, one a block at a time; parts of both factors pass through shared memory."""
        p = group.head
        assert isinstance(p, Product)
        columns = times(1, -(-_whole(p.n, self.places) // TILE))
        rows = f"U(U({COUNT} + U({TILE - 1})) // U({TILE}))" if isinstance(p.m, str) else -(-p.m // TILE)

        def inside() -> None:
            self.text.add(f"top_row = U(U(o // {u(columns)})*U({TILE}))")
            self.text.add(f"left_column = U(U(o % {u(columns)})*U({TILE}))")
            self._tile_sums(p)
            self._tile_result(group, p)

        self.strided("o", times(rows, columns), self.team.block, self.team.blocks, inside)

    def _tile_sums(self, p: Product) -> None:
        """TC = the tile of the product."""
        add = self.text.add
        self.lanes(TILE * TILE, lambda: add("TC[e] = f(0.0)"))
        add("k0 = U(0)")
        with self.text.block(f"while k0 < {loop_bound(p.k)}:"):
            self._stage(p, "TA", p.a, ("top_row", p.m), transposed=True)
            self._stage(p, "TB", p.b, ("left_column", p.n), transposed=False)
            add("cuda.syncthreads()")
            self.lanes((TILE // PATCH) ** 2, self._patch)
            add("cuda.syncthreads()", f"k0 = U(k0 + U({DEPTH}))")

    def _stage(self, p: Product, target: str, view, other: tuple[str, Extent], transposed: bool) -> None:
        """A part of a factor into shared memory, [depth, place], zeros where it ends; neighbours in memory first."""
        start, extent = other
        along_depth = self.places.number(view.column if transposed else view.row) == 1

        def inside() -> None:
            first, second = f"U(e // U({TILE}))", f"U(e % U({TILE}))"
            d, x = (second, first) if along_depth else (first, second)
            self.text.add(f"d = {d}", f"x = {x}", "k = U(k0 + d)", f"p = U({start} + x)")
            row, column = ("p", "k") if transposed else ("k", "p")
            read = view_text(self.places, view, row, column)
            self.text.add("value = f(0.0)")
            with self.text.block(f"if k < {loop_bound(p.k)} and p < {loop_bound(extent)}:"):
                self.text.add(f"value = {read}")
            self.text.add(f"{target}[U(U(d*U({TILE + 1})) + x)] = value")

        self.lanes(TILE * DEPTH, inside)

    def _patch(self) -> None:
        """PATCH x PATCH elements of the tile, kept in registers over one depth."""
        add, across = self.text.add, TILE // PATCH
        pairs = [(i, j) for i in range(PATCH) for j in range(PATCH)]
        add(f"x = U(e // U({across}))", f"p = U(e % U({across}))")
        at = lambda i, j: f"TC[U(U(U(x + U({i * across}))*U({TILE})) + U(p + U({j * across})))]"
        add(*(f"s{i}{j} = {at(i, j)}" for i, j in pairs))
        add(f"for d_ in range(U({DEPTH})):")
        self.text.depth += 1
        add("d = U(d_)", f"q = U(d*U({TILE + 1}))")
        add(*(f"left{i} = TA[U(q + U(x + U({i * across})))]" for i in range(PATCH)))
        add(*(f"right{j} = TB[U(q + U(p + U({j * across})))]" for j in range(PATCH)))
        add(*(f"s{i}{j} = s{i}{j} + left{i}*right{j}" for i, j in pairs))
        self.text.depth -= 1
        add(*(f"{at(i, j)} = s{i}{j}" for i, j in pairs))

    def _tile_result(self, group: Group, p: Product) -> None:
        """The tile where it belongs, and whatever else is computed of the same elements."""
        names = free_names(group.shape)

        def inside() -> None:
            add = self.text.add
            add(f"row = U(top_row + U(e // U({TILE})))", f"column = U(left_column + U(e % U({TILE})))")
            with self.text.block(f"if row < {loop_bound(p.m)} and column < {loop_bound(p.n)}:"):
                start = bias_text(self.places, p, "column")
                add(f"s = {start} + TC[e]", *([f"s = {scaled(p)}"] if p.scale != 1 else []))
                add(f"{view_text(self.places, p.c, 'row', 'column')} = s")
                self._followers(group, p, names)

        self.lanes(TILE * TILE, inside)
        self.text.add("cuda.syncthreads()")

    def _followers(self, group: Group, p: Product, names: Sequence[Term]) -> None:
        if len(group.kernels) == 1:
            return
        row, column = product_place(p, names)
        self.text.add(*(f"{name} = {place}" for name, place in ((row, "row"), (column, "column")) if name))
        self._statements(group.kernels[1:], names, {p.node: "s"})


def free_names(shape: Sequence[Extent]) -> list[Term]:
    """Names of the free indices of a group, the same as in each of its formulas."""
    return [0 if e == 1 else name for e, name in zip(shape, index_letters(shape), strict=True)]


def size_of(extents: Sequence[Extent]) -> Term:
    """The number of elements."""
    total: Term = 1
    for e in extents:
        total = times(total, term_of(e))
    return total


def product_place(p: Product, names: Sequence[Term]) -> tuple[Term, Term]:
    """The names of row and column among the free indices of the result, 0 where there is none."""
    moving = [name for name in names if name != 0]
    if len(moving) == 2:
        return moving[0], moving[1]
    one = moving[0] if moving else 0
    return (one, 0) if p.m != 1 else (0, one)


def _whole(e: Extent, places: Places) -> int:
    return places.capacity[e] if isinstance(e, str) else e


def widest_lanes(groups: Sequence[Group], method: Callable[[Group], str], capacity: Mapping[str, int]) -> int:
    """Elements of shared memory that the reductions among some groups need."""
    heads = [g.head for g in with_steps(groups, method) if method(g) == "lanes"]
    return max((lanes_of(h, capacity) for h in heads if isinstance(h, Nest)), default=0)


def with_steps(groups: Sequence[Group], method: Callable[[Group], str]) -> list[Group]:
    """Groups, with a group for each kernel of the steps that all threads make together."""
    steps = [g.head for g in groups if method(g) == "steps"]
    inner = [k for s in steps if isinstance(s, Steps) for k in (*s.before, *s.kernels) if not isinstance(k, Pack)]
    return [*groups, *(Group([k], 0, (), open=False) for k in inner)]
