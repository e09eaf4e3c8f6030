"""Losses as plain functions of Tensors: ``loss(prediction, target, reduce="mean" | "sum" | None)``.

``"mean"`` divides by the number of all elements (of rows for :func:`cross_entropy`), ``"sum"`` adds them, and None
gives one value a row, the mean over the other axes, so that the mean of the rows is the loss.
"""

from __future__ import annotations

from typing import Any

from graphc.declare.expression import Op
from graphc.declare.loss_parts import (
    Reduce,
    check_labels,
    class_weights,
    is_beyond,
    pair,
    pick,
    reduced,
    reduced_labels,
    refuse_unless,
    target_of,
    tensor_of,
    weight_of,
)
from graphc.declare.losses_of_classes import (
    categorical_hinge,
    dice,
    focal,
    kl_divergence,
    multi_margin,
    multilabel_margin,
    multilabel_soft_margin,
    squared_hinge,
    tversky,
)
from graphc.declare.losses_of_numbers import gaussian_nll, log_cosh, mape, msle, poisson, quantile, smooth_l1
from graphc.declare.losses_of_pairs import contrastive, cosine_similarity, margin_ranking, triplet
from graphc.declare.operators import abs, log, logsumexp, mean, relu, softplus, sum, where
from graphc.declare.origin import fail
from graphc.declare.tensor import Tensor, combine
from graphc.errors import TypeMismatchError
from graphc.ir import scalar

__all__ = [
    "bce", "bce_with_logits", "categorical_hinge", "contrastive", "cosine_similarity", "cross_entropy", "dice", "focal",
    "gaussian_nll", "hinge", "huber", "kl_divergence", "log_cosh", "mae", "mape", "margin_ranking", "mse", "msle",
    "multi_margin", "multilabel_margin", "multilabel_soft_margin", "nll", "poisson", "quantile", "smooth_l1",
    "squared_hinge", "triplet", "tversky",
]  # fmt: skip


def __dir__() -> list[str]:
    return sorted(__all__)


SHARE = "in [0, 1), such as 0.1"
_BCE = Op("bce", "bce({0}, {1})", scalar.bce)


def mse(prediction: Any, target: Any, reduce: Reduce = "mean") -> Tensor:
    """Mean squared error, (prediction - target)**2.

    Parameters
    ----------
    prediction, target : Tensor
        Of one shape; the target may be a number.
    reduce : "mean", "sum" or None

    Raises
    ------
    ShapeError
        When the shapes differ: a target (n,) against a prediction (n, 1) would otherwise broadcast to (n, n).

    Examples
    --------
    >>> import graphc as gc
    >>> Y = gc.input("Y", ("n", 3)); T = gc.input("T", ("n", 3))
    >>> mse(Y, T).shape, mse(Y, T, reduce=None).shape
    ((), ('n',))
    """
    y, t = pair(prediction, target, "mse")
    return reduced((y - t) ** 2, reduce)


def mae(prediction: Any, target: Any, reduce: Reduce = "mean") -> Tensor:
    """Mean absolute error, |prediction - target|.

    Parameters
    ----------
    prediction, target : Tensor
        Of one shape; the target may be a number.
    reduce : "mean", "sum" or None
        The mean over all elements, their sum, or one value a row.

    Raises
    ------
    ShapeError
        When the shapes differ.
    """
    y, t = pair(prediction, target, "mae")
    return reduced(abs(y - t), reduce)


def huber(prediction: Any, target: Any, reduce: Reduce = "mean", delta: float = 1.0) -> Tensor:
    """r**2/2 for |r| <= delta, else delta*(|r| - delta/2), with r = prediction - target (Huber 1964).

    Parameters
    ----------
    prediction, target : Tensor
        Of one shape; the target may be a number.
    reduce : "mean", "sum" or None
        The mean over all elements, their sum, or one value a row.
    delta : float
        Where the parabola ends, above 0.

    Raises
    ------
    ShapeError
        When the shapes differ.
    DomainError
        When delta is not above 0.
    """
    y, t = pair(prediction, target, "huber")
    refuse_unless(delta > 0, "huber", "delta", delta, "above 0")
    r = y - t
    return reduced(where(abs(r) <= delta, r**2 / 2, delta * (abs(r) - _half(delta))), reduce)


def _half(delta: float) -> Any:
    return scalar.number(delta) / 2


def bce(
    prediction: Any, target: Any, reduce: Reduce = "mean", label_smoothing: float = 0.0, pos_weight: Any = None
) -> Tensor:
    """Binary cross-entropy -(t*log(y) + (1 - t)*log(1 - y)) of probabilities y; of a sigmoid it is compiled stably.

    Parameters
    ----------
    prediction, target : Tensor
        Of one shape; the target may be a number. Targets are 0, 1, or between.
    reduce : "mean", "sum" or None
        The mean over all elements, their sum, or one value a row.
    label_smoothing : float
        Targets t become (1 - label_smoothing)*t + label_smoothing/2, in [0, 1).
    pos_weight : number, array or Tensor, optional
        How often a target 1 counts: a factor of t*log(y), one for all or one for every column.

    Raises
    ------
    ShapeError
        When the shapes differ.
    DomainError
        When label_smoothing lies outside.
    """
    y, t = pair(prediction, target, "bce")
    t = _smoothed("bce", t, label_smoothing)
    hits = t * log(y) if pos_weight is None else pos_weight * t * log(y)
    return reduced(-(hits + (1 - t) * log(1 - y)), reduce)


def _smoothed(what: str, t: Tensor, share: float) -> Tensor:
    refuse_unless(0 <= share < 1, what, "label_smoothing", share, SHARE)
    return t if share == 0 else (1 - share) * t + share / 2


def bce_with_logits(
    prediction: Any, target: Any, reduce: Reduce = "mean", label_smoothing: float = 0.0, pos_weight: Any = None
) -> Tensor:
    """Binary cross-entropy softplus(z) - t*z of logits z = prediction, accurate in both tails.

    Parameters
    ----------
    prediction, target : Tensor
        Of one shape; the target may be a number. Targets are 0, 1, or between.
    reduce : "mean", "sum" or None
        The mean over all elements, their sum, or one value a row.
    label_smoothing, pos_weight : number, array or Tensor
        As in :func:`bce`.

    Raises
    ------
    ShapeError
        When the shapes differ.
    DomainError
        When label_smoothing lies outside.
    """
    z, t = pair(prediction, target, "bce_with_logits")
    t = _smoothed("bce_with_logits", t, label_smoothing)
    if pos_weight is not None:
        return reduced(pos_weight * t * softplus(-z) + (1 - t) * softplus(z), reduce)
    return reduced(combine(_BCE, (z, t)), reduce)


def hinge(prediction: Any, target: Any, reduce: Reduce = "mean") -> Tensor:
    """max(0, 1 - t*y) for targets -1 and 1.

    Parameters
    ----------
    prediction, target : Tensor
        Of one shape; the target may be a number.
    reduce : "mean", "sum" or None
        The mean over all elements, their sum, or one value a row.

    Raises
    ------
    ShapeError
        When the shapes differ.
    """
    y, t = pair(prediction, target, "hinge")
    return reduced(relu(1 - t * y), reduce)


def cross_entropy(
    prediction: Any,
    target: Any,
    reduce: Reduce = "mean",
    label_smoothing: float = 0.0,
    class_weight: Any = None,
    ignore_index: int | None = None,
) -> Tensor:
    """Softmax cross-entropy of logits z = prediction: logsumexp_j z[i, j] - z[i, target[i]].

    Parameters
    ----------
    prediction : Tensor
        Logits of shape (..., classes), not probabilities.
    target : Tensor or array
        Integer labels of shape (...), or what `argmax` and the like compute; or soft labels of the shape of
        `prediction`.
    reduce : "mean", "sum" or None
        The mean is over rows, that is over labels.
    label_smoothing : float
        The share of each label that goes to all classes alike, in [0, 1) (Szegedy et al. 2016).
    class_weight : array or Tensor, optional
        A weight for every class, shape (classes,). The mean divides by the weights of the labels, as torch does; of
        soft labels by the number of rows.
    ignore_index : int, optional
        Rows of this label count for nothing, and the mean is over the others: a class, or the number of classes.

    Raises
    ------
    ShapeError
        When the target has neither shape, or class_weight another one.
    TypeMismatchError
        When labels of shape (...) are not integer data.
    DomainError
        When label_smoothing or ignore_index lies outside.

    Examples
    --------
    >>> import graphc as gc
    >>> Z = gc.input("Z", ("n", 10)); T = gc.input("T", ("n",), dtype="int64")
    >>> cross_entropy(Z, T).shape
    ()
    """
    z = tensor_of(prediction, "cross_entropy")
    t = target_of(z, target, "cross_entropy")
    refuse_unless(0 <= label_smoothing < 1, "cross_entropy", "label_smoothing", label_smoothing, SHARE)
    w = None if class_weight is None else class_weights(class_weight, z, "cross_entropy")
    if z.ndim > 0 and t.shape == z.shape:
        return _of_soft(z, t, reduce, label_smoothing, w, ignore_index)
    check_labels(z, t, "cross_entropy")
    beyond = is_beyond("cross_entropy", ignore_index, z)
    weight = None if w is None else weight_of(w, t, beyond)
    rows = logsumexp(z, -1) - pick(z, t, beyond)
    rows = rows if weight is None else rows * weight
    return reduced_labels(_smooth(rows, z, label_smoothing, w), t, weight, ignore_index, reduce)


def _of_soft(z: Tensor, t: Tensor, reduce: Reduce, smoothing: float, w: Tensor | None, ignored: int | None) -> Tensor:
    if ignored is not None:
        hint = "give soft labels of rows that count for nothing as zeros."
        fail(TypeMismatchError, "cross_entropy: ignore_index is for integer labels, and these are soft ones", hint)
    rows = sum((t if w is None else t * w) * (logsumexp(z, -1, keepdims=True) - z), axis=-1)
    return reduced(_smooth(rows, z, smoothing, w), reduce, row=True)


def _smooth(rows: Tensor, z: Tensor, share: float, w: Tensor | None) -> Tensor:
    """The values of rows with a share of each label going to all classes alike."""
    if not share:
        return rows
    others = logsumexp(z, -1, keepdims=True) - z
    return (1 - share) * rows + share * mean(others if w is None else others * w, axis=-1)


def nll(
    prediction: Any,
    target: Any,
    reduce: Reduce = "mean",
    class_weight: Any = None,
    ignore_index: int | None = None,
) -> Tensor:
    """-prediction[i, target[i]] of logarithms of probabilities; with those of a softmax, :func:`cross_entropy`.

    Parameters
    ----------
    prediction : Tensor
        Logarithms of probabilities of shape (..., classes), such as those of :func:`graphc.log_softmax`.
    target : Tensor
        Integer labels of shape (...), or what `argmax` and the like compute.
    reduce : "mean", "sum" or None
        The mean is over rows, that is over labels.
    class_weight : array or Tensor, optional
        A weight for every class, shape (classes,). The mean divides by the weights of the labels.
    ignore_index : int, optional
        Rows of this label count for nothing, and the mean is over the others: a class, or the number of classes.

    Raises
    ------
    ShapeError
        When the target has another shape, or class_weight.
    TypeMismatchError
        When the labels are not integer data.
    DomainError
        When ignore_index lies outside.

    Examples
    --------
    >>> import graphc as gc
    >>> Z = gc.input("Z", ("n", 10)); T = gc.input("T", ("n",), dtype="int64")
    >>> nll(gc.log_softmax(Z), T).shape
    ()
    """
    z, t = tensor_of(prediction, "nll"), tensor_of(target, "nll")
    check_labels(z, t, "nll")
    beyond = is_beyond("nll", ignore_index, z)
    weight = None if class_weight is None else weight_of(class_weights(class_weight, z, "nll"), t, beyond)
    rows = -pick(z, t, beyond)
    return reduced_labels(rows if weight is None else rows * weight, t, weight, ignore_index, reduce)
