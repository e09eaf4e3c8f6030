"""Logarithms as straight-line arithmetic: log, log1p, softplus, bce, logcosh, xlogx.

x = 2^e (1 + f) with 1 + f in [sqrt(1/2), sqrt(2)). float64 follows fdlibm (Sun Microsystems, e_log.c and s_log1p.c,
netlib.org/fdlibm): log(1 + f) = f - (f^2/2 - s (f^2/2 + R)), s = f/(2 + f). float32 has no division (the form of Cephes
logf.c): f - f^2/2 + f^3 P(f). Polynomials without a source are near-minimax fits as in ``vmath_exp``.
"""

from __future__ import annotations

import math

from llvmlite import ir

from graphc.run.primitives.builder import FloatBuilder
from graphc.run.primitives.vmath_exp import exp_decay

_LN2 = (0.6931471805599453, 2.3190468138462996e-17)
_LN2_SINGLE = (0.693147182464599609375, -1.904654299957768e-09)
_LOG_SINGLE = (
    0.33333316445350647, -0.25000813603401184, 0.20002293586730957, -0.16624443233013153, 0.14181101322174072,
    -0.13129840791225433, 0.12882328033447266, -0.07857199758291245,
)  # fmt: skip
_LOG_DOUBLE = (
    6.666666666666735130e-01, 3.999999999940941908e-01, 2.857142874366239149e-01, 2.222219843214978396e-01,
    1.818357216161805012e-01, 1.531383769920937332e-01, 1.479819860511658591e-01,
)  # fmt: skip
_UNIT_SINGLE = (
    -0.49999988079071045, 0.33332714438438416, -0.24988864362239838, 0.19899620115756989, -0.16135142743587494,
    0.12479421496391296, -0.08323682099580765, 0.04211252182722092, -0.013690373860299587, 0.002084245439618826,
)  # fmt: skip
_UNIT_DOUBLE = (
    0.666666666666663, 0.4000000000015906, 0.28571428547677397, 0.22222223978657785, 0.18181743659694355,
    0.15386564809323852, 0.133009170526517, 0.12106486188367786, 0.08338520084524863, 0.17021254048590662,
)  # fmt: skip
_LOGCOSH_SINGLE = (
    -0.08333312720060349, 0.02221696637570858, -0.006701740436255932, 0.0020195848774164915,
    -0.00043323737918399274,
)  # fmt: skip
_LOGCOSH_DOUBLE = (
    -0.0833333333333329, 0.022222222222169838, -0.006746031743813642, 0.0021869488062724353,
    -0.0007386023659204643, 0.00025657578983547533, -9.09638180561112e-05, 3.268319575162864e-05,
    -1.1707607740105002e-05, 3.958724051462709e-06, -1.091338778323443e-06, 1.7233811291776925e-07,
)  # fmt: skip
_LOGCOSH_SPLIT = 0.75


def split_exponent(k: FloatBuilder, x: ir.Value, subnormals: bool) -> tuple[ir.Value, ir.Value]:
    """e and m of a positive x = 2^e m, m in [sqrt(1/2), sqrt(2)), both as floats; garbage for other x."""
    lift = k.pick(25, 54)
    offset = 1.5 * 2.0**k.mantissa_bits + k.bias
    if subnormals:
        tiny = k.compare(x, "<", k.pick(2.0**-126, 2.0**-1022))
        x = k.select(tiny, k.mul(x, 2.0**lift), x)
        offset = k.select(tiny, offset + lift, offset)
    one = k.bias << k.mantissa_bits
    bits = k.as_int(x)
    shifted = k.ir.add(bits, k.integer(one - k.bits_of(math.sqrt(0.5))))
    biased = k.ir.lshr(shifted, k.integer(k.mantissa_bits))
    without = k.ir.sub(bits, k.ir.shl(biased, k.integer(k.mantissa_bits)))
    m = k.as_float(k.ir.add(without, k.integer(one)))
    # An integer added to the bits of 1.5*2^mantissa_bits adds to its value: a conversion that AVX2 has for int64, too.
    e = k.as_float(k.ir.add(biased, k.integer(k.bits_of(1.5 * 2.0**k.mantissa_bits))))
    return k.sub(e, offset), m


def _bent(k: FloatBuilder, f: ir.Value, series: tuple[float, ...]) -> tuple[ir.Value, ir.Value]:
    """f^2/2 and s (f^2/2 + R(s^2)), s = f/(2 + f): log(1 + f) = f - (first - second)."""
    s = k.div(f, k.add(2.0, f))
    z = k.mul(s, s)
    half_square = k.mul(k.mul(0.5, f), f)
    return half_square, k.mul(s, k.fma(z, k.poly(z, series), half_square))


def _combine(k: FloatBuilder, f: ir.Value, e: ir.Value, correction: ir.Value | float) -> ir.Value:
    """e ln 2 + log(1 + f) + correction."""
    high, low = k.pick(_LN2_SINGLE, _LN2)
    small = k.fma(e, low, correction)
    if k.double:
        half_square, rest = _bent(k, f, _LOG_DOUBLE)
        inner = k.sub(half_square, k.add(rest, small))
        return k.fma(e, high, k.sub(f, inner))
    z = k.mul(f, f)
    cubic = k.fma(k.mul(z, f), k.poly(f, _LOG_SINGLE), small)
    return k.fma(e, high, k.add(f, k.fma(z, -0.5, cubic)))


def _edges(k: FloatBuilder, x: ir.Value, pole: float, inside: ir.Value) -> ir.Value:
    """-inf at the pole, NaN below it, +inf and NaN for themselves, else ``inside``."""
    inside = k.select(k.compare(x, "<", pole), math.nan, inside)
    inside = k.select(k.compare(x, "==", pole), -math.inf, inside)
    return k.select(k.compare(x, "<", math.inf), inside, k.add(x, x))


def log(k: FloatBuilder, x: ir.Value) -> ir.Value:
    """The natural logarithm; NaN for x < 0, -inf at 0."""
    e, m = split_exponent(k, x, subnormals=True)
    return _edges(k, x, 0.0, _combine(k, k.sub(m, 1.0), e, 0.0))


def log1p(k: FloatBuilder, x: ir.Value) -> ir.Value:
    """log(1 + x): the rounding error c of u = 1 + x comes back as c/u; where 1 + x needs no exponent, f = x itself."""
    u = k.add(1.0, x)
    back = k.sub(u, 1.0)
    error = k.add(k.sub(1.0, k.sub(u, back)), k.sub(x, back))
    e, m = split_exponent(k, u, subnormals=False)
    near = k.ir.and_(k.compare(x, ">", -0.2928), k.compare(x, "<", 0.4142))
    f = k.select(near, x, k.sub(m, 1.0))
    result = _combine(k, f, k.select(near, 0.0, e), k.select(near, 0.0, k.div(error, u)))
    return _edges(k, x, -1.0, k.copysign(result, x))


def _log1p_unit(k: FloatBuilder, e: ir.Value) -> ir.Value:
    """log(1 + e) for e in [0, 1]."""
    if not k.double:
        return k.fma(k.mul(e, e), k.poly(e, _UNIT_SINGLE), e)
    half_square, rest = _bent(k, e, _UNIT_DOUBLE)
    return k.sub(e, k.sub(half_square, rest))


def _positive_part(k: FloatBuilder, x: ir.Value) -> ir.Value:
    return k.select(k.compare(x, ">", 0.0), x, 0.0)


def softplus(k: FloatBuilder, x: ir.Value) -> ir.Value:
    """log(1 + exp(x)) = max(x, 0) + log1p(exp(-|x|))."""
    return k.add(_positive_part(k, x), _log1p_unit(k, exp_decay(k, x)))


def bce(k: FloatBuilder, z: ir.Value, t: ir.Value) -> ir.Value:
    """softplus(z) - t z as (max(z, 0) - t z) + log1p(exp(-|z|)): relatively accurate for t = 0 and t = 1."""
    linear = k.fma(k.neg(t), z, _positive_part(k, z))
    return k.add(linear, _log1p_unit(k, exp_decay(k, z)))


def logcosh(k: FloatBuilder, x: ir.Value) -> ir.Value:
    """log(cosh(x)): z/2 + z^2 P(z), z = x^2, below 0.75, else (|x| - ln 2) + log1p(exp(-2|x|))."""
    a, z = k.abs(x), k.mul(x, x)
    high, low = k.pick(_LN2_SINGLE, _LN2)
    far = k.add(k.sub(a, high), k.sub(_log1p_unit(k, exp_decay(k, k.mul(2.0, x))), low))
    near = k.fma(k.mul(z, z), k.poly(z, k.pick(_LOGCOSH_SINGLE, _LOGCOSH_DOUBLE)), k.mul(z, 0.5))
    return k.select(k.compare(a, "<", _LOGCOSH_SPLIT), near, far)


def xlogx(k: FloatBuilder, x: ir.Value) -> ir.Value:
    """x log(x), 0 at 0, NaN for x < 0."""
    return k.select(k.compare(x, "==", 0.0), 0.0, k.mul(x, log(k, x)))
