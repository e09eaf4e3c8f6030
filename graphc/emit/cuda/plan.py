"""A training program for a machine, with all that its runs need: what the facade makes and the trainer carries out."""

from __future__ import annotations

from collections.abc import Sequence

from graphc.emit.cuda.launches import evaluation_launches, training_launches
from graphc.emit.cuda.memory_map import Memory, memory_of
from graphc.emit.cuda.persistent import training_kernel
from graphc.emit.cuda.program import CudaProgram, Training
from graphc.emit.cuda.scalars import StepScalars, step_scalars
from graphc.lower.choice import choose_tier
from graphc.lower.device import Device
from graphc.lower.expected import Expected, Update, expected_step
from graphc.lower.tiers import Choice, Tier
from graphc.lower.training import StepPlan
from graphc.optim.groups import AnyRule
from graphc.records import record

BYTES = {"float32": 4, "float64": 8}


@record(frozen=True)
class CudaPlan:
    """A program, the plan behind it, and where everything lies; the totals of an epoch have ``width`` numbers: weight
    of the rows, loss, metrics."""

    program: CudaProgram
    step: StepPlan
    memory: Memory
    choice: Choice
    width: int
    rule: AnyRule | None = None
    scalars: StepScalars | None = None
    tolerance: bool = False
    blas: bool = True

    @property
    def note(self) -> str:
        """What the memory of a network is for, a line each, in bytes."""
        size, m = BYTES[self.program.dtype], self.memory
        parts = {
            "parameters": m.total, "optimizer state": m.total * m.n_states, "gradients": m.total,
            "values of a step": m.arena,
        }  # fmt: skip
        return "\n".join(f"{name}: {count * size:,} bytes" for name, count in parts.items() if count)

    @property
    def expected(self) -> list[Expected]:
        """What every stage is expected to cost."""
        size = BYTES[self.program.dtype]
        update = update_of(self.step, self.memory, self.program.dtype)
        return expected_step(self.step.plan, self.choice, update, size, self.blas)

    @property
    def alone(self) -> bool:
        """Whether each network has a block of its own."""
        return self.choice.tier == "A"


def plan_cuda(training: Training, device: Device, tier: Tier | None = None, copies: int = 1) -> CudaPlan:
    """Choose a tier and print its kernels."""
    step, rule, dtype = training.step, training.rule, training.dtype
    memory = memory_of(step, len(rule.states))
    choice = choose_tier(step.plan, update_of(step, memory, dtype), memory.size, BYTES[dtype], device, tier, copies)
    if choice.tier in ("A", "B"):
        program = training_kernel(training, choice)
    else:
        program = training_launches(training, choice, device.blas)
    width = 2 + len(training.metrics)
    return CudaPlan(program, step, memory, choice, width, rule, step_scalars(rule), training.tolerance, device.blas)


def update_of(step: StepPlan, memory: Memory, dtype: str) -> Update:
    """What a step does beside the kernels of its plan."""
    rows = sum(step.capacity * i.row * (4 if i.integer else BYTES[dtype]) for i in step.inputs if i.batched)
    rows += sum((step.capacity if d.batched else 1) * d.row * BYTES[dtype] for d in step.draws)
    return Update(memory.total, memory.kept, rows)


def plan_cuda_evaluation(
    name: str,
    step: StepPlan,
    dtype: str,
    outputs: Sequence[str],
    scalars: Sequence[str],
    device: Device,
) -> CudaPlan:
    """The kernels that evaluate outputs and scalar roots, batch by batch."""
    memory = memory_of(step, 0)
    choice = choose_tier(step.plan, update_of(step, memory, dtype), memory.size, BYTES[dtype], device, "C")
    pointers = {root: f"{root}_out" for root in outputs}
    program = evaluation_launches(name, step, dtype, pointers, scalars, choice, None, device.blas)
    return CudaPlan(program, step, memory, choice, 1 + len(scalars))
