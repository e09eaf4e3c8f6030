"""Checks the text of CPU programs: what it reads was written in this step or is state, and lies in its own buffer.

    findings_of(training(..))        a list of sentences, empty for a program that is right
    with recording() as cases: ..    every program that is printed meanwhile

Programs run on whole iteration spaces (:mod:`tests.text_run`): training for full batches and a last that is shorter,
by one thread and by several, of several free extents every other with one short batch; evaluation for chunks likewise;
functions for several free extents.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

from graphc.emit import control
from graphc.emit.cpu import Program, evaluation_program, function_program, size_of_constants
from graphc.emit.definite_assignment import decided, unassigned
from graphc.emit.row_blocks import PARTIALS, partial_size
from graphc.emit.shared import expanded
from graphc.emit.training import training_program
from graphc.emit.update import hyper_values
from graphc.ir.node import Leaf
from graphc.lower.layout import Buffer, Count, root_of
from graphc.lower.plan import Plan
from graphc.lower.training import PARTS, StepPlan
from graphc.optim.rules import Rule
from graphc.run.index_limits import label_limits
from tests.text_memory import Region
from tests.text_run import Machine

LARGEST = 2**31  # index that a constant array may hold
LABELS = (-3, 1000)  # whole numbers that nobody uses as an index
TEAMS = ((1, 0), (2, 1), (3, 1))  # threads, and which of the lengths of the last batch


@dataclass(frozen=True)
class Run:
    """One call: the elements behind every pointer, the free extents, and the threads."""

    regions: Mapping[str, Region]
    scalars: Mapping[str, int] = field(default_factory=dict)
    team: int = 1


@dataclass(frozen=True)
class Case:
    """A program, and the calls that it is checked with; memory is made anew for each."""

    program: Program
    runs: Sequence[Callable[[], Run]]

    @property
    def quick(self) -> Case:
        """The same with one of the calls, which the text decides."""
        chosen = zlib.crc32(self.program.text.encode()) % len(self.runs)
        return Case(self.program, [self.runs[chosen]])


def findings_of(case: Case, text: str | None = None) -> list[str]:
    """What is wrong with a program; with ``text``, with that text instead of its own."""
    printed = case.program.text if text is None else text
    text = expanded(printed)
    found = dict.fromkeys([*unassigned(printed), *decided(text)])
    for make in case.runs:
        run = make()
        machine = Machine(text, case.program.entry, run.regions)
        machine.run(run.scalars, run.team)
        missing = [region.missing() for region in run.regions.values()]
        found |= dict.fromkeys([*machine.found.values(), *(m for m in missing if m)])
    return list(found)


@contextmanager
def recording() -> Iterator[list[Case]]:
    """All programs that are printed from now on, each text once."""
    cases: list[Case] = []
    seen: set[str] = set()

    def keep(case: Case) -> Program:
        if case.program.text not in seen:
            seen.add(case.program.text)
            cases.append(case)
        return case.program

    def train(name: str, step: StepPlan, rule: Rule, dtype: str, metrics: Sequence[str], *more: Any) -> Program:
        return keep(training(training_program(name, step, rule, dtype, metrics, *more), step, rule, metrics))

    def evaluate(name: str, step: StepPlan, dtype: str, outputs: Any, scalars: Sequence[str], *more: Any) -> Program:
        return keep(evaluation(evaluation_program(name, step, dtype, outputs, scalars, *more), step, outputs, scalars))

    def call(name: str, plan: Plan, dtype: str, pointers: Any, sizes: Any, constants: Any, *more: Any) -> Program:
        return keep(
            function(function_program(name, plan, dtype, pointers, sizes, constants, *more), plan, sizes, constants)
        )

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("graphc.facade.programs.training_program", train)
        patch.setattr("graphc.facade.programs.evaluation_program", evaluate)
        patch.setattr("graphc.facade.programs.function_program", call)
        yield cases


# ---------------------------------------------------------------- programs


def training(program: Program, step: StepPlan, rule: Rule, metrics: Sequence[str]) -> Case:
    """Two batches, the last shorter; without data two steps."""
    lengths = _lengths(step.capacity) if step.capacities else [0]

    def run(team: int, last: int, shuffle: bool) -> Run:
        rows = (step.whole_batch or step.capacity) + last
        regions = _shared(step, program, _along(step, rows, last)) | _own("PGSH", step, rule) | {
            "F": Region("F", control.F_SIZE + len(metrics), state=True),
            "R": Region("R", 3 * (1 + len(metrics)), state=True),
            "Q": Region("Q", 2, state=True),
        }  # fmt: skip
        if step.whole_batch:
            regions[PARTIALS] = Region(PARTIALS, PARTS * partial_size(step))
        words = regions["C"].values
        assert words is not None
        words[control.ROWS], words[control.STEPS], words[control.RECORD_STEPS] = 2 if step.extents else rows, 2, 1
        words[control.SHUFFLE] = shuffle
        return Run(regions, team=team)

    teams = TEAMS[:1] if step.whole_batch else TEAMS  # memory of a thread's own is not told apart here
    return Case(program, [lambda t=t, at=at: run(t, lengths[at % len(lengths)], t % 2 == 1) for t, at in teams])


def evaluation(program: Program, step: StepPlan, outputs: Mapping[str, str], scalars: Sequence[str]) -> Case:
    """Two chunks, the last shorter; one that is short where an output has rows of rows, which come all at once."""
    across = any(step.batch in step.plan.roots[root].shape[1:] for root in outputs)

    def run(last: int) -> Run:
        rows = (0 if across else step.capacity) + last if step.batch else 1
        along = {e: min(last, n) for e, n in step.extents} or _along(step, rows, last)
        regions = _shared(step, program, along) | _own("P", step)
        regions["F"] = Region("F", control.F_SIZE + len(scalars), state=True)
        for root, pointer in outputs.items():
            size = Count.of(step.plan.roots[root].shape).at(along)
            regions[pointer] = Region(pointer, size, result=True)
            if root in step.in_place:
                regions[pointer].walk(step.in_place[root].name)
        words = regions["C"].values
        assert words is not None
        words[control.ROWS] = rows
        return Run(regions)

    lengths = _lengths(step.capacity) if step.capacities else [0]
    return Case(program, [lambda last=last: run(last) for last in lengths])


def function(program: Program, plan: Plan, sizes: Sequence[str], constants: Sequence[Buffer]) -> Case:
    """Free extents of 1, and of so many rows that packing pays."""

    def run(n: int) -> Run:
        capacity = {name: n + t for t, name in enumerate(sizes)}
        buffers = _buffers(plan, constants)
        regions = {"A": _region("A", plan.arena.at(capacity), buffers, capacity), "K": _constants(constants, program)}
        regions["C"] = Region("C", max(len(sizes), 1), state=True, values=np.array([*capacity.values()] or [0]))
        leaves = {b.name: node for node, b in plan.buffers.items() if isinstance(node, Leaf)}
        for b in buffers:
            if b.region == b.name and b.name in leaves:
                regions[b.name] = _data(b.name, b.size.at(capacity), leaves[b.name], plan, capacity)
            elif b.region == b.name:
                regions[b.name] = Region(b.name, b.size.at(capacity), result=True)
        for name, kind in program.arguments:
            if name not in regions:  # an argument that nothing reads
                regions[name] = Region(name, 0, state=True, values=np.zeros(0, int) if "int" in kind else None)
        return Run(regions)

    return Case(program, [lambda n=n: run(n) for n in ((1, 37) if sizes else (1,))])


# ---------------------------------------------------------------- memory


def _lengths(capacity: int) -> list[int]:
    """Rows of a last batch: 1, and about half of a full one."""
    return sorted({1, (capacity + 1) // 2})


def _along(step: StepPlan, rows: int, last: int) -> dict[str, int]:
    """The rows of the data by free extent; every other of several has one batch, which is not full, and inner ones."""
    if not step.extents:
        return {step.batch: rows} if step.batch else {}
    short = lambda capacity: min(last, capacity)
    return {e: short(n) + (0 if t % 2 or e in step.inner else n) for t, (e, n) in enumerate(step.extents)}


def _buffers(plan: Plan, more: Iterable[Buffer] = ()) -> list[Buffer]:
    """Every buffer of a plan once."""
    found = [*plan.buffers.values(), *more, *(k.out for k in plan.kernels), *(r.buffer for r in plan.requests)]
    found += plan.in_place
    return list({id(b): b for b in found}.values())


def _region(name: str, size: int, buffers: Iterable[Buffer], capacity: Mapping[str, int], **options: bool) -> Region:
    region, found = Region(name, size, **options), [b for b in buffers if b.region == name]
    for b in sorted(found, key=lambda b: b.whole is not None):
        number = region.places[root_of(b).name].number if b.whole is not None else 0
        if b.moves:
            region.moving[b.name] = number, b.size.at(capacity)
        else:
            region.add(b.name, b.offset.at(capacity), b.size.at(capacity), number)
    return region


def _own(names: str, step: StepPlan, rule: Rule | None = None) -> dict[str, Region]:
    """Parameters, gradients, states, hyper-parameters."""
    total = step.layout.total
    found = {name: _region(name, total, _buffers(step.plan), {}, state=name == "P") for name in "PG"}
    for region in found.values():
        region.bare = total
    found["G"].pad()
    if rule is not None:
        found["S"] = Region("S", len(rule.states) * total, state=True)
        found["H"] = Region("H", len(hyper_values(rule).names), state=True)
    return {name: found[name] for name in names}


def _shared(step: StepPlan, program: Program, rows: Mapping[str, int]) -> dict[str, Region]:
    """Arena, order of the rows and labels, constants, control words, data."""
    capacity = step.capacities
    inputs = [i.buffer for i in step.inputs if i.batched and not i.in_place]
    buffers = _buffers(step.plan, inputs)
    found = {"A": _region("A", step.plan.arena.at(capacity), buffers, capacity)}
    found["K"] = _constants(step.constants, program)
    size = step.integer_arena.at(capacity)
    found["L"] = _region("L", size, buffers, capacity)
    order = 0 if step.extents else min(step.capacity, size)
    found["L"].values, found["L"].bare = np.zeros(size, np.int64), order
    words = np.zeros(control.size_of(len(step.extents)), np.int64)
    words[control.slot(0, control.ROWS_OF) :: control.SLOTS] = [rows[e] for e, _ in step.extents]
    found["C"] = Region("C", words.size, state=True, values=words)
    fewest = {e: (n - 1) % capacity[e] + 1 for e, n in rows.items()}  # rows of the last batch
    for i in step.inputs:
        count = math.prod(rows[e] for e in i.leaf.shape if isinstance(e, str)) if i.batched else 1
        found[i.pointer] = _data(i.pointer, count * i.row, i.leaf, step.plan, fewest)
        if i.in_place:
            found[i.pointer].walk(i.buffer.name)
    return found


def _data(name: str, size: int, leaf: Leaf, plan: Plan, sizes: Mapping[str, int]) -> Region:
    """Data of the user: labels are all that the host lets through, the extremes most of all."""
    values = None
    if leaf.dtype == "int":
        extents = label_limits(plan.roots.values()).get(leaf, set()) | ({leaf.bound} - {None})
        low, high = (0, min(sizes[e] if isinstance(e, str) else e for e in extents)) if extents else LABELS
        rng = np.random.default_rng(size)
        values = rng.choice([low, high - 1, *rng.integers(low, high, 2)], size)
    return Region(name, size, state=True, values=values)


def _constants(buffers: Sequence[Buffer], program: Program) -> Region:
    """Constant arrays, whose whole numbers may serve as an index, and the numbers of formulas behind them."""
    size = size_of_constants(buffers) + len(program.numbers)
    region, known = _region("K", size, buffers, {}, state=True), np.zeros(size)
    for b in buffers:
        assert isinstance(b.node, Leaf)
        known[b.offset.at({}) : b.offset.at({}) + b.size.at({})] = np.ravel(b.node.value)
    region.known = np.where(np.abs(known) < LARGEST, known, 0).astype(np.int64)
    region.bare = size if program.numbers else None
    return region
