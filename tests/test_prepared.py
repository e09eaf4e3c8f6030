"""A call whose arrays look like those of the call before goes through what was prepared then; all its checks stay.

Mutation-checked: without the comparison of shapes, strides, dtypes, parameters or names, without the look for NaN or
labels, with results or working memory shared between calls, a test here fails.
"""

from __future__ import annotations

import copy
import pickle
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import graphc as gc
from graphc.facade import calculus, evaluating
from graphc.run.thread_team import MANY, TeamTuner

RNG = np.random.default_rng(5)
N, P, W = gc.input("N", ("n", 3)), gc.input("P", ("n",), dtype="int"), gc.param("W", (3, 4), gc.normal(1.0))
Y = gc.softmax(N @ W)
MODEL = gc.Model(output=Y, loss=gc.losses.cross_entropy(N @ W, P), dtype="float64")
X = RNG.normal(size=(5, 3))
LABELS = np.array([0, 3, 1, 2, 2])


def exact(x: np.ndarray, w: np.ndarray) -> np.ndarray:
    z = np.exp(x @ w)
    return z / z.sum(axis=1, keepdims=True)


def refused(*_args: object, **_options: object) -> None:
    raise AssertionError("the slow way was taken")


@pytest.fixture
def model() -> gc.Model:
    """Predicts and evaluates five rows: the next such call is prepared."""
    model = copy.copy(MODEL).initialize(1)
    model.predict(X)
    model.evaluate(X, LABELS)
    return model


@pytest.fixture(scope="module")
def function() -> object:
    return gc.compile([Y, gc.sum(Y[:, 0])], inputs=[N])


def test_predict_and_evaluate_take_the_prepared_way_and_give_the_same(model, monkeypatch):
    other = RNG.normal(size=(5, 3))
    wanted, loss = copy.copy(model).predict(other), copy.copy(model).evaluate(other, LABELS)
    monkeypatch.setattr(evaluating, "bind", refused)
    np.testing.assert_array_equal(model.predict(other), wanted)
    assert [model.evaluate(other, LABELS) for _ in range(3)] == [loss] * 3
    np.testing.assert_allclose(wanted, exact(other, model.params["W"]), rtol=1e-12)


@pytest.mark.parametrize(
    "change",
    [lambda x: x[:3], np.asfortranarray, lambda x: x[:, ::-1], lambda x: np.rint(x).astype("i8"), np.ndarray.tolist],
    ids=["rows", "order", "strides", "dtype", "list"],
)
def test_arrays_that_look_otherwise_go_the_other_way(model, function, change):
    w = model.params["W"]
    function(X, W=w)
    given = change(X)
    found = [model.predict(given), function(given, W=w)[0], model.predict(X), function(X, W=w)[0]]
    for y, x in zip(found, [given, given, X, X], strict=True):
        np.testing.assert_allclose(y, exact(np.asarray(x), w), rtol=1e-6)


def test_data_by_name_go_the_other_way(model):
    loss = model.evaluate(X, LABELS)
    assert model.evaluate({"P": LABELS, "N": X}) == loss == model.evaluate({"N": X, "P": LABELS})
    np.testing.assert_array_equal(model.predict({"N": X}), model.predict(X))


def test_values_are_looked_at_in_every_call(model):
    bad = X.copy()
    bad[2, 1] = np.nan
    with pytest.raises(gc.errors.DataError, match=r"N holds nan at \[2, 1\]"):
        model.predict(bad)
    with pytest.raises(gc.errors.DataError, match="P holds labels from 0 to 4 but there are 4 classes"):
        model.evaluate(X, np.array([0, 4, 1, 2, 2]))
    bad[2, 1] = 1e200  # its square overflows
    assert np.isfinite(model.predict(bad)).all()


def test_parameters_are_those_of_the_call(model, function, monkeypatch):
    function(X, **model.params)
    model.params["W"] = RNG.normal(size=(3, 4))
    np.testing.assert_allclose(model.predict(X), exact(X, model.params["W"]), rtol=1e-12)
    np.testing.assert_allclose(function(X, **model.params)[0], exact(X, model.params["W"]), rtol=1e-12)
    twin = pickle.loads(pickle.dumps(model))  # noqa: S301
    twin.params["W"] = np.zeros((3, 4))
    np.testing.assert_allclose(twin.predict(X), 0.25)
    np.testing.assert_allclose(model.predict(X), exact(X, model.params["W"]), rtol=1e-12)
    model._core.cast("float32")  # as fit(dtype=) does: the parameters lie elsewhere
    monkeypatch.setattr(evaluating, "bind", refused)
    with pytest.raises(AssertionError, match="the slow way was taken"):
        model.predict(X)


def test_results_are_arrays_of_their_own(model, function):
    first, second = model.predict(X), model.predict(-X)
    np.testing.assert_allclose(first, exact(X, model.params["W"]), rtol=1e-12)
    assert not np.shares_memory(first, second)
    outputs = [function(x, **model.params)[0] for x in (X, -X, X)]
    assert not np.shares_memory(outputs[0], outputs[2]) and (outputs[0] == outputs[2]).all()
    first[:] = 7.0
    np.testing.assert_allclose(model.predict(X), exact(X, model.params["W"]), rtol=1e-12)


def test_a_function_checks_names_and_labels_as_before(function, monkeypatch):
    w = RNG.normal(size=(3, 4))
    function(X, W=w)
    monkeypatch.setattr(calculus.Function, "_match", refused)
    y, total = function(-X, W=w)
    assert total == pytest.approx(y[:, 0].sum(), rel=1e-12) and total.shape == ()
    monkeypatch.undo()
    with pytest.raises(gc.errors.UnknownNameError, match="no argument 'V'"):
        function(X, W=w, V=w)
    with pytest.raises(gc.errors.DataError, match="needs W too"):
        function(X)
    with pytest.raises(gc.errors.DataError, match="the data have shape"):
        function(X, W=w.T.copy())


def test_threads_that_call_at_once_do_not_disturb_each_other(model, function):
    w = model.params["W"]
    given = [RNG.normal(size=(5, 3)) for _ in range(8)]
    begin = threading.Barrier(8)

    def work(x: np.ndarray) -> bool:
        begin.wait()
        wanted = exact(x, w)
        return all(
            np.allclose(y, wanted, rtol=1e-10) for _ in range(200) for y in (model.predict(x), function(x, W=w)[0])
        )

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(work, given))


def test_what_is_remembered_of_short_calls_is_bounded():
    tuner = TeamTuner()
    tuner.trying = True
    for steps in (1, 3):
        tuner.learn(1, steps, 1e-6 * steps)
    tuner.trying = False
    for _ in range(1000):
        tuner.learn(1, 1, 1e-6)
    assert len(tuner.paces[1].recent) <= MANY
