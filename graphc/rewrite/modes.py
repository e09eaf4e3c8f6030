"""Training and evaluation: what a declaration means in either.

    in training     random leaves are drawn, the phase is 1
    otherwise       random leaves are their means, the phase is 0, so that what depends on it is decided
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence

from sympy import Expr, Symbol

from graphc.ir.build import constant_node
from graphc.ir.node import Distribution, Equation, Leaf, Node, Read
from graphc.ir.scalar import number, placeholder
from graphc.ir.walk import leaves, rebuild, replace_operand, topological, with_sources


def has_modes(roots: Iterable[Node]) -> bool:
    """Whether training means something else than evaluation."""
    return any(leaf.kind in ("random", "phase") for leaf in leaves(roots))


def in_mode(roots: Sequence[Node], training: bool, keep: Collection[Node] = ()) -> list[Node]:
    """The roots as they are in training, or otherwise, where random leaves in ``keep`` stay what they are."""
    if not has_modes(roots):
        return list(roots)
    new: dict[Node, Node] = {}
    for node in topological(roots):
        if not isinstance(node, Leaf):
            new[node] = _decided(node, new, training)
        else:
            new[node] = node if training or node in keep else _mean(node)
    return [new[root] for root in roots]


def _decided(node: Node, new: Mapping[Node, Node], training: bool) -> Node:
    """The node with other sources and the number of its phase in the body, which chooses what is read on.

    Both at once: of means alone, what the phase chooses among would be a number, and a node of its own.
    """
    phases = _phases(node, training)
    if not phases:
        return with_sources(node, new)
    assert isinstance(node, Equation)
    return rebuild(node, [replace_operand(op, new) for op in node.operands], node.body.xreplace(phases))


def _phases(node: Node, training: bool) -> dict[Symbol, Expr]:
    operands = node.operands if isinstance(node, Equation) else ()
    return {placeholder(j): number(training) for j, op in enumerate(operands) if _reads_phase(op)}


def _reads_phase(operand: object) -> bool:
    return isinstance(operand, Read) and isinstance(operand.node, Leaf) and operand.node.kind == "phase"


def _mean(node: Node) -> Node:
    if isinstance(node, Leaf) and isinstance(node.value, Distribution):
        return constant_node(number(node.value.mean), node.shape)
    return node


def random_leaves(roots: Iterable[Node]) -> list[Leaf]:
    """The random leaves that the roots need, in order of declaration: their places are their numbers."""
    return [leaf for leaf in leaves(roots) if leaf.kind == "random"]


def with_updates(roots: Iterable[Node]) -> dict[Leaf, Node]:
    """The states that the roots read, and those that their updates read, with their updates."""
    found: dict[Leaf, Node] = {}
    wanted = list(roots)
    while wanted:
        states = [leaf for leaf in leaves(wanted) if leaf.update is not None and leaf not in found]
        found |= {leaf: leaf.update for leaf in states if leaf.update is not None}
        wanted = [found[leaf] for leaf in states]
    return dict(sorted(found.items(), key=lambda item: item[0].serial))
