"""What losses share: shapes that fit, labels, and the reductions ``"mean"``, ``"sum"`` and None."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np

from graphc.declare.embedding import label_node
from graphc.declare.names import node_text, shape_text
from graphc.declare.operators import mean, sum
from graphc.declare.origin import fail
from graphc.declare.tensor import Tensor, as_node
from graphc.declare.views import gather, view
from graphc.errors import DomainError, ShapeError, TypeMismatchError
from graphc.ir.affine import identity

Reduce = Literal["mean", "sum"] | None


def check_labels(z: Tensor, t: Tensor, what: str) -> None:
    """Raise unless t holds one integer label for every row of z."""
    if z.ndim == 0 or t.shape != z.shape[:-1]:
        message = f"{what}: {node_text(t.node)} does not give one label for each row of {node_text(z.node)}"
        column = t.ndim == z.ndim and t.shape[-1] == 1
        whole = "integer labels have one axis less than the logits."
        hint = f"take the column of labels: {t.name or 'T'}[..., 0]." if column else whole
        fail(ShapeError, message, hint)
    if t.dtype != "int":
        message = f"{what}: the target {node_text(t.node)} is not integer data"
        fail(TypeMismatchError, message, f'declare them with gc.input("{t.name or "T"}", ..., dtype="int64").')


def pick(z: Tensor, t: Tensor) -> Tensor:
    """out[i..] = z[i.., t[i..]]."""
    rows = identity(t.ndim)
    return Tensor(view(z.node, t.shape, (*rows, gather(t.node, rows, z.shape[-1]))))


def tensor_of(x: Any, what: str) -> Tensor:
    """A Tensor, also of a number or an array."""
    return x if isinstance(x, Tensor) else Tensor(as_node(x, what))


def target_of(z: Tensor, target: Any, what: str) -> Tensor:
    """The target as a Tensor; whole numbers in an array with an axis less than the logits are labels."""
    whole = not isinstance(target, Tensor) and np.asarray(target).dtype.kind in "iu"
    if not whole or np.ndim(target) != z.ndim - 1:
        return tensor_of(target, what)
    return Tensor(label_node(what, target, z.shape[-1]))


def pair(
    prediction: Any, target: Any, what: str, first: str = "prediction", second: str = "target"
) -> tuple[Tensor, Tensor]:
    """Two Tensors of one shape, as the error calls them; the second may be a number.

    Raises
    ------
    ShapeError
        When the shapes differ.
    """
    y, t = tensor_of(prediction, what), tensor_of(target, what)
    if y.shape != t.shape and t.ndim:
        message = f"{what}: the {first} has shape {shape_text(y.shape)} but the {second} {shape_text(t.shape)}"
        column = y.shape == (*t.shape, 1)
        hint = f"make the {second} a column: {t.name or 'T'}[..., None]." if column else "both must have one shape."
        fail(ShapeError, message, hint)
    return y, t


def reduced(values: Tensor, reduce: Reduce, row: bool = False) -> Tensor:
    """The mean, the sum, or one value a row; ``row`` says that there is one a row already."""
    if reduce == "mean":
        return mean(values)
    if reduce == "sum":
        return sum(values)
    if reduce is not None:
        fail(TypeMismatchError, f"reduce is {reduce!r}", 'use "mean", "sum" or None.')
    return values if row else mean(values, axis=tuple(range(1, values.ndim)))


def refuse_unless(holds: bool, what: str, name: str, value: Any, domain: str) -> None:
    """Raise DomainError, naming an option of a loss and where it must lie, when it does not lie there."""
    if not holds:
        fail(DomainError, f"{what}: {name} is {value}", f"{name} is {domain}.")


def class_weights(weights: Any, z: Tensor, what: str) -> Tensor:
    """A weight for every class of the logits z.

    Raises
    ------
    ShapeError
        When there is not one for each.
    """
    w = tensor_of(weights, what)
    if w.shape != z.shape[-1:]:
        message = f"{what}: class_weight has shape {shape_text(w.shape)}, the logits {shape_text(z.shape)}"
        fail(ShapeError, message, "give one weight for each class.")
    return w


def weight_of(w: Tensor, t: Tensor) -> Tensor:
    """out[i..] = w[t[i..]]."""
    return Tensor(view(w.node, t.shape, (gather(t.node, identity(t.ndim), w.shape[0]),)))
