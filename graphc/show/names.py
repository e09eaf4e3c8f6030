"""What things are called on paper: Z0, H0, Z1 for what has no name, δ0, δ1 for adjoints, letters for indices."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import field

from graphc.declare.tensor import index_letters as declared_letters
from graphc.ir.affine import Affine, Extent
from graphc.ir.letters import index_letters
from graphc.ir.node import Equation, Leaf, Node, Read
from graphc.ir.scan import Unrolled
from graphc.ir.walk import sources, topological
from graphc.records import record

_FAMILIES = {"δ": "δΔ", "Z": "ZAQ", "H": "HGY", "S": "SC", "L": "LE", "M": "MK", "P": "PR", "U": "UV", "G": "GF"}
_REDUCED = {"sum": "S", "logsumexp": "L", "max": "M", "min": "M", "prod": "P"}


@record
class Names:
    """Names of nodes and letters of their axes.

    ``letters`` gives one letter for every axis of a node, unit axes included; ``layers`` are the pre-activations in
    the order of the forward pass, layer number l has the adjoint δl. ``given`` are the names of tensors and free
    extents that the user chose: no index has one of them as its letter.
    """

    names: dict[Node, str] = field(default_factory=dict)
    letters: dict[Node, list[str]] = field(default_factory=dict)
    layers: list[Node] = field(default_factory=list)
    loss: str = "J"
    slices: dict[Node, Node] = field(default_factory=dict)
    given: frozenset[str] = frozenset()
    adjoints: set[Node] = field(default_factory=set)

    def of(self, node: Node) -> str:
        """The name of a node, given when it is first asked for."""
        if node not in self.names:
            self.names[node] = self._of_steps(node) or node.name or self._fresh("G")
        return self.names[node]

    def note_scans(self, nodes: Iterable[Node]) -> None:
        """Names of what scans carry: h_t before a step, h_next after it, h_all at every step; x_t is a slice of x."""
        for node in nodes:
            if not isinstance(node, Unrolled):
                continue
            self.slices |= {s.leaf: s.given for s in node.scan.slices}
            for c in node.scan.carries:
                name = self.of(c.leaf).removesuffix("_t")
                for part, end in ((c.start, "start"), (c.next, "next")):
                    if isinstance(part, Equation) and part not in self.names:
                        self.names[part] = self._unused(f"{name}_{end}")

    def _of_steps(self, node: Node) -> str:
        if isinstance(node, Unrolled):
            of = self.of(node.of)
            before = isinstance(node.of, Leaf)
            return self._unused(f"{of.removesuffix('_t')}_before" if before else f"{of.removesuffix('_next')}_all")
        if isinstance(node, Leaf) and node.kind == "step":
            given = self.slices.get(node)
            return self._unused(f"{node.name if given is None else self.of(given)}_t")
        return ""

    def _unused(self, name: str) -> str:
        taken, number = set(self.names.values()), 1
        while (found := name if number == 1 else f"{name}{number}") in taken:
            number += 1
        return found

    def _fresh(self, family: str) -> str:
        prefix = _prefix(family, self.names.values())
        return f"{prefix}{1 + max(_numbers(prefix, self.names.values()), default=-1)}"

    def is_adjoint(self, node: Node) -> bool:
        """Whether the node is δl of a layer l."""
        return node in self.adjoints

    def letters_of(self, node: Node) -> list[str]:
        """A letter for every axis of a node."""
        return self.letters.setdefault(node, index_letters(node.shape, names=self.given))


def name_nodes(
    loss: Node,
    adjoints: Mapping[Node, Node],
    gradients: Mapping[Leaf, Node],
    declared: Mapping[str, Sequence[str]],
    loss_name: str = "J",
) -> Names:
    """Names for a differentiated graph; those of leaves, ``define`` and ``.named()`` win."""
    forward = topological([loss])
    names = Names({n: n.name for n in forward if n.name and getattr(n, "kind", "") != "step"})
    names.names.update({w: w.name for w in gradients if w.name})
    names.given = frozenset([*names.names.values(), *(e for n in forward for e in n.shape if isinstance(e, str))])
    names.layers = [n for n in forward if n in adjoints and n is not loss]
    names.note_scans(topological([loss, *gradients.values()]))
    _name_forward(names, loss, loss_name)
    for node in forward:
        names.letters[node] = _own_letters(node, declared, names.given)
    _pass_letters_on(names, forward, declared)
    prefix = _prefix("δ", names.names.values())
    for number, layer in enumerate(names.layers):
        bar = adjoints[layer]
        if isinstance(bar, Equation) and bar not in names.names:
            names.names[bar], names.letters[bar] = f"{prefix}{number}", names.letters[layer]
            names.adjoints.add(bar)
    read = set(forward)  # a slope that the loss is made of has a name of its own there
    for leaf, bar in gradients.items():
        if isinstance(bar, Equation) and bar not in names.names and bar not in read:
            names.names[bar] = f"∂{names.loss}/∂{names.of(leaf)}"
    return names


def letters_by_name(nodes: Iterable[Node]) -> dict[str, tuple[str, ...]]:
    """The index letters that ``gc.define`` gave, by the name of the definition."""
    return {n.name: declared_letters[n] for n in nodes if n.name and n in declared_letters}


def _name_forward(names: Names, loss: Node, loss_name: str) -> None:
    taken = set(names.names.values())
    if loss not in names.names:
        names.names[loss] = next(n for n in (loss_name, "J", "L", "loss", "loss_") if n not in taken)
    names.loss = names.names[loss]
    prefix = _prefix("Z", taken)
    for number, layer in enumerate(names.layers):
        names.names.setdefault(layer, f"{prefix}{number}")
    _name_activations(names, loss)


def _name_activations(names: Names, loss: Node) -> None:
    prefix = _prefix("H", names.names.values())
    numbers = {layer: number for number, layer in enumerate(names.layers)}
    for node in topological([loss]):
        if not isinstance(node, Equation) or not node.elementwise or node in numbers or node is loss:
            continue
        read = [numbers[s] for s in sources(node) if s in numbers and s.shape == node.shape]
        if read:
            wanted = f"{prefix}{max(read)}"
            names.names.setdefault(node, wanted if wanted not in names.names.values() else names._fresh("U"))


def name_others(names: Names, nodes: Iterable[Node]) -> None:
    """Names for further nodes that need a line: S for sums, L for logsumexp, M, P, U for the rest."""
    for node in nodes:
        if isinstance(node, Equation) and node not in names.names:
            names.names[node] = names._fresh("U" if node.elementwise else _REDUCED.get(node.reducer, "U"))


def _prefix(family: str, taken: Iterable[str]) -> str:
    """The first letter of the family that no user name with a number begins with."""
    if family not in ("Z", "H", "δ"):
        return _FAMILIES[family][0]
    taken = set(taken)
    return next((p for p in _FAMILIES[family] if not list(_numbers(p, taken))), _FAMILIES[family][0] * 2)


def _numbers(prefix: str, names: Iterable[str]) -> list[int]:
    begins = len(prefix)
    return [int(n[begins:]) for n in names if n.startswith(prefix) and n[begins:].isdecimal()]


def _own_letters(node: Node, declared: Mapping[str, Sequence[str]], given: Collection[str]) -> list[str]:
    wanted = declared_letters.get(node) or declared.get(node.name or "") or ()
    return index_letters(node.shape, wanted if len(wanted) == node.rank else (), given)


def _pass_letters_on(names: Names, order: Sequence[Node], declared: Mapping[str, Sequence[str]]) -> None:
    """Unnamed nodes that a definition reads as they stand, or that read it so, take over its letters."""
    known = {n for n in order if n.name and n.name in declared}
    pairs = [(n, r.node) for n in order if isinstance(n, Equation) for r in n.reads if _straight(n, r)]
    for reader, source in [*reversed(pairs), *pairs]:
        for giver, taker in ((reader, source), (source, reader)):
            if giver in known and taker not in known and isinstance(taker, Equation) and not taker.name:
                names.letters[taker] = names.letters[giver]
                known.add(taker)


def _straight(y: Equation, read: Read) -> bool:
    same = read.node.shape == y.shape
    return same and all(a.plain_index == t or a.is_constant for t, a in enumerate(read.at))


def choose_letters(
    extents: Sequence[Extent],
    given: Mapping[int, str],
    wishes: Mapping[int, Sequence[str]],
    names: Collection[str] = (),
) -> list[str]:
    """A letter for every index: the given ones, the first free wish, then i, j, k, .. in order; none of ``names``."""
    found = dict(given)
    taken = {e for e in extents if isinstance(e, str)} | set(given.values()) | set(names)
    for i, wanted in wishes.items():
        free = next((w for w in wanted if w not in taken), None)
        if i not in found and free:
            found[i] = free
            taken.add(free)
    rest = [i for i in range(len(extents)) if i not in found]
    more = index_letters([extents[i] for i in rest], names=taken)
    found.update(zip(rest, more, strict=True))
    return [found[i] for i in range(len(extents))]


def plain_letters(at: Sequence[Affine], letters: Sequence[str]) -> list[str] | None:
    """The letters of a read whose maps are distinct single indices; constants give an empty letter."""
    found = []
    for a in at:
        i = a.plain_index
        if i is None and not a.is_constant:
            return None
        found.append("" if i is None else letters[i])
    used = [x for x in found if x]
    return found if len(set(used)) == len(used) else None
