"""Packing: parts of a matrix are copied into the order in which the tiles of a product read them."""

from __future__ import annotations

from collections.abc import Sequence

from llvmlite import ir

from graphc.primitives.matmul.transpose import transposed
from graphc.primitives.matmul.vector_ir import I64, Int, Vectors, function_of, vector_unit
from graphc.records import record

TOGETHER = 4
"""Vectors of a row of A that are packed in one go."""

AHEAD = 32
"""Rows between the one that is packed and the one whose cache lines are asked for: they may be pages apart."""

FORWARD = 256
"""The same for columns, in bytes of a column."""

SQUARE_BYTES = 32
"""Rows of the squares that are transposed in registers."""


@record(frozen=True)
class Operand:
    """A matrix whose element (k, w) lies at base[k*terms + w*width]; one of the strides is the literal 1."""

    base: ir.Value
    terms: Int
    width: Int

    def at(self, v: Vectors, k: Int, w: Int) -> Operand:
        """The same matrix from row k and column w on."""
        return Operand(v.at(self.base, v.mul(k, self.terms), v.mul(w, self.width)), self.terms, self.width)


@record(frozen=True)
class Part:
    """What is packed in one go: rows k < ``terms`` of a matrix, of its columns those that are ``present``.

    Unless they were ``asked`` for before, the cache lines are asked for while the rows before them are packed.
    """

    source: Operand
    terms: ir.Value
    present: ir.Value
    asked: bool = False


def pack(v: Vectors, part: Part, width: int, out: ir.Value) -> None:
    """out[k*width + w] = element (k, w) of the part, w < width; beyond the columns present any value may stand.

    One function of the program for each width and way to lie.
    """
    rows = part.source.width == 1
    stride = part.source.terms if rows else part.source.width
    ahead = I64(0 if part.asked else AHEAD if rows else FORWARD // v.size)

    def emit(inner: Vectors, args: Sequence[ir.Value]) -> None:
        base, target, distance, terms, present, before = args
        source = Operand(base, distance, 1) if rows else Operand(base, 1, distance)
        (_pack_rows if rows else _pack_columns)(inner, source, terms, present, before, width, target)

    pointer = v.kind.as_pointer()
    function = function_of(v, f"pack_{'rows' if rows else 'columns'}_{width}", [pointer] * 2 + [I64] * 4, emit)
    v.ir.call(function, [part.source.base, out, v.int(stride), part.terms, part.present, ahead])


def _pack_rows(v: Vectors, source: Operand, terms: ir.Value, present: ir.Value, before: ir.Value, width: int,
               out: ir.Value) -> None:  # fmt: skip
    lanes = min(vector_unit()[0] // v.size, width)
    offsets = range(0, width, lanes)
    masks = [v.mask(lanes, v.ir.sub(present, v.int(o))) for o in offsets]

    def row(k: Int, _: list[ir.Value]) -> list[ir.Value]:
        start, target = v.at(source.base, v.mul(k, source.terms)), v.at(out, v.mul(k, width))
        ahead = v.at(start, v.mul(before, source.terms))
        for o, mask in zip(offsets, masks, strict=True):
            v.prefetch(v.at(ahead, o))
            v.store(v.load(v.at(start, o), lanes, mask), v.at(target, o), lanes)
        return []

    v.loop(terms, [], row)


def pack_tiles(v: Vectors, part: Part, rows: int, apart: ir.Value, out: ir.Value) -> None:
    """The panels of ``rows`` columns, ``apart`` rows from one another, several at once: whole cache lines are read."""
    source = part.source
    lanes = vector_unit()[0] // v.size
    piece = min(lanes, rows)

    def group(first: Int, _: list[ir.Value]) -> list[ir.Value]:
        masks = [v.mask(lanes, v.ir.sub(part.present, v.int(v.add(first, t * lanes)))) for t in range(TOGETHER)]

        def row(k: Int, _: list[ir.Value]) -> list[ir.Value]:
            start = v.at(source.base, v.mul(k, source.terms), first)
            ahead = v.at(start, v.mul(AHEAD, source.terms))
            target = v.at(out, v.mul(first, apart), v.mul(k, rows))
            for t, mask in enumerate(masks):
                v.prefetch(v.at(ahead, t * lanes))
                vector = v.load(v.at(start, t * lanes), lanes, mask)
                for o in range(0, lanes, piece):
                    tile, inside = divmod(t * lanes + o, rows)
                    taken = v.shuffle(vector, vector, list(range(o, o + piece))) if piece < lanes else vector
                    v.store(taken, v.at(target, v.mul(tile * rows, apart), inside), piece)
            return []

        v.loop(part.terms, [], row)
        return []

    v.loop(part.present, [], group, step=TOGETHER * lanes)


def _pack_columns(v: Vectors, source: Operand, terms: ir.Value, present: ir.Value, before: ir.Value, width: int,
                  out: ir.Value) -> None:  # fmt: skip
    lanes = min(SQUARE_BYTES // v.size, width)
    last = v.ir.sub(present, v.int(1))
    whole = v.ir.sub(terms, v.ir.srem(terms, v.int(lanes)))

    def group(first: Int, _: list[ir.Value]) -> list[ir.Value]:
        columns = [v.at(source.base, v.mul(v.least(v.int(v.add(first, r)), last), source.width)) for r in range(lanes)]

        def square(k: Int, _: list[ir.Value]) -> list[ir.Value]:
            for column in columns:
                v.prefetch(v.at(column, k, before))
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
