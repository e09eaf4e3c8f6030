"""Programs of a model, made when they are first needed: training, evaluation, compiled functions."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import field, replace
from functools import cached_property

from numpy.typing import NDArray

from graphc.declare.origin import source_text
from graphc.derive.blocked_gradients import Blocked, blocked
from graphc.emit.bounds import bounded_step, without_table
from graphc.emit.cpu import Program as Text
from graphc.emit.cpu import evaluation_program, function_program, size_of_constants
from graphc.emit.definite_assignment import unassigned
from graphc.emit.row_blocks import partial_size
from graphc.emit.training import training_program
from graphc.errors import REPORT, CompileError, NonDifferentiableError
from graphc.facade.lookup import Constants, Declared, Facts, recall, remember
from graphc.facade.pipeline import Differentiated
from graphc.ir.node import Leaf, Node
from graphc.ir.text import node_name
from graphc.ir.walk import leaves as leaves_of
from graphc.lower.kernels import work_of
from graphc.lower.layout import Buffer, Count
from graphc.lower.lengths import Lengths, most
from graphc.lower.nan_propagation import propagating
from graphc.lower.plan import Places, Plan, PlanOptions, make_plan
from graphc.lower.training import PARTS, StepPlan, check_sizes, plan_step, rows_of_block
from graphc.native import cache
from graphc.native.build import Compiling, Program, build, find
from graphc.native.gc_pause import at_rest
from graphc.optim.groups import AnyRule
from graphc.records import record
from graphc.rewrite.weights import is_row_mean, total_weight

OPERATIONS = 20e9  # a second: a rough guess, which measuring replaces


@record
class Lowered:
    """The text of a program and its plan."""

    text: Text
    step: StepPlan


@record
class Compiled:
    """A program ready to run. Its text and plan are made anew when they are asked for: a program found in the cache by
    its declaration was not derived in this process. ``lower(apart=True)`` shares no memory between buffers; ``key``
    is that of its verdict."""

    facts: Facts
    program: Program
    constants: NDArray
    lower: Callable[..., Lowered]
    key: str = ""

    @cached_property
    def lowered(self) -> Lowered:
        """Text and plan."""
        return self.lower()

    @property
    def text(self) -> Text:
        """The text."""
        return self.lowered.text

    @property
    def step(self) -> StepPlan:
        """The plan."""
        return self.lowered.step


def obtain(
    found: Declared,
    name: str,
    dtype: str,
    lower: Callable[..., Lowered],
    check_bounds: bool = False,
    compiling: Compiling = None,
) -> Compiled:
    """The program of a declaration: found in the cache by the declaration, else lowered and built; ``compiling`` is
    called before it is compiled."""
    lower = _bounded(lower) if check_bounds else lower
    facts = recall(found)
    program = find(facts.machine_code, {facts.entry: facts.signature}, name=name) if facts else None
    lowered = None
    if facts is None or program is None:
        with at_rest():
            lowered = lower()
            facts, program = facts_of(lowered), build_text(lowered.text, compiling)
        remember(found, facts)
    key = verdict_key(found, facts.machine_code)
    compiled = Compiled(facts, program, facts.constants.packed(dtype), lower, key)
    if lowered is not None:
        compiled.lowered = lowered
    if check_bounds:
        program.told = lambda: compiled.text
    return compiled


def _bounded(lower: Callable[..., Lowered]) -> Callable[..., Lowered]:
    """The same with a text whose reads and writes are checked; not one whose buffers share no memory."""

    def bounded(apart: bool = False) -> Lowered:
        found = lower(apart)
        return found if apart else replace(found, text=bounded_step(found.text, found.step))

    return bounded


def verdict_key(found: Declared, machine_code: str) -> str:
    """What the verdict on a program is kept under: what was declared, and the machine code."""
    return f"{found.key[:32]}{machine_code[:32]}"


def expected_seconds(step: StepPlan) -> float:
    """What a step of one thread is expected to take before any was made."""
    capacity = step.capacities
    blocks = max(1, step.whole_batch // step.capacity)
    return 1e-6 + blocks * sum(work_of(k, capacity) for k in step.plan.kernels) / OPERATIONS


def facts_of(lowered: Lowered) -> Facts:
    """What of a text and a plan is needed to run the program."""
    text, step = lowered.text, lowered.step
    capacity = step.capacities
    return Facts(
        machine_code=cache.key_of(text.text, {text.entry: text.signature}),
        entry=text.entry,
        signature=text.signature,
        inputs=tuple(i.leaf for i in step.inputs),
        constants=constants_of(step.constants, text),
        sizes={
            "parameters": max(step.layout.total, 1),
            "arena": step.plan.arena.at(capacity),
            "integers": step.integer_arena.at(capacity),
            "partials": PARTS * partial_size(step) if step.whole_batch else 0,
        },
        seconds_per_step=expected_seconds(step),
        nan_propagating=tuple(propagating(step)),
    )


@record(frozen=True)
class TrainingGraph:
    """What a training program computes: loss, gradients, metrics, states; ``params`` in the order they are stored,
    ``captions`` the formulas of equations, ``shown`` the names that they give, ``weights`` the input of sample weights
    when there are any."""

    derived: Differentiated
    params: Sequence[Leaf]
    metrics: Sequence[str] = ()
    captions: Mapping[Node, str] = field(default_factory=dict)
    shown: Mapping[Node, str] = field(default_factory=dict)
    weights: Leaf | None = None

    @property
    def roots(self) -> dict[str, Node]:
        """What is computed, in the order it is ready: the last layer's gradient is the first."""
        derived = self.derived
        found: dict[str, Node] = {"loss": derived.loss} | {m: derived.roots[m] for m in self.metrics}
        if self.weights is not None:
            found["weight"] = total_weight(self.weights)
        states = [f"state:{leaf.name}" for leaf in self.params if leaf.kind == "state"]
        found |= {state: derived.roots[state] for state in states}
        return found | {self.names[leaf]: derived.gradients[leaf] for leaf in reversed(derived.gradients)}

    @property
    def names(self) -> dict[Leaf, str]:
        """The names of the gradients."""
        return {leaf: f"d{leaf.name}" for leaf in self.derived.gradients}

    def adds_up(self, rows: str) -> bool:
        """Whether what it computes for a batch follows from the same for its parts: loss and metrics are means of
        those of the parts, weighted by their rows, and nothing is counted by weights or carried from step to step."""
        if self.weights is not None or any(leaf.kind == "state" for leaf in self.params):
            return False
        return all(is_row_mean(n, rows) for n in (self.derived.loss, *(self.derived.roots[m] for m in self.metrics)))


def training_text(
    name: str, graph: TrainingGraph, rule: AnyRule, capacity: Lengths, options: PlanOptions, in_order: bool = False
) -> Lowered:
    """The text and the plan of a whole training run; with ``in_order`` rows keep the order of the data, and blocks of
    them are read where they lie."""
    step = training_step(graph, capacity, replace(options, by_rows=True, tensors=True, passes=True))
    block = rows_of_block(step, options.dtype)
    if block and graph.adds_up(str(step.batch)):
        step = training_step(graph, block, replace(options, tensors=True, passes=True), in_order)
        step.whole_batch = most(capacity)
    text = training_program(name, step, rule, options.dtype, list(graph.metrics), graph.captions)
    return Lowered(text, step)


def training_step(
    graph: TrainingGraph, capacity: Lengths, options: PlanOptions, in_order: bool = False
) -> StepPlan:
    """The plan of a training step, for any target."""
    read = {} if in_order else None
    return plan_step(graph.roots, graph.params, capacity, options, graph.names, graph.shown, graph.derived.random, read)


def evaluation_text(
    name: str,
    roots: Mapping[str, Node],
    params: Sequence[Leaf],
    outputs: Sequence[str],
    scalars: Sequence[str],
    capacity: Lengths,
    options: PlanOptions,
) -> Lowered:
    """The program that evaluates outputs and scalar roots over any number of rows."""
    pointers = {root: f"{root}_out" for root in outputs}
    in_order = pointers if isinstance(capacity, int) else None
    step = plan_step(roots, params, capacity, replace(options, tensors=True, passes=True), in_order=in_order)
    return Lowered(evaluation_program(name, step, options.dtype, pointers, scalars), step)


def build_text(text: Text, compiling: Compiling = None) -> Program:
    """The compiled program of a text, from the cache where it is there.

    Raises
    ------
    CompileError
        When the text reads a name that is not assigned on every path: a defect of graphc.
    """
    found = unassigned(without_table(text.text))
    if found:
        raise CompileError(f"internal defect: the text of the program {text.name!r}: {found[0]}\n  hint: {REPORT}")
    return build(text.text, {text.entry: text.signature}, name=text.name, compiling=compiling)


def constants_of(buffers: Sequence[Buffer], text: Text | None = None) -> Constants:
    """The constant arrays of a plan, and the numbers that its text leaves open."""
    arrays = tuple((b.node, b.offset.at({})) for b in buffers if isinstance(b.node, Leaf))
    return Constants(arrays, size_of_constants(buffers), text.numbers if text else ())


def check_differentiable(loss: Node, params: Sequence[Leaf]) -> list[str]:
    """Refuse a loss to which no gradient flows from a parameter; notes of where one goes another way only.

    Raises
    ------
    NonDifferentiableError
        Naming the operation, its line and the parameters behind it.
    """
    every = blocked(loss, params)
    found = next((b for b in every if b.lost), None)
    if found is None:
        return [_note(b) for b in every]
    origin = found.node.origin
    where = f"\n  at {origin}:  {source_text(origin)}" if origin else ""
    behind = ", ".join(node_name(p) for p in found.lost[:4])
    raise NonDifferentiableError(
        f"{found.what} has zero gradient everywhere it has one, and it lies between the loss and {behind}{where}"
        f"\n  hint: {_suggestion(found.what)}"
    )


def _note(found: Blocked) -> str:
    origin, behind = found.node.origin, ", ".join(node_name(p) for p in found.behind[:4])
    where = f" ({origin})" if origin else ""
    return f"{found.what}{where} has zero gradient: the gradient of {behind} flows around it only"


def _suggestion(what: str) -> str:
    if what in ("<", "<=", "equal"):
        return "choose with gc.where(condition, a, b), or use gc.stop_gradient(condition) as a constant weight"
    if what == "argmax":
        return "train on gc.losses.cross_entropy and keep accuracy as a metric, or use gc.stop_gradient"
    straight = f"x + gc.stop_gradient({what}(x) - x)"
    return f"use gc.stop_gradient({what}(x)) if no gradient is meant, {straight} to pass it straight through"


@record
class FunctionText:
    """A compiled function before it is built: text, plan, and the order of its arguments."""

    text: Text
    plan: Plan
    inputs: list[tuple[Leaf, Buffer]]
    outputs: list[Buffer]
    sizes: list[str]
    constants: list[Buffer]


def function_text(
    name: str, roots: Sequence[Node], arguments: Sequence[Leaf], options: PlanOptions
) -> FunctionText:
    """Text of a function from ``arguments`` (in this order, inputs and parameters alike) to ``roots``."""
    dtype = options.dtype
    used = leaves_of(roots)
    taken = list(arguments)
    check_sizes(roots, taken)
    inputs = [(leaf, Buffer(f"x{t}_{leaf.name}", f"x{t}_{leaf.name}", leaf.shape, integer=leaf.dtype == "int"))
              for t, leaf in enumerate(taken)]  # fmt: skip
    constants, offset = [], 0
    for leaf in used:
        if leaf.kind == "constant":
            constants.append(Buffer(f"K_{len(constants)}", "K", leaf.shape, Count((((), offset),)), node=leaf))
            offset += -(-Count.of(leaf.shape).at({}) // 16) * 16
    outputs = [Buffer(f"y{t}_out", f"y{t}_out", root.shape) for t, root in enumerate(roots)]
    places = dict(inputs) | {b.node: b for b in constants if isinstance(b.node, Leaf)}
    named = {f"y{t}": root for t, root in enumerate(roots)}
    ends = {f"y{t}": b for t, b in enumerate(outputs)}
    plan = make_plan(named, Places(places, ends), replace(options, tensors=True, passes=True))
    _number_buffers(plan)
    sizes = sorted({e for leaf in taken for e in leaf.shape if isinstance(e, str)})
    pointers = [(b.name, "int64*" if b.integer else f"{dtype}*") for _, b in inputs]
    pointers += [(b.name, f"{dtype}*") for b in outputs]
    text = function_program(name, plan, dtype, pointers, sizes, constants)
    return FunctionText(text, plan, inputs, outputs, sizes, constants)


def _number_buffers(plan: Plan) -> None:
    """Names of their own for all arena buffers: users' names may clash with argument names."""
    for t, buffer in enumerate([r.buffer for r in plan.requests] + plan.in_place):
        buffer.name = f"b{t}_{buffer.name}"
