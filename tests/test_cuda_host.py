"""What the host asks of a GPU, counted on a machine that does nothing; ``python -m tests.cuda_host`` times it."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import ArrayLike

import graphc as gc
from graphc.cuda import selection, training
from graphc.cuda.arrays import DeviceArray
from graphc.cuda.launching import Task
from graphc.cuda.machine import Arguments, Loaded
from graphc.cuda.training import CudaTrainer, Stand
from graphc.lower.tiers import Tier
from tests import nets
from tests.benchmarks import graphc_peer as peer
from tests.benchmarks.workloads import WORKLOADS
from tests.cuda_host import Idle
from tests.cuda_races import Watched


def asked_for(name: str, steps: int) -> dict[str, int]:
    """What a fit of so many steps asks for, the second of its kind."""
    w = WORKLOADS[name]
    contestant, machine = peer.Peer(w, "auto", 1), Idle(w.batch)
    contestant.options |= {"target": "cuda", "verify": False}
    with selection.use(machine):
        contestant.run(512)
        contestant.run(steps)
        machine.counts = dict.fromkeys(machine.counts, 0)
        contestant.run(steps)
    return machine.counts


@pytest.mark.parametrize(("name", "launches", "replays", "bytes_a_step"), [
    ("W1", 1, 0, 12), ("W9", 1, 0, 1), ("W2", 0, 625, 12), ("W10", 1, 0, 90),
])  # fmt: skip
def test_ten_thousand_steps_are_few_launches_and_few_bytes(
    name: str, launches: int, replays: int, bytes_a_step: int, monkeypatch: pytest.MonkeyPatch
):
    """Numbers that no step changes are sent once, those of copies that are alike once for all; losses of steps that
    nobody records stay where they are. It was 3.5 kB a step of W10, and 4,645 replays of W2."""
    monkeypatch.setattr(training, "SECONDS", 1e9)
    counts = asked_for(name, 10_000)
    assert (counts["launches"], counts["replays"]) == (launches, replays)
    assert counts["uploads"] <= 9 and counts["downloads"] <= 5
    few = asked_for(name, 1_000)
    assert counts["bytes"] - few["bytes"] <= bytes_a_step * 9_000


class Diary(Idle):
    """Writes down launches, and when they are waited for."""

    def __init__(self, batch: int) -> None:
        super().__init__(batch)
        self.lines: list[str] = []

    def launch(self, loaded: Loaded, blocks: int, arguments: Arguments) -> None:
        self.lines.append("launch")
        super().launch(loaded, blocks, arguments)

    def download(self, source: DeviceArray) -> ArrayLike:
        if self.lines and self.lines[-1] != "wait":
            self.lines.append("wait")
        return super().download(source)


@pytest.mark.parametrize("copies", [1, 8])
def test_the_next_launch_is_prepared_while_one_runs(copies: int, monkeypatch: pytest.MonkeyPatch):
    machine, x = Diary(8), np.ones((24, 3))
    monkeypatch.setattr(training, "FIRST", 4)
    monkeypatch.setattr(CudaTrainer, "chunk", lambda self, left: min(left, 4 if not self.seconds_per_step else 5))
    prepare = CudaTrainer.task

    def noted(self: CudaTrainer, stand: Stand, hyper: np.ndarray) -> Task:
        machine.lines.append(f"prepare {int(stand.steps.max())}")
        return prepare(self, stand, hyper)

    monkeypatch.setattr(CudaTrainer, "task", noted)
    model = gc.Model(loss=gc.mean((gc.input("X", ("n", 3)) @ gc.param("W", (3,)) - 1) ** 2))
    options = {"steps": 14, "batch_size": 8, "target": "cuda", "verify": False}
    with selection.use(machine, "A"):
        if copies == 1:
            model.fit(x, optimizer=gc.SGD(0.1), **options)
        else:
            model.sweep(x, optimizer=gc.SGD(np.linspace(0.1, 0.2, copies)), **options)
    first, then = ["prepare 4", "launch", "wait"], ["prepare 5", "launch", "prepare 5", "wait"]
    assert machine.lines[:9] == [*first, *then, "launch", "wait"]


@pytest.mark.parametrize("tier", ["A", "C"])
def test_what_a_fit_left_is_not_sent_again_unless_it_was_changed(tier: Tier):
    """Parameters, or the optimizer's state, set between two fits: the numbers are the CPU's; else fewer bytes."""
    x, t = nets.data(23)
    options = {"optimizer": "adam", "epochs": 1, "batch_size": 8, "verify": False}
    models, watched = (nets.network(), nets.network()), Watched(4, blocks=1 if tier == "A" else 2)
    for change in ("nothing", "nothing", "a parameter", "the state"):
        for model, target in zip(models, ("cuda", "cpu"), strict=True):
            if change == "a parameter":
                model.params["B0"] = np.arange(4) / 10
            elif change == "the state":
                [rule] = model.state.rules.values()
                rule.values *= 0.5
            with selection.use(watched, tier):
                model.fit(x, t, target=target, **options)
        np.testing.assert_allclose(models[0].params.flat, models[1].params.flat, rtol=1e-10, atol=1e-13)
    sent = []
    with selection.use(machine := Idle(8), tier):
        model = nets.network()
        for change in ("nothing", "nothing", "nothing", "a parameter"):
            machine.counts["sent"] = 0
            if change == "a parameter":
                model.params["B0"] = np.arange(4) / 10
            model.fit(x, t, target="cuda", **options)
            sent.append(machine.counts["sent"])
    assert sent[1] == sent[2] == sent[3] - 8 * model.params.trainer.total  # the optimizer's state is there
