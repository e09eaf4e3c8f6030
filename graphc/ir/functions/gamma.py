"""The gamma function and its derivatives: Stirling's series ten steps up, and the recurrence back.

Abramowitz and Stegun (1964), 6.1.40, 6.3.18, 6.4.11. Right above -10, poles at whole numbers up to 0 apart.
"""

from __future__ import annotations

from functools import reduce
from operator import mul
from typing import Any

import sympy as sp
from sympy import Expr, S

from graphc.errors import DomainError
from graphc.ir.functions.analytic import horner
from graphc.ir.functions.choices import absolute, less, where
from graphc.ir.functions.declaring import smooth, word
from graphc.ir.scalar_table import POSITIVE

_STEPS, _TERMS = 10, 10


def _stirling(y: Expr) -> Expr:
    """log Gamma(y) for y >= 10."""
    series = [sp.bernoulli(2 * k) / (2 * k * (2 * k - 1)) for k in range(1, _TERMS)]
    return (y - S.Half) * sp.log(y) - y + sp.log(2 * sp.pi) / 2 + horner(1 / y**2, series) / y


def _steps(x: Expr) -> Expr:
    return reduce(mul, [x + j for j in range(_STEPS)])


def _gammaln(x: Expr) -> Expr:
    return where(less(x, _STEPS), _stirling(x + _STEPS) - sp.log(absolute(_steps(x))), _stirling(x))


def _gamma(x: Expr) -> Expr:
    return where(less(x, _STEPS), sp.exp(_stirling(x + _STEPS)) / _steps(x), sp.exp(_stirling(x)))


def _polygamma(n: Expr, x: Expr) -> Expr:
    y, sign = x + _STEPS, (-1) ** (n + 1)
    first = sp.log(y) if n == 0 else sign * sp.factorial(n - 1) / y**n
    series = [sp.bernoulli(2 * k) * sp.factorial(2 * k + n - 1) / sp.factorial(2 * k) for k in range(1, _TERMS)]
    far = sign * sp.factorial(n) / (2 * y ** (n + 1)) + sign * horner(1 / y**2, series) / y ** (n + 2)
    return first + far + sign * sp.factorial(n) * sp.Add(*[1 / (x + j) ** (n + 1) for j in range(_STEPS)])


def _polygamma_function(n: int) -> Any:
    """The function of order n, declared once; its derivative declares the next."""
    return smooth(
        f"special.polygamma{n}",
        lambda x: _polygamma(S(n), x),
        lambda x: _ORDERS[n + 1](x) if n + 1 < len(_ORDERS) else polygamma(n + 1, x),
        public="",
        domain=POSITIVE,
        open_domain=True,
        unicode=f"ψ{str(n).translate(_SUPERSCRIPTS) if n else ''}({{0}})",
        latex=rf"\psi^{{{{({n})}}}}\left({{0}}\right)" if n else r"\psi\left({0}\right)",
        doc=f"The derivative of order {n + 1} of log(gamma(x)).",
        plain=lambda x: sp.polygamma(n, x),
        cost=60,
    )


_SUPERSCRIPTS = str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹")
_ORDERS = [_polygamma_function(n) for n in range(5)]


def polygamma(n: Any, x: Expr) -> Expr:
    """The function of a whole order up to 4.

    Raises
    ------
    DomainError
        For any other order.
    """
    if n not in range(len(_ORDERS)):
        raise DomainError(f"polygamma: the order is {n}; it is a whole number from 0 to {len(_ORDERS) - 1}.")
    return _ORDERS[int(n)](x)


gammaln = smooth(
    "special.gammaln",
    _gammaln,
    lambda x: polygamma(0, x),
    at={1: 0, 2: 0},
    domain=POSITIVE,
    open_domain=True,
    unicode="log Γ({0})",
    latex=r"\log\Gamma\left({0}\right)",
    doc="log(gamma(x)); to 1e-14 near its zeros at 1 and 2.",
    also=("loggamma",),
    means=(sp.loggamma,),
    points=(0.0, 30.0),
    cost=80,
)
gamma_function = smooth(
    "special.gamma_function",
    _gamma,
    lambda x: gamma_function(x) * polygamma(0, x),
    at={1: 1, 2: 1},
    domain=POSITIVE,
    open_domain=True,
    public="gamma",
    unicode="Γ({0})",
    latex=r"\Gamma\left({0}\right)",
    doc="The gamma function, (x - 1)! of whole numbers; to 40 units of the last place below 10, 1e-13 above.",
    means=(sp.gamma,),
    points=(0.0, 30.0),
    cost=80,
)
word("special.polygamma", polygamma, "The derivative of order n + 1 of log(gamma(x)), n from 0 to 4.",
     example="1, X", means=(sp.polygamma,))  # fmt: skip
word("special.digamma", lambda x: polygamma(0, x), "The derivative of log(gamma(x)).", also=("psi",))
word("special.betaln", lambda a, b: gammaln(a) + gammaln(b) - gammaln(a + b), "log(gamma(a)*gamma(b)/gamma(a + b)).")
