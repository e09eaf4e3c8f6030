"""A whole tiny graph as scalar expressions, one for every element: what SymPy can differentiate on its own."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence

import numpy as np
import sympy as sp

from graphc.ir.affine import Affine
from graphc.ir.node import Equation, Indicator, Leaf, Mask, Node, Operand, Read
from graphc.ir.scalar import placeholder
from graphc.ir.walk import topological

Elements = Mapping[tuple[int, ...], sp.Expr]
ON_PAPER = {
    "sigmoid": lambda z: 1 / (1 + sp.exp(-z)),
    "softplus": lambda z: sp.log(1 + sp.exp(z)),
    "bce": lambda z, t: sp.log(1 + sp.exp(z)) - t * z,
    "sigmoid_minus": lambda z, t: 1 / (1 + sp.exp(-z)) - t,
}


def expand(roots: Sequence[Node], sizes: Mapping[str, int]) -> tuple[list[dict], dict[Node, dict]]:
    """The elements of every root over the symbols ``W_0_1`` of the leaves; and those of all nodes."""
    values: dict[Node, dict] = {}
    for node in topological(roots):
        shape = [range(e if isinstance(e, int) else sizes[e]) for e in node.shape]
        at = itertools.product(*shape)
        values[node] = {i: _leaf(node, i) if isinstance(node, Leaf) else _element(node, i, values, sizes) for i in at}
    return [values[r] for r in roots], values


def _leaf(leaf: Leaf, at: tuple[int, ...]) -> sp.Symbol:
    return sp.Symbol("_".join([str(leaf.name), *map(str, at)]), real=True)


def _element(y: Node, at: tuple[int, ...], values: Mapping[Node, Elements], sizes: Mapping[str, int]) -> sp.Expr:
    assert isinstance(y, Equation)
    bound = [range(e if isinstance(e, int) else sizes[e]) for e in y.bound]
    terms = []
    for inner in itertools.product(*bound):
        place = at + inner
        if all(_holds(m, place) for m in y.masks):
            names = {placeholder(j): _operand(op, place, values) for j, op in enumerate(y.operands)}
            names |= {sp.Symbol(n, positive=True, integer=True): sp.Integer(s) for n, s in sizes.items()}
            terms.append(_on_paper(y.body.xreplace(names)))
    if y.reducer == "logsumexp":
        return sp.log(sp.Add(*map(sp.exp, terms)))
    return {"sum": sp.Add, "prod": sp.Mul, "max": sp.Max, "min": sp.Min}[y.reducer](*terms)


def _on_paper(e: sp.Expr) -> sp.Expr:
    return e.replace(lambda f: f.func.__name__ in ON_PAPER, lambda f: ON_PAPER[f.func.__name__](*f.args))


def _operand(op: Operand, place: tuple[int, ...], values: Mapping[Node, Elements]) -> sp.Expr:
    if isinstance(op, Read):
        return values[op.node][tuple(_map(a, place) for a in op.at)]
    return sp.Integer(int(_holds(op.mask, place)) if isinstance(op, Indicator) else _map(op.map, place))


def _map(x: Affine, place: tuple[int, ...]) -> int:
    return x.const + sum(coef * place[int(atom)] for atom, coef in x.terms)  # plain indices only


def _holds(mask: Mask, place: tuple[int, ...]) -> bool:
    x = _map(mask.map, place)
    return bool({"ge": x >= 0, "eq": x == 0, "ne": x != 0, "divides": x % max(mask.modulus, 1) == 0}[mask.kind])


def same_function(a: sp.Expr, b: sp.Expr) -> bool:
    """Whether a - b is identically 0: a rational function of symbols, tanh and exp, tested in exact arithmetic.

    Every tanh and every exp becomes a symbol of its own, the innermost first; a rational function that vanishes at two
    random points is 0 (Schwartz 1980), and no rounding is involved.
    """
    gap, rng = a - b, np.random.default_rng(0)
    while functions := {f for f in gap.atoms(sp.tanh, sp.exp) if not f.args[0].has(sp.tanh, sp.exp)}:
        gap = gap.xreplace({f: _named(f) for f in functions})
    symbols = sorted(gap.free_symbols, key=sp.default_sort_key)
    draws = rng.integers(1, 10**6, (2, len(symbols)))
    return all(gap.xreplace({s: sp.Rational(int(n), 9973) for s, n in zip(symbols, point)}) == 0 for point in draws)


def _named(f: sp.Expr) -> sp.Expr:
    """tanh(u) -> a symbol, exp(c*u + log(s)) -> e**c * s with a symbol e for exp(u)."""
    argument = sp.expand(f.args[0])
    if isinstance(f, sp.tanh):
        return sp.Symbol(f"tanh({argument})")
    out = sp.Integer(1)
    for term in sp.Add.make_args(argument):
        c, u = term.as_coeff_Mul()
        out *= (u.args[0] if isinstance(u, sp.log) else sp.Symbol(f"exp({u})")) ** c
    return out
