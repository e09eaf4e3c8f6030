"""Weights of rows that are evaluated: in ``evaluate``, in validation and in the early stopping of the estimators."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse
from sklearn.datasets import load_iris
from sklearn.metrics import f1_score, log_loss
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder

import graphc as gc
from graphc.errors import DataError
from graphc.sklearn import GraphClassifier, GraphRegressor, GraphTransformer
from tests import nets
from tests.interpreted import interpreted

X, T = nets.data(700)
WEIGHTS = np.random.default_rng(3).uniform(0.0, 3.0, 700)
WEIGHTS[::7] = 0.0


@pytest.fixture
def by_numpy():
    with interpreted():
        yield


def expected(model, rows=slice(None)):
    """NumPy's weighted means of what the rows lose."""
    y = model.predict(X)[rows]
    square, size = ((y - T[rows]) ** 2).mean(axis=1), np.abs(y - T[rows]).mean(axis=1)
    return {n: np.average(v, weights=WEIGHTS[rows]) for n, v in {"loss": square, "mae": size}.items()}


def test_rows_count_as_they_weigh_in_chunks_and_in_validation():
    """Compiled, three chunks of rows. Mutation-checked: weights whose mean is not 1, weights of other rows."""
    model = nets.network().initialize(1)
    assert model.evaluate(X, T, sample_weight=WEIGHTS) == pytest.approx(expected(model), rel=1e-12)
    assert model.evaluate(X, T, sample_weight=np.ones(700)) == pytest.approx(model.evaluate(X, T), rel=1e-12)
    options = {"optimizer": gc.SGD(0.0), "sample_weight": WEIGHTS, "verify": False}
    with interpreted():
        for held_out in ((X[:90], T[:90], WEIGHTS[:90]), {"X": X[:90], "T": T[:90], "sample_weight": WEIGHTS[:90]}):
            run = model.fit(X, T, validation=held_out, **options)
            assert run.latest["val_loss"] == pytest.approx(expected(model, slice(90))["loss"], rel=1e-12)
        marked = nets.network()
        seen = marked.fit(X, T, validation=0.25, seed=4, epochs=1, **options).latest["val_mae"]
        same = marked.fit(X, T, validation=0.25, seed=4, epochs=1, **{**options, "sample_weight": None})
        assert abs(seen - same.latest["val_mae"]) > 1e-3, "the weights of the fraction are not forgotten"


def test_sums_over_rows_and_penalties_are_weighed_as_repeated_rows_are(by_numpy):
    x, t = gc.input("X", ("n", 3)), gc.input("T", ("n", 2))
    W = gc.param("W", (3, 2), gc.normal(0.5))
    times = np.arange(40) % 3
    for loss in (gc.sum((x @ W - t) ** 2) + gc.sum(W**2), gc.mean((x @ W - t) ** 2) + gc.sum(W**2)):
        model = gc.Model(x @ W, loss, dtype="float64").initialize(0)
        repeated = model.evaluate(np.repeat(X[:40], times, axis=0), np.repeat(T[:40], times, axis=0))
        assert model.evaluate(X[:40], T[:40], sample_weight=times) == pytest.approx(repeated, rel=1e-12)


def test_measures_of_parts_are_weighed_as_by_scikit_learn(by_numpy):
    x, t = gc.input("X", ("n", 3)), gc.input("T", ("n", 1))
    p = gc.sigmoid(x @ gc.param("W", (3, 1), gc.normal(1.0)))
    model = gc.Model(p, gc.losses.bce(p, t), metrics=[gc.metrics.f1(p, t)], dtype="float64").initialize(2)
    truth = (T[:, :1] > 0.3).astype(float)
    found, y = model.evaluate(X, truth, sample_weight=WEIGHTS), model.predict(X)
    assert found["f1"] == pytest.approx(f1_score(truth[:, 0], y[:, 0] > 0.5, sample_weight=WEIGHTS), rel=1e-12)
    assert found["loss"] == pytest.approx(log_loss(truth[:, 0], y[:, 0], sample_weight=WEIGHTS), rel=1e-12)


def test_weights_that_make_no_sense_are_named():
    model = nets.network()
    for weights, text in [
        (np.ones(3), "sample_weight has shape (3,) but there are 700 rows\n  hint: one weight a row"),
        (-WEIGHTS, "sample_weight holds negative, NaN or only zero weights\n  hint: give weights of at least 0"),
    ]:
        with pytest.raises(DataError) as caught:
            model.evaluate(X, T, sample_weight=weights)
        assert nets.text_of(caught) == text
        with pytest.raises(DataError):
            model.fit(X, T, validation=(X, T, weights))


# ------------------------------------------------------------------ the estimators

FLOWERS, KINDS = load_iris(return_X_y=True)
quick = {"hidden": (6,), "epochs": 5, "learning_rate": 0.05, "random_state": 0}


def test_early_stopping_weighs_the_rows_it_holds_out(by_numpy):
    """Mutation-checked: without the weights of the held out rows."""
    weights = np.linspace(0.1, 3.0, 150)
    clf = GraphClassifier(**quick, early_stopping=True, validation_fraction=0.2).fit(FLOWERS, KINDS, weights)
    _, out = train_test_split(np.arange(150), test_size=0.2, random_state=0, stratify=KINDS)
    best = clf.predict_proba(FLOWERS[out])  # the parameters of the best epoch are back
    assert clf.run_.best["val_loss"] == pytest.approx(log_loss(KINDS[out], best, sample_weight=weights[out]), rel=1e-9)


@pytest.mark.parametrize("kind", [scipy.sparse.csr_matrix, scipy.sparse.csc_array, scipy.sparse.coo_array])
def test_sparse_rows_give_what_dense_ones_give(kind, by_numpy):
    dense = np.where(FLOWERS > 1.5, FLOWERS, 0.0)
    sparse, options = kind(dense), {**quick, "early_stopping": True}
    for made in (GraphClassifier(**options), GraphRegressor(**options), GraphTransformer(2, **quick)):
        expected = made.fit(dense, KINDS).predict(dense) if hasattr(made, "predict") else made.fit_transform(dense)
        weights = made.coefs_[0].copy()
        found = made.fit(sparse, KINDS).predict(sparse) if hasattr(made, "predict") else made.fit_transform(sparse)
        np.testing.assert_array_equal(found, expected)
        np.testing.assert_array_equal(made.coefs_[0], weights)
    words = np.where(FLOWERS[:, :1] > 5.8, "long", "short")
    pipe = make_pipeline(OneHotEncoder(), GraphClassifier(**quick)).fit(words, KINDS)
    assert pipe.score(words, KINDS) > 0.4
