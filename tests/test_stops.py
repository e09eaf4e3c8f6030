"""How a run ends: tolerance, divergence, early stopping, callbacks, Ctrl-C."""

from __future__ import annotations

import io
import re

import numpy as np
import pytest
import rich

import graphc as gc
from graphc.emit.reference import evaluate_all
from graphc.errors import DataError, DivergenceError, DomainError, UnknownNameError
from graphc.facade.failure_causes import advice
from graphc.facade.pipeline import read_graph
from graphc.ir.walk import leaves, topological
from graphc.native import build
from graphc.primitives import philox
from graphc.run import training
from tests import nets

X, T = nets.data(101)
ADAM = {"optimizer": gc.Adam(0.01), "batch_size": 8}
PER_EPOCH = 13
HINT = "  hint: try a smaller learning rate, or clip_norm=1.0 in the optimizer"

CHILD = """
import json, sys, time
import graphc as gc
from tests import nets
X, T = nets.data(101)
model = nets.network("float32")
model.fit(X, T, steps=1, optimizer=gc.Adam(0.01), batch_size=8)
options = {"plain": {}, "callback": {"callbacks": [lambda run: None]}, "progress": {"progress": True}}[sys.argv[1]]
print("ready", flush=True)
try:
    model.fit(X, T, steps=10**8, optimizer=gc.Adam(0.01), batch_size=8, **options)
except KeyboardInterrupt:
    run = model.last_run
    print(json.dumps([run.steps, run.stopped, model.params.flat.tobytes().hex(), len(run.history["loss"])]), flush=True)
"""


@pytest.mark.parametrize("way", ["plain", "callback", "progress"])
def test_ctrl_c_stops_a_run_at_once_after_a_whole_step(way):
    """Mutation-checked: without the look at the stop word the child goes on until the timer ends it."""
    (steps, stopped, parameters, epochs), waited = nets.interrupted(CHILD, way)
    print(f"{way}: {steps} steps, stopped {1e3 * waited:.1f} ms after the signal")
    assert waited < 2 and stopped == "interrupted" and steps > 100
    assert epochs == -(-(steps + 1) // PER_EPOCH), "the child began with a step before"
    model = nets.network("float32")
    model.fit(X, T, steps=steps + 1, **ADAM)
    assert model.params.flat.tobytes().hex() == parameters


def test_an_error_in_a_callback_passes_and_leaves_the_parameters_of_a_whole_step():
    def third_time(run):
        if run.epochs == 3:
            raise RuntimeError("enough")

    model, other = nets.network("float32"), nets.network("float32")
    with pytest.raises(RuntimeError, match="^enough$"):
        model.fit(X, T, epochs=9, callbacks=[third_time], **ADAM)
    other.fit(X, T, epochs=3, **ADAM)
    assert model.last_run.stopped == "interrupted" and len(model.last_run.history["loss"]) == 3
    np.testing.assert_array_equal(model.params.flat, other.params.flat)


# ---------------------------------------------------------------- convergence


@pytest.mark.parametrize("threads", [1, 3])
def test_a_run_ends_when_the_largest_gradient_of_an_epoch_is_within_the_tolerance(threads):
    """Mutation-checked: when only the first thread says that a gradient was above it, three threads end too early."""
    model = nets.network()
    run = model.fit(X, T, optimizer=gc.SGD(0.3), batch_size=128, tol=0.1, epochs=5000, threads=threads)
    assert run.stopped == "converged" and run.epochs < 5000
    again = nets.network()
    again.fit(X, T, optimizer=gc.SGD(0.3), batch_size=128, epochs=run.epochs - 2)
    top = []
    for _ in range(2):
        top.append(np.abs(nets.loss_and_gradient(nets.flat(again), X, T, np.ones(len(X)))[1]).max())
        again.fit(X, T, optimizer=gc.SGD(0.3), batch_size=128, epochs=1)
    assert top[1] <= 0.1 < top[0]
    np.testing.assert_array_equal(model.params.flat, again.params.flat)


def test_a_tolerance_that_is_not_reached_leaves_the_run_finished():
    assert nets.network().fit(X, T, optimizer=gc.SGD(0.3), batch_size=128, tol=1e-9, epochs=3).stopped == "finished"


def test_convergence_is_seen_by_a_run_with_callbacks_as_well():
    plain, watched, seen = nets.network(), nets.network(), []
    options = {"optimizer": gc.SGD(0.3), "batch_size": 128, "tol": 0.02, "epochs": 5000}
    run = plain.fit(X, T, **options)
    other = watched.fit(X, T, callbacks=[seen.append], **options)
    assert (run.stopped, run.history) == (other.stopped, other.history) and len(seen) == run.epochs


# ---------------------------------------------------------------- divergence


def diverging(model, *data, **options):
    """The message of the error, and the model's last run."""
    with pytest.raises(DivergenceError) as caught:
        model.fit(*data, **options)
    assert model.last_run.stopped == "diverged"
    return str(caught.value), model.last_run


def test_a_huge_learning_rate_ends_with_the_last_good_parameters_and_the_line_that_overflowed():
    model, good = nets.network(), nets.network()
    options = {"optimizer": gc.SGD(1e150), "batch_size": 128}
    text, run = diverging(model, X, T, epochs=50, **options)
    head = f"step {run.steps + 1} gave NaN or infinity; the parameters of step {run.steps} are kept"
    assert re.fullmatch(rf"{head}\n  \S.* = .*\n  is (-?inf|nan) at \[.*\]\n  at nets.py:\d+\n{HINT}", text)
    assert run.steps >= 1 and len(run.history["loss"]) == run.steps
    good.fit(X, T, steps=run.steps, **options)
    np.testing.assert_array_equal(model.params.flat, good.params.flat)


def test_the_logarithm_of_a_negative_number_is_named_with_its_line():
    theta = gc.param("theta", (), 1.0)
    model = gc.Model(loss=gc.log(theta), name="logarithm")
    text, run = diverging(model, {}, optimizer=gc.SGD(0.7), steps=100)
    assert text.startswith("step 3 gave NaN or infinity; the parameters of step 2 are kept\n  ")
    assert re.search(r"log\(theta\)\n  is nan at \[\]\n  at test_stops.py:\d+\n", text)
    assert text.endswith("  hint: log gets -2.03333: keep its argument above 0, for example with gc.maximum")
    np.testing.assert_allclose(model.params["theta"], 0.3 - 0.7 / 0.3, rtol=1e-6)
    assert run.steps == 2 and run.history["loss"][:1] == [0.0]


X2, W2 = gc.input("X", ("n", 2)), gc.param("W", (2,), 1.0)
Z2 = X2 @ W2
TOO_LARGE = "it is too large before any update: scale the data, or start from smaller parameters"


@pytest.mark.parametrize(
    ("y", "dtype", "updates", "hint"),
    [
        (1 / Z2, "float64", 0, "it divides by 0: keep that away from 0, for example by adding 1e-8"),
        (gc.log(Z2), "float64", 3, "log gets 0: keep its argument above 0, for example with gc.maximum"),
        (gc.sqrt(gc.sum(X2, axis=1) - 2), "float64", 3,
         "sqrt gets -2: keep its argument at least 0, for example with gc.maximum"),
        ((Z2 - 1) ** 1.5, "float64", 0, "a power gets the base -1: keep the base above 0, for example with gc.maximum"),
        (gc.exp(1000 * Z2), "float64", 0, TOO_LARGE),
        (gc.exp(1000 * Z2), "float32", 0, f'{TOO_LARGE}, or use dtype="float64"'),
        (gc.exp(1000 * Z2), "float32", 1, "try a smaller learning rate, or clip_norm=1.0 in the optimizer"),
        (gc.where(Z2 > 0, gc.log(Z2), gc.exp(Z2 + 1000)), "float64", 1,
         "try a smaller learning rate, or clip_norm=1.0 in the optimizer"),
    ],
)  # fmt: skip
def test_the_hint_after_a_bad_value_looks_at_what_went_wrong(y, dtype, updates, hint):
    """Mutation-checked: without the look at what gets through the logarithm that is not taken is blamed."""
    root = read_graph({"y": gc.mean(y).node}).roots["y"]
    feed = {leaf: np.array([[1.0, -1.0], [1.0, 1.0]]) if leaf.rank == 2 else np.ones(2) for leaf in leaves([root])}
    values = evaluate_all([root], feed, dtype=np.dtype(dtype))
    found = next(n for n in topological([root]) if not np.isfinite(values[n]).all())
    assert advice(found, values, dtype, updates) == hint


def overflowing():
    """J = mean(x)*theta, whose loss and gradient are finite as long as theta is."""
    x, theta = gc.input("x", ("n",)), gc.param("theta", (), 1.0)
    return gc.Model(loss=gc.mean(x) * theta, name="overflowing")


def test_a_gradient_that_is_infinite_at_a_finite_loss_is_found_by_the_thread_that_has_it():
    """Of two threads the second has the whole update. Mutation-checked: when the first looks alone, it is the update
    that is named."""
    theta = gc.param("theta", (2,), [0.0, 1.0])
    model = gc.Model(loss=gc.sum(gc.sqrt(theta)), name="root")
    text, run = diverging(model, {}, optimizer=gc.SGD(0.1), steps=5, threads=2)
    assert text.startswith("step 1 gave NaN or infinity; the parameters of step 0 are kept\n") and run.steps == 0
    assert "<-" not in text, "the gradient is named, not the update that follows from it"
    assert text.endswith("  hint: it divides by 0: keep that away from 0, for example by adding 1e-8")
    np.testing.assert_array_equal(model.params["theta"], [0.0, 1.0])


@pytest.mark.parametrize("threads", [1, 2])
def test_an_update_that_overflows_leaves_parameters_state_order_and_history_as_before_that_step(threads):
    """Mutation-checked: without the test after the update, or when only the first of two threads looks, theta is
    infinite and step 5 is named; when threads do not meet before the first phase, the mean lacks rows."""
    options = {"optimizer": gc.Momentum(5e37, mu=1.0), "batch_size": 2, "record": "step", "threads": threads}
    x = np.ones(5)
    model, good = overflowing(), overflowing()
    text, run = diverging(model, x, steps=50, **options)
    assert text == (
        "step 4 gave NaN or infinity; the parameters of step 3 are kept\n"
        "  theta <- theta - eta*v\n"
        f"  is -inf for theta\n{HINT}"
    )
    expected = good.fit(x, steps=3, **options)
    assert (model.params["theta"], run.steps, run.history) == (good.params["theta"], 3, expected.history)
    assert model.state.sampler == good.state.sampler and np.isfinite(model.params["theta"])
    [left], [right] = model.state.rules.values(), good.state.rules.values()
    assert left.step == right.step == 3 and left.values[0] == right.values[0] == 3.0
    np.testing.assert_array_equal(model.state.totals.values, good.state.totals.values)
    model.fit(x, steps=2, **{**options, "optimizer": gc.Momentum(1e30, mu=1.0)})
    assert left.step == 5 and np.isfinite(model.params["theta"]), "a smaller learning rate goes on from there"


@pytest.mark.parametrize("record", ["epoch", "step"])
def test_a_run_that_keeps_copies_on_its_way_goes_back_to_the_last_one(monkeypatch, record):
    """Mutation-checked: without cutting the history back to the copy it has epochs twice."""
    options = {"optimizer": gc.SGD(100), "batch_size": 128, "steps": 400, "record": record, "threads": 1}
    plain, kept = nets.network(), nets.network()
    text, run = diverging(plain, X, T, **options)
    monkeypatch.setattr(training, "KEPT", 0.0)
    monkeypatch.setattr(training, "SHARE", np.inf)
    calls = build.statistics["native_calls"]
    again, other = diverging(kept, X, T, **options)
    assert (again, other.steps, other.history) == (text, run.steps, run.history) and run.steps > 50
    assert build.statistics["native_calls"] - calls == run.steps + 1, "a call a step, and none is repeated"
    np.testing.assert_array_equal(kept.params.flat, plain.params.flat)
    np.testing.assert_array_equal(kept.state.totals.values, plain.state.totals.values)
    assert kept.state.sampler == plain.state.sampler


def test_a_state_that_overflows_is_found_although_the_parameters_stay_finite():
    """Adam divides by the infinite second moment: without the test nothing would ever move again."""
    theta = gc.param("theta", (2,), [1.0, 2.0])
    model = gc.Model(loss=gc.sum(theta * [1.0, 1e25]), name="second_moment")
    text, run = diverging(model, {}, optimizer=gc.Adam(0.1), steps=10)
    assert text == (
        "step 1 gave NaN or infinity; the parameters of step 0 are kept\n"
        "  v <- b2*v + (1 - b2)*g**2\n"
        f"  is inf for theta[1]\n{HINT}"
    )
    assert run.steps == 0 and run.history["loss"] == []
    [state] = model.state.rules.values()
    np.testing.assert_array_equal(model.params["theta"], [1.0, 2.0])
    assert state.step == 0 and not state.values.any()


# ---------------------------------------------------------------- validation, early stopping, callbacks


def test_validation_data_are_evaluated_after_every_epoch():
    x, t = nets.data(40)
    model, stages = nets.network(), []
    keep = lambda run: stages.append(model.evaluate(x, t))
    run = model.fit(X, T, epochs=3, validation=(x, t), callbacks=[keep], **ADAM)
    assert run.history["val_loss"] == [s["loss"] for s in stages]
    assert run.history["val_mae"] == [s["mae"] for s in stages]
    by_name = nets.network().fit(X, T, epochs=3, validation={"T": t, "X": x}, **ADAM)
    assert by_name.history == run.history


def test_a_fraction_of_the_rows_is_chosen_by_the_seed_and_kept_out_of_all_training():
    model, rule = nets.network().initialize(3), gc.SGD(0.1)
    start = nets.flat(model)
    order = philox.permutation(101, 3, 0, stream=2)
    out, kept = np.sort(order[:20]), np.sort(order[20:])
    run = model.fit(X, T, optimizer=rule, epochs=2, batch_size=128, seed=3, validation=0.2)
    run_2 = model.fit(X, T, optimizer=rule, epochs=1, batch_size=128, validation=0.2)
    theta, losses = nets.train(start, rule, X[kept], T[kept], nets.batches(81, 81, 3, 3, shuffle=False))
    np.testing.assert_allclose(nets.flat(model), theta, rtol=1e-10)
    np.testing.assert_allclose(run.history["loss"] + run_2.history["loss"], losses, rtol=1e-10)
    held_out = nets.loss_and_gradient(theta, X[out], T[out], np.ones(20))[0]
    assert run_2.history["val_loss"] == pytest.approx([held_out], rel=1e-10)


def test_early_stopping_ends_after_its_patience_and_puts_the_best_parameters_back():
    """Trained on noise: the validation loss rises again."""
    noise = np.random.default_rng(0).standard_normal((101, 2))
    model, best = nets.network(), nets.network()
    options = {"optimizer": gc.Adam(0.01), "batch_size": 8, "validation": (X, T)}
    run = model.fit(X, noise, epochs=200, callbacks=[gc.EarlyStopping(patience=4)], **options)
    values = run.history["val_loss"]
    at = int(np.argmin(values)) + 1
    assert run.stopped == "early stopping" and run.epochs == len(values) == at + 4 < 200
    assert run.best == {"epoch": at, "val_loss": values[at - 1]}
    best.fit(X, noise, epochs=at, **options)
    np.testing.assert_array_equal(model.params.flat, best.params.flat)


def test_early_stopping_watches_what_it_is_told_in_the_direction_it_is_told():
    def after(record, **options):
        stop = gc.EarlyStopping(restore_best=False, **options)
        run = nets.network().fit(X, T, epochs=30, callbacks=[stop], record=record, **ADAM)
        return run.epochs, run.stopped, run.best

    assert after("epoch", monitor="mae", mode="max", patience=2)[:2] == (3, "early stopping")
    assert after("epoch", min_delta=10.0, patience=3)[:2] == (4, "early stopping")
    epochs, stopped, best = after("epoch", monitor="loss", patience=2)
    assert (epochs, stopped, best["epoch"]) == (30, "finished", 30)
    assert after("step", monitor="loss", patience=2) == (epochs, stopped, best), "means over epochs, not last steps"


def test_early_stopping_refuses_what_it_cannot_watch():
    with pytest.raises(UnknownNameError) as caught:
        nets.network().fit(X, T, callbacks=[gc.EarlyStopping(monitor="val_los")], **ADAM)
    assert nets.text_of(caught) == "EarlyStopping: no 'val_los' is recorded\n  hint: known are loss, mae"
    with pytest.raises(DomainError, match=r"^EarlyStopping: patience is 0\n(.*\n)?  hint: give at least 1 epoch$"):
        gc.EarlyStopping(patience=0)
    with pytest.raises(DomainError, match=r"^EarlyStopping: mode is 'up'\n(.*\n)?  hint: choose 'min' or 'max'$"):
        gc.EarlyStopping(mode="up")
    with pytest.raises(DomainError, match=r"^Checkpoint: every is 0\n(.*\n)?  hint: give at least 1 epoch$"):
        gc.Checkpoint("a.safetensors", every=0)


def test_a_function_stops_the_run_by_returning_true_and_by_nothing_else():
    run = nets.network().fit(X, T, epochs=9, callbacks=[lambda run: run.epochs], **ADAM)
    assert (run.epochs, run.stopped) == (9, "finished")
    run = nets.network().fit(X, T, epochs=9, callbacks=[lambda run: run.latest["loss"] < 1 and run.epochs == 2], **ADAM)
    assert (run.epochs, run.stopped) == (2, "callback")


def test_validation_data_that_do_not_fit_are_named_as_such():
    with pytest.raises(DataError) as caught:
        nets.network().fit(X, T, validation=X, **ADAM)
    assert nets.text_of(caught) == (
        "validation: the model reads 2 inputs (X (n, 3), T (n, 2)) but 1 arrays were given\n"
        "  hint: pass one array for each, in this order, or a dict by name"
    )


def test_progress_draws_a_line_that_ends_at_the_last_step():
    console, drawn = rich.get_console(), io.StringIO()
    before = dict(console.__dict__)
    rich.reconfigure(file=drawn, force_terminal=True, width=80)
    try:
        nets.network("float32").fit(X, T, epochs=5, progress=True, **ADAM)
    finally:
        console.__dict__ = before
    assert "training" in drawn.getvalue() and "65/65" in drawn.getvalue()
