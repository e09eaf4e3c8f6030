"""What losses share: shapes that fit, labels, and the reductions ``"mean"``, ``"sum"`` and None."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np

from graphc.declare.computed_places import at_places, extent_of_places
from graphc.declare.embedding import label_node
from graphc.declare.names import node_text, shape_text
from graphc.declare.operators import mean, sum, where
from graphc.declare.origin import fail
from graphc.declare.pointwise import not_equal
from graphc.declare.tensor import Tensor, as_node
from graphc.declare.views import check_places, gather, place_of, view
from graphc.errors import DomainError, ShapeError, TypeMismatchError
from graphc.ir.affine import Affine, Extent, constant, identity
from graphc.ir.node import Mask, Read

Reduce = Literal["mean", "sum"] | None


def check_labels(z: Tensor, t: Tensor, what: str) -> None:
    """Raise unless t holds one integer label for every row of z."""
    if z.ndim == 0 or t.shape != z.shape[:-1]:
        message = f"{what}: {node_text(t.node)} does not give one label for each row of {node_text(z.node)}"
        column = t.ndim == z.ndim and t.shape[-1] == 1
        whole = "integer labels have one axis less than the logits."
        hint = f"take the column of labels: {t.name or 'T'}[..., 0]." if column else whole
        fail(ShapeError, message, hint)
    found = None if t.dtype == "int" else extent_of_places(t.node)
    if found is not None:
        check_places(found, z.shape[-1], f"the labels of {what}")
    elif t.dtype != "int":
        message = f"{what}: the target {node_text(t.node)} is not integer data"
        fail(TypeMismatchError, message, f'declare them with gc.input("{t.name or "T"}", ..., dtype="int64").')


def pick(z: Tensor, t: Tensor, beyond: bool = False) -> Tensor:
    """out[i..] = z[i.., t[i..]]; with `beyond` a label may be the number after the last, where the result is 0."""
    return _at_labels(z, identity(t.ndim), t, beyond)


def _at_labels(x: Tensor, rows: tuple[Affine, ...], t: Tensor, beyond: bool) -> Tensor:
    """x at the rows, along its last axis at the labels; computed ones read all of that axis."""
    classes, places = x.shape[-1], identity(t.ndim)
    if beyond and isinstance(classes, int) and t.dtype == "int":
        place = gather(t.node, places, classes + 1)
        return Tensor(view(x.node, t.shape, (*rows, place), [Mask("ge", constant(classes - 1) - place)]))
    computed: list[tuple[Read, Extent]] = []
    at = (*rows, place_of(t.node, places, classes, t.ndim, computed))
    return Tensor(at_places(x.node, t.shape, at, computed) if computed else view(x.node, t.shape, at))


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


def weight_of(w: Tensor, t: Tensor, beyond: bool = False) -> Tensor:
    """out[i..] = w[t[i..]]; with `beyond` 0 for the label after the last."""
    return _at_labels(w, (), t, beyond)


def is_beyond(what: str, ignored: Any, z: Tensor) -> bool:
    """Whether the label that counts for nothing is the number after the last class.

    Raises
    ------
    DomainError
        When it is neither a class nor that number.
    """
    if ignored is None:
        return False
    classes = z.shape[-1]
    whole = isinstance(ignored, int | np.integer) and not isinstance(ignored, bool)
    if not whole or ignored < 0 or isinstance(classes, int) and ignored > classes:
        last = "" if isinstance(classes, str) else f", up to {classes}, the number after the last"
        hint = f"give a label of at least 0{last}; np.where(t < 0, {classes}, t) makes one of those below 0."
        fail(DomainError, f"{what}: ignore_index is {ignored!r:.40}", hint)
    return ignored == classes


def reduced_labels(rows: Tensor, t: Tensor, weight: Tensor | None, ignored: int | None, reduce: Reduce) -> Tensor:
    """The values of rows, 0 where the label counts for nothing; the mean divides by the weights of the others."""
    if weight is None and ignored is None:
        return reduced(rows, reduce, row=True)
    if ignored is not None:
        counts = not_equal(t, ignored)
        rows, weight = where(counts, rows, 0), where(counts, 1 if weight is None else weight, 0)
    return sum(rows) / sum(weight) if reduce == "mean" else reduced(rows, reduce, row=True)
