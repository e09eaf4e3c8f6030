"""What a model shows of itself: derivation, stages, source, checks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from graphc.declare.origin import fail
from graphc.declare.tensor import Tensor
from graphc.emit.reference import evaluate
from graphc.errors import DomainError
from graphc.facade import curvature, devices
from graphc.facade.calculus import Function
from graphc.facade.chance import drawn
from graphc.facade.core import Core
from graphc.facade.deriving import captions, derivation
from graphc.facade.options import check_target
from graphc.facade.preparing import training_lowered
from graphc.facade.programs import Lowered
from graphc.ir.letters import close_name
from graphc.ir.node import Leaf, Node
from graphc.lower.lengths import lengths_of
from graphc.optim import Curvature, Groups, optimizer_named, rule_named
from graphc.primitives import philox
from graphc.records import record
from graphc.run.data import bind
from graphc.run.sampler import Sampler
from graphc.show import explain as pages

STAGES = ("formula", "gradient", "rewritten", "kernels", "plan", "source")
CHECK_STREAM = 3  # random directions of the check


def explain(model: Core, stage: str, target: str = "cpu") -> pages.Page:
    """What a stage made of the model, as a page that prints."""
    if stage not in STAGES:
        fail(DomainError, f"explain: there is no stage {stage!r}", close_name(stage, STAGES))
    check_target("explain", target, "float32")
    if target == "cuda" and stage in ("kernels", "plan"):
        return _device_page(model)
    if target == "cuda" and stage == "source":
        return pages.source_page(source(model, "sgd", 32, target))
    makers: dict[str, Callable[[], pages.Page]] = {
        "formula": lambda: pages.formula_page(derivation(model, ())),
        "gradient": lambda: pages.gradient_page(derivation(model, ()), model.notes),
        "rewritten": lambda: pages.rewritten_page(model.graph.applied),
        "kernels": lambda: pages.kernels_page(lowered(model).step.plan, model.dtype, captions(model)),
        "plan": lambda: pages.plan_page(lowered(model).step.plan, model.dtype, captions(model)),
        "source": lambda: pages.source_page(lowered(model).text.shown),
    }
    return makers[stage]()


def lowered(model: Core, optimizer: Any = "sgd", batch_size: int = 32) -> Lowered:
    """Text and plan of the training program of the last fit, or of one for these arguments."""
    if model.last_compiled is not None:
        return model.last_compiled.lowered
    found = optimizer_named(optimizer)
    rule = found.assigned(model.params.trained) if isinstance(found, Groups) else rule_named("source", found)
    return training_lowered(model, rule, batch_size)


def _device_page(model: Core) -> pages.Page:
    trainer = model.params.trainer
    found = trainer.plan if trainer else devices.cuda_plan(model, "sgd", 32)
    measured = ""
    if trainer and trainer.seconds_per_step:
        where = trainer.machine.device.name
        measured = f"measured on {where}, the last launch: {1e6 * trainer.seconds_per_step:.2f} µs a step"
    size = found.memory.size * np.dtype(model.dtype).itemsize
    taken = {name: pages.Taken(*numbers) for name, numbers in devices.kernels_take(found).items()}
    return pages.device_page(
        found.choice, found.step.plan, found.blas, size, found.expected, taken, measured, captions(model)
    )


def source(model: Core, optimizer: Any, batch_size: int, target: str = "cpu") -> str:
    """The text of the training program."""
    if target == "cuda":
        return devices.cuda_plan(model, optimizer, batch_size).program.text
    how = optimizer_named(optimizer) if optimizer != "sgd" else model.last_curvature
    if isinstance(how, Curvature):
        return curvature.source(model, how, batch_size)
    return lowered(model, optimizer, batch_size).text.shown


@record(frozen=True)
class GradientCheck:
    """The result of :meth:`graphc.Model.check`: one line a parameter, relative errors.

    ``differences`` compares the gradient along a random direction with central differences of the loss in float64,
    ``compiled`` the compiled gradient, in the precision of the model, with the NumPy interpreter in float64.
    """

    names: tuple[str, ...]
    differences: tuple[float, ...]
    compiled: tuple[float, ...]
    tolerance: float

    @property
    def passed(self) -> bool:
        """Whether every error is small."""
        return max(self.differences, default=0) < 1e-6 and max(self.compiled, default=0) < self.tolerance

    def __str__(self) -> str:
        rows = [
            (name, f"{a:.1e}", f"{b:.1e}")
            for name, a, b in zip(self.names, self.differences, self.compiled, strict=True)
        ]
        verdict = "gradients agree" if self.passed else "GRADIENTS DIFFER"
        head = ("parameter", "finite differences", "compiled code")
        return f"{pages.table(head, rows)}\n{verdict}"

    __repr__ = __str__


def check(model: Core, args: Sequence[Any], rows: int) -> GradientCheck:
    """Compare the gradient with finite differences and the compiled gradient with the interpreter."""
    model.params.initialize(0)
    data = bind(model.training_inputs, args, "float64", model.label_limits, "check")
    feed = {leaf: _first(leaf, array, rows) for leaf, array in data.arrays.items()}
    feed |= {leaf: model.params[str(leaf.name)].astype(np.float64) for leaf in model.kept_leaves}
    feed |= drawn(model, Sampler(), lengths_of(feed), np.float64)
    graph = model.differentiated()
    exact = dict(zip(model.param_leaves, evaluate(list(graph.gradients.values()), feed), strict=True))
    differences = [_difference_error(graph.loss, leaf, exact[leaf], feed) for leaf in model.param_leaves]
    compiled = _compiled_gradients(model, graph.gradients, feed)
    errors = [_relative(compiled[leaf], exact[leaf]) for leaf in model.param_leaves]
    tolerance = 1e-4 if model.dtype == "float32" else 1e-10
    names = tuple(str(leaf.name) for leaf in model.param_leaves)
    return GradientCheck(names, tuple(differences), tuple(errors), tolerance)


def _first(leaf: Leaf, array: NDArray, rows: int) -> NDArray:
    return array[:rows] if leaf.shape and isinstance(leaf.shape[0], str) else array


def _difference_error(loss: Node, leaf: Leaf, slope: NDArray, feed: dict[Leaf, NDArray]) -> float:
    """|<g, v> - (J(w + hv) - J(w - hv))/2h| relative to |g| |v|, for a random direction v."""
    v = philox.normal(0, CHECK_STREAM, str(leaf.name), slope.shape)
    h = 1e-5 / max(1.0, float(np.linalg.norm(v)))
    w = feed[leaf]
    high, low = (float(evaluate([loss], {**feed, leaf: w + s * h * v})[0]) for s in (1, -1))
    scale = float(np.linalg.norm(slope) * np.linalg.norm(v))
    return abs((high - low) / (2 * h) - float(np.sum(slope * v))) / max(scale, 1e-3)


def _compiled_gradients(model: Core, gradients: dict[Leaf, Node], feed: dict[Leaf, NDArray]) -> dict[Leaf, NDArray]:
    leaves = list(feed)
    f = Function([Tensor(g) for g in gradients.values()], [Tensor(leaf) for leaf in leaves], model.dtype, False)
    return dict(zip(gradients, f(*feed.values()), strict=True))


def _relative(a: NDArray, b: NDArray) -> float:
    return float(np.max(np.abs(a - b), initial=0.0) / max(float(np.max(np.abs(b), initial=0.0)), 1e-3))
