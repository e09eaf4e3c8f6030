"""NumPy's functions with derivatives of their own: inverse hyperbolic functions, angles, roots, remainders."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

import numpy as np
import sympy as sp
from sympy import Expr, Rational, S

from graphc.ir.functions.choices import (
    absolute,
    equal,
    floor_,
    guarded,
    isfinite,
    less,
    less_equal,
    maximum,
    relu,
    round_,
    sign,
    where,
)
from graphc.ir.functions.declaring import smooth
from graphc.ir.functions.elementary import log1p
from graphc.ir.functions.smooth import sigmoid, softplus
from graphc.ir.scalar_table import Break, Interval

_FAR = 10**8  # beyond, 1 is nothing beside the square


def horner(x: Expr, coefficients: Any) -> Expr:
    """sum_k coefficients[k] x^k, in nested form."""
    total = S(coefficients[-1])
    for c in reversed(coefficients[:-1]):
        total = c + x * total
    return total


def rational(values: tuple[float, ...]) -> list[Rational]:
    """Coefficients as the exact numbers that they are."""
    return [Rational(Fraction(v).numerator, Fraction(v).denominator) for v in values]


# ---------------------------------------------------------------- inverse hyperbolic functions


def _arcsinh(x: Expr) -> Expr:
    a = absolute(x)
    near = log1p(a + a**2 / (1 + sp.sqrt(1 + a**2)))
    return sign(x) * where(less(a, _FAR), near, sp.log(a) + sp.log(2))


def _arccosh(x: Expr) -> Expr:
    t = x - 1
    return where(less(x, _FAR), log1p(t + sp.sqrt(t) * sp.sqrt(x + 1)), sp.log(x) + sp.log(2))


def _arctanh(x: Expr) -> Expr:
    a = absolute(x)
    return sign(x) * log1p(2 * a / (1 - a)) / 2


arcsinh = smooth(
    "arcsinh",
    _arcsinh,
    lambda x: 1 / sp.sqrt(1 + x**2),
    numpy=np.arcsinh,
    at={0: 0},
    interval="increasing",
    doc="The inverse hyperbolic sine.",
    also=("asinh",),
    means=(sp.asinh,),
    cuda="math.asinh({0})",
    cost=30,
)
arccosh = smooth(
    "arccosh",
    _arccosh,
    lambda x: 1 / (sp.sqrt(x - 1) * sp.sqrt(x + 1)),
    numpy=np.arccosh,
    at={1: 0},
    interval="increasing",
    domain=(1.0, math.inf),
    slope_at_ends="root",
    doc="The inverse hyperbolic cosine, at least 0.",
    also=("acosh",),
    means=(sp.acosh,),
    cuda="math.acosh({0})",
    cost=30,
)
arctanh = smooth(
    "arctanh",
    _arctanh,
    lambda x: 1 / ((1 - x) * (1 + x)),
    numpy=np.arctanh,
    at={0: 0},
    interval="increasing",
    domain=(-1.0, 1.0),
    open_domain=True,
    doc="The inverse hyperbolic tangent.",
    also=("atanh",),
    means=(sp.atanh,),
    cuda="math.atanh({0})",
    cost=30,
)


# ---------------------------------------------------------------- angles


def _arctan2(y: Expr, x: Expr) -> Expr:
    side = 1 - 2 * less(y, 0)
    turned = where(less(x, 0), sp.atan(y / x) + sp.pi * side, sp.pi / 2 * sign(y))
    return where(less(0, x), sp.atan(y / x), turned)


def _ray(y: Interval, x: Interval) -> Interval:
    return -math.pi, math.pi


arctan2 = smooth(
    "arctan2",
    _arctan2,
    lambda y, x: x / (x**2 + y**2),
    lambda y, x: -y / (x**2 + y**2),
    numpy=np.arctan2,
    interval=_ray,
    doc="The angle of the point (x, y) with the first axis, in [-pi, pi]; -0.0 counts as 0.",
    also=("atan2",),
    means=(sp.atan2,),
    cuda="math.atan2({0}, {1})",
    cost=30,
)

_LAST = 12
_SINC = [Rational((-1) ** k, math.factorial(2 * k + 1)) for k in range(_LAST)]
_SINC_SLOPE = [2 * k * c for k, c in enumerate(_SINC)][1:]


def _turned(x: Expr, f: Any) -> Expr:
    """f(pi*x), sine or cosine, from what x is beyond the nearest whole number n: (-1)^n f(pi*(x - n))."""
    n = round_(x)
    return (1 - 2 * (n - 2 * floor_(n / 2))) * f(sp.pi * (x - n))


def _sinc(x: Expr) -> Expr:
    near = horner((sp.pi * x) ** 2, _SINC)
    return where(less(absolute(x), Rational(1, 2)), near, _turned(x, sp.sin) / (sp.pi * x))


def _sinc_slope(x: Expr) -> Expr:
    near = sp.pi**2 * x * horner((sp.pi * x) ** 2, _SINC_SLOPE)
    turned = _turned(x, sp.cos)
    return guarded(less(absolute(x), Rational(1, 2)), near, (turned - sinc(x)) / x)


sinc = smooth(
    "sinc",
    _sinc,
    _sinc_slope,
    at={0: 1},
    interval=lambda x: (-0.22, 1.0),
    doc="sin(pi*x)/(pi*x), 1 at 0.",
    cost=40,
    plain=lambda x: sp.sinc(sp.pi * x),
)


# ---------------------------------------------------------------- roots, remainders, sums of exponentials


def _cbrt(x: Expr) -> Expr:
    """One step of Newton after the power, whose exponent 1/3 is rounded; SymPy would cancel it without the relu."""
    t = relu(absolute(x) ** Rational(1, 3))
    usual = isfinite(x) * (1 - equal(x, 0))
    return where(usual, sign(x) * (t - (t**3 - absolute(x)) / (3 * t**2)), x)


cbrt = smooth(
    "cbrt",
    _cbrt,
    lambda x: 1 / (3 * cbrt(x) ** 2),
    numpy=lambda x: np.cbrt(x) if np.result_type(x).kind == "f" else np.sign(np.real(x)) * abs(x) ** (1 / 3),
    at={0: 0, 1: 1, -1: -1},
    interval="increasing",
    kinks=(Break(0.0, "the slope is infinite at 0"),),
    unicode="∛({0})",
    latex=r"\sqrt[3]{{{0}}}",
    doc="The real cube root; its derivative is infinite at 0.",
    cost=40,
    plain=lambda x: sp.sign(x) * sp.Abs(x) ** Rational(1, 3),
)


def _mod(a: Expr, b: Expr) -> Expr:
    r = a - b * floor_(a / b)
    missed = less_equal(absolute(b), absolute(r))  # the quotient was rounded to a whole number
    return where(less(r * sign(b), 0), r + b, where(missed, r - b, r))


mod = smooth(
    "mod",
    _mod,
    lambda a, b: S.One,
    lambda a, b: -floor_(a / b),
    numpy=np.mod,
    interval=lambda a, b: (min(b[0], 0.0), max(b[1], 0.0)),
    unicode="({0} mod {1})",
    latex=r"\left({0} \bmod {1}\right)",
    jumps=(Break(math.nan, "jumps where a/b is a whole number"),),
    doc="a - b*floor(a/b), the remainder with the sign of b.",
    also=("remainder",),
    means=(sp.Mod,),
    cost=12,
)

logaddexp = smooth(
    "logaddexp",
    lambda a, b: maximum(a, b) + softplus(-absolute(a - b)),
    lambda a, b: sigmoid(a - b),
    lambda a, b: sigmoid(b - a),
    numpy=np.logaddexp,
    interval=lambda a, b: (max(a[0], b[0]), max(a[1], b[1]) + math.log(2)),
    doc="log(exp(a) + exp(b)) without overflow.",
    cost=42,
    plain=lambda a, b: sp.log(sp.exp(a) + sp.exp(b)),
)
