"""Which way of running a plan suits a machine with many threads.

A  one block, all steps of a launch inside one kernel, everything that a step touches in shared memory
B  many blocks, all steps of a launch inside one kernel, blocks waiting for one another between stages
C  a kernel a stage and library calls for large products, recorded once and replayed
D  C where the products dominate: the recording holds few steps

:mod:`graphc.lower.choice` takes one of them for a plan.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from graphc.ir.node import DENSE
from graphc.lower.kernels import Kernel, Nest, Product, Steps
from graphc.lower.layout import Count
from graphc.lower.plan import Plan
from graphc.lower.stages import Group, stages_of
from graphc.records import record

Tier = Literal["A", "B", "C", "D"]
RESERVED = 8 * 1024  # bytes of shared memory for lanes, row order, flags
TILE_FROM = 128  # summands of a product from which its factors pass through shared memory
LONG, FEW = 16, 4  # a reduction of at least LONG values to at most FEW results is divided into lanes
LANES = 256  # the most of them
SERIAL = 512  # values that one thread adds one after another: some 15 µs on an H100


@record(frozen=True)
class Choice:
    """A tier with its reason, and the launch it needs."""

    tier: Tier
    reason: str
    threads: int
    blocks: int
    note: str = ""  # what a run says about the choice
    processors: int = 1  # multiprocessors that its blocks can use
    microseconds: float = 0.0  # what a step is expected to take


def elements_of(kernel: Kernel, capacity: Mapping[str, int]) -> int:
    """Elements of the result."""
    return Count.of(kernel.out.extents).at(capacity)


def power_of_two(x: int, low: int, high: int) -> int:
    """The least power of two that is not below x, within bounds."""
    return min(high, max(low, 1 << max(x - 1, 0).bit_length()))


def method_of(kernel: Kernel, tier: Tier, capacity: Mapping[str, int], blas: bool) -> str:
    """How threads share a kernel: "elements", "lanes", "tiles", "scatter", "matrices" or "blas"; the steps of a scan:
    "steps" (all threads make them together) or "rows" (every block those of its own rows)."""
    if isinstance(kernel, Steps):
        return "rows" if tier != "A" and kernel.share == "split" and _is_plain(kernel) else "steps"
    if isinstance(kernel, Product):
        return _product_method(kernel, tier, capacity, blas)
    if not isinstance(kernel, Nest):
        return "elements"
    if kernel.how in ("scatter", "dense"):
        return "scatter" if kernel.how == "scatter" else "matrices"
    y = kernel.equation
    summands = Count.of(y.bound).at(capacity)
    few = FEW if tier != "A" else 2
    long = not y.elementwise and y.reducer != "logsumexp" and summands >= LONG
    return "lanes" if long and elements_of(kernel, capacity) <= few else "elements"


def stages_for(plan: Plan, tier: Tier, blas: bool) -> list[list[Group]]:
    """What the threads of a tier compute side by side, stage by stage."""
    joins = lambda kernel: method_of(kernel, tier, plan.capacity, blas) in ("elements", "tiles")
    return stages_of(plan.kernels, plan.buffers, plan.capacity, joins)


def _is_plain(steps: Steps) -> bool:
    """Whether all that a step computes is computed element by element."""
    inner = [*steps.before, *steps.kernels]
    return not any(isinstance(k, Nest) and k.how in ("scatter", "dense") for k in inner)


def stages_within(steps: Steps, plan: Plan, tier: Tier) -> list[list[Group]]:
    """The stages of one step of a scan."""
    alone = method_of(steps, tier, plan.capacity, blas=False) == "rows"
    joins = lambda kernel: alone or method_of(kernel, tier, plan.capacity, blas=False) in ("elements", "tiles")
    return stages_of(steps.kernels, plan.buffers, plan.capacity, joins)


def slow_sums(plan: Plan, choice: Choice, blas: bool) -> list[str]:
    """A sentence for every long sum that each thread makes alone while other processors have nothing to do."""
    found = []
    for kernel in plan.kernels:
        results, summands = elements_of(kernel, plan.capacity), summands_of(kernel, plan.capacity)
        busy = -(-results // choice.threads)
        way = method_of(kernel, choice.tier, plan.capacity, blas)
        if way == "matrices":
            found += _slow_matrices(kernel, plan, choice)
        alone = way == "elements"
        if alone and summands >= SERIAL and busy < choice.blocks:
            found.append(f"{kernel.out.name}: {results:,} threads add {summands:,} values each, one after another, "
                         f"in {busy} of {choice.blocks} blocks")  # fmt: skip
    return found


def _slow_matrices(kernel: Kernel, plan: Plan, choice: Choice) -> list[str]:
    """The same for a stack of matrices, each computed by one thread."""
    stack, rows = matrices_of(kernel, plan.capacity)
    busy = -(-stack // choice.threads)
    if rows**3 < SERIAL or busy >= choice.blocks:
        return []
    many = f"{stack:,} matrices" if stack > 1 else "a matrix"
    return [f"{kernel.out.name}: {many} of {rows} rows, each by one thread, some {rows**3:,} operations one after "
            f"another, in {busy} of {choice.blocks} blocks"]  # fmt: skip


def matrices_of(kernel: Kernel, capacity: Mapping[str, int]) -> tuple[int, int]:
    """How many matrices a function of them takes, and the rows of each."""
    assert isinstance(kernel, Nest)
    y = kernel.equation
    rows = Count.of((y.extents[-1],)).at(capacity)
    return Count.of(y.shape[: y.n_free - DENSE[y.reducer]]).at(capacity), rows


def summands_of(kernel: Kernel, capacity: Mapping[str, int]) -> int:
    """Values that an element of the result adds up."""
    if isinstance(kernel, Product):
        return Count.of((kernel.k,)).at(capacity)
    return Count.of(kernel.equation.bound).at(capacity) if isinstance(kernel, Nest) else 1


def lanes_of(kernel: Nest, capacity: Mapping[str, int]) -> int:
    """Partial sums of a long reduction: fixed by its size, so that the number of threads changes no bit."""
    return power_of_two(Count.of(kernel.equation.bound).at(capacity), 16, LANES)


def _product_method(p: Product, tier: Tier, capacity: Mapping[str, int], blas: bool) -> str:
    m, n, k = (Count.of((e,)).at(capacity) for e in (p.m, p.n, p.k))
    if tier in ("C", "D") and blas and m * n * k >= 1 << 18 and min(m, n) > 1:
        return "blas"
    return "tiles" if tier != "A" and k >= TILE_FROM and m >= 16 and n >= 16 else "elements"
