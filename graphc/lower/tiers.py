"""Which way of running a plan suits a machine with many threads.

A  one block, all steps of a launch inside one kernel, everything that a step touches in shared memory
B  many blocks, all steps of a launch inside one kernel, blocks waiting for one another between stages
C  a kernel a stage and library calls for large products, recorded once and replayed
D  C where the products dominate: the recording holds few steps

The choice depends on the plan, the device, and what has been seen right on such a device (:mod:`graphc.lower.seen`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from graphc.lower.device import Device
from graphc.lower.kernels import Kernel, Nest, Product, work_of
from graphc.lower.layout import Count
from graphc.lower.plan import Plan
from graphc.lower.seen import tiers_seen, tiers_seen_anywhere
from graphc.lower.stages import Group, stages_of

Tier = Literal["A", "B", "C", "D"]
ONE_BLOCK = 1e6  # operations of a step that one multiprocessor does in the time of a few barriers between blocks
MANY = 8  # copies that share the device: then a block each is best for whatever fits into one
PERSISTENT = 6e7  # operations of a step above which a library's products gain more than barriers save
DOMINANT = 4e9  # operations of a step above which launches cost nothing
PER_PROCESSOR = 8  # blocks of a launched kernel that a multiprocessor holds: loads of one hide behind those of others
RESERVED = 8 * 1024  # bytes of shared memory for lanes, row order, flags
TILE_FROM = 128  # summands of a product from which its factors pass through shared memory
LONG, FEW = 16, 4  # a reduction of at least LONG values to at most FEW results is divided into lanes
LANES = 256  # the most of them
SERIAL = 512  # values that one thread adds one after another: some 15 µs on an H100


@dataclass(frozen=True)
class Choice:
    """A tier with its reason, and the launch it needs."""

    tier: Tier
    reason: str
    threads: int
    blocks: int
    note: str = ""  # what a run says about the choice


def choose_tier(
    plan: Plan, kept: int, memory: int, itemsize: int, device: Device, want: Tier | None = None, copies: int = 1
) -> Choice:
    """The tier of a training step.

    Parameters
    ----------
    kept, memory
        Elements of parameters and states; of everything that a step touches.
    want
        A tier to take whatever the plan says, for tests and comparisons.
    copies
        Networks that are trained side by side.
    """
    work = float(sum(work_of(k, plan.capacity) for k in plan.kernels))
    widest = max([kept, *(elements_of(k, plan.capacity) for k in plan.kernels)])
    size = memory * itemsize
    fits = size + RESERVED <= device.shared
    tier, reason = (want, "as asked") if want else _tier(work, fits, size, device, copies)
    threads = _power_of_two(widest // 2, 64, 512) if tier == "A" else 256
    most = device.blocks * (PER_PROCESSOR if tier in ("C", "D") else 1)
    blocks = 1 if tier == "A" else max(1, min(most, -(-widest // threads)))
    return Choice(tier, reason, threads, blocks, _doubt(tier, device))


def _doubt(tier: Tier, device: Device) -> str:
    """What is not known of a tier on a device, in words."""
    if tier in tiers_seen(device.capability):
        return ""
    generation = "sm_" + "".join(map(str, device.capability))
    return f"tier {tier} has not been seen right on a GPU of the generation {generation} yet; make gpu-test would tell"


def _tier(work: float, fits: bool, size: int, device: Device, copies: int) -> tuple[Tier, str]:
    amount = f"{work / 1e6:.3g} million operations a step"
    if fits and (work <= ONE_BLOCK or copies >= MANY):
        return "A", f"{amount}; {size / 1024:.3g} KB fit the shared memory of one block"
    allowed = tiers_seen(device.capability) or tiers_seen_anywhere()
    if (work <= PERSISTENT or not device.blas) and "B" in allowed:
        reason = "barriers cost less than launches" if device.blas else "no library of products"
        return "B", f"{amount}: {reason}"
    if work <= DOMINANT or not device.blas:
        return "C", f"{amount}: a kernel a stage" + (", products by the library" if device.blas else "")
    return "D", f"{amount}: the products dominate"


def elements_of(kernel: Kernel, capacity: Mapping[str, int]) -> int:
    """Elements of the result."""
    return Count.of(kernel.out.extents).at(capacity)


def _power_of_two(x: int, low: int, high: int) -> int:
    return min(high, max(low, 1 << max(x - 1, 0).bit_length()))


def method_of(kernel: Kernel, tier: Tier, capacity: Mapping[str, int], blas: bool) -> str:
    """How threads share a kernel: "elements", "lanes", "tiles", "scatter" or "blas"."""
    if isinstance(kernel, Product):
        return _product_method(kernel, tier, capacity, blas)
    if not isinstance(kernel, Nest):
        return "elements"
    if kernel.how == "scatter":
        return "scatter"
    y = kernel.equation
    summands = Count.of(y.bound).at(capacity)
    few = FEW if tier != "A" else 2
    long = not y.elementwise and y.reducer != "logsumexp" and summands >= LONG
    return "lanes" if long and elements_of(kernel, capacity) <= few else "elements"


def stages_for(plan: Plan, tier: Tier, blas: bool) -> list[list[Group]]:
    """What the threads of a tier compute side by side, stage by stage."""
    joins = lambda kernel: method_of(kernel, tier, plan.capacity, blas) in ("elements", "tiles")
    return stages_of(plan.kernels, plan.buffers, plan.capacity, joins)


def slow_sums(plan: Plan, choice: Choice, blas: bool) -> list[str]:
    """A sentence for every long sum that each thread makes alone while other processors have nothing to do."""
    found = []
    for kernel in plan.kernels:
        results, summands = elements_of(kernel, plan.capacity), _summands(kernel, plan.capacity)
        busy = -(-results // choice.threads)
        alone = method_of(kernel, choice.tier, plan.capacity, blas) == "elements"
        if alone and summands >= SERIAL and busy < choice.blocks:
            found.append(f"{kernel.out.name}: {results:,} threads add {summands:,} values each, one after another, "
                         f"in {busy} of {choice.blocks} blocks")  # fmt: skip
    return found


def _summands(kernel: Kernel, capacity: Mapping[str, int]) -> int:
    if isinstance(kernel, Product):
        return Count.of((kernel.k,)).at(capacity)
    return Count.of(kernel.equation.bound).at(capacity) if isinstance(kernel, Nest) else 1


def lanes_of(kernel: Nest, capacity: Mapping[str, int]) -> int:
    """Partial sums of a long reduction: fixed by its size, so that the number of threads changes no bit."""
    return _power_of_two(Count.of(kernel.equation.bound).at(capacity), 16, LANES)


def _product_method(p: Product, tier: Tier, capacity: Mapping[str, int], blas: bool) -> str:
    m, n, k = (Count.of((e,)).at(capacity) for e in (p.m, p.n, p.k))
    if tier in ("C", "D") and blas and m * n * k >= 1 << 18 and min(m, n) > 1:
        return "blas"
    return "tiles" if tier != "A" and k >= TILE_FROM and m >= 16 and n >= 16 else "elements"
