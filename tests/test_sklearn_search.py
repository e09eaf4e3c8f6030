"""A search that trains what differs in rate and seed alone together, beside scikit-learn's search, which does not."""

from __future__ import annotations

from collections import Counter
from functools import partial
from typing import Any

import numpy as np
import pytest
from scipy.sparse import csr_array
from scipy.stats import loguniform
from sklearn.base import clone
from sklearn.compose import TransformedTargetRegressor
from sklearn.datasets import load_iris
from sklearn.exceptions import FitFailedWarning
from sklearn.linear_model import LinearRegression
from sklearn.model_selection import GridSearchCV, RandomizedSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import graphc as gc
from graphc.native.build import statistics
from graphc.sklearn import GraphClassifier, GraphRegressor, SweepSearchCV
from graphc.sklearn.search import graph_estimators
from graphc.sklearn.together import Together
from tests.interpreted import interpreted

IRIS = load_iris()
X, Y = IRIS.data[50:, 2:], np.array(["versicolor", "virginica"])[IRIS.target[50:] - 1]  # programs of test_sklearn.py
small = partial(GraphClassifier, hidden=(4,), activation="tanh", epochs=6, random_state=0, threads=1)
pipe = make_pipeline(StandardScaler(), small())


def named(**values: Any) -> dict[str, Any]:
    return {f"graphclassifier__{name}": value for name, value in values.items()}


def same(ours: Any, theirs: Any) -> None:
    """Everything that a search tells, but for times."""
    assert [*ours.cv_results_] == [*theirs.cv_results_] and ours.cv_results_["params"] == theirs.cv_results_["params"]
    for name in theirs.cv_results_:
        if "time" not in name and name != "params":
            np.testing.assert_array_equal(ours.cv_results_[name], theirs.cv_results_[name])
    assert (ours.best_params_, ours.best_index_, ours.best_score_) == (
        theirs.best_params_, theirs.best_index_, theirs.best_score_)  # fmt: skip
    np.testing.assert_array_equal(ours.predict_proba(X), theirs.predict_proba(X))


@pytest.fixture
def calls(monkeypatch):
    """How often models were trained, and by how many native calls in sweeps."""
    found, fit, sweep = Counter(), gc.Model.fit, gc.Model.sweep

    def counted(self, *data, **options):
        before = statistics["native_calls"]
        result = sweep(self, *data, verify=False, **options)
        found.update(sweeps=1, copies=len(result), native=statistics["native_calls"] - before)
        return result

    monkeypatch.setattr(gc.Model, "sweep", counted)
    monkeypatch.setattr(gc.Model, "fit", lambda self, *a, **o: found.update(fits=1) or fit(self, *a, **o))
    return found


def test_a_grid_of_rates_and_seeds_is_one_native_call_a_fold_with_the_bits_of_single_fits(calls):
    """Mutation-checked: copies handed out in another order, and those of the fold before, are noticed."""
    grid = named(learning_rate=[1e-3, 0.05, 0.2], random_state=[0, 3])
    options = {"scoring": ["neg_log_loss", "accuracy"], "refit": "neg_log_loss", "cv": 3, "return_train_score": True}
    plain = GridSearchCV(pipe, grid, **options).fit(X, Y)
    assert calls == {"fits": 19}
    compiled = statistics["compiled"]
    calls.clear()
    together = SweepSearchCV(pipe, grid, **options).fit(X, Y)
    same(together, plain)
    assert calls == {"sweeps": 3, "copies": 18, "native": 3, "fits": 1} and statistics["compiled"] == compiled
    assert together.best_estimator_[-1].loss_curve_ == plain.best_estimator_[-1].loss_curve_
    assert "_together" not in vars(together) and together.estimator is pipe and together.n_jobs is None
    assert not any("_together" in vars(one) for one in (together.best_estimator_[-1], pipe[-1]))
    assert together.get_params().keys() - plain.get_params().keys() == {"n_iter", "random_state"}


def test_other_arguments_and_steps_before_make_groups_of_their_own(calls):
    grid = [
        named(epochs=[3, 5], learning_rate=[0.05, 0.2]) | {"standardscaler__with_mean": [True, False]},
        named(learning_rate=[0.1], random_state=[1, 2, 5]),
    ]
    weights = np.linspace(0.5, 2, len(X))
    told = {"graphclassifier__sample_weight": weights}
    plain = GridSearchCV(pipe, grid, scoring="neg_log_loss", cv=2).fit(X, Y, **told)
    calls.clear()
    same(SweepSearchCV(pipe, grid, scoring="neg_log_loss", cv=2).fit(X, Y, **told), plain)
    assert calls["sweeps"] == 2 * (2 * 2 + 1) and calls["copies"] == 2 * 11 and calls["fits"] == 1


def test_a_grid_over_alpha_is_trained_together_but_for_networks_without_a_penalty(calls, python):
    """Mutation-checked: copies with the first alpha; alphas that candidates are not told by."""
    few = slice(30, 70, 2)
    grid = named(alpha=[0.0, 0.01, 1.0], learning_rate=[0.05, 0.2])
    plain = GridSearchCV(pipe, grid, scoring="neg_log_loss", cv=2).fit(X[few], Y[few])
    scores = plain.cv_results_["mean_test_score"]
    assert calls == {"fits": 13} and len({*scores.tolist()}) == 6
    calls.clear()
    same(SweepSearchCV(pipe, grid, scoring="neg_log_loss", cv=2).fit(X[few], Y[few]), plain)
    assert calls == {"sweeps": 2 * 2, "copies": 2 * 6, "fits": 1, "native": 0}


def test_early_stopping_is_a_sweep_a_fold_and_seed(calls, python):
    """Mutation-checked: candidates of all seeds with the rows that one of them holds out."""
    few = slice(30, 70, 2)
    estimator = small(early_stopping=True, n_iter_no_change=2, epochs=9, validation_fraction=0.3, batch_size=4)
    grid = {"alpha": [0.01, 1.0], "learning_rate": [0.05, 5.0], "random_state": [0, 1]}
    plain = GridSearchCV(estimator, grid, scoring="neg_log_loss", cv=2).fit(X[few], Y[few])
    calls.clear()
    ours = SweepSearchCV(estimator, grid, scoring="neg_log_loss", cv=2).fit(X[few], Y[few])
    same(ours, plain)
    assert calls == {"sweeps": 2 * 2, "copies": 2 * 8, "fits": 1, "native": 0}
    assert ours.best_estimator_.validation_loss_curve_ == plain.best_estimator_.validation_loss_curve_


def test_sparse_rows_are_trained_together(calls):
    rows, grid = csr_array(X - X.min(axis=0)), {"learning_rate": [0.05, 0.2], "random_state": [0, 1]}
    plain = GridSearchCV(small(), grid, scoring="neg_log_loss", cv=2).fit(rows, Y)
    calls.clear()
    same(SweepSearchCV(small(), grid, scoring="neg_log_loss", cv=2).fit(rows, Y), plain)
    assert calls["sweeps"] == 2 and calls["copies"] == 8 and calls["fits"] == 1


def test_values_that_are_drawn_are_pairs_not_every_combination(calls):
    drawn = {"learning_rate": loguniform(1e-3, 1), "random_state": [0, 1, 2]}
    plain = RandomizedSearchCV(small(), drawn, n_iter=5, random_state=1, cv=2, scoring="neg_log_loss").fit(X, Y)
    calls.clear()
    same(SweepSearchCV(small(), drawn, n_iter=5, random_state=1, cv=2, scoring="neg_log_loss").fit(X, Y), plain)
    assert calls == {"sweeps": 2, "copies": 10, "native": 2, "fits": 1}


@pytest.mark.filterwarnings("ignore:One or more of the test scores")
def test_a_copy_that_diverges_fails_as_a_fit_alone_does(calls):
    grid = {"learning_rate": [0.05, 1e308, 0.1]}
    found = []
    for kind in (GridSearchCV, SweepSearchCV):
        with pytest.warns(FitFailedWarning, match=r"(?s)2 fits failed.*DivergenceError"):
            found.append(kind(small(), grid, cv=2, scoring="neg_log_loss").fit(X, Y))
    np.testing.assert_array_equal(*(one.cv_results_["mean_test_score"] for one in found))
    assert calls["sweeps"] == 2 and calls["fits"] == 7 + 2 + 1


@pytest.mark.parametrize(
    ("changes", "grid"),
    [
        ({"random_state": None}, {"learning_rate": [0.05, 0.1]}),
        ({"optimizer": gc.Adam(gc.schedules.cosine(0.1, 9))}, {"random_state": [0, 1]}),
        ({"optimizer": {"W*": "adam", "*": None}}, {"learning_rate": [0.05, 0.1]}),
        ({}, {"learning_rate": [0.05], "activation": ["tanh", "relu"]}),
    ],
    ids=str,
)
def test_what_no_sweep_takes_is_trained_one_by_one(changes, grid, calls):
    with interpreted():
        SweepSearchCV(small(**changes), grid, cv=2, error_score="raise").fit(X, Y)
    assert calls == {"fits": 5}


@pytest.mark.parametrize("network", [[gc.nn.Dense(3, "relu")], lambda x, outputs: gc.nn.Dense(outputs)(x)])
def test_copies_of_layers_and_functions_are_known_again(network):
    held = make_pipeline(StandardScaler(), small(network=network))
    found = Together([clone(held)[-1].set_params(learning_rate=rate) for rate in (0.1, 0.2)])
    assert [[*own] for own in found.wanted.values()] == [[(0.1, 0, 0.0), (0.2, 0, 0.0)]]


def test_estimators_within_others_are_found_and_others_are_told():
    held = TransformedTargetRegressor(GraphRegressor(hidden=(), epochs=1, random_state=0), transformer=StandardScaler())
    assert [*graph_estimators(make_pipeline(held))] == ["transformedtargetregressor__regressor"]
    with pytest.raises(gc.errors.TypeMismatchError) as caught:
        SweepSearchCV(LinearRegression(), {"fit_intercept": [True, False]}).fit(X, X[:, 0])
    assert str(caught.value).endswith(
        "SweepSearchCV: there is no estimator of graphc in LinearRegression\n"
        "  hint: search with GridSearchCV of scikit-learn"
    )
