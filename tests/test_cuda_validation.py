"""Validation within a run on a GPU stays there: only sums come back, parameters only to callbacks that read them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

import graphc as gc
from graphc.cuda import selection, training
from graphc.cuda.arrays import DeviceArray
from graphc.lower.tiers import Tier
from graphc.run.history import Run
from tests import nets
from tests.test_cuda_staying import BOOKS, Counting

X, T = nets.data(23)
HELD = nets.data(260)
OPTIONS = {"batch_size": 8, "target": "cuda", "verify": False}


class Captures(Counting):
    """Counts recordings."""

    captures = 0

    def capture(self) -> Any:
        self.captures += 1
        return super().capture()


def outputs(model: gc.Model, x: np.ndarray) -> np.ndarray:
    p = {name: np.asarray(value) for name, value in model.params.items()}
    return np.tanh(x @ p["W0"] + p["B0"]) @ p["W1"] + p["B1"]


@pytest.mark.parametrize("tier", ["A", "C"])
def test_an_epoch_of_a_validated_run_passes_a_few_numbers(tier: Tier, monkeypatch: pytest.MonkeyPatch):
    """The best parameters too are kept there, and come down when they are read; they are those of the best epoch."""
    monkeypatch.setattr(training, "SECONDS", 1e9)
    with selection.use(machine := Captures(tier), tier):
        model, passed, captures = nets.network(), [], []

        def note(run: Run) -> None:
            passed.append(machine.passed())
            captures.append(machine.captures)

        early = gc.EarlyStopping(patience=3)
        options = {"optimizer": gc.SGD(1.0), "seed": 5} | OPTIONS
        run = model.fit(X, T, epochs=40, validation=HELD, callbacks=[note, early], **options)
        assert run.stopped == "early stopping" and run.best["epoch"] == run.epochs - 3 > 2
        assert all(down <= 2 * BOOKS and up <= 4 * BOOKS for down, up in passed[1:])
        assert captures[1] == captures[-1]  # the same recordings every epoch
        machine.passed()
        size = model.params.held.size * 8
        model.params["W0"]
        assert machine.passed() == (size, 0)
        shorter = nets.network()
        shorter.fit(X, T, epochs=run.best["epoch"], **options)
        assert shorter.params.flat.tobytes() == model.params.flat.tobytes()
    error = outputs(model, HELD[0]) - HELD[1]
    assert run.best["val_loss"] == pytest.approx(np.mean(error**2), rel=1e-12)
    assert min(run.history["val_mae"]) == pytest.approx(np.mean(np.abs(error)), rel=0.1)


def test_rows_that_weigh_and_metrics_of_all_rows_are_numpy_s_and_scikit_learn_s():
    weights = np.linspace(0.1, 2.0, len(HELD[0]))
    x, labels = gc.input("X", ("n", 3)), gc.input("T", ("n",), dtype="int64")
    logit = x @ gc.param("W", (3,), gc.normal(0.5))
    loss = gc.mean(gc.softplus(logit) - labels * logit)
    model = gc.Model(gc.sigmoid(logit), loss, {"auc": gc.metrics.auc(logit, labels)}, dtype="float64")
    truth, told, seen = (HELD[1][:, 0] > 0).astype(np.int64), [], []

    def look(run: Run) -> None:
        z = HELD[0] @ np.asarray(model.params["W"])
        seen.append((machine.captures, machine.passed()[1]))
        told.append((np.average(np.logaddexp(0, z) - truth * z, weights=weights), roc_auc_score(truth, z)))

    with selection.use(machine := Captures("C"), "C"):
        options = {"validation": (HELD[0], truth, weights), "callbacks": [look]} | OPTIONS
        run = model.fit(X, (T[:, 0] > 0).astype(np.int64), seed=5, epochs=3, **options)
        held = machine.array(HELD[0].size, np.float64)
        machine.upload(held, HELD[0])
        for x in (HELD[0], held.reshape(*HELD[0].shape)):
            found = model.evaluate(x, truth, sample_weight=weights, target="cuda")
            assert [found["loss"], found["auc"]] == pytest.approx(told[-1], rel=1e-12)
    np.testing.assert_allclose(run.history["val_loss"], [loss for loss, _ in told], rtol=1e-12)
    np.testing.assert_allclose(run.history["val_auc"], [area for _, area in told], rtol=1e-12)
    assert seen[1][0] == seen[2][0] and seen[2][1] <= 4 * BOOKS  # data and weights lie there, outputs have their place


def test_validation_data_that_do_not_fit_beside_the_others_are_evaluated_on_the_cpu():
    machine = Captures("A")
    with selection.use(machine, "A"):
        machine.memory = 8 * (1 + X.size + T.size) * 2
        small, none = fit_validated(machine)
        machine.memory = 1 << 36
        large, some = fit_validated(machine)
    np.testing.assert_allclose(small, large, rtol=1e-12)
    assert none == 0 < some


@pytest.mark.parametrize("room", [1 << 36, 8 * (1 + X.size + T.size) * 2])
def test_validation_data_may_lie_on_the_machine_and_a_fraction_be_of_data_there(room: int):
    machine = Captures("A")
    with selection.use(machine, "A"):
        there = [on(machine, x) for x in (X, T, *HELD)]
        for data, validation, same in (
            ((X, T), tuple(there[2:]), HELD), (there[:2], (there[2], HELD[1]), HELD), (there[:2], 0.3, 0.3),
        ):  # fmt: skip
            machine.memory = 1 << 36
            wanted = nets.network().fit(X, T, seed=5, epochs=1, validation=same, **OPTIONS).history
            machine.memory = room
            found = nets.network().fit(*data, seed=5, epochs=1, validation=validation, **OPTIONS).history
            np.testing.assert_allclose(found["val_loss"], wanted["val_loss"], rtol=1e-12)
            assert found["loss"] == wanted["loss"]


def on(machine: Captures, values: np.ndarray) -> DeviceArray:
    array = machine.array(values.size, values.dtype)
    machine.upload(array, values)
    return array.reshape(*values.shape)


def fit_validated(machine: Captures) -> tuple[list[float], int]:
    machine.captures = 0
    run = nets.network().fit(X, T, seed=5, epochs=2, validation=HELD, **OPTIONS)
    return run.history["val_loss"], machine.captures
