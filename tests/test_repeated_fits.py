"""A fit that repeats the one before, with arrays that look the same, takes a short way to the same bits.

Mutation-checked: without the comparison of options or looks, without the look at values or schedules, with notes that
runs share or arrays that are kept, a test here fails.
"""

from __future__ import annotations

import weakref

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import graphc as gc
from graphc.errors import DataError, DivergenceError, DomainError
from graphc.facade import repeating
from graphc.run.history import Run
from tests import nets

X, T = nets.data(23)
ADAM = gc.Adam(0.01)


def slowly(fit):
    """What ``fit`` gives when every fit finds out everything itself."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(repeating, "_may_be_repeated", lambda *_: False)
        return fit()


def state_of(model: gc.Model) -> tuple:
    rules = [(text, s.step, s.values.tobytes()) for text, s in model.state.rules.items()]
    totals = model.state.totals.values.tobytes()
    return model.params.flat.tobytes(), rules, model.state.sampler.as_dict(), totals


def told_of(run: Run) -> dict:
    """What a run says of itself, but for its threads, which the clock decides on a busy machine."""
    names = "history steps stopped notes seed epochs latest record target choice best resumed".split()
    return {name: getattr(run, name) for name in names} | {"hyper": dict(run.hyper)}


@pytest.fixture
def taken(monkeypatch) -> list:
    """An entry for every fit that takes the short way."""
    found: list = []
    call = repeating.Again.__call__
    monkeypatch.setattr(repeating.Again, "__call__", lambda again, *args: found.append(1) or call(again, *args))
    return found


OTHER = [
    {},
    {},
    {},
    {"rows": 17},
    {"optimizer": gc.SGD(0.1)},
    {"steps": 5},
    {"seed": 3},
    {"threads": 1},
    {"record": "step"},
    {"shuffle": False},
    {"tol": 0.5, "steps": None},
    {"float": "float32"},
    {"initialize": 4},
    {"set": True},
]


@settings(max_examples=30)
@given(st.lists(st.sampled_from(OTHER), min_size=2, max_size=12))
def test_fits_one_after_the_other_give_what_each_gives_alone(changes):
    def fits():
        model, found = nets.network(), []
        for change in changes:
            change = dict(change)
            rows, dtype = change.pop("rows", 23), change.pop("float", "float64")
            if "initialize" in change:
                model.initialize(change.pop("initialize"))
            if change.pop("set", False):
                model.params["B1"] = np.ones(2)
            arrays = [a[:rows].astype(dtype) for a in (X, T)]
            run = model.fit(*arrays, **{"optimizer": ADAM, "steps": 2, "batch_size": 8} | change)
            found.append((told_of(run), state_of(model), run.threads if "threads" in change else None))
        return found

    assert fits() == slowly(fits)


def test_the_short_way_is_taken_for_other_arrays_that_look_the_same(taken):
    model, results = nets.network(), []
    for _ in range(5):
        results.append(model.fit(X.copy(), T.copy(), optimizer=ADAM, steps=1, batch_size=8))
    assert len(taken) == 4 and len({id(r) for r in results}) == len({id(r.history["loss"]) for r in results}) == 5
    assert model._core.last_run is results[-1] and [r.steps for r in results] == [1] * 5
    results[-1].notes.append("a note of one's own")
    assert model.fit(X, T, optimizer=ADAM, steps=1, batch_size=8).notes == results[0].notes
    assert len(taken) == 5
    model.fit(X, T, optimizer=ADAM, steps=1, batch_size=8, callbacks=[lambda run: None])
    assert len(taken) == 5
    for rate in (0.01, 0.01, 0.02):
        model.fit(X, T, optimizer=gc.Adam(rate), steps=1, batch_size=8)
    assert len(taken) == 6, "a rule with the same numbers is the same"


def test_values_are_looked_at_in_every_repeated_fit(taken):
    model, x = nets.network(), X.copy()
    fit = lambda: model.fit(x, T, optimizer=ADAM, steps=1, batch_size=8)
    fit(), fit()
    before = state_of(model)
    x[3, 1] = np.nan
    with pytest.raises(DataError, match=r"^X holds nan at \[3, 1\]"):
        fit()
    assert state_of(model) == before and len(taken) == 1
    x[3, 1] = 1e200  # finite, though its square is not
    fit()
    x[3, 1] = 0.0
    fit(), fit()
    assert len(taken) == 3


def test_a_step_that_is_not_finite_is_told_in_a_repeated_fit_as_in_the_first(taken):
    def fit():
        model = nets.network()
        with pytest.raises(DivergenceError) as caught:
            for _ in range(1000):
                model.fit(X, T, optimizer=rule, steps=1, batch_size=8)
        return str(caught.value).partition("\n  at ")[0], state_of(model), model._core.last_run.stopped

    rule = gc.SGD(2.0)
    assert fit() == slowly(fit) and taken


def test_a_schedule_that_leaves_its_domain_is_refused_in_a_repeated_fit(taken):
    rule = nets.MOMENTUM.with_(eta=gc.schedules.exponential(0.0, 1e5))
    model = nets.network()
    with pytest.raises(DomainError, match="is nan at step"):
        for _ in range(120):
            model.fit(X, T, optimizer=rule, steps=1, batch_size=8)
    assert len(taken) > 50


def test_arrays_of_a_repeated_fit_are_not_kept():
    model = nets.network()
    for _ in range(3):
        x = X.copy()
        model.fit(x, T, optimizer=ADAM, steps=1, batch_size=8)
    known = weakref.ref(x)
    del x
    assert known() is None
