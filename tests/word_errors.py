"""The worst errors of declared functions over their domains, for the page of functions."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import mpmath as mp
import numpy as np
from sympy import Expr

from graphc.ir.scalar import Scalar, derivative, number, numpy_function, placeholder
from tests.exact_scalars import exact

SIZES = 10.0 ** np.linspace(-8, 1.3, 24)
BESIDE = (-0.41421356237, 0.656729834517, 3.71828182846)
"""What the other arguments are, one after the other; where they count something, 1, 2 and 3."""


@cache
def worst_errors(entry: Scalar) -> tuple[float, float, float, float]:
    """Of value and derivatives, in float64 and float32, in units of the last place of the exact result."""
    required = entry.arity - len(entry.defaults)
    if required == 1:
        return _worst([(entry, entry(placeholder(0), *map(number, entry.defaults)), ())])
    counted = "n" in entry.arguments
    cases = [(entry, *_with_others(entry, j, v)) for v in ((1, 2, 3) if counted else BESIDE) for j in range(required)
             if not (counted and entry.arguments[j] == "n")]  # fmt: skip
    return _worst(cases)


def _with_others(entry: Scalar, j: int, v: float) -> tuple[Expr, tuple[float, ...]]:
    """The function of its argument j alone, the other being v: a number where it counts something, else an operand."""
    counted = "n" in entry.arguments
    args = [placeholder(0) if k == j else number(v) if counted else placeholder(1) for k in range(2)]
    return entry(*args, *map(number, entry.defaults)), () if counted else (v,)


def _worst(cases: Sequence[tuple[Scalar, Expr, tuple[float, ...]]]) -> tuple[float, float, float, float]:
    found = []
    for dtype in (np.float64, np.float32):
        errors: list[list[float]] = [[0.0], [0.0]]
        for entry, body, others in cases:
            points = _points(entry)[:: 3 if len(cases) > 1 else 1].astype(dtype)
            points = points[(points != 0) & ~np.isin(points, entry.domain)]
            beside = [dtype(v) for v in others]
            for order, form in enumerate((body, derivative(body, 0, False))):
                values = np.broadcast_to(numpy_function(form, 1 + len(beside))(points, *beside), points.shape)
                errors[order] += [_error(body, order, x, v, beside) for x, v in zip(points, values)]
        found += [max(e) for e in errors]
    return found[0], found[1], found[2], found[3]


_POLES = ("digamma", "psi", "polygamma", "betaln")  # at 0, -1, ..


def _points(entry: Scalar) -> np.ndarray:
    low, high = (0.0, np.inf) if entry.public in _POLES else entry.domain
    if np.isfinite(high):
        return low + (high - low) * np.linspace(0.003, 0.997, 41)
    return low + SIZES if np.isfinite(low) else np.concatenate([-SIZES[::-1], SIZES])


def _error(body: Expr, order: int, x: np.floating, found: np.floating, beside: Sequence[np.floating]) -> float:
    with mp.workdps(60):
        at = mp.mpf(float(x))
        others = {placeholder(t): mp.mpf(float(v)) for t, v in enumerate(beside, start=1)}

        def f(v: mp.mpf) -> mp.mpf:
            return exact(body, {placeholder(0): v} | others)

        h = mp.mpf(10) ** -16 * abs(at)
        wanted = f(at) if order == 0 else (f(at - 2 * h) - 8 * f(at - h) + 8 * f(at + h) - f(at + 2 * h)) / (12 * h)
        info = np.finfo(x.dtype)
        if not isinstance(wanted, mp.mpf) or not float(info.tiny) < abs(wanted) < float(info.max):
            return 0.0
        if order and abs(wanted) < mp.mpf(10) ** -12 * abs(f(at)):
            return 0.0  # a slope of 0, but for the rounding of the difference
        unit = np.spacing(x.dtype.type(float(abs(wanted))))
        return float(abs(mp.mpf(float(found)) - wanted) / mp.mpf(float(unit)))
