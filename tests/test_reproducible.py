"""Same seed, same bits: for a run in one go or in parts, with or without a callback, in any thread."""

from __future__ import annotations

import threading

import numpy as np
import pytest

import graphc as gc
from tests import nets

X, T = nets.data(101)
OPTIONS = {"optimizer": gc.Adam(0.01), "batch_size": 8}
EPOCHS, PER_EPOCH = 6, 13


def bits(model):
    """Everything a step changes, as bytes."""
    [rule] = model.state.rules.values()
    sampler = model.state.sampler
    return model.params.flat.tobytes() + rule.values.tobytes(), rule.step, sampler.epoch, sampler.position


@pytest.fixture(scope="module")
def trained():
    """Bits and losses after one uninterrupted run."""
    model = nets.network("float32")
    run = model.fit(X, T, epochs=EPOCHS, seed=3, record="step", **OPTIONS)
    assert run.steps == EPOCHS * PER_EPOCH
    return bits(model), run.history["loss"]


def in_one_go(model):
    return model.fit(X, T, epochs=EPOCHS, seed=3, record="step", **OPTIONS).history["loss"]


def in_two_halves(model):
    losses = model.fit(X, T, steps=29, seed=3, record="step", **OPTIONS).history["loss"]
    return losses + model.fit(X, T, steps=EPOCHS * PER_EPOCH - 29, record="step", **OPTIONS).history["loss"]


def step_by_step(model):
    losses = model.fit(X, T, steps=1, seed=3, record="step", **OPTIONS).history["loss"]
    for _ in range(EPOCHS * PER_EPOCH - 1):
        losses += model.fit(X, T, steps=1, record="step", **OPTIONS).history["loss"]
    return losses


def with_a_callback(model):
    seen = []
    run = model.fit(X, T, epochs=EPOCHS, seed=3, record="step", callbacks=[seen.append], **OPTIONS)
    assert len(seen) == EPOCHS
    return run.history["loss"]


def with_validation_data(model):
    return model.fit(X, T, epochs=EPOCHS, seed=3, record="step", validation=(X, T), **OPTIONS).history["loss"]


def with_progress(model):
    return model.fit(X, T, epochs=EPOCHS, seed=3, record="step", progress=True, **OPTIONS).history["loss"]


def with_two_threads(model):
    run = model.fit(X, T, epochs=EPOCHS, seed=3, record="step", threads=2, **OPTIONS)
    assert run.threads == 2
    return run.history["loss"]


def from_data_that_lie_differently(model):
    lists, fortran = X.astype("float32").tolist(), np.asfortranarray(T)
    return model.fit({"T": fortran, "X": lists}, epochs=EPOCHS, seed=3, record="step", **OPTIONS).history["loss"]


def in_another_thread(model):
    losses = []
    thread = threading.Thread(target=lambda: losses.extend(in_one_go(model)))
    thread.start()
    thread.join()
    return losses


def after_a_run_with_another_seed(model):
    model.fit(X, T, epochs=2, seed=11, **OPTIONS)
    return in_one_go(model.initialize(3))


@pytest.mark.parametrize(
    "way",
    [
        in_one_go,
        in_two_halves,
        step_by_step,
        with_a_callback,
        with_validation_data,
        with_progress,
        with_two_threads,
        from_data_that_lie_differently,
        in_another_thread,
        after_a_run_with_another_seed,
    ],
    ids=lambda f: f.__name__.replace("_", " "),
)
def test_every_way_through_the_same_steps_gives_the_same_bits(way, trained):
    model = nets.network("float32")
    losses = way(model)
    assert (bits(model), losses) == trained


def test_another_seed_gives_other_bits(trained):
    model = nets.network("float32")
    model.fit(X, T, epochs=EPOCHS, seed=4, **OPTIONS)
    assert bits(model)[0] != trained[0][0]


def test_the_seed_of_the_order_alone_changes_the_bits_too(trained):
    model = nets.network("float32").initialize(3)
    losses = model.fit(X, T, epochs=EPOCHS, seed=4, record="step", **OPTIONS).history["loss"]
    assert losses[0] != trained[1][0] and bits(model)[0] != trained[0][0]


def test_the_first_fit_without_a_seed_means_seed_0():
    first, second = nets.network("float32"), nets.network("float32")
    first.fit(X, T, epochs=1, **OPTIONS)
    second.fit(X, T, epochs=1, seed=0, **OPTIONS)
    assert bits(first) == bits(second)


def test_a_later_seed_restarts_the_order_only():
    model = nets.network("float32")
    model.fit(X, T, steps=20, seed=3, **OPTIONS)
    [rule], kept = model.state.rules.values(), model.params.flat.copy()
    assert rule.step == 20
    model.fit(X, T, steps=1, seed=5, **OPTIONS)
    assert rule.step == 21 and (model.state.sampler.seed, model.state.sampler.epoch) == (5, 0)
    assert np.abs(model.params.flat - kept).max() < 0.02, "parameters go on from where they were"


def test_changing_the_optimizer_starts_its_state_at_0_and_leaves_the_other_alone():
    model = nets.network("float32")
    model.fit(X, T, steps=5, **OPTIONS)
    model.fit(X, T, steps=4, optimizer=gc.SGD(0.01), batch_size=8)
    model.fit(X, T, steps=3, **OPTIONS)
    assert [state.step for state in model.state.rules.values()] == [4, 8]  # the last is that of the last fit


def test_initialisers_depend_on_seed_and_name_alone():
    both = gc.Model(loss=gc.sum(gc.param("a", (3,), gc.normal(1.0)) * gc.param("b", (3,), gc.normal(1.0))))
    alone = gc.Model(loss=gc.sum(gc.param("b", (3,), gc.normal(1.0))))
    np.testing.assert_array_equal(both.initialize(7).params["b"], alone.initialize(7).params["b"])
    assert not np.array_equal(both.params["a"], both.params["b"])
