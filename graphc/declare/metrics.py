"""Metrics: scalar Tensors of predictions and targets.

``gc.Model(metrics=[gc.metrics.accuracy(Y, T), gc.metrics.f1(Y, T)])``. Those that are no means over rows are exact over
a whole set all the same: counts are added over batches; ``auc``, ``r2`` and ``confusion_matrix`` are of all rows at
once.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np

from graphc.declare.losses import check_labels
from graphc.declare.losses import mae as _mae
from graphc.declare.losses import mse as _mse
from graphc.declare.measures import named, of_columns, of_parts
from graphc.declare.names import shape_text
from graphc.declare.operators import argmax, equal, max, mean, round, sum, transpose, where
from graphc.declare.origin import fail
from graphc.declare.tensor import Tensor, as_node
from graphc.errors import DomainError, ShapeError

__all__ = [
    "accuracy", "auc", "calibration_error", "confusion_matrix", "f1", "mae", "mse", "precision", "r2", "recall",
    "top_k_accuracy",
]  # fmt: skip
Average = Literal["macro", "weighted"]


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
        return named("accuracy", mean(equal(round(y), t)))
    if y.shape == t.shape:
        return named("accuracy", mean(equal(argmax(y, -1), argmax(t, -1))))
    if y.ndim and y.shape == (*t.shape, 1):
        return named("accuracy", mean(equal(round(y[..., 0]), t)))
    check_labels(y, t, "accuracy")
    return named("accuracy", mean(equal(argmax(y, -1), t)))


def top_k_accuracy(prediction: Any, target: Any, k: int = 5) -> Tensor:
    """The share of rows whose class is among the k with the largest scores; of equal scores the first class counts.

    Parameters
    ----------
    prediction : Tensor
        Scores of shape (n, classes).
    target : Tensor
        Integer labels of shape (n,), or one-hot of the shape of `prediction`.
    k : int
        From 1, where it is the accuracy, to the number of classes.

    Returns
    -------
    Tensor
        A scalar.

    Raises
    ------
    ShapeError
        When the target has neither shape.
    DomainError
        When k lies outside.

    Examples
    --------
    >>> import graphc as gc
    >>> top_k_accuracy(gc.input("Y", ("n", 10)), gc.input("T", ("n",), dtype="int64"), k=3).shape
    ()
    """
    y, t = _tensor(prediction), _tensor(target)
    if y.shape != t.shape:
        check_labels(y, t, "top_k_accuracy")
    classes = y.shape[-1] if y.ndim else 1
    whole = isinstance(k, int | np.integer) and not isinstance(k, bool)
    if not whole or not isinstance(classes, int) or not 1 <= k <= classes:
        message = f"top_k_accuracy: k is {k!r:.40} for {classes} classes"
        fail(DomainError, message, "give a whole number from 1 to the number of classes.")
    label = argmax(t, -1) if y.shape == t.shape else t
    score = sum(where(equal(label[..., None], np.arange(classes)), y, 0), axis=-1, keepdims=True)
    first = equal(score, y) * (label[..., None] > np.arange(classes))
    before = sum((y > score) + first, axis=-1)
    return named("top_k_accuracy", mean(before < k))


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
    return named("mse", _mse(prediction, target))


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
    return named("mae", _mae(prediction, target))


def r2(prediction: Any, target: Any) -> Tensor:
    """1 - sum((t - y)**2)/sum((t - mean(t))**2): 1 is perfect, 0 as good as the mean of the targets.

    Of all rows in ``evaluate`` and on validation data; of the batches of a training epoch, the mean.

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
    value = 1 - sum((t - y) ** 2) / sum((t - mean(t, axis=0, keepdims=True)) ** 2)
    return of_columns("r2", "r2", value, {"prediction": y, "target": t})


def precision(prediction: Any, target: Any, average: Average = "macro", threshold: float = 0.5) -> Tensor:
    """Of the rows that are taken for a class, the share that are it; 0 when there are none.

    Parameters
    ----------
    prediction : Tensor
        Probabilities of shape (n,) or (n, 1), positive above `threshold`; or scores of shape (n, classes), of which the
        largest counts.
    target : Tensor
        Of the shape of `prediction` (0 and 1, or one-hot), or of shape (n,): 0 and 1 for one column, integer
        labels for several.
    average : "macro" or "weighted"
        Of several classes: the mean over those that occur, or weighted by the rows that are of them.
    threshold : float
        Of one column.

    Returns
    -------
    Tensor
        A scalar. In a model its counts are added over batches: exact over an epoch and over a whole set.

    Raises
    ------
    ShapeError
        When the target has none of these shapes.

    Examples
    --------
    >>> import graphc as gc
    >>> precision(gc.input("Y", ("n", 1)), gc.input("T", ("n", 1))).shape
    ()
    """
    return _score("precision", prediction, target, average, threshold)


def recall(prediction: Any, target: Any, average: Average = "macro", threshold: float = 0.5) -> Tensor:
    """Of the rows that are of a class, the share that are taken for it; 0 when there are none.

    Parameters
    ----------
    prediction, target, average, threshold
        As for :func:`precision`.

    Raises
    ------
    ShapeError
        When the target has no shape that fits.
    """
    return _score("recall", prediction, target, average, threshold)


def f1(prediction: Any, target: Any, average: Average = "macro", threshold: float = 0.5) -> Tensor:
    """The harmonic mean of precision and recall.

    Parameters
    ----------
    prediction, target, average, threshold
        As for :func:`precision`.

    Raises
    ------
    ShapeError
        When the target has no shape that fits.
    """
    return _score("f1", prediction, target, average, threshold)


def _score(name: str, prediction: Any, target: Any, average: str, threshold: float) -> Tensor:
    given, wanted, classes = _labels(name, prediction, target, threshold)
    if average not in ("macro", "weighted"):
        fail(DomainError, f"{name}: average is {average!r}", "choose 'macro' or 'weighted'.")
    if classes == 1:
        return of_parts(name, f"{name} of one class", _counts([given], [wanted]))
    own = [equal(given, k) for k in range(classes)]
    return of_parts(name, f"{average} {name}", _counts(own, [equal(wanted, k) for k in range(classes)]))


def _counts(given: list[Tensor], wanted: list[Tensor]) -> Mapping[str, Tensor]:
    """Shares of rows, class by class, of 0 and 1: taken for it and of it, taken for it, of it."""
    parts = {}
    for k, (g, w) in enumerate(zip(given, wanted, strict=True)):
        parts |= {f"right{k}": mean(g * w), f"given{k}": mean(g), f"wanted{k}": mean(w)}
    return parts


def _labels(name: str, prediction: Any, target: Any, threshold: float) -> tuple[Tensor, Tensor, int]:
    """(predicted class, class) of every row, each of shape (n,), and the number of classes: 1 for a single column,
    where they are 0 and 1."""
    y, t = _tensor(prediction), _tensor(target)
    if not isinstance(y.shape[-1] if y.ndim else None, int):
        return (y > threshold) * 1.0, _alike(name, y, t), 1
    if y.shape[-1] == 1 and t.shape in (y.shape, y.shape[:-1]):
        return (y[..., 0] > threshold) * 1.0, t[..., 0] if t.shape == y.shape else t * 1.0, 1
    if t.shape == y.shape:
        return argmax(y, -1), argmax(t, -1), int(y.shape[-1])
    check_labels(y, t, name)
    return argmax(y, -1), t, int(y.shape[-1])


def _alike(name: str, y: Tensor, t: Tensor) -> Tensor:
    if y.shape != t.shape:
        message = f"{name}: the prediction has shape {shape_text(y.shape)} but the target {shape_text(t.shape)}"
        fail(ShapeError, message, "both must have one shape.")
    return t * 1.0


def calibration_error(prediction: Any, target: Any, bins: int = 10) -> Tensor:
    """How far probabilities are from what comes true: over bins of equal width, the mean distance of the two.

    Of one column the probability of 1 is set beside the share of rows that are 1; of several columns the largest
    probability beside the share of rows whose class it is (Guo, Pleiss, Sun and Weinberger 2017, arXiv:1706.04599).

    Parameters
    ----------
    prediction : Tensor
        Probabilities of shape (n,), (n, 1) or (n, classes); of logits take ``gc.softmax`` first.
    target : Tensor
        As for :func:`precision`.
    bins : int

    Raises
    ------
    ShapeError, DomainError
        When the target has no shape that fits, or there is no bin.
    """
    given, wanted, classes = _labels("calibration_error", prediction, target, 0.5)
    if bins < 1:
        fail(DomainError, f"calibration_error: bins is {bins}", "take at least 1, such as 10.")
    y = _tensor(prediction)
    believed = max(y, axis=-1) if classes > 1 else y[..., 0] if y.ndim and y.shape[-1] == 1 else y
    gap = believed - (equal(given, wanted) if classes > 1 else wanted)
    within = lambda b: (believed > b / bins if b else 1.0) * (believed <= (b + 1) / bins if b < bins - 1 else 1.0)
    return of_parts("calibration_error", "calibration", {f"gap{b}": mean(within(b) * gap) for b in range(bins)})


def auc(prediction: Any, target: Any) -> Tensor:
    """The area under the ROC curve: the share of pairs of a positive and a negative row that are ordered rightly, ties
    half; of several classes the mean over each against the rest.

    Of all rows in ``evaluate`` and on validation data; it is not in the history of training, where every batch has
    other parameters.

    Parameters
    ----------
    prediction : Tensor
        Scores of shape (n,), (n, 1) or (n, classes).
    target : Tensor
        As for :func:`precision`.

    Raises
    ------
    ShapeError
        When the target has no shape that fits.
    """
    _, wanted, classes = _labels("auc", prediction, target, 0.5)
    y = _tensor(prediction)
    flat = y[..., 0] if classes == 1 and y.ndim > 1 else y
    parts = [_ordered(flat, wanted)] if classes == 1 else [_ordered(y[:, k], equal(wanted, k)) for k in range(classes)]
    value = parts[0]
    for part in parts[1:]:
        value = value + part
    return of_columns("auc", "auc", value / len(parts), {"score": flat, "target": wanted})


def _ordered(score: Tensor, positive: Tensor) -> Tensor:
    """The share of pairs that are ordered rightly, over one batch."""
    higher, lower = score[:, None], score[None, :]
    pairs = positive[:, None] * (1 - positive[None, :])
    return sum(pairs * ((higher > lower) + 0.5 * equal(higher, lower))) / sum(pairs)


def confusion_matrix(prediction: Any, target: Any, threshold: float = 0.5) -> Tensor:
    """out[i, j]: how many rows of class i are taken for class j; in ``evaluate`` an array of whole numbers.

    Parameters
    ----------
    prediction, target, threshold
        As for :func:`precision`.

    Returns
    -------
    Tensor
        Of shape (classes, classes), two classes for one column. It is in no history.

    Raises
    ------
    ShapeError
        When the target has no shape that fits.
    """
    given, wanted, classes = _labels("confusion_matrix", prediction, target, threshold)
    numbers = np.arange(2 if classes == 1 else classes)
    given, wanted = (equal(labels[:, None], numbers) for labels in (given, wanted))
    value = transpose(wanted) @ given
    return of_columns("confusion_matrix", "confusion", value, {"given": given, "wanted": wanted})


def _tensor(x: Any) -> Tensor:
    return x if isinstance(x, Tensor) else Tensor(as_node(x, "a metric"))
