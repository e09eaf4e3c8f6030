"""Reverse and forward accumulation over the graph, and what is made of them: Hessian, Jacobian, Hessian-vector product.

Everything here returns ordinary nodes, so derivatives of any order come by applying the same functions again.
"""

from __future__ import annotations

from collections.abc import Sequence

import sympy

from graphc.derive.adding import add_nodes, is_zero
from graphc.derive.pullback import pullback, pushforward
from graphc.derive.scans import pullback_scan, pushforward_scan
from graphc.ir.affine import Extent, identity, index
from graphc.ir.build import constant_node, equation
from graphc.ir.node import Equation, Mask, Node, Read, extent_symbol
from graphc.ir.scalar import placeholder
from graphc.ir.scan import Scan, Unrolled
from graphc.ir.walk import scans_whole, sources


def adjoints(y: Node, wrt: Sequence[Node], seed: Node | None = None, lead: tuple[Extent, ...] = ()) -> dict[Node, Node]:
    """Reverse accumulation: the cotangent dy/dv of every node v between ``wrt`` and y (y itself included).

    ``seed`` is the cotangent of y, by default 1 everywhere; with ``lead`` it is a stack of cotangents.
    Nodes that y does not depend on are absent.
    """
    order = scans_whole([y])
    active = _depends_on(order, set(wrt))
    parts: dict[Node, list[Node]] = {y: [seed if seed is not None else constant_node(1, y.shape)]}
    result: dict[Node, Node] = {}
    scans = {node.scan: node for node in reversed(order) if isinstance(node, Unrolled)}
    waiting: dict[Scan, dict[Node, Node]] = {}
    for node in reversed(order):
        bar = add_nodes(parts.pop(node, [])) if node in active else None
        if bar is not None:
            result[node] = bar
        if isinstance(node, Unrolled):
            known = waiting.setdefault(node.scan, {})
            known |= {} if bar is None else {node.of: bar}
            if scans[node.scan] is node and known:
                for source, part in pullback_scan(node.scan, known, active, lead).items():
                    parts.setdefault(source, []).append(part)
        elif bar is not None and isinstance(node, Equation):
            for j, op in enumerate(node.operands):
                if isinstance(op, Read) and op.node in active:
                    parts.setdefault(op.node, []).append(pullback(node, bar, j, lead))
    return result


def _depends_on(order: Sequence[Node], wrt: set[Node]) -> set[Node]:
    active: set[Node] = set()
    for node in order:
        if node in wrt or any(s in active for s in sources(node)):
            active.add(node)
    return active


def gradient(y: Node, wrt: Sequence[Node], seed: Node | None = None) -> list[Node]:
    """dy/dw for every w in ``wrt`` (zero where y does not depend on it)."""
    bars = adjoints(y, wrt, seed)
    return [bars.get(w) or constant_node(0, w.shape) for w in wrt]


def tangent(y: Node, tangents: dict[Node, Node]) -> Node:
    """Forward accumulation: the directional derivative of y, given tangents of some nodes."""
    dots, order = dict(tangents), scans_whole([y])
    for node in order:
        if isinstance(node, Unrolled) and node not in dots:
            together = [n for n in order if isinstance(n, Unrolled) and n.scan is node.scan]
            found = pushforward_scan(node.scan, [n.of for n in together], dots)
            dots |= {n: found[n.of] for n in together if n.of in found and n not in dots}
        elif isinstance(node, Equation) and node not in dots:
            dot = pushforward(node, dots)
            if dot is not None and not is_zero(dot):
                dots[node] = dot
    return dots.get(y) or constant_node(0, y.shape)


def inner_product(a: Sequence[Node], b: Sequence[Node]) -> Node:
    """sum of all products of elements."""
    parts = []
    for x, y in zip(a, b, strict=True):
        at = identity(x.rank)
        parts.append(equation(x.shape, 0, "sum", placeholder(0) * placeholder(1), [Read(x, at), Read(y, at)]))
    return add_nodes(parts) or constant_node(0)


def hessian_vector(y: Node, wrt: Sequence[Node], vectors: Sequence[Node]) -> list[Node]:
    """H v by reverse over reverse: the gradient of <grad y, v>."""
    return gradient(inner_product(gradient(y, wrt), vectors), wrt)


def jacobian(y: Node, x: Node) -> Node:
    """out[i.., p..] = dy[i..]/dx[p..]: the pullback of a one-hot cotangent for every element of y."""
    n = y.rank
    one_hot = [Mask("eq", index(t) - index(n + t)) for t in range(n)]
    seed = equation(y.shape + y.shape, 2 * n, "sum", sympy.Integer(1), [], one_hot)
    bars = adjoints(y, [x], seed, y.shape)
    return bars.get(x) or constant_node(0, y.shape + x.shape)


def mean_divisor(node: Node) -> sympy.Expr:
    """The number of elements of a node, as it stands in a body."""
    return sympy.Mul(*[extent_symbol(e) for e in node.shape])
