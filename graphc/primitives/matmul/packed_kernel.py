"""The tile of a large product: sums in registers, a packed left and a packed right factor, memory asked for ahead."""

from __future__ import annotations

from collections.abc import Sequence

from llvmlite import ir

from graphc.primitives.matmul.vector_ir import I64, Int, Vectors, function_of, vector_unit
from graphc.records import record

LINE = 64
"""Bytes of a cache line."""

TURNS = 8
"""Terms of a tile between which a cache line of the right factor is asked for, and one of C. A tile of three vectors
has them written out, one after the other, where registers allow."""

BITS = 20
"""Bits behind the point of the number that spreads cache lines over a tile."""

ROOMY = 32
"""Registers of a processor whose tiles leave time to ask for cache lines of the right factor: those of half as many
sums take as long as the instructions that ask."""


def asks_ahead() -> bool:
    """Whether tiles ask for the lines of the right factor that are packed behind them."""
    return vector_unit()[1] >= ROOMY


def tile_shape() -> tuple[int, int]:
    """Rows and vectors of a tile: its sums, the vectors of B and one entry of A fit the registers."""
    return (8 if vector_unit()[1] >= ROOMY else 4), 3


def panel_width(v: Vectors) -> int:
    """Columns of a tile."""
    return tile_shape()[1] * (vector_unit()[0] // v.size)


@record(frozen=True)
class Lines:
    """Cache lines of the right factor: ``count`` of them, from ``base`` on.

    They go through the rows of a panel, or ``across`` them: through the columns, where ``stride`` leads from one to the
    next, as it leads from one row to the next otherwise.
    """

    base: ir.Value
    stride: Int
    count: ir.Value
    across: bool


@record(frozen=True)
class Tile:
    """Where a tile finds its factors and its sums.

    ``left`` and ``right`` are packed, ``terms`` long. The sums lie at ``corner``, rows ``distance`` apart, of which
    ``height`` exist, with ``present`` columns; ``below`` is memory for those that do not. They begin with the row
    ``start`` where ``fresh`` is 1. ``target`` is the corner of the next tile.
    """

    left: ir.Value
    right: ir.Value
    corner: ir.Value
    below: ir.Value
    start: ir.Value
    target: ir.Value
    terms: ir.Value
    distance: ir.Value
    height: ir.Value
    present: ir.Value
    fresh: ir.Value


def emit_tile(v: Vectors, tile: Tile, wanted: Lines, vectors: int) -> None:
    """C += packed A times packed B for a tile of so many vectors: one function of the program.

    It asks for the lines of the right factor, and for those of the next tile.
    """
    arguments = [*vars(tile).values(), wanted.base, v.int(wanted.stride), wanted.count]

    def emit(inner: Vectors, args: Sequence[ir.Value]) -> None:
        _emit_tile(inner, Tile(*args[:11]), Lines(args[11], args[12], args[13], wanted.across), vectors)

    name = f"tile_{vectors}_{'across' if wanted.across else 'along'}"
    v.ir.call(function_of(v, name, [value.type for value in arguments], emit), arguments)


def _emit_tile(v: Vectors, tile: Tile, wanted: Lines, vectors: int) -> None:
    rows, width, lanes = tile_shape()[0], panel_width(v), vector_unit()[0] // v.size
    places = [_row_or(v, tile, r) for r in range(rows)]
    full = v.ir.icmp_signed(">=", tile.present, I64(vectors * lanes))

    def turn(k: Int, sums: list[ir.Value]) -> list[ir.Value]:
        entry, row = v.at(tile.left, v.mul(k, rows)), v.at(tile.right, v.mul(k, width))
        panel = [v.load(v.at(row, t * lanes), lanes) for t in range(vectors)]
        found: list[ir.Value] = []
        for r in range(rows):  # an entry is loaded before its sums, else the code generator runs out of registers
            x = v.splat(v.load(v.at(entry, r), 1), lanes)
            found += [v.fma(x, y, total) for y, total in zip(panel, sums[r * vectors :], strict=False)]
        return found

    together = TURNS if vectors == tile_shape()[1] and vector_unit()[1] >= ROOMY else 1

    def some(k: Int, sums: list[ir.Value]) -> list[ir.Value]:
        for t in range(together):
            sums = turn(v.add(k, t), sums)
        return sums

    def turns(k: ir.Value, sums: list[ir.Value]) -> list[ir.Value]:
        passed = v.ir.udiv(k, I64(TURNS))
        if asks_ahead():
            _ask(v, wanted, _spread(v, passed, pace))
        _ask_for_sums(v, tile, _spread(v, passed, pace_of_sums))
        return v.loop(TURNS, sums, lambda t, inner: some(v.add(k, t), inner), step=together)

    whole = v.ir.sub(tile.terms, v.ir.srem(tile.terms, I64(TURNS)))
    pace, pace_of_sums = (_pace(v, count, whole) for count in (wanted.count, I64(rows * lines_of_row(v))))
    cells = [(place, t) for place in places for t in range(vectors)]
    masks = lambda: [v.mask(lanes, v.ir.sub(tile.present, v.int(t * lanes))) for t in range(vectors)]

    def begin(masks: Sequence[ir.Value | None]) -> list[ir.Value]:
        fresh = v.ir.icmp_signed("!=", tile.fresh, I64(0))
        return v.either(
            fresh,
            lambda: [v.load(v.at(tile.start, t * lanes), lanes, masks[t]) for _, t in cells],
            lambda: [v.load(v.at(place, t * lanes), lanes, masks[t]) for place, t in cells],
        )

    def end(sums: Sequence[ir.Value], masks: Sequence[ir.Value | None]) -> list[ir.Value]:
        for total, (place, t) in zip(sums, cells, strict=True):
            v.store(total, v.at(place, t * lanes), lanes, masks[t])
        return []

    none = [None] * vectors
    sums = v.either(full, lambda: begin(none), lambda: begin(masks()))
    sums = v.loop(tile.terms, v.loop(whole, sums, turns, step=TURNS), turn, start=whole)
    v.either(full, lambda: end(sums, none), lambda: end(sums, masks()))


def _row_or(v: Vectors, tile: Tile, r: int) -> ir.Value:
    """Row r of the sums, or other memory when there is no such row."""
    place = v.at(tile.corner, v.mul(r, tile.distance))
    return place if r == 0 else v.ir.select(v.ir.icmp_signed(">", tile.height, v.int(r)), place, tile.below)


def _pace(v: Vectors, count: ir.Value, terms: ir.Value) -> ir.Value:
    """Lines from one that is asked for to the next, in 2**-BITS, so that all are asked for in so many terms."""
    times = v.ir.add(v.ir.udiv(terms, I64(TURNS)), I64(1))
    return v.ir.udiv(v.ir.shl(count, I64(BITS)), times)


def _spread(v: Vectors, passed: ir.Value, pace: ir.Value) -> ir.Value:
    return v.ir.lshr(v.ir.mul(passed, pace), I64(BITS))


def lines_of_row(v: Vectors) -> int:
    """Cache lines of a row of a panel that begins with one."""
    return -(-panel_width(v) * v.size // LINE)


def _ask(v: Vectors, lines: Lines, q: ir.Value) -> None:
    """Ask for line q of the right factor."""
    columns = panel_width(v) if lines.across else lines_of_row(v)
    row = v.ir.udiv(q, I64(columns))
    column = v.ir.sub(q, v.ir.mul(row, I64(columns)))
    apart, along = (column, row) if lines.across else (row, column)
    v.prefetch(v.at(lines.base, v.mul(apart, lines.stride), v.mul(along, LINE // v.size)))


def _ask_for_sums(v: Vectors, tile: Tile, q: ir.Value) -> None:
    """Ask for line q of the next tile."""
    row = v.ir.udiv(q, I64(lines_of_row(v)))
    column = v.ir.sub(q, v.ir.mul(row, I64(lines_of_row(v))))
    place = v.at(tile.target, v.mul(row, tile.distance), v.mul(column, LINE // v.size))
    v.prefetch(place, written=True)
