"""Expressions as formula text: the inverse of the parser in `formula.py`."""

from __future__ import annotations

import sympy as sp
from sympy import Expr, S

from graphc.errors import FormulaError
from graphc.ir.scalar import FUNCTIONS, canonical, guarded, less, less_equal, scalar_of

_COMPARISON, _SUM, _PRODUCT, _POWER, _ATOM = range(5)
_SIGNS = {less: "<", less_equal: "<="}


def formula_text(expr: Expr) -> str:
    """Formula text of `expr`, such that `parse` gives `expr` back.

    Raises
    ------
    FormulaError
        When `expr` holds something the formula language has no word for, or is too deep or too large to be written.
    """
    try:
        return _show(canonical(expr), _COMPARISON)
    except RecursionError:
        raise FormulaError("This formula is nested too deep to be written as text. Name a part.") from None
    except FormulaError:
        raise
    except ValueError as error:  # of Python: more than 4300 digits
        raise FormulaError(f"A number is too long to be written as text: {error}. Write a float.") from None


def _show(expr: Expr, level: int) -> str:
    text, own = _text(expr)
    return text if own >= level else f"({text})"


def _text(expr: Expr) -> tuple[str, int]:
    if expr.is_Symbol:
        return expr.name, _ATOM
    if expr.is_Rational:
        return str(expr), (_ATOM if expr.is_Integer and expr >= 0 else _SUM)
    if expr is S.Exp1 or expr is S.Pi:
        return ("exp(1)" if expr is S.Exp1 else "pi"), _ATOM
    if expr.is_Add:
        return _sum_text(expr), _SUM
    if expr.is_Mul or (expr.is_Pow and expr.exp.is_Rational and expr.exp < 0):
        return _product_text(expr)
    if expr.is_Pow and expr.exp is not S.Half:
        return f"{_show(expr.base, _ATOM)}**{_show(expr.exp, _ATOM)}", _POWER
    return _call_text(expr)


def _call_text(expr: Expr) -> tuple[str, int]:
    entry = scalar_of(expr)
    if entry is None:
        raise FormulaError(f"{expr} cannot be written as formula text. Known: {', '.join(sorted(FUNCTIONS))}.")
    if expr.func in _SIGNS:
        left, right = (_show(a, _SUM) for a in expr.args)
        return f"{left} {_SIGNS[expr.func]} {right}", _COMPARISON
    args = (expr.base,) if expr.is_Pow else expr.args
    name = "guarded" if isinstance(expr, guarded) else entry.name
    return f"{name}({', '.join(_show(a, _COMPARISON) for a in args)})", _ATOM


def _sum_text(expr: Expr) -> str:
    first, *others = (_show(t, _PRODUCT) if not _negative(t) else f"-{_show(-t, _PRODUCT)}" for t in _readable(expr))
    return first + "".join(f" - {t[1:]}" if t.startswith("-") else f" + {t}" for t in others)


def _negative(term: Expr) -> bool:
    return bool(term.as_coeff_Mul()[0] < 0)


def _readable(expr: Expr) -> list[Expr]:
    """The terms in SymPy's printing order, a positive one first if there is any."""
    terms = expr.as_ordered_terms()
    return sorted(terms, key=_negative) if _negative(terms[0]) else terms


def _product_text(expr: Expr) -> tuple[str, int]:
    if _negative(expr):
        return f"-{_show(-expr, _PRODUCT)}", _SUM
    coefficient, rest = expr.as_coeff_Mul()
    factors = rest.as_ordered_factors()
    below = [1 / f for f in factors if f.is_Pow and f.exp.is_Rational and f.exp < 0]
    above = [f for f in factors if not (f.is_Pow and f.exp.is_Rational and f.exp < 0)]
    above = [sp.Integer(coefficient.p)] * (coefficient.p != 1 or not above) + above
    below = [sp.Integer(coefficient.q)] * (coefficient.q != 1) + below
    top = "*".join(_show(f, _POWER) for f in above)
    return top + "".join(f"/{_show(f, _POWER)}" for f in below), _PRODUCT
