"""The modified Bessel functions I0 and I1, and both scaled by exp(-|x|).

Up to 8 by their power series, all of whose terms are positive; beyond by polynomials of t = 16/x - 1, fitted with
mpmath to 2e-16. I0 - I1, of which slopes are made, cancels far out and has polynomials of its own.
"""

from __future__ import annotations

import math
from fractions import Fraction
from math import factorial
from typing import Any

import sympy as sp
from sympy import Expr, Function, Rational, Symbol

from graphc.ir.functions.analytic import horner, rational
from graphc.ir.functions.choices import absolute, less, sign, stop_gradient, where
from graphc.ir.functions.declaring import function, smooth, within
from graphc.ir.scalar_table import Break

_FAR_0 = rational((
    0.4021765094450081, 0.0033605519836678865, 0.0001362160743919305, 1.1143033788352455e-05,
    1.4838475658279249e-06, 2.973599383079147e-07, 8.872219737904006e-08, 3.932470832873794e-08,
    2.154837797479622e-08, 7.563772015579848e-09, -6.747657956134172e-09, -1.3453822931683935e-08,
    -5.404771567482956e-09, 7.697662019563235e-09, 7.430464650093539e-09, -3.820995124142743e-09,
    -5.953569437895734e-09, 1.9833590383823403e-09, 3.6379546355134404e-09, -1.0267340566875543e-09,
    -1.618980683366747e-09, 4.388861053819729e-10, 4.5770876306584736e-10, -1.2429481461936755e-10,
    -6.067631568957739e-11, 1.6645473652103635e-11,
))
_FAR_1 = rational((
    0.38939845902587233, -0.00974957719323576, -0.00021923576383388928, -1.503854719814553e-05,
    -1.8349101326980948e-06, -3.4838565069237416e-07, -1.0001288294864835e-07, -4.312811174971671e-08,
    -2.3373928208147486e-08, -8.43629043026785e-09, 6.734464815329488e-09, 1.4076395500912966e-08,
    5.9744376079388154e-09, -7.778592764462153e-09, -7.888351507619755e-09, 3.7219797457583398e-09,
    6.2427412194009375e-09, -1.8736450484804606e-09, -3.794670895803729e-09, 9.568523638994825e-10,
    1.6848984477014458e-09, -4.086984242111629e-10, -4.758818837676628e-10, 1.1618136333575199e-10,
    6.30596519543518e-11, -1.5626599120084705e-11,
))
_FAR_DROP = rational((
    0.20444880670617194, 0.0053132601242862395, 0.0003739692873382927, 4.4936008461029936e-05,
    8.164114076099653e-06, 2.1678148749743117e-06, 8.519604745765746e-07, 4.672914028309398e-07,
    2.513047611490518e-07, 4.642188766591561e-09, -2.1926315546967744e-07, -2.20953041501433e-07,
    3.411625044596021e-08, 2.1264024810471686e-07, 4.640226283804416e-08, -1.6521466282722106e-07,
    -5.780921252822236e-08, 1.1676363390443833e-07, 4.042902829680828e-08, -6.945714673214868e-08,
    -1.8855630160891114e-08, 3.0714016506691335e-08, 5.401780551912881e-09, -8.630138989125721e-09,
    -7.160179572703823e-10, 1.1332894560143442e-09,
))
_NEAR_DROP = rational((
    0.7062770430387844, -0.05140208788733667, 0.23126926225999206, -0.2684071918843416, 0.2298903029425202,
    -0.12214658454378553, -0.014818627988997909, 0.1264266709553711, -0.17704942524889755, 0.1657509187571028,
    -0.11711453408778538, 0.06096973683685715, -0.017289909979130002, -0.007570539467790972, 0.0166708486158016,
    -0.01640684888479961, 0.012388060831506472, -0.00798319777130958, 0.004579190954961024, -0.002393849583206672,
    0.0011593602979123705, -0.0005209547174401541, 0.0002153188516725605, -8.603560104134579e-05,
    3.5858142049913764e-05, -1.2705745077391832e-05, 2.6501763695532923e-06, -9.125767189028605e-07,
    7.880414019537186e-07, -2.3103832126106162e-07,
))
_SPLIT = 8
_TERMS = 34
_KINK = (Break(0.0, "subgradient 0 at 0"),)


def _powers(order: int) -> list[Rational]:
    """Coefficients of I_n(x)/(x/2)**n in x**2/4."""
    return [Rational(1, factorial(k) * factorial(k + order)) for k in range(_TERMS)]


def _i0e(x: Expr) -> Expr:
    a = absolute(x)
    far = horner(16 / a - 1, _FAR_0) / sp.sqrt(a)
    return where(less(_SPLIT, a), far, sp.exp(-a) * horner(a**2 / 4, _powers(0)))


def _i1e(x: Expr) -> Expr:
    a = absolute(x)
    far = sign(x) * horner(16 / a - 1, _FAR_1) / sp.sqrt(a)
    return where(less(_SPLIT, a), far, sp.exp(-a) * x / 2 * horner(a**2 / 4, _powers(1)))


def _drop(a: Expr) -> Expr:
    far = horner(16 / a - 1, _FAR_DROP) / (a * sp.sqrt(a))
    return where(less(_SPLIT, a), far, horner(a / 4 - 1, _NEAR_DROP) / (1 + a) ** 2)


def _share(x: Expr) -> Expr:
    a = absolute(x)
    far = horner(16 / a - 1, _FAR_1) / (a * sp.sqrt(a))
    return where(less(_SPLIT, a), far, sp.exp(-a) * horner(a**2 / 4, _powers(1)) / 2)


def _share_slope(x: Expr) -> Expr:
    """I2(x)/x - sign(x)*I1(x)/x, scaled; I2 by its series, or of I0 and I1."""
    a = absolute(x)
    far = (bessel_drop(a) - 2 * bessel_share(x)) / x
    return where(less(_SPLIT, a), far, sp.exp(-a) * x / 4 * horner(a**2 / 4, _powers(2)) - sign(x) * bessel_share(x))


bessel_drop = smooth(
    "bessel_drop",
    _drop,
    lambda a: bessel_share(a) - 2 * bessel_drop(a),
    at={0: 1},
    paper=lambda a: i0e(a) - i1e(a),
    public="",
    domain=(0.0, math.inf),
    interval=within(0.0, 1.0),
    doc="i0e(a) - i1e(a) of a >= 0, which cancels far out.",
    plain=lambda a: (sp.besseli(0, a) - sp.besseli(1, a)) * sp.exp(-a),
    careful=True,
    cost=100,
)
bessel_share = smooth(
    "bessel_share",
    _share,
    _share_slope,
    at={0: Rational(1, 2)},
    paper=lambda x: i1e(x) / x,
    public="",
    interval=within(0.0, 0.5),
    doc="i1e(x)/x, 1/2 at 0.",
    plain=lambda x: sp.Piecewise((sp.besseli(1, x) * sp.exp(-sp.Abs(x)) / x, sp.Ne(x, 0)), (Rational(1, 2), True)),
    careful=True,
    cost=100,
)
i0e = smooth(
    "special.i0e",
    _i0e,
    lambda x: -sign(x) * bessel_drop(absolute(x)),
    at={0: 1},
    interval=within(0.0, 1.0),
    doc="exp(-|x|)*I0(x), the modified Bessel function of order 0, scaled.",
    kinks=_KINK,
    plain=lambda x: sp.besseli(0, x) * sp.exp(-sp.Abs(x)),
    careful=True,
    cost=100,
)
i1e = smooth(
    "special.i1e",
    _i1e,
    lambda x: bessel_drop(absolute(x)) - bessel_share(x),
    at={0: 0},
    interval=within(-0.5, 0.5),
    doc="exp(-|x|)*I1(x), the modified Bessel function of order 1, scaled.",
    plain=lambda x: sp.besseli(1, x) * sp.exp(-sp.Abs(x)),
    careful=True,
    cost=100,
)


# ---------------------------------------------------------------- not scaled

_SHIFT, _SHIFTED = 5, Rational(Fraction(math.exp(5)))
_UNSCALED: dict[str, Any] = {"finite": (-713.98, 713.98), "careful": True, "cost": 100}


def _grown(a: Expr, scaled: Expr) -> Expr:
    """scaled*exp(a) of a > 8, which overflows where the product does."""
    return stop_gradient(scaled * sp.exp(a - _SHIFT)) * _SHIFTED


def _i0(x: Expr) -> Expr:
    a = absolute(x)
    far = _grown(a, horner(16 / a - 1, _FAR_0) / sp.sqrt(a))
    return where(less(_SPLIT, a), far, horner(a**2 / 4, _powers(0)))


def _i1(x: Expr) -> Expr:
    a = absolute(x)
    far = _grown(a, sign(x) * horner(16 / a - 1, _FAR_1) / sp.sqrt(a))
    return where(less(_SPLIT, a), far, x / 2 * horner(a**2 / 4, _powers(1)))


@function(
    "bessel_grown",
    formula=lambda a, s: where(less(_SPLIT, a), _grown(a, s), s * sp.exp(a)),
    paper=lambda a, s: s * sp.exp(a),
    interval=lambda a, s: (-math.inf if s[0] < 0 else 0.0, math.inf if s[1] > 0 else 0.0),
    arguments="a s",
    **_UNSCALED,
)
class bessel_grown(Function):
    """s*exp(a), which is a number as long as the product is."""

    is_real = True
    nargs = 2

    def fdiff(self, argindex: int = 1) -> Expr:
        return self if argindex == 1 else sp.exp(self.args[0])

    def _eval_derivative(self, s: Symbol) -> Expr:
        a, scaled = self.args
        return bessel_grown(a, scaled.diff(s) + scaled * a.diff(s))


def _i1_slope(x: Expr) -> Expr:
    """I0(x) - I1(x)/x; the difference keeps half of I0."""
    a = absolute(x)
    far = (horner(16 / a - 1, _FAR_0) - horner(16 / a - 1, _FAR_1) / a) / sp.sqrt(a)
    near = horner(a**2 / 4, _powers(0)) - horner(a**2 / 4, _powers(1)) / 2
    return where(less(_SPLIT, a), _grown(a, far), near)


def _i2_share(x: Expr) -> Expr:
    """I2(x)/x, of I0 and I1 or by its series."""
    a = absolute(x)
    far = bessel_grown(a, (i0e(x) - 2 * bessel_share(x)) / x)
    return where(less(_SPLIT, a), far, x / 4 * horner(a**2 / 4, _powers(2)))


bessel_slope = smooth(
    "bessel_slope",
    _i1_slope,
    lambda x: i1(x) - _i2_share(x),
    at={0: Rational(1, 2)},
    paper=lambda x: i0(x) - i1(x) / x,
    public="",
    interval="even",
    doc="The slope of i1, i0(x) - i1(x)/x, 1/2 at 0.",
    plain=lambda x: sp.Piecewise((sp.besseli(0, x) - sp.besseli(1, x) / x, sp.Ne(x, 0)), (Rational(1, 2), True)),
    **_UNSCALED,
)
i0 = smooth(
    "i0",
    _i0,
    lambda x: i1(x),
    at={0: 1},
    interval="even",
    doc="The modified Bessel function of the first kind of order 0.",
    plain=lambda x: sp.besseli(0, x),
    **_UNSCALED,
)
i1 = smooth(
    "special.i1",
    _i1,
    lambda x: bessel_slope(x),
    at={0: 0},
    interval="increasing",
    doc="The modified Bessel function of the first kind of order 1.",
    plain=lambda x: sp.besseli(1, x),
    **_UNSCALED,
)
