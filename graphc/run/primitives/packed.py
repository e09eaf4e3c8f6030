"""Large matrix products: the operands are packed into the order in which the tiles read them.

The loops are those of Goto and van de Geijn (ACM TOMS 34, 2008, article 12): blocks of terms, a packed block of A,
packed panels of B, tiles whose sums stay in registers.  Every element sums k upwards in one chain of fused operations,
going through C between two blocks of terms, so it has the bits of :func:`graphc.run.primitives.gemm.gemm` and those of
any split of rows or columns.

One function for each way the operands lie serves all products of a program, of any shape: their code is compiled once.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from llvmlite import ir
from numba.core import types
from numba.core.extending import intrinsic

from graphc.run.primitives.gemm import ADD, BIAS, transposed
from graphc.run.primitives.memory import as_index, is_pointer
from graphc.run.primitives.tile import I64, Int, Vectors, vector_unit

TERMS = 512
"""Terms of a block: a panel of B takes a tenth of a level-2 cache, and C is passed through seldom."""

TOGETHER = 4
"""Vectors of a row of A that are packed in one go."""

AHEAD = 32
"""Rows between the one that is packed and the one whose cache lines are asked for: they may be pages apart."""

BLOCK_BYTES = 3 * 2**18
"""Size of the packed block of A, on the stack of the thread. Its rows, 384 of float32, are some groups of TOGETHER
vectors: a group is written as a whole."""

SQUARE_BYTES = 32
"""Rows of the squares that are transposed in registers."""


def tile_shape() -> tuple[int, int]:
    """Rows and vectors of a tile: its sums, the vectors of B and one entry of A fit the registers."""
    return (8 if vector_unit()[1] >= 32 else 4), 3


@dataclass(frozen=True)
class Operand:
    """A matrix whose element (k, w) lies at base[k*terms + w*width]; one of the strides is the literal 1."""

    base: ir.Value
    terms: Int
    width: Int

    def at(self, v: Vectors, k: Int, w: Int) -> Operand:
        """The same matrix from row k and column w on."""
        return Operand(v.at(self.base, v.mul(k, self.terms), v.mul(w, self.width)), self.terms, self.width)


def pack(v: Vectors, source: Operand, terms: ir.Value, present: ir.Value, width: int, out: ir.Value) -> None:
    """out[k*width + w] = source(k, w) for k < terms, w < width; beyond ``present`` columns any value may stand."""
    if source.width == 1:
        _pack_rows(v, source, terms, present, width, out)
    else:
        _pack_columns(v, source, terms, present, width, out)


def _pack_rows(v: Vectors, source: Operand, terms: ir.Value, present: ir.Value, width: int, out: ir.Value) -> None:
    lanes = min(vector_unit()[0] // v.size, width)
    offsets = range(0, width, lanes)
    masks = [v.mask(lanes, v.ir.sub(present, v.int(o))) for o in offsets]

    def row(k: Int, _: list[ir.Value]) -> list[ir.Value]:
        start, target = v.at(source.base, v.mul(k, source.terms)), v.at(out, v.mul(k, width))
        ahead = v.at(start, v.mul(AHEAD, source.terms))
        for o, mask in zip(offsets, masks, strict=True):
            v.prefetch(v.at(ahead, o))
            v.store(v.load(v.at(start, o), lanes, mask), v.at(target, o), lanes)
        return []

    v.loop(terms, [], row)


def _pack_tiles(v: Vectors, source: Operand, terms: ir.Value, present: ir.Value, rows: int, out: ir.Value) -> None:
    """The panels of ``rows`` columns that stand TERMS rows apart, several at once: whole cache lines are read."""
    lanes = vector_unit()[0] // v.size
    piece = min(lanes, rows)

    def group(first: Int, _: list[ir.Value]) -> list[ir.Value]:
        masks = [v.mask(lanes, v.ir.sub(present, v.int(v.add(first, t * lanes)))) for t in range(TOGETHER)]

        def row(k: Int, _: list[ir.Value]) -> list[ir.Value]:
            start = v.at(source.base, v.mul(k, source.terms), first)
            ahead = v.at(start, v.mul(AHEAD, source.terms))
            target = v.at(out, v.mul(first, TERMS), v.mul(k, rows))
            for t, mask in enumerate(masks):
                v.prefetch(v.at(ahead, t * lanes))
                vector = v.load(v.at(start, t * lanes), lanes, mask)
                for o in range(0, lanes, piece):
                    tile, inside = divmod(t * lanes + o, rows)
                    part = v.shuffle(vector, vector, list(range(o, o + piece))) if piece < lanes else vector
                    v.store(part, v.at(target, tile * rows * TERMS + inside), piece)
            return []

        v.loop(terms, [], row)
        return []

    v.loop(present, [], group, step=TOGETHER * lanes)


def _pack_columns(v: Vectors, source: Operand, terms: ir.Value, present: ir.Value, width: int, out: ir.Value) -> None:
    lanes = min(SQUARE_BYTES // v.size, width)
    last = v.ir.sub(present, v.int(1))
    whole = v.ir.sub(terms, v.ir.srem(terms, v.int(lanes)))

    def group(first: Int, _: list[ir.Value]) -> list[ir.Value]:
        columns = [v.at(source.base, v.mul(v.least(v.int(v.add(first, r)), last), source.width)) for r in range(lanes)]

        def square(k: Int, _: list[ir.Value]) -> list[ir.Value]:
            for column in columns:
                v.prefetch(v.at(column, k, 8 * lanes))
            rows = transposed(v, [v.load(v.at(column, k), lanes) for column in columns])
            for r, vector in enumerate(rows):
                v.store(vector, v.at(out, v.mul(v.add(k, r), width), first), lanes)
            return []

        def single(k: Int, _: list[ir.Value]) -> list[ir.Value]:
            for r, column in enumerate(columns):
                v.store(v.load(v.at(column, k), 1), v.at(out, v.mul(k, width), first, r), 1)
            return []

        v.loop(whole, [], square, step=lanes)
        v.loop(terms, [], single, start=whole)
        return []

    v.loop(width, [], group, step=lanes)


@dataclass(frozen=True)
class Tile:
    """Where a tile stores its sums: rows of C, masks of the columns that exist; ``first`` is true at k = 0."""

    places: list[ir.Value]
    masks: list[ir.Value]
    biases: list[ir.Value] | None
    first: ir.Value
    mode: int


def _emit_tile(v: Vectors, left: ir.Value, right: ir.Value, terms: ir.Value, tile: Tile) -> None:
    """C += packed A times packed B, for the sums of one tile."""
    rows, vectors, width = tile_shape()[0], len(tile.masks), _panel_width(v)
    lanes = vector_unit()[0] // v.size

    def start(place: ir.Value, t: int) -> ir.Value:
        known = v.load(v.at(place, t * lanes), lanes, tile.masks[t])
        if tile.mode == ADD:
            return known
        return v.ir.select(tile.first, tile.biases[t] if tile.biases else v.zero(lanes), known)

    def turn(k: Int, sums: list[ir.Value]) -> list[ir.Value]:
        entry, row = v.at(left, v.mul(k, rows)), v.at(right, v.mul(k, width))
        panel = [v.load(v.at(row, t * lanes), lanes) for t in range(vectors)]
        entries = [v.splat(v.load(v.at(entry, r), 1), lanes) for r in range(rows)]
        return [v.fma(entries[q // vectors], panel[q % vectors], total) for q, total in enumerate(sums)]

    cells = [(place, t) for place in tile.places for t in range(vectors)]
    sums = v.loop(terms, [start(*cell) for cell in cells], turn)
    for total, (place, t) in zip(sums, cells, strict=True):
        v.store(total, v.at(place, t * lanes), lanes, tile.masks[t])


@dataclass(frozen=True)
class Scratch:
    """Packed panel of B, and a row for what lies below the last row of C."""

    right: ir.Value
    below: ir.Value

    @classmethod
    def on_stack(cls, v: Vectors) -> Scratch:
        """Memory of the function that is being emitted."""
        width = _panel_width(v)
        return cls(_on_stack(v, width * TERMS), _on_stack(v, width))


def _panel_width(v: Vectors) -> int:
    return tile_shape()[1] * (vector_unit()[0] // v.size)


@dataclass(frozen=True)
class Result:
    """Rows of C: its corner, the distance of the rows, its extents, the biases and the mode."""

    corner: ir.Value
    distance: Int
    height: ir.Value
    width: ir.Value
    bias: ir.Value
    mode: int


def _emit_left(v: Vectors, a: Operand, height: ir.Value, terms: ir.Value, left: ir.Value) -> None:
    """Pack rows of A: those of a tile beside one another, TERMS terms apart from the next."""
    rows = tile_shape()[0]
    if a.width == 1:
        _pack_tiles(v, a, terms, height, rows, left)
        return

    def pack_left(i: Int, _: list[ir.Value]) -> list[ir.Value]:
        _pack_columns(v, a.at(v, 0, i), terms, v.ir.sub(height, i), rows, v.at(left, v.mul(i, TERMS)))
        return []

    v.loop(height, [], pack_left, step=rows)


def _emit_panels(
    v: Vectors, left: ir.Value, b: Operand, terms: ir.Value, first: ir.Value, c: Result, scratch: Scratch
) -> None:
    """C += packed A times B, panel after panel; ``first`` is true where C does not count yet."""
    (rows, vectors), lanes, width = tile_shape(), vector_unit()[0] // v.size, _panel_width(v)
    wide, narrow = _panel_counts(v, c.width, lanes)

    def panel(t: Int, _: list[ir.Value]) -> list[ir.Value]:
        slim = v.ir.icmp_signed(">=", v.int(t), wide)
        j = v.ir.sub(v.int(v.mul(t, width)), v.ir.select(slim, v.int(v.mul(v.ir.sub(v.int(t), wide), lanes)), I64(0)))
        present = v.least(v.ir.sub(c.width, j), v.ir.select(slim, I64(width - lanes), I64(width)))
        masks = [v.mask(lanes, v.ir.sub(present, v.int(t * lanes))) for t in range(vectors)]
        biases = None
        if c.mode == BIAS:
            biases = [v.load(v.at(c.bias, j, t * lanes), lanes, mask) for t, mask in enumerate(masks)]
        pack(v, b.at(v, 0, j), terms, present, width, scratch.right)

        def tiles(count: int) -> None:
            def tile(i: Int, _: list[ir.Value]) -> list[ir.Value]:
                corner = v.at(c.corner, v.mul(i, c.distance), j)
                places = [_row_or(v, corner, r, c.distance, v.ir.sub(c.height, i), scratch.below) for r in range(rows)]
                panel_left = v.at(left, v.mul(i, TERMS))
                _emit_tile(v, panel_left, scratch.right, terms, Tile(places, masks[:count], biases, first, c.mode))
                return []

            v.loop(c.height, [], tile, step=rows)

        with v.ir.if_else(slim) as (then, otherwise):
            with then:
                tiles(vectors - 1)
            with otherwise:
                tiles(vectors)
        return []

    v.loop(v.ir.add(wide, narrow), [], panel)


def _panel_counts(v: Vectors, width: ir.Value, lanes: int) -> tuple[ir.Value, ir.Value]:
    """How many panels of three vectors and then of two hold ``width`` columns, with at most one vector too many."""
    vectors = v.ir.sdiv(v.ir.add(width, I64(lanes - 1)), I64(lanes))
    rest = v.ir.srem(vectors, I64(3))
    narrow = v.ir.select(v.ir.icmp_signed("==", rest, I64(0)), I64(0), v.ir.sub(I64(3), rest))
    narrow = v.least(narrow, vectors)
    return v.ir.sdiv(v.ir.sub(vectors, v.ir.mul(narrow, I64(2))), I64(3)), narrow


def _emit_product(v: Vectors, a: Operand, b: Operand, c: ir.Value, ldc: ir.Value,
                  extents: tuple[ir.Value, ir.Value, ir.Value], bias: ir.Value, mode: int) -> None:  # fmt: skip
    m, n, k = extents
    most = BLOCK_BYTES // v.size // TERMS
    left, scratch = _on_stack(v, most * TERMS), Scratch.on_stack(v)
    even = even_height(v, m, most)

    def block(i0: Int, k0: Int) -> list[ir.Value]:
        height, terms = v.least(even, v.ir.sub(m, i0)), v.least(v.int(TERMS), v.ir.sub(k, k0))
        _emit_left(v, a.at(v, k0, i0), height, terms, left)
        result = Result(v.at(c, v.mul(i0, ldc)), ldc, height, n, bias, mode)
        _emit_panels(v, left, b.at(v, k0, 0), terms, v.ir.icmp_signed("==", k0, v.int(0)), result, scratch)
        return []

    v.loop(m, [], lambda i0, _: v.loop(k, [], lambda k0, _: block(i0, k0), step=TERMS), step=even)


def even_height(v: Vectors, m: ir.Value, most: int) -> ir.Value:
    """Rows of a block of A, at most ``most``: as few blocks as possible, of about one height.

    Every block packs all of B again, which a low one would do for a few rows.
    """
    rows = tile_shape()[0]
    blocks = v.ir.sdiv(v.ir.add(m, I64(most - 1)), I64(most))
    tiles = v.ir.sdiv(v.ir.add(m, I64(rows - 1)), I64(rows))
    return v.ir.mul(v.ir.sdiv(v.ir.add(tiles, v.ir.sub(blocks, I64(1))), blocks), I64(rows))


def _row_or(v: Vectors, corner: ir.Value, r: int, ldc: ir.Value, height: ir.Value, below: ir.Value) -> ir.Value:
    """Row r of a tile of C, or scratch memory when there is no such row."""
    place = v.at(corner, v.mul(r, ldc))
    return place if r == 0 else v.ir.select(v.ir.icmp_signed(">", height, v.int(r)), place, below)


def _on_stack(v: Vectors, size: int) -> ir.Value:
    memory = v.ir.alloca(ir.ArrayType(v.kind, size))
    memory.align = vector_unit()[0]
    return v.ir.bitcast(memory, v.kind.as_pointer())


def function_of(v: Vectors, across: tuple[bool, bool], mode: int) -> ir.Function:
    """The function of a program that multiplies matrices that lie so; ``across`` tells which of A, B lie in columns.

    Its arguments: A, its stride, B, its stride, C, its stride, m, n, k, bias.
    """
    module = v.ir.module
    name = f"graphc_packed_{v.suffix}_{''.join('NT'[t] for t in across)}{mode}"
    if name in module.globals:
        return module.globals[name]
    pointer = v.kind.as_pointer()
    kind = ir.FunctionType(ir.VoidType(), [pointer, I64, pointer, I64, pointer, I64, I64, I64, I64, pointer])
    function = ir.Function(module, kind, name)
    function.linkage = "internal"
    function.attributes.add("noinline")
    builder = ir.IRBuilder(function.append_basic_block("entry"))
    inner = Vectors(builder, v.kind)
    a, lda, b, ldb, c, ldc, m, n, k, bias = function.args
    left = Operand(a, lda, 1) if across[0] else Operand(a, 1, lda)
    right = Operand(b, 1, ldb) if across[1] else Operand(b, ldb, 1)
    _emit_product(inner, left, right, c, ldc, (m, n, k), bias, mode)
    builder.ret_void()
    return function


@intrinsic(prefer_literal=True)
def packed_gemm(
    typingctx: Any, a: Any, oa: Any, rsa: Any, csa: Any, b: Any, ob: Any, rsb: Any, csb: Any,
    c: Any, oc: Any, ldc: Any, m: Any, n: Any, k: Any, bias: Any, obias: Any, mode: Any,
) -> Any:  # fmt: skip
    """The same product, arguments and modes as :func:`graphc.run.primitives.gemm.gemm`, for large matrices.

    One of A's strides and one of B's must be 1.
    """
    literal = (rsa, csa, rsb, csb, ldc, mode)
    if not is_pointer(a, b, c, bias) or not all(isinstance(kind, types.IntegerLiteral) for kind in literal):
        return None
    rows_a, columns_a, rows_b, columns_b, width, start = (kind.literal_value for kind in literal)
    if 1 not in (rows_a, columns_a) or 1 not in (rows_b, columns_b):
        return None

    def emit(context: Any, builder: ir.IRBuilder, signature: Any, args: Any) -> ir.Value:
        v = Vectors(builder, context.get_value_type(a.dtype))
        index = {q: as_index(context, builder, signature, q, args) for q in (1, 5, 9, 11, 12, 13, 15)}
        place = [v.at(args[q], index[q + 1]) for q in (0, 4, 8, 14)]
        across = (columns_a != 1, columns_b != 1)
        steps = [columns_a if across[0] else rows_a, columns_b if across[1] else rows_b, width]
        strided = [word for pair in zip(place, map(I64, steps)) for word in pair]
        builder.call(function_of(v, across, start), [*strided, index[11], index[12], index[13], place[3]])
        return context.get_dummy_value()

    return types.void(a, oa, rsa, csa, b, ob, rsb, csb, c, oc, ldc, m, n, k, bias, obias, mode), emit
