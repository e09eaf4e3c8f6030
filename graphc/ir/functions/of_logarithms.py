"""Slopes of sigmoid, tanh and softplus of a logarithm: ratios of what the logarithm is of.

sigmoid(log u) is u/(1 + u), with the slope 1/(1 + u)², which is 1 at u = 0; the chain rule alone has 0·∞ there, the
slope of sigmoid far below 0 times 1/u.  For z = k·log u + g, where f'(z) = exp(c·z)·r(z) and r is 1 far below 0:

    ∂f(z)/∂u  ->  k·u**(c·k - 1)·exp(c·g)·r(z)  where z < 0,  else f'(z)·k/u

Formulas show the second form, which is the same number.
"""

from __future__ import annotations

from collections.abc import Callable

import sympy as sp
from sympy import Add, Expr, Function, S, Symbol

from graphc.ir.functions.choices import guarded, less
from graphc.ir.functions.elementary import log1p
from graphc.ir.functions.smooth import sigmoid, softplus

_FADING: dict[type, tuple[int, Callable[[Expr], Expr], bool]] = {
    sigmoid: (1, lambda z: sigmoid(-z) ** 2, True),
    sp.tanh: (2, lambda z: 4 * sigmoid(-2 * z) ** 2, True),
    softplus: (1, lambda z: sigmoid(-z), False),
}
"""(c, r) of every f whose slope is exp(c·z)·r(z), and whether the slopes at z and -z are the same."""


def derived(body: Expr, a: Symbol) -> Expr:
    """The derivative of a body, with ratios in the place of 0·∞."""
    if not body.has(sp.log, log1p) or not body.has(*_FADING):
        return body.diff(a)
    known = body.replace(_is_of_logarithm, of_logarithm)
    return known.diff(a).replace(of_logarithm, lambda f: f)


def _is_of_logarithm(e: Expr) -> bool:
    return isinstance(e, tuple(_FADING)) and any(_fades(e, term) for term in Add.make_args(e.args[0]))


def _fades(f: Expr, term: Expr) -> bool:
    """Whether the slope of f vanishes where u of a term k·log(u) does, if u does."""
    k, u = _logarithm(term)
    return bool(k.is_positive or (k.is_negative and _FADING[f.func][2])) and not u.is_positive


def _logarithm(term: Expr) -> tuple[Expr, Expr]:
    """(k, u) of k·log(u), with a number k; (0, 1) of other terms."""
    k, f = term.as_coeff_Mul()
    if isinstance(f, (sp.log, log1p)):
        return k, f.args[0] if isinstance(f, sp.log) else 1 + f.args[0]
    return S.Zero, S.One


class of_logarithm(Function):
    """f(z) itself, for the time of a differentiation."""

    is_real = True
    nargs = 1

    def _eval_derivative(self, s: Symbol) -> Expr:
        f = self.args[0]
        return Add(*(_slope(f, term, s) for term in Add.make_args(f.args[0])))


def _slope(f: Expr, term: Expr, s: Symbol) -> Expr:
    """f'(z)·∂term/∂s of a term of z."""
    if not _fades(f, term):
        return f.fdiff() * term.diff(s)
    k, u = _logarithm(term)
    c, rest, _ = _FADING[f.func]
    z = f.args[0] * sp.sign(k)
    ratio = u ** (c * abs(k) - 1) * sp.exp(c * (z - abs(k) * term / k)) * rest(z)
    du = k * u.diff(s)
    return guarded(less(z, 0), ratio * du, f.fdiff() * du / u) if du != 0 else S.Zero
