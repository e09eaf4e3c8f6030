"""A training run against the same run written by hand in NumPy, and what a run reports."""

from __future__ import annotations

import re

import numpy as np
import pytest

import graphc as gc
from graphc.native.build import statistics
from tests import nets

X, T = nets.data()
ROWS, BATCH, STEPS, SEED = len(X), 8, 40, 3


def counted(action):
    """What an action adds to the counters of native programs."""
    before = dict(statistics)
    action()
    return {name: count - before[name] for name, count in statistics.items()}


@pytest.mark.parametrize(
    "optimizer",
    [
        gc.SGD(0.1),
        gc.Momentum(gc.schedules.warmup(gc.schedules.cosine(0.05, steps=30), 10), mu=0.8, clip_value=0.05),
        gc.Nesterov(0.02, decay=0.1),
        gc.Adagrad(gc.schedules.step_decay(0.1, 0.5, every=7), decay=0.01),
        gc.RMSProp(gc.schedules.exponential(0.01, 0.97)),
        gc.Adam(0.01),
        gc.AdamW(0.01, decay=0.1, clip_norm=0.3, clip_value=0.2),
    ],
    ids=lambda rule: rule.name,
)
def test_forty_steps_give_the_parameters_of_a_numpy_loop_over_the_same_batches(optimizer):
    """Mutation-checked: a full last batch, the order of another epoch, a step number from 0 are caught."""
    model = nets.network().initialize(SEED)
    start = nets.flat(model)
    run = model.fit(X, T, optimizer=optimizer, steps=STEPS, batch_size=BATCH, seed=SEED, record="step")
    theta, losses = nets.train(start, optimizer, X, T, nets.batches(ROWS, BATCH, STEPS, SEED))
    np.testing.assert_allclose(nets.flat(model), theta, rtol=1e-10)
    np.testing.assert_allclose(run.history["loss"], losses, rtol=1e-10)


@pytest.mark.parametrize(
    ("rows", "size"),
    [(101, None), (ROWS, 1), (ROWS, 128)],
    ids=["full batch", "pure SGD", "batch larger than the data"],
)
def test_extreme_batch_sizes_give_the_parameters_of_a_numpy_loop(rows, size):
    model, rule = nets.network().initialize(SEED), gc.SGD(0.1)
    start, (x, t) = nets.flat(model), nets.data(rows)
    model.fit(x, t, optimizer=rule, steps=50, batch_size=size, seed=SEED)
    theta, _ = nets.train(start, rule, x, t, nets.batches(rows, size or rows, 50, SEED))
    np.testing.assert_allclose(nets.flat(model), theta, rtol=1e-10)


def test_without_shuffling_the_rows_come_as_they_lie_in_the_data():
    model, rule = nets.network().initialize(SEED), gc.SGD(0.1)
    start = nets.flat(model)
    model.fit(X, T, optimizer=rule, steps=STEPS, batch_size=BATCH, shuffle=False)
    theta, _ = nets.train(start, rule, X, T, nets.batches(ROWS, BATCH, STEPS, SEED, shuffle=False))
    np.testing.assert_allclose(nets.flat(model), theta, rtol=1e-10)


def test_the_history_is_the_mean_over_each_epoch_weighted_by_rows_of_values_before_the_update():
    model, rule = nets.network().initialize(SEED), gc.SGD(0.1)
    start, per_epoch = nets.flat(model), -(-ROWS // BATCH)
    run = model.fit(X, T, optimizer=rule, epochs=3, batch_size=BATCH, seed=SEED)
    rows = list(nets.batches(ROWS, BATCH, 3 * per_epoch, SEED))
    _, losses = nets.train(start, rule, X, T, rows)
    sums = np.reshape([loss * len(r) for loss, r in zip(losses, rows)], (3, per_epoch)).sum(1)
    np.testing.assert_allclose(run.history["loss"], sums / ROWS, rtol=1e-10)
    assert len(run.history["mae"]) == run.epochs == 3 and run.steps == 3 * per_epoch


def test_a_fit_is_one_native_call_and_nothing_is_compiled_a_second_time():
    model = nets.network()
    fit = lambda rows=ROWS, **options: model.fit(X[:rows], T[:rows], batch_size=BATCH, **options)
    first = counted(lambda: fit(optimizer=gc.SGD(0.1), epochs=3))
    assert first["compiled"] + first["loaded_from_cache"] == first["native_calls"] == 1
    once = {"compiled": 0, "loaded_from_cache": 0, "native_calls": 1}
    assert counted(lambda: fit(optimizer=gc.SGD(0.1), epochs=2)) == once
    assert counted(lambda: fit(optimizer=gc.SGD(0.3), epochs=2)) == once, "another learning rate"
    assert counted(lambda: fit(rows=17, optimizer=gc.SGD(0.1), steps=11, record="step")) == once, "other data"
    assert counted(lambda: fit(rows=3, optimizer=gc.SGD(0.1), tol=1e-2, epochs=5, seed=2)) == once, "a tolerance"
    model.predict(X), model.evaluate(X, T)
    use = lambda rows: (model.predict(X[:rows]), model.evaluate(X[:rows], T[:rows]))
    again = counted(lambda: (use(5), use(ROWS)))
    assert again == {"compiled": 0, "loaded_from_cache": 0, "native_calls": 4}


def test_the_seconds_that_deriving_and_compiling_took_are_reported_once():
    model = nets.network()
    first = model.fit(X, T, optimizer=gc.SGD(0.1), batch_size=BATCH)
    second = model.fit(X, T, optimizer=gc.SGD(0.1), batch_size=BATCH)
    assert first.compile_seconds > 5 * second.compile_seconds


def test_predict_and_evaluate_agree_with_numpy_for_any_number_of_rows():
    model = nets.network().initialize(SEED)
    theta = nets.flat(model)
    x, t = nets.data(700)
    for rows in (1, 256, 257, 700):
        Y = nets.forward(theta, x[:rows])[1]
        np.testing.assert_allclose(model.predict(x[:rows]), Y, rtol=1e-12)
        found = model.evaluate(x[:rows], t[:rows])
        expected = {"loss": np.mean((Y - t[:rows]) ** 2), "mae": np.mean(np.abs(Y - t[:rows]))}
        assert found == pytest.approx(expected, rel=1e-12)


def test_a_weight_of_two_counts_as_the_row_twice():
    """With three batches of eight rows, and over one batch against repeated rows."""
    w = np.random.default_rng(1).integers(0, 3, ROWS).astype(float)
    model, rule = nets.network().initialize(SEED), nets.MOMENTUM
    start = nets.flat(model)
    run = model.fit(X, T, optimizer=rule, steps=9, batch_size=BATCH, seed=SEED, sample_weight=w, record="step")
    theta, losses = nets.train(start, rule, X, T, nets.batches(ROWS, BATCH, 9, SEED), w)
    np.testing.assert_allclose(nets.flat(model), theta, rtol=1e-10)
    np.testing.assert_allclose(run.history["loss"], losses, rtol=1e-10)
    x, t, w = X[:BATCH], T[:BATCH], w[:BATCH]
    twice = np.repeat(np.arange(BATCH), w.astype(int))
    theta, [J] = nets.train(start, rule, x, t, [twice])
    assert nets.loss_and_gradient(start, x, t, w)[0] == pytest.approx(J, rel=1e-12)
    model = nets.network().initialize(SEED)
    model.fit(x, t, optimizer=rule, steps=1, batch_size=BATCH, sample_weight=w)
    np.testing.assert_allclose(nets.flat(model), theta, rtol=1e-10, atol=1e-14)


def test_a_batch_in_which_all_weights_are_zero_has_the_gradient_0_and_counts_for_no_mean():
    w = np.zeros(ROWS)
    w[[2, 20]] = 1.0
    model = nets.network().initialize(SEED)
    start = nets.flat(model)
    run = model.fit(X, T, optimizer=nets.MOMENTUM, epochs=1, batch_size=8, shuffle=False, sample_weight=w)
    theta, losses = nets.train(start, nets.MOMENTUM, X, T, nets.batches(ROWS, 8, 3, SEED, shuffle=False), w)
    np.testing.assert_allclose(nets.flat(model), theta, rtol=1e-10)
    assert losses[1] == 0 and run.history["loss"] == pytest.approx([(losses[0] + losses[2]) / 2], rel=1e-10)


def test_a_loss_without_data_is_trained_step_by_step():
    model = nets.parabola()
    run = model.fit({}, optimizer=gc.SGD(0.05), steps=3, record="step")
    theta = np.array([0.95, 0.5]) ** np.arange(5)[:, None]
    losses = theta**2 @ [0.5, 5.0]
    np.testing.assert_allclose(run.history["loss"], losses[:3], rtol=1e-14)
    np.testing.assert_allclose(model.params["theta"], theta[3], rtol=1e-14)
    assert model.fit(optimizer=gc.SGD(0.05), steps=1).steps == 1
    assert model.evaluate() == {"loss": pytest.approx(losses[4], rel=1e-14)}


def test_rosenbrocks_valley_is_followed_to_its_minimum():
    z = gc.param("z", (2,), [-1.2, 1.0])
    model = gc.Model(loss=(1 - z[0]) ** 2 + 100 * (z[1] - z[0] ** 2) ** 2, dtype="float64", name="rosenbrock")
    run = model.fit({}, optimizer=gc.Adam(0.02), tol=1e-6, steps=200_000)
    assert run.stopped == "converged" and run.steps < 200_000
    np.testing.assert_allclose(model.params["z"], [1.0, 1.0], atol=1e-5)


def test_a_run_tells_what_happened():
    model = nets.network("float32")
    run = model.fit(X, T, optimizer=gc.Adam(0.01), epochs=2, batch_size=BATCH, seed=7, threads=2)
    assert (run.steps, run.epochs, run.stopped, run.seed, run.threads, run.best) == (6, 2, "finished", 7, 2, {})
    assert run.notes == ["X: float64 cast to float32", "T: float64 cast to float32"]
    assert 0 < run.seconds < 1 and run.microseconds_per_step == pytest.approx(1e6 * run.seconds / 6)
    assert run.latest == {"loss": run.history["loss"][-1], "mae": run.history["mae"][-1]} and model.last_run is run
    assert str(run).startswith("6 steps in ") and f"finished; loss {run.history['loss'][-1]:.6g}, mae " in str(run)
    with pytest.raises(gc.errors.UnknownNameError) as caught:
        run.history["los"]
    assert str(caught.value) == "the history has no entry 'los'\n  hint: did you mean 'loss'?"


def test_the_precision_may_change_between_fits():
    model, single = nets.network("float32"), nets.network("float32")
    for m in (model, single):
        m.fit(X, T, optimizer=gc.SGD(0.1), steps=5, batch_size=BATCH)
    run = model.fit(X, T, optimizer=gc.SGD(0.1), steps=5, batch_size=BATCH, dtype="float64")
    single.fit(X, T, optimizer=gc.SGD(0.1), steps=5, batch_size=BATCH)
    assert run.notes == [] and model.predict(X).dtype == model.params["W0"].dtype == np.float64
    np.testing.assert_allclose(model.params.flat, single.params.flat, rtol=1e-4, atol=1e-6)


def test_an_epoch_that_the_run_does_not_finish_has_an_entry_with_its_mean_so_far():
    plain, watched = nets.network(), nets.network()
    run = plain.fit(X, T, optimizer=gc.SGD(0.1), steps=5, batch_size=BATCH)
    called = []
    other = watched.fit(X, T, optimizer=gc.SGD(0.1), steps=5, batch_size=BATCH, callbacks=[called.append])
    assert run.history == other.history and len(run.history["loss"]) == run.epochs == other.epochs == 2
    assert len(called) == 1, "callbacks see whole epochs only"


def test_another_batch_size_begins_a_new_epoch_with_new_means():
    model = nets.network().initialize(SEED)
    model.fit(X, T, optimizer=gc.SGD(0.1), steps=2, batch_size=BATCH, seed=SEED)
    start = nets.flat(model)
    run = model.fit(X, T, optimizer=gc.SGD(0.1), epochs=1, batch_size=128)
    J, _ = nets.loss_and_gradient(start, X, T, np.ones(ROWS))
    assert run.history["loss"] == pytest.approx([J], rel=1e-10)


@pytest.mark.parametrize(
    ("options", "error", "text"),
    [
        ({"optimizer": "adm"}, gc.errors.UnknownNameError, "Unknown optimizer 'adm'. Did you mean 'adam'?"),
        ({"optimizer": 3}, gc.errors.TypeMismatchError,
         "An optimizer is a rule or a name, not int. Write gc.Adam(1e-3)."),
        ({"epochs": 2, "steps": 3}, gc.errors.DomainError,
         "fit: both epochs and steps are given\n  hint: give one of them"),
        ({"epochs": 0}, gc.errors.DomainError, "fit: epochs is 0\n  hint: give at least 1"),
        ({"steps": 2.5}, gc.errors.TypeMismatchError, "fit: steps is 2.5\n  hint: give a whole number"),
        ({"batch_size": 0}, gc.errors.DomainError, "fit: batch_size is 0\n  hint: give at least 1"),
        ({"batch_size": True}, gc.errors.TypeMismatchError, "fit: batch_size is True\n  hint: give a whole number"),
        ({"threads": 0}, gc.errors.DomainError, "fit: threads is 0\n  hint: give at least 1"),
        ({"tol": -1.0}, gc.errors.DomainError, "fit: tol is -1.0\n  hint: give a positive number, such as 1e-6"),
        ({"tol": "small"}, gc.errors.DomainError,
         "fit: tol is 'small'\n  hint: give a positive number, such as 1e-6"),
        ({"seed": -1}, gc.errors.DomainError, "fit: seed is -1\n  hint: give a whole number of at least 0"),
        ({"target": "gpu"}, gc.errors.DomainError,
         "fit: target is 'gpu'\n  hint: choose 'cpu', 'cuda' or 'auto'"),
        ({"record": "x"}, gc.errors.DomainError, "fit: record is 'x'\n  hint: choose 'epoch' or 'step'"),
        ({"dtype": "int8"}, gc.errors.TypeMismatchError,
         "fit: dtype is 'int8'\n  hint: choose \"float32\" or \"float64\"."),
        ({"callbacks": [3]}, gc.errors.DomainError,
         "callbacks: 3 is no callback\n"
         "  hint: pass gc.EarlyStopping(...), gc.Checkpoint(...) or a function of the run"),
        ({"callbacks": print}, gc.errors.TypeMismatchError,
         "fit: callbacks is <built-in function print>\n  hint: give a list, [callback]"),
        ({"validation": 1.5}, gc.errors.DomainError, "fit: validation=1.5 of 23 rows leaves 34 to validate on\n"
         "  hint: give a fraction between 0 and 1, or a tuple of arrays"),
        ({"validation": 1}, gc.errors.DomainError, "fit: validation=1 of 23 rows leaves 23 to validate on\n"
         "  hint: give a fraction between 0 and 1, or a tuple of arrays"),
        ({"optimizer": gc.SGD(np.array([0.1, 0.2]))}, gc.errors.TypeMismatchError,
         "eta of SGD is an array of 2 values; fit takes one\n"
         "  hint: give a number or a schedule, or train all of them: model.sweep"),
        ({"epoch": 3}, gc.errors.TypeMismatchError,
         "fit: there is no option 'epoch'\n  hint: here it is called 'epochs'."),
    ],
    ids=str,
)  # fmt: skip
def test_options_that_do_not_fit_are_refused_before_anything_is_compiled(options, error, text):
    model = nets.network()

    def refused():
        with pytest.raises(error) as caught:
            model.fit(X, T, **options)
        assert re.sub(r"\n  at .*", "", str(caught.value)) == text

    assert counted(refused) == {"compiled": 0, "loaded_from_cache": 0, "native_calls": 0}


def test_a_model_without_a_loss_cannot_be_fitted():
    model = gc.Model(output=gc.input("X", ("n", 3)) @ gc.param("W", (3, 1)))
    with pytest.raises(gc.errors.TypeMismatchError, match="model has no loss"):
        model.fit(X)
