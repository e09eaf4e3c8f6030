"""Losses that compare two predictions: angles, distances, order."""

from __future__ import annotations

from typing import Any

from graphc.declare.loss_parts import Reduce, pair, reduced, refuse_unless
from graphc.declare.operators import maximum, relu, sqrt, sum
from graphc.declare.tensor import Tensor


def cosine_similarity(prediction: Any, target: Any, reduce: Reduce = "mean", eps: float = 1e-8) -> Tensor:
    """Minus the cosine of the angle, -sum_j y[i, j]*t[i, j]/(|y[i]|*|t[i]|): -1 where both point the same way.

    It and its gradient are right for rows as large as numbers are.

    Parameters
    ----------
    prediction, target : Tensor
        Of one shape (..., components).
    reduce : "mean", "sum" or None
        The mean over rows, their sum, or one value a row.
    eps : float
        What shorter vectors are divided by, above 0.

    Raises
    ------
    ShapeError
        When the shapes differ.
    DomainError
        When eps is not above 0.
    """
    y, t = pair(prediction, target, "cosine_similarity")
    refuse_unless(eps > 0, "cosine_similarity", "eps", eps, "above 0, such as 1e-8")
    unit = lambda x: x / maximum(sqrt(sum(x**2, axis=-1, keepdims=True)), eps)
    return reduced(-sum(unit(y) * unit(t), axis=-1), reduce, row=True)


def triplet(
    anchor: Any, positive: Any, negative: Any, reduce: Reduce = "mean", margin: float = 1.0, eps: float = 1e-6
) -> Tensor:
    """max(0, |a - p| - |a - n| + margin) with Euclidean distances |x| = sqrt(sum (x + eps)**2) (Schroff et al. 2015).

    Parameters
    ----------
    anchor, positive, negative : Tensor
        Of one shape (..., components): a row, one like it, one unlike it.
    reduce : "mean", "sum" or None
        The mean over rows, their sum, or one value a row.
    margin : float
        By how much the unlike one is to be farther away, above 0.
    eps : float
        Added to the differences as torch does, above 0: the distance of equal rows has a derivative.

    Raises
    ------
    ShapeError
        When the shapes differ.
    DomainError
        When the margin or eps is not above 0.
    """
    a, p = pair(anchor, positive, "triplet", "anchor", "positive")
    _, n = pair(anchor, negative, "triplet", "anchor", "negative")
    refuse_unless(margin > 0, "triplet", "margin", margin, "above 0")
    refuse_unless(eps > 0, "triplet", "eps", eps, "above 0, such as 1e-6")
    distance = lambda x, y: sqrt(sum((x - y + eps) ** 2, axis=-1))
    return reduced(relu(distance(a, p) - distance(a, n) + margin), reduce, row=True)


def contrastive(prediction: Any, target: Any, reduce: Reduce = "mean", margin: float = 1.0) -> Tensor:
    """t*d**2 + (1 - t)*max(0, margin - d)**2 of distances d = prediction (Hadsell, Chopra and LeCun 2006).

    Parameters
    ----------
    prediction, target : Tensor
        Distances of pairs, and 1 for a pair that belongs together, 0 for one that does not; of one shape.
    reduce : "mean", "sum" or None
        The mean over all elements, their sum, or one value a row.
    margin : float
        How far apart the others are to be, above 0.

    Raises
    ------
    ShapeError
        When the shapes differ.
    DomainError
        When the margin is not above 0.
    """
    d, t = pair(prediction, target, "contrastive")
    refuse_unless(margin > 0, "contrastive", "margin", margin, "above 0")
    return reduced(t * d**2 + (1 - t) * relu(margin - d) ** 2, reduce)


def margin_ranking(first: Any, second: Any, target: Any, reduce: Reduce = "mean", margin: float = 0.0) -> Tensor:
    """max(0, margin - t*(first - second)): t is 1 where the first is to be larger, -1 where the second is.

    Parameters
    ----------
    first, second, target : Tensor
        Of one shape; the target may be a number.
    reduce : "mean", "sum" or None
        The mean over all elements, their sum, or one value a row.
    margin : float
        By how much, at least 0.

    Raises
    ------
    ShapeError
        When the shapes differ.
    DomainError
        When the margin is negative.
    """
    a, b = pair(first, second, "margin_ranking", "first", "second")
    _, t = pair(first, target, "margin_ranking", "first")
    refuse_unless(margin >= 0, "margin_ranking", "margin", margin, "at least 0")
    return reduced(relu(margin - t * (a - b)), reduce)
