"""Quotients over a common denominator, without the factors that both have, where that is not too much work."""

from __future__ import annotations

from math import comb, prod

import sympy as sp
from sympy import Expr

_OPERATIONS = 200  # of 340 a common denominator made 27,000, of 1,400 some 230,000 in a minute
_TERMS = 300  # of 2,400 terms SymPy takes half a second, of 20,000,000 (134 operations) fifteen


def cancelled(expr: Expr) -> Expr | None:
    """The expression as a quotient without common factors; None where that would take long, or there is none."""
    if expr.count_ops() > _OPERATIONS or max(_terms(expr)) > _TERMS:
        return None
    try:
        return sp.cancel(expr)
    except sp.PolynomialError:
        return None


def _terms(expr: Expr) -> tuple[int, int]:
    """About how many terms numerator and denominator would have, multiplied out; at most one too many."""
    above = below = 1
    if expr.is_Mul:
        above, below = map(prod, zip(*map(_terms, expr.args), strict=True))
    elif expr.is_Pow and expr.exp.is_Integer:
        times = min(abs(int(expr.exp)), _TERMS + 1)
        above, below = (comb(n + times - 1, n - 1) for n in _terms(expr.base))
        above, below = (above, below) if expr.exp > 0 else (below, above)
    elif expr.is_Add:
        found = {term: _terms(term) for term in expr.args}
        below = prod({sp.fraction(term)[1]: n for term, (_, n) in found.items()}.values())
        above = sum(m * max(below // n, 1) for m, n in found.values())
    return min(above, _TERMS + 1), min(below, _TERMS + 1)
