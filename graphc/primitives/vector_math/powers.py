"""sqrt and general real powers x^y = exp(y log x).

float32 with AVX-512: log2(x) = e + log2(c) + log2(m/c), 32 intervals of m with a c each, as an unevaluated sum of two
numbers, like its product with y; exp2. What is not ordinary, and other machines: log2(x) and the product in float64
(but for the far end of the series of log2), exp2 in float32. float64: log x and the product are unevaluated sums.
The pairs are built from error-free sums and products (T. J. Dekker, Numer. Math. 18, 1971); the series of atanh is a
near-minimax fit as in ``exponential``.
"""

from __future__ import annotations

import math

import numpy as np
from llvmlite import ir

from graphc.primitives.vector_math import register_table
from graphc.primitives.vector_math.builder import FloatBuilder
from graphc.primitives.vector_math.exponential import exp_of_sum, scaled
from graphc.primitives.vector_math.logarithmic import split_exponent
from graphc.primitives.vector_math.slow_path import unless_rare

# log2(1 + f)/f, the second part in float32; and exp2(r).
_LOG2 = (1.4426950409398438, -0.7213475251993599, 0.4808983204596327, -0.3606728025270247)
_LOG2_END = (
    0.28854066133499146, -0.24050410091876984, 0.20609575510025024, -0.17904779314994812, 0.15900801122188568,
    -0.1569824367761612, 0.15482628345489502, -0.08631158620119095,
)  # fmt: skip
# log2(1 + f)/f for f in [-0.02, 0.017]: the first coefficient is the sum of two.
_LOG2_UNIT = (
    1.4426950216293335, 1.925963033500665e-08, -0.7213475108146667, 0.48089808225631714, -0.3607770502567291,
    0.2898668646812439,
)  # fmt: skip
# The bits of the first of 32 intervals of equally many numbers in an octave (1 lies in the middle of the 17th), and the
# place of an interval's number in these bits.
_FIRST, _STEP = 0x3F800000 - (33 << 17), 18
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


def _intervals() -> tuple[list[float], list[float], list[float]]:
    """A number c^-1 of few bits for each of the 32 intervals of m, and -log2(c^-1) as a sum, the first part of 16 bits.

    With so few bits c^-1 m - 1 is exact in float32; around m = 1 it is m - 1.
    """
    ends = [float(np.int32(_FIRST + (i << _STEP)).view(np.float32)) for i in range(register_table.SIZE + 1)]
    inverses = []
    for low, high in zip(ends, ends[1:]):
        fine = 64 if high <= 1 else 128
        near = [round(2 / (low + high) * size) / size for size in (fine, fine // 2)]
        fits = max(1 - low * near[0], high * near[0] - 1) <= 2.0**-6
        inverses.append(1.0 if low < 1 < high else near[0 if fits else 1])
    coarse = [round(-math.log2(inverse) * 2**16) / 2**16 for inverse in inverses]
    return inverses, coarse, [-math.log2(inverse) - first for inverse, first in zip(inverses, coarse)]


TABLES = dict(zip(("inverse", "log2_high", "log2_low"), _intervals(), strict=True))


def _log2_pair(k: FloatBuilder, x: ir.Value) -> Pair:
    """log2(x) of a positive normal float32 x = 2^e m: e - log2(c^-1) + log2(1 + f), f = c^-1 m - 1 exact."""
    shifted = k.ir.sub(k.as_int(x), k.integer(_FIRST))
    fraction = k.ir.and_(shifted, k.integer((1 << k.mantissa_bits) - 1))
    m = k.as_float(k.ir.add(fraction, k.integer(_FIRST)))
    e = k.ir.sitofp(k.ir.ashr(shifted, k.integer(k.mantissa_bits)), k.kind)
    index = k.ir.lshr(shifted, k.integer(_STEP))
    f = k.fma(m, register_table.look_up(k, "inverse", index), -1.0)
    first = k.mul(f, _LOG2_UNIT[0])
    high, error = _sum(k, k.add(e, register_table.look_up(k, "log2_high", index)), first)
    rest = k.add(k.fma(f, _LOG2_UNIT[0], k.neg(first)), register_table.look_up(k, "log2_low", index))
    return _sum(k, high, k.fma(f, k.poly(f, _LOG2_UNIT[1:]), k.add(rest, error)))


def _usual_single(k: FloatBuilder, x: ir.Value, y: ir.Value) -> ir.Value:
    """x^y of normal positive numbers with a result in (2^-126, 2^126), and of +0 with a positive y; else NaN."""
    high, low = _log2_pair(k, x)
    product = k.mul(y, high)
    error = k.fma(y, low, k.fma(y, high, k.neg(product)))
    n, tag = k.nearest(product, 1.0)
    mantissa = k.as_int(k.poly(k.add(k.sub(product, n), error), _EXP2))
    value = k.as_float(k.ir.add(mantissa, k.ir.shl(tag, k.integer(k.mantissa_bits))))
    smallest, infinity = k.bits_of(2.0**-126), k.bits_of(math.inf)
    place = k.ir.sub(k.as_int(x), k.integer(smallest))
    normal = k.ir.icmp_unsigned("<", place, k.integer(infinity - smallest))
    usual = k.ir.and_(normal, k.compare(k.abs(product), "<", 126.0))
    vanishes = k.ir.and_(k.ir.icmp_signed("==", k.as_int(x), k.integer(0)), k.compare(y, ">", 0.0))
    return k.select(vanishes, 0.0, k.select(usual, value, math.nan))


def power(k: FloatBuilder, x: ir.Value, y: ir.Value) -> ir.Value:
    """x^y with C's conventions: x^0 = 1, negative x only with integer y, else NaN."""
    if k.double or not register_table.in_registers():
        return power_of_any(k, x, y)
    return unless_rare(k, "power", _usual_single(k, x, y), x, y)


def power_of_any(k: FloatBuilder, x: ir.Value, y: ir.Value) -> ir.Value:
    """The same without a branch or a table."""
    size = (_power_double if k.double else _power_single)(k, k.abs(x), y)
    half = k.mul(0.5, y)
    whole = k.compare(k.intrinsic("floor", y), "==", y)
    odd = k.ir.and_(whole, k.compare(k.intrinsic("floor", half), "!=", half))
    signed = k.select(odd, k.copysign(size, x), size)
    negative = k.ir.and_(k.compare(x, "<", 0.0), k.compare(x, ">", -math.inf))
    return k.select(k.ir.and_(negative, k.ir.not_(whole)), math.nan, signed)
