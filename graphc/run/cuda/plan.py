"""A training program for a machine, with all that its runs need: what the facade makes and the trainer carries out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import sympy

from graphc.emit.cuda.launches import training_launches
from graphc.emit.cuda.persistent import training_kernel
from graphc.emit.cuda.places import Memory, memory_of
from graphc.emit.cuda.program import CudaProgram
from graphc.emit.cuda.steps import step_scalars
from graphc.ir.node import Node
from graphc.lower.device import Device
from graphc.lower.tiers import Choice, Tier, choose_tier
from graphc.lower.training import StepPlan
from graphc.optim.rules import Rule

BYTES = {"float32": 4, "float64": 8}


@dataclass(frozen=True)
class CudaPlan:
    """A program, the plan behind it, and where everything lies."""

    program: CudaProgram
    step: StepPlan
    memory: Memory
    choice: Choice
    rule: Rule
    columns: tuple[sympy.Expr, ...]
    n_metrics: int
    tolerance: bool

    @property
    def alone(self) -> bool:
        """Whether each network has a block of its own."""
        return self.choice.tier == "A"

    @property
    def log_width(self) -> int:
        """Numbers that a step logs: loss, metrics, weight."""
        return 2 + self.n_metrics


def plan_cuda(
    name: str,
    step: StepPlan,
    rule: Rule,
    dtype: str,
    metrics: Sequence[str],
    device: Device,
    captions: Mapping[Node, str] | None = None,
    tolerance: bool = False,
    tier: Tier | None = None,
) -> CudaPlan:
    """Choose a tier and print its kernels."""
    memory = memory_of(step, len(rule.states))
    choice = choose_tier(step.plan, memory.kept, memory.size, BYTES[dtype], device, tier)
    common = (name, step, rule, dtype, list(metrics), choice, captions, tolerance)
    program = training_kernel(*common) if choice.tier in ("A", "B") else training_launches(*common, device.blas)
    return CudaPlan(program, step, memory, choice, rule, step_scalars(rule).columns, len(metrics), tolerance)
