"""What y is: numbers, two classes, several classes, or several labels a row; and how the network sees it."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.utils.multiclass import check_classification_targets, type_of_target
from sklearn.utils.validation import column_or_1d

__all__ = ["BINARY", "CLASSES", "LABELS", "NUMBERS", "class_numbers", "classes_in", "kind_of", "targets_of"]

NUMBERS, BINARY, CLASSES, LABELS = "numbers", "two classes", "classes", "labels"


def classes_in(y: NDArray) -> tuple[NDArray, bool]:
    """The classes of y, sorted, and whether y is an indicator matrix of labels, whose columns count as classes.

    Raises
    ------
    ValueError
        When y holds no classes, as for a continuous target.
    """
    check_classification_targets(y)
    if type_of_target(y).startswith("multilabel"):
        return np.arange(y.shape[1]), True
    return np.unique(column_or_1d(y, warn=y.ndim == 2)), False


def kind_of(classes: NDArray, labels: bool) -> tuple[str, int]:
    """What the network is to give, and how many columns of it."""
    if labels:
        return LABELS, len(classes)
    return (CLASSES, len(classes)) if len(classes) > 2 else (BINARY, 1)


def class_numbers(classes: NDArray, y: NDArray) -> NDArray:
    """The number of every row's class.

    Raises
    ------
    ValueError
        For a class that is not among ``classes``.
    """
    y = column_or_1d(y)
    unknown = np.setdiff1d(y, classes)
    if len(unknown):
        raise ValueError(f"y holds {unknown.tolist()!r:.60}, which is not among the classes {classes.tolist()!r:.60}")
    return np.searchsorted(classes, y)


def targets_of(kind: str, classes: NDArray, y: NDArray, dtype: Any) -> NDArray:
    """The array that the network's input T gets."""
    if kind == LABELS:
        return np.asarray(y, dtype)
    numbers = class_numbers(classes, y)
    return numbers if kind == CLASSES else numbers.astype(dtype).reshape(-1, 1)
