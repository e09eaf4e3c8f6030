"""Losses of predictions that are scores, logits or probabilities of classes."""

from __future__ import annotations

from typing import Any

from graphc.declare.loss_parts import Reduce, check_labels, pair, pick, reduced, refuse_unless, target_of, tensor_of
from graphc.declare.operators import exp, log, max, mean, relu, softplus, sum, where
from graphc.declare.origin import fail
from graphc.declare.tensor import Tensor
from graphc.errors import ShapeError


def squared_hinge(prediction: Any, target: Any, reduce: Reduce = "mean") -> Tensor:
    """max(0, 1 - t*y)**2 for targets -1 and 1.

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
    y, t = pair(prediction, target, "squared_hinge")
    return reduced(relu(1 - t * y) ** 2, reduce)


def categorical_hinge(prediction: Any, target: Any, reduce: Reduce = "mean") -> Tensor:
    """max(0, 1 + max_j (1 - t[i, j])*y[i, j] - sum_j t[i, j]*y[i, j]) for one-hot targets, as Keras has it.

    Parameters
    ----------
    prediction, target : Tensor
        Of one shape (..., classes).
    reduce : "mean", "sum" or None
        The mean over rows, their sum, or one value a row.

    Raises
    ------
    ShapeError
        When the shapes differ.
    """
    y, t = _rows("categorical_hinge", prediction, target)
    return reduced(relu(1 + max((1 - t) * y, axis=-1) - sum(t * y, axis=-1)), reduce, row=True)


def multi_margin(prediction: Any, target: Any, reduce: Reduce = "mean", margin: float = 1.0) -> Tensor:
    """1/classes sum_{j != t[i]} max(0, margin - z[i, t[i]] + z[i, j]) of scores z (Crammer and Singer 2001).

    Parameters
    ----------
    prediction : Tensor
        Scores of shape (..., classes).
    target : Tensor
        Integer labels of shape (...), or what `argmax` and the like compute.
    reduce : "mean", "sum" or None
        The mean over rows, their sum, or one value a row.
    margin : float
        By how much the right score is to exceed the others, above 0.

    Raises
    ------
    ShapeError, TypeMismatchError
        When the target does not hold one integer label for each row.
    DomainError
        When the margin is not above 0.
    """
    z = tensor_of(prediction, "multi_margin")
    t = target_of(z, target, "multi_margin")
    check_labels(z, t, "multi_margin")
    refuse_unless(margin > 0, "multi_margin", "margin", margin, "above 0")
    classes = z.shape[-1]
    if isinstance(classes, str):
        fail(ShapeError, f"multi_margin: the number of classes is the free extent {classes!r}", "give it a number.")
    others = sum(relu(margin - pick(z, t)[..., None] + z), axis=-1)  # with the label itself, whose term is the margin
    return reduced((others - margin) / classes, reduce, row=True)


def multilabel_margin(prediction: Any, target: Any, reduce: Reduce = "mean") -> Tensor:
    """1/classes sum_{j, k} t[i, j]*(1 - t[i, k])*max(0, 1 - z[i, j] + z[i, k]) of scores z.

    Parameters
    ----------
    prediction, target : Tensor
        Of one shape (..., classes); a target is 1 for every class that a row has, else 0.
    reduce : "mean", "sum" or None
        The mean over rows, their sum, or one value a row.

    Raises
    ------
    ShapeError
        When the shapes differ.
    """
    z, t = _rows("multilabel_margin", prediction, target)
    pairs = t[..., :, None] * (1 - t[..., None, :]) * relu(1 - z[..., :, None] + z[..., None, :])
    return reduced(sum(mean(pairs, axis=-1), axis=-1), reduce, row=True)


def multilabel_soft_margin(prediction: Any, target: Any, reduce: Reduce = "mean", class_weight: Any = None) -> Tensor:
    """1/classes sum_j w[j]*(t[i, j]*softplus(-z[i, j]) + (1 - t[i, j])*softplus(z[i, j])) of logits z.

    Parameters
    ----------
    prediction, target : Tensor
        Of one shape (..., classes); targets are 0 and 1.
    reduce : "mean", "sum" or None
        The mean over rows, their sum, or one value a row.
    class_weight : array or Tensor, optional
        A weight for every class; 1 without.

    Raises
    ------
    ShapeError
        When the shapes differ.
    """
    z, t = _rows("multilabel_soft_margin", prediction, target)
    each = t * softplus(-z) + (1 - t) * softplus(z)
    return reduced(mean(each if class_weight is None else class_weight * each, axis=-1), reduce, row=True)


def kl_divergence(prediction: Any, target: Any, reduce: Reduce = "mean") -> Tensor:
    """sum_j t[i, j]*(log(t[i, j]) - log(y[i, j])) of probabilities y; of a softmax it is compiled stably.

    Parameters
    ----------
    prediction, target : Tensor
        Of one shape (..., classes), probabilities; where a target is 0, its term is 0.
    reduce : "mean", "sum" or None
        The mean over rows, their sum, or one value a row.

    Raises
    ------
    ShapeError
        When the shapes differ.
    """
    y, t = _rows("kl_divergence", prediction, target)
    return reduced(sum(where(t > 0, t * (log(t) - log(y)), 0), axis=-1), reduce, row=True)


def focal(
    prediction: Any, target: Any, reduce: Reduce = "mean", gamma: float = 2.0, alpha: float | None = None
) -> Tensor:
    """(1 - p)**gamma*(-log(p)) with p = sigmoid(z) where the target is 1, sigmoid(-z) where it is 0 (Lin et al. 2017).

    Parameters
    ----------
    prediction, target : Tensor
        Logits z and targets 0 and 1 of one shape; the target may be a number.
    reduce : "mean", "sum" or None
        The mean over all elements, their sum, or one value a row.
    gamma : float
        How much less the easy ones count, at least 0; 0 is :func:`bce_with_logits`.
    alpha : float, optional
        The weight of the targets 1, between 0 and 1; those of 0 have 1 - alpha.

    Raises
    ------
    ShapeError
        When the shapes differ.
    DomainError
        When gamma or alpha lies outside.
    """
    z, t = pair(prediction, target, "focal")
    refuse_unless(gamma >= 0, "focal", "gamma", gamma, "at least 0, such as 2")
    refuse_unless(alpha is None or 0 < alpha < 1, "focal", "alpha", alpha, "between 0 and 1, such as 0.25")
    up = where(t > 0.5, z, -z)  # p = sigmoid(up), 1 - p = exp(-softplus(up))
    values = exp(-gamma * softplus(up)) * softplus(-up)
    return reduced(values if alpha is None else where(t > 0.5, alpha, 1 - alpha) * values, reduce)


def tversky(
    prediction: Any,
    target: Any,
    reduce: Reduce = "mean",
    alpha: float = 0.5,
    beta: float = 0.5,
    smooth: float = 1e-7,
) -> Tensor:
    """1 - (TP + smooth)/(TP + alpha*FP + beta*FN + smooth) of each row (Salehi et al. 2017).

    TP = sum t*y, FP = sum (1 - t)*y, FN = sum t*(1 - y), each over all axes but the first.

    Parameters
    ----------
    prediction, target : Tensor
        Probabilities and targets 0 and 1 of one shape, with at least two axes.
    reduce : "mean", "sum" or None
        The mean over rows, their sum, or one value a row.
    alpha, beta : float
        The weights of what is found wrongly and of what is missed, at least 0.
    smooth : float
        Above 0; a row with nothing in it has the loss 0.

    Raises
    ------
    ShapeError
        When the shapes differ, or have one axis.
    DomainError
        When alpha, beta or smooth lies outside.
    """
    y, t = _rows("tversky", prediction, target)
    for name, value in (("alpha", alpha), ("beta", beta)):
        refuse_unless(value >= 0, "tversky", name, value, "at least 0, such as 0.5")
    refuse_unless(smooth > 0, "tversky", "smooth", smooth, "above 0, such as 1e-7")
    axes = tuple(range(1, y.ndim))
    both = sum(t * y, axis=axes)
    missed = alpha * sum((1 - t) * y, axis=axes) + beta * sum(t * (1 - y), axis=axes)
    return reduced(missed / (both + missed + smooth), reduce, row=True)


def dice(prediction: Any, target: Any, reduce: Reduce = "mean", smooth: float = 1e-7) -> Tensor:
    """1 - (2*sum t*y + smooth)/(sum t + sum y + smooth) of each row, the sums over all axes but the first.

    Milletari et al. 2016; Keras adds up the whole batch.

    Parameters
    ----------
    prediction, target : Tensor
        Probabilities and targets 0 and 1 of one shape, with at least two axes.
    reduce : "mean", "sum" or None
        The mean over rows, their sum, or one value a row.
    smooth : float
        Above 0; a row with nothing in it has the loss 0.

    Raises
    ------
    ShapeError
        When the shapes differ, or have one axis.
    DomainError
        When smooth is not above 0.
    """
    y, t = _rows("dice", prediction, target)
    refuse_unless(smooth > 0, "dice", "smooth", smooth, "above 0, such as 1e-7")
    axes = tuple(range(1, y.ndim))
    apart = sum(t * (1 - y) + (1 - t) * y, axis=axes)
    return reduced(apart / (sum(t + y, axis=axes) + smooth), reduce, row=True)


def _rows(what: str, prediction: Any, target: Any) -> tuple[Tensor, Tensor]:
    """Prediction and target of one shape with at least one row axis and one of classes."""
    y, t = pair(prediction, target, what)
    if y.ndim < 2 or t.ndim < 2:
        short = y if y.ndim < 2 else t
        message = f"{what}: {short.name or 'the prediction'} has {short.ndim} axes, not a row of several values"
        fail(ShapeError, message, "the first axis is that of the rows, the last that of the classes.")
    return y, t
