"""Large matrix products: the operands are packed into the order in which the tiles read them.

The loops are those of Goto and van de Geijn (ACM TOMS 34, 2008, article 12): blocks of terms, a packed block of A,
packed panels of B, tiles whose sums stay in registers.  Memory is slower than the tiles, so nothing waits for it: while
a tile is computed, it asks for the cache lines of C that the next tile changes, and for those of a slice of the next
panel of B, which is packed behind it.

Every element sums k upwards in one chain of fused operations, going through C between two blocks of terms, so it has
the bits of :func:`graphc.primitives.matmul.gemm.gemm` and those of any split of rows or columns.

One function for each way the operands lie serves all products of a program, of any shape, and they share the tiles and
the packing: their code is compiled once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from llvmlite import ir

from graphc.primitives import types
from graphc.primitives.intrinsics import Intrinsic
from graphc.primitives.matmul.gemm import ADD, BIAS
from graphc.primitives.matmul.packed_kernel import (
    LINE,
    Lines,
    Tile,
    asks_ahead,
    emit_tile,
    lines_of_row,
    panel_width,
    tile_shape,
)
from graphc.primitives.matmul.packing import TOGETHER, Operand, Part, pack, pack_tiles
from graphc.primitives.matmul.vector_ir import I64, Int, Vectors, function_of, vector_unit
from graphc.primitives.memory import as_index
from graphc.primitives.types import are_factors
from graphc.records import record

TERMS = 1024
"""Terms of a block: two panels of B take a third of a level-2 cache of 1 MiB, and C is passed through seldom."""

BLOCK_BYTES = 2**20
"""Size of the packed block of A, on the stack of the thread. Tiles read it slowly, so it may lie in a farther cache."""


@record(frozen=True)
class Scratch:
    """Two packed panels of B, a row for what lies below the last row of C, and one of zeros."""

    right: ir.Value
    below: ir.Value
    zeros: ir.Value

    @classmethod
    def on_stack(cls, v: Vectors) -> Scratch:
        """Memory of the function that is being emitted."""
        width = panel_width(v)
        return cls(_on_stack(v, 2 * width * TERMS), _on_stack(v, width), _on_stack(v, width))

    def panel(self, v: Vectors, t: ir.Value) -> ir.Value:
        """Where panel t is packed: every other one in the same place."""
        return v.at(self.right, v.mul(v.ir.and_(t, I64(1)), panel_width(v) * TERMS))


@record(frozen=True)
class Left:
    """The packed block of A: the rows of a tile beside one another, ``apart`` terms from those of the next."""

    base: ir.Value
    apart: ir.Value


@record(frozen=True)
class Result:
    """Rows of C: its corner, the distance of the rows, its extents.

    Where ``fresh`` is 1, column j begins with start[j*step], otherwise with what stands there.
    """

    corner: ir.Value
    distance: ir.Value
    height: ir.Value
    width: ir.Value
    start: ir.Value
    step: ir.Value
    fresh: ir.Value


@record(frozen=True)
class Panels:
    """How columns are cut: ``wide`` panels of three vectors, then ``narrow`` ones of two."""

    columns: ir.Value
    wide: ir.Value
    narrow: ir.Value

    @classmethod
    def of(cls, v: Vectors, columns: ir.Value) -> Panels:
        """At most one vector too many."""
        lanes = vector_unit()[0] // v.size
        vectors = v.ir.sdiv(v.ir.add(columns, I64(lanes - 1)), I64(lanes))
        rest = v.ir.srem(vectors, I64(3))
        narrow = v.ir.select(v.ir.icmp_signed("==", rest, I64(0)), I64(0), v.ir.sub(I64(3), rest))
        narrow = v.least(narrow, vectors)
        return cls(columns, v.ir.sdiv(v.ir.sub(vectors, v.ir.mul(narrow, I64(2))), I64(3)), narrow)

    def count(self, v: Vectors) -> ir.Value:
        """Panels."""
        return v.ir.add(self.wide, self.narrow)

    def at(self, v: Vectors, t: ir.Value) -> tuple[ir.Value, ir.Value, ir.Value]:
        """Whether panel t is narrow, its first column, and how many columns it has (none behind the last panel)."""
        lanes, width = vector_unit()[0] // v.size, panel_width(v)
        slim = v.ir.icmp_signed(">=", t, self.wide)
        back = v.ir.select(slim, v.int(v.mul(v.ir.sub(t, self.wide), lanes)), I64(0))
        first = v.ir.sub(v.int(v.mul(t, width)), back)
        return slim, first, v.least(v.ir.sub(self.columns, first), v.ir.select(slim, I64(width - lanes), I64(width)))


def _emit_left(v: Vectors, a: Operand, height: ir.Value, terms: ir.Value, left: Left) -> None:
    """Pack rows of A."""
    rows = tile_shape()[0]
    if a.width == 1:
        pack_tiles(v, Part(a, terms, height), rows, left.apart, left.base)
        return

    def pack_left(i: Int, _: list[ir.Value]) -> list[ir.Value]:
        some = Part(a.at(v, 0, i), terms, v.ir.sub(height, i))
        pack(v, some, rows, v.at(left.base, v.mul(i, left.apart)))
        return []

    v.loop(height, [], pack_left, step=rows)


@record(frozen=True)
class Slices:
    """The next panel of B in slices of ``terms`` terms, one for each tile of this panel: as many as there are tiles."""

    panel: Operand
    terms: ir.Value
    present: ir.Value
    all_terms: ir.Value

    @classmethod
    def of(
        cls, v: Vectors, b: Operand, terms: ir.Value, columns: tuple[ir.Value, ir.Value], height: ir.Value
    ) -> Slices:
        """Slices of the panel whose first column and number of columns are given, for tiles of ``height`` rows."""
        grain, rows = LINE // v.size, tile_shape()[0]
        tiles = v.ir.sdiv(v.ir.add(height, I64(rows - 1)), I64(rows))
        grains = v.ir.sdiv(v.ir.add(terms, I64(grain - 1)), I64(grain))
        each = v.ir.mul(v.ir.sdiv(v.ir.add(grains, v.ir.sub(tiles, I64(1))), tiles), I64(grain))
        return cls(b.at(v, 0, columns[0]), each, columns[1], terms)

    def first_term(self, v: Vectors, i: Int) -> ir.Value:
        """The first term of the slice that belongs to the tile of row i."""
        return v.ir.mul(v.ir.sdiv(v.int(i), I64(tile_shape()[0])), self.terms)

    def lines(self, v: Vectors, begin: ir.Value) -> Lines:
        """The cache lines of a slice. Each is named by its last element: the first may belong to the line before."""
        grain, width = LINE // v.size, panel_width(v)
        if self.panel.width == 1:
            count = v.ir.mul(self.terms, I64(lines_of_row(v)))
            return Lines(self.panel.at(v, begin, grain - 1).base, self.panel.terms, count, across=False)
        count = v.ir.mul(v.ir.sdiv(self.terms, I64(grain)), I64(width))
        return Lines(self.panel.at(v, v.add(begin, grain - 1), 0).base, self.panel.width, count, across=True)

    def emit(self, v: Vectors, begin: ir.Value, out: ir.Value) -> None:
        """Pack the slice that begins there, if there is one."""
        some, width = v.least(self.terms, v.ir.sub(self.all_terms, begin)), panel_width(v)
        there = v.ir.and_(v.ir.icmp_signed(">", self.present, I64(0)), v.ir.icmp_signed(">", some, I64(0)))
        part = Part(self.panel.at(v, begin, 0), some, self.present, asked=asks_ahead())
        with v.ir.if_then(there):
            pack(v, part, width, v.at(out, v.mul(begin, width)))


def _emit_panels(v: Vectors, left: Left, b: Operand, terms: ir.Value, c: Result, scratch: Scratch) -> None:
    """C += packed A times packed B, panel after panel."""
    rows, vectors = tile_shape()
    panels = Panels.of(v, c.width)
    pack(v, Part(b, terms, panels.at(v, I64(0))[2]), panel_width(v), scratch.panel(v, I64(0)))

    def panel(t: ir.Value, _: list[ir.Value]) -> list[ir.Value]:
        slim, j, present = panels.at(v, t)
        following = v.ir.add(t, I64(1))
        _, following_j, following_present = panels.at(v, following)
        slices = Slices.of(v, b, terms, (following_j, following_present), c.height)
        start = v.at(c.start, v.mul(j, c.step))

        def tile(i: ir.Value, _: list[ir.Value]) -> list[ir.Value]:
            corner, height = v.at(c.corner, v.mul(i, c.distance), j), v.ir.sub(c.height, i)
            more = v.ir.icmp_signed(">", height, I64(rows))
            target = v.ir.select(more, v.at(corner, v.mul(rows, c.distance)), v.at(c.corner, following_j))
            entries, begin = v.at(left.base, v.mul(i, left.apart)), slices.first_term(v, i)
            lines = slices.lines(v, begin)
            sums = Tile(entries, scratch.panel(v, t), corner, scratch.below, start, target, terms, c.distance, height,
                        present, c.fresh)  # fmt: skip
            with v.ir.if_else(slim) as (then, otherwise):
                with then:
                    emit_tile(v, sums, lines, vectors - 1)
                with otherwise:
                    emit_tile(v, sums, lines, vectors)
            slices.emit(v, begin, scratch.panel(v, following))
            return []

        v.loop(c.height, [], tile, step=rows)
        return []

    v.loop(panels.count(v), [], panel)


def _emit_product(v: Vectors, a: Operand, b: Operand, c: Result, k: ir.Value) -> None:
    scratch = Scratch.on_stack(v)
    space, group = BLOCK_BYTES // v.size, TOGETHER * (vector_unit()[0] // v.size)
    most_terms = best_terms(v, c.height, k)
    left = Left(_on_stack(v, space + group * TERMS), most_terms)
    even = even_parts(v, c.height, _most_rows(v, most_terms), tile_shape()[0])
    for t in range(0, panel_width(v), vector_unit()[0] // v.size):
        v.store(v.zero(vector_unit()[0] // v.size), v.at(scratch.zeros, t), vector_unit()[0] // v.size)
    start = v.ir.select(v.ir.icmp_signed("==", c.step, I64(0)), scratch.zeros, c.start)

    def block(i0: Int, k0: Int) -> list[ir.Value]:
        height, terms = v.least(even, v.ir.sub(c.height, i0)), v.least(most_terms, v.ir.sub(k, k0))
        _emit_left(v, a.at(v, k0, i0), height, terms, left)
        fresh = v.ir.select(v.ir.icmp_signed("==", k0, v.int(0)), c.fresh, I64(0))
        rows = replace(c, corner=v.at(c.corner, v.mul(i0, c.distance)), height=height, start=start, fresh=fresh)
        _emit_panels(v, left, b.at(v, k0, 0), terms, rows, scratch)
        return []

    once = v.most(k, I64(1))  # C = start also where there are no terms
    v.loop(c.height, [], lambda i0, _: v.loop(once, [], lambda k0, _: block(i0, k0), step=most_terms), step=even)


def best_terms(v: Vectors, m: ir.Value, k: ir.Value) -> ir.Value:
    """Terms of a block of A: about TERMS, or half as many where that makes fewer blocks of rows."""
    many, few = (even_parts(v, k, I64(most), LINE // v.size) for most in (TERMS, TERMS // 2))
    blocks = [_quotient_up(v, m, _most_rows(v, terms)) for terms in (many, few)]
    return v.ir.select(v.ir.icmp_signed(">", *blocks), few, many)


def _most_rows(v: Vectors, terms: ir.Value) -> ir.Value:
    """Rows of a block of A with so many terms."""
    rows = tile_shape()[0]
    return v.ir.mul(v.ir.sdiv(I64(BLOCK_BYTES // v.size), v.ir.mul(terms, I64(rows))), I64(rows))


def even_parts(v: Vectors, total: ir.Value, most: ir.Value, unit: int) -> ir.Value:
    """The size of parts of at most ``most``: as few as possible, of about one size, a multiple of ``unit``.

    ``most`` is such a multiple. Every block of rows packs all of B again, and every block of terms passes through C,
    which a small last one would do for little. A total of 0, of a thread without rows, has parts of one unit.
    """
    total = v.most(total, I64(1))
    return v.ir.mul(_quotient_up(v, _quotient_up(v, total, I64(unit)), _quotient_up(v, total, most)), I64(unit))


def _quotient_up(v: Vectors, a: ir.Value, b: ir.Value) -> ir.Value:
    return v.ir.sdiv(v.ir.add(a, v.ir.sub(b, I64(1))), b)


def _on_stack(v: Vectors, size: int) -> ir.Value:
    memory = v.ir.alloca(ir.ArrayType(v.kind, size))
    memory.align = vector_unit()[0]
    return v.ir.bitcast(memory, v.kind.as_pointer())


def _product_function(v: Vectors, across: tuple[bool, bool]) -> ir.Function:
    """The function of a program that multiplies matrices that lie so; ``across`` tells which of A, B lie in columns.

    Its arguments: A, its stride, B, its stride, k, then those of :class:`Result`.
    """
    pointer = v.kind.as_pointer()

    def emit(inner: Vectors, args: Sequence[ir.Value]) -> None:
        a, lda, b, ldb, k, *result = args
        left = Operand(a, lda, 1) if across[0] else Operand(a, 1, lda)
        right = Operand(b, 1, ldb) if across[1] else Operand(b, ldb, 1)
        _emit_product(inner, left, right, Result(*result), k)

    arguments = [pointer, I64, pointer, I64, I64, pointer, I64, I64, I64, pointer, I64, I64]
    return function_of(v, f"packed_{''.join('NT'[t] for t in across)}", arguments, emit)


@Intrinsic
def packed_gemm(
    a: Any, oa: Any, rsa: Any, csa: Any, b: Any, ob: Any, rsb: Any, csb: Any,
    c: Any, oc: Any, ldc: Any, m: Any, n: Any, k: Any, bias: Any, obias: Any, mode: Any,
) -> Any:  # fmt: skip
    """The same product, arguments and modes as :func:`graphc.primitives.matmul.gemm.gemm`, for large matrices.

    One of A's strides and one of B's must be 1.
    """
    literal = (rsa, csa, rsb, csb, ldc, mode)
    if not are_factors((a, b, c, bias), literal):
        return None
    rows_a, columns_a, rows_b, columns_b, width, start = (kind.literal_value for kind in literal)
    if 1 not in (rows_a, columns_a) or 1 not in (rows_b, columns_b):
        return None

    def emit(builder: ir.IRBuilder, signature: types.Signature, args: Sequence[ir.Value]) -> None:
        v = Vectors(builder, a.dtype.llvm)
        index = {q: as_index(builder, signature, q, args) for q in (1, 5, 9, 11, 12, 13, 15)}
        place = [v.at(args[q], index[q + 1]) for q in (0, 4, 8, 14)]
        across = (columns_a != 1, columns_b != 1)
        lda, ldb = columns_a if across[0] else rows_a, columns_b if across[1] else rows_b
        result = [place[2], I64(width), index[11], index[12], place[3], I64(int(start == BIAS)), I64(int(start != ADD))]
        builder.call(_product_function(v, across), [place[0], I64(lda), place[1], I64(ldb), index[13], *result])

    return types.void(a, oa, rsa, csa, b, ob, rsb, csb, c, oc, ldc, m, n, k, bias, obias, mode), emit
