"""Kernels as program text: one printer of loop nests and matrix products, shared by every backend."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from itertools import groupby

from graphc.emit.contractions import print_contraction
from graphc.emit.expressions import Printer
from graphc.emit.nests import NestPrinter, divided_index
from graphc.emit.score_blocks import print_blocks
from graphc.emit.text import Part, Piece, Text, extent, factor, offset, place, stride
from graphc.ir.node import Node
from graphc.lower.cost import FEWER, PACKED, TILES, side_by_side
from graphc.lower.kernels import (
    Blocks,
    Contraction,
    Kernel,
    Nest,
    Pack,
    Product,
    Steps,
    results_of,
    sources_of,
    work_of,
)  # fmt: skip
from graphc.lower.layout import Buffer, Count
from graphc.lower.loop_fusion import joined
from graphc.lower.phases import ROWS_AT_ONCE, rows_along

CACHED = 1 << 18  # values of rows that go through kernels together: a part of the second-level cache


class KernelPrinter:
    """Prints the kernels of one plan into a :class:`Text`.

    ``method`` chooses the primitive of a matrix product.  With ``rows``, a thread's rows of every free extent of the
    batch, the kernels are divided among threads as their share says; the program then knows ``me`` and ``team``.
    """

    def __init__(
        self,
        text: Text,
        buffers: Mapping[Node, Buffer],
        method: Callable[[Product | Contraction], str],
        rows: Mapping[str, Part] | None = None,
        capacity: Mapping[str, int] | None = None,
    ) -> None:
        self.text, self.buffers, self.method = text, buffers, method
        self.team, self.rows = rows is not None, rows or {}
        self.capacity = defaultdict(lambda: ROWS_AT_ONCE, capacity or {})

    def phase(self, kernels: Sequence[Kernel]) -> None:
        """Print the kernels of one phase; neighbours that belong together become one loop nest.

        What threads divide by rows comes first, a few rows through one kernel after the other: they stay in the cache.
        """
        rows = [k for k in kernels if self.team and k.share == "rows"]
        for e, part in self.rows.items():
            for packs, run in groupby([k for k in rows if rows_along(k) == e], self._packs):
                self._rows(list(run), packs, part)
        groups = joined([k for k in kernels if not (self.team and k.share == "rows")], self.buffers)
        for run in runs_of(groups):
            self._run(run, Part(stop=self._outer(run[0][0]))) if len(run) > 1 else self.kernel(*run[0])

    def _packs(self, kernel: Kernel) -> bool:
        """True for a product that packs its right factor: not again for every few rows."""
        return isinstance(kernel, Product | Contraction) and self.method(kernel) == PACKED

    def _rows(self, kernels: Sequence[Kernel], packs: bool, own: Part) -> None:
        """Print this thread's rows of some kernels, blocks of rows one after the other where that serves."""
        groups = joined(kernels, self.buffers)
        if packs or len(groups) < 2:
            for group in groups:
                self.kernel(*group)
            return
        step = rows_at_once(kernels, self.capacity)
        with self.text.block(f"for lo in range({own.start}, {own.stop}, {step}):"):
            self.text.add(f"hi = lo + {step} if lo + {step} < {own.stop} else {own.stop}")
            for run in runs_of(groups):
                self._run(run, Part("lo", "hi"))

    def kernel(self, kernel: Kernel, *others: Kernel) -> None:
        """Print a kernel, or this thread's part of it; with others, one loop nest of all."""
        if self.team and kernel.share == "one":
            with self.text.block(f"if me == {kernel.owner} % team:"):
                self._print((kernel, *others), Part(stop=self._outer(kernel)))
        elif self.team and kernel.share == "split" and not isinstance(kernel, Steps):
            size = self._outer(kernel)
            self.text.add(f"lo = {size}*me//team", f"hi = {size}*(me + 1)//team")
            self._print((kernel, *others), Part("lo", "hi"))
        elif self.team:
            self._print((kernel, *others), self._own(kernel))
        else:
            self._print((kernel, *others), Part(stop=self._outer(kernel)))

    def _own(self, kernel: Kernel) -> Part:
        """This thread's rows of what a kernel, or each of its steps, computes."""
        first = kernel.kernels[0] if isinstance(kernel, Steps) else kernel
        return self.rows[str(rows_along(first))]

    def _print(self, group: tuple[Kernel, ...], part: Part) -> None:
        kernel = group[0]
        if isinstance(kernel, Blocks):
            print_blocks(self.text, kernel, self.buffers, runs_of(joined(kernel.kernels, self.buffers)), part)
            return
        self.text.note(*group)
        if isinstance(kernel, Pack):
            self._pack(kernel, part)
        elif isinstance(kernel, Steps):
            self._steps(kernel)
        elif isinstance(kernel, Product):
            self.product(kernel, part)
        elif isinstance(kernel, Contraction):
            print_contraction(self.text, kernel, part, self.method(kernel), self.capacity)
        else:
            self._nests([k for k in group if isinstance(k, Nest)], part)

    def _run(self, run: Sequence[tuple[Kernel, ...]], part: Part) -> None:
        """Print nests over the same rows, inside one loop over them; a run of one as it is."""
        if len(run) == 1:
            self._print(run[0], part)
            return
        groups = [[k for k in group if isinstance(k, Nest)] for group in run]
        nests = [nest for group in groups for nest in group]
        self.text.note(*nests)
        start, around = len(self.text.lines), nests[0].around
        with self.text.loops(NestPrinter(self.text, self.buffers, groups[0], part).heads(around)):
            for group in groups:
                NestPrinter(self.text, self.buffers, group, part, around).print()
        self._piece(start, nests, False)

    def _steps(self, kernel: Steps) -> None:
        """A loop over the steps of a scan; a thread does those of its own rows."""
        scan, length = kernel.node.scan, kernel.node.scan.length
        for b in kernel.moving:
            if isinstance(b.slot, str):
                self._move(b, extent(b.slot))
        self._within(kernel, kernel.before)
        start = str(length - 1) if isinstance(length, int) else f"{extent(length)} - 1"
        count = f"{start}, -1, -1" if scan.backward else extent(length)
        with self.text.block(f"for now in range({count}):"):
            for b in kernel.moving:
                if not isinstance(b.slot, str):
                    self._move(b, f"(now + {b.slot})" if b.slot else "now")
            self._within(kernel, kernel.kernels)

    def _move(self, b: Buffer, slot: str) -> None:
        """Where a part of a buffer lies."""
        assert b.whole is not None
        width = factor(Count.of(b.whole.extents[1:]))
        self.text.add(f"{b.name} = {offset(place(b.whole), slot if width == '1' else f'{slot}*{width}')}")

    def _within(self, steps: Steps, kernels: Sequence[Kernel]) -> None:
        for group in joined(kernels, self.buffers):
            rows = steps.share == "split" and self.team
            self._print(group, self._own(steps) if rows else Part(stop=self._outer(group[0])))

    def _nests(self, nests: Sequence[Nest], part: Part) -> None:
        start = len(self.text.lines)
        self._piece(start, nests, NestPrinter(self.text, self.buffers, nests, part).print())

    def _piece(self, start: int, nests: Sequence[Nest], apart: bool) -> None:
        """Note that the lines from ``start`` on are those of some nests."""
        touched = [b for n in nests for b in (*(self.buffers[s] for s in sources_of(n)), *results_of(n))]
        work = sum(work_of(nest, self.capacity) for nest in nests)
        self.text.pieces.append(Piece(start, len(self.text.lines), self.text.depth, touched, work, apart))

    def _pack(self, p: Pack, part: Part) -> None:
        """A transposed copy; of a part of a buffer, or of rows that lie a capacity apart, element by element."""
        if p.is_dense:
            target = f"{p.out.region}, {_advance(place(p.out), part, str(p.rows))}"
            source = f"{p.source.region}, {_advance(place(p.source), part, '1')}"
            self.text.add(f"transpose({target}, {source}, {p.rows}, {part.length}, {p.columns})")
            return
        with self.text.loops([f"for i in range({extent(p.rows)}):", f"for j in range({extent(p.columns)}):"]):
            target = f"{p.out.region}[{place(p.out)} + j*{factor(Count.of((p.rows,)))} + i]"
            at = f"{place(p.source)} + i*{factor(p.view.column)} + j*{factor(p.view.row)}"
            self.text.add(f"{target} = {p.source.region}[{at}]")

    def _outer(self, kernel: Kernel) -> str:
        """The extent that is divided."""
        if isinstance(kernel, Product):
            return extent(kernel.n if self._by_columns(kernel) else kernel.m)
        if isinstance(kernel, Contraction):
            return extent(kernel.divided.extent)
        if isinstance(kernel, Blocks):
            return extent(kernel.loops[0][0])
        if isinstance(kernel, Pack):
            return extent(kernel.columns)
        if isinstance(kernel, Steps) or not kernel.order:
            return "1"
        return extent(kernel.node.extents[divided_index(kernel)])

    def product(self, p: Product, part: Part) -> None:
        """One call of a primitive, on the rows of this part."""
        b, b_at, b_strides = p.b.buffer.region, place(p.b.buffer), (stride(p.b.row), stride(p.b.column))
        if p.packed is not None:
            b, b_at, b_strides = p.packed.region, place(p.packed), (stride(Count.of((p.n,))), "1")
        width, bias_at = self._row_stride(p), place(p.bias.buffer) if p.bias else ""
        if self._by_columns(p):
            a_at, b_at, c_at = place(p.a.buffer), _advance(b_at, part, b_strides[1]), _advance(place(p.out), part, "1")
            bias_at, sizes = _advance(bias_at, part, "1"), f"{extent(p.m)}, {part.length}, {extent(p.k)}"
        else:
            a_at, c_at = (_advance(place(x), part, w) for x, w in ((p.a.buffer, stride(p.a.row)), (p.out, width)))
            sizes = f"{part.length}, {extent(p.n)}, {extent(p.k)}"
        a = f"{p.a.buffer.region}, {a_at}, {stride(p.a.row)}, {stride(p.a.column)}"
        c = f"{p.out.region}, {c_at}, {width}"
        bias = f"{p.bias.buffer.region}, {bias_at}, 2" if p.bias else f"{p.out.region}, {place(p.out)}, 0"
        arguments = f"({a}, {b}, {b_at}, {', '.join(b_strides)}, {c}, {sizes}, {bias})"
        if self._may_have_few_rows(p):
            with self.text.block(f"if {part.length} < {FEWER}:"):
                self.text.add(TILES + arguments)
            with self.text.block("else:"):
                self.text.add(PACKED + arguments)
        else:
            self.text.add(self.method(p) + arguments)
        if p.scale != 1:
            self._scale(p, part, width)

    def _scale(self, p: Product, part: Part, width: str) -> None:
        """Multiply the result by its constant; rows of a free length lie a capacity apart."""
        self.text.add(f"scale = {Printer({}, share=False, hoists=False, given=self.text.number).text(p.scale)[0]}")
        heads, at = [f"for t in range({part.times(extent(p.n)).bounds}):"], "t"
        if isinstance(p.n, str):
            heads, at = [f"for i in range({part.bounds}):", f"for j in range({extent(p.n)}):"], f"i*{width} + j"
        with self.text.loops(heads):
            target = f"{p.out.region}[{place(p.out)} + {at}]"
            self.text.add(f"{target} = {target}*scale")

    def _may_have_few_rows(self, p: Product) -> bool:
        """True when a call, unlike a training step, may bring less rows than it pays to pack a right factor for."""
        return not self.team and isinstance(p.m, str) and self.method(p) == PACKED and side_by_side(p)

    def _by_columns(self, p: Product) -> bool:
        """True when threads divide the columns of a packed product, not its rows: what is longer is packed once."""
        wide = isinstance(p.n, int) and isinstance(p.m, int) and p.n > p.m
        return wide and self.team and p.share == "split" and p.scale == 1 and self.method(p) == PACKED

    @staticmethod
    def _row_stride(p: Product) -> str:
        """The distance of the rows of the result; a single row or column still needs a literal."""
        found = stride(p.c.row)
        return found if found != "0" else stride(Count.of((p.n,)))


def runs_of(groups: Sequence[tuple[Kernel, ...]]) -> list[list[tuple[Kernel, ...]]]:
    """Groups of one run together, every other one by itself."""
    number = lambda at: groups[at][0].run if isinstance(groups[at][0], Nest) and groups[at][0].run else -1 - at
    return [[groups[at] for at in run] for _, run in groupby(range(len(groups)), number)]


def rows_at_once(kernels: Sequence[Kernel], capacity: Mapping[str, int]) -> int:
    """Rows that go through some kernels together: fewer where a row is a whole array, whose values fill a cache."""
    if all(len(k.out.extents) <= 2 for k in kernels):
        return ROWS_AT_ONCE
    size = sum(Count.of(k.out.extents[1:]).at(capacity) for k in kernels)
    return max(1, min(ROWS_AT_ONCE, CACHED // size))


def _advance(at: str, part: Part, width: str) -> str:
    """An offset moved to the start of a part."""
    return at if part.start == "0" or width == "0" else f"{at} + {part.times(width).start}"
