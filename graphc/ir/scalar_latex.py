"""LaTeX of a scalar expression, with the printed forms of the table of scalar functions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sympy import Expr, Symbol
from sympy.printing.latex import LatexPrinter

from graphc.ir.latex_words import with_words
from graphc.ir.scalar import scalar_of


class _ScalarLatex(LatexPrinter):
    """SymPy's printer, which asks the table first."""

    def _print_Function(self, expr: Expr, exp: Any = None) -> str:
        entry = scalar_of(expr)
        if entry is None:
            return super()._print_Function(expr, exp)
        text = entry.latex.format(*(self._print(a) for a in expr.args))
        return text if exp is None else rf"{text}^{{{exp}}}"

    def _as_ordered_terms(self, expr: Expr, order: Any = None) -> list[Expr]:
        terms = list(super()._as_ordered_terms(expr, order))
        leading = bool(terms[0].as_coeff_Mul()[0] < 0)
        return sorted(terms, key=lambda t: bool(t.as_coeff_Mul()[0] < 0)) if leading else terms


def scalar_latex(expr: Expr, names: Mapping[Symbol, str] | None = None) -> str:
    """LaTeX of `expr`; `names` gives the LaTeX of symbols (reads such as ``X_{i,k}``)."""
    printer = _ScalarLatex({"symbol_names": dict(names or {})})
    return with_words(printer.doprint(expr))
