"""Functions of scipy.special that are formulas in other functions, as gc.special."""

from __future__ import annotations

from typing import Any

import sympy as sp
from sympy import Expr, Rational, S

from graphc.ir.functions.analytic import arctanh
from graphc.ir.functions.bessel import i0
from graphc.ir.functions.choices import absolute, equal, guarded, less, less_equal, where
from graphc.ir.functions.declaring import word
from graphc.ir.functions.elementary import expm1, log1p
from graphc.ir.functions.smooth import logcosh, sigmoid, softplus, xlogx


def _xlog(x: Expr, log: Expr) -> Expr:
    """x*log, 0 at x = 0 whatever the logarithm is."""
    return where(equal(x, 0), 0, x * log)


def _logit(p: Expr) -> Expr:
    """Near 1/2 both logarithms cancel."""
    near = less(absolute(p - S.Half), Rational(1, 4))
    return guarded(near, 2 * arctanh(2 * p - 1), sp.log(p) - log1p(-p))


def _boxcox(x: Expr, lmbda: Any) -> Expr:
    power = lmbda * sp.log(x)
    if S(lmbda).is_number:
        return sp.log(x) if S(lmbda) == 0 else expm1(power) / lmbda
    return where(equal(lmbda, 0), sp.log(x), expm1(power) / lmbda)


def _huber(delta: Expr, r: Expr) -> Expr:
    size = absolute(r)
    return where(less_equal(size, delta), r**2 / 2, delta * (size - delta / 2))


word("special.expit", sigmoid, "1/(1 + exp(-x)).")
word("special.logit", _logit, "log(p/(1 - p)).")
word("special.log_expit", lambda x: -softplus(-x), "log(1/(1 + exp(-x))), accurate in both tails.")
word("special.softplus", softplus, "log(1 + exp(x)) without overflow.")
word("special.log_cosh", logcosh, "log(cosh(x)) without overflow.")
word("special.xlogy", lambda x, y: _xlog(x, sp.log(y)), "x*log(y), 0 at x = 0.")
word("special.xlog1py", lambda x, y: _xlog(x, log1p(y)), "x*log(1 + y), 0 at x = 0.")
word("special.entr", lambda x: -xlogx(x), "-x*log(x), 0 at x = 0.")
word("special.rel_entr", lambda x, y: _xlog(x, sp.log(x / y)), "x*log(x/y), 0 at x = 0.")
word("special.kl_div", lambda x, y: _xlog(x, sp.log(x / y)) - x + y, "x*log(x/y) - x + y, y at x = 0.")
word("special.huber", _huber, "r**2/2 where |r| <= delta, else delta*(|r| - delta/2).")
word("special.pseudo_huber", lambda delta, r: r**2 / (1 + sp.sqrt(1 + (r / delta) ** 2)),
     "delta**2*(sqrt(1 + (r/delta)**2) - 1), written without the difference.")  # fmt: skip
word("special.boxcox", _boxcox, "(x**lmbda - 1)/lmbda, log(x) at lmbda = 0.",
     explained={"lmbda": "The power."})  # fmt: skip
word("special.exp2", lambda x: S(2) ** x, "2 to the power x.")
word("special.exp10", lambda x: S(10) ** x, "10 to the power x.")
word("special.expm1", expm1, "exp(x) - 1, accurate near 0.")
word("special.log1p", log1p, "log(1 + x), accurate near 0.")
word("special.erf", lambda x: sp.erf(x), "The error function.")
word("special.i0", lambda x: i0(x), "The modified Bessel function of the first kind of order 0.")
