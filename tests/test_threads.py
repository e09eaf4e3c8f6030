"""Several threads: the same bits as one, whatever the network; errors and stops reach everybody."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

import graphc as gc
from graphc.lower.phases import is_row_local
from graphc.run.thread_team import TeamTuner

ROWS, BATCH = 70, 32  # the last batch has 6 rows: more threads than some of them can share evenly
RNG = np.random.default_rng(5)
X = RNG.normal(size=(ROWS, 20)).astype("float32")
LABELS = RNG.integers(0, 7, ROWS)


def deep_classifier() -> gc.Model:
    """Row-wise layers, softmax, a metric, weight decay in the loss: every kind of share and phase."""
    x, t = gc.input("X", ("n", 20)), gc.input("T", ("n",), dtype="int64")
    W0, b0 = gc.param("W0", (20, 64), gc.he()), gc.param("b0", (64,), 0.1)
    W1, b1 = gc.param("W1", (64, 48), gc.he()), gc.param("b1", (48,), 0.0)
    W2 = gc.param("W2", (48, 7), gc.glorot())
    h = gc.tanh(gc.relu(x @ W0 + b0) @ W1 + b1)
    z = h @ W2
    loss = gc.losses.cross_entropy(z, t) + 0.01 * gc.sum(W1**2)
    return gc.Model(output=z, loss=loss, metrics={"accuracy": gc.metrics.accuracy(z, t)})


def normalised_over_the_batch() -> gc.Model:
    """Means and variances over the batch: rows depend on one another, so phases alternate."""
    x, t = gc.input("X", ("n", 20)), gc.input("T", ("n",), dtype="int64")
    W = gc.param("W", (20, 33), gc.he())
    V = gc.param("V", (33, 7), gc.glorot())
    z = x @ W
    centred = z - gc.mean(z, axis=0)
    h = centred / gc.sqrt(gc.mean(centred**2, axis=0) + 0.1)
    return gc.Model(loss=gc.losses.cross_entropy(gc.silu(h) @ V, t))


@pytest.mark.parametrize("declare", [deep_classifier, normalised_over_the_batch])
def test_any_number_of_threads_gives_the_same_bits(declare):
    """Mutation-checked: results computed in place over what another thread still reads change bits here."""
    found = []
    for threads in (1, 2, 3, 5):
        model = declare()
        run = model.fit(X, LABELS, optimizer=gc.Adam(0.01), epochs=4, batch_size=BATCH, seed=1, threads=threads)
        assert run.threads == threads
        found.append((model.params.flat.tobytes(), run.history["loss"]))
    assert all(f == found[0] for f in found)


def one_step_by_hand(x: np.ndarray, t: np.ndarray, start: list[np.ndarray], rate: float) -> tuple[list, float]:
    """Parameters after a step of gradient descent on mean((tanh(x W + b) V - t)^2), and the loss before it."""
    W, b, V = start
    h = np.tanh(x @ W + b)
    error = h @ V - t
    delta = 2 * error / error.size
    inner = delta @ V.T * (1 - h**2)
    gradients = [x.T @ inner, inner.sum(0), h.T @ delta]
    return [p - rate * g for p, g in zip(start, gradients)], float(np.mean(error**2))


@pytest.mark.parametrize("sizes", [(37, 90, 23), (60, 19, 101)])
def test_a_step_on_a_large_batch_of_ragged_widths_is_that_of_numpy_for_any_number_of_threads(sizes):
    """Blocks of rows, packed gradients divided by rows or by columns, a loss that all threads share.

    Mutation-checked: blocks of 47 rows every 48, columns that begin at another thread's part."""
    rows, rng = 1301, np.random.default_rng(8)
    x, t = rng.normal(size=(rows, sizes[0])), rng.normal(size=(rows, sizes[2]))
    start = [rng.normal(size=s) / 5 for s in ((sizes[0], sizes[1]), (sizes[1],), (sizes[1], sizes[2]))]
    expected, loss = one_step_by_hand(x, t, start, 0.5)
    found = []
    for threads in (1, 2, 3):
        X, T = gc.input("X", ("n", sizes[0])), gc.input("T", ("n", sizes[2]))
        W, b, V = (gc.param(name, value.shape, value) for name, value in zip("WbV", start))
        model = gc.Model(loss=gc.mean((gc.tanh(X @ W + b) @ V - T) ** 2), dtype="float64")
        run = model.fit(x, t, optimizer=gc.SGD(0.5), steps=1, batch_size=rows, threads=threads)
        np.testing.assert_allclose(run.history["loss"], loss, rtol=1e-12)
        for name, value in zip("WbV", expected):
            np.testing.assert_allclose(model.params[name], value, rtol=1e-12, atol=1e-13)
        found.append(model.params.flat.tobytes())
    assert found[0] == found[1] == found[2]


def test_a_step_that_is_not_finite_stops_all_threads_with_good_parameters():
    model = deep_classifier()
    with pytest.raises(gc.errors.DivergenceError):
        model.fit(X, LABELS, optimizer=gc.Adam(1e30), epochs=4, batch_size=BATCH, seed=1, threads=3)
    assert np.isfinite(model.params.flat).all()


def test_convergence_ends_all_threads():
    found = []
    for threads in (1, 2):
        model = deep_classifier()
        options = {"optimizer": gc.Adam(0.01), "epochs": 400, "batch_size": BATCH, "seed": 1}
        run = model.fit(X, LABELS, tol=0.05, threads=threads, **options)
        assert run.stopped == "converged" and run.threads == threads and 1 < run.epochs < 400
        found.append((model.params.flat.tobytes(), run.epochs))
    assert found[0] == found[1]


def test_rows_that_depend_on_one_another_are_not_shared_by_rows():
    z = gc.input("X", ("n", 3)) @ gc.param("W", (3, 4), 0.0)
    assert is_row_local(gc.tanh(z).equation, "n")
    assert not is_row_local(gc.mean(z, axis=0).equation, "n")
    assert not is_row_local((z.T @ z).equation, "n")


def tried(begin: float, step: float, monkeypatch: pytest.MonkeyPatch) -> TeamTuner:
    """A tuner after its trials: one thread needs 0.1 ms a step, four need ``begin`` and then ``step``."""
    monkeypatch.setattr("graphc.run.thread_team.cores", lambda: 4)
    tuner, calls = TeamTuner(), []
    for _ in range(4):
        team, steps = tuner.next(10_000, 1e-4, None)
        calls.append((team, steps))
        tuner.learn(team, steps, steps * 1e-4 if team == 1 else begin + steps * step)
    assert calls == [(1, 100), (4, 100), (1, 300), (4, 300)]  # ten milliseconds, then thirty
    return tuner


def test_threads_are_chosen_by_trials_of_one_and_all_cores(monkeypatch):
    assert tried(0.0, 0.5e-4, monkeypatch).next(2_000, 1e-4, None) == (4, 2_000)
    assert tried(0.0, 0.95e-4, monkeypatch).next(2_000, 1e-4, None) == (1, 2_000)
    assert TeamTuner().next(10_000, 1e-6, None) == (1, 10_000)  # steps too short to divide
    assert TeamTuner().next(10_000, 1e-6, 3) == (3, 10_000)  # as asked for
    assert TeamTuner().next(10, 1e-3, None) == (1, 10)
    assert TeamTuner().next(10, 0.1, None) == (4, 1)  # one thread would lose more than a trial tells


def test_threads_that_take_long_to_begin_are_worth_it_for_long_calls_alone(monkeypatch):
    """Mutation-checked: with all time counted as that of the steps, four threads look no faster than one."""
    tuner = tried(7e-3, 0.6e-4, monkeypatch)
    assert tuner.next(2_000, 1e-4, None) == (4, 2_000)
    assert tuner.next(150, 1e-4, None) == (1, 150)


def seconds_of(
    steps: int, steps_a_call: int, call: Callable[[float, int, int], float], step: float = 1e-4
) -> tuple[float, float]:
    """Seconds that ``steps`` steps take in calls of so many, and what of it passed while one thread was at work.

    ``call(now, team, steps)`` says how long a native call takes that begins at ``now``; ``step`` is what one thread is
    expected to need.
    """
    tuner, now, alone = TeamTuner(), 0.0, 0.0
    for _ in range(steps // steps_a_call):
        left = steps_a_call
        while left:
            team, part = tuner.next(left, step, None)
            took = call(now, team, part)
            tuner.learn(team, part, took)
            now, alone, left = now + took, alone + took * (team == 1), left - part
    return now, alone


@pytest.mark.parametrize("steps_a_call", [250, 100_000])
@pytest.mark.parametrize("begin", [0.0, 2e-3])
def test_trials_that_a_busy_machine_disturbed_are_put_right(monkeypatch, steps_a_call, begin):
    """Another process has the other cores for 0.3 s. Mutation-checked: with calls of 25 ms, and the choice renewed only
    in long ones, one thread did everything."""
    monkeypatch.setattr("graphc.run.thread_team.cores", lambda: 4)

    def call(now: float, team: int, steps: int) -> float:
        return steps * 1e-4 if team == 1 else begin + steps * (3e-4 if now < 0.3 else 0.5e-4)

    _, alone = seconds_of(100_000, steps_a_call, call)
    assert alone < 0.9


@pytest.mark.parametrize("steps_a_call", [250, 100_000])
@pytest.mark.parametrize("share, seed", [(0.5, 1), (0.7, 2), (1.5, 3), (3.0, 4)])
def test_a_machine_that_is_now_and_then_busy_costs_little_choice(monkeypatch, steps_a_call, share, seed):
    """Every fifth tenth of a second all calls take two to three times as long."""
    monkeypatch.setattr("graphc.run.thread_team.cores", lambda: 4)
    pace = np.where(np.random.default_rng(seed).random(10_000) < 0.2, 0.4, 1.0)
    passed = np.concatenate([[0], np.cumsum(pace * 0.1)])  # seconds of an idle machine's work at every tenth
    tenths = np.arange(len(passed)) * 0.1

    def call(now: float, team: int, steps: int) -> float:
        work = 1e-3 + steps * share * 1e-4 if team == 4 else steps * 1e-4
        return float(np.interp(np.interp(now, tenths, passed) + work, passed, tenths)) - now

    def best(now: float, team: int, steps: int) -> float:
        return call(now, 4 if share < 1 else 1, steps)

    assert seconds_of(200_000, steps_a_call, call)[0] < 1.08 * seconds_of(200_000, steps_a_call, best)[0]


def test_steps_longer_than_a_trial_are_seldom_tried_with_the_slower_choice(monkeypatch):
    """Mutation-checked: every two seconds, a step of 0.24 s where one takes 0.12 loses 6 %."""
    monkeypatch.setattr("graphc.run.thread_team.cores", lambda: 2)
    call = lambda now, team, steps: steps * (0.24 if team == 1 else 0.12)
    total, alone = seconds_of(1_000, 4, call, 0.24)
    assert total < 1_000 * 0.12 * 1.03 and alone > 1


def test_the_choice_follows_a_machine_that_changes(monkeypatch):
    """The other cores are gone from second 5 to second 10."""
    monkeypatch.setattr("graphc.run.thread_team.cores", lambda: 4)

    def call(now: float, team: int, steps: int) -> float:
        return steps * (1e-4 if team == 1 else 4e-4 if 5 <= now < 10 else 0.5e-4)

    total, alone = seconds_of(250_000, 250, call)
    assert 4 < alone < 7 and total < 16.5
