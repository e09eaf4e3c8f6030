"""The value of one scalar expression in NumPy, by the references of the table of scalar functions."""

from __future__ import annotations

from functools import lru_cache, reduce
from typing import Any

import numpy as np
from sympy import Expr, S

from graphc.ir.scalar_table import BY_CLASS

SQRT_EXPONENTS = (S.Half, -S.Half)


def value(expr: Expr, values: dict[Expr, Any], dtype: np.dtype) -> Any:
    """The value of `expr`; `values` holds the symbols and remembers every shared sub-expression."""
    if expr not in values:
        values[expr] = _compute(expr, values, dtype)
    return values[expr]


def _compute(expr: Expr, values: dict[Expr, Any], dtype: np.dtype) -> Any:
    if not expr.args and expr.is_number:
        return dtype.type(float(expr))
    if expr.is_Mul:
        return _product(expr, values, dtype)
    if expr.is_Pow:
        return _power(value(expr.base, values, dtype), expr.exp, values, dtype)
    args = [value(a, values, dtype) for a in expr.args]
    return reduce(np.add, args) if expr.is_Add else BY_CLASS[expr.func].numpy(*args)


def _product(expr: Expr, values: dict[Expr, Any], dtype: np.dtype) -> Any:
    above, below = _factors(expr)
    top = reduce(np.multiply, [value(f, values, dtype) for f in above]) if above else dtype.type(1)
    return reduce(np.divide, [value(f, values, dtype) for f in below], top)


@lru_cache(maxsize=4096)
def _factors(expr: Expr) -> tuple[list[Expr], list[Expr]]:
    """What a product multiplies by, and what it divides by."""
    divides = [f.is_Pow and f.exp.is_Rational and f.exp < 0 for f in expr.args]
    above = [f for f, below in zip(expr.args, divides, strict=True) if not below]
    return above, [1 / f for f, below in zip(expr.args, divides, strict=True) if below]


def _power(base: Any, exponent: Expr, values: dict[Expr, Any], dtype: np.dtype) -> Any:
    if exponent in SQRT_EXPONENTS:
        root = np.sqrt(base)
        return root if exponent is S.Half else 1 / root
    if exponent.is_Integer and abs(exponent) <= 64:
        whole = _integer_power(base, abs(int(exponent)))
        return whole if exponent > 0 else 1 / whole
    return np.power(base, value(exponent, values, dtype))


def _integer_power(base: Any, n: int) -> Any:
    if n == 1:
        return base
    half = _integer_power(base, n // 2)
    return half * half * base if n % 2 else half * half
