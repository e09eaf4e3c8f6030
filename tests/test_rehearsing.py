"""What the check of a program does while it is compiled, and on how many rows it runs."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import graphc as gc
from graphc.emit.reference import evaluate_in_parts
from graphc.errors import CompileError
from graphc.facade import agreement, rehearsing, trials
from graphc.facade.agreement import PRECISIONS, judge
from graphc.facade.rehearsing import Rehearsal
from graphc.native import target
from graphc.native.build import build
from graphc.native.machine_code import Works
from tests.test_verifying import Careless, classifier, fit


def test_what_was_evaluated_before_is_compared_and_not_evaluated_again(monkeypatch: pytest.MonkeyPatch):
    """Also where the first result tells nothing, as the loss of a step that went wrong."""
    x = gc.param("x", (3,), 0.0)
    s, y, feed = gc.sum(x).node, gc.exp(x).node, {x.node: np.array([1.0, 2.0, 3.0])}
    known = evaluate_in_parts([s, y], feed)
    asked = []
    note = lambda nodes, *a, **k: asked.append(len(nodes)) or evaluate_in_parts(nodes, *a, **k)
    monkeypatch.setattr(agreement, "evaluate_in_parts", note)
    graphs = [(lambda: [s, y], feed)] * 2
    right = np.asarray(known[1])
    assert judge([None, right], graphs, PRECISIONS["float64"], known).difference is None and not asked
    found = judge([None, right + np.array([0, 0, 1e-3])], graphs, PRECISIONS["float64"], known).difference
    assert found is not None and found.at == (2,) and found.place == 1


class Trial:
    """In place of the trial of a training program."""

    def __init__(self, work: Callable[[], object]) -> None:
        self.rehearse = work


TEXT = "def f(x):\n    x[0] = x[0] + 1.0\n    return 0\n"


def test_a_rehearsal_is_held_while_llvm_works_and_does_not_fail(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    """What fails in it is done again by the check, which says so. What the cache has is not rehearsed."""
    done: list[str] = []
    work = lambda: done.append("rehearsed") or 1 / 0
    kept, trial = target.lower, Trial(work)
    monkeypatch.setattr(target, "lower", lambda *a: kept(*a) and done.append("written"))
    held = Works.images
    monkeypatch.setattr(Works, "images", lambda works: done.append("waited for") or held(works))
    for name, seen in (("first", ["made", "written", "rehearsed", "waited for"]), ("second", [])):
        rehearsal = Rehearsal(1, lambda: done.append("made") or trial)
        program = build(TEXT, {"f": ("float64*",)}, name=name, folder=tmp_path, compiling=rehearsal)
        assert done == seen and rehearsal.trial is (trial if seen else None)
        done.clear()
    x = np.array([1.0])
    program.call("f", x.ctypes.data)
    assert x[0] == 2


def test_what_another_thread_rehearses_has_ended_whatever_becomes_of_the_compilation(monkeypatch: pytest.MonkeyPatch):
    """Planted fault, seen to fail: a thread that nobody waits for."""
    monkeypatch.setattr(rehearsing, "cores", lambda: 2)
    done, go = [], threading.Event()
    trial = Trial(lambda: done.append((go.wait(10), threading.current_thread().name)))
    with pytest.raises(CompileError), Rehearsal(rehearsing.LARGE, lambda: trial) as rehearsal:
        rehearsal()
        threading.Timer(0.05, go.set).start()
        raise CompileError("not compiled")
    assert done == [(True, "graphc")]


@pytest.mark.parametrize(("size", "rows"), [(9, [5]), (4, [4, 3])])
def test_a_turn_and_the_rest_of_loops_of_four_rows_are_seen_in_one_step(
    size: int, rows: list[int], monkeypatch: pytest.MonkeyPatch
):
    """Where a batch has no five rows, in two; the formulas are evaluated once for each, the first time ahead."""
    seen: list[object] = []
    run = trials.TrainingTrial.run
    noted = lambda self, feed: seen.append(trials.lengths_of(feed)) or run(self, feed)
    monkeypatch.setattr(trials.TrainingTrial, "run", noted)
    for module in (trials, agreement):
        note = lambda *a, **k: seen.append("formulas") or evaluate_in_parts(*a, **k)
        monkeypatch.setattr(module, "evaluate_in_parts", note)
    assert fit(classifier, Careless(verify=True), batch_size=size).notes == []
    assert seen == ["formulas", *rows, *["formulas"] * (len(rows) - 1)]
