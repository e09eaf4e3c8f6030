"""Sweeps that are validated, stop early or read sparse rows: what each copy does is what its fit alone does."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import pytest
from scipy.sparse import csr_array

import graphc as gc
from graphc.errors import DivergenceError, DomainError, UnknownNameError
from tests import nets
from tests.covering.plain import Plain

X, T = nets.data(101)
V = nets.data(40)
RATES = gc.SGD(np.geomspace(1e-2, 100, 5))
WEIGHTS = np.linspace(0, 2, 101)
BATCHES = {"batch_size": 8, "threads": 2}
make = partial(nets.network, "float32")
stop = partial(gc.EarlyStopping, patience=2)
WEIGHED = {"optimizer": gc.Adam(gc.schedules.cosine(0.05, 40), b1=np.array([0.5, 0.9]), clip_norm=0.5),
           "sample_weight": WEIGHTS}  # fmt: skip  # a program of test_sweep.py, as are the others

CASES: dict[str, dict[str, Any]] = {
    "rows that are given": {"validation": V, "epochs": 6},
    "a fraction, which every seed chooses": {"validation": 0.2, "epochs": 6},
    "the best parameters of a validation loss": {"validation": V, "epochs": 40, "callbacks": [stop()]},
    "a metric, losses of all steps": {
        "validation": 0.2, "epochs": 30, "callbacks": [stop("val_mae")], "record": "step"},
    "weights in training, a schedule": {"validation": V, "epochs": 4, **WEIGHED},
    "a metric of training": {"epochs": 60, "callbacks": [stop("mae", min_delta=0.01)]},
    "an end within an epoch, no parameters put back": {
        "validation": V, "steps": 75, "callbacks": [stop(restore_best=False)]},
    "a tolerance, an end within an epoch": {"epochs": None, "steps": 45, "tol": 1e-3, "validation": V},
    "a tolerance": {
        "validation": V, "epochs": 200, "batch_size": None, "shuffle": False, "tol": 0.1,
        "optimizer": gc.Momentum([0.05, 0.3], mu=[0.0, 0.9])},
}  # fmt: skip


def assert_same_as_alone(sweep: Any, *data: Any, **options: Any) -> None:
    for i in range(len(sweep)):
        model = make().initialize(sweep.seeds[i])
        try:
            model.fit(*data, optimizer=sweep.rules[i], seed=sweep.seeds[i], **options)
        except DivergenceError:
            assert sweep.stopped[i] == "diverged"
        mine, told, run = sweep.model(i), sweep.run(i), model.last_run
        [ours], [theirs] = mine.state.rules.values(), model.state.rules.values()
        assert mine.params.flat.tobytes() == model.params.flat.tobytes()
        assert (ours.values.tobytes(), ours.step) == (theirs.values.tobytes(), theirs.step)
        assert mine.state.totals.values.tobytes() == model.state.totals.values.tobytes()
        assert mine.state.sampler == model.state.sampler and told.history == run.history
        assert (told.steps, told.epochs, told.stopped) == (run.steps, run.epochs, run.stopped)
        assert (told.best, told.latest, told.record) == (run.best, run.latest, run.record)


@pytest.mark.parametrize("case", CASES)
def test_copies_are_validated_and_stop_as_fits_alone(case: str):
    """Mutation-checked: losses of a call at the place of the first step, copies that go on, callbacks that they share,
    best parameters that are not put back."""
    options = BATCHES | CASES[case]
    rates = options.pop("optimizer", RATES)
    sweep = make().sweep(X, T, optimizer=rates, seeds=[3, 4], **options)
    assert_same_as_alone(sweep, X, T, **options)
    assert rates is not RATES or {*sweep.stopped} >= {"diverged"} and len({*sweep.stopped}) > 1
    assert case != "a tolerance" or "converged" in sweep.stopped


@pytest.mark.parametrize("block", [1, 4000], ids=["a batch", "several batches"])
@pytest.mark.parametrize("given", [WEIGHED, {"validation": 0.2}], ids=["weighed", "validated"])
def test_sparse_rows_are_made_dense_in_blocks_with_the_same_bits(block: int, given: dict[str, Any], monkeypatch):
    """Mutation-checked: blocks that are shuffled again, the block of another seed, rows of the epoch before."""
    monkeypatch.setattr("graphc.run.sources.BLOCK", block)
    rows = X * (np.abs(X) > 0.5)
    options = BATCHES | {"steps": 45, **given}
    rates = options.pop("optimizer", gc.SGD([0.05, 100]))
    sparse = make().sweep(csr_array(rows), T, optimizer=rates, seeds=[3, 4], **options)
    assert_same_as_alone(sparse, csr_array(rows), T, **options)
    dense = make().sweep(rows, T, optimizer=rates, seeds=[3, 4], **options)
    assert [*sparse.history] == [*dense.history] and sparse.initial.tolist() == dense.initial.tolist()
    for name in dense.history:
        np.testing.assert_array_equal(sparse.history[name], dense.history[name])
    assert "X: csr_array of float64, made dense in blocks of rows" in sparse.notes
    assert sparse.evaluate(csr_array(rows), T)["loss"].tolist() == dense.evaluate(rows, T)["loss"].tolist()


def test_the_best_copy_is_the_one_that_validation_prefers():
    """A rate that is better in training and worse on rows of another law."""
    away = V[0], 3 + 0 * V[1]
    options = BATCHES | {"optimizer": gc.SGD([1e-4, 0.3]), "epochs": 20}
    plain, judged = make().sweep(X, T, **options), make().sweep(X, T, validation=away, **options)
    assert (plain.best_index, judged.best_index) == (1, int(np.argmin(judged.history["val_loss"][:, -1])))
    found = judged.evaluate(*away)["loss"]
    np.testing.assert_allclose([row["val_loss"] for row in judged.table], found, rtol=1e-6)
    assert judged.best_index == found.argmin()
    eta = judged.table[judged.best_index]["eta"]
    assert str(judged).splitlines()[-1].startswith(f"best: eta = {eta:.4g}, seed 0, val_loss ")
    largest = make().sweep(X, T, validation=away, callbacks=[stop("val_mae", mode="max")], **options)
    assert largest.best_index == largest.scores.argmax()
    assert largest.scores.tolist() == [run.best["val_mae"] for run in largest.runs]
    short = make().sweep(X, T, validation=away, optimizer=gc.SGD([1e-4, 0.3]), steps=3, **BATCHES)
    assert np.isnan(short.history["val_loss"]).all() and short.best_index == short.losses.argmin()


def test_swept_inputs_are_left_out_of_validation_or_given(python: Plain):
    """Mutation-checked: with the value of the first copy for all."""
    A, B, lam = gc.input("A", ("n", 3)), gc.input("B", ("n", 2)), gc.input("lam", ())
    W = gc.param("W", (3, 2), gc.normal(1.0))
    made = lambda: gc.Model(A @ W, gc.mean((A @ W - B) ** 2) + lam * gc.sum(W**2), dtype="float64")
    (a, b), (v, w), weights = (X[:9], T[:9]), (V[0][:5], V[1][:5]), np.arange(1.0, 6.0)
    options = {"optimizer": gc.SGD(0.1), "epochs": 3, "batch_size": 4}
    sweep = partial(made().sweep, {"A": a, "B": b, "lam": [0.0, 0.5]}, **options)
    given = [(v, w), (v, w, weights), {"A": v, "B": w}, {"A": v, "B": w, "lam": 0.25}, 0.3]
    alone = [(v, w, None), (v, w, None, weights), (v, w, None), (v, w, 0.25), 0.3]
    for validation, whole in zip(given, alone, strict=True):
        found = sweep(validation=validation)
        for i, factor in enumerate((0.0, 0.5)):
            rows = whole if whole == 0.3 else tuple(factor if part is None else part for part in whole)
            run = made().initialize(0).fit(a, b, factor, validation=rows, seed=0, **options)
            assert found.history["val_loss"][i].tolist() == run.history["val_loss"]


def test_metrics_of_all_rows_are_computed_copy_by_copy(python: Plain):
    A, B, W = gc.input("A", ("n", 3)), gc.input("B", ("n",), dtype="int64"), gc.param("W", (3,), gc.normal(1.0))
    p = gc.sigmoid(A @ W)
    made = lambda: gc.Model(p, gc.losses.bce(p, B), [gc.metrics.auc(p, B)], dtype="float64")
    b, options = (T[:12, 0] > 0).astype(int), {"epochs": 3, "batch_size": 4, "validation": 0.4}
    sweep = made().sweep(X[:12], b, optimizer=gc.SGD([0.1, 1.0]), **options)
    for i, eta in enumerate((0.1, 1.0)):
        run = made().initialize(0).fit(X[:12], b, optimizer=gc.SGD(eta), seed=0, **options)
        assert sweep.run(i).history == run.history and "val_auc" in run.history


CHILD = """
import json
import numpy as np
import graphc as gc
from tests import nets
data, held_out = nets.data(101), nets.data(40)
model = nets.network("float32")
options = {"optimizer": gc.SGD([0.01, 1e9, 0.02]), "batch_size": 8, "validation": held_out, "threads": 2}
model.sweep(*data, steps=1, **options)
print("ready", flush=True)
try:
    model.sweep(*data, epochs=10**6, **options)
except KeyboardInterrupt:
    s = model.last_sweep
    parameters = [s.model(i).params.flat.tobytes().hex() for i in range(3)]
    told = [len(run.history["val_loss"]) for run in s.runs]
    print(json.dumps([s.steps.tolist(), s.stopped, told, parameters]), flush=True)
"""


def test_ctrl_c_stops_all_copies_between_two_epochs():
    """Mutation-checked: without the look after every call it goes on."""
    (steps, stopped, told, parameters), waited = nets.interrupted(CHILD)
    assert waited < 2 and stopped == ["interrupted", "diverged", "interrupted"]
    assert steps[0] == steps[2] > 130 and steps[0] % 13 == 0 and steps[0] // 13 - told[0] in (0, 1)
    for i, eta in ((0, 0.01), (2, 0.02)):
        model = make().initialize(0)
        model.fit(X, T, optimizer=gc.SGD(eta), steps=steps[i], batch_size=8, seed=0)
        assert model.params.flat.tobytes().hex() == parameters[i]


def test_what_the_copies_cannot_do_is_said():
    calls: list[tuple[dict[str, Any], type[Exception], str]] = [
        ({"callbacks": [gc.callbacks.ReduceLROnPlateau()]}, DomainError,
         "sweep: callbacks may be gc.EarlyStopping, not ReduceLROnPlateau\n"
         "  hint: call fit in a loop for other callbacks"),
        ({"callbacks": [print]}, DomainError,
         "sweep: callbacks may be gc.EarlyStopping, not a function\n  hint: call fit in a loop for other callbacks"),
        ({"validation": V, "target": "cuda"}, DomainError,
         "sweep: validation is for target='cpu'\n  hint: leave out target, or call fit in a loop"),
        ({"callbacks": [stop()], "target": "cuda"}, DomainError,
         "sweep: early stopping is for target='cpu'\n  hint: leave out target, or call fit in a loop"),
        ({"callbacks": [stop("val_los")], "validation": V}, UnknownNameError,
         "EarlyStopping: no 'val_los' is recorded\n  hint: did you mean 'val_loss'?"),
    ]  # fmt: skip
    for options, error, text in calls:
        with pytest.raises(error) as caught:
            make().sweep(X, T, optimizer=RATES, batch_size=8, **options)
        assert nets.text_of(caught) == text
    sweep = make().sweep(X, T, optimizer=gc.SGD(0.1), batch_size=8, validation=V, target="auto")
    assert "target='auto' took the CPU: there is validation or early stopping" in sweep.notes
