"""The programs that a model trains and evaluates with, made when they are first needed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from graphc.facade.batches import whole
from graphc.facade.core import Core
from graphc.facade.deriving import captions
from graphc.facade.lookup import declared, remembered
from graphc.facade.pipeline import Differentiated
from graphc.facade.programs import (
    Compiled,
    Compiling,
    Lowered,
    TrainingGraph,
    evaluation_text,
    obtain,
    training_text,
)
from graphc.ir.node import Node
from graphc.ir.walk import free_extents
from graphc.lower.layout import Count
from graphc.lower.lengths import Lengths, has_rows, row_extents
from graphc.lower.plan import PlanOptions
from graphc.optim import AnyRule, Groups
from graphc.optim.schedules import Schedule
from graphc.rewrite.weights import depends_across_rows, depends_on, is_row_mean
from graphc.run.row_parts import RowParts
from graphc.run.training import Evaluator, Trainer

CHUNK = 256  # rows at a time in predict and evaluate
NEAR = 1 << 20  # bytes that lie in a cache of a core: to copy so many costs little


def rule_key(rule: AnyRule) -> tuple:
    """What of a rule decides its program: everything but the values."""
    if isinstance(rule, Groups):
        return tuple((names, part and rule_key(part)) for names, part in rule)
    schedules = tuple((n, v.expr) for n, v in rule.hyper.items() if isinstance(v, Schedule))
    given = rule.clip_norm is not None, rule.clip_value is not None, rule.decay is not None
    return rule.name, rule.text, rule.statements, tuple(rule.hyper), schedules, given


def training_program(
    model: Core,
    rule: AnyRule,
    capacity: Lengths,
    weighted: bool = False,
    in_order: bool = False,
    compiling: Compiling = None,
) -> Compiled:
    """The training program for an update rule and a batch size; with ``in_order`` for rows in the order of the data.
    ``compiling`` is called before it is compiled."""
    key = ("train", rule_key(rule), capacity, weighted, in_order, model.dtype, model.checks_bounds)
    return model.once(key, lambda: _training(model, rule, capacity, weighted, in_order, compiling))


def training_lowered(model: Core, rule: AnyRule, capacity: Lengths) -> Lowered:
    """Text and plan of that program, which is not compiled."""
    capacity = model.room(capacity) if isinstance(capacity, int) else capacity
    key, options = ("text", rule_key(rule), capacity, model.dtype), PlanOptions(model.dtype)
    return model.once(key, lambda: _lower(model, rule, capacity, False, False, options))


def trained_by(rule: AnyRule, derived: Differentiated) -> Differentiated:
    """Without the gradients of parameters that stay as they are."""
    moving = {w: g for w, g in derived.gradients.items() if rule.of(str(w.name)) is not None}
    return replace(derived, gradients=moving)


def _lower(
    model: Core, rule: AnyRule, capacity: Lengths, weighted: bool, in_order: bool, options: PlanOptions
) -> Lowered:
    weights = model.weight_leaf if weighted else None
    derived = trained_by(rule, model.differentiated(weighted))
    lines = captions(model)
    graph = TrainingGraph(derived, model.kept_leaves, model.metric_names, lines, lines.names, weights)
    return training_text(model.name, graph, rule, capacity, options, in_order)


def _training(
    model: Core, rule: AnyRule, capacity: Lengths, weighted: bool, in_order: bool, compiling: Compiling
) -> Compiled:
    weights, dtype = model.weight_leaf if weighted else None, model.dtype
    lower = lambda apart=False: _lower(model, rule, capacity, weighted, in_order, PlanOptions(dtype, apart=apart))
    others = [*model.kept_leaves, *([weights] if weights else [])]
    schedules = [(n, v.text) for n, v in rule.hyper.items() if isinstance(v, Schedule)]
    options = "train", rule_key(rule), schedules, capacity, weighted, in_order, dtype, model.name, model.metric_names
    found = declared(model.raw_roots, others, *options, *_more(model))
    return _of_model(model, obtain(found, model.name, dtype, lower, model.checks_bounds, compiling))


def _more(model: Core) -> list[str]:
    """What else shapes a program, where it is asked for."""
    return ["check_bounds"] if model.checks_bounds else []


def _of_model(model: Core, compiled: Compiled) -> Compiled:
    if model.subnormals:
        compiled.program.subnormals = True
    return compiled


def trainer(
    model: Core, rule: AnyRule, capacity: Lengths, weighted: bool, in_order: bool, compiling: Compiling = None
) -> Trainer:
    """The training program with its buffers; ``in_order`` when no run shuffles the rows."""
    in_order = in_order and _worth_no_copy(model, capacity)
    compiled = model.last_compiled = training_program(model, rule, capacity, weighted, in_order, compiling)
    model.last_curvature = None
    model.reads, model.nan_propagating = (compiled.facts.inputs, compiled.constants), compiled.facts.nan_propagating
    return model.once(("trainer", id(compiled)), lambda: _trainer(model, compiled, capacity))


def _worth_no_copy(model: Core, capacity: Lengths) -> bool:
    """Whether the rows of a batch are so many bytes that a program of its own is worth not copying them."""
    if not isinstance(capacity, int):
        return False
    widths = [Count.of(leaf.shape[1:]).at({}) for leaf in model.training_inputs if has_rows(leaf)]
    return capacity * sum(widths) * np.dtype(model.dtype).itemsize >= NEAR


def _trainer(model: Core, compiled: Compiled, capacity: Lengths) -> Trainer:
    facts = compiled.facts
    metrics = len(model.metric_names)
    return Trainer(compiled.program, facts.sizes, model.dtype, capacity, metrics, facts.seconds_per_step)


def evaluator(
    model: Core, outputs: tuple[str, ...], scalars: tuple[str, ...], rows: Lengths
) -> tuple[Compiled, Evaluator]:
    """The program that evaluates some roots for a number of rows."""
    capacity = chunk(model, (*outputs, *scalars), rows)
    key = ("evaluate", outputs, scalars, capacity, model.dtype, model.checks_bounds)
    return model.once(key, lambda: _evaluation(model, outputs, scalars, capacity))


def _evaluation(
    model: Core, outputs: tuple[str, ...], scalars: tuple[str, ...], capacity: Lengths
) -> tuple[Compiled, Evaluator]:
    wanted = (*outputs, *scalars)
    names = [n.replace("output:", "y_") for n in outputs]
    dtype = model.dtype

    def lower(apart: bool = False) -> Lowered:
        roots = {n.replace("output:", "y_"): model.graph.roots[n] for n in wanted}
        options = PlanOptions(dtype, apart=apart)
        return evaluation_text(model.name, roots, model.kept_leaves, names, scalars, capacity, options)

    options = "evaluate", wanted, capacity, dtype, model.name
    found = declared(model.raw_roots, model.kept_leaves, *options, *_more(model))
    compiled = _of_model(model, obtain(found, model.name, dtype, lower, model.checks_bounds))
    parts = _parts(model, compiled, outputs, capacity)
    return compiled, Evaluator(compiled.program, compiled.facts.sizes, dtype, len(scalars), parts)


def _parts(model: Core, compiled: Compiled, outputs: Sequence[str], capacity: Lengths) -> RowParts | None:
    """How rows may be divided: where they are on first axes alone."""
    free, shapes = min(row_extents(compiled.facts.inputs), default="n"), [model.raw_roots[n].shape for n in outputs]
    inputs = [leaf.shape for leaf in compiled.facts.inputs]
    if capacity != CHUNK or any(free in shape[1:] for shape in [*inputs, *shapes]):
        return None
    has_rows = lambda shape: shape[:1] == (free,)
    return RowParts([*map(has_rows, inputs)], [*map(has_rows, shapes)], CHUNK, compiled.facts.seconds_per_step)


def chunk(model: Core, names: tuple[str, ...], rows: Lengths) -> Lengths:
    """Rows at a time: a fixed chunk where rows are independent, else all of them at once, as of several extents."""

    def ask() -> bool:
        roots = {n: model.graph.roots[n] for n in names}
        return _rows_are_independent(roots, min(free_extents(roots.values()), default="n"))

    if not isinstance(rows, int):
        return whole(rows, CHUNK)
    asked = "rows are independent", names
    independent = model.once(asked, lambda: remembered(declared(model.raw_roots, [], *asked), ask))
    return CHUNK if independent else whole(rows, CHUNK)


def _rows_are_independent(roots: Mapping[str, Node], free: str) -> bool:
    """Outputs have their rows or do not depend on them; scalars are averaged over the chunks."""
    outputs = [r for n, r in roots.items() if n.startswith("output:")]
    whole = any(free not in r.shape and depends_on(r, free) for r in outputs)
    scalars = [r for n, r in roots.items() if not n.startswith("output:")]
    return not whole and not depends_across_rows(outputs, free) and all(is_row_mean(r, free) for r in scalars)
