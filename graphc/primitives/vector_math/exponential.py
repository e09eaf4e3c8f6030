"""The exponential family as straight-line arithmetic: exp, expm1, tanh, sinh, cosh and the logistic functions.

exp(x) = 2^n (1 + r + r^2 q(r)) with n = round(x/ln 2) and r = x - n ln 2 in two steps, the first of them exact (Cody
and Waite). q is a near-minimax polynomial: weighted least squares in 200-bit arithmetic, the coefficients rounded
one after another. tanh in float64 takes its small range from Cephes (S. L. Moshier, netlib.org/cephes, tanh.c).
"""

from __future__ import annotations

import math

from llvmlite import ir

from graphc.primitives.vector_math.builder import FloatBuilder

_LN2 = (0.6931471805599453, 2.3190468138462996e-17)
_LN2_SINGLE = (0.693147182464599609375, -1.904654299957768e-09)
_EXP_SINGLE = (0.5, 0.1666654348373413, 0.04166644811630249, 0.00836658664047718, 0.0013936578761786222)
_EXP_DOUBLE = (
    0.5000000000000006, 0.16666666666666682, 0.04166666666657318, 0.008333333333317039, 0.0013888888932640385,
    0.00019841269897558807, 2.4801504023771872e-05, 2.755723293449518e-06, 2.7626528787553103e-07,
    2.5112878922435773e-08,
)  # fmt: skip
_TANH_SINGLE = (-0.333333283662796, 0.13332858681678772, -0.05381949618458748, 0.019966039806604385)
_TANH_TOP = (-1.61468768441708447952e3, -9.92877231001918586564e1, -9.64399179425052238628e-1)
_TANH_BOTTOM = (4.84406305325125486048e3, 2.23548839060100448583e3, 1.12811678491632931402e2, 1.0)
_TANH_SPLIT = 0.625
# (sinh(r) - r)/r^3 and (cosh(r) - 1)/r^2 of |r| <= ln(2)/2.
_SINH_SINGLE = (0.1666666716337204, 0.008333191275596619, 0.00019959323981311172)
_COSH_SINGLE = (0.5, 0.04166645556688309, 0.001393576036207378)
_SINH_DOUBLE = (
    0.16666666666666669, 0.00833333333333297, 0.000198412698415312, 2.7557319130380337e-06, 2.5052126855933588e-08,
    1.6057000531695627e-10, 7.765897324903499e-13,
)  # fmt: skip


def _expm1_of_rest(k: FloatBuilder, x: ir.Value, low: ir.Value | None = None) -> tuple[ir.Value, ir.Value, ir.Value]:
    """a and t with expm1(r + low) = a + t for r = x - n ln 2, and the bits of n.

    r = a + b with a = x - n ln2_high exact; the small t = b + r^2 q(r) hardly sees the rounding of r.
    """
    high, ln2_low = k.pick(_LN2_SINGLE, _LN2)
    n, tag = k.nearest(x, 1 / math.log(2))
    a = k.fma(n, -high, x)
    b = k.mul(n, -ln2_low) if low is None else k.fma(n, -ln2_low, low)
    r = k.add(a, b)
    return a, k.fma(k.mul(r, r), k.poly(r, k.pick(_EXP_SINGLE, _EXP_DOUBLE)), b), tag


def _mantissa(k: FloatBuilder, x: ir.Value, low: ir.Value | None = None) -> tuple[ir.Value, ir.Value]:
    """exp(x - n ln 2 + low) in [0.7, 1.42], and the bits of n."""
    a, t, tag = _expm1_of_rest(k, x, low)
    return k.add(1.0, k.add(a, t)), tag


def _scaled_expm1(k: FloatBuilder, x: ir.Value, offset: int) -> ir.Value:
    """2^offset expm1(x) = s t + (s a + (s - 2^offset)), s = 2^(n + offset)."""
    a, t, tag = _expm1_of_rest(k, x)
    scale = k.power_of_two(tag, offset)
    return k.fma(t, scale, k.fma(a, scale, k.sub(scale, 2.0**offset)))


def exp(k: FloatBuilder, x: ir.Value) -> ir.Value:
    """exp(x)."""
    return exp_of_sum(k, x, None)


def exp_of_sum(k: FloatBuilder, x: ir.Value, low: ir.Value | None) -> ir.Value:
    """exp(x + low), subnormal results and overflow included."""
    x = k.at_most(k.at_least(x, k.pick(-104.0, -745.2)), k.pick(88.73, 709.79))
    mantissa, tag = _mantissa(k, x, low)
    return scaled(k, mantissa, tag)


def scaled(k: FloatBuilder, mantissa: ir.Value, n: ir.Value) -> ir.Value:
    """mantissa*2^n in two halves, so that subnormal results and overflow are right."""
    half = k.ir.lshr(n, k.integer(1))
    rest = k.ir.sub(n, half)
    return k.mul(k.mul(mantissa, k.power_of_two(half)), k.power_of_two(rest))


def exp_normal(k: FloatBuilder, x: ir.Value) -> ir.Value:
    """exp(x) where the caller has bounded x, so that the result is a normal number."""
    mantissa, tag = _mantissa(k, x)
    return k.mul(mantissa, k.power_of_two(tag))


def exp_decay(k: FloatBuilder, x: ir.Value) -> ir.Value:
    """exp(-|x|), subnormal results included: one step up by 2^64, then a constant step down."""
    mantissa, tag = _mantissa(k, k.at_least(k.neg(k.abs(x)), k.pick(-104.0, -745.2)))
    return k.mul(k.mul(mantissa, k.power_of_two(tag, 64)), 2.0**-64)


def expm1(k: FloatBuilder, x: ir.Value) -> ir.Value:
    """exp(x) - 1, by way of its half, which is finite where exp(x) itself already overflows."""
    bounded = k.at_most(k.at_least(x, k.pick(-20.0, -40.0)), k.pick(88.73, 709.79))
    result = k.mul(2.0, _scaled_expm1(k, bounded, -1))
    return k.select(k.compare(k.abs(x), "<", k.pick(2.0**-26, 2.0**-55)), x, result)


def tanh(k: FloatBuilder, x: ir.Value) -> ir.Value:
    """tanh(x); the sign is put back at the end."""
    return k.copysign(_tanh_double(k, x) if k.double else _tanh_single(k, x), x)


def _tanh_single(k: FloatBuilder, x: ir.Value) -> ir.Value:
    """a + a z P(z), z = x^2, below 0.28, else p/(p + 2), p = expm1(2a), a = |x|."""
    a, z = k.abs(x), k.mul(x, x)
    bounded = k.at_most(a, 10.0)
    p = _scaled_expm1(k, k.add(bounded, bounded), 0)  # a sum: products are what the loop's time goes to
    near = k.fma(k.mul(a, z), k.poly(z, _TANH_SINGLE), a)
    return k.select(k.compare(a, "<", 0.28), near, k.div(p, k.add(p, 2.0)))


def _tanh_double(k: FloatBuilder, x: ir.Value) -> ir.Value:
    """a + a z P(z), z = x^2, below 0.625, else 1 - 2/(exp(2a) + 1), a = |x|; both ranges share one division."""
    a, z = k.abs(x), k.mul(x, x)
    small = k.compare(a, "<", _TANH_SPLIT)
    bottom = k.add(exp_normal(k, k.mul(2.0, k.at_most(a, 20.0))), 1.0)
    top = k.select(small, k.poly(z, _TANH_TOP), -2.0)
    ratio = k.div(top, k.select(small, k.poly(z, _TANH_BOTTOM), bottom))
    return k.select(small, k.fma(k.mul(a, z), ratio, a), k.add(1.0, ratio))


def _half_exp(k: FloatBuilder, a: ir.Value) -> ir.Value:
    """exp(a)/2 for a >= 0, finite where exp(a) itself already overflows."""
    mantissa, tag = _mantissa(k, k.at_most(a, k.pick(89.5, 710.5)))
    return k.mul(k.mul(mantissa, k.power_of_two(tag, -2)), 2.0)


def cosh(k: FloatBuilder, x: ir.Value) -> ir.Value:
    """cosh(x) = h + 1/(4h), h = exp(|x|)/2."""
    h = _half_exp(k, k.abs(x))
    return k.add(h, k.div(0.25, h))


def sinh(k: FloatBuilder, x: ir.Value) -> ir.Value:
    """sinh(x); the sign is put back at the end."""
    a = k.abs(x)
    return k.copysign(_sinh_double(k, a) if k.double else _sinh_single(k, a), x)


def _sinh_single(k: FloatBuilder, a: ir.Value) -> ir.Value:
    """sinh(r + n ln 2) = sinh(r) (p + q) + cosh(r) (p - q), p = 2^n/2, q = 2^-n/2, by way of its half; a when small."""
    high, low = _LN2_SINGLE
    n, tag = k.nearest(k.at_most(a, 89.5), 1 / math.log(2))
    r = k.fma(n, -low, k.fma(n, -high, k.at_most(a, 89.5)))
    z = k.mul(r, r)
    sine = k.fma(k.mul(r, z), k.poly(z, _SINH_SINGLE), r)
    cosine_less_1 = k.mul(z, k.poly(z, _COSH_SINGLE))
    p = k.power_of_two(tag, -2)
    exponent = k.ir.sub(k.integer(k.bits_of(1.5 * 2.0**23) + k.bias - 2), tag)
    exponent = k.ir.select(k.ir.icmp_signed("<", exponent, k.integer(0)), k.integer(0), exponent)
    q = k.as_float(k.ir.shl(exponent, k.integer(k.mantissa_bits)))
    rest = k.sub(p, q)
    half = k.add(rest, k.fma(sine, k.add(p, q), k.mul(cosine_less_1, rest)))
    return k.select(k.compare(a, "<", 2.0**-12), a, k.add(half, half))


def _sinh_double(k: FloatBuilder, a: ir.Value) -> ir.Value:
    """a + a z P(z), z = a^2, below 1, else h - 1/(4h), h = exp(a)/2."""
    z = k.mul(a, a)
    h = _half_exp(k, a)
    near = k.fma(k.mul(a, z), k.poly(z, _SINH_DOUBLE), a)
    far = k.sub(h, k.div(0.25, h))
    return k.select(k.compare(a, "<", 1.0), near, far)


def _tail(k: FloatBuilder, x: ir.Value) -> ir.Value:
    """q = e/(1 + e), e = exp(-|x|): the smaller one of sigmoid(x) and sigmoid(-x), corrected to half a place beside e.

    u + c = 1 + e exactly; the residual e - q(u + c) is divided by 1 + e, that is, multiplied by 1 - q.
    """
    e = exp_decay(k, x)
    u = k.add(1.0, e)
    c = k.sub(e, k.sub(u, 1.0))
    q = k.div(e, u)
    minus_q = k.neg(q)
    residual = k.fma(minus_q, c, k.fma(minus_q, u, e))
    return k.fma(residual, k.sub(1.0, q), q)


def sigmoid(k: FloatBuilder, x: ir.Value) -> ir.Value:
    """1/(1 + exp(-x)): 1 - q for x >= 0, else q."""
    q = _tail(k, x)
    return k.select(k.compare(x, ">=", 0.0), k.sub(1.0, q), q)


def sigmoid_minus(k: FloatBuilder, z: ir.Value, t: ir.Value) -> ir.Value:
    """sigmoid(z) - t: (1 - t) - q for z >= 0, else q - t; relatively accurate for t = 0 and t = 1."""
    q = _tail(k, z)
    return k.select(k.compare(z, ">=", 0.0), k.sub(k.sub(1.0, t), q), k.sub(q, t))


def sigmoid_slope(k: FloatBuilder, x: ir.Value) -> ir.Value:
    """sigmoid'(x) = q (1 - q), accurate in both tails, where s*(1 - s) loses the upper one."""
    q = _tail(k, x)
    return k.mul(q, k.sub(1.0, q))


def tanh_slope(k: FloatBuilder, x: ir.Value) -> ir.Value:
    """tanh'(x) = 4 sigmoid'(2x), accurate in both tails, where 1 - tanh(x)^2 loses them."""
    return k.mul(4.0, sigmoid_slope(k, k.mul(2.0, x)))


def elu(k: FloatBuilder, x: ir.Value, alpha: ir.Value) -> ir.Value:
    """x for x > 0, else alpha*expm1(x)."""
    return k.select(k.compare(x, ">", 0.0), x, k.mul(alpha, expm1(k, x)))
