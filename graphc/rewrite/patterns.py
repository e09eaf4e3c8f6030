"""Small questions about one scalar expression, for the rules: each gives the parts of a match, or None."""

from __future__ import annotations

from collections.abc import Iterator

import sympy as sp
from sympy import Add, Expr, Mul, Pow, S, exp, tanh

from graphc.ir.scalar import sigmoid


def negated(u: Expr) -> Expr:
    """-u, with the minus sign inside a sum, so that equal arguments look equal."""
    return sp.expand_mul(-u)


def number_and(e: Expr, kind: type) -> tuple[Expr, Expr, Expr] | None:
    """(c, k, f) if e = c + k*f with numbers c, k and one function f of class `kind`."""
    if not e.is_Add or len(e.args) != 2:
        return None
    c, rest = e.as_coeff_Add()
    k, f = rest.as_coeff_Mul()
    return (c, k, f) if c is not S.Zero and isinstance(f, kind) else None


def one_plus_exp(e: Expr) -> tuple[Expr, Expr] | None:
    """(c, u) if e = c*(1 + exp(u))."""
    found = number_and(e, exp)
    return (found[0], found[2].args[0]) if found and found[0] == found[1] else None


def one_minus_sigmoid(e: Expr) -> tuple[Expr, Expr] | None:
    """(c, u) if e = c*(1 - sigmoid(u))."""
    found = number_and(e, sigmoid)
    return (found[0], found[2].args[0]) if found and found[0] == -found[1] else None


def as_sigmoid(e: Expr) -> tuple[Expr, Expr] | None:
    """(c, u) if e = c*sigmoid(u) for e = 1 - sigmoid(-u) or 1/2 + tanh(u/2)/2."""
    inner = one_minus_sigmoid(e)
    if inner:
        return inner[0], negated(inner[1])
    found = number_and(e, tanh)
    if not found or abs(found[0]) != abs(found[1]):
        return None
    c, k, f = found
    return 2 * c, 2 * f.args[0] if c == k else negated(2 * f.args[0])


def factor_powers(e: Expr, kind: type) -> Iterator[tuple[Expr, Expr]]:
    """(f, n) for every factor f**n of a product with f of class `kind` and an integer n."""
    for factor in Mul.make_args(e):
        base, n = factor.as_base_exp() if not isinstance(factor, exp) else (factor, S.One)
        if isinstance(base, kind) and n.is_Integer:
            yield base, n


def swap(e: Expr, taken: dict[Expr, Expr], *given: Expr) -> Expr:
    """The product `e` without the factors f**n of `taken` and with the factors `given`.

    One Mul builds the result: dividing stepwise would leave -(x + 1), which SymPy turns into -x - 1.
    """
    left = []
    for factor in Mul.make_args(e):
        base, n = (factor, S.One) if factor in taken else factor.as_base_exp()
        left.append(Pow(base, n - taken[base]) if base in taken else factor)
    return Mul(*left, *given)


def two_exponentials(e: Expr) -> tuple[Expr, Expr, Expr] | None:
    """(c, u, v) if e = c*(exp(u) + exp(v)) with a positive number c."""
    terms = [t.as_coeff_Mul() for t in Add.make_args(e)]
    if len(terms) != 2 or terms[0][0] != terms[1][0] or not all(isinstance(f, exp) for _, f in terms):
        return None
    return (terms[0][0], terms[0][1].args[0], terms[1][1].args[0]) if terms[0][0] > 0 else None
