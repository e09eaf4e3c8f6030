"""The estimators of graphc.sklearn, beside what scikit-learn says of estimators and beside its own networks."""

from __future__ import annotations

import subprocess
import sys
from functools import partial
from typing import Any

import numpy as np
import pytest
import sklearn
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import ColumnTransformer
from sklearn.datasets import load_iris
from sklearn.exceptions import NotFittedError
from sklearn.inspection import permutation_importance
from sklearn.linear_model import Ridge
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.utils.estimator_checks import check_estimator

import graphc as gc
from graphc.sklearn import GraphClassifier, GraphRegressor, GraphTransformer
from tests.interpreted import interpreted

X, Y = load_iris(return_X_y=True)
X = StandardScaler().fit_transform(X)
NAMES = np.array(["setosa", "versicolor", "virginica"])[Y]
ESTIMATORS = [GraphClassifier, GraphRegressor, GraphTransformer]
TRAINED = {"check_classifiers_train", "check_regressors_train", "check_class_weight_classifiers"}  # 200 epochs


def failures(estimator: Any) -> dict[str, Any]:
    found = check_estimator(estimator, on_fail=None, on_skip=None)
    assert len(found) > 50
    return {check["check_name"]: check["exception"] for check in found if check["status"] not in ("passed", "skipped")}


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_scikit_learn_finds_nothing_to_object_to(estimator):
    """With two epochs and NumPy in place of programs; ``make estimators`` compiles and trains as users do."""
    with interpreted():
        assert set(failures(estimator(epochs=2, hidden=(5,)))) <= TRAINED


@pytest.mark.estimators
@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_the_estimators_as_users_make_them_pass_every_check(estimator):
    assert failures(estimator()) == {}


# ------------------------------------------------------------------ compiled: the programs of the README's classifier

PETALS, TWO = X[50:, 2:], NAMES[50:]
small = partial(GraphClassifier, hidden=(4,), activation="tanh", learning_rate=0.05, random_state=0)


def test_a_weight_of_2_counts_twice_and_0_not_at_all():
    weights = np.arange(100) % 3
    weighted = small().fit(PETALS, TWO, sample_weight=weights)
    repeated = small().fit(np.repeat(PETALS, weights, axis=0), np.repeat(TWO, weights))
    np.testing.assert_allclose(weighted.predict_proba(X[:, 2:]), repeated.predict_proba(X[:, 2:]), rtol=0, atol=1e-9)
    np.testing.assert_allclose(weighted.loss_curve_, repeated.loss_curve_, rtol=1e-9)
    with interpreted():
        by_numpy = small().fit(PETALS, TWO, sample_weight=weights)
    np.testing.assert_allclose(by_numpy.coefs_[0], weighted.coefs_[0], atol=1e-7)


def test_it_is_searched_and_scored_in_other_processes():
    pipe = make_pipeline(StandardScaler(), small())
    rates = {"graphclassifier__learning_rate": [1e-6, 0.05]}
    search = GridSearchCV(pipe, rates, scoring="neg_log_loss", cv=3, n_jobs=2).fit(PETALS, TWO)
    assert search.best_params_ == {"graphclassifier__learning_rate": 0.05} and search.best_score_ > -0.4
    scores = cross_val_score(search.best_estimator_, PETALS, TWO, scoring="neg_log_loss", cv=3)
    assert scores.mean() == search.best_score_ and search.score(PETALS, TWO) > -0.2


# ------------------------------------------------------------------ by NumPy: what scikit-learn asks of an estimator


@pytest.fixture
def by_numpy():
    with interpreted():
        yield


def quick(**changes: Any) -> GraphClassifier:
    return GraphClassifier(**{"hidden": (6,), "epochs": 12, "learning_rate": 0.05, "random_state": 0, **changes})


def test_classes_may_be_strings_and_the_model_is_at_hand(by_numpy):
    clf = quick().fit(X, NAMES)
    assert clf.classes_.tolist() == sorted(set(NAMES)) and clf.score(X, NAMES) > 0.8
    assert [w.shape for w in clf.coefs_] == [(4, 6), (6, 3)] and [b.shape for b in clf.intercepts_] == [(6,), (3,)]
    assert len(clf.loss_curve_) == clf.n_iter_ == 12 and clf.loss_ == clf.best_loss_ == clf.loss_curve_[-1]
    assert isinstance(clf.model_, gc.Model) and "∂J/∂W0[k,j]" in str(clf.model_.derive("W0"))
    np.testing.assert_allclose(clf.predict_log_proba(X), np.log(clf.predict_proba(X)))


def test_it_gives_what_a_model_of_the_same_declaration_gives(by_numpy):
    clf = quick(hidden=(6,), activation="tanh", batch_size=32).fit(X, NAMES)
    Z = gc.nn.sequential(4, gc.nn.Dense(6, "tanh"), gc.nn.Dense(3))
    T = gc.input("T", ("n",), dtype="int64")
    model = gc.Model(output=gc.softmax(Z), loss=gc.losses.cross_entropy(Z, T), dtype="float64")
    run = model.fit(X, Y, optimizer=gc.Adam(0.05), epochs=12, batch_size=32, seed=0)
    assert run.history["loss"] == clf.loss_curve_
    np.testing.assert_array_equal(model.predict(X), clf.predict_proba(X))


def test_two_classes_one_class_and_several_labels(by_numpy):
    two = quick().fit(X[:100], NAMES[:100])
    assert two.predict_proba(X).shape == (150, 2) and two.coefs_[-1].shape == (6, 1)
    assert two.score(X[:100], NAMES[:100]) == 1.0
    np.testing.assert_allclose(two.predict_proba(X).sum(axis=1), 1.0)
    assert set(quick().fit(X[:9], NAMES[:9]).predict(X)) == {"setosa"}
    labels = np.stack([Y == 0, Y > 0], axis=1).astype(int)
    several = quick(epochs=30).fit(X, labels)
    assert several.predict(X).shape == (150, 2) and several.score(X, labels) > 0.95


def test_pipelines_columns_calibration_and_importance(by_numpy):
    table = np.column_stack([X.astype(object), np.where(X[:, 0] > 0, "long", "short")])
    columns = ColumnTransformer([("one-hot", OneHotEncoder(sparse_output=False), [4]), ("rest", "passthrough", [2, 3])])
    pipe = make_pipeline(columns, quick()).fit(table, NAMES)
    assert pipe.score(table, NAMES) > 0.8 and pipe[-1].n_features_in_ == 4
    found = permutation_importance(pipe, table, NAMES, n_repeats=2, random_state=0).importances_mean
    assert found[:2].tolist() == [0.0, 0.0] and found[2:4].max() > 0.1
    calibrated = CalibratedClassifierCV(quick(), cv=2).fit(X, NAMES)
    assert calibrated.predict_proba(X).shape == (150, 3) and calibrated.score(X, NAMES) > 0.8


def test_weights_are_routed_and_multiplied_by_those_of_the_classes(by_numpy):
    weights = np.where(Y == 1, 0.0, 1.0)
    with sklearn.config_context(enable_metadata_routing=True):
        scaler = StandardScaler().set_fit_request(sample_weight=False)
        pipe = make_pipeline(scaler, quick().set_fit_request(sample_weight=True))
        assert set(pipe.fit(X, NAMES, sample_weight=weights).predict(X)) == {"setosa", "virginica"}
        assert pipe[-1].classes_.tolist() == ["setosa", "virginica"]  # the rows of weight 0 are not there
    balanced = quick(class_weight="balanced").fit(X[:70], NAMES[:70])
    equal = quick().fit(X[:70], NAMES[:70], sample_weight=np.where(Y[:70] == 0, 0.7, 1.75))
    np.testing.assert_allclose(balanced.coefs_[0], equal.coefs_[0])
    assert not np.allclose(balanced.coefs_[0], quick().fit(X[:70], NAMES[:70]).coefs_[0])


def test_early_stopping_keeps_the_best_and_holds_out_every_class(by_numpy):
    clf = quick(epochs=100, learning_rate=0.2, early_stopping=True, n_iter_no_change=3, validation_fraction=0.2)
    clf.fit(X, NAMES)
    assert clf.n_iter_ < 100 and len(clf.validation_loss_curve_) == clf.n_iter_
    assert clf.run_.best["val_loss"] <= min(clf.validation_loss_curve_) + clf.tol
    assert clf.run_.stopped == "early stopping"
    with pytest.raises(ValueError, match="class"):
        quick(early_stopping=True).fit(X[:51], NAMES[:51])  # the one versicolor cannot be divided


def test_warm_starts_and_partial_fits_go_on(by_numpy):
    """Seen to fail when nothing goes on, and when the order of the rows begins anew."""
    whole = quick(epochs=6, batch_size=50).fit(X, NAMES)  # of several batches, whose order goes on, too
    warm = quick(epochs=3, batch_size=50, warm_start=True).fit(X, NAMES)
    parts = quick(batch_size=50).partial_fit(X, NAMES, classes=NAMES)
    for _ in range(5):
        parts.partial_fit(X, NAMES)
    assert warm.fit(X, NAMES).n_iter_ == parts.n_iter_ == 6
    assert warm.loss_curve_ == parts.loss_curve_ == whole.loss_curve_
    np.testing.assert_array_equal(warm.coefs_[0], whole.coefs_[0])
    with pytest.raises(ValueError, match="not among the classes"):
        parts.partial_fit(X[:1], ["rosa"])
    assert quick().fit(X, NAMES).loss_curve_ == quick().fit(X, NAMES).fit(X, NAMES).loss_curve_


def test_a_network_is_layers_or_a_function_of_the_input(by_numpy):
    layers = quick(network=[gc.nn.Dense(6, "relu")]).fit(X, NAMES)
    np.testing.assert_array_equal(clone(layers).fit(X, NAMES).coefs_[0], quick().fit(X, NAMES).coefs_[0])

    def wide_and_deep(x, outputs):
        return gc.nn.Dense(outputs)(gc.concatenate([x, gc.nn.Dense(5, "tanh")(x)], axis=1))

    def quantile(x, T):
        z = gc.nn.Dense(1)(x)
        return z, gc.losses.quantile(z, T, q=0.9)

    assert quick(network=wide_and_deep).fit(X, NAMES).score(X, NAMES) > 0.8
    high = GraphRegressor(network=quantile, epochs=40, learning_rate=0.05, random_state=0).fit(X[:, :3], X[:, 3])
    assert 0.8 < np.mean(high.predict(X[:, :3]) > X[:, 3]) < 1.0


def test_regressors_give_what_they_were_given(by_numpy):
    line = GraphRegressor(hidden=(), epochs=60, learning_rate=0.05, loss="huber", random_state=0)
    assert line.fit(X[:, :3], X[:, 3]).predict(X[:, :3]).shape == (150,) and line.score(X[:, :3], X[:, 3]) > 0.8
    assert clone(line).set_params(epochs=1).fit(X[:, :2], X[:, 2:]).predict(X[:, :2]).shape == (150, 2)
    assert line.fit(np.float32(X), np.float32(Y)).model_.dtype == "float32" and line.predict(X).dtype == np.float32


def test_an_autoencoder_gives_codes_and_rows_back(by_numpy):
    coder = GraphTransformer(2, hidden=(), epochs=80, learning_rate=0.05, random_state=0)
    codes = coder.fit_transform(X)
    assert codes.shape == (150, 2)
    assert coder.get_feature_names_out().tolist() == ["graphtransformer0", "graphtransformer1"]
    assert np.mean((coder.inverse_transform(codes) - X) ** 2) < 0.1  # two principal components leave 0.042
    assert coder.set_output(transform="default").transform(X).shape == (150, 2)

    def embedding(x, outputs):
        z = gc.nn.Dense(outputs)(x)
        return z, gc.mean((gc.nn.Dense(1)(z) - x[:, :1]) ** 2)

    declared = clone(coder).set_params(network=embedding, epochs=1).fit(X)
    assert declared.decoder_ is None and not hasattr(declared, "inverse_transform")


def test_alpha_is_an_input_of_the_loss_beside_a_parameter_of_its_name(python):
    """The minimum beside scikit-learn's Ridge; 0 is a network without it."""
    x = np.random.default_rng(0).normal(size=(20, 2))
    y = x @ [1.0, -2.0] + 0.5

    def line(X, outputs):
        return X @ gc.param("alpha", (2, outputs), 0.0) + gc.param("B", (outputs,), 0.0)

    model = GraphRegressor(network=line, optimizer=gc.LevenbergMarquardt(), epochs=30, tol=1e-14, random_state=0)
    for alpha in (0.0, 0.3, 2.0):
        found, wanted = clone(model).set_params(alpha=alpha).fit(x, y), Ridge(alpha=alpha / 2 * 20).fit(x, y)
        np.testing.assert_allclose(found.coefs_[0].ravel(), wanted.coef_, rtol=1e-8)
        np.testing.assert_allclose(found.intercepts_[0], wanted.intercept_, rtol=1e-8)
        assert ("alpha1·(Σ" in str(found.model_.derive())) == (alpha > 0)
    found.set_params(warm_start=True, alpha=0.3).fit(x, y)
    np.testing.assert_allclose(found.coefs_[0].ravel(), Ridge(alpha=3).fit(x, y).coef_, rtol=1e-8)


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"hidden": "100"}, "hidden is '100'"),
        ({"hidden": (0,)}, r"hidden is \(0,\)"),
        ({"alpha": -1}, "alpha is -1"),
        ({"epochs": 0}, "epochs is 0"),
        ({"random_state": -1}, "random_state is -1"),
        ({"optimizer": "adm"}, "adm"),
        ({"optimizer": "lbfgs", "learning_rate": 0.1}, "finds its steps itself"),
        ({"network": lambda x: x}, r"network: what the function gives has shape \('n', 4\)"),
        ({"network": lambda x: (x, 1)}, "network: the function gives"),
        ({"early_stopping": True, "validation_fraction": 2}, "validation_fraction is 2"),
    ],
)
def test_arguments_that_make_no_sense_are_named(arguments, text):
    with pytest.raises(gc.errors.GraphcError, match=text):
        quick(**arguments).fit(X, NAMES)


def test_what_is_not_fitted_says_so():
    for name in ("coefs_", "intercepts_", "loss_", "best_loss_"):
        with pytest.raises(AttributeError, match="not fitted yet"):
            getattr(quick(), name)
    with pytest.raises(NotFittedError):
        quick().predict(X)


def test_without_scikit_learn_it_says_what_to_install():
    code = "import sys; sys.modules['sklearn'] = None; import graphc.sklearn"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert "MissingExtraError: graphc.sklearn needs scikit-learn\n  hint: pip install 'graphc[sklearn]'" in found.stderr
