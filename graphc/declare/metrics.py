"""Metrics: scalar Tensors of predictions and targets. ``gc.Model(metrics={"accuracy": gc.metrics.accuracy(Y, T)})``."""

from __future__ import annotations

from typing import Any

from graphc.declare.losses import check_labels
from graphc.declare.losses import mae as _mae
from graphc.declare.losses import mse as _mse
from graphc.declare.names import shape_text
from graphc.declare.operators import argmax, equal, mean, round, sum
from graphc.declare.origin import fail
from graphc.declare.tensor import Tensor, as_node
from graphc.errors import ShapeError

__all__ = ["accuracy", "mae", "mse", "r2"]


def __dir__() -> list[str]:
    return sorted(__all__)


def accuracy(prediction: Any, target: Any) -> Tensor:
    """The share of right predictions.

    Parameters
    ----------
    prediction : Tensor
        Probabilities of shape (n,) or (n, 1), which are rounded; or scores of shape (n, classes), of which the largest
        counts, so that logits and probabilities give the same.
    target : Tensor
        Of the shape of `prediction` (0 and 1, or one-hot), or of shape (n,): 0 and 1 for one column, integer
        labels for several.

    Returns
    -------
    Tensor
        A scalar.

    Raises
    ------
    ShapeError
        When the target has none of these shapes.

    Examples
    --------
    >>> import graphc as gc
    >>> accuracy(gc.input("Y", ("n", 10)), gc.input("T", ("n",), dtype="int64")).shape
    ()
    """
    y, t = _tensor(prediction), _tensor(target)
    if y.shape == t.shape and (y.ndim < 2 or y.shape[-1] == 1):
        return mean(equal(round(y), t))
    if y.shape == t.shape:
        return mean(equal(argmax(y, -1), argmax(t, -1)))
    if y.ndim and y.shape == (*t.shape, 1):
        return mean(equal(round(y[..., 0]), t))
    check_labels(y, t, "accuracy")
    return mean(equal(argmax(y, -1), t))


def mse(prediction: Any, target: Any) -> Tensor:
    """The mean squared error.

    Parameters
    ----------
    prediction, target : Tensor
        Of one shape.

    Raises
    ------
    ShapeError
        When the shapes differ.
    """
    return _mse(prediction, target)


def mae(prediction: Any, target: Any) -> Tensor:
    """The mean absolute error.

    Parameters
    ----------
    prediction, target : Tensor
        Of one shape.

    Raises
    ------
    ShapeError
        When the shapes differ.
    """
    return _mae(prediction, target)


def r2(prediction: Any, target: Any) -> Tensor:
    """1 - sum((t - y)**2)/sum((t - mean(t))**2): 1 is perfect, 0 as good as the mean of the targets.

    Parameters
    ----------
    prediction, target : Tensor
        Of one shape.

    Raises
    ------
    ShapeError
        When the shapes differ.
    """
    y, t = _tensor(prediction), _tensor(target)
    if y.shape != t.shape:
        message = f"r2: the prediction has shape {shape_text(y.shape)} but the target {shape_text(t.shape)}"
        fail(ShapeError, message, "both must have one shape.")
    return 1 - sum((t - y) ** 2) / sum((t - mean(t, axis=0, keepdims=True)) ** 2)


def _tensor(x: Any) -> Tensor:
    return x if isinstance(x, Tensor) else Tensor(as_node(x, "a metric"))
