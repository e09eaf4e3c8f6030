"""Which primitive computes a matrix product: tiles that read the operands where they lie, or tiles of packed operands.

The choice depends on shape, type, layout and the kind of processor, never on a timing or on the number of threads; and
both sum every element in the same order, so that the same declaration gives the same bits.  The measurements behind it
stand in ``docs/cost_model.md``.
"""

from __future__ import annotations

from collections.abc import Mapping

from graphc.ir.affine import Extent
from graphc.lower.kernels import Contraction, Product
from graphc.lower.layout import Count
from graphc.lower.processor import cuts_of, processor

CUTS = cuts_of(processor())
APART = 2048  # bytes: rows a multiple of this apart fall into the same few sets of every cache
FEW_ROWS = 16
FEWER = 32  # rows of a call: with fewer, its products read a right factor where it lies, though others pack it
FEW_COLUMNS = 16  # one vector of columns: tiles of packed operands have two at least
LONG = 256  # terms from which a transposed left factor is packed
TILES, PACKED = "gemm", "packed_gemm"
BYTES = {"float32": 4, "float64": 8}


def product_method(p: Product | Contraction, capacity: Mapping[str, int], dtype: str) -> str:
    """Name of the primitive: "gemm" (tiles) or "packed_gemm" (tiles of packed operands).

    With the cuts of Zen 4, packing pays when a large batch meets a right factor of more than 512 KiB, and with fewer
    rows when the factor takes more than 2 MiB and cannot be read as it lies: its columns are apart, its rows or those
    of a transposed left factor are a multiple of 2 KiB apart, or it is deep. It also pays when the left factor lies
    transposed and both together exceed the nearer caches (the gradient of weights over a large batch).
    """
    if isinstance(p, Contraction):
        return _stack_method(p, capacity, dtype)
    m, n, k = (_size(e, capacity) for e in (p.m, p.n, p.k))
    size = BYTES[dtype]
    if p.a.column != _ONE and m >= FEW_ROWS and n > FEW_COLUMNS and k >= LONG and k * (m + n) * size > CUTS.far:
        return PACKED
    if m >= CUTS.many_rows and n >= CUTS.many_columns and k * n * size > CUTS.near:
        return PACKED
    if m < FEW_ROWS or n == 1 or k * n * size <= CUTS.tile_limit:
        return TILES
    aliased = any(distance and distance * size % APART == 0 for distance in _distances(p, capacity))
    return PACKED if aliased or k * size > CUTS.deep or not side_by_side(p) else TILES


def _stack_method(c: Contraction, capacity: Mapping[str, int], dtype: str) -> str:
    """That of one product of the same size; a stack of products, or a sum over several indices, reads what it needs."""
    t = c.tiles
    term, *more = t.terms
    if t.loops or more or t.columns.size == 1:
        return TILES
    m, n, k = (_size(x.extent, capacity) * x.times for x in (t.rows, t.columns, term))
    size = BYTES[dtype]
    if term.a != 1 and m >= FEW_ROWS and n > FEW_COLUMNS and k >= LONG and k * (m + n) * size > CUTS.far:
        return PACKED
    return PACKED if m >= CUTS.many_rows and n >= CUTS.many_columns and k * n * size > CUTS.near else TILES


def side_by_side(p: Product) -> bool:
    """True when the columns of the right factor lie side by side, as tiles need them."""
    return p.n == 1 or p.b.column in (_ONE, Count())


_ONE = Count((((), 1),))


def _distances(p: Product, capacity: Mapping[str, int]) -> list[int]:
    """Elements between the rows of the right factor, and between those of a left factor that lies transposed."""
    counts = [p.b.row] if p.a.column == _ONE else [p.b.row, p.a.column]
    return [c.at(capacity) for c in counts]


def _size(e: Extent, capacity: Mapping[str, int]) -> int:
    return e if isinstance(e, int) else capacity.get(e, 256)
