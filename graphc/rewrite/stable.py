"""Apply the scalar rules to one expression, and the cleanup after differentiation.

`simplify` is never called; every pass is cached per expression and guarded by a cheap test for the functions it needs.
"""

from __future__ import annotations

from functools import lru_cache

import sympy as sp
from sympy import Expr, Pow, cosh, exp, log, sinh, tanh

from graphc.ir.parts import parts_of_kind, symbols_of
from graphc.ir.scalar import (
    absolute,
    canonical,
    cost,
    expm1,
    guarded,
    is_complex,
    log1p,
    maximum,
    minimum,
    placeholder_index,
    sigmoid,
    softplus,
)
from graphc.rewrite import range_rules  # noqa: F401  importing them fills the tables
from graphc.rewrite.cancelling import cancelled
from graphc.rewrite.common_factors import factored
from graphc.rewrite.rules import TRIGGERS, Rule, RuleFired, Table
from graphc.rewrite.stable_rules import EXTREMES, FUNCTIONS, LOGARITHMS, POWERS, PRODUCTS, SUMS, TABLES

__all__ = ["TABLES", "RuleFired", "stabilise", "tidy"]

TRIGGERS.update((exp, log, sinh, cosh, tanh, sigmoid, softplus, log1p, expm1, maximum, minimum, absolute))
_FUEL = 500
_HUGE = 2**100


def stabilise(expr: Expr) -> tuple[Expr, tuple[RuleFired, ...]]:
    """`expr` in an accurate form, and the list of rules that fired. Cached per expression.

    >>> from sympy import Symbol, exp, log
    >>> z = Symbol("z", real=True)
    >>> stabilise(log(1 + exp(z)))[0]
    softplus(z)
    """
    return _stabilised(expr, sum(map(len, TABLES)))


@lru_cache(maxsize=4096)
def _stabilised(expr: Expr, number_of_rules: int) -> tuple[Expr, tuple[RuleFired, ...]]:
    fired: list[RuleFired] = []
    if expr.has(sp.Abs):
        why = "SymPy takes the root of a square as the magnitude; |u| has the subgradient 0 at 0."
        fired.append(RuleFired("root_of_square", expr, canonical(expr), why))
    expr = canonical(expr)
    if not expr.has(*TRIGGERS):
        return expr, tuple(fired)
    return _rewrite(expr, fired), tuple(fired)


def _rewrite(expr: Expr, fired: list[RuleFired]) -> Expr:
    """Arguments first, then the rules for the outermost operation until none fires."""
    if expr.is_Atom or not expr.has(*TRIGGERS):
        return expr
    if isinstance(expr, guarded):  # a product beside its 0 is a product like others; the ends of a range stay
        c, a, b = expr.args
        return guarded(c, _rewrite(a, fired), b) if b == 0 else expr
    args = [_rewrite(a, fired) for a in expr.args]
    if any(a is not b for a, b in zip(args, expr.args)):
        expr = expr.func(*args)
    for candidate in _rules_for(expr):
        new = candidate(expr)
        if new is None or new == expr or len(fired) >= _FUEL:
            continue
        fired.append(RuleFired(candidate.name, expr, new, candidate.why))
        return _rewrite(new, fired)
    return expr


def _rules_for(expr: Expr) -> list[Rule]:
    return [r for r in _table_for(expr) if r.of is None or isinstance(expr, r.of)]


def _table_for(expr: Expr) -> Table:
    if expr.is_Pow and not isinstance(expr, exp):
        return POWERS
    if expr.is_Mul:
        return PRODUCTS
    if expr.is_Add:
        return SUMS
    if isinstance(expr, (log, log1p)):
        return LOGARITHMS
    return EXTREMES if isinstance(expr, (maximum, minimum)) else FUNCTIONS


# ---------------------------------------------------------------- cleanup


@lru_cache(maxsize=4096)
def tidy(expr: Expr) -> Expr:
    """The cheapest of `expr`, its factored form and (with a read in a denominator) its cancelled form. Cached."""
    if not (expr.is_Add or expr.is_Mul or expr.is_Pow) or expr.has(sp.Float):
        return expr
    forms = [expr, factored(expr)]
    quotient = cancelled(expr) if _divides_by_reads(expr) else None
    forms += [] if quotient is None else [quotient, factored(quotient)]
    return min((form for form in forms if not is_complex(form) and not _made_huge(form, expr)), key=cost, default=expr)


def _made_huge(form: Expr, expr: Expr) -> bool:
    """Whether a common denominator, as of a power series, has made numbers that single precision does not have."""
    return any(max(abs(n.p), n.q) > _HUGE for n in parts_of_kind(form, sp.Rational) - parts_of_kind(expr, sp.Rational))


def _divides_by_reads(expr: Expr) -> bool:
    below = (p.base for p in parts_of_kind(expr, Pow) if p.exp.could_extract_minus_sign())
    return any(placeholder_index(s) is not None for base in below for s in symbols_of(base))
