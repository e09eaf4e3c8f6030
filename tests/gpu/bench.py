"""Where checks run: the machines, the networks on them, and one training on a target."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

import graphc as gc
from graphc.cuda import selection
from graphc.cuda.driver import Gpu
from graphc.cuda.emulator import Emulator
from graphc.cuda.machine import Machine
from graphc.emit.cuda.plan import BYTES
from graphc.facade.devices import cuda_plan
from graphc.lower.tiers import RESERVED, Tier
from tests.gpu.networks import Case


class LeftOut(Exception):
    """A check does not apply here; the text is the reason."""


class Wrong(Exception):
    """A check ran and found something else than it should."""


@dataclass(frozen=True)
class Outcome:
    """What a training leaves: the loss of every step, parameters, and how it ended."""

    losses: NDArray
    parameters: NDArray
    steps: Any
    stopped: Any


class Bench:
    """Machines and models, each made once.

    Parameters
    ----------
    emulated
        The emulator in place of a GPU.
    """

    def __init__(self, emulated: bool) -> None:
        self.emulated = emulated
        self.machine = cache(self._machine)
        self._started: dict[str, tuple[gc.Model, NDArray]] = {}
        self.on_cpu = cache(lambda case: self.train(case, "cpu"))

    def _machine(self, blocks: int | None = None) -> Machine:
        """The machine, told that it has so many multiprocessors: the blocks of a plan follow."""
        machine: Any = Emulator() if self.emulated else Gpu(0)
        if blocks is not None:
            machine.device = replace(machine.device, blocks=blocks)
        return machine

    def start(self, case: Case) -> tuple[gc.Model, NDArray]:
        """The model of that name, and the parameters from which all its trainings begin."""
        if case.name not in self._started:
            model = case.make()
            model.params.initialize(3)
            self._started[case.name] = model, model.params.snapshot()
        return self._started[case.name]

    def fresh(self, case: Case) -> gc.Model:
        """The model of a case, as if never trained."""
        model, start = self.start(case)
        model.initialize(3)
        model.params.restore(start)
        return model

    def chosen(self, case: Case) -> tuple[Tier, bool]:
        """The tier that graphc chooses, and whether the network fits into one block."""
        with selection.use(self.machine()):
            plan = cuda_plan(self.fresh(case)._core, _alone(case.optimizer), case.batch)
        shared = self.machine().device.shared
        return plan.choice.tier, plan.memory.size * BYTES[plan.program.dtype] + RESERVED <= shared

    def train(
        self, case: Case, target: str, tier: Tier | None = None, blocks: int | None = None, **options: Any
    ) -> Outcome:
        """A training from the start of a case, on the CPU or on the machine in a tier."""
        model, given = self.fresh(case), dict(case.options) | options
        with selection.use(self.machine(blocks), tier):
            return run(model, case, case.data, given | {"target": target, "record": "step"})


def run(model: gc.Model, case: Case, data: Mapping[str, Any], options: Mapping[str, Any]) -> Outcome:
    """Carry a training out, as a fit or as a sweep, with those data that its loss reads."""
    data = {str(leaf.name): data[str(leaf.name)] for leaf in model._core.training_inputs}
    if not case.copies:
        r = model.fit(data, **options)
        return Outcome(np.array(r.history["loss"]), model.params.snapshot(), r.steps, r.stopped)
    sweep = model.sweep(data, **options)
    parameters = sweep.copies.parameters[:, : model.params.flat.size].copy()
    return Outcome(sweep.history["loss"], parameters, sweep.steps.tolist(), sweep.stopped)


def _alone(rule: Any) -> Any:
    """The optimizer of the first copy of a sweep."""
    values = {n: (v.flat[0] if isinstance(v, np.ndarray) else v) for n, v in rule.hyper.items()}
    return replace(rule, hyper=values)


def distance(found: NDArray, wanted: NDArray) -> float:
    """The largest difference, relative to the largest number wanted or to 1; inf where one is not finite.

    Raises
    ------
    Wrong
        When the shapes differ.
    """
    if found.shape != wanted.shape:
        raise Wrong(f"shape {found.shape} instead of {wanted.shape}")
    scale = max(1.0, float(np.abs(wanted).max(initial=0.0)))
    worst = float(np.abs(found - wanted).max(initial=0.0)) / scale
    return worst if np.isfinite(worst) else float("inf")


def require_close(what: str, found: Any, wanted: Any, tolerance: float) -> float:
    """The distance, which must be within the tolerance.

    Raises
    ------
    Wrong
        When it is not.
    """
    d = distance(np.asarray(found, np.float64), np.asarray(wanted, np.float64))
    if d > tolerance:
        raise Wrong(f"{what} differ by {d:.1e}, allowed are {tolerance:.0e}")
    return d


def require_same(what: str, found: Outcome, wanted: Outcome) -> None:
    """Raise Wrong unless losses and parameters have the same bits."""
    for part in ("losses", "parameters"):
        a, b = getattr(found, part), getattr(wanted, part)
        if a.shape != b.shape or a.tobytes() != b.tobytes():
            places = int((a != b).sum()) if a.shape == b.shape else "all"
            raise Wrong(f"{what}: {places} of {b.size} {part} have other bits")
