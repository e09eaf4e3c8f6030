"""Where values lie in a CUDA program: one memory M for parameters, states, gradients and arena."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from graphc.emit.cuda.arithmetic import Maps, Term, plus, times, u
from graphc.ir.affine import Affine, Gather
from graphc.ir.node import Node
from graphc.lower.layout import ALIGN, Buffer, Count
from graphc.lower.training import StepPlan
from graphc.records import record

EXTRAS = ALIGN  # elements behind the states of a copy: tolerance, largest gradient of the epoch, norm of the gradient
TOLERANCE, LARGEST, NORM = range(3)
NORMS = EXTRAS - NORM  # of so many rules at most


@record(frozen=True)
class Memory:
    """The regions of M, in elements: parameters, states and extras lead, since a copy of a network keeps those."""

    total: int
    n_states: int
    arena: int
    integers: int

    @property
    def states(self) -> int:
        return self.total

    @property
    def extras(self) -> int:
        return self.total * (1 + self.n_states)

    @property
    def kept(self) -> int:
        """Elements that a copy keeps between launches."""
        return self.extras + EXTRAS

    @property
    def gradients(self) -> int:
        return self.kept

    @property
    def arena_start(self) -> int:
        return self.kept + self.total

    @property
    def size(self) -> int:
        return self.arena_start + self.arena

    def base(self, region: str) -> int:
        """Where a region begins in the memory it lies in."""
        return {"P": 0, "G": self.gradients, "A": self.arena_start}.get(region, 0)


def memory_of(step: StepPlan, n_states: int) -> Memory:
    """The memory of a training step under a rule with so many states."""
    capacity = capacity_of(step)
    arena = -(-step.plan.arena.at(capacity) // ALIGN) * ALIGN
    return Memory(max(step.layout.total, ALIGN), n_states, arena, step.integer_arena.at(capacity))


def capacity_of(step: StepPlan) -> dict[str, int]:
    """The capacity of the free extent, by its name."""
    return {step.batch: step.capacity} if step.batch else {}


class Places:
    """Texts of elements of buffers, and the constants that hold their offsets."""

    def __init__(self, buffers: Mapping[Node, Buffer], memory: Memory, capacity: Mapping[str, int]) -> None:
        self.buffers, self.memory, self.capacity = buffers, memory, capacity
        self.constants: dict[str, int] = {}

    def pointer(self, buffer: Buffer) -> str:
        """The argument or array behind which a buffer lies."""
        return "M" if buffer.region in ("P", "G", "A") else buffer.region

    def start(self, buffer: Buffer) -> Term:
        """The name of the constant that holds a buffer's offset, 0 behind a pointer of its own; where it moves, of the
        variable of the loop over the steps of a scan."""
        if buffer.moves:
            return f"now_{buffer.name}"
        if buffer.region == buffer.name:
            return 0
        name = buffer.name if buffer.region == "K" else f"{buffer.region}_{buffer.name}"
        self.constants[name] = self.memory.base(buffer.region) + buffer.offset.at(self.capacity)
        return name

    def number(self, count: Count) -> int:
        """A stride: free extents stand for their capacity."""
        return count.at(self.capacity)

    def element(self, buffer: Buffer, at: Sequence[Affine], maps: Maps) -> str:
        """``M[U(A_Z0 + U(U(i*U(16)) + j))]``."""
        offset: Term = 0
        for a, step in zip(at, buffer.strides, strict=True):
            offset = plus(offset, times(maps.text(a), self.number(step)))
        return self.at(buffer, offset)

    def at(self, buffer: Buffer, offset: Term) -> str:
        """The element at an offset inside a buffer."""
        return f"{self.pointer(buffer)}[{u(plus(self.start(buffer), offset))}]"

    def gathered(self, gather: Gather, maps: Maps) -> str:
        """A whole number read from data."""
        return self.element(self.buffers[gather.node], gather.at, maps)
