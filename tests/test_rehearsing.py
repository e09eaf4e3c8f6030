"""What the check of a program does while it is compiled, and on how many rows it runs."""

from __future__ import annotations

import threading
from collections.abc import Callable

import numpy as np
import pytest

import graphc as gc
from graphc.emit.reference import evaluate_in_parts
from graphc.errors import CompileError
from graphc.facade import agreement, rehearsing, trials
from graphc.facade.agreement import PRECISIONS, judge
from graphc.facade.rehearsing import LARGE, Rehearsal
from tests.test_verifying import Careless, classifier, fit


def test_what_was_evaluated_before_is_compared_and_not_evaluated_again(monkeypatch: pytest.MonkeyPatch):
    x = gc.param("x", (3,), 0.0)
    y, feed = gc.exp(x).node, {x.node: np.array([1.0, 2.0, 3.0])}
    known = evaluate_in_parts([y], feed)
    asked = []
    note = lambda nodes, *a, **k: asked.append(len(nodes)) or evaluate_in_parts(nodes, *a, **k)
    monkeypatch.setattr(agreement, "evaluate_in_parts", note)
    graphs = [(lambda: [y], feed)] * 2
    assert judge([np.asarray(known[0])], graphs, PRECISIONS["float64"], known).difference is None and not asked
    wrong = known[0] + np.array([0, 0, 1e-3])
    found = judge([wrong], graphs, PRECISIONS["float64"], known).difference
    assert found is not None and found.at == (2,)


class Trial:
    """In place of the trial of a training program."""

    def __init__(self, work: Callable[[], None]) -> None:
        self.rehearse = work


def test_a_rehearsal_has_ended_behind_its_block_whatever_becomes_of_it(monkeypatch: pytest.MonkeyPatch):
    """What fails in its thread is done again by the check, which says so; with one core, or for few parameters, there
    is none."""
    monkeypatch.setattr(rehearsing, "cores", lambda: 2)
    done, go = [], threading.Event()
    with pytest.raises(CompileError), Rehearsal(LARGE, lambda: Trial(lambda: done.append(go.wait(10)))) as rehearsal:
        rehearsal.begin()
        threading.Timer(0.05, go.set).start()
        raise CompileError("not compiled")
    assert done == [True]
    with Rehearsal(LARGE, lambda: Trial(lambda: 1 / 0)) as rehearsal:
        rehearsal.begin()
    assert isinstance(rehearsal.trial, Trial)
    for cores, elements in ((1, LARGE), (2, LARGE - 1)):
        monkeypatch.setattr(rehearsing, "cores", lambda n=cores: n)
        with Rehearsal(elements, lambda: Trial(lambda: done.append(False))) as rehearsal:
            rehearsal.begin()
        assert rehearsal.trial is None and done == [True]


@pytest.mark.parametrize(("size", "rows"), [(9, [5]), (4, [4, 3])])
def test_a_turn_and_the_rest_of_loops_of_four_rows_are_seen_in_one_step(
    size: int, rows: list[int], monkeypatch: pytest.MonkeyPatch
):
    """Where a batch has no five rows, in two; the formulas are evaluated once for each, the first time ahead."""
    seen: list[int] = []
    evaluated: list[str] = []
    run = trials.TrainingTrial.run
    noted = lambda self, feed: seen.append(trials.lengths_of(feed)) or run(self, feed)
    monkeypatch.setattr(trials.TrainingTrial, "run", noted)
    monkeypatch.setattr(rehearsing, "cores", lambda: 2)
    monkeypatch.setattr(rehearsing, "LARGE", 0)
    for module in (trials, agreement):
        note = lambda *a, **k: evaluated.append(threading.current_thread().name) or evaluate_in_parts(*a, **k)
        monkeypatch.setattr(module, "evaluate_in_parts", note)
    assert fit(classifier, Careless(verify=True), batch_size=size).notes == []
    assert seen == rows and evaluated == ["graphc", "MainThread"][: len(rows)]
