"""What is a norm: a root of a sum of squares, over an index or of a few terms.

Formulas and derivatives take it as the power it is.  That it neither overflows nor underflows is a matter of how it is
computed (:mod:`graphc.lower.norms`), and of quotients x/‖x‖ that stay quotients (:func:`divides_by_norm`).
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache

import sympy
from sympy import Add, Expr, Mul, Pow, S

from graphc.ir.affine import Extent
from graphc.ir.build import inline
from graphc.ir.node import Equation, Node, Operand, Read
from graphc.ir.parts import parts_of_kind, symbols_of
from graphc.ir.scalar import absolute, canonical, guarded, less, less_equal, maximum, placeholder_index

_EPS = (sympy.Integer(2) ** -100, sympy.Integer(2) ** 40)


def norms_in(y: Equation) -> list[Equation]:
    """The sums of squares that y takes a root of."""
    found = (_read_under(y, p.base) for p in broken_powers(y.body))
    return list(dict.fromkeys(op.node for op in found if op is not None and isinstance(op.node, Equation)))


def is_norm(node: Node) -> bool:
    """True for what holds the root of a sum of squares."""
    if not isinstance(node, Equation) or not node.elementwise or not broken_powers(node.body):
        return False
    return bool(norms_in(node)) or any(_is_over_squares(node, p.base) for p in broken_powers(node.body))


def with_stored_squares(y: Equation) -> tuple[Expr, list[Operand]]:
    """The body and operands of y with the squares themselves where it takes a root of stored ones."""
    body, operands = y.body, list(y.operands)
    asked = (g.args[0] for g in parts_of_kind(body, guarded) if g.args[2] == 0)
    seen = {e: _opened(e, operands, y) for e in (*(p.base for p in broken_powers(body)), *asked)}
    powers = {p: seen[p.base] ** p.exp for p in broken_powers(body) if seen[p.base] != p.base}
    if not powers and not any(is_hypotenuse(p.base) for p in broken_powers(body)):
        return y.body, list(y.operands)
    conditions = {e: _without_squares(seen[e]) for e in seen}
    return canonical(asking(body, conditions).xreplace(powers)), operands


def asking(e: Expr, conditions: Mapping[Expr, Expr]) -> Expr:
    """e with other conditions of its guards."""
    if e.is_Atom:
        return e
    args = [asking(a, conditions) for a in e.args]
    if isinstance(e, guarded) and e.args[2] == 0:
        args[0] = conditions.get(e.args[0], args[0])
    return e.func(*args) if any(a is not b for a, b in zip(args, e.args, strict=True)) else e


def _opened(e: Expr, operands: list[Operand], y: Equation) -> Expr:
    for s in sorted(e.free_symbols, key=str):
        j = placeholder_index(s)
        op = y.operands[j] if j is not None and j < len(y.operands) else None
        if j is not None and isinstance(op, Read) and _stores_squares(op.node):
            e = inline(e, operands, j, y.extents)
    return e


def _stores_squares(node: Node) -> bool:
    return isinstance(node, Equation) and node.elementwise and not node.masks and _all_squares(node.body)


def _without_squares(e: Expr) -> Expr:
    """What is 0 where a sum of squares is: the sum of the magnitudes."""
    found = [root_of(term) for term in Add.make_args(e)]
    return Add(*(absolute(pair[1]) for pair in found if pair)) if all(found) else e


def _is_over_squares(y: Equation, base: Expr) -> bool:
    return is_hypotenuse(base) or _opened(base, list(y.operands), y) != base


def divides_by_norm(y: Equation) -> bool:
    """True for g/r, 0 at r = 0, with the root r of a sum of squares, the slope of a norm; for g/r**n with
    n > 1, g*u**n with u = 1/r, and g/r with r = sqrt(S + eps).

    It belongs into x*g/r, since g/r need not be a number where that is one.
    """
    if not y.elementwise or y.masks:
        return False
    slopes = [f for f in Mul.make_args(y.body) if isinstance(f, guarded) and f.args[2] == 0]
    factors = [f.args[1] if f in slopes else f for f in Mul.make_args(y.body)]
    below = [g for f in factors for g in Mul.make_args(f) if g.is_Pow and g.exp.could_extract_minus_sign()]
    cubes = [f for f in factors if f.is_Pow and f.exp.is_Integer and f.exp > 1 and _reads_inverse(y, f.base)]
    known = (*below, *cubes)
    if not known:
        return False
    others = [f for f in factors if f not in known and symbols_of(f) and not _is_read_or_test(f)]
    steep = sum(-2 * g.exp for g in below if is_broken(g.exp)) > 1 or any(_has_eps(y, g.base) for g in below)
    if others or not (cubes or (below and (slopes or steep))):
        return False
    return all(_is_root(y, g) for g in below if _reads(g))


def _is_read_or_test(e: Expr) -> bool:
    """True for a placeholder, and for what comparisons give, as the slope of max(r, eps) has them."""
    tests = (less, less_equal)
    return placeholder_index(e) is not None or all(isinstance(t, tests) for t in Add.make_args(e))


def _reads(e: Expr) -> bool:
    return any(placeholder_index(s) is not None for s in symbols_of(e))


def _is_root(y: Equation, p: Pow) -> bool:
    """Whether a power is one of a norm: of the read of one, or of a root in the body itself."""
    j = placeholder_index(p.base)
    op = y.operands[j] if j is not None else None
    if isinstance(op, Read) and is_norm(op.node):
        return True
    return is_broken(p.exp) and (_is_over_squares(y, p.base) or _read_under(y, p.base) is not None)


def _has_eps(y: Equation, base: Expr) -> bool:
    """Whether a base reads a root of S + eps, a number for each of y: its slope g/r has no guard, for r is not 0."""
    j = placeholder_index(base)
    op = y.operands[j] if j is not None else None
    return isinstance(op, Read) and has_eps(op.node) and _long(op.node.shape) == _long(y.shape)


def _long(shape: tuple[Extent, ...]) -> int:
    """The axes of a shape that are not of one element."""
    return sum(e != 1 for e in shape)


def _reads_inverse(y: Equation, base: Expr) -> bool:
    j = placeholder_index(base)
    op = y.operands[j] if j is not None else None
    return isinstance(op, Read) and is_inverse_norm(op.node)


def is_inverse_norm(node: Node) -> bool:
    """True for k/r with the root r of a sum of squares, as in x*S**-0.5."""
    if not isinstance(node, Equation) or not is_norm(node):
        return False
    k, power = node.body.as_independent(*broken_powers(node.body)[:1], as_Add=False)
    return is_positive(k) and power.is_Pow and power.exp == -S.Half


def has_eps(node: Node) -> bool:
    """True for what holds the root of a sum of squares and a small constant."""
    if not isinstance(node, Equation) or not is_norm(node):
        return False
    return any(without_eps(p.base) != p.base for p in broken_powers(node.body))


def is_bounded_below(body: Expr) -> bool:
    """True for max(r, eps), whose inverse is a number: eps from 2**-100 to 2**40."""
    return isinstance(body, maximum) and any(a.is_comparable and _EPS[0] < a < _EPS[1] for a in body.args)


def is_broken(q: Expr) -> bool:
    """True for 1/2, -3/2, 1/3 and the like."""
    return bool(q.is_Rational and not q.is_Integer)


def _read_under(y: Equation, base: Expr) -> Read | None:
    """The read of a sum of squares that a base is, up to a positive factor and a small constant."""
    base = without_eps(base)
    reads = [(placeholder_index(f), f) for f in Mul.make_args(base) if placeholder_index(f) is not None]
    if len(reads) != 1 or not is_positive(base / reads[0][1]):
        return None
    op = y.operands[reads[0][0] or 0]
    return op if isinstance(op, Read) and sum_of_squares(op.node) is not None else None


def sum_of_squares(node: Node) -> Equation | None:
    """The sum of squares that a node is, of stored squares too, whose own equations are then looked through."""
    if not isinstance(node, Equation) or node.reducer != "sum" or node.elementwise or node.body == 0:
        return None
    if _all_squares(node.body):
        return node
    body, operands = node.body, list(node.operands)
    for j, op in enumerate(node.operands):
        if isinstance(op, Read) and isinstance(op.node, Equation) and op.node.elementwise and not op.node.masks:
            body = inline(body, operands, j, node.extents)
    found = Equation(node.extents, node.n_free, "sum", body, tuple(operands), node.masks)
    return found if _all_squares(body) else None


def _all_squares(body: Expr) -> bool:
    return all(root_of(term) is not None for term in Add.make_args(body))


@lru_cache(maxsize=4096)
def without_eps(base: Expr) -> Expr:
    """S of S + eps, eps from 2**-100 to 2**40: beside it no square that underflows is missed, nor it beside huge."""
    rest, eps = base.as_independent(*base.free_symbols, as_Add=True)[::-1] if base.is_Add else (base, S.Zero)
    return rest if eps.is_comparable and _EPS[0] < eps < _EPS[1] else base


def is_positive(e: Expr) -> bool:
    """True for positive numbers and products of extents."""
    return bool(e.is_positive) and all(s.is_integer for s in e.free_symbols)


@lru_cache(maxsize=4096)
def root_of(term: Expr) -> tuple[Expr, Expr] | None:
    """(k, f) of k*f**2 with a positive factor k that nothing is read for."""
    k, f = S.One, S.One
    for factor in Mul.make_args(term):
        base, n = factor.as_base_exp()
        if is_positive(factor):
            k *= factor
        elif n.is_Integer and n % 2 == 0 and n > 0 and not isinstance(factor, sympy.exp):
            f *= base ** (n / 2)
        else:
            return None
    return (k, f) if any(placeholder_index(s) is not None for s in f.free_symbols) else None


@lru_cache(maxsize=4096)
def broken_powers(body: Expr) -> tuple[Pow, ...]:
    """The powers with broken exponents, in an order that does not change from run to run."""
    return tuple(p for p in sorted(body.atoms(Pow), key=sympy.default_sort_key) if is_broken(p.exp))


def is_hypotenuse(base: Expr) -> bool:
    """True for sums of a few squares."""
    return bool(base.is_Add) and _all_squares(base)
