"""Activations and parts of losses with an evaluation of their own, accurate in both tails."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import sympy as sp
from sympy import Expr, Function, S

from graphc.ir.functions.arrays import decay, logistic, magnitude, part, positive
from graphc.ir.functions.choices import HALF, ONE, ZERO, equal, numbers, relu, step, where
from graphc.ir.functions.declaring import function, hull, smooth
from graphc.ir.functions.elementary import expm1, log1p
from graphc.ir.scalar_table import POSITIVE, REALS, Break, Interval

_BEND = (Break(0.0, "derivative alpha at 0"),)
_HALF = "math.sinh(f(0.5)*{0})"


def _bent(x: Interval, alpha: Interval, low: float) -> Interval:
    """Of x above 0 and `alpha` times something from `low` to 0 below."""
    products = [0.0 if low == 0 or a == 0 else low * a for a in alpha]
    return hull((max(x[0], 0.0), max(x[1], 0.0)), (min(products), max(products)), *([(0.0, 0.0)] if x[0] < 0 else []))


@function(
    "leaky_relu",
    plain=lambda x, alpha: sp.Piecewise((x, x > 0), (alpha * x, True)),
    numpy=lambda x, alpha: np.where(positive(x), x, alpha * x)[()],
    interval=lambda x, alpha: _bent(x, alpha, min(x[0], 0.0)),
    cuda="({1}*{0} if {0} <= f(0.0) else {0})",
    arguments="x alpha",
    public="leaky_relu",
    activation=True,
    doc="x where x > 0, else alpha*x (Maas et al. 2013).",
    defaults=(0.01,),
    explained={"alpha": "The slope below 0; it may be a parameter."},
    kinks=_BEND,
    cost=3,
)
class leaky_relu(Function):
    """x for x > 0, else alpha*x."""

    is_real = True
    nargs = 2

    @classmethod
    def eval(cls, x: Expr, alpha: Expr) -> Expr | None:
        return (x if x > 0 else alpha * x) if numbers(x) else None

    def fdiff(self, argindex: int = 1) -> Expr:
        x, alpha = self.args
        return where(step(x), ONE, alpha) if argindex == 1 else -relu(-x)


@function(
    "elu",
    plain=lambda x, alpha: sp.Piecewise((x, x > 0), (alpha * (sp.exp(x) - 1), True)),
    numpy=lambda x, alpha: np.where(positive(x), x, alpha * np.expm1(np.where(positive(x), -x, x)))[()],
    interval=lambda x, alpha: _bent(x, alpha, math.expm1(min(x[0], 0.0))),
    cuda="({1}*math.expm1({0}) if {0} <= f(0.0) else {0})",
    arguments="x alpha",
    public="elu",
    activation=True,
    doc="x where x > 0, else alpha*(exp(x) - 1) (Clevert et al. 2015).",
    defaults=(1.0,),
    explained={"alpha": "Minus the limit far below 0."},
    kinks=_BEND,
    smooth=lambda x, alpha: alpha is S.One,
    cost=22,
)
class elu(Function):
    """x for x > 0, else alpha*(exp(x) - 1)."""

    is_real = True
    nargs = 2

    @classmethod
    def eval(cls, x: Expr, alpha: Expr) -> Expr | None:
        return x if numbers(x) and x > 0 else ZERO if x is ZERO else None

    def fdiff(self, argindex: int = 1) -> Expr:
        x, alpha = self.args
        return where(step(x), ONE, alpha * sp.exp(x)) if argindex == 1 else expm1(-relu(-x))


@function(
    "sigmoid",
    plain=lambda x: 1 / (1 + sp.exp(-x)),
    numpy=logistic,
    interval="increasing",
    unicode="σ({0})",
    latex=r"\sigma\left({0}\right)",
    cuda="(f(1.0)/(f(1.0) + math.exp(-{0})))",
    public="sigmoid",
    activation=True,
    doc="1/(1 + exp(-x)), accurate in both tails; a program may take its slope from the value, exact to a unit of 1.",
    careful=True,
    fades=True,
    cost=20,
)
class sigmoid(Function):
    """1/(1 + exp(-x)). Derivative sigmoid(x)*sigmoid(-x): 1 - sigmoid(x) would cancel in the right tail."""

    is_real = True
    is_positive = True
    nargs = 1

    @classmethod
    def eval(cls, x: Expr) -> Expr | None:
        return HALF if x is ZERO else None

    def fdiff(self, argindex: int = 1) -> Expr:
        return self * sigmoid(-self.args[0])


@function(
    "softplus",
    plain=lambda x: sp.log(1 + sp.exp(x)),
    numpy=lambda x: part(x) + np.log1p(decay(x)),
    interval="increasing",
    cuda="((f(0.0) if {0} <= f(0.0) else {0}) + math.log1p(math.exp(-abs({0}))))",
    public="softplus",
    activation=True,
    doc="log(1 + exp(x)) without overflow.",
    careful=True,
    cost=40,
)
class softplus(Function):
    """log(1 + exp(x)). Derivative sigmoid(x)."""

    is_real = True
    is_positive = True
    nargs = 1

    @classmethod
    def eval(cls, x: Expr) -> Expr | None:
        return sp.log(2) if x is ZERO else None

    def fdiff(self, argindex: int = 1) -> Expr:
        return sigmoid(self.args[0])


def _log_cosh(x: Any) -> Any:
    """log1p(2*sinh(x/2)**2) near 0, |x| + log1p(exp(-2|x|)) - log(2) elsewhere."""
    y = magnitude(x)
    inner = np.sinh(np.where(np.real(y) < 1, y, np.zeros_like(y)) / 2)
    far = y + np.log1p(np.exp(-2 * y)) - np.log(np.ones_like(y) * 2)
    return np.where(np.real(y) < 1, np.log1p(2 * inner * inner), far)[()]


@function(
    "logcosh",
    numpy=_log_cosh,
    interval="even",
    paper=lambda x: sp.log(sp.cosh(x)),
    cuda=f"(math.log1p(f(2.0)*{_HALF}*{_HALF}) if abs({{0}}) < f(1.0) else "
    "abs({0}) - f(0.6931471805599453) + math.log1p(math.exp(f(-2.0)*abs({0}))))",
    careful=True,
    cost=40,
)
class logcosh(Function):
    """log(cosh(x)) without overflow. Derivative tanh(x)."""

    is_real = True
    is_nonnegative = True
    nargs = 1

    @classmethod
    def eval(cls, x: Expr) -> Expr | None:
        return ZERO if x is ZERO else None

    def fdiff(self, argindex: int = 1) -> Expr:
        return sp.tanh(self.args[0])


def _xlogx_interval(x: Interval) -> Interval:
    values = [0.0 if v <= 0 else math.inf if v == math.inf else v * math.log(v) for v in x]
    inside = [-1 / math.e] if x[0] <= 1 / math.e <= x[1] else []
    return min(values + inside), max(values)


@function(
    "xlogx",
    numpy=lambda x: (x * np.log(np.where(np.real(x) == 0, np.ones_like(x), x)))[()],
    interval=_xlogx_interval,
    paper=lambda x: x * sp.log(x),
    cuda="({0}*math.log({0}) if {0} != f(0.0) else f(0.0))",
    domain=POSITIVE,
    slope_at_ends="log",
    careful=True,
    cost=22,
)
class xlogx(Function):
    """x*log(x) with its limit 0 at x = 0. Derivative log(x) + 1."""

    is_real = True
    nargs = 1

    @classmethod
    def eval(cls, x: Expr) -> Expr | None:
        return ZERO if x in (ZERO, ONE) else None

    def fdiff(self, argindex: int = 1) -> Expr:
        return sp.log(self.args[0]) + 1


xlogx1p = smooth(
    "xlogx1p",
    lambda u: where(equal(u, -1), 0, (1 + u) * log1p(u)),
    lambda u: log1p(u) + 1,
    at={0: 0, -1: 0},
    paper=lambda u: (1 + u) * sp.log(1 + u),
    public="",
    domain=(-1.0, math.inf),
    interval=lambda u: _xlogx_interval((u[0] + 1, u[1] + 1)),
    doc="(1 + u)*log(1 + u), 0 at u = -1, accurate near 0: 1 + u keeps nothing of a small u.",
    slope_at_ends="log",
    careful=True,
    cost=30,
)


def _range_of_bce(z: Interval, t: Interval) -> Interval:
    """Largest at a corner, since it is convex in z and linear in t; not negative where t is a probability."""
    ends = np.array([[u, v] for u in z for v in t])
    with np.errstate(all="ignore"):
        above = np.where(positive(ends[:, 0]), ends[:, 0], 0.0) + np.log1p(decay(ends[:, 0]))
        values, products = above - ends[:, 0] * ends[:, 1], ends[:, 0] * ends[:, 1]
    if not np.isfinite(values).all():
        return POSITIVE if t[0] >= 0 and t[1] <= 1 else REALS
    return (0.0 if t[0] >= 0 and t[1] <= 1 else float(above.min() - products.max())), float(values.max())


@function(
    "bce",
    # ((1 - t)*z for z > 0, else -t*z) + log1p(exp(-|z|)): no difference of large numbers
    numpy=lambda z, t: np.where(positive(z), (1 - t) * z, -t * z)[()] + np.log1p(decay(z)),
    interval=_range_of_bce,
    paper=lambda z, t: softplus(z) - t * z,
    cuda="((-{1}*{0} if {0} <= f(0.0) else (f(1.0) - {1})*{0}) + math.log1p(math.exp(-abs({0}))))",
    arguments="z t",
    careful=True,
    cost=42,
)
class bce(Function):
    """softplus(z) - t*z: the cross-entropy of sigmoid(z) and t, with an evaluation order of its own."""

    is_real = True
    nargs = 2

    @classmethod
    def eval(cls, z: Expr, t: Expr) -> Expr | None:
        return sp.log(2) if z is ZERO else None

    def fdiff(self, argindex: int = 1) -> Expr:
        z, t = self.args
        return sigmoid_minus(z, t) if argindex == 1 else -z


@function(
    "sigmoid_minus",
    # accurate relative to its own size for t = 0 and t = 1
    numpy=lambda z, t: np.where(positive(z), (1 - t) - logistic(-z), logistic(z) - t)[()],
    interval=lambda z, t: (0.0 - t[1], 1.0 - t[0]),
    unicode="(σ({0}) - {1})",
    latex=r"\left(\sigma\left({0}\right) - {1}\right)",
    paper=lambda z, t: sigmoid(z) - t,
    # (1 - t) sigmoid(z) - t sigmoid(-z): no digit is lost at t = 1
    cuda="((f(1.0) - {1})/(f(1.0) + math.exp(-{0})) - {1}/(f(1.0) + math.exp({0})))",
    arguments="z t",
    careful=True,
    cost=22,
)
class sigmoid_minus(Function):
    """sigmoid(z) - t, accurate for t = 1 where the difference cancels."""

    is_real = True
    nargs = 2

    @classmethod
    def eval(cls, z: Expr, t: Expr) -> Expr | None:
        return HALF - t if z is ZERO else None

    def fdiff(self, argindex: int = 1) -> Expr:
        z = self.args[0]
        return sigmoid(z) * sigmoid(-z) if argindex == 1 else S.NegativeOne
