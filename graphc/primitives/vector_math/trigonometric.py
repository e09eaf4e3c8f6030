"""sin, cos, tan, their inverses, and erf as straight-line arithmetic.

sin, cos, tan: r = x - n pi/2 in three fused steps (Cody and Waite), the first of them exact, up to |x| = 2^17 (float32)
and 2^44 (float64); larger x are rare arguments, which ``range_reduction`` reduces. tan: r + r^3 T(r^2), or -1 over it.
atan: t = a, (a - 1)/(a + 1) or -1/a, a = |x|, so that |t| <= tan(pi/8) (Cephes atan.c). asin, acos: z = x^2 below 1/2,
else z = (1 - a)/2 and the half-angle formula (fdlibm e_asin.c).
erf: |x| (1 + P(x^2)) below 1, else 1 - exp(L(|x|)) with L ~ log(erfc), the form of N. Juffa's erff.
Polynomials are near-minimax fits as in ``exponential``.
"""

from __future__ import annotations

import math

from llvmlite import ir

from graphc.primitives.vector_math.builder import FloatBuilder
from graphc.primitives.vector_math.exponential import exp_normal
from graphc.primitives.vector_math.range_reduction import reduced_exactly
from graphc.primitives.vector_math.slow_path import unless_rare

# Up to here three steps reduce an angle well, and its multiple of pi/2 is the nearest one to 1/256 (float32).
_USUAL_ANGLE = (2.0**17, 2.0**44)
_HALF_PI = (1.5707963267948966, 6.123233995736766e-17, -1.4973849048591833e-33)
_HALF_PI_SINGLE = (1.57079637050628662109375, -4.37113900018624283e-08, -1.71512463e-15)
_SIN_SINGLE = (-0.1666664183139801, 0.008331436663866043, -0.00019427000370342284)
_COS_SINGLE = (0.04166662320494652, -0.0013886337401345372, 2.4332755856448784e-05)
_SIN_DOUBLE = (
    -0.16666666666666632, 0.008333333333322465, -0.00019841269829827158, 2.7557313693568888e-06,
    -2.505075778770225e-08, 1.589674993295674e-10,
)  # fmt: skip
_COS_DOUBLE = (
    0.0416666666666666, -0.0013888888888874465, 2.4801587289659692e-05, -2.755731439574979e-07,
    2.087572832290696e-09, -1.1359872972801236e-11,
)  # fmt: skip
_TAN_SINGLE = (
    0.33333319425582886, 0.13333916664123535, 0.05388642102479935, 0.022415298968553543, 0.00688799936324358,
    0.007639472372829914, -0.003104328876361251, 0.0030027683824300766,
)  # fmt: skip
_TAN_DOUBLE = (
    0.3333333333333276, 0.13333333333417177, 0.053968253925426736, 0.0218694896391068, 0.008863218736250289,
    0.0035922929696357683, 0.0014547341720610265, 0.0005951654751433782, 0.0002220810669927672,
    0.00013714436992730465, -2.7263094824171687e-05, 9.026239214793797e-05, -4.531598701747579e-05,
    2.0969431450772728e-05,
)  # fmt: skip
_ATAN_SINGLE = (
    -0.33333316445350647, 0.1999853253364563, -0.14244511723518372, 0.10600192844867706, -0.06092822179198265,
)  # fmt: skip
_ATAN_DOUBLE = (
    -0.333333333333332, 0.19999999999953869, -0.14285714280228842, 0.11111110785217188, -0.09090897811359278,
    0.07692061210957479, -0.06663115733927133, 0.058479763097007385, -0.05039703479540847, 0.03807482344969238,
    -0.017918559014774953,
)  # fmt: skip
_ASIN_SINGLE = (
    0.16666659712791443, 0.0750051811337471, 0.04451458156108856, 0.03182585537433624, 0.014374620281159878,
    0.03760136663913727,
)  # fmt: skip
_ASIN_DOUBLE = (
    0.16666666666666763, 0.07499999999970193, 0.044642857175167486, 0.030381942681714885, 0.022372215711815385,
    0.017351599131841377, 0.0139809738931393, 0.011397663883565872, 0.010787224806893154, 0.003680135564040306,
    0.02177128545947379, -0.021089355991356775, 0.032685100109112575,
)  # fmt: skip
_ERF_SINGLE = (
    0.12837915122509003, -0.37612488865852356, 0.11281730979681015, -0.026762964203953743, 0.00498734787106514,
    -0.0005959555273875594,
)  # fmt: skip
_ERF_DOUBLE = (
    0.12837916709551256, -0.3761263890318346, 0.11283791670942665, -0.02686617064293231, 0.005223977604939933,
    -0.0008548325881830915, 0.00012055292346199156, -1.4924691366998786e-05, 1.6446899161663896e-06,
    -1.620469244047631e-07, 1.3704529104161835e-08, -7.768301419476e-10,
)  # fmt: skip
_ERFC_SINGLE = (
    -0.00021817245578859001, -1.1275827884674072, -0.6373382210731506, -0.10379514843225479, 0.02216140367090702,
    -0.0030268519185483456, 0.00019427595543675125,
)  # fmt: skip
_ERFC_DOUBLE = (
    -5.152310687955547e-07, -1.1283739725689559, -0.6366441406367075, -0.10270205409092234, 0.0189875935568875,
    0.00041416166826540435, -0.0019196063722306908, 0.0007735839612931041, -0.00013690124177042604,
    -1.9348302971054415e-05, 2.2463320006988103e-05, -8.557067021271675e-06, 2.109554580593072e-06,
    -3.686057841039387e-07, 4.580480950355244e-08, -3.8781746564321e-09, 2.0136278640806886e-10, -4.847458951087638e-12,
)  # fmt: skip


def _reduced(k: FloatBuilder, x: ir.Value) -> tuple[ir.Value, ir.Value]:
    """r = x - n pi/2, NaN for large x, and the bits of n."""
    n, tag = k.nearest(x, 2 / math.pi)
    r = x
    for part in k.pick(_HALF_PI_SINGLE, _HALF_PI):
        r = k.fma(n, -part, r)
    usual = k.compare(k.abs(x), "<=", k.pick(*_USUAL_ANGLE))
    return k.select(usual, r, math.nan), tag


def _bit_as_sign(k: FloatBuilder, tag: ir.Value, bit: int) -> ir.Value:
    """The bit of ``tag``, moved to the sign position."""
    return k.ir.shl(k.ir.and_(tag, k.integer(1 << bit)), k.integer(k.pick(31, 63) - bit))


def _odd(k: FloatBuilder, tag: ir.Value) -> ir.Value:
    return k.ir.icmp_signed("!=", k.ir.and_(tag, k.integer(1)), k.integer(0))


def _unless_tiny(k: FloatBuilder, x: ir.Value, value: ir.Value) -> ir.Value:
    """x itself where the odd function is x to rounding: keeps the sign of zero."""
    return k.select(k.compare(k.abs(x), "<", k.pick(2.0**-13, 2.0**-27)), x, value)


def _sine(k: FloatBuilder, r: ir.Value, turns: ir.Value) -> ir.Value:
    """sin(r + turns pi/2)."""
    z = k.mul(r, r)
    sine = k.fma(k.mul(z, r), k.poly(z, k.pick(_SIN_SINGLE, _SIN_DOUBLE)), r)
    cosine = k.fma(k.mul(z, z), k.poly(z, k.pick(_COS_SINGLE, _COS_DOUBLE)), k.fma(z, -0.5, 1.0))
    size = k.as_int(k.select(_odd(k, turns), cosine, sine))
    return k.as_float(k.ir.xor(size, _bit_as_sign(k, turns, 1)))


def _tangent(k: FloatBuilder, r: ir.Value, tag: ir.Value) -> ir.Value:
    """tan(r) for even n, else -1/tan(r)."""
    z = k.mul(r, r)
    tangent = k.fma(k.mul(z, r), k.poly(z, k.pick(_TAN_SINGLE, _TAN_DOUBLE)), r)
    return k.select(_odd(k, tag), k.div(-1.0, tangent), tangent)


def sin(k: FloatBuilder, x: ir.Value) -> ir.Value:
    """sin(x)."""
    return unless_rare(k, "sin", _unless_tiny(k, x, _sine(k, *_reduced(k, x))), x)


def cos(k: FloatBuilder, x: ir.Value) -> ir.Value:
    """cos(x)."""
    r, tag = _reduced(k, x)
    return unless_rare(k, "cos", _sine(k, r, k.ir.add(tag, k.integer(1))), x)


def tan(k: FloatBuilder, x: ir.Value) -> ir.Value:
    """tan(x)."""
    return unless_rare(k, "tan", _unless_tiny(k, x, _tangent(k, *_reduced(k, x))), x)


def _sin_of_large(k: FloatBuilder, x: ir.Value) -> ir.Value:
    return _sine(k, *reduced_exactly(k, x))


def _cos_of_large(k: FloatBuilder, x: ir.Value) -> ir.Value:
    r, tag = reduced_exactly(k, x)
    return _sine(k, r, k.ir.add(tag, k.integer(1)))


def _tan_of_large(k: FloatBuilder, x: ir.Value) -> ir.Value:
    return _tangent(k, *reduced_exactly(k, x))


OF_LARGE = {"sin": _sin_of_large, "cos": _cos_of_large, "tan": _tan_of_large}


def erf(k: FloatBuilder, x: ir.Value) -> ir.Value:
    """The error function, odd and within (-1, 1)."""
    a, z = k.abs(x), k.mul(x, x)
    near = k.fma(a, k.mul(k.poly(z, k.pick(_ERF_SINGLE, _ERF_DOUBLE)), 1.0), a)
    exponent = k.poly(k.at_most(a, k.pick(4.0, 5.95)), k.pick(_ERFC_SINGLE, _ERFC_DOUBLE))
    far = k.sub(1.0, exp_normal(k, exponent))
    return k.copysign(k.select(k.compare(a, "<", k.pick(0.93, 1.0)), near, far), x)


def atan(k: FloatBuilder, x: ir.Value) -> ir.Value:
    """atan(x) = base + (t + t^3 P(t^2)), base 0, pi/4 or pi/2."""
    high, low = k.pick(_HALF_PI_SINGLE, _HALF_PI)[:2]
    a = k.abs(x)
    small, large = k.compare(a, "<", math.tan(math.pi / 8)), k.compare(a, ">", math.tan(3 * math.pi / 8))
    top, bottom = k.select(large, -1.0, k.sub(a, 1.0)), k.select(large, a, k.add(a, 1.0))
    t = k.select(small, a, k.div(top, bottom))
    turn = k.select(small, 0.0, k.select(large, 1.0, 0.5))
    z = k.mul(t, t)
    bend = k.fma(k.mul(z, t), k.poly(z, k.pick(_ATAN_SINGLE, _ATAN_DOUBLE)), k.mul(turn, low))
    return k.copysign(k.fma(turn, high, k.add(t, bend)), x)


def _arc(k: FloatBuilder, x: ir.Value) -> tuple[ir.Value, ir.Value]:
    """Whether |x| < 1/2, and asin(|x|) there, else asin(sqrt((1 - |x|)/2)); NaN for |x| > 1."""
    a = k.abs(x)
    small = k.compare(a, "<", 0.5)
    z = k.select(small, k.mul(x, x), k.fma(a, -0.5, 0.5))
    s = k.select(small, a, k.intrinsic("sqrt", z))
    return small, k.fma(k.mul(s, z), k.poly(z, k.pick(_ASIN_SINGLE, _ASIN_DOUBLE)), s)


def asin(k: FloatBuilder, x: ir.Value) -> ir.Value:
    """asin(x)."""
    high, low = k.pick(_HALF_PI_SINGLE, _HALF_PI)[:2]
    small, p = _arc(k, x)
    far = k.add(k.fma(p, -2.0, high), low)
    return k.copysign(k.select(small, p, far), x)


def acos(k: FloatBuilder, x: ir.Value) -> ir.Value:
    """acos(x) = pi/2 - asin(x) for |x| < 1/2, else 2p or pi - 2p."""
    high, low = k.pick(_HALF_PI_SINGLE, _HALF_PI)[:2]
    small, p = _arc(k, x)
    right = k.compare(x, ">", 0.0)
    turn = k.select(small, 1.0, k.select(right, 0.0, 2.0))
    size = k.select(small, p, k.add(p, p))
    signed = k.select(right, k.select(small, k.neg(size), size), k.select(small, size, k.neg(size)))
    return k.add(k.fma(turn, high, signed), k.mul(turn, low))
