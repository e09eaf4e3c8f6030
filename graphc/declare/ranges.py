"""How far every index runs: ``X[i, k]`` gives i and k the extents of X, and shifted reads must stay inside."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import sympy

from graphc.declare.index_ast import (
    Access,
    Floor,
    Index,
    Indexed,
    IndexMap,
    accesses,
    map_indices,
)
from graphc.declare.names import node_text
from graphc.declare.origin import fail
from graphc.declare.views import gather
from graphc.errors import IndexNotationError, ShapeError
from graphc.ir.affine import Affine, Extent, floor_div, index, lower_bound, modulo, size, upper_bound

Ranges = dict[Index, Extent]


def find_ranges(expr: Indexed | sympy.Expr, wanted: Sequence[Index]) -> Ranges:
    """The extent of every index of ``expr`` and of ``wanted``.

    Raises
    ------
    IndexNotationError
        When two reads disagree, nothing tells the extent, or a read leaves its tensor.
    ShapeError
        When a given extent does not fit an axis that the index stands in.
    """
    places = [(a, t) for a in accesses(expr) for t in range(len(a.at))]
    ranges: Ranges = {}
    seen: dict[Index, tuple[Access, int]] = {}
    for access, t in places:
        for i in map_indices(access.at[t]):
            if i.size is not None:
                ranges[i] = i.size
    for access, t in places:
        _plain_read(access, t, ranges, seen)
    ranges |= {i: i.size for i in wanted if i.size is not None}
    while _shifted_reads(places, ranges):
        pass
    unknown = {i: None for a, t in places for i in map_indices(a.at[t])} | dict.fromkeys(wanted)
    for i in unknown:
        if i not in ranges:
            _no_range(i, places)
    for access, t in places:
        _check_inside(access, t, ranges)
    return ranges


def _plain_read(access: Access, t: int, ranges: Ranges, seen: dict[Index, tuple[Access, int]]) -> None:
    i = access.at[t].plain
    if i is None:
        return
    extent = access.node.shape[t]
    if i.size is not None:
        _check_given(i, access, t)
        return
    if i in seen and ranges[i] != extent:
        first = seen[i][0]
        message = f"index {i} runs to {ranges[i]} in {first!r} but axis {t} of {_text(access)} has extent {extent}"
        fail(IndexNotationError, message, _mismatch_hint(i, first, access))
    ranges.setdefault(i, extent)
    seen.setdefault(i, (access, t))


def _check_given(i: Index, access: Access, t: int) -> None:
    """A given extent may be shorter than the axis, never longer."""
    given, extent = i.size, access.node.shape[t]
    if given == extent or (isinstance(given, int) and isinstance(extent, int) and given < extent):
        return
    message = f"index {i} is given the extent {given} but axis {t} of {_text(access)} has extent {extent}"
    shown = f'"{extent}"' if isinstance(extent, str) else extent
    hint = f'give it that extent: {i} = gc.indices("{i}", {i}={shown}), or leave it to {access.name}.'
    fail(ShapeError, message, hint)


def _mismatch_hint(i: Index, first: Access, access: Access) -> str:
    if first.node is access.node:
        return f"use two indices for the two axes of {access.name}."
    return f"give {first.name} and {access.name} the same extent there, or use another index than {i}."


def _text(access: Access) -> str:
    return node_text(access.node, access.name)


def _shifted_reads(places: Sequence[tuple[Access, int]], ranges: Ranges) -> bool:
    """Give an index that is only read shifted the longest range that stays inside; True when one was found."""
    for access, t in places:
        unknown = {i for i in map_indices(access.at[t]) if i not in ranges}
        if len(unknown) == 1:
            i = unknown.pop()
            limits = [_longest(a, s, i, ranges) for a, s in places if i in set(map_indices(a.at[s]))]
            known = [n for n in limits if n is not None]
            if len(known) == len(limits) and min(known) >= 1:
                ranges[i] = min(known)
                return True
    return False


def _longest(access: Access, t: int, i: Index, ranges: Ranges) -> int | None:
    """How many values i can take before coef*i + rest leaves the axis; None when that cannot be told."""
    x, extent = access.at[t], access.node.shape[t]
    coef = dict(x.terms).get(i, 0)
    rest = IndexMap(x.const, tuple((a, c) for a, c in x.terms if a is not i))
    others = set(map_indices(rest))
    if coef < 1 or i in others or not others <= ranges.keys() or isinstance(extent, str):
        return None
    names = list(ranges)
    extents = [ranges[n] for n in names]
    moved = to_affine(rest, {n: s for s, n in enumerate(names)}, extents)
    low, high = lower_bound(moved, extents), upper_bound(moved, extents)
    return int((extent - 1 - high) // coef) + 1 if low >= 0 and high < extent else None


def _no_range(i: Index, places: Sequence[tuple[Access, int]]) -> None:
    found = next((a for a, t in places if i in set(map_indices(a.at[t]))), None)
    where = f" in {found!r}" if found is not None else ""
    message = f"nothing tells how far index {i} runs{where}"
    fail(IndexNotationError, message, f'give it an extent: {i} = gc.indices("{i}", {i}=8).')


def _check_inside(access: Access, t: int, ranges: Ranges) -> None:
    x, extent = access.at[t], access.node.shape[t]
    plain = x.plain
    if plain is not None and ranges[plain] == extent:
        return
    names = list(ranges)
    extents = [ranges[n] for n in names]
    moved = to_affine(x, {n: s for s, n in enumerate(names)}, extents, extent)
    if lower_bound(moved, extents) < 0:
        found = f"{access!r} reads place {lower_bound(moved, extents)} of axis {t} of {_text(access)}"
    elif lower_bound(size(extent) - 1 - moved, extents) < 0 and not any(isinstance(a, Access) for a, _ in x.terms):
        high = upper_bound(moved, extents)
        found = f"{access!r} reads beyond axis {t} of {_text(access)}"
        found = found if high == float("inf") else f"{access!r} reads place {high} of axis {t} of {_text(access)}"
    else:
        return
    hint = f"its places are 0 to {extent} - 1" if isinstance(extent, str) else f"its places are 0 to {extent - 1}"
    i = next(iter(map_indices(x)), None)
    shorter = f'; give the index a shorter extent: {i} = gc.indices("{i}", {i}=...).' if i is not None else "."
    fail(IndexNotationError, found, hint + shorter)


def to_affine(
    x: IndexMap, place: Mapping[Index, int], extents: Sequence[Extent], bound: Extent | None = None
) -> Affine:
    """The map over the numbered indices of an equation; ``bound`` is the extent that gathered labels select from."""
    out = Affine(x.const)
    for atom, coef in x.terms:
        if isinstance(atom, Index):
            part = index(place[atom])
        elif isinstance(atom, Access):
            at = tuple(to_affine(a, place, extents, e) for a, e in zip(atom.at, atom.node.shape))
            part = gather(atom.node, at, bound if bound is not None else "")
        else:
            inner = to_affine(atom.inner, place, extents)
            part = (floor_div if isinstance(atom, Floor) else modulo)(inner, atom.divisor, extents)
        out = out + part * coef
    return out

