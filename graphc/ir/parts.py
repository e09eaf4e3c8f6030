"""The parts of a SymPy expression, each once.

SymPy's own `atoms`, `has`, `free_symbols` and traversals walk through the tree of an expression, in which what is
shared stands again and again: bodies of second derivatives have thousands of different parts and millions of places.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from sympy import Basic, Symbol


def parts(expr: Basic) -> list[Any]:
    """All different parts in the order in which a walk through the tree meets them, the expression first."""
    found: dict[Basic, None] = {}
    left = [expr]
    while left:
        part = left.pop()
        if part not in found:
            found[part] = None
            left += reversed(part.args)
    return list(found)


def parts_of_kind(expr: Basic, *kinds: type) -> frozenset[Any]:
    """The different parts of some classes."""
    return _parts_of_kind(expr, kinds)


@lru_cache(maxsize=1 << 13)
def _parts_of_kind(expr: Basic, kinds: tuple[type, ...]) -> frozenset[Any]:
    return frozenset(part for part in parts(expr) if isinstance(part, kinds))


@lru_cache(maxsize=1 << 15)
def places_of(expr: Basic, symbol: Symbol) -> int:
    """At how many places of an expression's tree a symbol stands, as `count` says."""
    if symbol not in symbols_of(expr):
        return 0
    return 1 if expr == symbol else sum(places_of(part, symbol) for part in expr.args)


@lru_cache(maxsize=1 << 15)
def symbols_of(expr: Basic) -> frozenset[Symbol]:
    """The symbols that stand in an expression."""
    return frozenset({expr} if isinstance(expr, Symbol) else ()).union(*map(symbols_of, expr.args))


def with_symbols(expr: Basic, new: Mapping[Symbol, Basic]) -> Any:
    """The expression with symbols replaced, as by `xreplace`; what holds none of them is not looked through."""
    known: dict[Basic, Any] = {}

    def replaced(part: Basic) -> Any:
        if part in new:
            return new[part]  # pyright: ignore[reportArgumentType]
        if new.keys().isdisjoint(symbols_of(part)):
            return part
        if part not in known:
            known[part] = part.func(*map(replaced, part.args))
        return known[part]

    return replaced(expr)
