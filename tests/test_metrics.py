"""Metrics beside scikit-learn's: formulas over a batch, and what a model reports over epochs and whole sets."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import numpy as np
import pytest
from sklearn import metrics as sk
from sklearn.calibration import calibration_curve

import graphc as gc
from graphc.declare.measures import finished
from graphc.declare.tensor import Tensor
from graphc.emit.reference import evaluate
from graphc.errors import DomainError, NameClashError, ShapeError, TypeMismatchError
from graphc.facade.pipeline import read_graph
from tests import nets
from tests.interpreted import interpreted

RNG = np.random.default_rng(11)
ROWS = 301
P = RNG.uniform(size=(ROWS, 1)).round(2)  # with ties
B = (RNG.uniform(size=(ROWS, 1)) < 0.3 + 0.5 * P) * 1.0
Z = RNG.standard_normal((ROWS, 4))
S = np.exp(Z) / np.exp(Z).sum(axis=1, keepdims=True)
L = np.where(RNG.uniform(size=ROWS) < 0.5, Z.argmax(axis=1), RNG.integers(0, 4, ROWS))

column, classes = gc.input("P", ("n", 1)), gc.input("S", ("n", 4))
truth, labels = gc.input("B", ("n", 1)), gc.input("L", ("n",), dtype="int64")


def value(tensor: Tensor) -> np.ndarray:
    """By the interpreter, over all rows as one batch."""
    feed = {column.node: P, classes.node: S, truth.node: B, labels.node: L}
    return evaluate([read_graph({"y": tensor.node}).roots["y"]], feed, {"n": ROWS}, dtype="float64")[0]


def expected_error(p: np.ndarray, right: np.ndarray, bins: int) -> float:
    """From scikit-learn's calibration curve, whose bins are weighted by the rows in them."""
    true, believed = calibration_curve(right, p, n_bins=bins)
    counts = np.bincount(np.searchsorted(np.linspace(0, 1, bins + 1)[1:-1], p), minlength=bins)
    return float(np.abs(true - believed) @ counts[counts > 0] / len(p))


b, p, top = B[:, 0], P[:, 0], S.argmax(axis=1)
HARD = (p > 0.5) * 1.0
m = gc.metrics
CASES: dict[str, tuple[Callable[[], Tensor], object]] = {
    "precision": (lambda: m.precision(column, truth), sk.precision_score(b, HARD)),
    "recall": (lambda: m.recall(column, truth), sk.recall_score(b, HARD)),
    "f1": (lambda: m.f1(column, truth), sk.f1_score(b, HARD)),
    "f1 above 0.7": (lambda: m.f1(column, truth, threshold=0.7), sk.f1_score(b, p > 0.7)),
    "flat": (lambda: m.recall(column[:, 0], truth[:, 0]), sk.recall_score(b, HARD)),
    "column and flat": (lambda: m.f1(column, truth[:, 0]), sk.f1_score(b, HARD)),
    "auc": (lambda: m.auc(column, truth), sk.roc_auc_score(b, p)),
    "auc of classes": (lambda: m.auc(classes, labels), sk.roc_auc_score(L, S, multi_class="ovr")),
    "confusion": (lambda: m.confusion_matrix(column, truth), sk.confusion_matrix(b, HARD)),
    "confusion of classes": (lambda: m.confusion_matrix(classes, labels), sk.confusion_matrix(L, top)),
    "r2": (lambda: m.r2(column, truth), sk.r2_score(b, p)),
    "calibration": (lambda: m.calibration_error(column, truth), expected_error(p, b, 10)),
    "calibration of classes": (
        lambda: m.calibration_error(classes, labels, bins=5), expected_error(S.max(axis=1), top == L, 5)
    ),
    "top 1": (lambda: m.top_k_accuracy(classes, labels, 1), sk.accuracy_score(L, top)),
    "top 2": (lambda: m.top_k_accuracy(classes, labels, k=2), sk.top_k_accuracy_score(L, S, k=2)),
    "top 3, one-hot": (lambda: m.top_k_accuracy(classes, gc.one_hot(labels, 4), 3), sk.top_k_accuracy_score(L, S, k=3)),
    "one-hot": (lambda: m.precision(classes, gc.one_hot(labels, 4)), sk.precision_score(L, top, average="macro")),
    **{
        f"{average} {name}": (
            lambda name=name, average=average: getattr(m, name)(classes, labels, average=average),
            getattr(sk, f"{name}_score")(L, top, average=average),
        )
        for name in ("precision", "recall", "f1") for average in ("macro", "weighted")
    },
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_the_formula_over_a_batch_is_scikit_learns_value(case):
    """Mutation-checked: macro without the division by classes, ties of the area counted whole, a bin's other edge."""
    make, expected = CASES[case]
    np.testing.assert_allclose(value(make()), expected, rtol=1e-12)


def test_a_model_reports_what_scikit_learn_says_of_its_predictions():
    """All rows in chunks, and measures that are of all rows at once, by the interpreter."""
    Y = gc.softmax(classes @ gc.param("W", (4, 4), gc.normal(1.0)))
    measures = [m.accuracy(Y, labels), m.f1(Y, labels), m.auc(Y, labels), m.confusion_matrix(Y, labels)]
    model = gc.Model(Y, gc.losses.cross_entropy(gc.log(Y), labels), measures, dtype="float64")
    with interpreted():
        found, y = model.evaluate(S, L), model.predict(S)
    guess = y.argmax(axis=1)
    assert [*found] == ["loss", "accuracy", "f1", "auc", "confusion_matrix"]
    assert found["accuracy"] == pytest.approx(sk.accuracy_score(L, guess), rel=1e-12)
    assert found["f1"] == pytest.approx(sk.f1_score(L, guess, average="macro"), rel=1e-12)
    area = sk.roc_auc_score(L, y / y.sum(axis=1, keepdims=True), multi_class="ovr")
    assert found["auc"] == pytest.approx(area, rel=1e-12)
    np.testing.assert_array_equal(found["confusion_matrix"], sk.confusion_matrix(L, guess))
    assert found["confusion_matrix"].dtype.kind == "i"


def logistic() -> gc.Model:
    """One column, compiled: every kind of measure of it, and one by a name that no program could have."""
    X, T = gc.input("X", ("n", 3)), gc.input("T", ("n", 1))
    Y = gc.sigmoid(X @ gc.param("W", (3, 1), gc.normal(1.0)))
    every = {"accuracy": m.accuracy(Y, T), "f1 of them": m.f1(Y, T), "auc": m.auc(Y, T), "r2": m.r2(Y, T),
             "bins": m.calibration_error(Y, T, bins=3), "confusion": m.confusion_matrix(Y, T)}  # fmt: skip
    return gc.Model({"y": Y}, gc.losses.bce(Y, T), every, dtype="float64")


def test_counts_are_added_over_batches_and_validation_is_of_the_whole_set(tmp_path):
    """Parameters that stay where they are (a rate of 0), so that the last epoch is one model on all rows.

    Mutation-checked: with the mean of the batches' values in its place, f1 of the history differs.
    """
    x = np.random.default_rng(2).standard_normal((600, 3))
    t = (x[:, :1] + np.random.default_rng(3).standard_normal((600, 1)) > 0) * 1.0
    model = logistic().initialize(1)
    run = model.fit(x[:413], t[:413], optimizer=gc.SGD(0.0), epochs=2, batch_size=50, validation=(x[413:], t[413:]))
    assert [*run.history] == [
        "loss", "accuracy", "f1 of them", "r2", "bins",
        "val_loss", "val_accuracy", "val_f1 of them", "val_auc", "val_r2", "val_bins",
    ]  # fmt: skip
    y = 1 / (1 + np.exp(-x @ model.params["W"]))
    seen, held_out = (y[:413, 0], t[:413, 0]), (y[413:, 0], t[413:, 0])
    for prefix, (score, target) in (("", seen), ("val_", held_out)):
        found = {name: run.history[f"{prefix}{name}"] for name in ("f1 of them", "bins")}
        assert found["f1 of them"] == pytest.approx([sk.f1_score(target, score > 0.5)] * 2, rel=1e-12)
        assert found["bins"] == pytest.approx([expected_error(score, target, 3)] * 2, rel=1e-9)
    assert run.history["val_auc"] == pytest.approx([sk.roc_auc_score(*held_out[::-1])] * 2, rel=1e-12)
    assert run.history["val_r2"] == pytest.approx([sk.r2_score(*held_out[::-1])] * 2, rel=1e-12)
    whole = model.evaluate(x, t)
    assert whole["auc"] == pytest.approx(sk.roc_auc_score(t[:, 0], y[:, 0]), rel=1e-12)
    np.testing.assert_array_equal(whole["confusion"], sk.confusion_matrix(t[:, 0], y[:, 0] > 0.5))
    model.save(tmp_path / "measured.safetensors")
    again = gc.Model.load(tmp_path / "measured.safetensors")
    assert again.evaluate(x, t).keys() == whole.keys() and again.evaluate(x, t)["auc"] == whole["auc"]
    assert [*again.outputs] == ["y"], "columns of metrics are no outputs"


def test_weights_of_rows_count_in_every_measure_of_a_training_epoch():
    w = np.random.default_rng(4).uniform(0.1, 3, ROWS)
    Y = gc.softmax(classes @ gc.param("W", (4, 4), gc.normal(1.0)))
    model = gc.Model(Y, gc.losses.cross_entropy(gc.log(Y), labels), [m.recall(Y, labels)], dtype="float64")
    with interpreted():
        run = model.fit(S, L, optimizer=gc.SGD(0.0), batch_size=64, sample_weight=w)
        guess = model.predict(S).argmax(axis=1)
    expected = sk.recall_score(L, guess, average="macro", sample_weight=w)
    assert run.history["recall"] == pytest.approx([expected], rel=1e-12)


def test_the_area_of_all_rows_counts_ties_half():
    """Mutation-checked: with the first rank of equal scores for all of them."""
    assert gc.declare.measures.OF_COLUMNS["auc"]({"score": P, "target": B}) == sk.roc_auc_score(b, p)


def test_nothing_counted_gives_0_and_a_class_that_is_missing_gives_no_area():
    parts = {"right0": 0.0, "given0": np.array([0.0, 0.5]), "wanted0": 0.5}
    np.testing.assert_array_equal(finished("precision of one class", parts), [0.0, 0.0])
    ones = gc.metrics.auc(column, truth)
    measure = gc.declare.measures.MEASURES[ones]
    assert np.isnan(gc.declare.measures.OF_COLUMNS[measure.kind]({"score": P, "target": np.ones(ROWS)}))


def test_a_class_that_does_not_occur_is_left_out_of_the_mean():
    """As scikit-learn does, which warns of classes without rows."""
    few = {"right0": 0.3, "given0": 0.4, "wanted0": 0.5, "right1": 0.2, "given1": 0.6, "wanted1": 0.5,
           "right2": 0.0, "given2": 0.0, "wanted2": 0.0}  # fmt: skip
    t, g = np.repeat([0, 0, 1, 1], [3, 2, 3, 2]), np.repeat([0, 1, 1, 0], [3, 2, 3, 2])
    few |= {"right1": 0.3, "given1": 0.5, "given0": 0.5}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert finished("macro f1", few) == pytest.approx(sk.f1_score(t, g, average="macro"))
        assert finished("weighted recall", few) == pytest.approx(sk.recall_score(t, g, average="weighted"))


def test_metrics_that_do_not_fit_are_refused_where_they_are_declared():
    W = gc.param("W", (4, 1), gc.normal(1.0))
    J = gc.mean(classes @ W)
    cases = [
        (lambda: m.f1(classes, gc.input("Q", ("n", 3))), ShapeError, "f1: "),
        (lambda: m.f1(column, truth, average="micro"), DomainError,
         "f1: average is 'micro'\n  hint: choose 'macro' or 'weighted'."),
        (lambda: m.calibration_error(column, truth, bins=0), DomainError,
         "calibration_error: bins is 0\n  hint: take at least 1, such as 10."),
        (lambda: gc.Model(loss=J, metrics=[J * 2]), TypeMismatchError,
         "Model: the metric <Tensor of shape ()> has no name\n  hint: give a dict: metrics={'accuracy': ..}."),
        (lambda: gc.Model(loss=J, metrics=[m.f1(column, truth), m.f1(column, truth, threshold=0.1)]), NameClashError,
         "Model: two metrics are named f1\n  hint: give a dict: metrics={'first': ..}."),
        (lambda: gc.Model(loss=J, metrics=J), TypeMismatchError, "Model: metrics is "),
    ]  # fmt: skip
    for make, error, message in cases:
        with pytest.raises(error) as caught:
            make()
        assert nets.text_of(caught).startswith(message), str(caught.value)
