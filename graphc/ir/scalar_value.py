"""The value of one scalar expression in NumPy, by the references of the table of scalar functions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from functools import lru_cache, reduce
from typing import Any

import numpy as np
from sympy import Expr, S

from graphc.ir.parts import parts
from graphc.ir.scalar_table import BY_CLASS

SQRT_EXPONENTS = (S.Half, -S.Half)


Blur = Callable[[np.ndarray], np.ndarray]


def value(expr: Expr, values: dict[Expr, Any], dtype: np.dtype, blur: Blur | None = None) -> Any:
    """The value of `expr`; `values` holds those of the symbols. `blur` is applied to functions and powers that are
    computed on the way, not to what is chosen."""
    return _Value(values, dtype, _shared(expr), blur).of(expr)


@lru_cache(maxsize=4096)
def _shared(expr: Expr) -> frozenset[Expr]:
    """What several parts of an expression read."""
    read = Counter(a for part in parts(expr) for a in part.args)
    return frozenset(a for a, times in read.items() if times > 1)


def _rounds(expr: Expr) -> bool:
    """Whether a part is a power, or a function that does more than to choose, as a comparison or a maximum does."""
    if not expr.is_Function:
        return bool(expr.is_Pow)
    entry = BY_CLASS[expr.func]
    return not entry.chooses and not entry.kinks


@lru_cache(maxsize=4096)
def _number(expr: Expr) -> float:
    return float(expr)


class _Value:
    """Remembers what several parts read and gives up the others at once: the next ones take their memory, which is
    still in the cache."""

    def __init__(
        self, values: dict[Expr, Any], dtype: np.dtype, shared: frozenset[Expr], blur: Blur | None
    ) -> None:
        self.values, self.dtype, self.shared, self.blur = values, dtype, shared, blur

    def of(self, expr: Expr) -> Any:
        if expr in self.values:
            return self.values[expr]
        found = self._compute(expr)
        if self.blur is not None and _rounds(expr):
            found = self.blur(np.asarray(found))
        if expr in self.shared:
            self.values[expr] = found
        return found

    def _compute(self, expr: Expr) -> Any:
        if not expr.args and expr.is_number:
            return self.dtype.type(_number(expr))
        if expr.is_Mul:
            return self._product(expr)
        if expr.is_Pow:
            return self._power(self.of(expr.base), expr.exp)
        args = [self.of(a) for a in expr.args]
        return reduce(np.add, args) if expr.is_Add else BY_CLASS[expr.func].numpy(*args)

    def _product(self, expr: Expr) -> Any:
        above, below = _factors(expr)
        top = reduce(np.multiply, [self.of(f) for f in above]) if above else self.dtype.type(1)
        return reduce(np.divide, [self.of(f) for f in below], top)

    def _power(self, base: Any, exponent: Expr) -> Any:
        if exponent in SQRT_EXPONENTS:
            root = np.sqrt(base)
            return root if exponent is S.Half else 1 / root
        if exponent.is_Integer and abs(exponent) <= 64:
            whole = _integer_power(base, abs(int(exponent)))
            return whole if exponent > 0 else 1 / whole
        return np.power(base, self.of(exponent))


@lru_cache(maxsize=4096)
def _factors(expr: Expr) -> tuple[list[Expr], list[Expr]]:
    """What a product multiplies by, and what it divides by."""
    divides = [f.is_Pow and f.exp.is_Rational and f.exp < 0 for f in expr.args]
    above = [f for f, below in zip(expr.args, divides, strict=True) if not below]
    return above, [1 / f for f, below in zip(expr.args, divides, strict=True) if below]


def _integer_power(base: Any, n: int) -> Any:
    if n == 1:
        return base
    half = _integer_power(base, n // 2)
    return half * half * base if n % 2 else half * half
