"""Norms whose squares leave the range of numbers: ``‖u‖ = sqrt(sum_k u²)`` where u is 1e200 or 1e-200.

The sum of squares S is computed as it reads.  Where it is too large or too small, and only there, it is computed again
of numbers that are scaled by a power of 2, which is exact (Blue 1978, as LAPACK's dnrm2):

    c[i] = down where S[i] > huge, up where S[i] < tiny, else 0
    B[i] = sum_k (c[i]*u[i, k])²                                   no loop where c[i] is 0
    r[i] = sqrt(B[i])/c[i] where c[i] is not 0, else sqrt(S[i])
    S**q -> r**(2*q)                                               for a broken power q, such as 1/2 or -1/2
    (S + eps)**q -> r**(2*q) where S[i] > huge, else as it reads

A root of a few squares, ``sqrt(x² + y²)``, is computed of scaled numbers too, in its own body.  Formulas show S.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import sympy
from numpy.typing import DTypeLike
from sympy import Add, Expr, Mul, S, Symbol

from graphc.ir.affine import constant, identity, indices
from graphc.ir.node import Equation, Node, Operand, Read
from graphc.ir.scalar import absolute, guarded, less, maximum, placeholder, placeholder_index, stop_gradient, where
from graphc.records import record
from graphc.rewrite.norms import (
    asking,
    broken_powers,
    has_eps,
    is_bounded_below,
    is_hypotenuse,
    is_inverse_norm,
    is_norm,
    is_positive,
    norms_in,
    root_of,
    sum_of_squares,
    with_stored_squares,
    without_eps,
)


@record(frozen=True)
class Scales:
    """The sums of squares that are exact as they are, from tiny to huge, and the factors for the others."""

    tiny: Expr
    huge: Expr
    up: Expr
    down: Expr

    def of(self, total: Expr, otherwise: Expr) -> Expr:
        """The factor for a sum of squares."""
        return where(less(self.huge, total), self.down, where(less(total, self.tiny), self.up, otherwise))

    def back(self, total: Expr) -> Expr:
        """One over that factor, or 1."""
        return where(less(self.huge, total), 1 / self.down, where(less(total, self.tiny), 1 / self.up, S.One))


def _scales(tiny: int, huge: int, up: int, down: int) -> Scales:
    return Scales(*(sympy.Integer(2) ** n for n in (tiny, huge, up, down)))


SCALES = {"float32": _scales(-80, 100, 100, -80), "float64": _scales(-900, 900, 600, -600)}
FACTORS = [scales.of(placeholder(0), S.Zero) for scales in SCALES.values()]


@record(frozen=True)
class Rescue:
    """The factor c of a sum of squares, its scaled sum B and its root r."""

    factor: Equation
    total: Equation
    root: Equation

    @property
    def steps(self) -> tuple[tuple[Equation, str], ...]:
        """The equations in order, each with the end of its name."""
        return (self.factor, "scale"), (self.total, "scaled"), (self.root, "root")


def rescue_of(total: Equation, dtype: DTypeLike) -> Rescue:
    """The equations of the root of a sum of squares that may leave the range of numbers."""
    rank, shape, scales = total.n_free, total.shape, SCALES[np.dtype(dtype).name]
    at = tuple(constant(0) if e == 1 else a for a, e in zip(identity(rank), shape, strict=True))
    own = Read(total, at)
    factor = Equation(shape, rank, "sum", scales.of(placeholder(0), S.Zero), (own,), ())
    squares = sum_of_squares(total) or total
    c = placeholder(len(squares.operands))
    operands = (*squares.operands, Read(factor, at))
    body = where(c, _scaled(squares.body, c), S.Zero)
    scaled = Equation(squares.extents, rank, "sum", body, operands, squares.masks)
    s, c, b = (placeholder(j) for j in range(3))
    root = sympy.sqrt(where(c, b, s)) * scales.back(s)
    reads = (own, *(Read(node, at) for node in (factor, scaled)))
    return Rescue(factor, scaled, Equation(shape, rank, "sum", root, reads, ()))


def reading_rescues(y: Equation, rescues: Mapping[Node, Rescue], dtype: DTypeLike) -> Equation:
    """The equation with roots of scaled sums in place of those that left the range of numbers, and with quotients by
    norms taken one by one; y itself without norms."""
    if not broken_powers(y.body) and not any(op.node in rescues or is_norm(op.node) for op in y.reads):
        return y
    body, operands = with_stored_squares(y)
    body, roots = _with_hypotenuses(body, np.dtype(dtype).name)
    for j, op in enumerate(y.operands):
        if isinstance(op, Read) and op.node in rescues:
            operands.append(Read(rescues[op.node].root, op.at))
            roots.append(placeholder(len(operands) - 1))
            body, beside = _with_root(body, placeholder(j), roots[-1], SCALES[np.dtype(dtype).name].huge)
            for root in beside:
                body = _beside(body, root, stop_gradient(1 / root))
        elif isinstance(op, Read) and is_inverse_norm(op.node):
            body = _beside(body, placeholder(j), placeholder(j), 1)
        elif isinstance(op, Read) and has_eps(op.node):
            body = _beside(body, placeholder(j), stop_gradient(1 / placeholder(j)))
        elif isinstance(op, Read) and is_norm(op.node):
            roots.append(placeholder(j))
    body = _paired(body, operands, _lengths(operands, rescues))
    for root in roots:
        body = _beside(body, root, 1 / root)
    for j, op in enumerate(y.operands):
        if isinstance(op, Read) and has_eps(op.node) and _is_spread(y, op):
            body = _by_inverse(body, placeholder(j))
    return y if body == y.body else Equation(y.extents, y.n_free, y.reducer, body, tuple(operands), y.masks)


def _is_spread(y: Equation, read: Read) -> bool:
    """Whether some index of y, the last of its loops in all layouts of rows, does not move a read."""
    moving = {i for a in read.at for i in indices(a)}
    return any(e != 1 and i not in moving for i, e in enumerate(y.extents))


def _by_inverse(e: Expr, root: Symbol) -> Expr:
    """x/r  ->  x*(1/r): the inverse of a root of S + eps is a number, which loops take once a row."""
    if e.is_Atom or isinstance(e, stop_gradient) or not e.has(root):
        return e
    if e.is_Pow and e.base == root and e.exp == -1:
        return stop_gradient(e)
    return e.func(*(_by_inverse(a, root) for a in e.args))


def rare_part(y: Equation) -> tuple[int, Equation] | None:
    """(j, z) of a scaled sum: operand j is its factor c, and z the sum without the test that c is not 0."""
    j = placeholder_index(y.body.args[0]) if isinstance(y.body, where) and not y.elementwise else None
    op = y.operands[j] if j is not None else None
    if j is None or not isinstance(op, Read) or not isinstance(op.node, Equation) or op.node.body not in FACTORS:
        return None
    return j, Equation(y.extents, y.n_free, y.reducer, y.body.args[1], y.operands, y.masks)


def _scaled(squares: Expr, c: Expr) -> Expr:
    """sum k*f**2  ->  sum k*|c*f|**2; the magnitude keeps SymPy from taking c**2 out, which underflows."""
    found = [root_of(term) for term in Add.make_args(squares)]
    return Add(*(k * absolute(c * f) ** 2 for k, f in (pair for pair in found if pair is not None)))


def _with_root(e: Expr, total: Symbol, r: Symbol, huge: Expr) -> tuple[Expr, list[Expr]]:
    """(k*S)**q  ->  k**q * r**(2*q); a condition that S is not 0 asks for r; and the roots of k*S + eps."""
    bases = {p: without_eps(p.base) / total for p in broken_powers(e) if p.base.has(total)}
    bases = {p: k for p, k in bases.items() if is_positive(k)}
    roots = {p.base: _beside_eps(p.base, total, sympy.sqrt(k) * r, huge) for p, k in bases.items()
             if without_eps(p.base) != p.base}  # fmt: skip
    powers = {p: k**p.exp * r ** (2 * p.exp) for p, k in bases.items() if p.base not in roots}
    powers |= {p: roots[p.base] ** (2 * p.exp) for p in bases if p.base in roots}
    conditions = {g.args[0]: g.args[0].xreplace(powers).xreplace({total: r}) for g in e.atoms(guarded)}
    return (asking(e, conditions).xreplace(powers) if powers else e), list(roots.values())


def _beside_eps(base: Expr, total: Symbol, r: Expr, huge: Expr) -> Expr:
    """sqrt(k*S + eps): eps is nothing beside a sum that is huge, and no square is missed beside it."""
    return stop_gradient(where(less(huge, total), r, sympy.sqrt(base)))


def _with_hypotenuses(e: Expr, dtype: str) -> tuple[Expr, list[Expr]]:
    """(x² + y²)**q  ->  r**(2*q), r = sqrt((c*x)² + (c*y)²)/c with c of the sum as it reads; and the roots r."""
    roots = {}
    for total in dict.fromkeys(p.base for p in broken_powers(e) if is_hypotenuse(p.base)):
        c = SCALES[dtype].of(total, S.One)
        roots[total] = stop_gradient(sympy.sqrt(_scaled(total, c)) * SCALES[dtype].back(total))
    powers = {p: roots[p.base] ** (2 * p.exp) for p in broken_powers(e) if p.base in roots}
    return e.xreplace(powers), list(roots.values())


def _lengths(operands: Sequence[Operand], rescues: Mapping[Node, Rescue]) -> dict[Expr, tuple[Expr, set[Node]]]:
    """The reads of norms: the inverse of each, and what it is the norm of."""
    roots = {rescue.root: total for total, rescue in rescues.items()}
    found = {}
    for j, op in enumerate(operands):
        if not isinstance(op, Read) or not isinstance(op.node, Equation):
            continue
        r, totals = placeholder(j), [roots[op.node]] if op.node in roots else norms_in(op.node)
        squares = [sum_of_squares(total) for total in totals]
        of = {read.node for y in squares if y is not None for read in y.reads}
        if of and (op.node in roots or is_norm(op.node)):
            found[r] = (stop_gradient(1 / r) if is_bounded_below(op.node.body) else 1 / r), of
    return found


def _paired(e: Expr, operands: Sequence[Operand], lengths: Mapping[Expr, tuple[Expr, set[Node]]]) -> Expr:
    """x*y/(r*s) with the norms r of x and s of y  ->  (x/r)*(y/s), since x*y need not be a number."""
    if e.is_Atom or len(lengths) < 2 or isinstance(e, stop_gradient):
        return e
    args = [_paired(a, operands, lengths) for a in e.args]
    e = e.func(*args) if any(a is not b for a, b in zip(args, e.args, strict=True)) else e
    powers = [f.base for f in Mul.make_args(e) if f.is_Pow and f.exp.is_negative]
    below = {r: found for r in powers if (found := _length(r, lengths)) is not None}
    if not e.is_Mul or len(below) < 2:
        return e
    for r, (inverse, of) in below.items():
        x = next((f for f in e.args if _reads_one(f, operands, of)), None)
        if x is not None:
            e = Mul(*(f for f in e.args if f is not x), r) * stop_gradient(x * inverse)
        if inverse != 1 / r:
            e = Mul(*(inverse ** -f.exp if f.is_Pow and f.base == r and f.exp < 0 else f for f in Mul.make_args(e)))
    return e


def _length(r: Expr, lengths: Mapping[Expr, tuple[Expr, set[Node]]]) -> tuple[Expr, set[Node]] | None:
    """The inverse of a norm r, or of max(r, eps), and what it is the norm of."""
    inner = next((a for a in r.args if a in lengths), None) if isinstance(r, maximum) else None
    if inner is None:
        return lengths.get(r)
    return (stop_gradient(1 / r) if is_bounded_below(r) else 1 / r), lengths[inner][1]


def _reads_one(f: Expr, operands: Sequence[Operand], nodes: set[Node]) -> bool:
    j = placeholder_index(f)
    op = operands[j] if j is not None else None
    return isinstance(op, Read) and op.node in nodes


def _beside(e: Expr, root: Expr, inverse: Expr, sign: int = -1) -> Expr:
    """Products with 1/r**n, r a root, from the inside out: ``f*g/r**3  ->  (f/r)*(g/r)/r``, since neither r**3 nor 1/r
    need be a number where the whole is one; 1/r is one where r is a root of S + eps, and loops take it once.
    Products with u**n, u = 1/r, likewise."""
    if e.is_Atom or e == root or (e.is_Pow and e.base == root) or not e.has(root):
        return e
    args = [_beside(a, root, inverse, sign) for a in e.args]
    e = e.func(*args) if any(a is not b for a, b in zip(args, e.args, strict=True)) else e
    return _quotient(e, root, inverse, sign) if e.is_Mul else e


def _quotient(e: Expr, root: Expr, inverse: Expr, sign: int) -> Expr:
    factors = list(Mul.make_args(e))
    guards = [f for f in factors if isinstance(f, guarded) and f.args[2] == 0 and f.args[1].has(root)]
    if len(guards) == 1 and len(factors) > 1:
        condition, value, _ = guards[0].args
        product = Mul(value, *(f for f in factors if f is not guards[0]))
        return guarded(condition, _quotient(product, root, inverse, sign), S.Zero)
    below = [f for f in factors if f.is_Pow and f.base == root and f.exp.is_Integer and sign * f.exp > 1]
    if not below:
        return e
    if any(f.is_Add and f.has(root) for f in factors):  # (f + g*r**2)/r**3  ->  f/r**3 + g/r
        terms = Add.make_args(sympy.expand_mul(e))
        return Add(*(_quotient(a, root, inverse, sign) if a.is_Mul else a for a in terms))
    n = abs(int(below[0].exp))
    rest = [f for f in factors if f is not below[0]]
    above = [f for f in rest if f.free_symbols and not (f.is_Pow and f.exp.could_extract_minus_sign())][:n]
    whole = Mul(*(stop_gradient(f * inverse) for f in above), *(f for f in rest if f not in above))
    for _ in range(n - len(above)):
        whole = stop_gradient(whole * inverse)
    return whole
