"""Metrics that are no means over rows: what a model computes of them, so that they are exact over a whole set.

The mean of the precision over batches is not the precision. A measure is therefore known by its parts: means over
rows, such as the share of true positives, which a program adds up over batches, and of which ``FINISH`` makes the
value; or by columns, values of every row, of which ``OF_COLUMNS`` makes it when all rows are there. The Tensor that a
function of ``gc.metrics`` returns is the formula over one batch; the model looks here what stands behind it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import field
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from graphc.declare.pointwise import where
from graphc.declare.tensor import Tensor
from graphc.records import record


@record(frozen=True)
class Measure:
    """A metric by its name, the kind that tells how it is finished, and what it is made of; both empty for a mean over
    rows, which needs no finishing."""

    name: str
    kind: str = ""
    parts: Mapping[str, Tensor] = field(default_factory=dict)
    columns: Mapping[str, Tensor] = field(default_factory=dict)


MEASURES: WeakKeyDictionary[Tensor, Measure] = WeakKeyDictionary()
"""What stands behind a Tensor that ``gc.metrics`` made."""

Where = Callable[[Any, Any, Any], Any]


def named(name: str, value: Tensor) -> Tensor:
    """A mean over rows with a name for ``Model(metrics=[..])``."""
    MEASURES[value] = Measure(name)
    return value


def of_parts(name: str, kind: str, parts: Mapping[str, Tensor]) -> Tensor:
    """The formula over one batch, known by its parts."""
    value = FINISH[kind](where, parts)
    MEASURES[value] = Measure(name, kind, dict(parts))
    return value


def of_columns(name: str, kind: str, value: Tensor, columns: Mapping[str, Tensor]) -> Tensor:
    """A formula over one batch, known by columns."""
    MEASURES[value] = Measure(name, kind, columns=dict(columns))
    return value


def finished(kind: str, parts: Mapping[str, Any]) -> Any:
    """The value that parts make; arrays of parts make an array of values."""
    found = FINISH[kind](np.where, {name: np.asarray(value, dtype=np.float64) for name, value in parts.items()})
    return float(found) if np.ndim(found) == 0 else np.asarray(found)


# ---------------------------------------------------------------- of means over rows


def _ratio(where: Where, top: Any, bottom: Any) -> Any:
    """top/bottom, 0 where nothing is counted."""
    some = bottom > 0
    return where(some, top / where(some, bottom, 1.0), 0.0)


def _total(values: Any) -> Any:
    first, *others = values
    for value in others:
        first = first + value
    return first


Score = Callable[[Where, Any, Any, Any], Any]


def _precision(where: Where, right: Any, given: Any, wanted: Any) -> Any:
    return _ratio(where, right, given)


def _recall(where: Where, right: Any, given: Any, wanted: Any) -> Any:
    return _ratio(where, right, wanted)


def _f1(where: Where, right: Any, given: Any, wanted: Any) -> Any:
    return _ratio(where, 2.0 * right, given + wanted)


SCORES: dict[str, Score] = {"precision": _precision, "recall": _recall, "f1": _f1}
COUNTS = ("right", "given", "wanted")


def classes_of(parts: Mapping[str, Any]) -> list[tuple[Any, Any, Any]]:
    """(right, given, wanted) of every class: shares of rows that are it and taken for it, are taken for it, are it."""
    count = len(parts) // len(COUNTS)
    return [(parts[f"right{k}"], parts[f"given{k}"], parts[f"wanted{k}"]) for k in range(count)]


def _binary(score: Score) -> Callable[[Where, Mapping[str, Any]], Any]:
    return lambda where, p: score(where, *classes_of(p)[0])


def _macro(score: Score) -> Callable[[Where, Mapping[str, Any]], Any]:
    """The mean over the classes that occur, in the labels or the predictions."""

    def value(where: Where, p: Mapping[str, Any]) -> Any:
        classes = classes_of(p)
        there = [where(given + wanted > 0, 1.0, 0.0) for _, given, wanted in classes]
        return _ratio(where, _total(score(where, *c) for c in classes), _total(there))

    return value


def _weighted(score: Score) -> Callable[[Where, Mapping[str, Any]], Any]:
    """The mean over the rows of the score of their class."""

    def value(where: Where, p: Mapping[str, Any]) -> Any:
        classes = classes_of(p)
        return _ratio(where, _total(c[2] * score(where, *c) for c in classes), _total(c[2] for c in classes))

    return value


def _calibration(where: Where, p: Mapping[str, Any]) -> Any:
    return _total(where(gap > 0, gap, -1.0 * gap) for gap in p.values())


FINISH: dict[str, Callable[[Where, Mapping[str, Any]], Any]] = {
    **{f"{name} of one class": _binary(score) for name, score in SCORES.items()},
    **{f"macro {name}": _macro(score) for name, score in SCORES.items()},
    **{f"weighted {name}": _weighted(score) for name, score in SCORES.items()},
    "calibration": _calibration,
}
"""By kind: the value of a measure from its parts."""


# ---------------------------------------------------------------- of all rows


def _auc(score: NDArray, target: NDArray) -> float:
    """The share of pairs of a positive and a negative row that the scores order rightly, ties half: the statistic of
    Mann and Whitney, exact in whole and half numbers. NaN without both kinds."""
    score, positive = score.ravel(), target.ravel() > 0
    order = np.argsort(score, kind="stable")
    ordered = score[order]
    first = np.searchsorted(ordered, ordered, "left")
    last = np.searchsorted(ordered, ordered, "right")
    ranks = np.empty(len(score))
    ranks[order] = (first + last + 1) / 2
    p, n = int(positive.sum()), int((~positive).sum())
    return float((ranks[positive].sum() - p * (p + 1) / 2) / (p * n)) if p and n else float("nan")


def _auc_of(columns: Mapping[str, NDArray]) -> float:
    score, target = columns["score"], columns["target"]
    if score.ndim == 1 or score.shape[1] == 1:
        return _auc(score, target)
    return float(np.mean([_auc(score[:, k], target == k) for k in range(score.shape[1])]))


def _confusion(columns: Mapping[str, NDArray]) -> NDArray:
    given, wanted = (columns[name].astype(np.float64) for name in ("given", "wanted"))
    return np.rint(wanted.T @ given).astype(np.int64)


def _r2(columns: Mapping[str, NDArray]) -> float:
    y, t = (columns[name].astype(np.float64) for name in ("prediction", "target"))
    spread = float(((t - t.mean(axis=0)) ** 2).sum())
    return 1.0 - float(((t - y) ** 2).sum()) / spread if spread else float("nan")


OF_COLUMNS: dict[str, Callable[[Mapping[str, NDArray]], Any]] = {"auc": _auc_of, "confusion": _confusion, "r2": _r2}
"""By kind: the value of a measure from its columns."""
