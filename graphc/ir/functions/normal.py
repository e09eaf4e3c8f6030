"""The error functions and the normal distribution, exact to the tails.

erfcx(x) = exp(x^2) erfc(x) is 1/(1 + 2x) times a polynomial of q = (x - 4)/(x + 4) for x >= 0 (the form of Shepherd and
Laframboise, Math. Comp. 36, 1981), fitted here to 1e-19 with mpmath. What decays is a product of it and an exponential.
"""

from __future__ import annotations

import sympy as sp
from sympy import Expr, Rational, S

from graphc.ir.functions.analytic import horner, rational
from graphc.ir.functions.choices import absolute, equal, guarded, less, round_, sign, where
from graphc.ir.functions.declaring import smooth
from graphc.ir.functions.elementary import log1p
from graphc.ir.scalar_table import POSITIVE

_ROOT2, _ROOT_PI = sp.sqrt(2), sp.sqrt(sp.pi)
ERFCX = (
    1.2329951186255526, -0.1396211168405625, 0.015379652102620043, 0.0680970542546915, -0.10103906603632536,
    0.09373283499839866, -0.066330365811637, 0.03716751553659315, -0.01619773406614484, 0.005031969986398414,
    -0.0007577732177243288, -0.0001992567388181088, 0.00015062129682403183, -2.439908853810836e-05,
    -1.1220712081605475e-05, 5.709590036474354e-06, 2.907962062412685e-07, -8.256313456224896e-07,
    7.913799931784352e-08, 1.1101276166789684e-07, -2.21786209557913e-08, -1.5511609647282515e-08,
    4.208663682529664e-09, 2.246842407603536e-09, -6.77808839433952e-10, -2.896358490408964e-10, 8.66373529877738e-11,
    2.2543869632803077e-11, -6.403975605235997e-12,
)
_ERFCX_SLOPE = (  # of -erfcx'(x) (1 + 2x)^2
    2.623063993696738, -0.3487517301221607, -0.313546905088526, 0.6688570875434479, -0.6516096275563945,
    0.39872495184632495, -0.11476931207363782, -0.06307663065583184, 0.11191140028792822, -0.08347331729687511,
    0.03868258628018445, -0.009610372838665232, -0.0008079028204711256, 0.0016301553767286842,
    -0.0004356033712310762, -0.00010986030667347884, 9.247457363618704e-05, -2.6862509155030414e-06,
    -1.4141929236036105e-05, 2.486284041326496e-06, 2.0594693241722806e-06, -5.951867687376475e-07,
    -3.138622797813508e-07, 1.092850378414064e-07, 4.919619999335519e-08, -1.5344606943742937e-08,
    -6.693533327673336e-09, 1.2146731413546276e-09, 5.345676441636363e-10,
)
_SPLIT = 64  # squares of multiples of 1/64 are exact in float32, up to 64
_FAR_OUT = 10**18


def _gaussian(x: Expr, c: Expr) -> Expr:
    """x = h + l with an exact h^2: the rounding of x^2 would cost x^2 units of the last place."""
    h = round_(_SPLIT * x) / _SPLIT
    split = sp.exp(-(h**2) / c) * sp.exp(-(x - h) * (x + h) / c)
    return where(less(absolute(x), _SPLIT), split, sp.exp(-(x**2) / c))


gaussian = smooth(
    "gaussian",
    _gaussian,
    lambda x, c: -2 * x / c * gaussian(x, c),
    lambda x, c: x**2 / c**2 * gaussian(x, c),
    paper=lambda x, c: sp.exp(-(x**2) / c),
    public="",
    interval=lambda x, c: (0.0, 1.0) if c[0] > 0 else POSITIVE,
    doc="exp(-x**2/c).",
    careful=True,
    fades=True,
    cost=50,
)


def _mapped(a: Expr) -> Expr:
    """q of a >= 0, 1 far out; 1 - 8/(a + 4) would lose a bit near a = 0, where the polynomials are steep."""
    return where(less(a, _FAR_OUT), (a - 4) / (a + 4), S.One)


def _scaled(a: Expr) -> Expr:
    """erfcx of a >= 0."""
    return horner(_mapped(a), rational(ERFCX)) / (1 + 2 * a)


def _erfcx(x: Expr) -> Expr:
    right = _scaled(absolute(x))
    return where(less(x, 0), 2 * gaussian(x, -1) - right, right)


def _erfcx_slope(x: Expr) -> Expr:
    """Above 0 by a polynomial of its own, since the difference cancels."""
    right = -horner(_mapped(x), rational(_ERFCX_SLOPE)) / (1 + 2 * x) / (1 + 2 * x)
    return guarded(less(0, x), right, 2 * x * erfcx(x) - 2 / _ROOT_PI)


erfcx = smooth(
    "special.erfcx",
    _erfcx,
    _erfcx_slope,
    at={0: 1},
    interval="decreasing",
    doc="exp(x**2)*erfc(x), the scaled complementary error function.",
    careful=True,
    cost=60,
    plain=lambda x: sp.exp(x**2) * sp.erfc(x),
)


def _erfc(x: Expr) -> Expr:
    right = gaussian(x, 1) * _scaled(absolute(x))
    return where(less(x, 0), 2 - right, right)


erfc = smooth(
    "special.erfc",
    _erfc,
    lambda x: -2 / _ROOT_PI * gaussian(x, 1),
    at={0: 1},
    interval="decreasing",
    doc="1 - erf(x), accurate where erf(x) is near 1.",
    means=(sp.erfc,),
    cuda="math.erfc({0})",
    careful=True,
    fades=True,
    cost=80,
)


def _ndtr(x: Expr) -> Expr:
    left = gaussian(x, 2) * _scaled(absolute(x) / _ROOT2) / 2
    return where(less(x, 0), left, 1 - left)


ndtr = smooth(
    "special.ndtr",
    _ndtr,
    lambda x: gaussian(x, 2) / sp.sqrt(2 * sp.pi),
    at={0: S.Half},
    interval="increasing",
    unicode="Φ({0})",
    latex=r"\Phi\left({0}\right)",
    doc="The distribution function of the standard normal distribution, accurate in both tails.",
    careful=True,
    fades=True,
    cost=80,
    plain=lambda x: sp.erfc(-x / sp.sqrt(2)) / 2,
)


def _log_ndtr(x: Expr) -> Expr:
    ratio = _scaled(absolute(x) / _ROOT2) / 2
    left = where(less(x, -1), -(x**2) / 2 + sp.log(ratio), sp.log(gaussian(x, 2) * ratio))
    return where(less(x, 0), left, log1p(-gaussian(x, 2) * ratio))


def _log_ndtr_slope(x: Expr) -> Expr:
    density = gaussian(x, 2) / sp.sqrt(2 * sp.pi)
    return guarded(less(x, 0), sp.sqrt(2 / sp.pi) / erfcx(-x / _ROOT2), density / ndtr(x))


log_ndtr = smooth(
    "special.log_ndtr",
    _log_ndtr,
    _log_ndtr_slope,
    at={0: -sp.log(2)},
    interval="increasing",
    unicode="log Φ({0})",
    latex=r"\log\Phi\left({0}\right)",
    doc="log(ndtr(x)), which stays finite where ndtr(x) underflows.",
    careful=True,
    cost=120,
    plain=lambda x: sp.log(sp.erfc(-x / sp.sqrt(2)) / 2),
)


# ---------------------------------------------------------------- inverses

# Algorithm AS 241 (Wichura, Applied Statistics 37, 1988): numerators and denominators of three ranges
_CENTRE = rational((3.387132872796366608, 133.14166789178437745, 1971.5909503065514427, 13731.693765509461125,
                     45921.953931549871457, 67265.770927008700853, 33430.575583588128105, 2509.0809287301226727))
_CENTRE_BELOW = rational((1.0, 42.313330701600911252, 687.1870074920579083, 5394.1960214247511077,
                           21213.794301586595867, 39307.89580009271061, 28729.085735721942674, 5226.495278852854561))
_NEAR = rational((1.42343711074968357734, 4.6303378461565452959, 5.7694972214606914055, 3.64784832476320460504,
                   1.27045825245236838258, 0.24178072517745061177, 0.0227238449892691845833, 7.7454501427834140764e-4))
_NEAR_BELOW = rational((1.0, 2.05319162663775882187, 1.6763848301838038494, 0.68976733498510000455,
                         0.14810397642748007459, 0.0151986665636164571966, 5.475938084995344946e-4,
                         1.05075007164441684324e-9))
_FAR = rational((6.6579046435011037772, 5.4637849111641143699, 1.7848265399172913358, 0.29656057182850489123,
                  0.026532189526576123093, 0.0012426609473880784386, 2.71155556874348757815e-5,
                  2.01033439929228813265e-7))
_FAR_BELOW = rational((1.0, 0.59983220655588793769, 0.13692988092273580531, 0.0148753612908506148525,
                        7.868691311456132591e-4, 1.8463183175100546818e-5, 1.4215117583164458887e-7,
                        2.04426310338993978564e-15))


def _ratio(x: Expr, above: list[Rational], below: list[Rational]) -> Expr:
    return horner(x, above) / horner(x, below)


def _quantile(q: Expr, low: Expr) -> Expr:
    """The quantile at 1/2 + q, `low` = 1/2 - |q| being the smaller probability."""
    r = sp.sqrt(-sp.log(low))
    tail = where(less(r, 5), _ratio(r - Rational(8, 5), _NEAR, _NEAR_BELOW), _ratio(r - 5, _FAR, _FAR_BELOW))
    outer = sign(q) * where(equal(low, 0), r, tail)
    inner = q * _ratio(Rational(180625, 10**6) - q**2, _CENTRE, _CENTRE_BELOW)
    return where(less(absolute(q), Rational(425, 1000)), inner, outer)


def _ndtri(p: Expr) -> Expr:
    return _quantile(p - S.Half, where(less(p, S.Half), p, 1 - p))


def _erfinv(y: Expr) -> Expr:
    return _quantile(y / 2, (1 - absolute(y)) / 2) / _ROOT2


def _erfcinv(p: Expr) -> Expr:
    return -_quantile((p - 1) / 2, where(less(p, 1), p, 2 - p) / 2) / _ROOT2


ndtri = smooth(
    "special.ndtri",
    _ndtri,
    lambda p: sp.sqrt(2 * sp.pi) * gaussian(ndtri(p), -2),
    at={S.Half: 0},
    interval="increasing",
    domain=(0.0, 1.0),
    open_domain=True,
    unicode="Φ⁻¹({0})",
    latex=r"\Phi^{{-1}}\left({0}\right)",
    doc="The quantile of the standard normal distribution.",
    points=(0.0, 1.0),
    cost=200,
    plain=lambda p: -sp.sqrt(2) * sp.erfcinv(2 * p),
)
erfinv = smooth(
    "special.erfinv",
    _erfinv,
    lambda y: _ROOT_PI / 2 * gaussian(erfinv(y), -1),
    at={0: 0},
    interval="increasing",
    domain=(-1.0, 1.0),
    open_domain=True,
    unicode="erf⁻¹({0})",
    latex=r"\operatorname{{erf}}^{{-1}}\left({0}\right)",
    doc="The inverse of erf.",
    means=(sp.erfinv,),
    points=(-1.0, 1.0),
    cost=200,
)
erfcinv = smooth(
    "special.erfcinv",
    _erfcinv,
    lambda p: -_ROOT_PI / 2 * gaussian(erfcinv(p), -1),
    at={1: 0},
    interval="decreasing",
    domain=(0.0, 2.0),
    open_domain=True,
    unicode="erfc⁻¹({0})",
    latex=r"\operatorname{{erfc}}^{{-1}}\left({0}\right)",
    doc="The inverse of erfc.",
    means=(sp.erfcinv,),
    points=(0.0, 2.0),
    cost=200,
)
