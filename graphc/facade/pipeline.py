"""The stages tied together: from what the user declared to the graph of a model and its derivatives."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import field

from graphc.derive.gradient import adjoints, is_zero
from graphc.ir.build import constant_node
from graphc.ir.node import Equation, Leaf, Node
from graphc.ir.verify import verify
from graphc.ir.walk import topological
from graphc.records import record
from graphc.rewrite.fuse import is_contraction, is_layer
from graphc.rewrite.normal import Applied, normalise, tidy_graph


@record
class Graph:
    """Normal forms of the roots of a model: output, loss, metrics, under their names."""

    roots: dict[str, Node]
    new: dict[Node, Node]
    applied: list[Applied]


@record
class Differentiated:
    """A loss with its derivatives, everything in normal form.

    ``gradients`` gives dJ/dw of every parameter, ``adjoints`` dJ/dZ of every pre-activation Z when asked for;
    ``roots`` are those of the graph the derivatives belong to, ``random`` the numbers of its random tensors.
    """

    loss: Node
    gradients: dict[Leaf, Node]
    adjoints: dict[Node, Node]
    roots: dict[str, Node]
    applied: list[Applied] = field(default_factory=list)
    random: Mapping[Leaf, int] = field(default_factory=dict)


def read_graph(roots: Mapping[str, Node]) -> Graph:
    """Normal form of what the user declared; named tensors stay equations of their own."""
    named = [n for n in topological(roots.values()) if isinstance(n, Equation) and n.name]
    result = normalise(roots.values(), named)
    verify(result.roots)
    return Graph(dict(zip(roots, result.roots, strict=True)), result.new, result.applied)


def differentiate(graph: Graph, loss: str, params: Sequence[Leaf], deltas: bool = False) -> Differentiated:
    """The gradient of a root with respect to parameters, by reverse accumulation, tidied.

    With ``deltas`` the adjoints of the pre-activations stay equations of their own, as in a derivation by hand;
    without, fusion is free to absorb them.
    """
    node = graph.roots[loss]
    bars = adjoints(node, params)
    forward = list(graph.roots.values())
    order = [n for n in topological(forward) if isinstance(n, Equation)]
    layers = [v for v in pre_activations(order) if v in bars and not is_zero(bars[v])] if deltas else []
    gradients = {w: bars.get(w) or constant_node(0, w.shape) for w in params}
    result = tidy_graph([*forward, *gradients.values(), *(bars[v] for v in layers)], order)
    verify(result.roots)
    new = result.new

    def now(n: Node) -> Node:
        return new.get(n, n)

    return Differentiated(
        loss=now(node),
        gradients={w: now(bar) for w, bar in gradients.items()},
        adjoints={now(v): now(bars[v]) for v in layers},
        roots={name: now(root) for name, root in graph.roots.items()},
        applied=list(result.applied),
    )


def pre_activations(order: Sequence[Equation]) -> list[Equation]:
    """The equations Z = sum_k X W + b of a graph: what adds to a contraction, or the contraction when nothing does."""
    layers = [n for n in order if is_layer(n)]
    inside = {r.node for n in layers for r in n.reads}
    return [n for n in order if n in layers or (is_contraction(n) and n not in inside)]
