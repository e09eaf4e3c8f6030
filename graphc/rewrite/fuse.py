"""Fusion for reading: elementwise producers go into their one consumer, so that an equation reads as on paper.

    H = a0*s; s = 1 - t**2   ->   H = a0*(1 - t**2)        when s has one consumer and is computed once per element

What stays an equation of its own: a named node, a pre-activation (a contraction plus parameters), and everything whose
inlining would compute an element more than once.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from functools import lru_cache

import sympy

from graphc.ir.affine import Extent, indices
from graphc.ir.build import inline
from graphc.ir.node import Equation, Leaf, Node, Operand, Read
from graphc.ir.parts import parts_of_kind, symbols_of
from graphc.ir.scalar import cost, equal, is_complex, less, less_equal, placeholder, placeholders
from graphc.ir.walk import annotate, consumers, rebuild, topological, with_sources
from graphc.rewrite.norms import divides_by_norm

CHEAP = 2  # an addition or a product: cheaper to compute again than to store


def fuse(roots: Iterable[Node], keep: Collection[Node] = ()) -> dict[Node, Node]:
    """Fuse the graph of ``roots``; returns old node -> new node.  Nodes in ``keep`` stay nodes of their own."""
    roots = list(roots)
    count = consumers(roots)
    new: dict[Node, Node] = {}
    origin: dict[Node, Node] = {}
    kept = set(keep)
    for node in topological(roots):
        moved = with_sources(node, new)
        if not isinstance(node, Equation):
            new[node] = moved
            continue
        fused = _fuse_into(moved, count, origin, kept) if isinstance(moved, Equation) else moved
        new[node] = annotate(fused, node)
        origin.setdefault(new[node], node)
        if node in kept:
            kept.add(new[node])
    return new


def _fuse_into(y: Equation, count: Mapping[Node, int], origin: Mapping[Node, Node], kept: Collection[Node]) -> Node:
    body, operands = y.body, list(y.operands)
    j = 0
    while j < len(operands):
        op = operands[j]
        if isinstance(op, Read) and placeholder(j) in symbols_of(body) and op.node not in kept:
            single = count.get(origin.get(op.node, op.node), 1) == 1 and _reads_once(body, operands, op.node)
            if not compares(y, body, operands, j) and should_inline(y, body, j, op, single):
                fused = inline(body, operands, j, y.extents)
                body = body if is_complex(fused) else fused
        j += 1
    return y if body is y.body else rebuild(y, operands, body)


def _reads_once(body: sympy.Expr, operands: Sequence[Operand], node: Node) -> bool:
    """True when a node is read at one place alone: inlined at several it would be computed at each of them, and what it
    reads at each of those, and so on down a chain of stencils."""
    places = [j for j, op in enumerate(operands) if isinstance(op, Read) and op.node is node]
    return sum(placeholder(j) in symbols_of(body) for j in places) == 1


def should_inline(y: Equation, body: sympy.Expr, j: int, op: Operand, single: bool) -> bool:
    """Whether the producer that operand j reads belongs into the body of y."""
    if not isinstance(op, Read) or not isinstance(op.node, Equation) or not op.node.elementwise or y.dense:
        return False
    producer = op.node
    if _repeats(y, op) and not _trivial(producer) and not divides_by_norm(producer):
        return False
    if is_contraction(y) and y.n_free and not _is_multiple(producer):
        return False
    if is_layer(producer) and not _is_multiple(producer):
        grows = y.elementwise and is_linear_in(body, j) and _only_adds_parameters(y, j) and not _is_multiple(y)
        return single and grows
    return single or _trivial(producer) or divides_by_norm(producer)


def compares(y: Equation, body: sympy.Expr, operands: Sequence[Operand], j: int) -> bool:
    """True when operand j decides a maximum or is compared with one: it stays a stored value, because a copy computed
    in another order may differ in its last bit."""
    if y.reducer in ("max", "min"):
        return True
    others = [operands[i] for i in _compared_with(body, j)]
    return any(isinstance(op, Read) and getattr(op.node, "reducer", "") in ("max", "min") for op in others)


@lru_cache(maxsize=4096)
def _compared_with(body: sympy.Expr, j: int) -> tuple[int, ...]:
    """The operands in comparisons of operand j."""
    a = placeholder(j)
    tests = [t for t in parts_of_kind(body, equal, less, less_equal) if a in symbols_of(t)]
    return tuple(i for t in tests for i in placeholders(t))


def _is_multiple(producer: Equation) -> bool:
    """c*a0 with a number c: a contraction stays one when such a producer goes into it."""
    return len(producer.operands) == 1 and not producer.masks and (producer.body / placeholder(0)).is_number is True


def _trivial(producer: Equation) -> bool:
    """One cheap operation on one read."""
    return len(producer.operands) <= 1 and cost(producer.body) <= CHEAP and not producer.masks


def _repeats(y: Equation, op: Read) -> bool:
    """True when some index of y does not occur in the read: its elements would be computed again for each value."""
    used = set().union(*(indices(a) for a in op.at)) if op.at else set()
    return any(i not in used and extent_is_long(e) for i, e in enumerate(y.extents))


def extent_is_long(extent: Extent) -> bool:
    """True when an index over the extent takes more than one value."""
    return extent != 1


def is_contraction(node: Node) -> bool:
    """sum over bound indices of a product of at least two reads: the case for a matrix product."""
    if not isinstance(node, Equation) or node.reducer != "sum" or node.elementwise:
        return False
    factors = sympy.Mul.make_args(node.body)
    reads = [f for f in factors if f.is_Symbol and f.name.startswith("a")]
    return len(reads) >= 2 and all(f in reads or f.is_number or not _has_placeholder(f) for f in factors)


def _has_placeholder(e: sympy.Expr) -> bool:
    return any(s.name.startswith("a") for s in symbols_of(e))


def is_layer(node: Node) -> bool:
    """True for what adds parameters to a contraction: Z = sum_k X W + b, the pre-activation of a layer."""
    if not isinstance(node, Equation) or not node.elementwise:
        return False
    return any(
        isinstance(op, Read)
        and is_contraction(op.node)
        and is_linear_in(node.body, j)
        and _only_adds_parameters(node, j)
        for j, op in enumerate(node.operands)
    )


def _only_adds_parameters(y: Equation, j: int) -> bool:
    """True when all operands but a_j are parameters, constants or contractions: data are not part of a layer."""
    others = [op for t, op in enumerate(y.operands) if t != j]
    return all(isinstance(op, Read) and (_is_parameter(op.node) or is_contraction(op.node)) for op in others)


def _is_parameter(node: Node) -> bool:
    return isinstance(node, Leaf) and node.kind != "input"


def is_linear_in(body: sympy.Expr, j: int) -> bool:
    """True when the body is a sum with the read j, times a number, as one of its terms."""
    a = placeholder(j)
    with_a = [t for t in sympy.Add.make_args(body) if t.has(a)]
    return len(with_a) == 1 and (with_a[0] / a).is_number
