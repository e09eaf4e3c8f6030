"""Models in safetensors files: the declaration as data, the parameters, and everything a bit-exact resume needs.

No pickle, no code: bodies are formula text, read back by the formula parser.  Nodes are stored in the order they were
made, so that a loaded model has the same canonical form and generates the same program.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save as serialized

from graphc.declare.tensor import Tensor
from graphc.errors import CheckpointError
from graphc.facade.atomic_file import write_whole
from graphc.facade.core import Core
from graphc.facade.declaration import make_node, node_data, put_updates
from graphc.facade.measured import Metrics
from graphc.facade.trusted import as_json, check_reads, node_at, reading, whole
from graphc.ir.node import Leaf, Node
from graphc.ir.verify import verify
from graphc.ir.walk import topological
from graphc.native.buffers import aligned
from graphc.run.callback import Callback
from graphc.run.encoding import Encoder
from graphc.run.frames import Columns
from graphc.run.history import Run
from graphc.run.sampler import Sampler
from graphc.run.training import RuleState

FORMAT = "graphc-model-1"
_WRITTEN_BY = "\n  hint: models are written by model.save(path)"


def save(model: Core, path: Path) -> None:
    """Write a model; the file appears whole or not at all."""
    model.params.initialize(0)
    roots = model.raw_roots
    nodes = sorted(topological(roots.values()), key=lambda n: n.serial)
    number = {node: t for t, node in enumerate(nodes)}
    tensors: dict[str, NDArray] = {f"param/{n}": model.params[n] for n in model.params}
    tensors["totals"] = model.state.totals.values
    for t, node in enumerate(nodes):
        if isinstance(node, Leaf) and node.kind == "constant":
            tensors[f"constant/{t}"] = np.ascontiguousarray(node.value)
    rules = []
    for t, (text, state) in enumerate(model.state.rules.items()):
        rules.append({"text": text, "step": state.step, "averages": state.averages})
        tensors[f"rule/{t}"] = state.values
    going_on, kept = progress_of(*model.running) if model.running else ({}, {})
    tensors |= kept
    metadata = {
        "format": FORMAT,
        "name": model.name,
        "dtype": model.dtype,
        "subnormals": model.subnormals,
        "metrics": model.metrics.told(),
        "columns": model.columns,
        "encoders": {name: encoder.told() for name, encoder in model.columns.encoders.items()},
        "form": model._form,
        "roots": {name: number[node] for name, node in roots.items()},
        "nodes": [node_data(node, number) for node in nodes],
        "sampler": model.state.sampler.as_dict(),
        "rules": rules,
        **going_on,
    }
    text = json.dumps(metadata)
    write_whole(path, serialized(tensors, {"graphc": text, "digest": _digest(text, tensors)}))


def _digest(text: str, tensors: Mapping[str, NDArray]) -> str:
    """SHA-256 over the declaration and all tensors: safetensors itself notices a cut file only, not a changed byte."""
    digest = hashlib.sha256(text.encode())
    for name in sorted(tensors):
        digest.update(f"{name} {tensors[name].dtype} {tensors[name].shape}".encode() + tensors[name].tobytes())
    return digest.hexdigest()


Read = tuple[dict[str, Any], dict[str, NDArray]]


def progress_of(run: Run, callbacks: Sequence[Callback]) -> Read:
    """How far a run that goes on has come, and what its callbacks remember: entries of the metadata, and tensors."""
    told, tensors = [], {}
    for t, callback in enumerate(callbacks):
        state = callback.state_dict()
        arrays = {name: value for name, value in state.items() if isinstance(value, np.ndarray)}
        tensors |= {f"callback/{t}/{name}": value for name, value in arrays.items()}
        told.append({
            "kind": type(callback).__name__,
            "state": {name: value for name, value in state.items() if name not in arrays},
            "arrays": sorted(arrays),
        })  # fmt: skip
    where = {"epochs": run.epochs, "steps": run.steps, "stopped": run.stopped, "seed": run.seed}
    what = {"latest": run.latest, "best": run.best, "hyper": run.hyper.changed}
    return {"run": {**where, **what, "callbacks": told}}, tensors


def load(path: Path) -> Core:
    """Read a model back.

    Raises
    ------
    CheckpointError
        When the file is missing, damaged or no model of graphc.
    """
    metadata, tensors = read(path)
    with reading(path):
        return _rebuild(metadata, tensors)


def read(path: Path) -> Read:
    """What a file holds: the declaration and all that is numbers or text, and the arrays.

    Raises
    ------
    CheckpointError
        When the file is missing, damaged or no model of graphc.
    """
    if not path.is_file():
        raise CheckpointError(f"{path}: there is no such file{_WRITTEN_BY}")
    about, tensors = _content(path)
    if about.get("digest") != _digest(about["graphc"], tensors):
        raise CheckpointError(f"{path}: the file is damaged (its checksum is wrong)\n  hint: use an older checkpoint")
    with reading(path):
        metadata = as_json(about["graphc"])
        if metadata["format"] != FORMAT:
            message = f"{path}: the format is {metadata['format']!r:.60}, not {FORMAT}"
            raise CheckpointError(f"{message}\n  hint: use the version of graphc that wrote it")
    return metadata, tensors


def _content(path: Path) -> tuple[dict[str, str], dict[str, NDArray]]:
    """The texts and the arrays of a file; no array is read of a file that is none of ours."""
    try:
        with safe_open(str(path), framework="numpy") as file:
            about = file.metadata() or {}
            if "graphc" not in about:
                raise CheckpointError(f"{path}: no model of graphc in this file{_WRITTEN_BY}")
            return about, {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  no mapping
    except (SafetensorError, OSError, AttributeError, TypeError) as error:  # the last two: a type that NumPy lacks
        raise CheckpointError(f"{path}: the file is damaged ({error})\n  hint: use an older checkpoint") from None


def _rebuild(metadata: dict[str, Any], tensors: dict[str, NDArray]) -> Core:
    nodes: list[Node] = []
    for t, data in enumerate(metadata["nodes"]):
        nodes.append(make_node(data, nodes, tensors.get(f"constant/{t}"), tensors))
    put_updates(metadata["nodes"], nodes)
    roots = {name: Tensor(node_at(t, nodes)) for name, t in metadata["roots"].items()}
    verify(t.node for t in roots.values())
    check_reads(t.node for t in roots.values())
    metrics = Metrics.of_roots(metadata["metrics"], roots) if "metrics" in metadata else _plain(roots)
    taken = metrics.columns
    outputs = {n.removeprefix("output:"): t for n, t in roots.items() if n.startswith("output:") and n not in taken}
    tiny = metadata.get("subnormals", False)
    model = Core(outputs or None, roots.get("loss"), metrics, metadata["dtype"], metadata["name"], tiny)
    model._form = metadata.get("form") or ("one" if metadata["single"] else "dict")  # written before there were lists
    model.columns = Columns({name: tuple(names) for name, names in metadata.get("columns", {}).items()})
    model.columns.encoders = {name: Encoder.of(told) for name, told in metadata.get("encoders", {}).items()}
    restore_state(model, metadata, tensors)
    return model


def _plain(roots: Mapping[str, Tensor]) -> Metrics:
    """Those of files that were written before measures had parts."""
    return Metrics({n: t for n, t in roots.items() if n != "loss" and not n.startswith(("output:", "state:"))})


def restore_state(model: Core, metadata: dict[str, Any], tensors: dict[str, NDArray]) -> None:
    """Parameters, the states of the optimizers, the place in the data and running totals of a file."""
    given = {name: tensors[f"param/{name}"] for name in model.params}
    wrong = [n for n, array in given.items() if array.shape != model.params.shape(n) or array.dtype.kind != "f"]
    if wrong:
        raise ValueError(f"{wrong[0]} is {given[wrong[0]].dtype} of shape {given[wrong[0]].shape}")
    told = metadata["sampler"]
    place: dict[str, Any] = {field: whole(told[field], 2**128) for field in Sampler().as_dict()}
    whole(place["position"], place["rows"])
    place["extents"] = tuple((whole(rows), whole(batch)) for rows, batch in told.get("extents", ()))
    rules = dict(_rule_state(rule, tensors[f"rule/{t}"], model) for t, rule in enumerate(metadata["rules"]))
    totals = np.array(tensors["totals"], dtype=np.float64).reshape(-1)
    for name, array in given.items():  # all is read: from here on nothing can fail, and leave half of a file behind
        model.params[name] = array
    model.state.totals.values = totals
    for field, value in place.items():
        setattr(model.state.sampler, field, value)
    model.state.rules |= rules


def _rule_state(described: dict[str, Any], array: NDArray, model: Core) -> tuple[str, RuleState]:
    values = aligned(array.size, model.dtype)
    values[:] = array
    averages = {str(name): whole(t) for name, t in described.get("averages", {}).items()}
    return str(described["text"]), RuleState(values, whole(described["step"]), averages)
