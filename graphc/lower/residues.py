"""Sums over every s-th place, such as the gradient of a strided convolution's input: one product for each remainder.

    out[k] = sum_{m: s | k + g - m} d[(k + g - m)/s] w[m]        k = s p + r - g,  m = s q + r
           = parts[r, p],  r = (k + g) mod s,  p = (k + g) // s
    parts[r, p] = sum_{q: s q + r < M} d[p - q] w[s q + r]

Nothing is divided any more, and what is left is a product like that of a convolution of stride 1.
"""

from __future__ import annotations

from collections.abc import Sequence

from graphc.ir.affine import Affine, Extent, floor_div, index, modulo, substitute
from graphc.ir.build import always_true
from graphc.ir.node import Equation, Mask, Read
from graphc.ir.scalar import placeholder
from graphc.lower.contractions import inside
from graphc.records import record


@record(frozen=True)
class _Step:
    """A condition that ``modulus`` divides free - bound + shift."""

    free: int
    bound: int
    shift: int
    modulus: int


def by_remainders(y: Equation) -> tuple[Equation, Equation] | None:
    """The parts that y is made of, and y as what reads them; None where it is no such sum."""
    steps = [_step(y, m) for m in y.masks if m.kind == "divides"]
    if not steps or y.reducer != "sum" or len(y.reads) < len(y.operands):
        return None
    found = [s for s in steps if s is not None]
    used = [i for s in found for i in (s.free, s.bound)]
    if len(found) < len(steps) or len({*used}) < len(used) or 0 in used:
        return None
    parts = _parts(y, found)
    at: list[Affine] = [index(0)]
    at += [modulo(index(s.free) + s.shift, s.modulus, y.extents) for s in found]
    of = {s.free: s for s in found}
    for i in range(1, y.n_free):
        at.append(floor_div(index(i) + of[i].shift, of[i].modulus, y.extents) if i in of else index(i))
    return parts, Equation(y.shape, y.n_free, "sum", placeholder(0), (Read(parts, tuple(at)),), ())


def _step(y: Equation, m: Mask) -> _Step | None:
    terms = dict(m.map.terms)
    free = [i for i in terms if isinstance(i, int) and i < y.n_free]
    bound = [i for i in terms if isinstance(i, int) and i >= y.n_free]
    if len(terms) != 2 or len(free) != 1 or len(bound) != 1 or m.modulus is None:
        return None
    literal = all(isinstance(y.extents[i], int) for i in (*free, *bound))
    if not literal or terms[free[0]] != 1 or terms[bound[0]] != -1 or m.map.const < 0:
        return None
    return _Step(free[0], bound[0], m.map.const, m.modulus)


def _parts(y: Equation, steps: Sequence[_Step]) -> Equation:
    """The sums of all remainders: the first index of y, the remainders, then what y has."""
    more, n_free = len(steps), y.n_free + len(steps)
    place = [i if i == 0 else i + more for i in range(len(y.extents))]
    extents: list[Extent] = [y.extents[0], *(s.modulus for s in steps), *y.extents[1:]]
    moved = [index(p) for p in place]
    for t, s in enumerate(steps, 1):
        whole, terms = y.extents[s.free], y.extents[s.bound]
        assert isinstance(whole, int) and isinstance(terms, int)
        extents[place[s.free]] = (whole - 1 + s.shift) // s.modulus + 1
        extents[place[s.bound]] = -(-terms // s.modulus)
        moved[s.free] = index(place[s.free]) * s.modulus + index(t) - s.shift
        moved[s.bound] = index(place[s.bound]) * s.modulus + index(t)
    move = lambda i: moved[i]
    reads = tuple(Read(r.node, tuple(substitute(a, move, extents) for a in r.at)) for r in y.reads)
    masks = [Mask(m.kind, substitute(m.map, move, extents)) for m in y.masks if m.kind != "divides"]
    masks += [Mask("ge", substitute(index(s.bound) * -1 + (int(y.extents[s.bound]) - 1), move)) for s in steps]
    masks += [m for r in reads for a, e in zip(r.at, r.node.shape, strict=True) for m in inside(a, e)]
    kept = tuple(m for m in dict.fromkeys(masks) if not always_true(m, tuple(extents)))
    return Equation(tuple(extents), n_free, "sum", y.body, reads, kept)
