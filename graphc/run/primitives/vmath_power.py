"""sqrt and general real powers x^y = exp(y log x).

float32: log2(x) and the product with y in float64 (but for the far end of the series of log2), exp2 in float32.
float64: log x and the product are unevaluated sums of two numbers.
The pairs are built from error-free sums and products (T. J. Dekker, Numer. Math. 18, 1971); the series of atanh is a
near-minimax fit as in ``vmath_exp``.
"""

from __future__ import annotations

import math

from llvmlite import ir

from graphc.run.primitives.builder import FloatBuilder
from graphc.run.primitives.vmath_exp import exp_of_sum, scaled
from graphc.run.primitives.vmath_log import split_exponent

# log2(1 + f)/f, the second part in float32; and exp2(r).
_LOG2 = (1.4426950409398438, -0.7213475251993599, 0.4808983204596327, -0.3606728025270247)
_LOG2_END = (
    0.28854066133499146, -0.24050410091876984, 0.20609575510025024, -0.17904779314994812, 0.15900801122188568,
    -0.1569824367761612, 0.15482628345489502, -0.08631158620119095,
)  # fmt: skip
_EXP2 = (
    1.0, 0.6931471824645996, 0.24022646248340607, 0.055503588169813156, 0.009618662297725677, 0.001339130336418748,
    0.00015287204587366432,
)  # fmt: skip
# The high part has enough trailing zeros for e*high to be exact.
_LN2 = (6.93147180369123816490e-01, 1.908214929270587816e-10)
_TWO_THIRDS = (0.6666666666666666, 3.7007434154171887e-17)
_ATANH = (
    0.4000000000000229, 0.28571428570083807, 0.22222222522745813, 0.18181784117903307, 0.15386768946155152,
    0.13256543788345013, 0.13198905233708144,
)  # fmt: skip
Pair = tuple[ir.Value, ir.Value]


def sqrt(k: FloatBuilder, x: ir.Value) -> ir.Value:
    """The square root, correctly rounded."""
    return k.intrinsic("sqrt", x)


def _sum(k: FloatBuilder, a: ir.Value | float, b: ir.Value) -> Pair:
    """a + b and its rounding error, for |a| >= |b| or a = 0."""
    total = k.add(a, b)
    return total, k.sub(b, k.sub(total, a))


def _product(k: FloatBuilder, a: Pair, b: Pair) -> Pair:
    """The product of two pairs, but for the product of the low parts."""
    high = k.mul(a[0], b[0])
    return high, k.fma(a[0], b[1], k.fma(a[1], b[0], k.fma(a[0], b[0], k.neg(high))))


def _quotient(k: FloatBuilder, f: ir.Value) -> Pair:
    """f/(2 + f)."""
    bottom, rest = _sum(k, k.const(2.0), f)
    inverse = k.div(1.0, bottom)
    high = k.mul(f, inverse)
    minus_high = k.neg(high)
    return high, k.mul(inverse, k.fma(minus_high, rest, k.fma(minus_high, bottom, f)))


def _cubic(k: FloatBuilder, s: Pair) -> Pair:
    """2 atanh(s) - 2 s = s^3 (2/3 + z P(z)), z = s^2."""
    first, second = _TWO_THIRDS
    z = _product(k, s, s)
    series = k.fma(z[0], k.poly(z[0], _ATANH), second)
    return _product(k, _product(k, z, s), _sum(k, first, series))


def _log(k: FloatBuilder, x: ir.Value) -> Pair:
    """log(x) of a positive x = 2^e (1 + f): e ln 2 + 2 atanh(s), s = f/(2 + f)."""
    e, m, offset = split_exponent(k, x)
    e = k.add(e, offset)
    s = _quotient(k, k.sub(m, 1.0))
    cubic = _cubic(k, s)
    ln2_high, ln2_low = _LN2
    high, error = _sum(k, k.mul(e, ln2_high), k.add(s[0], s[0]))
    high, second_error = _sum(k, high, cubic[0])
    low = k.add(k.add(error, second_error), k.fma(2.0, s[1], k.fma(e, ln2_low, cubic[1])))
    return _sum(k, high, low)


def _log2_single(k: FloatBuilder, x: ir.Value) -> ir.Value:
    """log2(x) of a float32 x >= 0 in float64, right to 2^-31; -inf at 0, inf at inf."""
    wide = FloatBuilder(k.ir, ir.DoubleType())
    e, m, offset = split_exponent(k, x)
    offset = k.select(k.compare(x, "==", 0.0), -math.inf, offset)
    e = k.add(e, k.select(k.compare(x, "<", math.inf), offset, x))
    f = k.sub(m, 1.0)
    series, f = k.widen(k.poly(f, _LOG2_END)), k.widen(f)
    for coefficient in reversed(_LOG2):
        series = wide.fma(series, f, coefficient)
    return wide.fma(series, f, k.widen(e))


def _power_single(k: FloatBuilder, x: ir.Value, y: ir.Value) -> ir.Value:
    """x^y = 2^n 2^r for a float32 x >= 0, n + r = y log2(x); limits at 0 and infinity."""
    wide = FloatBuilder(k.ir, ir.DoubleType())
    exponent = wide.mul(k.widen(y), _log2_single(k, x))
    exponent = wide.at_most(wide.at_least(exponent, -151.0), 129.0)
    n, tag = wide.nearest(exponent, 1.0)
    mantissa = k.poly(k.narrow(wide.sub(exponent, n)), _EXP2)
    value = scaled(k, mantissa, k.ir.trunc(tag, k.int_kind))
    trivial = k.ir.or_(k.compare(y, "==", 0.0), k.compare(x, "==", 1.0))
    return k.select(trivial, 1.0, value)


def _power_double(k: FloatBuilder, x: ir.Value, y: ir.Value) -> ir.Value:
    """x^y for a float64 x >= 0: exp(p + p_low), p + p_low = y log(x); limits at 0 and infinity."""
    high, low = _log(k, x)
    edge = k.select(k.compare(x, "==", 0.0), -math.inf, x)
    regular = k.ir.and_(k.compare(x, ">", 0.0), k.compare(x, "<", math.inf))
    product = k.mul(y, k.select(regular, high, edge))
    error = k.fma(y, low, k.fma(y, high, k.neg(product)))
    bounded = k.ir.and_(regular, k.compare(k.abs(product), "<", 800.0))
    value = exp_of_sum(k, product, k.select(bounded, error, 0.0))
    trivial = k.ir.or_(k.compare(y, "==", 0.0), k.compare(x, "==", 1.0))
    return k.select(trivial, 1.0, value)


def power(k: FloatBuilder, x: ir.Value, y: ir.Value) -> ir.Value:
    """x^y with C's conventions: x^0 = 1, negative x only with integer y, else NaN."""
    size = (_power_double if k.double else _power_single)(k, k.abs(x), y)
    half = k.mul(0.5, y)
    whole = k.compare(k.intrinsic("floor", y), "==", y)
    odd = k.ir.and_(whole, k.compare(k.intrinsic("floor", half), "!=", half))
    signed = k.select(odd, k.copysign(size, x), size)
    negative = k.ir.and_(k.compare(x, "<", 0.0), k.compare(x, ">", -math.inf))
    return k.select(k.ir.and_(negative, k.ir.not_(whole)), math.nan, signed)
