"""Which equations are one product of two matrices, and which add its bias."""

from __future__ import annotations

from functools import lru_cache

import sympy

from graphc.ir.affine import constant, index
from graphc.ir.node import Equation, Read
from graphc.ir.parts import symbols_of
from graphc.ir.scalar import placeholder, placeholder_index
from graphc.records import record


@record(frozen=True)
class Matched:
    """An equation recognised as a matrix product of two reads."""

    a: Read
    b: Read
    row: int | None
    column: int | None
    bound: int
    scale: sympy.Expr


def as_product(y: Equation) -> Matched | None:
    """The matrix product that y is, or None: sum over one index of two reads, each with at most one free index, both
    together with all of them."""
    if y.reducer != "sum" or y.masks or len(y.operands) != 2 or len(y.reads) != 2:
        return None
    bound = [i for i in range(y.n_free, len(y.extents)) if y.extents[i] != 1]
    scale, pair = two_factors(y.body)
    if len(bound) != 1 or not pair:
        return None
    own = [_plain_indices(r) for r in y.reads]
    if own[0] is None or own[1] is None:
        return None
    used = [found or set() for found in own]
    free = [{i for i in found if i < y.n_free} for found in used]
    if not all(bound[0] in found for found in used) or free[0] & free[1] or max(map(len, free)) > 1:
        return None
    if not _cover(y, free[0] | free[1]):
        return None
    return _oriented(y, free, bound[0], scale)


def _cover(y: Equation, used: set[int]) -> bool:
    """True when the factors hold every free index: else the product would fill one row or column of the result."""
    return all(y.extents[i] == 1 or i in used for i in range(y.n_free))


def _oriented(y: Equation, free: list[set[int]], bound: int, scale: sympy.Expr) -> Matched:
    """The read with the earlier free index is the left factor; beside a vector, a matrix that lies in rows of its
    free index is the left factor (dot products), one whose free index lies side by side the right."""
    first = [min(f, default=None) for f in free]
    order = (0, 1)
    if None in first:
        vector = first.index(None)
        matrix = y.reads[1 - vector]
        walks_side_by_side = first[1 - vector] is not None and matrix.at[-1].plain_index == first[1 - vector]
        order = (vector, 1 - vector) if walks_side_by_side else (1 - vector, vector)
    elif min(free[1]) < min(free[0]):
        order = (1, 0)
    left, right = (y.reads[t] for t in order)
    return Matched(left, right, first[order[0]], first[order[1]], bound, scale)


@lru_cache(maxsize=4096)
def two_factors(body: sympy.Expr) -> tuple[sympy.Expr, bool]:
    """The number before a body, and whether the rest is two reads."""
    scale, rest = body.as_independent(*[s for s in symbols_of(body) if placeholder_index(s) is not None], as_Add=False)
    factors = sympy.Mul.make_args(rest)
    return scale, len(factors) == 2 and all(placeholder_index(f) is not None for f in factors)


def _plain_indices(read: Read) -> set[int] | None:
    """The indices of a read whose maps are single indices or the constant 0; None for anything else."""
    found: set[int] = set()
    for a in read.at:
        i = a.plain_index
        if i is None and not (a.is_constant and a.const == 0):
            return None
        if i is not None:
            if i in found:
                return None
            found.add(i)
    return found


def bias_of(y: Equation, product: Equation, match: Matched) -> Read | None:
    """The read b when y = product + b[column] with the elements of b side by side, else None."""
    if match.scale != 1 or match.column is None or not y.elementwise or y.masks or len(y.reads) != 2:
        return None
    places = [t for t, r in enumerate(y.reads) if r.node is product]
    j = places[0] if len(places) == 1 else None  # a row of the product itself is no bias
    if j is None or y.shape != product.shape or y.body != placeholder(0) + placeholder(1):
        return None
    straight = tuple(constant(0) if e == 1 else index(i) for i, e in enumerate(y.shape))
    read, other = y.reads[j], y.reads[1 - j]
    if read.at != straight or _plain_indices(other) != {match.column}:
        return None
    last = next(a for a, e in zip(reversed(other.at), reversed(other.node.shape)) if e != 1)
    return other if last.plain_index == match.column else None
