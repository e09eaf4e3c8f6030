"""Delta contraction: solve the equality masks of an equation for its bound indices.

The one differentiation rule writes every pullback as a sum with deltas ``[phi(i, k) = p]``; here they vanish.  Each
equality ``e = 0`` is solved for one bound index, the longest that can be eliminated:

- *unit*   coefficient ±1:  a := R
- *divide* coefficient c:   a := floor(R/c) with the mask c | R
- *radix*  the other terms T stay within one stride c:  a := floor(R/c), and T = R mod c as a new equality

Floors and remainders of bound indices (second derivatives of pooling and reshape) are opened by a new bound index.
What no index can solve (a gather, a diagonal) stays as an equality mask.  See ``docs/notation.md``.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import field

from graphc.ir.affine import (
    Affine,
    Atom,
    Extent,
    FloorDiv,
    Gather,
    Modulo,
    affine,
    constant,
    floor_div,
    index,
    indices,
    lower_bound,
    modulo,
    size,
    substitute,
    upper_bound,
)
from graphc.ir.node import Indicator, Mask, Operand, Position, Read
from graphc.records import record

LONG = 1 << 20  # stands for the length of a free extent when eliminations are compared
branches: list[str] = []  # the branches taken since the last clear(); the tests assert that each was reached


def map_operand(operand: Operand, move: Callable[[Affine], Affine]) -> Operand:
    """Apply ``move`` to every index map of an operand."""
    if isinstance(operand, Read):
        return Read(operand.node, tuple(move(a) for a in operand.at))
    if isinstance(operand, Indicator):
        return Indicator(map_mask(operand.mask, move))
    return Position(move(operand.map))


def map_mask(mask: Mask, move: Callable[[Affine], Affine]) -> Mask:
    """Apply ``move`` to the index map of a mask."""
    return Mask(mask.kind, move(mask.map), mask.modulus)


@record
class _Solver:
    extents: list[Extent]
    n_free: int
    operands: list[Operand]
    equalities: list[Affine]
    masks: list[Mask]
    stuck: list[Affine] = field(default_factory=list)
    gone: set[int] = field(default_factory=set)

    def length(self, i: int) -> int:
        extent = self.extents[i]
        return extent if isinstance(extent, int) else LONG

    def eliminate(self, i: int, value: Affine) -> None:
        """i := value, which must stay inside the extent of i."""
        self.gone.add(i)
        self.substitute(lambda j: value if j == i else index(j))
        same = value.plain_index
        if same is None or self.extents[same] != self.extents[i]:
            self.masks.append(Mask("ge", value))
            self.masks.append(Mask("ge", size(self.extents[i]) - 1 - value))

    def substitute(self, move: Callable[[int], Affine]) -> None:
        def each(x: Affine) -> Affine:
            return substitute(x, move, self.extents)

        self.equalities = [each(e) for e in self.equalities]
        self.stuck = [each(e) for e in self.stuck]
        self.masks = [map_mask(m, each) for m in self.masks]
        self.operands = [map_operand(op, each) for op in self.operands]

    def new_index(self, extent: int) -> Affine:
        self.extents.append(extent)
        return index(len(self.extents) - 1)

    def within(self, x: Affine, extent: int) -> None:
        """Add the masks 0 <= x < extent."""
        self.masks += [Mask("ge", x), Mask("ge", constant(extent - 1) - x)]


def contract(
    extents: tuple[Extent, ...], n_free: int, operands: list[Operand], masks: list[Mask]
) -> tuple[tuple[Extent, ...], list[Operand], list[Mask]]:
    """Remove every equality mask that a bound index can solve; returns new extents, operands and masks."""
    s = _Solver(
        list(extents),
        n_free,
        list(operands),
        [m.map for m in masks if m.kind == "eq"],
        [m for m in masks if m.kind != "eq"],
    )
    while s.equalities:
        s.equalities.sort(key=lambda e: len(e.terms))
        e = s.equalities.pop(0)
        if e == constant(0):
            continue
        if not (_solve_index(s, e) or _open_atom(s, e)):
            s.stuck.append(e)
    return _renumber(s)


def _solve_index(s: _Solver, e: Affine) -> bool:
    candidates = [c for i, coef in _solvable(s, e) for c in _ways(s, e, i, coef)]
    if not candidates:
        return False
    _, kind, i, value, remainder = max(candidates, key=lambda c: c[0])
    branches.append(kind)
    stride = abs(dict(e.terms)[i])
    if kind == "divide":
        s.masks.append(Mask("divides", value, stride))
    if kind == "radix":
        s.equalities.append(remainder - modulo(value, stride, s.extents))
    s.eliminate(i, value if kind == "unit" else floor_div(value, stride, s.extents))
    return True


def _solvable(s: _Solver, e: Affine) -> list[tuple[int, int]]:
    nested: set[int] = set()
    for atom, _ in e.terms:
        if not isinstance(atom, int):
            nested |= indices(Affine(0, ((atom, 1),)))
    return [(a, c) for a, c in e.terms if isinstance(a, int) and a >= s.n_free and a not in nested]


_Way = tuple[tuple[float, int], str, int, Affine, Affine]


def _ways(s: _Solver, e: Affine, i: int, coef: int) -> list[_Way]:
    """The eliminations of index i: (benefit, kind, i, right-hand side, remainder)."""
    rest = affine(e.const, {a: c for a, c in e.terms if a != i})
    value, stride = (-rest if coef > 0 else rest), abs(coef)
    if stride == 1:
        return [((s.length(i), 1), "unit", i, value, constant(0))]
    ways: list[_Way] = [((s.length(i) / 1.5, 0), "divide", i, value, constant(0))]
    inner: dict[Atom, int] = {a: (c if coef > 0 else -c) for a, c in _solvable(s, e) if a != i}
    remainder = affine(0, inner)
    low, high = lower_bound(remainder, s.extents), upper_bound(remainder, s.extents)
    if inner and high - low < stride:
        shifted = value + remainder - int(low)
        benefit = s.length(i) * math.prod(s.length(a) for a in inner if isinstance(a, int))
        ways.append(((benefit, 2), "radix", i, shifted, remainder - int(low)))
    return ways


def _open_atom(s: _Solver, e: Affine) -> bool:
    """Open one floor or remainder that holds a bound index."""
    for atom, coef in e.terms:
        if not isinstance(atom, FloorDiv | Modulo) or abs(coef) != 1:
            continue
        inside = {i for i in indices(atom.inner) if i >= s.n_free}
        rest = affine(e.const, {a: c for a, c in e.terms if a != atom})
        if not inside or inside & indices(rest):
            continue
        value = -rest if coef > 0 else rest
        branches.append(_open_pair(s, atom, value) or _open_single(s, atom, value))
        return True
    return False


def _open_pair(s: _Solver, atom: FloorDiv | Modulo, value: Affine) -> str:
    """floor(x/c) = u and x mod c = v together:  x = c*u + v, 0 <= v < c."""
    mate: Atom = (Modulo if isinstance(atom, FloorDiv) else FloorDiv)(atom.inner, atom.divisor)
    for other in s.equalities:
        coef = dict(other.terms).get(mate)
        if coef in (1, -1):
            rest = affine(other.const, {a: c for a, c in other.terms if a != mate})
            mate_value = -rest if coef > 0 else rest
            high, low = (value, mate_value) if isinstance(atom, FloorDiv) else (mate_value, value)
            s.equalities.remove(other)
            s.equalities.append(atom.inner - (high * atom.divisor + low))
            s.within(low, atom.divisor)
            return "pair"
    return ""


def _open_single(s: _Solver, atom: FloorDiv | Modulo, value: Affine) -> str:
    c = atom.divisor
    if isinstance(atom, FloorDiv):
        s.equalities.append(atom.inner - (value * c + s.new_index(c)))
        return "floor"
    low = int(lower_bound(atom.inner, s.extents) // c)
    high = upper_bound(atom.inner, s.extents)
    count = LONG if math.isinf(high) else int(high // c) - low + 1
    s.equalities.append(atom.inner - (s.new_index(count) * c + c * low + value))
    s.within(value, c)
    return "modulo"


def _renumber(s: _Solver) -> tuple[tuple[Extent, ...], list[Operand], list[Mask]]:
    kept = [i for i in range(len(s.extents)) if i not in s.gone]
    place = {old: index(new) for new, old in enumerate(kept)}

    def move(x: Affine) -> Affine:
        return substitute(x, place.__getitem__)

    masks = [map_mask(m, move) for m in s.masks] + [Mask("eq", move(e)) for e in s.stuck]
    return tuple(s.extents[i] for i in kept), [map_operand(op, move) for op in s.operands], masks


def gather_free(x: Affine) -> bool:
    """True when no gather occurs in x."""
    return not any(isinstance(a, Gather) for a, _ in x.terms)
