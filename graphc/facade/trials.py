"""What is run to check a program: a training step, an evaluation, each on few rows."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from graphc.emit.reference import evaluate, evaluate_in_parts
from graphc.emit.update import hyper_values
from graphc.facade import programs
from graphc.facade.agreement import PRECISIONS, QUICK, Difference, Feed, spreads_of
from graphc.facade.chance import drawn
from graphc.facade.core import Core
from graphc.facade.defect import evaluation_script, first_wrong_value, training_script
from graphc.facade.deriving import captions
from graphc.facade.lookup import Facts
from graphc.facade.state import Parameters, named_arrays
from graphc.facade.trial import Report, Trial
from graphc.facade.unrewritten import declared_gradients, unrewritten
from graphc.facade.updating import Updated
from graphc.facade.verifying import ROWS, few_rows, is_too_large, work_of_interpreter
from graphc.ir.affine import Extent
from graphc.ir.node import Leaf, Node
from graphc.lower.layout import Count
from graphc.lower.lengths import Lengths, each, has_rows, lengths_of, shape_of
from graphc.lower.lengths import most as most_of
from graphc.native.buffers import aligned
from graphc.native.build import Program
from graphc.optim import AnyRule, Groups, Rule
from graphc.run.data import Bound
from graphc.run.mirrored import Mirrored
from graphc.run.row_parts import assign
from graphc.run.sampler import Sampler
from graphc.run.training import Call, Evaluator, Moving, RuleState, Totals, Trainer

if TYPE_CHECKING:
    from graphc.cuda.training import CudaTrainer

WHOLE = 2e7  # elements of a step that the interpreter computes for a whole batch: a few tenths of a second
COUNTED = (1.0, 2.0, 1.0, 3.0)  # weights of the rows of a trial: a weight of 2 is that row twice


def least_of(needed: Mapping[str, int]) -> int:
    """Rows that fixed places need, along whichever extent."""
    return max(needed.values(), default=1)


def _parameters(model: Core, values: Parameters | None = None) -> dict[Leaf, NDArray]:
    """The parameters at hand, or those of a copy."""
    views = named_arrays(values or model.params)
    return {leaf: views[str(leaf.name)] for leaf in model.kept_leaves}


def sizes_of(feed: Feed) -> dict[str, int]:
    """The run-time sizes of the free extents."""
    return {e: n for leaf, x in feed.items() for e, n in zip(leaf.shape, x.shape, strict=True) if isinstance(e, str)}


def flat_parameters(model: Core, feed: Feed, put: Callable[[NDArray, NDArray], None] = assign) -> NDArray:
    """The parameters of a feed as they lie behind a program's pointer; by all cores, or as ``put`` does it."""
    flat = aligned(model.params.held.size, model.dtype)
    for leaf, place in places_of(model).items():
        put(flat[place], feed[leaf].ravel())
    return flat


def places_of(model: Core) -> dict[Leaf, slice]:
    """Where each parameter and each state lies."""
    starts = {leaf: model.params.start(str(leaf.name)) for leaf in model.kept_leaves}
    return {leaf: slice(start, start + Count.of(leaf.shape).at({})) for leaf, start in starts.items()}


class TrainingTrial(Trial):
    """One step of a training program on the CPU: loss, metrics, gradients, and the update."""

    def __init__(
        self, model: Core, capacity: Lengths, rule: AnyRule, data: Bound, weighted: bool, params: Parameters | None
    ) -> None:
        self.model, self.weighted = model, weighted
        self.rule = rule.with_rate(1.0)  # it shows the gradient in the parameters, and seldom overflows
        self.trained = [leaf for leaf in model.param_leaves if rule.of(str(leaf.name)) is not None]
        self.least = least_of(model.rows_needed)
        self.feed = self.few(data, each(capacity, lambda n: min(max(ROWS, self.least), n)), params)
        self.precision = PRECISIONS[model.dtype]
        self.results = ["the loss", *(f"the metric {n}" for n in model.metric_names), *self.named_gradients()]
        self.results += [f"the state {leaf.name}" for leaf in model.updates]
        places = places_of(model)
        self.places = {leaf: places[leaf] for leaf in self.trained}
        self.states = {leaf: places[leaf] for leaf in model.updates}
        self.memory: tuple[NDArray, RuleState] | None = None

    def of(self, trainer: Any) -> TrainingTrial:
        """The trial of the program of a trainer."""
        self.trainer = trainer
        return self

    def rehearse(self) -> None:
        """What the check needs that no program is needed for."""
        if not is_too_large(self):
            nodes, given = self.declared(), self.given(self.feed)
            self.known = evaluate_in_parts(nodes, given, dtype=self.precision.dtype)
            self.memory = self._fresh(self.feed, np.copyto)  # by this thread alone
            self.memory[1].values.fill(0)  # touched now, not by the step

    def _fresh(self, feed: Feed, put: Callable[[NDArray, NDArray], None] = assign) -> tuple[NDArray, RuleState]:
        """Parameters as they lie behind a program's pointer, and states of 0."""
        flat = flat_parameters(self.model, feed, put)
        states = RuleState(aligned(len(self.rule.states) * flat.size, self.model.dtype))
        return flat, states

    def few(self, data: Bound, most: Lengths, params: Parameters | None) -> dict[Leaf, NDArray]:
        """Rows of the data with their weights, and the parameters."""
        model = self.model
        feed = fitted(few_rows(data.arrays, most), model.label_limits) | _parameters(model, params)
        feed |= drawn(model, Sampler(), lengths_of(feed), model.dtype)
        if self.weighted:
            feed[model.weight_leaf] = np.resize(np.array(COUNTED, model.dtype), most_of(lengths_of(feed)))
        return feed

    def named_gradients(self) -> list[str]:
        return [f"∂{self.model.loss_name}/∂{leaf.name}" for leaf in self.trained]

    def run(self, feed: Feed) -> list[NDArray | None]:
        scalars = self.step(self.trainer, self.model.reads[0], feed)
        states = [self.after.parameters[place].reshape(feed[leaf].shape) for leaf, place in self.states.items()]
        return [*scalars, *self.gradients(), *([None] * len(states) if self.bad else states)]

    def step(self, trainer: Trainer | CudaTrainer, order: Sequence[Leaf], feed: Feed) -> list[NDArray | None]:
        """One step from a feed; ``self.after`` is what it leaves. Returns loss and metrics, None when it was bad."""
        (flat, states), self.memory = self.memory if self.memory and feed is self.feed else self._fresh(feed), None
        rows = lengths_of(feed)
        self.after, call = Moving(Mirrored(flat), states, Sampler.over(rows), Totals()), Call(1)
        hyper = np.array([*hyper_values(self.rule).values, 0.0])
        arrays = [np.asarray(feed[leaf], order="C") for leaf in order]
        trainer.probe(self.after, [self.model.reads[1], hyper, *arrays], call, list(self.places.values()))
        self.bad = not len(call.epochs)  # NaN or infinity in the update, or the gradient, ends a step before its books
        return [None] * (1 + trainer.n_metrics) if self.bad else [np.asarray(x) for x in call.epochs[0]]

    def gradients(self) -> list[NDArray]:
        flat = self.trainer.gradients
        return [flat[place].reshape(self.feed[leaf].shape) for leaf, place in self.places.items()]

    # ------------------------------------------------------------------ what it is compared with
    def declared(self) -> list[Node]:
        return self.model.once(("declared", *self.trained), self._declared)

    def _declared(self) -> list[Node]:
        model, roots = self.model, self.model.training_roots
        loss, *gradients = declared_gradients(roots["loss"], self.trained)
        metrics, states = (unrewritten([roots[n] for n in names]) for names in (model.metric_names, model.state_roots))
        return [loss, *metrics, *gradients, *states]

    def rewritten(self) -> list[Node]:
        graph = self.model.differentiated(self.weighted)
        metrics, states = ([graph.roots[n] for n in ns] for ns in (self.model.metric_names, self.model.state_roots))
        return [graph.loss, *metrics, *(graph.gradients[leaf] for leaf in self.trained), *states]

    def given(self, feed: Feed) -> Feed:
        if not self.weighted:
            return feed
        times = feed[self.model.weight_leaf].astype(np.int64)
        return {leaf: np.repeat(x, times, axis=0) if has_rows(leaf) else x for leaf, x in feed.items()}

    def afterwards(self, feed: Feed) -> tuple[str, Difference] | None:
        """The first parameter or state that is not what the rule makes of the program's own gradient."""
        slopes = dict(zip(self.places, self.exact_gradients(feed), strict=True))
        rounding = dict(zip(self.places, self.rounding(feed), strict=True))
        left = Updated(self.after, self.places, self.bad, self.precision, len(self.results))
        told = (left.wrong(feed, rule, {x: slopes[x] for x in own}, rounding) for rule, own in self._parts())
        return next((found for found in told if found is not None), None)

    def _parts(self) -> list[tuple[Rule, list[Leaf]]]:
        """The rules, each with its parameters."""
        if not isinstance(self.rule, Groups):
            return [(self.rule, self.trained)]
        return [(part, [x for x in self.trained if x.name in names]) for names, part in self.rule if part is not None]

    def exact_gradients(self, feed: Feed) -> list[NDArray]:  # noqa: ARG002  others have to evaluate them
        """The gradients that the update began with."""
        return self.gradients()

    def rounding(self, feed: Feed) -> list[float]:  # noqa: ARG002
        """What rounding may change of the gradient of each parameter, from that of the program to the exact one."""
        return [0.0] * len(self.places)

    # ------------------------------------------------------------------ what a difference comes from
    def first_wrong(self, feed: Feed) -> Report | None:
        model, compiled = self.model, self.model.last_compiled
        if compiled is None:
            return None
        lowered = compiled.lower(apart=True)
        facts = programs.facts_of(lowered)
        program = programs.build_text(lowered.text)
        capacity = self.trainer.capacity
        trainer = Trainer(program, facts.sizes, model.dtype, capacity, len(model.metric_names))
        self.step(trainer, facts.inputs, feed)
        plan, sizes = lowered.step.plan, sizes_of(feed)
        return first_wrong_value(plan, trainer.arena, sizes, self.rewritten(), feed, self.captions())

    def captions(self) -> Mapping[Node, str]:
        return captions(self.model)

    def script(self, feed: Feed) -> Path | None:
        return training_script(self.model, self.rule, feed, self.trainer.capacity)


class DeviceTrial(TrainingTrial):
    """One step of a training program on a GPU: loss, metrics, and the parameters and states after it.

    The gradients stay where they are; those of the interpreter stand in for them, with what rounding may make of them.
    """

    def __init__(
        self,
        model: Core,
        trainer: CudaTrainer,
        rule: AnyRule,
        data: Bound,
        weighted: bool,
        params: Parameters | None,
        precision: str,
    ) -> None:
        super().__init__(model, trainer.capacity, rule, data, weighted, params)
        self.of(trainer)
        if precision != "float32":
            self.precision = PRECISIONS[precision]
        whole = self.few(data, trainer.capacity, params)
        if work_of_interpreter(super().rewritten(), whole) <= WHOLE:
            self.feed = whole  # blocks that do not wait for one another show when each has rows of its own

    def named_gradients(self) -> list[str]:
        return []

    def gradients(self) -> list[NDArray]:
        return []

    @property
    def between(self) -> slice:
        """Where the gradients stand among the results of a step: between metrics and states."""
        first = 1 + len(self.model.metric_names)
        return slice(first, first + len(self.trained))

    def declared(self) -> list[Node]:
        found = super().declared()
        return [*found[: self.between.start], *found[self.between.stop :]]

    def rewritten(self) -> list[Node]:
        found = super().rewritten()
        return [*found[: self.between.start], *found[self.between.stop :]]

    def exact_gradients(self, feed: Feed) -> list[NDArray]:
        return evaluate(super().rewritten()[self.between], feed)

    def rounding(self, feed: Feed) -> list[float]:
        spreads = spreads_of(super().rewritten()[self.between], feed, self.precision, QUICK)
        return [float(np.max(s, initial=0.0)) for s in spreads]

    def first_wrong(self, feed: Feed) -> Report | None:
        return None


class EvaluationTrial(Trial):
    """Outputs and scalars of an evaluation program."""

    def __init__(
        self, model: Core, compiled: Any, outputs: Sequence[str], scalars: Sequence[str], data: Bound
    ) -> None:
        self.model, self.compiled, self.outputs, self.scalars = model, compiled, outputs, scalars
        self.least = least_of(model.rows_needed)
        few = few_rows(data.arrays, each(data.lengths, lambda _: max(ROWS, self.least)))
        self.feed = fitted(few, model.label_limits) | _parameters(model)
        self.precision, self.wanted = PRECISIONS[model.dtype], [*outputs, *scalars]
        self.results = [n.replace("output:", "the output ") for n in outputs]
        self.results += ["the loss" if n == "loss" else f"the metric {n}" for n in scalars]

    def run(self, feed: Feed) -> list[NDArray]:
        return self.evaluate(self.compiled.program, self.compiled.facts, feed)[0]

    def evaluate(self, program: Program, facts: Facts, feed: Feed) -> tuple[list[NDArray], NDArray]:
        """The results, and the working memory, which held NaN before."""
        model, rows = self.model, lengths_of(feed)
        shapes = [shape_of(model.raw_roots[n].shape, rows) for n in self.outputs]
        found = [aligned(int(np.prod(shape)), model.dtype) for shape in shapes]
        arena = aligned(facts.sizes["arena"], model.dtype)
        arena[:] = np.nan
        ordered = [np.asarray(feed[leaf], order="C") for leaf in facts.inputs]
        constants = facts.constants.packed(model.dtype)
        evaluator = Evaluator(program, facts.sizes, model.dtype, len(self.scalars))
        values = evaluator.run(flat_parameters(model, feed), ordered, constants, rows, found, arena)
        shaped = [x[: int(np.prod(s))].reshape(s) for x, s in zip(found, shapes, strict=True)]
        return [*shaped, *map(np.asarray, values)], arena

    def declared(self) -> list[Node]:
        make = lambda: unrewritten([self.model.evaluation_roots[n] for n in self.wanted])
        return self.model.once(("declared", *self.wanted), make)

    def rewritten(self) -> list[Node]:
        return [self.model.graph.roots[n] for n in self.wanted]

    def first_wrong(self, feed: Feed) -> Report | None:
        lowered = self.compiled.lower(apart=True)
        _, arena = self.evaluate(programs.build_text(lowered.text), programs.facts_of(lowered), feed)
        return first_wrong_value(lowered.step.plan, arena, sizes_of(feed), self.rewritten(), feed)

    def script(self, feed: Feed) -> Path | None:
        return evaluation_script(self.model, feed, bool(self.outputs))


class DeviceEvaluationTrial(EvaluationTrial):
    """Outputs and scalars of an evaluation program on a GPU; ``call`` gives them for parameters and data."""

    def __init__(
        self,
        model: Core,
        outputs: Sequence[str],
        scalars: Sequence[str],
        data: Bound,
        call: Callable[[NDArray, Bound], list[NDArray]],
    ) -> None:
        super().__init__(model, None, outputs, scalars, data)
        self.call = call

    def run(self, feed: Feed) -> list[NDArray]:
        arrays = {leaf: np.asarray(x, order="C") for leaf, x in feed.items() if leaf.kind == "input"}
        return self.call(flat_parameters(self.model, feed), Bound(arrays, most_of(lengths_of(feed)), []))

    def first_wrong(self, feed: Feed) -> Report | None:  # noqa: ARG002
        return None


def fitted(feed: Feed, limits: Mapping[Leaf, Collection[Extent]]) -> dict[Leaf, NDArray]:
    """Labels that select from a free extent select from what is left of it, also when one more is taken away."""
    found, sizes = dict(feed), sizes_of(feed)
    for leaf in found.keys() & limits.keys():
        free = [sizes[e] for e in limits[leaf] if isinstance(e, str)]
        found[leaf] = found[leaf] % max(min(free) - 1, 1) if free else found[leaf]
    return found
