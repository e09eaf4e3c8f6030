"""Optimizers side by side: the bits of runs alone, exact losses, paths over one surface."""

from __future__ import annotations

import numpy as np
import pytest

import graphc as gc
from graphc.errors import DomainError, TypeMismatchError
from tests import nets

X, T = nets.data(101)
RULES = [gc.SGD(0.05), gc.Momentum(0.05), gc.SGD(1e3)]


@pytest.fixture(scope="module")
def compared():
    model = nets.network()
    return model, gc.compare(model, X, T, RULES, epochs=6, batch_size=8, seed=3, size=9)


def test_every_rule_gets_the_bits_of_a_fit_alone_and_the_model_stays(compared):
    model, found = compared
    assert list(found.rules) == ["SGD(eta=0.05)", "Momentum", "SGD(eta=1000)"]
    assert model.last_run is None and model.state.rules == {}
    for name, rule in [("SGD(eta=0.05)", RULES[0]), ("Momentum", RULES[1])]:
        alone = nets.network().initialize(3)
        run = alone.fit(X, T, optimizer=rule, epochs=6, batch_size=8, seed=3)
        assert found.models[name].params.flat.tobytes() == alone.params.flat.tobytes()
        assert found.runs[name].history == run.history and found.steps[name] == [13 * k for k in range(7)]
        assert found.losses[name][-1] == pytest.approx(alone.evaluate(X, T)["loss"], rel=1e-12)
        assert found.losses[name][0] == pytest.approx(nets.network().initialize(3).evaluate(X, T)["loss"], rel=1e-12)


def test_the_table_has_the_steps_to_every_loss(compared):
    _, found = compared
    middle = float(found.losses["Momentum"][2])
    assert found.steps_to(middle)["Momentum"] == 13 * int(np.argmax(found.losses["Momentum"] <= middle))
    assert found.steps_to(0.0) == dict.fromkeys(found.rules)
    assert [row["stopped"] for row in found.table] == ["finished", "finished", "diverged"]
    assert found.table[2]["steps_to"] == dict.fromkeys(found.goals)
    text = str(found)
    assert text.startswith("loss before ") and "diverged" in text.splitlines()[-1]


def test_the_surface_holds_the_paths_that_did_not_run_away_and_its_centre_is_the_best_end(compared, tmp_path):
    _, found = compared
    scape = found.landscape
    assert list(scape.paths) == ["SGD(eta=0.05)", "Momentum"]
    best = min(scape.paths, key=lambda name: found.losses[name][-1])
    assert np.allclose(scape.paths[best][-1], 0, atol=1e-9)
    assert np.allclose(*(scape.paths[name][0] for name in scape.paths))
    found.plot(tmp_path / "compare.png")
    assert (tmp_path / "compare.png").read_bytes().startswith(b"\x89PNG")


def test_two_numbers_are_the_axes_themselves():
    found = gc.compare(nets.parabola(), [gc.SGD(0.05), gc.SGD(0.15)], epochs=3, batch_size=None, size=3)
    assert found.landscape.names == ("theta[0]", "theta[1]")
    assert np.allclose(found.landscape.paths["SGD(eta=0.05)"], [[0.95**k, 0.5**k] for k in range(4)])


@pytest.mark.parametrize(
    "args, kind, text",
    [
        ((1, [gc.SGD(0.1)]), TypeMismatchError, "compare: 1 is no Model"),
        ((nets.network(), X, T), TypeMismatchError, "compare: the last argument is array"),
        ((nets.network(), X, T, [gc.SGD(0.1)] * 2), DomainError, "compare: SGD(eta=0.1) is listed twice"),
    ],
)
def test_what_cannot_be_compared_is_said(args, kind, text):
    with pytest.raises(kind) as caught:
        gc.compare(*args)
    assert str(caught.value).startswith(text)
