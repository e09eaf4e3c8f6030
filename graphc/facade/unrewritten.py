"""The graph as it was declared, derivatives included, before any rewriting: what programs are checked against.

:func:`graphc.grad` gives equations that were brought to normal form and tidied.  Where they come from is remembered
here, so that a check derives them anew from what the user wrote, with no rewriting between.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from weakref import WeakKeyDictionary

from graphc.derive.gradient import gradient
from graphc.ir.node import Leaf, Node
from graphc.ir.walk import topological, with_sources

Maker = Callable[[Callable[[Sequence[Node]], list[Node]]], list[Node]]

_makers: WeakKeyDictionary[Node, tuple[Maker, int]] = WeakKeyDictionary()


def note_derivatives(nodes: Sequence[Node], of: Sequence[Node], make: Maker) -> None:
    """Remember that ``make`` gives what ``nodes`` are rewritten from, the derivatives of ``of``.

    It is handed the function that undoes the rewriting of what it starts from.  A node that was there before (the
    derivative of t²/2 is t) stands for itself.
    """
    before = max(node.serial for node in topological(of))
    for place, node in enumerate(nodes):
        if not isinstance(node, Leaf) and node.serial > before:
            _makers.setdefault(node, (make, place))


def unrewritten(roots: Sequence[Node]) -> list[Node]:
    """The roots with every derivative among what they read derived anew, without rewriting."""
    known: dict[Node, Node] = {}
    made: dict[int, list[Node]] = {}

    def plain(wanted: Sequence[Node]) -> list[Node]:
        for node in topological(wanted):
            if node not in known:
                known[node] = _plain(node, known, made, plain)
        return [known[node] for node in wanted]

    return plain(roots)


def _plain(node: Node, known: Mapping[Node, Node], made: dict[int, list[Node]], plain: Callable) -> Node:
    found = _makers.get(node)
    if found is None:
        return with_sources(node, known)
    make, place = found
    if id(make) not in made:
        made[id(make)] = make(plain)
    return made[id(make)][place]


def declared_gradients(loss: Node, params: Sequence[Leaf]) -> list[Node]:
    """The loss as declared, then its gradients by the chain rule alone."""
    [plain] = unrewritten([loss])
    return [plain, *gradient(plain, params)]
