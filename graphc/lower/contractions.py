"""Matrix products in equations of any rank: loops around a product of two matrices that are read where they lie.

    out[i, j, k, l] = sum_m q[i, k, j, m] h[i, l, j, m]     rows k, columns l, a product for every i and j

An index moves each of the two factors and the result by a literal distance.  Those that move one factor are rows or
columns, those that move both are loops (a stack of matrices) or terms of the sum.  Neighbours that lie in one piece
everywhere are one: (n, t, d) @ (d, k) is one product of n*t rows.  A sum may run over up to three indices that do not.

Masks that keep a read inside its array (the gradient of a convolution's input) are left out: the read is that of a copy
with zeros around.  A right factor whose columns do not lie side by side is copied so that they do.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace

import sympy

from graphc.ir.affine import (
    Affine,
    Extent,
    FloorDiv,
    Modulo,
    constant,
    index,
    indices,
    lower_bound,
    substitute,
    upper_bound,
)
from graphc.ir.node import Equation, Mask, Node, Read
from graphc.ir.scalar import placeholder, placeholder_index
from graphc.lower.layout import Count
from graphc.lower.products import two_factors
from graphc.records import record

DEEPEST = 3  # indices of a sum that do not lie in one piece: loops inside a tile
LEAST, NARROWEST, FEWEST = 512, 4, 4  # multiplications of a tile, its columns; rows for which a factor is copied
WIDEST = 16  # times the size of an array that it may have with zeros around
SAVED = 1.3  # times what has to be computed, from which parts are added instead of zeros multiplied
TALL, SHORT, REGISTERS = 6, 4, 16  # rows of a tile that is cut; vector registers that every machine has
ROWS = 8  # of a free extent, for an estimate

Strides = Callable[[Node], "tuple[int, ...] | None"]


@record(frozen=True)
class Axis:
    """Indices that move together: extent*times values, a step of which moves so far in a, b and c.

    ``extent`` may be free; ``times`` is 1 where it is a number.
    """

    extent: Extent = 1
    times: int = 1
    a: int = 0
    b: int = 0
    c: int = 0

    @property
    def size(self) -> int:
        """The number of values, estimated where it is free."""
        return (self.extent if isinstance(self.extent, int) else ROWS) * self.times

    @property
    def swapped(self) -> Axis:
        return replace(self, a=self.b, b=self.a)

    def around(self, inner: Axis) -> Axis | None:
        """Both as one, where a step of this one is a whole turn of the inner one everywhere."""
        if not isinstance(inner.extent, int) or any(
            mine != its * inner.extent for mine, its in ((self.a, inner.a), (self.b, inner.b), (self.c, inner.c))
        ):
            return None
        if isinstance(self.extent, int):
            return replace(inner, extent=self.extent * inner.extent)
        return replace(inner, extent=self.extent, times=self.times * inner.extent)


@record(frozen=True)
class Tiles:
    """c[r, s] = scale * sum a[r, k..] b[k.., s], for every step of ``loops``; columns lie side by side in b and c.

    Columns may lie in several ``lines``, all of one tile. With ``adds`` the steps of some loops give parts of the same
    places of c, which are added, ``begin`` elements behind its first. With ``dots`` what lies side by side in a and b
    are the last terms, not the columns.
    """

    a: Read
    b: Read
    starts: tuple[int, int]
    rows: Axis
    columns: Axis
    terms: tuple[Axis, ...]
    loops: tuple[Axis, ...]
    scale: sympy.Expr
    dots: bool = False
    lines: Axis = Axis()
    adds: bool = False
    begin: int = 0

    @property
    def multiplications(self) -> int:
        """Of one tile."""
        return self.rows.size * self.columns.size * math.prod(x.size for x in self.terms)


@record(frozen=True)
class Transposed:
    """The copy b[k, s] of a right factor that is one matrix whose columns do not lie side by side: its sizes, and how
    far its rows and columns are apart."""

    rows: int
    columns: int
    row: int
    column: int


Copy = Equation | Transposed


@record(frozen=True)
class _Factors:
    """An equation as two factors over indices that appear in linear maps only: ``maps`` of the axes of both reads,
    ``offsets`` in elements of a, b and c."""

    reads: tuple[Read, Read]
    scale: sympy.Expr
    extents: tuple[Extent, ...]
    n_free: int
    maps: tuple[tuple[Affine, ...], tuple[Affine, ...]]
    offsets: tuple[Affine, Affine, Affine]

    def moves(self, t: int, i: int) -> int:
        """How far a step of index i moves in a, b or c."""
        return next((coef for atom, coef in self.offsets[t].terms if atom == i), 0)

    def axis(self, i: int) -> Axis:
        return Axis(self.extents[i], 1, *(self.moves(t, i) for t in range(3)))


def tiles_of(y: Equation, strides: Strides) -> tuple[Tiles, list[Copy]] | None:
    """The product that y is, as tiles; with the copies of its factors that they read instead."""
    spread = _spread(y, strides) if y.masks else None
    if spread:
        return spread, []
    padded = without_masks(y) if y.masks else [*y.reads]
    found = _factors(y, padded, strides) if padded else None
    tiles = _arranged(found) if found else None
    if found is None or padded is None or tiles is None or tiles.multiplications < LEAST:
        return None
    copies: list[Copy] = [r.node for r, own in zip(padded, y.reads, strict=True) if r is not own]  # pyright: ignore
    if tiles.columns.size == 1 or tiles.dots:
        return tiles, copies
    if tiles.columns.size < NARROWEST:
        return None
    if tiles.columns.b == 1:
        return tiles, copies
    copied = _with_copy(found, tiles)
    return (copied[0], [*copies, copied[1]]) if copied else None


def without_masks(y: Equation, widest: int = WIDEST) -> list[Read] | None:
    """The reads of y without its masks: those that masks keep inside their arrays read copies with zeros around.

    None where a mask says anything else, or a copy has more than ``widest`` times the elements.
    """
    masks, reads = list(y.masks), list(y.reads)
    for t, read in enumerate(reads):
        own = {a: inside(a, e) for a, e in zip(read.at, read.node.shape, strict=True)}
        met = [m for m in y.masks if any(m in bounds for bounds in own.values())]  # of every read that it keeps inside
        if met:
            reads[t] = _surrounded(y, read, [a for a, bounds in own.items() if any(m in bounds for m in met)])
            masks = [m for m in masks if m not in met]
    sizes = [(Count.of(new.node.shape), Count.of(own.node.shape)) for new, own in zip(reads, y.reads, strict=True)]
    small = all(a.terms[0][1] <= widest * b.terms[0][1] for a, b in sizes)
    return reads if not masks and small else None


def is_sum_of_products(y: Equation) -> bool:
    """True for a sum whose terms are products of reads alone: 0 where one of them is 0."""
    factors = sympy.Mul.make_args(y.body.as_independent(*map(placeholder, range(len(y.operands))), as_Add=False)[1])
    plain = all(placeholder_index(f) is not None for f in factors)
    return plain and y.reducer == "sum" and not y.elementwise and len(y.reads) == len(y.operands) == len(factors)


def inside(a: Affine, e: Extent) -> tuple[Mask, ...]:
    """The masks that say 0 <= a < e."""
    return (Mask("ge", a), Mask("ge", constant(e - 1) - a)) if isinstance(e, int) else ()


def _surrounded(y: Equation, read: Read, axes: Sequence[Affine]) -> Read:
    """The read of a copy with zeros around along some axes."""
    low = [int(lower_bound(a, y.extents)) if a in axes else 0 for a in read.at]
    high = [int(upper_bound(a, y.extents)) if a in axes else 0 for a in read.at]
    shape = tuple(h - g + 1 if a in axes else e for a, e, g, h in zip(read.at, read.node.shape, low, high, strict=True))
    at = tuple(index(i) + g if e != 1 else constant(g) for i, (e, g) in enumerate(zip(shape, low, strict=True)))
    each = zip(at, read.node.shape, read.at, strict=True)
    masks = tuple(m for x, e, a in each if a in axes for m in inside(x, e))
    copy = Equation(shape, len(shape), "sum", placeholder(0), (Read(read.node, at),), masks)
    return Read(copy, tuple(a - g for a, g in zip(read.at, low, strict=True)))


def _spread(y: Equation, strides: Strides) -> Tiles | None:
    """The product that y is, as parts that are added: where one factor is read at f - m, within its array alone, what
    it gives at f' for every m is added at f' + m. None where a copy with zeros around computes little more."""
    masked = [(r, t, a) for r in y.reads for t, a in enumerate(r.at) if any(m in y.masks for m in _bounds(r, t))]
    within = {m for r, t, _ in masked for m in _bounds(r, t)}
    if {*y.masks} - within or len({r for r, *_ in masked}) != 1:
        return None
    extents, own = list(y.extents), [index(i) for i in range(y.n_free)]
    at = [*masked[0][0].at]
    saved = 1.0
    for r, t, a in masked:
        f = next((i for i, c in a.terms if isinstance(i, int) and i < y.n_free and c == 1), None)
        rest = a - index(f) if f is not None else a
        room = r.node.shape[t]
        alone = f is not None and sum(f in indices(x) for r in y.reads for x in r.at) == 1
        if f is None or not alone or any(not isinstance(i, int) or i < y.n_free for i, _ in rest.terms):
            return None
        whole = y.extents[f]
        own[f], at[t] = index(f) - rest, index(f)
        extents[f] = room
        if not isinstance(whole, int) or not isinstance(room, int):
            return None
        if lower_bound(own[f], extents) < 0 or upper_bound(own[f], extents) >= whole:
            return None
        saved *= whole / room
    reads = [Read(r.node, tuple(at)) if r is masked[0][0] else r for r in y.reads]
    found = _factors(y, reads, strides, (tuple(extents), tuple(own))) if saved >= SAVED else None
    tiles = _arranged(found) if found else None
    if tiles is None or tiles.scale != 1 or tiles.columns.b != 1 or not tiles.adds:
        return None
    fits = tiles.loops[0].extent == y.extents[0] and isinstance(y.extents[0], str)
    return tiles if fits and tiles.multiplications >= LEAST and tiles.columns.size >= NARROWEST else None


def _bounds(read: Read, t: int) -> tuple[Mask, ...]:
    return inside(read.at[t], read.node.shape[t])


def _factors(
    y: Equation,
    reads: Sequence[Read],
    strides: Strides,
    spread: tuple[tuple[Extent, ...], tuple[Affine, ...]] | None = None,
) -> _Factors | None:
    """The two factors of y, None where it is no sum of a product or an index does not move them evenly; ``spread`` are
    other extents, and the places of the result that belong to them."""
    if y.reducer != "sum" or y.elementwise or len(y.operands) != 2 or len(reads) != 2:
        return None
    scale, pair = two_factors(y.body)
    if not pair:
        return None
    steps = [strides(r.node) for r in reads] + [strides(y)]
    if any(s is None for s in steps):
        return None
    extents, own = spread or (y.extents, tuple(index(i) for i in range(y.n_free)))
    places = [r.at for r in reads] + [own]
    offsets = [_offset(at, s) for at, s in zip(places, steps, strict=True) if s is not None]
    return _split(y.n_free, extents, reads, scale, places, offsets)


def _offset(at: Sequence[Affine], steps: Sequence[int]) -> Affine:
    return sum((a * step for a, step in zip(at, steps, strict=True)), Affine(0))


def _split(
    n_free: int,
    extents: tuple[Extent, ...],
    reads: Sequence[Read],
    scale: sympy.Expr,
    places: Sequence[tuple[Affine, ...]],
    offsets: Sequence[Affine],
) -> _Factors | None:
    """Two indices for each that is read by its quotient and remainder: l = s*p + q, ⌊l/s⌋ = p, l mod s = q."""
    while any(not isinstance(atom, int) for x in offsets for atom, _ in x.terms):
        found = next(filter(None, (_divided(x, extents) for x in offsets)), None)
        if found is None:
            return None
        i, divisor = found
        whole = extents[i]
        assert isinstance(whole, int)
        extents = (*extents[:i], whole // divisor, divisor, *extents[i + 1 :])
        n_free += i < n_free

        def move(k: int, i: int = i, divisor: int = divisor) -> Affine:
            return index(k) * divisor + index(k + 1) if k == i else index(k + (k > i))

        offsets = [substitute(x, move, extents) for x in offsets]
        places = [tuple(substitute(x, move, extents) for x in at) for at in places]
    whole = (offsets[0], offsets[1], offsets[2])
    return _Factors((reads[0], reads[1]), scale, extents, n_free, (places[0], places[1]), whole)


def _divided(x: Affine, extents: Sequence[Extent]) -> tuple[int, int] | None:
    """An index of literal extent of which x takes a quotient or a remainder, and the divisor, which divides it."""
    for atom, _ in x.terms:
        if not isinstance(atom, FloorDiv | Modulo):
            continue
        i = atom.inner.plain_index
        if i is None:
            deeper = _divided(atom.inner, extents)
            if deeper:
                return deeper
            continue
        e = extents[i]
        if isinstance(e, int) and e % atom.divisor == 0 and e > atom.divisor:
            return i, atom.divisor
    return None


def _arranged(f: _Factors) -> Tiles | None:
    """Rows, columns, terms and loops of two factors; the columns of the result lie side by side."""
    kinds: dict[str, list[Axis]] = {"a": [], "b": [], "both": [], "terms": [], "adds": []}
    for i, e in enumerate(f.extents):
        if e == 1:
            continue
        x = f.axis(i)
        kind = "both" if x.a and x.b else "a" if x.a else "b" if x.b else ""
        if i >= f.n_free:
            kind = "adds" if kind and x.c else "terms" if kind == "both" else ""
        if not kind:
            return None
        kinds[kind].append(x)
    left, right, both, terms = (_joined(kinds[k]) for k in ("a", "b", "both", "terms"))
    adds = sorted(kinds["adds"], key=lambda x: -x.c)
    reads, starts = f.reads, (f.offsets[0].const, f.offsets[1].const)
    if not terms or len(terms) > DEEPEST:
        return None
    if any(x.c == 1 for x in left):
        left, right, both, terms, adds = ([x.swapped for x in xs] for xs in (right, left, both, terms, adds))
        reads, starts = (reads[1], reads[0]), (starts[1], starts[0])
    columns = next((x for x in right if x.c == 1), None)
    if columns is None and not (left and right) and not adds:
        if right:
            left, both, terms = ([x.swapped for x in xs] for xs in (right, both, terms))
            reads, starts = (reads[1], reads[0]), (starts[1], starts[0])
        dots = _dots(left, Axis(), both, terms)
        return Tiles(*reads, starts, *dots, f.scale, dots=True) if dots else None
    if columns is None:
        return None
    others = [x for x in right if x is not columns]
    if not left and len(terms) == 1 and terms[0].a == terms[0].b == 1 and columns.b != 1:  # dot products
        rest = sorted([x.swapped for x in both + others], key=lambda x: -x.c)
        ends = (terms[0].swapped,)
        return Tiles(reads[1], reads[0], (starts[1], starts[0]), columns.swapped, Axis(), ends, tuple(rest), f.scale)
    if not isinstance(columns.extent, int):
        return None
    dots = _dots(left, columns, others + both, terms) if not adds else None
    if dots:
        return Tiles(*reads, starts, *dots, f.scale, dots=True)
    rows = max(left, key=lambda x: x.size, default=Axis())
    loops = sorted([x for x in left if x is not rows] + others + both, key=lambda x: -x.c)
    lines = _lines(columns, loops) if (len(terms) > 1 or adds) and f.scale == 1 else Axis()
    loops = [x for x in loops if x is not lines] + adds
    if len(terms) > 1 and isinstance(terms[0].extent, str) and isinstance(rows.extent, int) and lines.extent == 1:
        height = max((n for n in range(1, TALL + 1) if rows.size % n == 0), default=1)
        if height >= SHORT:
            loops = [*_strips(rows, height), *loops]
            rows = replace(rows, extent=height)
    return Tiles(*reads, starts, rows, columns, tuple(terms), tuple(loops), f.scale, lines=lines, adds=bool(adds),
                 begin=f.offsets[2].const)  # fmt: skip


def _lines(columns: Axis, loops: Sequence[Axis]) -> Axis:
    """The loop whose steps are pieces of columns that one tile may hold together."""
    fitting = [x for x in loops if isinstance(x.extent, int) and not x.a and x.b and x.c]
    return min(fitting, key=lambda x: x.c, default=Axis()) if columns.b == 1 else Axis()


def _dots(
    left: Sequence[Axis], columns: Axis, others: Sequence[Axis], terms: Sequence[Axis]
) -> tuple[Axis, Axis, tuple[Axis, ...], tuple[Axis, ...]] | None:
    """Rows, columns, terms and loops of dot products, where the terms that lie side by side in both factors are more
    than the columns, of which a vector would be a part; tiles are cut so that their sums fit sixteen registers."""
    inner = next((x for x in terms if x.a == x.b == 1 and isinstance(x.extent, int)), None)
    axes = [*left, columns, *others]
    if inner is None or len(terms) == 1 or inner.size <= columns.size or any(isinstance(x.extent, str) for x in axes):
        return None
    rows = min(left, key=lambda x: abs(x.a), default=Axis())
    height = -(-rows.size // -(-rows.size // TALL))
    fits = lambda n: height * n + min(height, n) < REGISTERS
    width = max(n for n in range(1, columns.size + 1) if columns.size % n == 0 and fits(n))
    loops = [*_strips(columns, width), *(x for x in left if x is not rows), *others]
    return rows, replace(columns, extent=width), (*(x for x in terms if x is not inner), inner), tuple(loops)


def _strips(x: Axis, size: int) -> list[Axis]:
    """The loop over pieces of so many values of an axis, none where it is one piece."""
    count = x.size // size
    return [Axis(count, 1, x.a * size, x.b * size, x.c * size)] if count > 1 else []


def _joined(axes: Sequence[Axis]) -> list[Axis]:
    """The axes, those that lie in one piece as one."""
    found = list(axes)
    for outer in found:
        for inner in found:
            whole = outer.around(inner) if inner is not outer else None
            if whole is not None:
                rest = [whole if x is outer else x for x in found if x is not inner]
                return _joined(rest)
    return found


def _with_copy(f: _Factors, tiles: Tiles) -> tuple[Tiles, Copy] | None:
    """The same with a copy of the right factor, whose last axis is that of the columns."""
    if math.prod(x.size for x in (tiles.rows, *tiles.loops) if x.a and not x.b) < FEWEST:
        return None
    columns, term = tiles.columns, tiles.terms[0]
    alone = len(tiles.terms) == 1 and not tiles.starts[1] and not any(x.b for x in tiles.loops)
    if alone and isinstance(columns.extent, int) and isinstance(term.extent, int):
        copy = Transposed(term.extent, columns.extent, term.b, columns.b)
        ends = (replace(term, b=columns.extent),)
        return replace(tiles, columns=replace(columns, b=1), terms=ends), copy
    t = f.reads.index(tiles.b)
    moving = [i for i, e in enumerate(f.extents) if e != 1 and f.moves(t, i)]
    last = next(i for i in moving if f.moves(2, i) == 1)
    order = [i for i in moving if i != last] + [last]
    shape = tuple(f.extents[i] for i in order)
    if any(isinstance(e, str) for e in shape[1:]):
        return None
    at = tuple(substitute(x, lambda i: index(order.index(i)) if i in order else Affine(0)) for x in f.maps[t])
    copy = Equation(shape, len(shape), "sum", placeholder(0), (Read(tiles.b.node, at),), ())
    steps = [math.prod(e for e in shape[k + 1 :] if isinstance(e, int)) for k in range(len(shape))]
    offset = _offset([index(i) for i in order], steps)
    read = Read(copy, tuple(index(i) for i in order))
    reads, offsets = list(f.reads), list(f.offsets)
    reads[t], offsets[t] = read, offset
    packed = _arranged(replace(f, reads=(reads[0], reads[1]), offsets=(offsets[0], offsets[1], offsets[2])))
    return (packed, copy) if packed is not None and packed.b is read and packed.columns.b == 1 else None
