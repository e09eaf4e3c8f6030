"""The value of one scalar expression in NumPy, by the references of the table of scalar functions."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache, reduce
from typing import Any

import numpy as np
from sympy import Expr, S, Symbol

from graphc.ir.scalar_table import BY_CLASS
from graphc.records import record

SQRT_EXPONENTS = (S.Half, -S.Half)
PIECE = 1 << 13  # elements of a long expression that are computed at a time: what they go through stays in the cache
LONG = 16  # steps of an expression for which that pays


Blur = Callable[[np.ndarray], np.ndarray]


def value(expr: Expr, values: Mapping[Any, Any], dtype: np.dtype, blur: Blur | None = None) -> Any:
    """The value of `expr`; `values` holds those of the symbols. `blur` is applied to functions and powers that are
    computed on the way, not to what is chosen."""
    steps = _steps(expr, dtype, tuple(values))
    arrays = [s for s, x in values.items() if np.ndim(x)]
    if blur is None and len(steps) > LONG and len(arrays) == 1 and values[arrays[0]].size > PIECE:
        return _in_pieces(steps, arrays[0], values)
    return _run(steps, values, blur)


@record(frozen=True)
class _Step:
    """One value: that of a symbol, a number, or a function of values before it."""

    symbol: Symbol | None
    number: Any
    function: Callable[..., Any] | None
    arguments: tuple[int, ...]
    last: tuple[int, ...]  # what no later step reads: its memory, which is still in the cache, is taken by the next
    rounds: bool


def _run(steps: Sequence[_Step], values: Mapping[Any, Any], blur: Blur | None) -> Any:
    found: list[Any] = []
    for step in steps:
        if step.function is None:
            found.append(step.number if step.symbol is None else values[step.symbol])
            continue
        new = step.function(*[found[t] for t in step.arguments])
        found.append(blur(np.asarray(new)) if blur is not None and step.rounds else new)
        for t in step.last:
            found[t] = None
    return found[-1]


def _in_pieces(steps: Sequence[_Step], symbol: Symbol, values: Mapping[Any, Any]) -> np.ndarray:
    """The value of an expression of one array."""
    flat, own = values[symbol].reshape(-1), dict(values)
    parts = []
    for at in range(0, flat.size, PIECE):
        own[symbol] = piece = flat[at : at + PIECE]
        parts.append(np.broadcast_to(_run(steps, own, None), piece.shape))
    return np.concatenate(parts).reshape(values[symbol].shape)


@lru_cache(maxsize=4096)
def _steps(expr: Expr, dtype: np.dtype, symbols: tuple[Symbol, ...]) -> tuple[_Step, ...]:
    """The different parts of an expression, each behind what it reads."""
    made: list[tuple[Symbol | None, Any, Callable[..., Any] | None, tuple[int, ...], bool]] = []
    places: dict[Expr, int] = {}

    def place(part: Expr) -> int:
        if part not in places:
            if part in symbols:
                new = part, None, None, (), False
            elif not part.args and part.is_number:
                new = None, dtype.type(float(part)), None, (), False
            else:
                function, arguments = _computed(part, dtype)
                new = None, None, function, tuple([place(a) for a in arguments]), _rounds(part)
            places[part] = len(made)
            made.append(new)  # pyright: ignore[reportArgumentType]
        return places[part]

    place(expr)
    last = {t: k for k, step in enumerate(made) for t in step[3]}
    return tuple(
        _Step(*step[:4], tuple(sorted({t for t in step[3] if last[t] == k})), step[4]) for k, step in enumerate(made)
    )


def _computed(expr: Expr, dtype: np.dtype) -> tuple[Callable[..., Any], Sequence[Expr]]:
    """How an expression is computed, and of what."""
    if expr.is_Mul:
        above, below = _factors(expr)
        return _product(len(above), len(below), dtype), [*above, *below]
    if expr.is_Pow:
        return _power(expr.exp), [expr.base] if _is_plain(expr.exp) else [expr.base, expr.exp]
    if expr.is_Add:
        return _sum if len(expr.args) > 2 else np.add, expr.args  # pyright: ignore[reportReturnType]
    return BY_CLASS[expr.func].numpy, expr.args  # pyright: ignore[reportReturnType]


def _rounds(expr: Expr) -> bool:
    """Whether a part is a power, or a function that does more than to choose, as a comparison or a maximum does."""
    if not expr.is_Function:
        return bool(expr.is_Pow)
    entry = BY_CLASS[expr.func]
    return not entry.chooses and not entry.kinks


def _sum(*terms: Any) -> Any:
    return reduce(np.add, terms)


def _product(above: int, below: int, dtype: np.dtype) -> Callable[..., Any]:
    """Of so many factors, divided by so many others."""
    if above and above + below == 2:
        return np.divide if below else np.multiply

    def product(*factors: Any) -> Any:
        top = reduce(np.multiply, factors[:above]) if above else dtype.type(1)
        return reduce(np.divide, factors[above:], top)

    return product


def _factors(expr: Expr) -> tuple[list[Expr], list[Expr]]:
    """What a product multiplies by, and what it divides by."""
    divides = [f.is_Pow and f.exp.is_Rational and f.exp < 0 for f in expr.args]
    above = [f for f, below in zip(expr.args, divides, strict=True) if not below]
    return above, [1 / f for f, below in zip(expr.args, divides, strict=True) if below]


def _is_plain(exponent: Expr) -> bool:
    """Whether a power is roots or products."""
    return exponent in SQRT_EXPONENTS or bool(exponent.is_Integer and abs(exponent) <= 64)


def _power(exponent: Expr) -> Callable[..., Any]:
    if not _is_plain(exponent):
        return np.power
    if exponent in SQRT_EXPONENTS:
        return np.sqrt if exponent is S.Half else lambda base: 1 / np.sqrt(base)
    n = int(exponent)
    return lambda base: _integer_power(base, n) if n > 0 else 1 / _integer_power(base, -n)


def _integer_power(base: Any, n: int) -> Any:
    if n == 1:
        return base
    half = _integer_power(base, n // 2)
    return half * half * base if n % 2 else half * half
