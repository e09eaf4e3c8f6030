"""Do the reads of a graph stay within what they read? Proven by bounds of their index maps, or refuted by a point.

A map is bounded by intervals of its atoms. Where that is not enough, what the masks and conditions around a read say
(``m >= 0``) is subtracted as often as makes an index drop out: x >= x - l m. Labels are what the host lets through.
"""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import field

import numpy as np
import sympy

from graphc.ir.affine import Affine, Atom, Extent, FloorDiv, Gather, Modulo, Size, gathers, size
from graphc.ir.node import Equation, Indicator, Leaf, Mask, Node, Read, operand_maps
from graphc.ir.scalar import placeholder, where
from graphc.records import record

DEPTH = 3  # masks that are used together
POINTS = 4000  # of an iteration space that are tried

Limits = Mapping[Leaf, set[Extent]]


@record(frozen=True)
class Place:
    """A map that selects along an axis of so many elements, and what holds where it is evaluated."""

    map: Affine
    extent: Extent
    masks: tuple[Mask, ...] = ()


@record
class Space:
    """Where the indices of an equation run: their extents, the least sizes of free ones, what labels keep to, and maps
    that are known to be at least 0."""

    extents: Sequence[Extent]
    sizes: Mapping[str, int]
    limits: Limits
    facts: list[Affine] = field(default_factory=list)

    def least(self, x: Affine, depth: int = DEPTH, enough: float = 0) -> float:
        """A bound that x never goes below, the best one found or one that is ``enough``."""
        best = self._interval(x, depth)
        for fact in self.facts if best < enough and depth else ():
            for times, off in _dropping(x, fact):
                found = self.least(x * times - fact * off, depth - 1, enough)
                best = max(best, found if math.isinf(found) else -(-found // times))
        return best

    def _interval(self, x: Affine, depth: int) -> float:
        low: float = x.const
        sizes: dict[str, int] = {}
        for atom, coef in x.terms:
            free = self.size_above(atom)
            if isinstance(atom, Size):
                sizes[atom.name] = sizes.get(atom.name, 0) + coef
            elif coef < 0 and free is not None:  # at most one less than a size
                sizes[free] = sizes.get(free, 0) + coef
                low -= coef
            else:
                bounds = self.bounds(atom, depth)
                low += coef * bounds[0 if coef > 0 else 1]
        if any(coef < 0 for coef in sizes.values()):
            return -math.inf
        return low + sum(coef * self.sizes.get(name, 1) for name, coef in sizes.items())

    def size_above(self, atom: Atom) -> str | None:
        """The free extent that an index or a label lies in."""
        if isinstance(atom, int):
            extent = self.extents[atom]
            return extent if isinstance(extent, str) else None
        if isinstance(atom, Gather) and isinstance(atom.node, Leaf):
            return next((e for e in self.limits.get(atom.node, ()) if isinstance(e, str)), None)
        return None

    def bounds(self, atom: Atom, depth: int = 0) -> tuple[float, float]:
        """Between which numbers an atom lies."""
        if isinstance(atom, int):
            extent = self.extents[atom]
            return 0, extent - 1 if isinstance(extent, int) else math.inf
        if isinstance(atom, Modulo):
            return 0, atom.divisor - 1
        if isinstance(atom, FloorDiv):
            ends = (self.least(atom.inner, depth, math.inf), -self.least(-atom.inner, depth, math.inf))
            low, high = (end if math.isinf(end) else end // atom.divisor for end in ends)
            return low, high
        return labels_within(atom.node, self.limits) if isinstance(atom, Gather) else (1, math.inf)


def labels_within(node: Node, limits: Limits) -> tuple[float, float]:
    """Between which numbers the labels of a node lie."""
    if not isinstance(node, Leaf):
        return -math.inf, math.inf
    if node.kind == "constant":
        return float(np.min(node.value)), float(np.max(node.value))
    if node.dtype != "int" or node not in limits:
        return -math.inf, math.inf
    known = [e for e in limits[node] if isinstance(e, int)] + ([node.bound] if node.bound else [])
    return 0, min(known) - 1 if known else math.inf


def _dropping(x: Affine, fact: Affine) -> Iterator[tuple[int, int]]:
    """How often x, and how often a fact less, so that an atom drops out."""
    own = dict(x.terms)
    found = set()
    for atom, coef in fact.terms:
        if atom in own and own[atom] * coef > 0:
            common = math.gcd(own[atom], coef)
            found.add((abs(coef) // common, abs(own[atom]) // common))
    yield from sorted(found)


# ---------------------------------------------------------------- the places of an equation


def places(y: Equation) -> Iterator[Place]:
    """What an equation reads, each with the masks under which its program reads it."""
    for j, op in enumerate(y.operands):
        for masks in _conditions(y, j):
            if isinstance(op, Read):
                yield from (Place(a, e, (*y.masks, *masks)) for a, e in zip(op.at, op.node.shape, strict=True))
            for x in operand_maps(op):
                yield from _labels(x, (*y.masks, *masks))
    first = tuple(m for m in y.masks if not any(gathers(m.map)))  # programs look at those before they read labels
    for mask in y.masks:
        yield from _labels(mask.map, first)


def _labels(x: Affine, masks: tuple[Mask, ...]) -> Iterator[Place]:
    for g in gathers(x):
        yield from (Place(a, e, masks) for a, e in zip(g.at, g.node.shape, strict=True))


def _conditions(y: Equation, j: int) -> Iterator[tuple[Mask, ...]]:
    """For every place of an operand in the body: what the conditions around it say."""
    tests = {placeholder(t): op.mask for t, op in enumerate(y.operands) if isinstance(op, Indicator)}
    name = placeholder(j)

    def walk(e: sympy.Basic, around: tuple[Mask, ...]) -> Iterator[tuple[Mask, ...]]:
        if e == name:
            yield around
        elif name in e.free_symbols:
            if isinstance(e, where) and e.args[0] in tests:
                mask = tests[e.args[0]]
                yield from walk(e.args[1], (*around, mask))
                yield from walk(e.args[2], (*around, *_failing(mask)))
            else:
                for part in e.args:
                    yield from walk(part, around)

    found = dict.fromkeys(walk(y.body, ()))
    yield from found or [()]


def _failing(mask: Mask) -> tuple[Mask, ...]:
    """What holds where a mask does not."""
    if mask.kind == "ge":
        return (Mask("ge", -mask.map - 1),)
    other = {"eq": "ne", "ne": "eq"}
    return (Mask(other[mask.kind], mask.map),) if mask.kind in other else ()  # pyright: ignore[reportArgumentType]


def is_inside(y: Equation, place: Place, sizes: Mapping[str, int], limits: Limits) -> bool:
    """Whether a place is proven to stay within its axis."""
    space = Space(y.extents, sizes, limits)
    for mask in place.masks:
        space.facts += [mask.map] if mask.kind in ("ge", "eq") else []
        space.facts += [-mask.map] if mask.kind == "eq" else []
    return space.least(place.map) >= 0 and space.least(size(place.extent) - 1 - place.map) >= 0


# ---------------------------------------------------------------- a point outside


def point_outside(y: Equation, place: Place, sizes: Mapping[str, int], limits: Limits) -> int | None:
    """What a map gives at a point that lies outside, where one is found; labels that no bound is known of are not
    tried."""
    rng = random.Random(0)
    space = Space(y.extents, sizes, limits)
    maps = [place.map, *(m.map for m in place.masks)]
    atoms = list(dict.fromkeys(g for x in maps for g in gathers(x)))
    if any(math.isinf(end) and space.size_above(g) is None for g in atoms for end in space.bounds(g)):
        return None
    names = {e for e in (*y.extents, place.extent) if isinstance(e, str)}
    for more in (0, 1, 6):
        free = {name: sizes.get(name, 1) + more for name in names}
        counts = [e if isinstance(e, int) else free[e] for e in y.extents]
        for point in _points(counts, rng):
            drawn = {g: _drawn(space, g, free, rng) for g in atoms}
            at = lambda x, point=point, drawn=drawn, free=free: _value(x, point, drawn, free)
            if all(_holds(m, at(m.map)) for m in place.masks):
                count = place.extent if isinstance(place.extent, int) else free[place.extent]
                if not 0 <= at(place.map) < count:
                    return at(place.map)
    return None


def _points(counts: Sequence[int], rng: random.Random) -> Iterator[tuple[int, ...]]:
    if math.prod(counts) <= POINTS:
        yield from itertools.product(*map(range, counts))
        return
    corners = itertools.product(*({0, max(n - 1, 0)} for n in counts))
    yield from itertools.islice(corners, POINTS)
    yield from (tuple(rng.randrange(n) for n in counts) for _ in range(POINTS))


def _drawn(space: Space, g: Gather, free: Mapping[str, int], rng: random.Random) -> int:
    if isinstance(g.node, Leaf) and g.node.kind == "constant":
        return int(np.ravel(g.node.value)[rng.randrange(np.size(g.node.value))])
    name, (low, high) = space.size_above(g), space.bounds(g)
    return rng.choice([int(low), (free.get(name, 1) if name else int(high) + 1) - 1])


def _value(x: Affine, point: Sequence[int], drawn: Mapping[Gather, int], free: Mapping[str, int]) -> int:
    return x.const + sum(coef * _value_of(atom, point, drawn, free) for atom, coef in x.terms)


def _value_of(atom: Atom, point: Sequence[int], drawn: Mapping[Gather, int], free: Mapping[str, int]) -> int:
    if isinstance(atom, int):
        return point[atom]
    if isinstance(atom, Gather):
        return drawn[atom]
    if isinstance(atom, Size):
        return free.get(atom.name, 1)
    inner = _value(atom.inner, point, drawn, free)
    return inner // atom.divisor if isinstance(atom, FloorDiv) else inner % atom.divisor


def _holds(mask: Mask, value: int) -> bool:
    if mask.kind == "divides":
        return value % mask.modulus == 0
    return {"ge": value >= 0, "eq": value == 0, "ne": value != 0}[mask.kind]
