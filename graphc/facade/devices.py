"""Targets: which trainer, sweep and evaluator belong to ``target="cpu"``, ``"cuda"`` or ``"auto"``."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from graphc.errors import DeviceError, MissingExtraError
from graphc.facade.checking import verify_device_evaluation
from graphc.facade.core import Core
from graphc.facade.deriving import captions
from graphc.facade.lookup import declared
from graphc.facade.options import Options
from graphc.facade.preparing import chunk, rule_key, trained_by, trainer
from graphc.facade.programs import (
    Compiling,
    TrainingGraph,
    constants_of,
    expected_seconds,
    training_step,
)
from graphc.lower.choice import MANY
from graphc.lower.device import Device
from graphc.lower.lengths import Lengths, most, shape_of
from graphc.lower.plan import PlanOptions
from graphc.lower.training import StepPlan, plan_step
from graphc.native.stack import cores
from graphc.optim import AnyRule, Groups, optimizer_named, rule_named
from graphc.run.data import Bound, lies_on
from graphc.run.sources import Rows
from graphc.run.sweep import Copies, Pace, Together
from graphc.run.training import Trainer

if TYPE_CHECKING:
    from graphc.cuda.arrays import DeviceArray
    from graphc.cuda.evaluation import CudaEvaluator
    from graphc.cuda.selection import Place
    from graphc.cuda.training import CudaTrainer
    from graphc.emit.cuda.plan import CudaPlan
    from graphc.emit.cuda.program import Training
    from graphc.facade.state import Parameters


def place_of(target: str, model: Core) -> Place | None:
    """The machine of a target, None for the CPU.

    Raises
    ------
    DeviceError, MissingExtraError
        When ``"cuda"`` is asked for and cannot be had.
    """
    if target == "cpu":
        return None
    if len(model.row_extents) > 1 and target == "auto":
        return None
    _refuse_parts(model)
    from graphc.cuda import selection

    if target == "auto" and not selection.is_there():
        return None
    return selection.here()


def _refuse_parts(model: Core) -> None:
    if len(model.row_extents) > 1:
        told = " and ".join(map(repr, model.row_extents))
        message = f"the data of {model.name} have the free extents {told}; CUDA programs take batches of one"
        raise DeviceError(f"{message}\n  hint: leave out target='cuda'")


def place_for(model: Core, options: Options, args: Sequence[Any], copies: int = 1) -> tuple[Place | None, list[str]]:
    """The machine of a training run, None for the CPU, and notes for the run.

    ``"auto"`` takes whichever is expected to make a step (of all copies) sooner; a GPU where that cannot be told, where
    data lie on it, and where a precision is asked for that only a GPU has.
    """
    place, values = place_of(options.target, model), _values(args)
    if place is None:
        return None, []
    rows = options.rows_a_step or max((int(v.shape[0]) for v in values if getattr(v, "shape", ())), default=0)
    if options.target != "auto" or options.precision != "float32" or not rows:
        return place, []
    if any(lies_on(v, place.machine) for v in values):
        return place, []

    def compare() -> tuple[str, float, float]:
        plan = _plan(model, options, options.rule, rows, options.sample_weight is not None, place, copies)
        side_by_side = -(-copies // place.machine.device.blocks) if plan.alone else copies
        cpu = expected_seconds(plan.step) * 1e6 * -(-copies // cores())
        return plan.choice.tier, plan.choice.microseconds * side_by_side, cpu

    weighted = options.sample_weight is not None
    key = "auto", id(place.machine), place.tier, rule_key(options.rule), rows, weighted, options.tolerance > 0, copies
    tier, gpu, cpu = model.once(key, compare)
    chosen, name = (place, "the GPU") if gpu <= cpu else (None, "the CPU")
    numbers = f"{gpu:.3g} µs a step expected on the GPU (tier {tier}), {cpu:.3g} on the CPU"
    return chosen, [f"target='auto' took {name}: {numbers}"]


def _values(args: Sequence[Any]) -> list[Any]:
    """The data, given one by one or in a mapping."""
    return [v for a in args for v in (a.values() if isinstance(a, Mapping) else [a])]


def trainer_for(
    model: Core,
    options: Options,
    rule: AnyRule,
    capacity: Lengths,
    weighted: bool,
    place: Place | None,
    copies: int = 1,
    compiling: Compiling = None,
) -> Trainer | CudaTrainer:
    """The training program of a machine (None: the CPU) with its buffers, for so many copies of the network;
    ``compiling`` is called before LLVM compiles it."""
    if place is None:
        return trainer(model, rule, capacity, weighted, not options.shuffle, compiling)
    return _cuda_trainer(model, options, rule, most(capacity), weighted, place, copies)


def _cuda_trainer(
    model: Core, options: Options, rule: AnyRule, capacity: int, weighted: bool, place: Place, copies: int
) -> CudaTrainer:
    from graphc.cuda.training import CudaTrainer

    key = ("cuda", id(place.machine), place.tier, rule_key(rule), capacity, weighted, model.dtype,
           options.tolerance > 0, options.precision, copies >= MANY)  # fmt: skip

    def make() -> tuple[CudaTrainer, StepPlan, NDArray]:
        plan = _plan(model, options, rule, capacity, weighted, place, copies)
        made, step = CudaTrainer(place.machine, plan, options.precision), plan.step
        return made, step, constants_of(step.constants).packed(model.dtype)

    found, step, constants = model.once(key, make)
    model.reads = [i.leaf for i in step.inputs], constants
    model.params.trainer = found
    return found


def _plan(
    model: Core, options: Options, rule: AnyRule, capacity: int, weighted: bool, place: Place, copies: int
) -> CudaPlan:
    """Tier and kernels of a training run on a machine."""
    from graphc.emit.cuda.plan import plan_cuda

    training = _training(model, rule, capacity, weighted, options.tolerance > 0)
    return plan_cuda(training, place.machine.device, place.tier, copies)


def cuda_plan(model: Core, optimizer: Any, batch_size: int) -> CudaPlan:
    """The plan of a training step for the machine in use, or for a GPU of the kind of an H100 where there is none."""
    from graphc.cuda import selection
    from graphc.emit.cuda.plan import plan_cuda

    _refuse_parts(model)
    found = optimizer_named(optimizer)
    rule = found.assigned(model.params.trained) if isinstance(found, Groups) else rule_named("source", found)
    place = selection.here() if selection.is_there() else None
    device = place.machine.device if place else Device()
    return plan_cuda(_training(model, rule, batch_size), device, place.tier if place else None)


def kernels_take(plan: CudaPlan) -> dict[str, tuple[int, int, float]]:
    """Registers, bytes of shared memory and occupancy of every kernel, by name; nothing where no compiler is there."""
    from graphc.cuda import libraries, selection
    from graphc.cuda.compiler import compile_program

    try:
        libraries.require_compiler()
    except MissingExtraError:
        return {}
    device = selection.here().machine.device if selection.is_there() else Device()
    image = compile_program(plan.program, "sm_{}{}".format(*device.capability))
    found = {}
    for kernel in plan.program.kernels:
        r = image[kernel.name].report
        found[kernel.name] = r.registers, r.shared, device.occupancy(kernel.threads, r.registers, r.shared)
    return found


def _training(model: Core, rule: AnyRule, capacity: int, weighted: bool = False, tolerance: bool = False) -> Training:
    """What a training program of the model is printed from."""
    from graphc.emit.cuda.memory_map import NORMS
    from graphc.emit.cuda.program import Training

    if isinstance(rule, Groups) and rule.needs_norm and len(rule.rules) > NORMS:
        message = f"{len(rule.rules)} rules for groups of parameters, where one asks for norm(g), are too many on CUDA"
        raise DeviceError(f"{message}\n  hint: give {NORMS} rules at most, or leave out target='cuda'")
    weights = model.weight_leaf if weighted else None
    derived, shown = trained_by(rule, model.differentiated(weighted)), captions(model)
    graph = TrainingGraph(derived, model.kept_leaves, model.metric_names, shown, shown.names, weights)
    step = training_step(graph, capacity, PlanOptions(model.dtype))
    return Training(model.name, step, rule, model.dtype, tuple(model.metric_names), shown, tolerance)


def on_device(params: Parameters, name: str) -> DeviceArray:
    """A parameter in the memory of the GPU, for other libraries: ``torch.from_dlpack(model.params.on_device("W0"))``.

    What the last ``fit(target="cuda")`` left there is copied there; a parameter that has changed since is sent.

    Raises
    ------
    UnknownNameError
        When there is no parameter of that name.
    DeviceError, MissingExtraError
        When there is no GPU that can be used.
    """
    from graphc.cuda import selection
    from graphc.cuda.residency import on_machine

    shape, start = params.place(name)
    machine = selection.here().machine
    there = params.held.on(machine)
    if there is None:
        return on_machine(machine, params[name], params.held.dtype).reshape(*shape)
    return there.part(start, math.prod(shape)).copied().reshape(*shape)


def together(trainer: Any, copies: Copies, shared: Sequence[Any], threads: int, pace: Pace | None) -> Any:
    """What trains the copies of a sweep; a machine takes no pace, which options refuse."""
    if isinstance(trainer, Trainer):
        return Together(trainer, copies, shared, threads, pace)
    from graphc.cuda.sweep import CudaTogether

    return CudaTogether(trainer, copies, shared)


def evaluate(
    model: Core, outputs: tuple[str, ...], scalars: tuple[str, ...], data: Bound, place: Place, verify: bool = True
) -> tuple[list[Any], NDArray]:
    """Outputs, and means of scalars, for parameters where they lie; what the model predicts stays on the machine when
    data came from it."""
    if verify:
        verify_there(model, outputs, scalars, data, place)
    lying = any(not isinstance(a, np.ndarray) for a in data.arrays.values())
    stay = lying and model.metrics.columns.keys().isdisjoint(outputs)
    held = model.params.held
    there = held.on(place.machine)
    evaluate_there = _evaluation(model, outputs, scalars, data.rows, place)
    found, means = evaluate_there(held.values if there is None else there, data, kept=not stay)
    return [x if stay else x.numpy() for x in found.values()], means


def _evaluation(
    model: Core, outputs: tuple[str, ...], scalars: tuple[str, ...], rows: int, place: Place
) -> Callable[..., tuple[dict[str, DeviceArray], NDArray]]:
    """The evaluation program for so many rows as a function of parameters and data."""
    evaluator, step, constants = _evaluator(model, outputs, scalars, rows, place)

    def call(parameters: Any, bound: Bound, **how: bool) -> tuple[dict[str, DeviceArray], NDArray]:
        shapes = {n.replace("output:", "y_"): shape_of(model.graph.roots[n].shape, bound.rows) for n in outputs}
        ordered = [bound.arrays[i.leaf] for i in step.inputs]
        return evaluator.run(parameters, ordered, constants, bound.rows, shapes, **how)

    return call


def verify_there(model: Core, outputs: tuple[str, ...], scalars: tuple[str, ...], data: Bound, place: Place) -> None:
    """Check the evaluation program of a machine on the first rows of the data, where it has not been checked before."""
    evaluate_there = _evaluation(model, outputs, scalars, data.rows, place)

    def on_host(parameters: NDArray, bound: Bound) -> list[NDArray]:
        found, means = evaluate_there(parameters, bound, fresh=True)
        return [*(x.numpy() for x in found.values()), *map(np.asarray, means)]

    text = _evaluator(model, outputs, scalars, data.rows, place)[0].launcher.plan.program.text
    key = declared(model.raw_roots, model.kept_leaves, text, *outputs, *scalars).key
    verify_device_evaluation(model, key, outputs, scalars, data, on_host)


def brought(data: Bound, dtype: str, place: Place) -> Bound | None:
    """Data in the memory of a machine, where some may lie already; None for what does not fit, or rows of a file."""
    from graphc.cuda.residency import fits, on_machine

    kinds = [np.dtype(np.int32 if leaf.dtype == "int" else dtype) for leaf in data.arrays]
    arrays = [*data.arrays.values()]
    if any(isinstance(x, Rows) for x in arrays) or not fits(place.machine, arrays, kinds):
        return None
    there = [on_machine(place.machine, x, kind).reshape(*x.shape) for x, kind in zip(arrays, kinds, strict=True)]
    return replace(data, arrays=dict(zip(data.arrays, there, strict=True)))


def _evaluator(
    model: Core, outputs: tuple[str, ...], scalars: tuple[str, ...], rows: int, place: Place
) -> tuple[CudaEvaluator, StepPlan, NDArray]:
    """The evaluation program of some roots for a number of rows, with its constants."""
    from graphc.cuda.evaluation import CudaEvaluator
    from graphc.emit.cuda.plan import plan_cuda_evaluation

    roots = {n: model.graph.roots[n] for n in (*outputs, *scalars)}
    capacity = most(chunk(model, (*outputs, *scalars), rows))

    def make() -> tuple[CudaEvaluator, StepPlan, NDArray]:
        safe = {n.replace("output:", "y_"): r for n, r in roots.items()}
        names = [n.replace("output:", "y_") for n in outputs]
        step = plan_step(safe, model.kept_leaves, capacity, PlanOptions(model.dtype))
        plan = plan_cuda_evaluation(model.name, step, model.dtype, names, scalars, place.machine.device)
        return CudaEvaluator(place.machine, plan), step, constants_of(step.constants).packed(model.dtype)

    key = ("cuda evaluate", id(place.machine), outputs, scalars, capacity, model.dtype)
    return model.once(key, make)
