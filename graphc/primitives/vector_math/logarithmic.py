"""Logarithms as straight-line arithmetic: log, log1p, softplus, bce, logcosh, xlogx.

x = 2^e (1 + f) with 1 + f in [sqrt(1/2), sqrt(2)). float64 follows fdlibm (Sun Microsystems, e_log.c,
netlib.org/fdlibm): log(1 + f) = f + s (R - f), s = f/(2 + f). float32 has no division (the form of Cephes logf.c):
f + f^2 (f P(f) - 1/2). log1p takes e from 1 + x and f = 2^-e x + (2^-e - 1) in one rounding, so that nothing of x is
lost (N. Juffa's log1pf). Polynomials without a source are near-minimax fits as in ``exponential``.
"""

from __future__ import annotations

import math

from llvmlite import ir

from graphc.primitives.vector_math.builder import FloatBuilder
from graphc.primitives.vector_math.exponential import exp_decay

_LN2 = (0.6931471805599453, 2.3190468138462996e-17)
# Both parts are positive, so that an infinite exponent goes through.
_LN2_SINGLE = (0.69314712285995483398, 5.7699990475e-08)
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


def _exponent_and_mantissa(k: FloatBuilder, shifted: ir.Value) -> tuple[ir.Value, ir.Value]:
    """The exponent as a float, biased in float64, and the mantissa in [sqrt(1/2), sqrt(2))."""
    low_bits = k.ir.and_(shifted, k.integer((1 << k.mantissa_bits) - 1))
    m = k.as_float(k.ir.add(low_bits, k.integer(k.bits_of(math.sqrt(0.5)))))
    if not k.double:
        return k.ir.sitofp(k.ir.ashr(shifted, k.integer(k.mantissa_bits)), k.kind), m
    # An integer added to the bits of 1.5*2^52 adds to its value: a conversion that AVX2 has for int64, too.
    biased = k.ir.lshr(shifted, k.integer(k.mantissa_bits))
    return k.as_float(k.ir.add(biased, k.integer(k.bits_of(1.5 * 2.0**k.mantissa_bits)))), m


# What float64 adds to the biased exponent.
_OFFSET = -(1.5 * 2.0**52 + 1023)


def _shifted_bits(k: FloatBuilder, x: ir.Value) -> ir.Value:
    """The bits of x less those of sqrt(1/2): the exponent of x/m over the place of m; in float64 plus the bias."""
    bias = k.pick(0, k.bits_of(1.0))
    return k.ir.add(k.as_int(x), k.integer(bias - k.bits_of(math.sqrt(0.5))))


def split_exponent(k: FloatBuilder, x: ir.Value) -> tuple[ir.Value, ir.Value, ir.Value]:
    """e, m and c of a positive x = 2^(e + c) m, m in [sqrt(1/2), sqrt(2)), all as floats; garbage for other x."""
    lift = k.pick(25, 54)
    tiny = k.compare(x, "<", k.pick(2.0**-126, 2.0**-1022))
    e, m = _exponent_and_mantissa(k, _shifted_bits(k, k.select(tiny, k.mul(x, 2.0**lift), x)))
    offset = k.pick(0.0, _OFFSET)
    return e, m, k.select(tiny, offset - lift, offset)


def _log_of_product(k: FloatBuilder, e: ir.Value, f: ir.Value) -> ir.Value:
    """e ln 2 + log(1 + f)."""
    high, low = k.pick(_LN2_SINGLE, _LN2)
    small = k.mul(e, low)
    if k.double:
        return k.fma(e, high, k.add(f, _bend(k, f, _LOG_DOUBLE, small)))
    curve = k.fma(f, k.poly(f, _LOG_SINGLE), -0.5)
    return k.fma(e, high, k.add(f, k.fma(k.mul(f, f), curve, small)))


def _bend(k: FloatBuilder, f: ir.Value, series: tuple[float, ...], small: ir.Value | float) -> ir.Value:
    """log(1 + f) - f + small = s (R(s^2) - f) + small, s = f/(2 + f)."""
    s = k.div(f, k.add(2.0, f))
    z = k.mul(s, s)
    return k.fma(s, k.fma(z, k.poly(z, series, horner=False), k.neg(f)), small)


def _edges(k: FloatBuilder, x: ir.Value, pole: float, inside: ir.Value) -> ir.Value:
    """-inf at the pole, NaN below it, x where it is inf or NaN, else ``inside``."""
    inside = k.select(k.compare(x, "<", pole), math.nan, inside)
    inside = k.select(k.compare(x, "==", pole), -math.inf, inside)
    return k.select(k.compare(x, "<", math.inf), inside, x)


def log(k: FloatBuilder, x: ir.Value) -> ir.Value:
    """The natural logarithm; NaN for x < 0, -inf at 0.

    The limits come in with the exponent, where they do not lengthen the chain of dependent steps.
    """
    e, m, offset = split_exponent(k, x)
    return _log_of_product(k, k.add(e, _edges(k, x, 0.0, offset)), k.sub(m, 1.0))


def log1p(k: FloatBuilder, x: ir.Value) -> ir.Value:
    """log(1 + x) = e ln 2 + log(1 + f) with e from 1 + x; the copied sign is that of -0."""
    shifted = _shifted_bits(k, k.add(1.0, x))
    e = k.add(_exponent_and_mantissa(k, shifted)[0], k.pick(0.0, _OFFSET))
    exponent_bits = k.ir.and_(shifted, k.integer(-1 << k.mantissa_bits))
    # 2^(2 - e) is a normal number for every e, and 2^-e is not.
    four = k.bits_of(4.0) + k.pick(0, k.bits_of(1.0))
    scale = k.mul(0.25, k.as_float(k.ir.sub(k.integer(four), exponent_bits)))
    f = k.fma(x, scale, k.sub(scale, 1.0))
    return _edges(k, x, -1.0, k.copysign(_log_of_product(k, e, f), x))


def _log1p_unit(k: FloatBuilder, e: ir.Value) -> ir.Value:
    """log(1 + e) for e in [0, 1]."""
    if not k.double:
        return k.fma(k.mul(e, e), k.poly(e, _UNIT_SINGLE), e)
    return k.add(e, _bend(k, e, _UNIT_DOUBLE, 0.0))


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
