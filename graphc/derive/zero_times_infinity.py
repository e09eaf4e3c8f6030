"""0 wins over ∞ in the chain rule: derivatives at points where the function is fine and one of its factors is not.

``sqrt(u)`` has an infinite slope at u = 0, and 0·∞ is a NaN.  Three kinds of products are made safe:

- u cannot be negative whatever the inputs are (a sum of squares, |x|, relu): u = 0 is its minimum, where its own
  derivative is 0.  The slope is taken as 0 there, the subgradient of norms and distances:
  ``u**(p - 1)  ->  u**(p - 1), 0 at u = 0``.
- a factor r of the derivative may be 0 where another factor s is infinite: ``r*s  ->  r*s, 0 at r = 0``.  The factor s
  is the infinite slope of a root, or what lies behind a branch that is not taken: ``maximum(log(x), -100)``.
- r vanishes where s overflows: ``tanh(exp(x))``.

Where no factor is 0, infinity is what the derivative is: sqrt(x) alone at 0.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache

import sympy
from sympy import Expr, Mul, Pow, S, Symbol

from graphc.derive.differentiability import interval
from graphc.derive.ranges import range_of, ranges_of_reads
from graphc.ir.node import Equation, Node
from graphc.ir.parts import parts_of_kind, symbols_of
from graphc.ir.scalar import OUT, guarded, log1p, masks_apart, placeholder, scalar_of, where
from graphc.ir.scalar_table import Interval, classes


def careful(slope: Expr, y: Equation) -> Expr:
    """The derivative of the body of y with 0 in the place of 0·∞."""
    if not is_delicate(y.body):
        return slope
    known = ranges_of_reads(y)
    facts = tuple(sorted(((s, r) for s, r in known.items() if s in symbols_of(y.body)), key=lambda f: str(f[0])))
    return _careful(slope, y.body, facts)


def times(slope: Expr, cotangent: Symbol, bar: Node, y: Equation) -> Expr:
    """slope*cotangent, 0 where the cotangent is 0 and the slope infinite; ``bar`` is the node of the cotangent.

    In the slope the operand behind those of y is y itself.
    """
    if y.reducer != "sum" or not is_delicate(y.body) or (isinstance(bar, Equation) and not bar.operands):
        return slope * cotangent
    known = {**ranges_of_reads(y), OUT: range_of(y)}
    factors = Mul.make_args(slope.xreplace({placeholder(len(y.operands)): OUT}))
    kinds = {_kind(f, y.body, known) for f in factors}
    if "steep" in kinds or (kinds & {"pole", "growing"} and _may_be_0_because_of(y, bar)):
        masks, rest = masks_apart(slope)
        return guarded(cotangent, rest * cotangent, S.Zero) * Mul(*masks)
    return slope * cotangent


def _may_be_0_because_of(y: Equation, bar: Node) -> bool:
    """Whether a cotangent holds a choice, or fades with y or with what is computed of it at once."""
    if not isinstance(bar, Equation):
        return False
    near = [bar, *(r.node for r in bar.reads if isinstance(r.node, Equation))]
    fading = [n for n in near if n.body.has(*classes("fades"))]
    return bar.body.has(*classes("chooses")) or any(r.node is y for n in fading for r in n.reads)


@lru_cache(maxsize=4096)
def is_delicate(body: Expr) -> bool:
    """Whether a body holds anything whose derivative may be infinite."""
    if body.has(sympy.log, log1p, *classes("grows"), *classes("steep")):
        return True
    return any(_is_root(p) or p.exp.is_negative for p in parts_of_kind(body, Pow))


def _is_root(p: Expr) -> bool:
    return not p.exp.is_Integer and not p.exp.is_negative


@lru_cache(maxsize=4096)
def _careful(slope: Expr, body: Expr, facts: tuple[tuple[Symbol, Interval], ...]) -> Expr:
    known = dict(facts)
    known[OUT] = interval(body, known)
    return _walk(slope, body, known)


def _walk(e: Expr, body: Expr, known: Mapping[Symbol, Interval]) -> Expr:
    """The products of an expression from the inside out."""
    if e.is_Atom or isinstance(e, where):
        return e
    if e.is_Pow:
        return _at_its_minimum(e, body, known)
    args = [_walk(a, body, known) for a in e.args]
    e = e.func(*args) if any(a is not b for a, b in zip(args, e.args, strict=True)) else e
    return _product(e, body, known) if e.is_Mul else e


def _at_its_minimum(p: Expr, body: Expr, known: Mapping[Symbol, Interval]) -> Expr:
    """u**q  ->  u**q, 0 at u = 0   for q < 0 where the body holds a root of u, and u is nowhere negative."""
    if _kind(p, body, known) != "steep" or interval(_under_the_root(p.base, body), known)[0] < 0:
        return p
    return guarded(p.base, p, S.Zero)


def _under_the_root(u: Expr, body: Expr) -> Expr:
    """v of u = sqrt(v), else u."""
    root = body if u is OUT else u
    return root.base if isinstance(root, Pow) and _is_root(root) else u


def _product(whole: Mul, body: Expr, known: Mapping[Symbol, Interval]) -> Expr:
    masks, e = masks_apart(whole)
    if not e.is_Mul:
        return whole
    kinds = {f: _kind(f, body, known) for f in e.args}
    steep, rest = [f for f in e.args if kinds[f] == "steep"], [f for f in e.args if not kinds[f]]
    zeros = [f for f in rest if _may_vanish(f, known)]
    if not steep:
        harmful = [f for f in e.args if kinds[f]]
        zeros = [f for f in zeros if _vanishes_beside(f.xreplace({OUT: body}), harmful, body)]
    if not zeros:
        return whole
    return guarded(Mul(*zeros), e, S.Zero) * Mul(*masks)


def _vanishes_beside(f: Expr, others: Sequence[Expr], body: Expr) -> bool:
    """Whether a factor is 0 because of what makes another one infinite: [log(x) > -100] beside 1/x, 1 - tanh(exp(x))²
    beside exp(x).  The density beside the 1/Φ(x) of log Φ(x) is not: there the function itself is infinite."""
    if not f.has(*classes("chooses"), *classes("fades")):
        return False
    return any(f.has(*_spellings(g.xreplace({OUT: body}), f)) for g in others)


def _spellings(g: Expr, f: Expr) -> list[Expr]:
    """The functions that are infinite where g is, as they may stand in f: beside 1/u logarithms of u, of u**2, of
    products with u."""
    if isinstance(g, Pow) and g.exp.could_extract_minus_sign():
        u = g.base
        inverses = [p for p in parts_of_kind(f, Pow) if p.base == u and p.exp.could_extract_minus_sign()]
        logs = [h for h in parts_of_kind(f, sympy.log, log1p) if u in Mul.make_args(_squares(_is_the_log_of(h)))]
        return [*logs, *inverses]
    arguments = {e.args[0] for e in parts_of_kind(g, *classes("grows"))}
    return [g, *(h for h in parts_of_kind(f, *classes("grows")) if h.args[0] in arguments)]


def _is_the_log_of(h: Expr) -> Expr:
    """In factors: v of log(v), 1 + v of log1p(v), which is (x - 1)² for v = x*(x - 2)."""
    v = h.args[0] if isinstance(h, sympy.log) else 1 + h.args[0]
    return sympy.factor(v) if v.is_Add and v.is_polynomial(*v.free_symbols) else v


def _may_vanish(f: Expr, known: Mapping[Symbol, Interval]) -> bool:
    if f.is_number:
        return False
    low, high = interval(f, known)
    return not (low > 0 or high < 0)


def _kind(f: Expr, body: Expr, known: Mapping[Symbol, Interval]) -> str:
    """How a factor of a derivative may be infinite: "steep" where the body itself is not, "pole", "growing", or ""."""
    if f.is_Pow and not isinstance(f, sympy.exp):
        return _kind_of_power(f, body, known)
    if isinstance(f, sympy.log):
        raised = any(p.exp.free_symbols and p.base == f.args[0] for p in parts_of_kind(body, Pow))
        return "steep" if raised else "pole"
    if f.is_Add:
        return "growing" if any(_kind(g, body, known) == "growing" for t in f.args for g in Mul.make_args(t)) else ""
    if f is OUT:
        kinds = {_kind(g, body, known) for g in Mul.make_args(body)} if not body.has(OUT) else set()
        return next((kind for kind in ("pole", "growing") if kind in kinds), "")
    entry = scalar_of(f) if isinstance(f, classes("grows")) else None
    return "growing" if entry and interval(f.args[0], known)[1] > entry.finite[1] else ""


def _kind_of_power(f: Pow, body: Expr, known: Mapping[Symbol, Interval]) -> str:
    u, q = f.base, f.exp
    if (u is OUT or isinstance(u, classes("grows"))) and q.is_positive:
        return _kind(u, body, known)
    if q.is_nonnegative or (q.is_number and not q.is_negative):
        return ""
    low, high = interval(u, known)
    if low > 0 or high < 0:
        return ""
    roots = [p for p in parts_of_kind(body, Pow) if _is_root(p)]
    root = (u is OUT and body in roots) or u in roots or any(u in Mul.make_args(_squares(p.base)) for p in roots)
    return "steep" if root or parts_of_kind(body, *classes("steep")) else "pole"


def _squares(u: Expr) -> Expr:
    """The product of the factors of u, without their powers."""
    return Mul(*(f.as_base_exp()[0] for f in Mul.make_args(u)))
