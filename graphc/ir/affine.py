"""Quasi-affine index maps: what stands inside the brackets of a read.

A map is ``const + sum coef*atom``; an atom is an index (a de Bruijn number), ``floor(map / s)``, ``map mod s``, a
gather ``labels[maps]`` or the size of a free extent.  Transposing a stride leaves the affine class, hence *quasi*.
Extents are whole numbers, or the name of a free extent such as ``"n"`` whose size is known only at run time.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Extent = int | str
Labels = Any
"""The node of whole numbers that a gather reads; nodes are made of these maps, so that it cannot be named here."""


@dataclass(frozen=True, slots=True)
class FloorDiv:
    """floor(inner / divisor)."""

    inner: Affine
    divisor: int


@dataclass(frozen=True, slots=True)
class Modulo:
    """inner mod divisor."""

    inner: Affine
    divisor: int


@dataclass(frozen=True, slots=True)
class Gather:
    """node[at..], a whole number read from integer data, at least 0 and below ``bound``."""

    node: Labels
    at: tuple[Affine, ...]


@dataclass(frozen=True, slots=True)
class Size:
    """The run-time size of a free extent."""

    name: str


Atom = int | FloorDiv | Modulo | Gather | Size


@dataclass(frozen=True, slots=True)
class Affine:
    """const + sum_t coef_t*atom_t, terms in canonical order; build with :func:`affine`."""

    const: int
    terms: tuple[tuple[Atom, int], ...] = ()

    def __add__(self, other: Affine | int) -> Affine:
        if isinstance(other, int):
            return Affine(self.const + other, self.terms)
        total = dict(self.terms)
        for atom, coef in other.terms:
            total[atom] = total.get(atom, 0) + coef
        return affine(self.const + other.const, total)

    def __mul__(self, factor: int) -> Affine:
        return affine(self.const * factor, {atom: coef * factor for atom, coef in self.terms})

    def __neg__(self) -> Affine:
        return self * -1

    def __sub__(self, other: Affine | int) -> Affine:
        return self + (-other)

    @property
    def is_constant(self) -> bool:
        return not self.terms

    @property
    def plain_index(self) -> int | None:
        """i when the map is just the index i, else None."""
        if self.const == 0 and len(self.terms) == 1 and self.terms[0][1] == 1:
            atom = self.terms[0][0]
            return atom if isinstance(atom, int) else None
        return None


def _order(term: tuple[Atom, int]) -> tuple[int, int, str]:
    atom = term[0]
    return (0, atom, "") if isinstance(atom, int) else (1, 0, describe(atom))


def describe(atom: Atom | Affine) -> str:
    """A text that orders atoms the same way in every process."""
    if isinstance(atom, Affine):
        return f"{atom.const}" + "".join(f"{coef:+d}*{describe(a)}" for a, coef in atom.terms)
    if isinstance(atom, int):
        return f"i{atom}"
    if isinstance(atom, Size):
        return f"|{atom.name}|"
    if isinstance(atom, Gather):
        return f"g{atom.node.serial}[{','.join(describe(x) for x in atom.at)}]"
    return f"{type(atom).__name__}({describe(atom.inner)},{atom.divisor})"


def affine(const: int, terms: Mapping[Atom, int]) -> Affine:
    """Canonical map; applies ``s*floor(e/s) + (e mod s) -> e``."""
    for atom, coef in terms.items():
        if isinstance(atom, FloorDiv) and coef:
            mate = Modulo(atom.inner, atom.divisor)
            factor = terms.get(mate, 0)
            if factor and coef == atom.divisor * factor:
                rest = affine(const, {a: c for a, c in terms.items() if a not in (atom, mate)})
                return rest + atom.inner * factor
    kept = [(atom, coef) for atom, coef in terms.items() if coef]
    return Affine(const, tuple(sorted(kept, key=_order) if len(kept) > 1 else kept))


def index(i: int) -> Affine:
    """The map that is just index i."""
    return Affine(0, ((i, 1),))


def constant(value: int) -> Affine:
    """The map that is a number."""
    return Affine(value)


def size(extent: Extent) -> Affine:
    """The number of values of an index over ``extent``."""
    return constant(extent) if isinstance(extent, int) else Affine(0, ((Size(extent), 1),))


def identity(rank: int) -> tuple[Affine, ...]:
    """(i, j, k, ..): reads a tensor as it stands."""
    return tuple(index(i) for i in range(rank))


def lower_bound(x: Affine, extents: Sequence[Extent]) -> float:
    """A bound that x never goes below, for indices inside their extents and sizes of at least 1."""
    low: float = x.const
    sizes: dict[Atom, int] = {}
    for atom, coef in x.terms:
        if isinstance(atom, Size):
            sizes[atom] = sizes.get(atom, 0) + coef
        elif isinstance(atom, int) and coef < 0 and isinstance(extents[atom], str):
            free = Size(str(extents[atom]))  # i <= size - 1
            sizes[free] = sizes.get(free, 0) + coef
            low -= coef
        else:
            bounds = _atom_bounds(atom, extents)
            low += coef * (bounds[0] if coef > 0 else bounds[1])
    return -math.inf if any(coef < 0 for coef in sizes.values()) else low + sum(sizes.values())


def upper_bound(x: Affine, extents: Sequence[Extent]) -> float:
    """A bound that x never exceeds."""
    return -lower_bound(-x, extents)


def _atom_bounds(atom: Atom, extents: Sequence[Extent]) -> tuple[float, float]:
    if isinstance(atom, int):
        extent = extents[atom]
        return 0, (extent - 1 if isinstance(extent, int) else math.inf)
    if isinstance(atom, Modulo):
        return 0, atom.divisor - 1
    if isinstance(atom, FloorDiv):
        low, high = lower_bound(atom.inner, extents), upper_bound(atom.inner, extents)
        floor = [v if math.isinf(v) else v // atom.divisor for v in (low, high)]
        return floor[0], floor[1]
    if isinstance(atom, Gather):
        bound = getattr(atom.node, "bound", None)
        return 0, (bound - 1 if bound else math.inf)
    return 1, math.inf


def floor_div(x: Affine, divisor: int, extents: Sequence[Extent] | None = None) -> Affine:
    """floor(x / divisor), with whole multiples taken out and provable quotients made constant."""
    whole = {atom: coef // divisor for atom, coef in x.terms if coef % divisor == 0}
    rest = affine(x.const % divisor, {atom: coef for atom, coef in x.terms if coef % divisor})
    base = affine(x.const // divisor, whole)
    if rest.is_constant:
        return base
    if extents is not None:
        low, high = lower_bound(rest, extents), upper_bound(rest, extents)
        if not math.isinf(low) and not math.isinf(high) and low // divisor == high // divisor:
            return base + int(low // divisor)
    return base + affine(0, {FloorDiv(rest, divisor): 1})


def modulo(x: Affine, divisor: int, extents: Sequence[Extent] | None = None) -> Affine:
    """x mod divisor, with whole multiples dropped."""
    rest = affine(x.const % divisor, {atom: coef % divisor for atom, coef in x.terms})
    if rest.is_constant:
        return constant(rest.const % divisor)
    if extents is not None and lower_bound(rest, extents) >= 0 and upper_bound(rest, extents) < divisor:
        return rest
    return affine(0, {Modulo(rest, divisor): 1})


def substitute(x: Affine, move: Callable[[int], Affine], extents: Sequence[Extent] | None = None) -> Affine:
    """Replace every index i by move(i); ``extents`` are those of the new indices and allow simplification."""
    if not x.const and len(x.terms) == 1 and x.terms[0][1] == 1:  # most are just an index
        return _substitute_atom(x.terms[0][0], move, extents)
    out = constant(x.const)
    for atom, coef in x.terms:
        out = out + _substitute_atom(atom, move, extents) * coef
    return out


def _substitute_atom(atom: Atom, move: Callable[[int], Affine], extents: Sequence[Extent] | None) -> Affine:
    if isinstance(atom, int):
        return move(atom)
    if isinstance(atom, FloorDiv):
        return floor_div(substitute(atom.inner, move, extents), atom.divisor, extents)
    if isinstance(atom, Modulo):
        return modulo(substitute(atom.inner, move, extents), atom.divisor, extents)
    if isinstance(atom, Gather):
        return Affine(0, ((Gather(atom.node, tuple(substitute(a, move, extents) for a in atom.at)), 1),))
    return Affine(0, ((atom, 1),))


def replace_nodes(x: Affine, new: Callable[[Labels], Labels]) -> Affine:
    """Replace the nodes that gathers read."""
    if all(isinstance(atom, int | Size) for atom, _ in x.terms):
        return x
    out = constant(x.const)
    for atom, coef in x.terms:
        if isinstance(atom, Gather):
            moved: Atom = Gather(new(atom.node), tuple(replace_nodes(a, new) for a in atom.at))
        elif isinstance(atom, FloorDiv | Modulo):
            moved = type(atom)(replace_nodes(atom.inner, new), atom.divisor)
        else:
            moved = atom
        out = out + affine(0, {moved: coef})
    return out


def indices(x: Affine) -> set[int]:
    """Every index that occurs in x, nested ones too."""
    found: set[int] = set()
    for atom, _ in x.terms:
        if isinstance(atom, int):
            found.add(atom)
        elif isinstance(atom, FloorDiv | Modulo):
            found |= indices(atom.inner)
        elif isinstance(atom, Gather):
            found.update(*(indices(a) for a in atom.at))
    return found


def gathers(x: Affine) -> Iterator[Gather]:
    """Every gather in x, nested ones too."""
    for atom, _ in x.terms:
        if isinstance(atom, Gather):
            yield atom
            for a in atom.at:
                yield from gathers(a)
        elif isinstance(atom, FloorDiv | Modulo):
            yield from gathers(atom.inner)
