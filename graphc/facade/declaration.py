"""A declaration as plain data and back: nodes as JSON values, bodies as formula text.

Nodes are described in the order they were made, so that what is made of the description has the same canonical form
and generates the same program.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

from numpy.typing import NDArray

from graphc.declare.constraints import Constraint, constraint
from graphc.declare.formula import PRINTED, parse
from graphc.declare.formula_text import formula_text
from graphc.declare.init import initialiser
from graphc.facade.trusted import WIDEST, extents_of, name_of, node_at, one_of, origin_of, whole
from graphc.ir.affine import Affine, Atom, FloorDiv, Gather, Modulo, Size, affine
from graphc.ir.build import equation
from graphc.ir.node import (
    Distribution,
    Drawn,
    Equation,
    Indicator,
    Leaf,
    LeafKind,
    LeafType,
    Mask,
    MaskKind,
    Node,
    Operand,
    Position,
    Read,
    Reducer,
    extent_symbol,
)
from graphc.ir.scalar import placeholder
from graphc.ir.scan import Carry, Scan, Slice, Unrolled, scan_of, unrolled
from graphc.ir.walk import inside


def node_data(node: Node, number: Mapping[Node, int]) -> dict[str, Any]:
    """A node as it was declared; ``number`` says which of the nodes it reads are which."""
    origin = [node.origin.file, node.origin.line] if node.origin else None
    common = {"name": node.name, "origin": origin}
    if isinstance(node, Leaf):
        leaf = {"kind": node.kind, "shape": list(node.shape), "dtype": node.dtype, "bound": node.bound}
        c, d = node.constraint, node.value
        leaf |= {} if c is None else {"constraint": [c.name, c.text, c.axis]}
        leaf |= {"drawn": [d.kind, d.p]} if isinstance(d, Distribution) else {}
        return common | leaf | ({"update": number[u]} if (u := node.update) is not None and u in number else {})
    if isinstance(node, Unrolled):
        return common | {"kind": "unrolled", "of": number[node.of], "scan": _scan_data(node.scan, number)}
    assert isinstance(node, Equation)
    return common | {
        "kind": "equation",
        "extents": list(node.extents),
        "free": node.n_free,
        "reducer": node.reducer,
        "body": formula_text(node.body),
        "operands": [_operand_data(op, number) for op in node.operands],
        "masks": [_mask_data(m, number) for m in node.masks],
    }


def _scan_data(scan: Scan, number: Mapping[Node, int]) -> dict[str, Any]:
    return {
        "length": scan.length,
        "backward": scan.backward,
        "carries": [[number[c.leaf], number[c.start], number[c.next]] for c in scan.carries],
        "slices": [[number[s.leaf], number[s.given]] for s in scan.slices],
    } | ({"truncate": scan.truncate} if scan.truncate else {})


def _make_unrolled(data: dict[str, Any], nodes: Sequence[Node]) -> Node:
    described, of = data["scan"], node_at(data["of"], nodes)
    at = lambda number: node_at(number, nodes)
    carries = [Carry(_leaf_of(at(a)), at(b), at(c)) for a, b, c in described["carries"]]
    slices = [Slice(_leaf_of(at(a)), at(b)) for a, b in described["slices"]]
    length, truncate = extents_of([described["length"]])[0], whole(described.get("truncate", 0))
    scan = scan_of(length, carries, slices, bool(described["backward"]), truncate)
    return unrolled(scan, of, bool(inside([of], scan.leaves)))


def _leaf_of(node: Node) -> Leaf:
    assert isinstance(node, Leaf)
    return node


def _operand_data(op: Operand, number: Mapping[Node, int]) -> dict[str, Any]:
    if isinstance(op, Read):
        return {"read": number[op.node], "at": [_affine_data(a, number) for a in op.at]}
    if isinstance(op, Indicator):
        return {"indicator": _mask_data(op.mask, number)}
    assert isinstance(op, Position)
    return {"position": _affine_data(op.map, number)}


def _mask_data(mask: Mask, number: Mapping[Node, int]) -> list[Any]:
    return [mask.kind, _affine_data(mask.map, number), mask.modulus]


def _affine_data(x: Affine, number: Mapping[Node, int]) -> list[Any]:
    return [x.const, [[_atom_data(atom, number), coef] for atom, coef in x.terms]]


def _atom_data(atom: Atom, number: Mapping[Node, int]) -> Any:
    if isinstance(atom, int):
        return atom
    if isinstance(atom, Size):
        return {"size": atom.name}
    if isinstance(atom, Gather):
        return {"gather": number[atom.node], "at": [_affine_data(a, number) for a in atom.at]}
    kind = "floor" if isinstance(atom, FloorDiv) else "modulo"
    return {kind: _affine_data(atom.inner, number), "divisor": atom.divisor}


def make_node(data: dict[str, Any], nodes: Sequence[Node], constant: Any, tensors: Mapping[str, NDArray]) -> Node:
    """The node that :func:`node_data` described, reading ``nodes``; parameters take their values from ``tensors``."""
    makers = {"equation": _make_equation, "unrolled": _make_unrolled}
    make = makers.get(data["kind"])
    made = make(data, nodes) if make else _make_leaf(data, constant, tensors)
    if made.name is None:
        made.name = name_of(data["name"])
    if made.origin is None:
        made.origin = origin_of(data["origin"])
    return made


def _make_leaf(data: dict[str, Any], constant: Any, tensors: Mapping[str, NDArray]) -> Leaf:
    kind, shape, name = one_of(data["kind"], LeafKind), extents_of(data["shape"]), str(name_of(data["name"]))
    value = constant
    if "drawn" in data:
        value = Distribution(one_of(data["drawn"][0], Drawn), float(data["drawn"][1]))
    if kind in ("param", "state"):
        value = initialiser(tensors[f"param/{name}"], name, tuple(int(e) for e in shape))
    bound = None if data["bound"] is None else whole(data["bound"])
    return Leaf(name, shape, kind, one_of(data["dtype"], LeafType), value, bound, made_constraint(data))


def put_updates(described: Iterable[Mapping[str, Any]], nodes: Sequence[Node]) -> None:
    """Give states their updates, which may read them and so come after them."""
    for data, node in zip(described, nodes, strict=True):
        if "update" in data and isinstance(node, Leaf) and node.update is None:
            one_of(node.kind, Literal["state"])
            node.update = node_at(data["update"], nodes)


def made_constraint(data: Mapping[str, Any]) -> Constraint | None:
    """The constraint of a described parameter."""
    if "constraint" not in data:
        return None
    name, text, axis = data["constraint"]
    return constraint(text, name=name, axis=axis)


def _make_equation(data: dict[str, Any], nodes: Sequence[Node]) -> Node:
    extents = extents_of(data["extents"])
    operands = [_make_operand(op, nodes) for op in data["operands"]]
    symbols = {f"a{j}": placeholder(j) for j in range(len(operands))}
    symbols |= {e: extent_symbol(e) for e in _extent_names(extents, nodes)}
    body = parse(data["body"], symbols, limits=PRINTED)
    masks = [_make_mask(m, nodes) for m in data["masks"]]
    free, reducer = whole(data["free"], len(extents)), one_of(data["reducer"], Reducer)
    return equation(extents, free, reducer, body, operands, masks)


def _extent_names(extents: Sequence[Any], nodes: Sequence[Node]) -> set[str]:
    found = {e for e in extents if isinstance(e, str)}
    return found | {e for node in nodes if isinstance(node, Leaf) for e in node.shape if isinstance(e, str)}


def _make_operand(data: dict[str, Any], nodes: Sequence[Node]) -> Operand:
    if "read" in data:
        return Read(node_at(data["read"], nodes), tuple(_make_affine(a, nodes) for a in data["at"]))
    if "indicator" in data:
        return Indicator(_make_mask(data["indicator"], nodes))
    return Position(_make_affine(data["position"], nodes))


def _make_mask(data: Sequence[Any], nodes: Sequence[Node]) -> Mask:
    return Mask(one_of(data[0], MaskKind), _make_affine(data[1], nodes), whole(data[2]))


def _make_affine(data: Sequence[Any], nodes: Sequence[Node]) -> Affine:
    number = lambda x: whole(x, WIDEST, -WIDEST)
    return affine(number(data[0]), {_make_atom(atom, nodes): number(coef) for atom, coef in data[1]})


def _make_atom(data: Any, nodes: Sequence[Node]) -> Atom:
    if isinstance(data, int):
        return data
    if "size" in data:
        return Size(str(name_of(data["size"])))
    if "gather" in data:
        return Gather(node_at(data["gather"], nodes), tuple(_make_affine(a, nodes) for a in data["at"]))
    inner = _make_affine(data["floor"] if "floor" in data else data["modulo"], nodes)
    return (FloorDiv if "floor" in data else Modulo)(inner, whole(data["divisor"], least=1))
