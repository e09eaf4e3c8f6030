"""Large arrays that were looked through once: what a value that is not finite, written since, does to a fit."""

from __future__ import annotations

import copy

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import graphc as gc
from graphc.emit.reference import evaluate
from graphc.errors import DataError, DivergenceError
from graphc.facade import repeating
from graphc.facade.pipeline import differentiate, read_graph
from graphc.ir.node import Leaf, Node
from graphc.lower.nan_propagation import propagating
from graphc.lower.training import StepPlan
from graphc.run import data as looks
from graphc.run import training
from tests import nets
from tests.graphs import build, draw_data, feed_of, plans
from tests.test_memory_plan import training_plan

X, T = (np.ascontiguousarray(a) for a in nets.data(40_000))
OPTIONS = {"optimizer": "adam", "batch_size": 8, "steps": 3, "shuffle": False}


@pytest.fixture
def model() -> gc.Model:
    """A network that has seen X and T."""
    model = nets.network().initialize(3)
    model.fit(X, T, **OPTIONS)
    return model


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of what is looked through, where fits of small arrays are not prepared."""
    names: list[str] = []
    monkeypatch.setattr(repeating, "_may_be_repeated", lambda *_: False)
    look = looks._check_finite
    monkeypatch.setattr(looks, "_check_finite", lambda leaf, *rest: names.append(leaf.name) or look(leaf, *rest))
    return names


def state(model: gc.Model) -> list:
    adam = model.state.rules[gc.Adam().text]
    return [nets.flat(model).tolist(), adam.values.tolist(), adam.step, copy.copy(model.state.sampler),
            model.state.totals.values.tolist()]  # fmt: skip


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("name", ["X", "T"])
@pytest.mark.parametrize("seed", [None, 5])
def test_a_bad_value_written_between_two_fits_is_named_and_the_whole_fit_undone(model, seen, name, value, seed):
    """Mutation-checked: without the look a DivergenceError is raised, without putting back two steps have been done."""
    before, array = state(model), {"X": X, "T": T}[name]
    kept = array[42, 1]
    array[42, 1] = value  # of the step after two more, or, begun anew, after five
    try:
        with pytest.raises(DataError) as caught:
            model.fit(X, T, **OPTIONS, seed=seed) if seed is None else model.fit(X, T, **OPTIONS | {"steps": 6}, seed=5)
    finally:
        array[42, 1] = kept
    text = f"{name} holds {value} at [42, 1]\n  hint: remove or fill such values, for example with np.nan_to_num"
    assert nets.text_of(caught) == text
    assert state(model) == before and model.last_run.steps == 0 and not model.last_run.history
    seen.clear()
    assert model.fit(X, T, **OPTIONS).steps == 3 and seen == ["X", "T"]


def test_a_long_run_looks_before_it_gives_up_what_was_there_at_its_beginning(model, seen, monkeypatch):
    """Mutation-checked: without the look the copy of a later step is put back."""
    monkeypatch.setattr(training, "KEPT", 0.0)
    monkeypatch.setattr(training, "SHARE", np.inf)
    before = state(model)
    X[79, 1] = np.nan  # three steps have been done, so of the seventh
    try:
        with pytest.raises(DataError, match=r"^X holds nan at \[79, 1\]"):
            model.fit(X, T, **OPTIONS | {"steps": 50})
    finally:
        X[79, 1] = 0.0
    assert state(model) == before and seen == ["X"]


def test_the_same_arrays_are_looked_through_once(model, seen):
    model.fit(X, T, **OPTIONS)
    assert seen == []


@pytest.mark.parametrize(
    ("arrays", "names"),
    [
        (lambda: (X.copy(), T), ["X"]),
        (lambda: (X[:], T), ["X"]),
        (lambda: (np.asfortranarray(X), T), ["X"]),
        (lambda: (X.astype("float32"), T.astype("float32")), ["X", "T"]),
        (lambda: (X[:1000], T[:1000]), ["X", "T"]),
    ],
    ids=["a copy", "a view", "another order", "another dtype", "small ones"],
)
def test_other_arrays_are_looked_through_each_time(model, seen, arrays, names):
    for _ in range(2):
        seen.clear()
        model.fit(*arrays(), **OPTIONS)
        assert seen == names


def test_an_array_that_was_given_another_shape_in_place_is_not_known():
    x = np.ascontiguousarray(X[:, :2])
    leaf, known = gc.input("X", ("n", 2)).node, looks.Seen()
    known.note(leaf, x, x)
    assert known.knows(leaf, x, x)
    x.resize((2, 40_000), refcheck=False)
    assert not known.knows(leaf, x, x)


def test_an_array_that_is_gone_is_not_taken_for_another_at_its_place():
    leaf, array = gc.input("X", ("n", 3)).node, X.copy()
    known = looks.Seen()
    known.note(leaf, array, array)
    assert known.knows(leaf, array, array)
    twin = np.frombuffer(array).reshape(array.shape)
    del array
    assert not known.knows(leaf, twin, twin)


@pytest.mark.parametrize(
    "options",
    [{"validation": (X[:9], T[:9])}, {"callbacks": [lambda run: None]}],
    ids=["validation", "callbacks"],
)
def test_a_run_that_returns_after_every_epoch_looks_first(model, seen, options):
    model.fit(X, T, **OPTIONS | options)
    assert seen[:2] == ["X", "T"]


def test_a_run_that_diverges_on_good_data_says_so_and_keeps_its_last_good_step(model):
    """The step after the weights were set so large that the loss overflows."""
    model.params["W1"] = np.full((4, 2), 1e200)
    with pytest.raises(DivergenceError):
        model.fit(X, T, **OPTIONS)
    assert model.last_run.stopped == "diverged"


def test_predict_and_evaluate_look_each_time(model, seen):
    model.evaluate(X, T)
    model.predict(X)
    assert seen == ["X", "T", "X"]


# ---------------------------------------------------------------- what is proved to show


def shows(leaf: Leaf, feed: dict[Leaf, np.ndarray], gradients: list[Node], place: int) -> bool:
    """Whether NaN and both infinities at a place of an input make a gradient of the interpreter not finite."""
    values = []
    for value in (np.nan, np.inf, -np.inf):
        array = np.array(feed[leaf], dtype="float64")
        array.flat[place % array.size] = value
        values.append(all(np.isfinite(g).all() for g in evaluate(gradients, {**feed, leaf: array})))
    return not any(values)


@settings(max_examples=60)
@given(plans(), st.integers(0, 100))
def test_a_bad_value_of_a_noticed_input_makes_a_gradient_bad(plan, place):
    """Mutation-checked: a rule that lets values pass through every function, or through masks, is caught."""
    graph = build(plan)
    step = training_plan(graph.loss, graph.params, 8)
    feed = {x.node: np.asarray(v) for x, v in feed_of(graph, draw_data(8)).items()}
    leaves = [p.node for p in graph.params]
    gradients = [*differentiate(read_graph({"loss": graph.loss.node}), "loss", leaves).gradients.values()]
    for leaf in propagating(step):
        assert shows(leaf, feed, gradients, place)


def step_of(activation: str, loss: str) -> StepPlan:
    Xs, Ts = gc.input("X", ("n", 3)), gc.input("T", ("n", 2))
    W0, B0, W1, B1 = (gc.param(name, shape, gc.normal(0.5)) for name, shape in nets.SHAPES.items())
    Y = getattr(gc.activations, activation)(Xs @ W0 + B0) @ W1 + B1
    Y = gc.sigmoid(Y) if loss == "bce" else Y
    return training_plan(getattr(gc.losses, loss)(Y, Ts), [W0, B0, W1, B1], 8)


ACTIVATIONS = ["elu", "gelu", "leaky_relu", "linear", "relu", "sigmoid", "silu", "softmax", "softplus", "tanh"]
LOSSES = {
    "mse": "XT", "bce": "X", "bce_with_logits": "X", "hinge": "XT", "cross_entropy": "XT", "huber": "X", "mae": "X",
}  # fmt: skip


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_a_dense_network_notices_its_data_behind_every_activation(activation):
    """relu(NaN) is 0, but the gradient of the first weights is a product with the data."""
    assert "".join(leaf.name for leaf in propagating(step_of(activation, "mse"))) == "XT"


@pytest.mark.parametrize("loss", LOSSES)
def test_targets_are_looked_through_each_time_where_a_loss_might_drop_a_bad_one(loss):
    assert "".join(leaf.name for leaf in propagating(step_of("tanh", loss))) == LOSSES[loss]
