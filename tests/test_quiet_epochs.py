"""Validation, early stopping and what else needs no Python at the ends of epochs: many epochs are one native call.

The loop of Python, which remains for callbacks of one's own, is the reference: both give the same bits.
"""

from __future__ import annotations

import csv
import gc as garbage
import json
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

import graphc as gc
from graphc.errors import DivergenceError
from graphc.facade import fitting, quiet
from graphc.native.loader import statistics
from graphc.run import epoch_ends
from graphc.run.history import Run
from tests import nets
from tests.test_callbacks import scalars

X, T = nets.data(101)
HELD_OUT = X[61:], T[61:]
OPTIONS = {"optimizer": gc.Adam(0.01), "batch_size": 8}
NAMES = ("loss", "mae", "val_loss", "val_mae")


@pytest.fixture(autouse=True)
def at_once(monkeypatch):
    """The program is taken for few epochs, too."""
    monkeypatch.setattr(quiet, "FEWEST", 1)
    monkeypatch.setattr(epoch_ends, "WORTH", 1)


def in_python(fit):
    """What ``fit`` gives when every epoch ends in Python."""
    before, quiet.FEWEST = quiet.FEWEST, 10**9
    try:
        return fit()
    finally:
        quiet.FEWEST = before


def calls_of(fit) -> tuple[Any, int]:
    """What ``fit`` gives, and how many native calls it took."""
    before = statistics["native_calls"]
    return fit(), statistics["native_calls"] - before


def state_of(model: gc.Model, run: Run, callbacks) -> dict[str, Any]:
    """Everything that a fit leaves, to the bit."""
    told = [{n: x.tobytes() if isinstance(x, np.ndarray) else x for n, x in c.state_dict().items()} for c in callbacks]
    names = "history steps epochs stopped best latest seed resumed threads".split()
    return {
        "parameters": model.params.flat.tobytes(),
        "rules": [(text, s.step, s.values.tobytes()) for text, s in model.state.rules.items()],
        "sampler": model.state.sampler.as_dict(),
        "totals": model.state.totals.values.tobytes(),
        "run": {name: getattr(run, name) for name in names},
        "order": [[*run.history], [*run.latest]],
        "hyper": dict(run.hyper),
        "callbacks": told,
    }


@st.composite
def fits(draw) -> dict[str, Any]:
    validated = draw(st.sampled_from([None, HELD_OUT, 0.25]))
    names = [None, *(NAMES if validated is not None else NAMES[:2])]
    watch = {
        "monitor": st.sampled_from(names),
        "mode": st.sampled_from(["min", "max"]),
        "min_delta": st.sampled_from([0.0, 1e-4, 0.01, -1e-3]),
    }
    stopping = st.fixed_dictionaries({**watch, "patience": st.integers(1, 12), "restore_best": st.booleans()})
    plateaus = st.fixed_dictionaries(
        {**watch, "patience": st.integers(1, 8), "cooldown": st.integers(0, 3), "min_lr": st.sampled_from([0.0, 1e-3])}
    )
    kinds = st.one_of(
        stopping.map(lambda o: (gc.EarlyStopping, o)),
        plateaus.map(lambda o: (gc.callbacks.ReduceLROnPlateau, o)),
        st.integers(1, 7).map(lambda n: (gc.Trajectory, {"every": n})),
    )
    length = draw(st.one_of(st.fixed_dictionaries({"epochs": st.integers(1, 40)}),
                            st.fixed_dictionaries({"steps": st.integers(1, 400)})))  # fmt: skip
    return {
        "fit": {
            **length,
            "validation": validated,
            "optimizer": gc.Adam(draw(st.sampled_from([0.01, 0.3, 1e-30]))),
            "record": draw(st.sampled_from(["epoch", "step"])),
            "tol": draw(st.sampled_from([None, 0.02, 0.3])),
            "shuffle": draw(st.booleans()),
            "batch_size": 8,
        },
        "callbacks": draw(st.lists(kinds, min_size=0 if validated is not None else 1, max_size=3)),
        "before": draw(st.integers(0, 20)),
    }


def fit_with(rate: float, *options: dict[str, Any]) -> dict[str, Any]:
    """A fit of 30 epochs with validation data that only early stopping watches."""
    return {
        "fit": {"epochs": 30, "validation": HELD_OUT, "optimizer": gc.Adam(rate), "shuffle": False, "batch_size": 8},
        "callbacks": [(gc.EarlyStopping, o) for o in options],
        "before": 0,
    }


@settings(max_examples=100)
@given(fits())
@example(fit_with(1e-30, {"patience": 8}))  # every epoch has the same loss
@example(fit_with(0.01, {"patience": 30, "min_delta": 1e-5}, {"patience": 30, "min_delta": 0.05, "monitor": "mae"}))
def test_epochs_in_one_call_give_what_epochs_one_by_one_give(wanted):
    """Mutation-checked: a ``<=`` for a better value, a wait that is not set to 0, a validation row too late, the copy
    of the best parameters left out, what cools counted one epoch longer: each is found, as are eleven more."""

    def fit():
        model = nets.network()
        if wanted["before"]:
            model.fit(X, T, steps=wanted["before"], **OPTIONS)
        callbacks = [kind(**options) for kind, options in wanted["callbacks"]]
        found = []
        for _ in range(2):  # the second goes on, in the middle of an epoch where the first ended there
            run = model.fit(X, T, callbacks=callbacks, **wanted["fit"])
            found.append(state_of(model, run, callbacks))
        return found

    assert fit() == in_python(fit)


def test_measures_made_of_means_have_the_values_that_each_epoch_alone_would_give():
    """Nothing is compiled. Mutation-checked: the means themselves in place of the measure."""
    x, t = gc.input("X", ("n", 3)), gc.input("T", ("n", 1))
    y = gc.sigmoid(x @ gc.param("W", (3, 1), gc.normal(1.0)))
    model = gc.Model(y, gc.losses.bce(y, t), {"hits": gc.metrics.accuracy(y, t), "f1": gc.metrics.f1(y, t)})._core
    names = ("loss", *model.metrics.summed)
    nothing: Any = None
    held_out = epoch_ends.Validation(nothing, [], X, names)
    ends = epoch_ends.EpochEnds(nothing, model.params.flat, 1, 1, names, held_out, [])
    ends.values, run = np.random.default_rng(1).uniform(0.1, 1.0, (7, len(names))), Run()
    fitting.begin_history(model, run, validated=True)
    columns = fitting.add_validation(model, run, ends)
    wanted = [model.metrics.report(dict(zip(names, row, strict=True))) for row in ends.values.tolist()]
    for name in ("loss", "hits", "f1"):
        values = [found[name] for found in wanted]
        assert run.history[f"val_{name}"] == columns[f"val_{name}"] == values
        assert run.latest[f"val_{name}"] == values[-1]
    about = quiet.QuietEpochs.__new__(quiet.QuietEpochs)
    about.model = model
    assert about._plain() == {"loss", "hits", "val_loss", "val_hits"}, "a measure made of means is watched in Python"


def test_many_epochs_are_few_calls_and_python_sees_those_that_it_must():
    stopping = gc.EarlyStopping(patience=10**6)
    fit = lambda *callbacks: nets.network().fit(
        X, T, epochs=2000, validation=HELD_OUT, callbacks=[stopping, *callbacks], **OPTIONS
    )
    _, one_by_one = in_python(lambda: calls_of(fit))
    run, few = calls_of(fit)
    assert one_by_one >= 4000 and few < 20 and run.epochs == 2000
    seen = []
    _, calls = calls_of(lambda: fit(lambda run: seen.append(run.epochs)))
    assert calls >= 4000 and seen == list(range(1, 2001)), "a function of one's own is called every epoch"
    kept = gc.Trajectory(every=100)
    run, calls = calls_of(lambda: fit(kept))
    assert len(run.trajectory.steps) == 21 and calls < 200
    _, calls = calls_of(lambda: fit(gc.callbacks.ReduceLROnPlateau(patience=1, min_delta=1e9, min_lr=0.01)))
    assert calls < 20, "a rate that is small enough is not made smaller"


LOGS = {
    "a schedule": (nets.MOMENTUM, lambda: [gc.EarlyStopping(patience=30)]),
    "a plateau": (gc.Adam(0.1), lambda: [gc.callbacks.ReduceLROnPlateau(patience=2), gc.EarlyStopping(patience=9)]),
}


@pytest.mark.parametrize("kind", LOGS)
def test_logs_take_note_of_epochs_in_one_call_as_of_those_one_by_one(kind, tmp_path):
    """Mutation-checked: a learning rate, steps or values of the last epoch of the call in all its lines."""
    rule, others = LOGS[kind]

    def fit(folder):
        table, lines = folder / "log.csv", folder / "log.jsonl"
        written = [gc.callbacks.CSVLogger(table), gc.callbacks.JSONLogger(lines), gc.callbacks.TensorBoard(folder)]
        options = {"optimizer": rule, "epochs": 40, "batch_size": 8, "validation": HELD_OUT}
        model = nets.network()
        run, calls = calls_of(lambda: model.fit(X, T, callbacks=[*others(), *written], **options))
        rows = [*csv.DictReader(table.read_text().splitlines()), *map(json.loads, lines.read_text().splitlines())]
        assert len(rows) == 2 * run.epochs and float(rows[0].pop("seconds")) <= float(rows[-1].pop("seconds"))
        entries = [{name: value for name, value in row.items() if name != "seconds"} for row in rows]
        return (state_of(model, run, []), entries, [scalars(folder / name) for name in ("train", "validation")]), calls

    few, calls = fit(tmp_path / "few")
    one_by_one, more = in_python(lambda: fit(tmp_path / "one_by_one"))
    assert few == one_by_one and calls < more / 2


def test_a_callback_of_ones_own_made_of_a_known_one_is_called_every_epoch():
    class Counting(gc.EarlyStopping):
        def epoch_end(self, run, model):
            counted.append(run.epochs)
            return super().epoch_end(run, model)

    class Elsewhere(gc.EarlyStopping):
        def watched(self, run):
            counted.append(run.epochs)
            return super().watched(run)

    for kind in (Counting, Elsewhere):
        counted: list[int] = []
        nets.network().fit(X, T, epochs=20, callbacks=[kind(patience=50)], **OPTIONS)
        assert counted == list(range(1, 21))


def test_a_step_that_is_not_finite_ends_epochs_in_one_call_as_it_ends_them_one_by_one():
    def fit():
        model, stopping = nets.network(), gc.EarlyStopping(patience=100)
        with pytest.raises(DivergenceError) as caught:
            model.fit(X[:23], T[:23], optimizer=gc.SGD(2.0), epochs=400, batch_size=8, validation=HELD_OUT,
                      callbacks=[stopping])  # fmt: skip
        run = model._core.last_run
        return str(caught.value).partition("\n  at ")[0], state_of(model, run, [stopping])

    told = fit()
    assert told == in_python(fit) and told[1]["run"]["epochs"] > 20


def test_epochs_in_one_call_leave_no_memory_behind():
    model = nets.network()
    fit = lambda: model.fit(X, T, epochs=40, validation=HELD_OUT, callbacks=[gc.EarlyStopping(patience=50)], **OPTIONS)
    counts = []
    for _ in range(4):
        fit()
        garbage.collect()
        counts.append(len(garbage.get_objects()))
    assert counts[-1] - counts[1] < 50


def test_ctrl_c_ends_epochs_in_one_call_with_whole_books():
    code = """
import json
import graphc as gc
from tests import nets
model = nets.network()
X, T = nets.data(101)
held_out = tuple(a[:40] for a in nets.data(140))
options = {"optimizer": gc.Adam(1e-6), "batch_size": 8, "validation": held_out}
model.fit(X, T, epochs=30, **options)
print("ready", flush=True)
try:
    model.fit(X, T, epochs=10**9, callbacks=[gc.EarlyStopping(patience=10**9)], **options)
except KeyboardInterrupt:
    run = model._core.last_run
    losses, held_out = run.history["loss"], run.history["val_loss"]
    steps = model.state.sampler.epoch * 13 + model.state.sampler.position // 8
    print(json.dumps([run.stopped, run.epochs, len(losses), len(held_out), run.steps, steps, run.best["epoch"]]))
"""
    (stopped, epochs, losses, held_out, steps, place, best), seconds = nets.interrupted(code)
    assert stopped == "interrupted" and seconds < 2
    assert losses == epochs and 0 <= losses - held_out <= 1 and epochs > 100
    assert steps == place - 30 * 13 and epochs == -(-steps // 13) and best <= held_out
