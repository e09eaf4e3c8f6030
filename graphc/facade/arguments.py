"""What ``Model`` is given, checked."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

from graphc.declare.names import check_name, node_text
from graphc.declare.origin import fail
from graphc.declare.tensor import Tensor
from graphc.errors import NameClashError, ShapeError, TypeMismatchError
from graphc.ir.node import Node
from graphc.ir.walk import leaves

DType = Literal["float32", "float64"]
Precision = Literal["float32", "tf32", "bf16"]
Record = Literal["epoch", "step"]
Stage = Literal["formula", "gradient", "rewritten", "kernels", "plan", "source"]
Target = Literal["cpu", "cuda", "auto"]
Outputs = Tensor | Sequence[Tensor] | Mapping[str, Tensor] | None


def name_apart(roots: Iterable[Node]) -> None:
    """Give random tensors, which nobody names, names that nothing else of a model has: mask, mask1, .."""
    found = leaves(roots)
    taken = {str(leaf.name) for leaf in found if leaf.kind != "random"}
    for leaf in found:
        if leaf.kind == "random":
            base = str(leaf.name).rstrip("0123456789")
            names = (f"{base}{t or ''}" for t in range(len(found) + 1))
            leaf.name = str(leaf.name) if leaf.name not in taken else next(n for n in names if n not in taken)
            taken.add(leaf.name)


def check_names(metrics: Iterable[str], roots: Iterable[Node]) -> None:
    """Refuse a metric that is named like an entry of the history, and two declarations of one name."""
    for n in metrics:
        if n == "loss" or n.startswith("val_"):
            fail(NameClashError, f"Model: a metric cannot be named {n!r}", "that name is used in the history.")
    seen: dict[str, Node] = {}
    for leaf in leaves(roots):
        if leaf.kind not in ("constant", "phase") and seen.setdefault(str(leaf.name), leaf) is not leaf:
            both = f"{node_text(seen[str(leaf.name)])} and {node_text(leaf)}"
            message = f"Model: two declarations are named {leaf.name}: {both}"
            fail(NameClashError, message, "names are unique in a model.")


Form = Literal["one", "list", "dict"]
"""How the outputs of a model were given, and how ``predict`` gives them back."""


def form_of(output: Outputs) -> Form:
    """How the outputs are given."""
    return "dict" if isinstance(output, Mapping) else "list" if isinstance(output, list | tuple) else "one"


def named_tensors(output: Outputs) -> dict[str, Tensor]:
    """Outputs by name; one alone is named output, those of a list as the Tensors are, else output0, output1, .."""
    given: Sequence[Any] = output if isinstance(output, list | tuple) else [output]
    names = _names_of(given) if form_of(output) == "list" else ["output"]
    outputs = {} if output is None else output if isinstance(output, Mapping) else dict(zip(names, given, strict=True))
    if output is not None and not outputs:
        fail(TypeMismatchError, f"Model: output={output!r} has no Tensor in it", "leave it out, or give an output.")
    for n, t in outputs.items():
        check_name(n, "an output")
        if not isinstance(t, Tensor):
            fail(
                TypeMismatchError, f"Model: the output is {t!r:.60}, no Tensor", "pass what operations on Tensors gave."
            )
    return dict(outputs)


def _names_of(outputs: Sequence[Any]) -> list[str]:
    """The names of the Tensors where they are told apart by them, else their numbers."""
    own = [getattr(x, "name", None) for x in outputs]
    return [n if n and own.count(n) == 1 else f"output{t}" for t, n in enumerate(own)]


def in_form(form: Form, names: Iterable[str], values: Sequence[Any]) -> Any:
    """Values of the outputs, put together as the outputs were given."""
    return values[0] if form == "one" else list(values) if form == "list" else dict(zip(names, values, strict=True))


REFUSED = {
    "seed": "give seeds=4 for the seeds 0 to 3, or a list of seeds",
    "dtype": "say it in the declaration: gc.Model(..., dtype='float64')",
}
"""Options of ``fit`` that ``sweep`` does not have, and what to do instead."""


def data_by_name(args: tuple[Any, ...], option: str) -> str | None:
    """What to write instead of ``fit(X=x, T=t)``; the first argument is the model."""
    names = [str(leaf.name) for leaf in args[0]._core.all_inputs] if args else []
    given = ", ".join(f'"{n}": ..' for n in names)
    return f"pass data by position or in one dict: {{{given}}}" if option in names else None


def not_swept(args: tuple[Any, ...], option: str) -> str | None:
    """What to do instead of an option of ``fit`` that ``sweep`` does not have."""
    return REFUSED.get(option) or data_by_name(args, option)


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
