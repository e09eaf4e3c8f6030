"""What a CUDA program consists of: the text of its kernels, and what their launches need."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field

from graphc.ir.node import Node
from graphc.lower.kernels import Product
from graphc.lower.training import StepPlan
from graphc.optim.groups import AnyRule
from graphc.records import record


@record(frozen=True)
class Training:
    """What a program that trains is printed from.

    The roots of the plan are "loss", the metrics and the gradients. ``captions`` are the formulas that stand beside the
    loops; with ``tolerance`` a run ends when the largest gradient is small.
    """

    name: str
    step: StepPlan
    rule: AnyRule
    dtype: str
    metrics: tuple[str, ...] = ()
    captions: Mapping[Node, str] = field(default_factory=dict)
    tolerance: bool = False


@record(frozen=True)
class CudaKernel:
    """One function of the text and how it is launched.

    Attributes
    ----------
    arguments : tuple of (name, kind)
        Kinds: ``float32*``, ``float64*``, ``int32*``, ``uint64*`` (pointers), ``uint32`` and ``int32[]`` (an array, for
        the words of a barrier).
    threads : int
        Threads a block: a literal in the text too (``THREADS``).
    grid : "one", "copies" or "many"
        One block; one block a copy of the network; as many blocks as the device holds at a time.
    shared : int
        Bytes of dynamic shared memory, 0 when the text names the size of its shared arrays.
    cooperative : bool
        Blocks wait for one another inside the kernel: all must be resident.
    """

    name: str
    arguments: tuple[tuple[str, str], ...]
    threads: int
    grid: str = "one"
    shared: int = 0
    cooperative: bool = False


@record(frozen=True)
class CudaProgram:
    """A module of kernels. ``order`` says what one step launches: names of kernels, and products left to a library."""

    name: str
    text: str
    dtype: str
    tier: str
    kernels: tuple[CudaKernel, ...]
    order: tuple[str | Product, ...] = ()

    def kernel(self, name: str) -> CudaKernel:
        """The kernel of that name."""
        return next(k for k in self.kernels if k.name == name)
