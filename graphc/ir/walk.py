"""Walking the graph: topological order, consumers, rebuilding."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from sympy import Expr

from graphc.ir.affine import gathers, replace_nodes
from graphc.ir.build import equation
from graphc.ir.contract import map_operand
from graphc.ir.node import Equation, Leaf, Mask, Node, Operand, Read, free_sizes, operand_maps


def sources(node: Node) -> list[Node]:
    """The nodes that an equation reads, gathered labels included, each once and in order."""
    if not isinstance(node, Equation):
        return []
    found = [op.node for op in node.reads]
    maps = [m for op in node.operands for m in operand_maps(op)] + [m.map for m in node.masks]
    found += [g.node for m in maps for g in gathers(m)]
    return list(dict.fromkeys(found))


def topological(roots: Iterable[Node]) -> list[Node]:
    """Every node that the roots need, each after what it reads."""
    seen: set[Node] = set()
    order: list[Node] = []
    stack = [(root, False) for root in reversed(list(roots))]
    while stack:
        node, done = stack.pop()
        if done:
            order.append(node)
        elif node not in seen:
            seen.add(node)
            stack.append((node, True))
            stack += [(s, False) for s in reversed(sources(node))]
    return order


def consumers(roots: Iterable[Node]) -> dict[Node, int]:
    """How many equations read a node; being a root counts once."""
    roots = list(roots)
    count = dict.fromkeys(roots, 1)
    for node in topological(roots):
        for s in sources(node):
            count[s] = count.get(s, 0) + 1
    return count


def equations(roots: Iterable[Node]) -> list[Equation]:
    """The equations that the roots need, each after what it reads."""
    return [n for n in topological(roots) if isinstance(n, Equation)]


def leaves(roots: Iterable[Node]) -> list[Leaf]:
    """The leaves that the roots need, in order of declaration."""
    return sorted((n for n in topological(roots) if isinstance(n, Leaf)), key=lambda n: n.serial)


def with_sources(node: Equation, new: Mapping[Node, Node]) -> Node:
    """The equation with other nodes in place of those it reads."""
    if all(new.get(s, s) is s for s in sources(node)):
        return node
    return rebuild(node, [replace_operand(op, new) for op in node.operands])


def replace_operand(op: Operand, new: Mapping[Node, Node]) -> Operand:
    """The operand reading other nodes."""
    moved = map_operand(op, lambda m: replace_nodes(m, lambda n: new.get(n, n)))
    return Read(new.get(moved.node, moved.node), moved.at) if isinstance(moved, Read) else moved


def rebuild(node: Equation, operands: list[Operand], body: Expr | None = None, masks: list[Mask] | None = None) -> Node:
    """The equation with other operands, body or masks."""
    body = node.body if body is None else body
    masks = list(node.masks) if masks is None else masks
    made = equation(node.extents, node.n_free, node.reducer, body, operands, masks)
    return annotate(made, node)


def annotate(made: Node, old: Node) -> Node:
    """Carry the name and the source line of a node over to the one that takes its place."""
    if isinstance(made, Equation):
        made.origin = made.origin or old.origin
        made.name = made.name or old.name
    return made


def transform(roots: Iterable[Node], step: Callable[[Equation], Node]) -> dict[Node, Node]:
    """Rebuild the graph bottom-up: every equation, its sources replaced, goes through ``step``."""
    new: dict[Node, Node] = {}
    for node in topological(roots):
        if isinstance(node, Equation):
            moved = with_sources(node, new)
            new[node] = annotate(step(moved), node) if isinstance(moved, Equation) else moved
        else:
            new[node] = node
    return new


def free_extents(roots: Iterable[Node]) -> set[str]:
    """Names of the free extents whose sizes computing the roots takes."""
    found: set[str] = set()
    for node in topological(roots):
        found |= {e for e in (node.extents if isinstance(node, Equation) else node.shape) if isinstance(e, str)}
        found |= free_sizes(node) if isinstance(node, Equation) else set()
    return found


def replace(roots: Iterable[Node], swap: Mapping[Node, Node]) -> list[Node]:
    """The roots with some nodes replaced everywhere."""
    roots = list(roots)
    new: dict[Node, Node] = {}
    for node in topological(roots):
        new[node] = swap[node] if node in swap else with_sources(node, new) if isinstance(node, Equation) else node
    return [new[r] for r in roots]
