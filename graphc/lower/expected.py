"""What a training step is expected to cost on a GPU: bytes and µs of every stage, from a table of constants.

The constants are those of an H100. A stage takes what it costs to begin it (a node of a graph, a barrier) and the sum
over its groups of the longest of three: the busiest thread adding up its summands, all instructions at the rate of the
busy multiprocessors, all bytes at the rate of the memory.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

from graphc.ir.scalar import cost
from graphc.lower.kernels import Kernel, Nest, Product, Steps
from graphc.lower.plan import Plan
from graphc.lower.stages import Group, reads_of
from graphc.lower.tiers import (
    Choice,
    elements_of,
    lanes_of,
    matrices_of,
    method_of,
    stages_for,
    stages_within,
    summands_of,
)
from graphc.records import record


@record(frozen=True)
class Constant:
    """A number of the machine, its unit, and where it comes from."""

    value: float
    unit: str
    source: str


PUBLISHED = "published micro-benchmarks of Hopper; not measured here"
CONSTANTS: dict[str, Constant] = {
    "clock": Constant(1.755e9, "cycles a second", "NVIDIA's data sheet of the H100 SXM"),
    "memory": Constant(2.7e12, "bytes a second", "four fifths of the data sheet's 3.35e12; not measured here"),
    "products": Constant(50e12, "operations a second", "three quarters of the data sheet's 67e12; not measured here"),
    "L2": Constant(270, "cycles", PUBLISHED),
    "shared": Constant(30, "cycles", PUBLISHED),
    "bar.sync": Constant(30, "cycles", f"20 to 40: {PUBLISHED}"),
    "cluster barrier": Constant(0.2, "µs", f"{PUBLISHED}; no kernel uses it"),
    "grid barrier": Constant(1.2, "µs", "estimate; tier B has not been timed with a barrier that waits"),
    "graph node": Constant(1.3, "µs", "NVIDIA's figure for straight graphs; not measured here"),
    "summand": Constant(78, "cycles", "H100, 2026-11-27: 1024 rows in 45 µs (W5), 512 in 23 µs (W4)"),
    "summand in shared memory": Constant(70, "cycles", "fitted: W1 and W9 took 7.6 and 2.8 µs on the H100, 2026-11-27"),
    "library product": Constant(3.0, "µs", "what a small one takes beyond its node; estimate"),
    "instructions of a summand": Constant(12, "", "read in machine code: two loads, their indices, one FMA"),
    "lanes of a processor": Constant(128, "", "NVIDIA's data sheet"),
}
TILE, DEPTH = 32, 32


def value(name: str) -> float:
    """A constant of the table."""
    return CONSTANTS[name].value


@record(frozen=True)
class Expected:
    """One stage: its title, launches, bytes that it reads and writes, µs."""

    title: str
    launches: int
    bytes: int
    microseconds: float


@record(frozen=True)
class Update:
    """What surrounds the stages: parameters, numbers that a step keeps (parameters and states), bytes of a batch."""

    parameters: int
    kept: int
    batch: int = 0


def expected_step(plan: Plan, choice: Choice, update: Update, itemsize: int, blas: bool) -> list[Expected]:
    """Every stage of a step in the order in which they run: the batch, the plan's, the update."""
    found = [_batch(choice, update)]
    for number, groups in enumerate(stages_for(plan, choice.tier, blas)):
        found.append(_stage(f"stage {number}", groups, plan, choice, itemsize, blas))
    rounds = math.ceil(update.parameters / (choice.threads * choice.blocks))
    moved = (2 * update.kept + update.parameters) * itemsize
    work = max(_cycles(rounds * (_load(choice) + 60)), _transfer(moved, choice))
    return [*found, Expected("update", _launches(choice, 1), moved, _begin(choice) + work)]


def microseconds(stages: Sequence[Expected]) -> float:
    """Their sum."""
    return sum(s.microseconds for s in stages)


def _batch(choice: Choice, update: Update) -> Expected:
    moved = 2 * update.batch
    work = _cycles(2 * _load(choice) + 200) + _transfer(moved, choice)
    return Expected("batch", _launches(choice, 1), moved, _begin(choice) + work)


def _stage(title: str, groups: Sequence[Group], plan: Plan, choice: Choice, itemsize: int, blas: bool) -> Expected:
    """Groups of a kernel run one after the other; a library's product is a node of its own."""
    total, moved, launches = 0.0, 0, 0
    ways = [method_of(g.head, choice.tier, plan.capacity, blas) for g in groups]
    for group, way in zip(groups, ways, strict=True):
        size = sum(_bytes(k, plan, itemsize) for k in group.kernels)
        moved += size
        if isinstance(group.head, Steps):
            total += _steps(group.head, way, plan, choice, itemsize)
            launches += 1
        elif way == "blas":
            assert isinstance(group.head, Product)
            total += value("graph node") + value("library product") + _multiplying(group.head, plan) * 1e6
            launches += 1
        else:
            serial = _cycles(_serial(group, way, plan, choice))
            total += max(serial, _rate(group, way, plan, choice), _transfer(size, choice))
    if any(way not in ("blas", "steps", "rows") for way in ways):
        total, launches = total + _begin(choice), launches + 1
    return Expected(title, _launches(choice, launches), moved, total)


def _steps(steps: Steps, way: str, plan: Plan, choice: Choice, itemsize: int) -> float:
    """µs of all steps of a scan: the stages of each; a block that has rows of its own, or is alone, waits for its own
    threads between them."""
    own = choice if way == "rows" or choice.tier in ("A", "B") else replace(choice, blocks=1, processors=1)
    found = [_stage("", groups, plan, own, itemsize, blas=False) for groups in stages_within(steps, plan, choice.tier)]
    length = steps.node.scan.length
    assert isinstance(length, int)  # free ones stay on the CPU
    begun = len(found) * (_begin(choice) - _cycles(value("bar.sync"))) if way == "rows" or choice.tier != "B" else 0.0
    return _begin(choice) + length * (microseconds(found) - begun)


def _serial(group: Group, way: str, plan: Plan, choice: Choice) -> float:
    """Cycles of the busiest thread."""
    head, capacity = group.head, plan.capacity
    results, summands = elements_of(head, capacity), summands_of(head, capacity)
    extra = sum(4 * _cost(k) for k in group.kernels) + 2 * _load(choice)
    if way == "lanes":
        assert isinstance(head, Nest)
        lanes = lanes_of(head, capacity)
        folds = math.log2(lanes) * (value("bar.sync") + value("shared"))
        return results * (math.ceil(summands / lanes) * _summand(choice) + folds + extra)
    if way == "matrices":
        stack, rows = matrices_of(head, capacity)
        return math.ceil(stack / (choice.threads * choice.blocks)) * (rows**3 * _summand(choice) + extra)
    if way == "tiles":
        assert isinstance(head, Product)
        tiles = math.ceil(_size(head.m, capacity) / TILE) * math.ceil(_size(head.n, capacity) / TILE)
        panels = math.ceil(summands / DEPTH)
        panel = value("L2") + 2 * value("bar.sync") + DEPTH * value("shared") / 2
        return math.ceil(tiles / choice.blocks) * (panels * panel + extra)
    rounds = math.ceil(results / (choice.threads * choice.blocks))
    passes = 2 if isinstance(head, Nest) and head.equation.reducer == "logsumexp" else 1
    return rounds * (passes * summands * _summand(choice) * (summands > 1) + extra)


def _rate(group: Group, way: str, plan: Plan, choice: Choice) -> float:
    """µs of all instructions on the multiprocessors that have any."""
    if way == "matrices":
        results, rows = matrices_of(group.head, plan.capacity)
        summands = rows**3
    else:
        results, summands = elements_of(group.head, plan.capacity), summands_of(group.head, plan.capacity)
    work = results * summands * value("instructions of a summand")
    busy = min(choice.processors, math.ceil(results / choice.threads))
    return _cycles(work / (busy * value("lanes of a processor")))


def _multiplying(p: Product, plan: Plan) -> float:
    m, n, k = (_size(e, plan.capacity) for e in (p.m, p.n, p.k))
    return 2 * m * n * k / value("products")


def _bytes(kernel: Kernel, plan: Plan, itemsize: int) -> int:
    """Of its result and of every buffer that it reads, once each."""
    if isinstance(kernel, Product):
        buffers = [kernel.a.buffer, kernel.b.buffer, kernel.out]
    elif isinstance(kernel, Nest):
        read = {id(r.node): plan.buffers[r.node] for r in reads_of(kernel.equation) if r.node in plan.buffers}
        buffers = [*read.values(), kernel.out]
    else:
        return 0
    return sum(max(b.size.at(plan.capacity), 1) for b in buffers) * itemsize


def _cost(kernel: Kernel) -> int:
    return max(1, cost(kernel.equation.body)) if isinstance(kernel, Nest) else 1


def _size(extent: int | str, capacity: Mapping[str, int]) -> int:
    return extent if isinstance(extent, int) else capacity[extent]


def _summand(choice: Choice) -> float:
    return value("summand in shared memory" if choice.tier == "A" else "summand")


def _load(choice: Choice) -> float:
    return value("shared" if choice.tier == "A" else "L2")


def _begin(choice: Choice) -> float:
    """µs that a stage costs before its first instruction."""
    if choice.tier == "A":
        return _cycles(value("bar.sync"))
    return value("grid barrier" if choice.tier == "B" else "graph node")


def _launches(choice: Choice, count: int) -> int:
    """Nodes of a step; of the one kernel of tiers A and B there is less than one a step."""
    return 0 if choice.tier in ("A", "B") else count


def _transfer(size: int, choice: Choice) -> float:
    """µs of so many bytes, which in tier A lie in the shared memory."""
    return 0.0 if choice.tier == "A" else size / value("memory") * 1e6


def _cycles(count: float) -> float:
    """µs of so many cycles."""
    return count / value("clock") * 1e6
