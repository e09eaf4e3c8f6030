"""From what the user wrote, operation by operation, to equations as on paper: the normal form.

fuse       elementwise producers into their consumer
expose     look through a producer when that lets a stable form appear:  log(p), p = sigmoid(z)
log-sum    sum_k exp(u)  ->  exp(logsumexp_k u), for consumers that take its logarithm, divide by it, take its root
stabilise  scalar rules on every body
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import field
from functools import lru_cache
from weakref import WeakKeyDictionary

import sympy

from graphc.ir.affine import identity, indices
from graphc.ir.build import constant_node, equation, inline
from graphc.ir.node import Equation, Node, Origin, Read
from graphc.ir.parts import parts_of_kind, symbols_of
from graphc.ir.scalar import cost, is_complex, log1p, maximum, minimum, placeholder, placeholder_index
from graphc.ir.walk import annotate, rebuild, transform
from graphc.records import record
from graphc.rewrite.fuse import compares, fuse, is_layer
from graphc.rewrite.stable import stabilise, tidy

_normal: WeakKeyDictionary[Node, Node] = WeakKeyDictionary()


@record
class Applied:
    """One rewriting: the rule, the body before and after, why, and where."""

    rule: str
    before: sympy.Expr
    after: sympy.Expr
    why: str
    origin: Origin | None


@record
class Normal:
    """A rewritten graph: new nodes of the roots, the map from old to new nodes, and the rules that fired."""

    roots: list[Node]
    new: dict[Node, Node]
    applied: list[Applied] = field(default_factory=list)

    def then(self, step: dict[Node, Node]) -> None:
        """Compose with one more rewriting."""
        self.roots = [step.get(r, r) for r in self.roots]
        self.new = {old: step.get(now, now) for old, now in self.new.items()} | {
            now: after for now, after in step.items() if now not in self.new
        }


def normalise(roots: Iterable[Node], keep: Collection[Node] = ()) -> Normal:
    """Bring a graph to normal form; nodes in ``keep`` (the named ones) stay equations of their own."""
    roots = list(roots)
    result = Normal(roots, {r: r for r in roots})
    kept = set(keep)
    for _ in range(4):
        before = list(result.roots)
        step = fuse(result.roots, kept)
        result.then(step)
        kept |= {step[k] for k in kept if k in step}
        step = _stable_step(result.roots, result.applied)
        result.then(step)
        kept |= {step[k] for k in kept if k in step}
        if all(a is b for a, b in zip(before, result.roots, strict=True)):
            break
    return result


def normal_form(node: Node) -> Node:
    """The canonical equation of a node: the same for every way of writing it."""
    found = _normal.get(node)
    if found is None:
        found = normalise([node]).roots[0]
        _normal[node] = found
    return found


def tidy_graph(roots: Iterable[Node], keep: Collection[Node] = ()) -> Normal:
    """Clean up after differentiation: factor and cancel the bodies, then fuse."""
    roots = list(roots)
    result = Normal(roots, {r: r for r in roots})
    kept = set(keep)
    for _ in range(3):
        before = list(result.roots)
        for step in (fuse(result.roots, kept), None):
            step = step or transform(result.roots, _tidy_step)
            result.then(step)
            kept |= {step[k] for k in kept if k in step}
        if all(a is b for a, b in zip(before, result.roots, strict=True)):
            break
    return result


def _tidy_step(y: Equation) -> Node:
    body = tidy(y.body)
    return y if body == y.body else rebuild(y, list(y.operands), body)


def _stable_step(roots: list[Node], applied: list[Applied]) -> dict[Node, Node]:
    def step(y: Equation) -> Node:
        logged = _in_logarithms(y)
        if logged is not y:
            applied.append(Applied("log_sum_exp", y.body, logged.body, _LSE_WHY, y.origin))
        exposed = _expose(logged)
        body, fired = stabilise(exposed.body)
        applied.extend(Applied(f.name, f.before, f.after, f.why, y.origin) for f in fired)
        if body != exposed.body:
            exposed = rebuild(exposed, list(exposed.operands), body)
        return exposed

    return transform(roots, step)


_LSE_WHY = "sum_k exp(u_k) overflows for u_k > 88 (float32); its logarithm does not"


def _in_logarithms(y: Equation) -> Equation:
    """y with exp(logsumexp) in the place of the sums of exponentials whose logarithm, inverse or root it takes.

    A term that takes none keeps the sum: there an element that overflows is no matter of the others.
    """
    body, operands = y.body, list(y.operands)
    for j, op in enumerate(y.operands):
        within = _where_it_gains(body, placeholder(j), placeholder(len(operands))) if isinstance(op, Read) else body
        if isinstance(op, Read) and within != body:
            grown = _sum_of_exponentials(op.node)
            if grown is not None:
                operands.append(Read(grown, op.at))
                body = inline(within, operands, len(operands) - 1, y.extents)
    made = y if body is y.body else rebuild(y, operands, body)
    return made if isinstance(made, Equation) else y


def _where_it_gains(e: sympy.Expr, a: sympy.Symbol, b: sympy.Symbol) -> sympy.Expr:
    """e with b for a in the terms and choices that take the logarithm, the inverse or a root of a, or multiply it with
    an exponential."""
    with_a = [x for x in e.args if x.has(a)]
    if isinstance(e, (sympy.Add, maximum, minimum)) or (e.is_Mul and len(with_a) == 1):
        return e.func(*(_where_it_gains(x, a, b) for x in e.args))
    return e.xreplace({a: b}) if e.has(a) and _gains(e, a) else e


@lru_cache(maxsize=4096)
def _gains(body: sympy.Expr, a: sympy.Symbol) -> bool:
    inside = [*body.atoms(sympy.log, log1p), *(p.base for p in body.atoms(sympy.Pow) if not p.exp.is_nonnegative
                                               or not p.exp.is_Integer)]  # fmt: skip
    scaled = any(a in m.args and m.atoms(sympy.exp) for m in body.atoms(sympy.Mul))
    return scaled or any(e.has(a) for e in inside)


def _expose(y: Equation) -> Equation:
    """Look through producers with exponentials when the stable form is cheaper or has fewer logarithms."""
    best = y
    for op in y.operands:
        if isinstance(op, Read) and _may_expose(y, op.node):
            operands = list(best.operands)
            at = next((i for i, o in enumerate(operands) if o == op), None)
            if at is None or compares(best, best.body, operands, at):
                continue
            body = inline(best.body, operands, at, y.extents)
            if not is_complex(body) and _better(best.body.xreplace({}), body, at):
                made = rebuild(best, operands, body)
                best = made if isinstance(made, Equation) else best
    return best


_GROWING = (sympy.exp, sympy.cosh, sympy.tanh)


def _may_expose(y: Equation, producer: Node) -> bool:
    if not isinstance(producer, Equation) or not producer.elementwise or producer.masks:
        return False
    names = {f.func.__name__ for f in parts_of_kind(producer.body, sympy.Function)}
    return bool(names & {"exp", "sigmoid", "cosh", "sinh", "tanh"}) and not is_layer(producer)


def _better(old: sympy.Expr, exposed: sympy.Expr, j: int) -> bool:
    """True when looking through pays: the logarithm or the quotient of the producer vanishes."""
    after, _ = stabilise(exposed)
    return _hazards(after) < _hazards(old) or (_quotient(old, j) and cost(after) <= cost(old) + 20)


@lru_cache(maxsize=4096)
def _hazards(e: sympy.Expr) -> int:
    """Logarithms and divisions by a read: where rounding or overflow of a producer hurts."""
    logs = len(e.atoms(sympy.log, log1p))
    poles = sum(1 for p in e.atoms(sympy.Pow) if p.exp.is_negative and _reads(p.base))
    return 4 * logs + poles


def _reads(e: sympy.Expr) -> bool:
    return any(placeholder_index(s) is not None for s in symbols_of(e))


def _quotient(e: sympy.Expr, j: int) -> bool:
    a = placeholder(j)
    return any(p.exp.is_negative and p.base == a for p in e.atoms(sympy.Pow))


def _sum_of_exponentials(y: Node) -> Equation | None:
    """sum_k exp(u_ik + m_i)  ->  exp(logsumexp_k(u_ik) + m_i)        and likewise with a constant factor."""
    if not isinstance(y, Equation) or y.reducer != "sum" or y.elementwise:
        return None
    exposed = _expose_exponential(y)
    factor, power = exposed.body.as_independent(sympy.exp, as_Add=False)
    if not isinstance(power, sympy.exp) or _reads(factor):
        return None
    outer, inner = _split(exposed, power.args[0])
    total = equation(exposed.extents, y.n_free, "logsumexp", inner, exposed.operands, exposed.masks)
    operands = [*exposed.operands, Read(total, identity(y.n_free))]
    body = factor * sympy.exp(placeholder(len(exposed.operands)) + outer)
    grown = annotate(equation(y.shape, y.n_free, "sum", body, operands), y)
    return grown if isinstance(grown, Equation) else None


def _expose_exponential(y: Equation) -> Equation:
    j = placeholder_index(y.body)
    if j is None:
        return y
    read = y.operands[j]
    producer = read.node if isinstance(read, Read) else None
    inner = _sum_of_exponentials(producer) if isinstance(read, Read) and producer is not None else None
    if isinstance(read, Read) and inner is not None:
        read, producer = Read(inner, read.at), inner
    if not isinstance(producer, Equation) or not producer.elementwise or not isinstance(producer.body, sympy.exp):
        return y
    operands = list(y.operands)
    operands[j] = read
    made = rebuild(y, operands, inline(y.body, operands, j, y.extents))
    return made if isinstance(made, Equation) else y


def _split(y: Equation, exponent: sympy.Expr) -> tuple[sympy.Expr, sympy.Expr]:
    """The terms of the exponent that no bound index reaches, and the others."""
    fixed = {
        placeholder(j)
        for j, op in enumerate(y.operands)
        if isinstance(op, Read) and not any(i >= y.n_free for a in op.at for i in indices(a))
    }
    outer, inner = [], []
    for term in sympy.Add.make_args(exponent):
        reads = {s for s in symbols_of(term) if placeholder_index(s) is not None}
        (outer if reads and reads <= fixed else inner).append(term)
    return sympy.Add(*outer), sympy.Add(*inner)


def zero(shape: tuple) -> Node:
    """The constant 0 of a shape."""
    return constant_node(0, shape)
