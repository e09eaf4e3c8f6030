"""NumPy's functions of one element, by NumPy's names, that are formulas in other functions."""

from __future__ import annotations

from typing import Any

import sympy as sp
from sympy import Expr, S

from graphc.ir.functions.analytic import logaddexp, mod
from graphc.ir.functions.choices import (
    absolute,
    equal,
    floor_,
    isfinite,
    less,
    less_equal,
    maximum,
    minimum,
    round_,
    sign,
    step,
    where,
)
from graphc.ir.functions.declaring import word

_LARGEST = 3.4028234663852886e38

# ---------------------------------------------------------------- arithmetic

word("add", lambda a, b: a + b, "a + b.")
word("subtract", lambda a, b: a - b, "a - b.")
word("multiply", lambda a, b: a * b, "a*b.")
word("divide", lambda a, b: a / b, "a/b.", also=("true_divide",))
word("power", lambda a, b: a**b, "a to the power b.", also=("float_power",))
word("positive", lambda x: x, "x itself.")
word("negative", lambda x: -x, "-x.")
word("square", lambda x: x**2, "x**2.")
word("reciprocal", lambda x: 1 / x, "1/x.")
word("exp2", lambda x: S(2) ** x, "2 to the power x.")
word("log2", lambda x: sp.log(x) / sp.log(2), "The logarithm to the base 2.")
word("log10", lambda x: sp.log(x) / sp.log(10), "The logarithm to the base 10.")
word("ldexp", lambda x, n: x * S(2) ** n, "x*2**n.")
word("hypot", lambda a, b: sp.sqrt(a**2 + b**2), "sqrt(a**2 + b**2), with gradient 0 where both are 0; the squares "
     "overflow above 1e154 (1e19 in float32).")  # fmt: skip
word("logaddexp2", lambda a, b: logaddexp(a * sp.log(2), b * sp.log(2)) / sp.log(2), "log2(2**a + 2**b).")
word("deg2rad", lambda x: x * sp.pi / 180, "Degrees in radians.", also=("radians",))
word("rad2deg", lambda x: x * 180 / sp.pi, "Radians in degrees.", also=("degrees",))


# ---------------------------------------------------------------- rounding


def _trunc(x: Expr) -> Expr:
    return sign(x) * floor_(absolute(x))


word("ceil", lambda x: -floor_(-x), "The smallest whole number not below x; its gradient is 0.", means=(sp.ceiling,))
word("trunc", _trunc, "The nearest whole number towards 0; its gradient is 0.", also=("fix",))
word("floor_divide", lambda a, b: round_((a - mod(a, b)) / b), "floor(a/b); its gradient is 0.")
word("fmod", lambda a, b: sign(a) * mod(absolute(a), absolute(b)), "The remainder with the sign of a.")


# ---------------------------------------------------------------- comparisons and conditions


def _nonzero(x: Expr) -> Expr:
    return 1 - equal(x, 0)


def isnan(x: Expr) -> Expr:
    """1 where x is not equal to itself."""
    return 1 - equal(x, x)


word("greater", lambda a, b: less(b, a), "1 where a > b, else 0.", aliases=("gt",))
word("greater_equal", lambda a, b: less_equal(b, a), "1 where a >= b, else 0.", aliases=("ge",))
word("not_equal", lambda a, b: 1 - equal(a, b), "1 where a and b differ, else 0.")
word("logical_not", lambda x: equal(x, 0), "1 where x is 0, else 0.")
word("logical_and", lambda a, b: _nonzero(a) * _nonzero(b), "1 where neither is 0, else 0.")
word("logical_or", lambda a, b: maximum(_nonzero(a), _nonzero(b)), "1 where one is not 0, else 0.")
word("logical_xor", lambda a, b: 1 - equal(equal(a, 0), equal(b, 0)), "1 where exactly one is not 0, else 0.")
word("isnan", isnan, "1 where x is NaN, else 0.")
word("isinf", lambda x: equal(x, x) - isfinite(x), "1 where x is infinite, else 0.")
word("isposinf", lambda x: (equal(x, x) - isfinite(x)) * step(x), "1 where x is +inf, else 0.")
word("isneginf", lambda x: (equal(x, x) - isfinite(x)) * step(-x), "1 where x is -inf, else 0.")
word("signbit", lambda x: less(x, 0), "1 where x < 0, else 0; -0.0 counts as 0.")
word(
    "isclose",
    lambda a, b, rtol=1e-5, atol=1e-8: less_equal(absolute(a - b), atol + rtol * absolute(b)),
    "1 where |a - b| <= atol + rtol*|b|, else 0.",
    explained={"rtol": "The relative tolerance.", "atol": "The absolute tolerance."},
)


# ---------------------------------------------------------------- choices


def _nan_to_num(x: Expr, nan: Any = 0.0, posinf: Any = _LARGEST, neginf: Any = -_LARGEST) -> Expr:
    finite_or_inf = where(isfinite(x), x, where(less(x, 0), neginf, posinf))
    return where(equal(x, x), finite_or_inf, nan)


word("heaviside", lambda x, h=0: step(x) + h * equal(x, 0), "0 for x < 0, h at 0, 1 for x > 0; its gradient is 0.",
     explained={"h": "The value at 0."})  # fmt: skip
word("copysign", lambda a, b: absolute(a) * (1 - 2 * less(b, 0)), "|a| with the sign of b; -0.0 counts as 0.")
word("fmax", lambda a, b: where(equal(a, a), where(equal(b, b), maximum(a, b), a), b),
     "The larger of a and b; a NaN beside a number is left out.")  # fmt: skip
word("fmin", lambda a, b: where(equal(a, a), where(equal(b, b), minimum(a, b), a), b),
     "The smaller of a and b; a NaN beside a number is left out.")  # fmt: skip
word(
    "nan_to_num",
    _nan_to_num,
    "x with numbers in the place of NaN and infinities.",
    explained={
        "nan": "In the place of NaN.",
        "posinf": "In the place of inf; by default the largest float32.",
        "neginf": "In the place of -inf.",
    },
)
word("angle", lambda x: sp.pi * less(x, 0), "0 for x >= 0, pi for x < 0.")
