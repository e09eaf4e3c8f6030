"""Walking the graph: topological order, consumers, rebuilding."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from sympy import Expr

from graphc.ir.affine import replace_nodes
from graphc.ir.build import equation
from graphc.ir.contract import map_operand
from graphc.ir.node import Equation, Leaf, Mask, Node, Operand, Read, free_sizes
from graphc.ir.scan import Carry, Scan, Slice, Unrolled, scan_of, unrolled


def sources(node: Node) -> tuple[Node, ...]:
    """The nodes that an equation reads, gathered labels included, each once and in order; those of its steps of what is
    unrolled."""
    if isinstance(node, Equation):
        return node.sources
    if isinstance(node, Unrolled):
        return tuple(dict.fromkeys([*node.scan.leaves, *node.scan.outside, *node.scan.nexts, node.of]))
    return ()


def topological(roots: Iterable[Node], reads: Callable[[Node], Iterable[Node]] = sources) -> list[Node]:
    """Every node that the roots need, each after what it reads."""
    done: dict[Node, bool] = {}  # False while what a node reads is on the stack above it
    order: list[Node] = []
    stack = [*reversed([*roots])]
    while stack:
        node = stack[-1]
        if node not in done:
            done[node] = False
            read = node.sources if reads is sources and type(node) is Equation else tuple(reads(node))
            stack += [s for s in reversed(read) if s not in done]
            continue
        stack.pop()
        if not done[node]:
            done[node] = True
            order.append(node)
    return order


def scans_whole(roots: Iterable[Node]) -> list[Node]:
    """Every node that the roots need, after what it reads; what is unrolled of a scan after all that the scan reads."""
    found = [node for node in topological(roots) if isinstance(node, Unrolled)]
    together: dict[Scan, list[Node]] = {}
    for node in found:
        together.setdefault(node.scan, []).extend(sources(node))
    return topological(roots, lambda node: dict.fromkeys(together[node.scan]) if isinstance(node, Unrolled)
                       else sources(node)) if found else topological(roots)  # fmt: skip


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
    """The leaves that the roots need, in order of declaration; not those that only have values within a step."""
    found = (n for n in topological(roots) if isinstance(n, Leaf) and n.kind != "step")
    return sorted(found, key=lambda n: n.serial)


def with_sources(node: Node, new: Mapping[Node, Node]) -> Node:
    """The node with others in place of those it reads."""
    for s in sources(node):
        if new.get(s, s) is not s:
            break
    else:
        return node
    if isinstance(node, Unrolled):
        of = new.get(node.of, node.of)
        return unrolled(_moved(node.scan, new), of, inside([of], node.scan.leaves) != [])
    assert isinstance(node, Equation)
    return rebuild(node, [replace_operand(op, new) for op in node.operands])


def _moved(scan: Scan, new: Mapping[Node, Node]) -> Scan:
    """The scan reading other nodes; its leaves stay."""
    carries = [Carry(c.leaf, new.get(c.start, c.start), new.get(c.next, c.next)) for c in scan.carries]
    slices = [Slice(s.leaf, new.get(s.given, s.given)) for s in scan.slices]
    return scan_of(scan.length, carries, slices, scan.backward, scan.truncate)


def inside(roots: Iterable[Node], leaves: Iterable[Node]) -> list[Node]:
    """What the roots need that depends on some leaves, these included, each after what it reads."""
    found = dict.fromkeys(leaves, False)
    order: list[Node] = []
    for node in topological(roots):
        if node in found or (not isinstance(node, Unrolled) and any(s in found for s in sources(node))):
            found[node] = True
            order.append(node)
    return order


def with_own_leaves(roots: Iterable[Node]) -> list[Node]:
    """The roots with leaves of its own for every scan, where rewriting has left two scans with the same."""
    roots = list(roots)
    order = topological(roots)
    if not any(isinstance(node, Unrolled) for node in order):
        return roots
    owner: dict[Node, Scan] = {}
    fresh: dict[Scan, dict[Node, Leaf]] = {}
    new: dict[Node, Node] = {}
    for node in order:
        moved = new[node] = with_sources(node, new)
        if not isinstance(moved, Unrolled):
            continue
        scan = moved.scan
        if scan not in fresh:
            taken = any(owner.setdefault(leaf, scan) is not scan for leaf in scan.leaves)
            fresh[scan] = {x: Leaf(str(x.name), x.shape, "step") for x in scan.leaves} if taken else {}
        swap = fresh[scan]
        if swap:
            new[node] = annotate(_with_leaves(moved, swap), node)
    return [new[root] for root in roots]


def _with_leaves(node: Unrolled, new: Mapping[Node, Leaf]) -> Node:
    """The same value of a scan over other leaves."""
    scan = node.scan
    *nexts, of = replace([*scan.nexts, node.of], {**new})
    carries = [Carry(new[c.leaf], c.start, after) for c, after in zip(scan.carries, nexts, strict=True)]
    slices = [Slice(new[s.leaf], s.given) for s in scan.slices]
    return unrolled(scan_of(scan.length, carries, slices, scan.backward, scan.truncate), of)


def within_steps(order: Iterable[Node]) -> set[Node]:
    """What has no value of its own: the leaves of steps, and the equations that read them."""
    found: set[Node] = set()
    for node in order:
        leaf = isinstance(node, Leaf) and node.kind == "step"
        if leaf or (isinstance(node, Equation) and any(s in found for s in sources(node))):
            found.add(node)
    return found


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
    if isinstance(made, Equation | Unrolled):
        made.origin = made.origin or old.origin
        made.name = made.name or old.name
    return made


def transform(roots: Iterable[Node], step: Callable[[Equation], Node]) -> dict[Node, Node]:
    """Rebuild the graph bottom-up: every equation, its sources replaced, goes through ``step``."""
    new: dict[Node, Node] = {}
    for node in topological(roots):
        moved = with_sources(node, new)
        new[node] = annotate(step(moved), node) if isinstance(moved, Equation) else moved
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
        new[node] = swap[node] if node in swap else with_sources(node, new)
    return [new[r] for r in roots]
