"""Inputs without axes: a number a fit, several in a sweep, each copy with the bits that it has alone."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import graphc as gc
from graphc.cuda import selection
from graphc.errors import DataError, DomainError, NameClashError
from graphc.native.build import statistics
from tests import nets
from tests.covering.plain import Plain
from tests.cuda_races import Watched

LAMBDAS = [0.0, 0.1, 0.5]
rng = np.random.default_rng(3)
x = rng.normal(size=(20, 3))
t = x @ [[1.0], [-2.0], [0.5]] + 0.1 * rng.normal(size=(20, 1))


def ridge(name: str = "lam") -> gc.Model:
    """The mean squared error with a penalty whose factor is an input, and without it as a metric."""
    X, T, factor = gc.input("X", ("n", 3)), gc.input("T", ("n", 1)), gc.input(name, ())
    W = gc.param("W", (3, 1), gc.normal(1.0))
    error = gc.mean((X @ W - T) ** 2)
    return gc.Model(X @ W, error + factor * gc.sum(W**2), {"mse": error}, dtype="float64")


def xor() -> gc.Model:
    """The model of docs/howto/sweeps.md, whose programs it shares."""
    X, T, lam = gc.input("X", ("n", 2)), gc.input("T", ("n", 1)), gc.input("lam", ())
    W0, B0 = gc.param("W0", (2, 4), gc.normal(1.0)), gc.param("B0", (4,), 0.0)
    W1, B1 = gc.param("W1", (4, 1), gc.normal(1.0)), gc.param("B1", (1,), 0.0)
    Y = gc.sigmoid(gc.tanh(X @ W0 + B0) @ W1 + B1)
    error = gc.losses.bce(Y, T)
    return gc.Model(output=Y, loss=error + lam * gc.sum(W0**2), metrics={"error": error})


def alone(make: Callable[[], gc.Model], sweep: Any, i: int, *data: Any, **options: Any) -> gc.Model:
    model = make().initialize(sweep.seeds[i])
    rule, seed = sweep.rules[i], sweep.seeds[i]
    model.fit(*data, float(sweep.inputs["lam"][i]), optimizer=rule, seed=seed, **options)
    return model


def assert_same_as_alone(make: Callable[[], gc.Model], sweep: Any, *data: Any, **options: Any) -> None:
    for i in range(len(sweep)):
        model, mine = alone(make, sweep, i, *data, **options), sweep.model(i)
        assert mine.params.flat.tobytes() == model.params.flat.tobytes()
        assert mine.state.totals.values.tobytes() == model.state.totals.values.tobytes()
        for name, values in model.last_run.history.items():
            assert sweep.history[name][i].tolist() == values


def test_copies_of_every_value_have_the_bits_of_fits_alone_and_share_their_program():
    """Mutation-checked: copies that read the value of the copy before them, or all the first one."""
    x = np.array([[0, 0], [0, 1], [1, 0], [1, 1]], np.float32)
    options = {"steps": 10, "batch_size": 4, "shuffle": False}
    rates = gc.SGD([0.01, 0.1])
    data = {"X": x, "T": x[:, :1] * x[:, 1:], "lam": LAMBDAS}
    sweep = xor().sweep(data, optimizer=rates, seeds=[4, 7], threads=2, **options)
    found = [(row["eta"], row["lam"], row["seed"]) for row in sweep.table]
    assert found == [(eta, lam, seed) for eta in (0.01, 0.1) for lam in LAMBDAS for seed in (4, 7)]
    compiled = statistics["compiled"]
    assert_same_as_alone(xor, sweep, x, data["T"], **options)
    assert statistics["compiled"] == compiled, "another factor is no other program"


@pytest.mark.parametrize("tier", ["A", "C"])
def test_on_a_gpu_copies_of_one_value_run_side_by_side_and_the_values_in_turn(tier: Any):
    """Mutation-checked: with the data of the first copy for all."""
    options = {"epochs": 2, "batch_size": 8, "target": "cuda", "verify": False}
    with selection.use(Watched(threads=4, blocks=1 if tier == "A" else 2), tier):
        sweep = ridge().sweep(x, t, np.array(LAMBDAS), optimizer=gc.SGD([0.01, 0.1]), **options)
        assert_same_as_alone(ridge, sweep, x, t, **options)


@pytest.mark.usefixtures("double_precision")
def test_the_losses_of_the_steps_are_those_of_jax(python: Plain):
    """The mean of the losses before each update, and the loss before the first one."""
    sweep = ridge().sweep(x, t, LAMBDAS, optimizer=gc.SGD(0.05), epochs=4, batch_size=None, shuffle=False)
    for i, factor in enumerate(LAMBDAS):
        loss = lambda w: jnp.mean((x @ w - t) ** 2) + factor * jnp.sum(w**2)  # noqa: B023  used in this turn
        w, losses = jnp.asarray(ridge().initialize(0).params["W"]), []
        for _ in range(4):
            value, slope = jax.value_and_grad(loss)(w)
            losses.append(float(value))
            w = w - 0.05 * slope
        np.testing.assert_allclose(sweep.history["loss"][i], losses, rtol=1e-13)
        np.testing.assert_allclose(sweep.initial[i], losses[0], rtol=1e-13)
        np.testing.assert_allclose(sweep.parameters(i)["W"], w, rtol=1e-12)


def test_values_make_pairs_and_columns_of_the_table(python: Plain):
    made = {"optimizer": gc.SGD([0.1, 0.2, 0.3]), "seeds": [5], "steps": 2, "batch_size": None, "paired": True}
    sweep = ridge().sweep(x, t, LAMBDAS, **made)
    assert [(row["eta"], row["lam"], row["seed"]) for row in sweep.table] == [(0.1, 0, 5), (0.2, 0.1, 5), (0.3, 0.5, 5)]
    assert repr(sweep) == "<Sweep of 3 copies over eta, lam; print it for the table>"
    assert re.search(r"\n +eta +lam +loss before +after +verdict\n +0.1 +0 ", str(sweep))
    only = ridge().sweep(x, t, LAMBDAS, optimizer=gc.SGD(0.1), steps=2, batch_size=None)
    assert len(only) == 3 and only.verdicts == ["good"] * 3, "losses of different factors are not compared"


def test_copies_are_evaluated_with_their_own_values_or_with_one_that_is_given(python: Plain):
    """Mutation-checked: with the first copy's value for all."""
    sweep = ridge().sweep(x, t, LAMBDAS, optimizer=gc.SGD(0.1), steps=3, batch_size=None)
    own = [sweep.model(i).evaluate(x, t, factor) for i, factor in enumerate(LAMBDAS)]
    for found in (sweep.evaluate(x, t), sweep.evaluate({"X": x, "T": t})):
        assert {name: values.tolist() for name, values in found.items()} == {n: [e[n] for e in own] for n in own[0]}
    for found in (sweep.evaluate(x, t, 0.0), sweep.evaluate({"X": x, "T": t, "lam": 0})):
        np.testing.assert_allclose(found["loss"], found["mse"], rtol=1e-15)
        assert found["mse"].tolist() == [e["mse"] for e in own]


def test_a_copy_goes_on_as_a_model_of_its_own(python: Plain, tmp_path):
    options = {"optimizer": gc.SGD(0.1), "epochs": 2, "batch_size": 8}
    copy = ridge().sweep(x, t, LAMBDAS, **options).model(2)
    copy.save(tmp_path / "ridge.safetensors")
    model = ridge().initialize(0)
    model.fit(x, t, 0.5, seed=0, **options)
    for one in (copy, model, loaded := gc.Model.load(tmp_path / "ridge.safetensors")):
        one.fit(x, t, 0.3, **options)
    assert copy.params.flat.tobytes() == model.params.flat.tobytes() == loaded.params.flat.tobytes()


@pytest.mark.parametrize("counted", [np.int32([1, 2]), [True, 2]], ids=["integers", "a list"])
def test_whole_numbers_are_swept_too(counted: Any, python: Plain):
    theta, power = gc.param("theta", (), 3.0), gc.input("k", (), dtype="int64")
    model = gc.Model(loss=(theta - gc.take(np.arange(5.0), power)) ** 2, dtype="float64")
    sweep = model.sweep({"k": counted}, optimizer=gc.SGD(0.5), steps=1)
    assert [sweep.parameters(i)["theta"] for i in range(2)] == [1, 2]
    with pytest.raises(DataError, match="k holds labels from 7 to 7 but there are 5 classes"):
        model.sweep({"k": [1, 7]}, steps=1)


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (lambda: ridge().sweep(x, t, []), DomainError, "sweep: lam has no values\n  hint: give at least one"),
        (lambda: ridge().sweep(x, t, [0.1, np.nan]), DataError,
         "lam holds nan at []\n  hint: remove or fill such values, for example with np.nan_to_num"),
        (lambda: ridge().sweep(x, t, [[0.1, 0.2]]), DataError,
         "lam () was declared but the data have shape (1, 2)\n"
         "  hint: reshape the data or declare the input with their shape"),
        (lambda: ridge().fit(x, t, [0.1, 0.2]), DataError,
         "lam () was declared but the data have shape (2,)\n"
         "  hint: reshape the data or declare the input with their shape"),
        (lambda: ridge("mu").sweep(x, t, [1, 2], optimizer=gc.Momentum(0.1, mu=[0.1, 0.2])), NameClashError,
         "sweep: the input mu has the name of a hyper-parameter that is swept, too\n"
         "  hint: declare it by another name"),
        (lambda: ridge("steps").sweep(x, t, [1, 2]), NameClashError,
         "sweep: the input steps has the name of a column of the table of a sweep\n"
         "  hint: declare it by another name"),
        (lambda: ridge().sweep(x, t, [0.1, 0.2], seeds=3, paired=True), DomainError,
         "sweep: paired values must be equally many, but there are 2 of lam, 3 of seeds\n"
         "  hint: leave paired out for every combination"),
    ],
)  # fmt: skip
def test_wrong_values_are_errors(call: Any, error: type[Exception], text: str):
    with pytest.raises(error) as caught:
        call()
    assert nets.text_of(caught) == text
