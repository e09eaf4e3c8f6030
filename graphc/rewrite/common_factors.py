"""Factors that all terms of a sum have, taken out in every part of an expression.

The result is that of SymPy's `factor_terms`, which goes through the tree: a part that stands in many places is
factored again at each of them, a third of what planning a sixth derivative took.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import sympy as sp
from sympy import Add, Expr, Mul
from sympy.core.mul import _keep_coeff


@lru_cache(maxsize=1 << 14)
def factored(expr: Expr) -> Any:
    """`sympy.factor_terms(expr)` of a commutative expression of scalars, each part once."""
    if expr.is_Atom:
        return expr
    if not (expr.is_Add or expr.is_Mul):
        args = tuple(factored(arg) for arg in expr.args)
        return expr if args == expr.args else expr.func(*args)
    content, rest = expr.as_content_primitive(radical=False, clear=False)
    if rest.is_Add:
        content, rest = _common(content, [factored(term) for term in Add.make_args(rest)])
    elif rest.args:
        rest = rest.func(*map(factored, rest.args))
    return _keep_coeff(content, rest, clear=False, sign=True)


def _common(content: Expr, terms: Sequence[Expr]) -> tuple[Expr, Expr]:
    """The number before a sum, and the sum with what its terms have in common before it."""
    if all(term.as_coeff_Mul()[0].extract_multiplicatively(-1) is not None for term in terms):
        content, terms = -content, [-term for term in terms]
    kept = {}  # exp(-(x + 2)), of which gcd_terms makes exp(-x - 2)
    for t, term in enumerate(terms):
        exponent: Any = term.as_base_exp()[1]
        if exponent.is_Mul and exponent != Mul(*exponent.args):
            kept[sp.Dummy()] = t
    names = {t: name for name, t in kept.items()}
    whole = Add._from_args([names.get(t, term) for t, term in enumerate(terms)])
    rest = sp.gcd_terms(whole, isprimitive=True, clear=False, fraction=False)
    return content, rest.xreplace({name: terms[t] for name, t in kept.items()})
