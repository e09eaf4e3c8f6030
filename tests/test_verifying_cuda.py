"""On a GPU, too, the check of a program begins with memory that holds NaN: what was never written is seen."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import graphc as gc
from graphc.cuda import selection
from graphc.cuda.emulator import host
from graphc.errors import CompilerError
from graphc.facade import checking
from graphc.lower.tiers import Tier
from tests.cuda_races import Watched
from tests.test_verifying import fit_on_cuda


@pytest.fixture(autouse=True)
def unverified(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    monkeypatch.setattr(checking, "is_verified", lambda key: False)
    monkeypatch.setattr("graphc.facade.verifying._keep", lambda key: None)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))


class Looking(Watched):
    """Notes which elements of the memory of a network are NaN when its first kernel begins."""

    seen: np.ndarray | None = None

    def launch(self, loaded: Any, blocks: int, arguments: Any) -> None:
        if self.seen is None:
            self.seen = np.isnan(host(arguments["M"]))
        super().launch(loaded, blocks, arguments)


@pytest.mark.parametrize(("net", "tier"), [("windows", "B"), ("classifier", "C")])
def test_what_a_step_has_to_write_holds_nan_before(net: str, tier: Tier):
    """Values and gradients; not parameters and states, which are given, nor what lies between two gradients.

    Not the windows in tier C: a recording is made by running it here, and in Python 0/0 raises.
    """
    machine = Looking(threads=6, blocks=2)
    model = fit_on_cuda(net, machine, tier)
    m = model.params.trainer.plan.memory
    assert machine.seen is not None and not machine.seen[: m.kept].any() and machine.seen[m.arena_start :].all()
    gradients = machine.seen[m.gradients : m.arena_start]
    assert np.count_nonzero(gradients) == sum(x.size for x in model.params.values())


def test_outputs_of_an_evaluation_on_a_gpu_hold_nan_before():
    """A kernel that leaves zeros where they were would be right for a relu that is off everywhere."""

    class Lazy(Watched):
        def launch(self, *_: Any) -> None:
            """Nothing."""

    x, w = gc.input("x", ("n", 3)), gc.param("w", (3,), -1.0)
    model = gc.Model(gc.relu(x * w), dtype="float64").initialize(1)
    with selection.use(Lazy(threads=2), "C"), pytest.raises(CompilerError, match="the program gives nan"):
        model.predict([[1.0, 2.0, 3.0]] * 5, target="cuda")
