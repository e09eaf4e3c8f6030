"""What ``Model`` is given, checked."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from graphc.declare.names import check_name, node_text
from graphc.declare.origin import fail
from graphc.declare.tensor import Tensor
from graphc.errors import NameClashError, ShapeError, TypeMismatchError
from graphc.ir.node import Node
from graphc.ir.walk import leaves

Outputs = Tensor | Mapping[str, Tensor] | None


def check_names(metrics: Iterable[str], roots: Iterable[Node]) -> None:
    """Refuse a metric that is named like an entry of the history, and two declarations of one name."""
    for n in metrics:
        if n == "loss" or n.startswith("val_"):
            fail(NameClashError, f"Model: a metric cannot be named {n!r}", "that name is used in the history.")
    seen: dict[str, Node] = {}
    for leaf in leaves(roots):
        if leaf.kind != "constant" and seen.setdefault(str(leaf.name), leaf) is not leaf:
            both = f"{node_text(seen[str(leaf.name)])} and {node_text(leaf)}"
            message = f"Model: two declarations are named {leaf.name}: {both}"
            fail(NameClashError, message, "names are unique in a model.")


def named_tensors(output: Outputs) -> dict[str, Tensor]:
    """Outputs by name; one alone is named output."""
    outputs = {} if output is None else output if isinstance(output, Mapping) else {"output": output}
    for n, t in outputs.items():
        check_name(n, "an output")
        if not isinstance(t, Tensor):
            fail(
                TypeMismatchError, f"Model: the output is {t!r:.60}, no Tensor", "pass what operations on Tensors gave."
            )
    return dict(outputs)


def scalar(what: str, value: Any) -> Tensor:
    """The value, refused unless it is one number."""
    if not isinstance(value, Tensor):
        fail(
            TypeMismatchError,
            f"Model: {what} is {value!r:.60}, no Tensor",
            "pass a scalar Tensor such as gc.mean(...).",
        )
    if any(e != 1 for e in value.shape):
        shape = ", ".join(map(str, value.shape))
        fail(ShapeError, f"Model: {what} has shape ({shape}), not that of a scalar", "reduce it: gc.mean(...).")
    return value
