"""The inputs and parameters of an expression as it was written, those included that cancelled or were rewritten away.

Canonical form forgets what has no influence: ``0*x + y`` is y, the softmax over an axis of extent 1 is 1, and the
gradient of a linear loss does not read its parameter.  A compiled function still accepts their values.  Nodes are
shared between equal expressions, and so are these notes: one expression may remember the leaves of another that is
equal to it.
"""

from __future__ import annotations

from collections.abc import Iterable
from weakref import WeakKeyDictionary, WeakSet

from graphc.ir.node import Leaf, Node
from graphc.ir.walk import sources, topological

_forgotten: WeakKeyDictionary[Node, WeakSet[Leaf]] = WeakKeyDictionary()
_beside: WeakKeyDictionary[Leaf, set[str]] = WeakKeyDictionary()


def note_written(node: Node, of: Iterable[Node]) -> None:
    """Remember that ``node`` was written in terms of others: what it shows no longer of their leaves."""
    shown = {node, *sources(node)}
    for source in of:
        if source not in shown:
            note_leaves(node, _lost(source, shown))


def _lost(source: Node, shown: set[Node]) -> set[Leaf]:
    """The leaves behind a source that ``shown`` does not hold; a view was replaced by what it shows."""
    if set(sources(source)) <= shown and not isinstance(source, Leaf):
        return set(_forgotten.get(source, ()))
    return set(written_leaves([source]))


def note_leaves(node: Node, leaves: Iterable[Leaf]) -> None:
    """Remember leaves that a node was written with and shows no longer."""
    found = [leaf for leaf in leaves if leaf.kind != "constant" and leaf is not node]
    if found:
        _forgotten.setdefault(node, WeakSet()).update(found)


def forgotten_leaves(node: Node) -> list[Leaf]:
    """The leaves that a node was written with and shows no longer, in order of declaration."""
    return sorted(_forgotten.get(node, ()), key=lambda leaf: leaf.serial)


def written_leaves(roots: Iterable[Node]) -> list[Leaf]:
    """The inputs and parameters that the roots were written with, in order of declaration."""
    order = topological(roots)
    found = {n for n in order if isinstance(n, Leaf) and n.kind != "constant"}
    for node in order:
        found.update(_forgotten.get(node, ()))
    return sorted(found, key=lambda leaf: leaf.serial)


def note_model(leaves: Iterable[Leaf]) -> None:
    """Remember that leaves belong to one model."""
    together = [leaf for leaf in leaves if leaf.kind != "constant"]
    names = {str(leaf.name) for leaf in together if leaf.kind in ("param", "state")}
    for leaf in together:
        _beside.setdefault(leaf, set()).update(names)


def names_beside(leaves: Iterable[Leaf]) -> set[str]:
    """The names of all parameters of the models that leaves belong to."""
    return {name for leaf in leaves for name in _beside.get(leaf, ())}
