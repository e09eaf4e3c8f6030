"""What a floating-point number is made of: frexp, spacing, nextafter.

The formulas tell the precision that they are computed in by whether it has 1 + 2**-40.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from sympy import Abs, Expr, Rational, S, floor, log

from graphc.ir.functions.choices import (
    ZERO,
    absolute,
    equal,
    floor_,
    isfinite,
    less,
    less_equal,
    maximum,
    sign,
    step,
    stop_gradient,
    where,
)
from graphc.ir.functions.declaring import smooth, within
from graphc.ir.scalar_table import Break

_OCTAVES: dict[str, Any] = {"jumps": (Break(math.nan, "jumps where x is a power of 2"),), "cost": 60}
_BEYOND_SINGLE = 1 + Rational(1, 2**40)


def _usual(x: Expr) -> Expr:
    """|x|, and 1/2 in the place of 0, NaN and infinity."""
    return where(isfinite(x) * (1 - equal(x, 0)), absolute(x), S.Half)


def _scaled(a: Expr, e: Expr) -> Expr:
    """a*2**-e in two steps, neither of which leaves the range of numbers."""
    half = floor_(e / 2)
    return stop_gradient(a * S(2) ** -half) * S(2) ** (half - e)


def _exponent(x: Expr) -> Expr:
    """floor(log2|x|) + 1; moved by one where the logarithm was rounded to a whole number or away from it."""
    a = _usual(x)
    e = floor_(log(a) / log(2)) + 1
    m = _scaled(a, e)
    return e + less_equal(1, m) - less(m, S.Half)


def _octave(x: Expr) -> Expr:
    return floor(log(Abs(x)) / log(2)) + 1


def _mantissa(x: Expr) -> Expr:
    usual = isfinite(x) * (1 - equal(x, 0))
    return where(usual, sign(x) * _scaled(_usual(x), exponent(x)), x)


exponent = smooth(
    "exponent",
    _exponent,
    lambda x: ZERO,
    numpy=lambda x: np.where(np.isfinite(x), np.frexp(np.real(x))[1], 0).astype(np.result_type(x)),
    interval=within(-1074, 1024),
    public="",
    doc="The whole number e of x = m*2**e with 1/2 <= |m| < 1; 0 for 0, NaN and infinity.",
    plain=_octave,
    zero_gradient=True,
    **_OCTAVES,
)
mantissa = smooth(
    "mantissa",
    _mantissa,
    lambda x: S(2) ** -exponent(x),
    numpy=lambda x: np.frexp(np.real(x))[0],
    interval=lambda x: (min(x[0], -1.0), max(x[1], 1.0)),
    public="",
    doc="The number m of x = m*2**e with 1/2 <= |m| < 1; x itself for 0, NaN and infinity.",
    plain=lambda x: x * S(2) ** -_octave(x),
    **_OCTAVES,
)


def _if_single(x: Expr, single: Any, double: Any) -> Expr:
    """One of two numbers, by the precision of x."""
    one_or_two = 1 + step(x)
    return where(equal(_BEYOND_SINGLE * one_or_two, one_or_two), single, double)


def _spacing(x: Expr) -> Expr:
    signed = where(equal(x, 0), S(2) ** _least(x), (1 - 2 * less(x, 0)) * S(2) ** _step(x, exponent(x)))
    return where(isfinite(x), signed, x - stop_gradient(x))


def _step(x: Expr, e: Expr) -> Expr:
    """The exponent of the spacing where numbers have the exponent e."""
    return maximum(e - _if_single(x, 24, 53), _least(x))


def _least(x: Expr) -> Expr:
    return _if_single(x, -149, -1074)


def _nextafter(a: Expr, b: Expr) -> Expr:
    """a and the spacing there, below a power of 2 that of smaller numbers; lifted, since it may be no normal number."""
    up = less(a, b) - less(b, a)
    inwards = less(up * a, 0) * equal(absolute(mantissa(a)), S.Half)
    lift = less(absolute(a), 1) * _if_single(a, 30, 60)
    lifted = stop_gradient(a * S(2) ** lift) + up * S(2) ** (_step(a, exponent(a) - inwards) + lift)
    near = where(equal(a, 0), up * S(2) ** _least(a), lifted * S(2) ** -lift)
    largest = sign(a) * S(2) ** _if_single(a, 127, 1023) * (2 - S(2) ** _if_single(a, -23, -52))
    found = where(isfinite(a), near, where(up, largest, a))
    return where(equal(b, b), found, b)


spacing = smooth(
    "spacing",
    _spacing,
    lambda x: ZERO,
    numpy=lambda x: np.spacing(np.real(x)),
    interval=lambda x: (-math.inf, math.inf),
    doc="The distance from x to the next number that is larger in size, with the sign of x; its gradient is 0. Programs"
    " count distances below the smallest normal number as 0.",
    zero_gradient=True,
    **_OCTAVES,
)
nextafter = smooth(
    "nextafter",
    _nextafter,
    lambda a, b: S.One,
    lambda a, b: ZERO,
    numpy=lambda a, b: np.nextafter(np.real(a), np.real(b)),
    interval=lambda a, b: (min(a[0], b[0]), max(a[1], b[1])),
    doc="The number next to a on the way to b; its gradient is that of a. Programs find no number between 0 and the"
    " smallest normal one.",
    cost=150,
)
