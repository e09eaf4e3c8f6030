"""Is a loss differentiable in its parameters as the user wrote it?  Zero gradients on every way from one are an error.

Only what the user wrote is judged: steps that differentiation itself made (the second derivative of relu) have no line
of the user's and differentiate to 0.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache

import sympy

from graphc.ir.node import Equation, Leaf, Node, Read
from graphc.ir.scalar import derivative, placeholder, scalar_of, stop_gradient, where
from graphc.ir.scan import Unrolled
from graphc.ir.walk import sources, topological
from graphc.records import record


@record(frozen=True)
class Blocked:
    """An operation through which no gradient flows: its name, the node, the parameters behind it, and those of them
    from which nothing else leads to the loss."""

    what: str
    node: Equation
    behind: tuple[Leaf, ...]
    lost: tuple[Leaf, ...]


def blocked(loss: Node, params: Iterable[Leaf]) -> list[Blocked]:
    """The operations with zero gradient between parameters and the loss."""
    order = topological([loss])
    behind = _parameters_behind(order, set(params))
    needed = _on_a_path(order, loss, behind)
    written = [n for n in order if n in needed and isinstance(n, Equation) and n.origin is not None]
    flat = [(node, what) for node in written if (what := _zero_gradient(node, behind))]
    reached = _reached(order, loss, behind) if flat else set()
    return [Blocked(what, n, behind[n], tuple(p for p in behind[n] if p not in reached)) for n, what in flat]


def _reached(order: Sequence[Node], loss: Node, behind: dict[Node, tuple[Leaf, ...]]) -> set[Node]:
    """Nodes to which a gradient of the loss flows."""
    reached = {loss}
    for node in reversed(order):
        if node in reached and isinstance(node, Unrolled):
            reached |= set(sources(node))
        elif node in reached and isinstance(node, Equation) and not node.body.has(stop_gradient):
            reached |= {op.node for j, op in enumerate(node.operands) if isinstance(op, Read) and behind[op.node]
                        and derivative(node.body, j, use_output=False) != 0}  # fmt: skip
    return reached


def _parameters_behind(order: Sequence[Node], params: set[Leaf]) -> dict[Node, tuple[Leaf, ...]]:
    behind: dict[Node, tuple[Leaf, ...]] = {}
    for node in order:
        if isinstance(node, Leaf):
            behind[node] = (node,) if node in params else ()
        else:
            behind[node] = tuple(dict.fromkeys(p for s in sources(node) for p in behind[s]))
    return behind


def _on_a_path(order: Sequence[Node], loss: Node, behind: dict[Node, tuple[Leaf, ...]]) -> set[Node]:
    """Nodes the loss reaches without passing a stop_gradient or the condition of a ``where``."""
    needed = {loss}
    for node in reversed(order):
        if node in needed and isinstance(node, Unrolled):
            needed |= set(sources(node))
        if node not in needed or not isinstance(node, Equation) or node.body.has(stop_gradient):
            continue
        for j, op in enumerate(node.operands):
            if isinstance(op, Read) and behind[op.node] and not _only_in_conditions(node.body, j):
                needed.add(op.node)
    return needed


def _zero_gradient(node: Equation, behind: dict[Node, tuple[Leaf, ...]]) -> str | None:
    if node.body.has(stop_gradient):
        return None
    for j, op in enumerate(node.operands):
        if not isinstance(op, Read) or not behind[op.node] or derivative(node.body, j, use_output=False) != 0:
            continue
        if not _only_in_conditions(node.body, j):
            return _function_name(node.body, j)
        if node.reducer == "min" and not any(
            behind[r.node] and r.node is not op.node and r.at == op.at for r in node.reads
        ):
            return "argmax"
    return None


@lru_cache(maxsize=4096)
def _only_in_conditions(body: sympy.Expr, j: int) -> bool:
    """True when a_j occurs only in conditions of ``where``: there the branches carry the gradient."""
    a = placeholder(j)
    outside = body.replace(lambda e: isinstance(e, where), lambda e: sympy.Add(*e.args[1:]))
    return body.has(a) and not outside.has(a)


def _function_name(body: sympy.Expr, j: int) -> str:
    names = {"round_": "round", "floor_": "floor", "less": "<", "less_equal": "<=", "equal": "equal"}
    for e in sympy.preorder_traversal(body):
        entry = scalar_of(e)
        if entry is not None and entry.zero_gradient and e.has(placeholder(j)):
            return names.get(entry.name, entry.name)
    return "this function"
