"""The scalar rules for arguments far from 0, where a function leaves the range of numbers and its logarithm does not.

A case distinction keeps the plain form where that is exact; formulas show the plain form.
"""

from __future__ import annotations

from sympy import Expr, Pow, exp, log, tanh

from graphc.ir.scalar import expm1, guarded, less, log1p, sigmoid, softplus
from graphc.rewrite.patterns import negated
from graphc.rewrite.rules import rule
from graphc.rewrite.stable_rules import LOGARITHMS, POWERS

FAR = 40  # 1 + exp(-40) is 1 in float64


@rule(POWERS)
def root_of_sigmoid(e: Pow) -> Expr | None:
    """sigmoid(u)**p  ->  exp(p*u)   where u < -40, for a broken p > 0

    sigmoid(u) underflows where its root does not."""
    if not isinstance(e.base, sigmoid) or not _is_broken(e.exp):
        return None
    u = e.base.args[0]
    return guarded(less(u, -FAR), exp(e.exp * u), e)


@rule(POWERS)
def root_of_expm1(e: Pow) -> Expr | None:
    """(exp(u) - 1)**p  ->  exp(p*u)   where u > 40, for a broken p > 0

    exp(u) overflows where the root does not."""
    if not isinstance(e.base, expm1) or not _is_broken(e.exp):
        return None
    u = e.base.args[0]
    return guarded(less(FAR, u), exp(e.exp * u), e)


@rule(POWERS)
def root_of_softplus(e: Pow) -> Expr | None:
    """softplus(u)**p  ->  exp(p*u)*(1 - p*exp(u)/2)   where u < -15, for a broken p > 0

    softplus(u) underflows where its root does not."""
    if not isinstance(e.base, softplus) or not _is_broken(e.exp):
        return None
    u = e.base.args[0]
    return guarded(less(u, -15), exp(e.exp * u) * (1 - e.exp * exp(u) / 2), e)


def _is_broken(p: Expr) -> bool:
    return bool(p.is_Rational and p > 0 and not p.is_Integer)


@rule(LOGARITHMS, of=log1p)
def log1p_of_tanh(e: log1p) -> Expr | None:
    """log1p(tanh(u))  ->  log(2) - softplus(-2*u)   where u < -1,   and of -tanh(u) likewise

    tanh(u) reaches -1."""
    k, g = e.args[0].as_coeff_Mul()
    if not isinstance(g, tanh) or abs(k) != 1:
        return None
    u = k * g.args[0]
    return guarded(less(u, -1), log(2) - softplus(negated(2 * u)), e)


@rule(LOGARITHMS, of=log)
def log_of_softplus(e: log) -> Expr | None:
    """log(softplus(u))  ->  u - exp(u)/2   where u < -15

    softplus(u) underflows where its logarithm is about u."""
    if not isinstance(e.args[0], softplus):
        return None
    u = e.args[0].args[0]
    return guarded(less(u, -15), u - exp(u) / 2, e)
