"""Declarations, models and what they give, carried to other processes and copied.

A node travels with everything it reads, once: nodes of one pickle share a :class:`Bundle`, which describes them in the
order they were made, so that they have the same canonical form and generate the same programs when they arrive.  A
leaf that exists already where it arrives stays that leaf, so that equal nodes stay identical.  Nodes and tensors never
change: a copy is the thing itself.  Compiled code stays behind; it is found again in the cache.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from copy import copy, deepcopy
from typing import Any
from weakref import WeakKeyDictionary, WeakValueDictionary, ref

import numpy as np

from graphc.declare.constants import constant_leaf
from graphc.declare.expression import NodeHandle
from graphc.declare.tensor import index_letters
from graphc.declare.written import forgotten_leaves, note_leaves, note_model
from graphc.facade.core import Core
from graphc.facade.declaration import made_constraint, make_node, node_data, put_updates
from graphc.ir.node import Leaf, Node, Origin
from graphc.ir.walk import topological
from graphc.rewrite.modes import with_updates
from graphc.run.data import Seen
from graphc.run.turns import Turns
from graphc.show.derivation import Derivation

WITH_BUFFERS = ("trainer", "cuda", "cuda evaluate", "key of")
"""Of what a model made; and what is known of it by its identity."""
MADE_ANEW = ("_cache", "last_compiled", "last_curvature", "reads", "nan_propagating", "seen", "ready", "turns")
"""Of a model, where it arrives."""

_bundle: WeakKeyDictionary[Node, ref[Bundle]] = WeakKeyDictionary()
_signs: WeakKeyDictionary[Leaf, str] = WeakKeyDictionary()
_signed: WeakValueDictionary[str, Leaf] = WeakValueDictionary()


class Bundle:
    """Nodes that travel together, each after what it reads; some of them may travel in bundles made before."""

    def __init__(self, nodes: Sequence[Node]) -> None:
        self.nodes = nodes
        self.place = {node: t for t, node in enumerate(nodes)}
        self.before = {node: bundle for node in nodes if (bundle := _bundle_of(node)) is not None}
        for node in nodes:
            if node not in self.before:
                _bundle[node] = ref(self)

    def __reduce__(self) -> tuple[Any, ...]:
        return unpacked, ([node if node in self.before else self._packed(node) for node in self.nodes],)

    def _packed(self, node: Node) -> tuple[Any, ...]:
        data, letters = node_data(node, self.place), index_letters.get(node)
        written = [self.place[leaf] for leaf in forgotten_leaves(node)]
        return data, letters, written, (_sign(node), node.value) if isinstance(node, Leaf) else None


def bundle(roots: Iterable[Node]) -> Bundle:
    """All that some nodes read, ready to travel."""
    found = topological(roots)
    found = topological([*found, *(leaf for node in found for leaf in forgotten_leaves(node))])
    found = topological([*found, *with_updates(found).values()])
    return Bundle(sorted(found, key=lambda node: node.serial))


def _bundle_of(node: Node) -> Bundle | None:
    known = _bundle.get(node)
    return known() if known is not None else None


def _sign(leaf: Leaf) -> str:
    """What a leaf is known by in every process."""
    if leaf not in _signs:
        _signs[leaf] = sign = os.urandom(16).hex()
        _signed[sign] = leaf
    return _signs[leaf]


def unpacked(entries: Sequence[Any]) -> Bundle:
    """The bundle that was packed."""
    nodes: list[Node] = []
    for entry in entries:
        nodes.append(entry if isinstance(entry, Node) else _node(entry, nodes))
    put_updates([{} if isinstance(entry, Node) else entry[0] for entry in entries], nodes)
    return Bundle(nodes)


def _node(entry: tuple[Any, ...], nodes: list[Node]) -> Node:
    data, letters, written, leaf = entry
    node = make_node(data, nodes, None, {}) if leaf is None else _leaf(data, *leaf)
    if letters is not None:
        index_letters[node] = letters
    note_leaves(node, [x for t in written if isinstance(x := nodes[t], Leaf)])
    return node


def _leaf(data: dict[str, Any], sign: str, value: Any) -> Leaf:
    known = _signed.get(sign)
    if known is not None:
        return known
    if data["kind"] == "constant":
        return constant_leaf(value, "a constant", labels=data["dtype"] == "int")
    shape, kept = tuple(data["shape"]), made_constraint(data)
    made = Leaf(data["name"], shape, data["kind"], data["dtype"], value, data["bound"], kept)
    made.origin = Origin(data["origin"][0], data["origin"][1]) if data["origin"] else None
    _signs[made], _signed[sign] = sign, made
    return made


def pick(found: Bundle, place: int) -> Node:
    """One node of a bundle."""
    return found.nodes[place]


def reduce_node(node: Node) -> tuple[Any, ...]:
    """How a node travels."""
    found = _bundle_of(node) or bundle([node])
    return pick, (found, found.place[node])


def itself(x: Any, memo: Any = None) -> Any:  # noqa: ARG001  the signature of __deepcopy__
    """The copy of what never changes."""
    return x


# ---------------------------------------------------------------- with everything that belongs to them


def derivation_state(x: Derivation) -> dict[str, Any]:
    """A derivation with all nodes of its lines first, in the order they were made."""
    names, drawn = x._outline.names, x._outline
    nodes = [*names.names, *names.letters, *names.layers, *drawn.gradients.values(), drawn.loss]
    return {"nodes": bundle([*nodes, *(line.node for line in drawn.lines)]), **x.__dict__}


def restore_derivation(x: Derivation, state: dict[str, Any]) -> None:
    """Put back what :func:`derivation_state` gave."""
    x.__dict__.update({name: value for name, value in state.items() if name != "nodes"})


def model_state(model: Core) -> dict[str, Any]:
    """A model without what is made anew where it arrives, its declaration first."""
    nodes = bundle([*model.raw_roots.values(), *model.kept_leaves, model.weight_leaf])
    return {"nodes": nodes, **{name: x for name, x in model.__dict__.items() if name not in MADE_ANEW}}


def restore_model(model: Core, state: dict[str, Any]) -> None:
    """Put back what :func:`model_state` gave."""
    fresh = {"_cache": {}, "last_compiled": None, "last_curvature": None,
             "reads": ((), np.empty(0)), "nan_propagating": (), "seen": Seen(),
             "ready": {}, "turns": Turns()}  # fmt: skip
    model.__dict__.update({name: x for name, x in state.items() if name != "nodes"} | fresh)
    note_model(leaf for leaf in state["nodes"].nodes if isinstance(leaf, Leaf))


def twin_of(model: Core) -> Core:
    """A copy with parameters and state of its own, which shares programs but not their buffers."""
    twin = Core.__new__(Core)
    twin.__dict__.update(model.__dict__)
    twin._cache = {key: made for key, made in model._cache.items() if key[0] not in WITH_BUFFERS}
    twin._params, twin.state, twin.seen, twin.ready = deepcopy(model.params), deepcopy(model.state), Seen(), {}
    twin.turns = Turns()
    return twin


def deep_twin_of(model: Core, memo: dict[int, Any]) -> Core:
    """A copy whose last runs are copies too."""
    twin = memo[id(model)] = copy(model)
    twin.last_run, twin.last_sweep = deepcopy((model.last_run, model.last_sweep), memo)
    return twin


METHODS = (
    (Node, "__reduce__", reduce_node),
    (Node, "__copy__", itself),
    (Node, "__deepcopy__", itself),
    (NodeHandle, "__copy__", itself),
    (NodeHandle, "__deepcopy__", itself),
    (Core, "__getstate__", model_state),
    (Core, "__setstate__", restore_model),
    (Core, "__copy__", twin_of),
    (Core, "__deepcopy__", deep_twin_of),
    (Derivation, "__getstate__", derivation_state),
    (Derivation, "__setstate__", restore_derivation),
)

for owner, name, method in METHODS:
    setattr(owner, name, method)
