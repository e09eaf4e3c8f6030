"""Models in safetensors files: the declaration as data, the parameters, and everything a bit-exact resume needs.

No pickle, no code: bodies are formula text, read back by the formula parser.  Nodes are stored in the order they were
made, so that a loaded model has the same canonical form and generates the same program.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from graphc.declare.formula import formula_text, parse
from graphc.declare.init import initialiser
from graphc.declare.tensor import Tensor
from graphc.errors import CheckpointError, FormulaError
from graphc.ir.affine import Affine, Atom, FloorDiv, Gather, Modulo, Size, affine
from graphc.ir.build import equation
from graphc.ir.node import (
    Equation,
    Indicator,
    Leaf,
    Mask,
    Node,
    Operand,
    Origin,
    Position,
    Read,
    extent_symbol,
)
from graphc.ir.scalar import placeholder
from graphc.ir.walk import topological
from graphc.run.memory import aligned
from graphc.run.training import RuleState

if TYPE_CHECKING:
    from graphc.model import Model

FORMAT = "graphc-model-1"
_WRITTEN_BY = "\n  hint: models are written by model.save(path)"


def save(model: Model, path: Path) -> None:
    """Write a model; the file appears whole or not at all."""
    model.params.initialize(0)
    roots = model._raw_roots()
    nodes = sorted(topological(roots.values()), key=lambda n: n.serial)
    number = {node: t for t, node in enumerate(nodes)}
    tensors: dict[str, NDArray] = {f"param/{n}": model.params[n] for n in model.params}
    tensors["totals"] = model.state.totals.values
    for t, node in enumerate(nodes):
        if isinstance(node, Leaf) and node.kind == "constant":
            tensors[f"constant/{t}"] = np.ascontiguousarray(node.value)
    rules = []
    for t, (text, state) in enumerate(model.state.rules.items()):
        rules.append({"text": text, "step": state.step})
        tensors[f"rule/{t}"] = state.values
    metadata = {
        "format": FORMAT,
        "name": model.name,
        "dtype": model.dtype,
        "single": model._single,
        "roots": {name: number[node] for name, node in roots.items()},
        "nodes": [_node_data(node, number) for node in nodes],
        "sampler": model.state.sampler.as_dict(),
        "rules": rules,
    }
    text = json.dumps(metadata)
    _write(path, tensors, {"graphc": text, "digest": _digest(text, tensors)})


def _digest(text: str, tensors: Mapping[str, NDArray]) -> str:
    """SHA-256 over the declaration and all tensors: safetensors itself notices a cut file only, not a changed byte."""
    digest = hashlib.sha256(text.encode())
    for name in sorted(tensors):
        digest.update(f"{name} {tensors[name].dtype} {tensors[name].shape}".encode() + tensors[name].tobytes())
    return digest.hexdigest()


def _write(path: Path, tensors: dict[str, NDArray], metadata: dict[str, str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    try:
        temporary.touch()
        mode = temporary.stat().st_mode
        save_file(tensors, temporary, metadata)
        temporary.chmod(mode)  # safetensors makes files that nobody else may read
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def load(cls: type[Model], path: Path) -> Model:
    """Read a model back.

    Raises
    ------
    CheckpointError
        When the file is missing, damaged or no model of graphc.
    """
    metadata, tensors = _read(path)
    try:
        return _rebuild(cls, metadata, tensors)
    except (KeyError, IndexError, TypeError, ValueError, FormulaError) as error:
        message = f"{path}: the declaration in the file is damaged ({error})\n  hint: save it again"
        raise CheckpointError(message) from None


def _read(path: Path) -> tuple[dict[str, Any], dict[str, NDArray]]:
    if not path.is_file():
        raise CheckpointError(f"{path}: there is no such file{_WRITTEN_BY}")
    try:
        with safe_open(str(path), framework="numpy") as file:
            about = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  no mapping
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{path}: the file is damaged ({error})\n  hint: use an older checkpoint") from None
    if "graphc" not in about:
        raise CheckpointError(f"{path}: no model of graphc in this file{_WRITTEN_BY}")
    if about.get("digest") != _digest(about["graphc"], tensors):
        raise CheckpointError(f"{path}: the file is damaged (its checksum is wrong)\n  hint: use an older checkpoint")
    metadata = json.loads(about["graphc"])
    if metadata["format"] != FORMAT:
        message = f"{path}: the format is {metadata['format']}, not {FORMAT}"
        raise CheckpointError(f"{message}\n  hint: use the version of graphc that wrote it")
    return metadata, tensors


def _rebuild(cls: type[Model], metadata: dict[str, Any], tensors: dict[str, NDArray]) -> Model:
    nodes: list[Node] = []
    for t, data in enumerate(metadata["nodes"]):
        nodes.append(_make_node(data, nodes, tensors.get(f"constant/{t}"), tensors))
    roots = {name: Tensor(nodes[t]) for name, t in metadata["roots"].items()}
    outputs = {n.removeprefix("output:"): t for n, t in roots.items() if n.startswith("output:")}
    metrics = {n: t for n, t in roots.items() if n != "loss" and not n.startswith("output:")}
    output = next(iter(outputs.values()), None) if metadata["single"] else outputs
    model = cls(output, roots.get("loss"), metrics, metadata["dtype"], metadata["name"])
    for name in model.params:
        model.params[name] = tensors[f"param/{name}"]
    model.state.totals.values = tensors["totals"].copy()
    for field, value in metadata["sampler"].items():
        setattr(model.state.sampler, field, int(value))
    for t, rule in enumerate(metadata["rules"]):
        values = aligned(tensors[f"rule/{t}"].size, model.dtype)
        values[:] = tensors[f"rule/{t}"]
        model.state.rules[rule["text"]] = RuleState(values, int(rule["step"]))
    return model


# ---------------------------------------------------------------- nodes as plain data


def _node_data(node: Node, number: dict[Node, int]) -> dict[str, Any]:
    origin = [node.origin.file, node.origin.line] if node.origin else None
    common = {"name": node.name, "origin": origin}
    if isinstance(node, Leaf):
        return common | {"kind": node.kind, "shape": list(node.shape), "dtype": node.dtype, "bound": node.bound}
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


def _operand_data(op: Operand, number: dict[Node, int]) -> dict[str, Any]:
    if isinstance(op, Read):
        return {"read": number[op.node], "at": [_affine_data(a, number) for a in op.at]}
    if isinstance(op, Indicator):
        return {"indicator": _mask_data(op.mask, number)}
    assert isinstance(op, Position)
    return {"position": _affine_data(op.map, number)}


def _mask_data(mask: Mask, number: dict[Node, int]) -> list[Any]:
    return [mask.kind, _affine_data(mask.map, number), mask.modulus]


def _affine_data(x: Affine, number: dict[Node, int]) -> list[Any]:
    return [x.const, [[_atom_data(atom, number), coef] for atom, coef in x.terms]]


def _atom_data(atom: Atom, number: dict[Node, int]) -> Any:
    if isinstance(atom, int):
        return atom
    if isinstance(atom, Size):
        return {"size": atom.name}
    if isinstance(atom, Gather):
        return {"gather": number[atom.node], "at": [_affine_data(a, number) for a in atom.at]}
    kind = "floor" if isinstance(atom, FloorDiv) else "modulo"
    return {kind: _affine_data(atom.inner, number), "divisor": atom.divisor}


def _make_node(data: dict[str, Any], nodes: Sequence[Node], constant: Any, tensors: dict[str, NDArray]) -> Node:
    made = _make_equation(data, nodes) if data["kind"] == "equation" else _make_leaf(data, constant, tensors)
    if made.name is None:
        made.name = data["name"]
    if data["origin"] and made.origin is None:
        made.origin = Origin(str(data["origin"][0]), int(data["origin"][1]))
    return made


def _make_leaf(data: dict[str, Any], constant: Any, tensors: dict[str, NDArray]) -> Leaf:
    shape = tuple(e if isinstance(e, str) else int(e) for e in data["shape"])
    name = str(data["name"])
    value = constant
    if data["kind"] == "param":
        value = initialiser(tensors[f"param/{name}"], name, tuple(int(e) for e in shape))
    return Leaf(name, shape, data["kind"], data["dtype"], value, data["bound"])


def _make_equation(data: dict[str, Any], nodes: Sequence[Node]) -> Node:
    extents = tuple(e if isinstance(e, str) else int(e) for e in data["extents"])
    operands = [_make_operand(op, nodes) for op in data["operands"]]
    symbols = {f"a{j}": placeholder(j) for j in range(len(operands))}
    symbols |= {e: extent_symbol(e) for e in _extent_names(extents, nodes)}
    body = parse(data["body"], symbols)
    masks = [_make_mask(m, nodes) for m in data["masks"]]
    return equation(extents, int(data["free"]), data["reducer"], body, operands, masks)


def _extent_names(extents: Sequence[Any], nodes: Sequence[Node]) -> set[str]:
    found = {e for e in extents if isinstance(e, str)}
    return found | {e for node in nodes if isinstance(node, Leaf) for e in node.shape if isinstance(e, str)}


def _make_operand(data: dict[str, Any], nodes: Sequence[Node]) -> Operand:
    if "read" in data:
        return Read(nodes[data["read"]], tuple(_make_affine(a, nodes) for a in data["at"]))
    if "indicator" in data:
        return Indicator(_make_mask(data["indicator"], nodes))
    return Position(_make_affine(data["position"], nodes))


def _make_mask(data: Sequence[Any], nodes: Sequence[Node]) -> Mask:
    return Mask(data[0], _make_affine(data[1], nodes), int(data[2]))


def _make_affine(data: Sequence[Any], nodes: Sequence[Node]) -> Affine:
    return affine(int(data[0]), {_make_atom(atom, nodes): int(coef) for atom, coef in data[1]})


def _make_atom(data: Any, nodes: Sequence[Node]) -> Atom:
    if isinstance(data, int):
        return data
    if "size" in data:
        return Size(data["size"])
    if "gather" in data:
        return Gather(nodes[data["gather"]], tuple(_make_affine(a, nodes) for a in data["at"]))
    inner = _make_affine(data["floor"] if "floor" in data else data["modulo"], nodes)
    return (FloorDiv if "floor" in data else Modulo)(inner, int(data["divisor"]))
