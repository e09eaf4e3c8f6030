"""What a model shows of itself: derivation, stages, source, checks."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from graphc.declare.origin import fail
from graphc.declare.tensor import Tensor
from graphc.emit.reference import evaluate
from graphc.errors import REPORT, DefectWarning, DomainError, UnknownNameError
from graphc.facade import devices
from graphc.facade.calculus import Function
from graphc.facade.pipeline import Differentiated, Graph, differentiate
from graphc.ir.letters import close_name
from graphc.ir.node import Leaf, Node
from graphc.ir.text import equation_text
from graphc.optim import optimizer_named
from graphc.run import random
from graphc.run.data import bind
from graphc.show import explain as pages
from graphc.show.derivation import Derivation
from graphc.show.derivation import derivation as show_derivation

if TYPE_CHECKING:
    from graphc.facade.core import Core
    from graphc.facade.programs import Compiled

STAGES = ("formula", "gradient", "rewritten", "kernels", "plan", "source")
CHECK_STREAM = 3  # random directions of the check


def derivation(model: Core, wrt: Sequence[Tensor | str]) -> Derivation:
    """The chain rule for some parameters, given as tensors or by name, or for all of them."""
    leaves = [_leaf(model, w) for w in wrt] or None
    shown_derivation = show_derivation(*_derived(model), leaves, model.loss_name)
    shown_derivation.parameters = model.params
    return shown_derivation


def _derived(model: Core) -> tuple[Graph, Differentiated]:
    """The graph that a derivation shows, and its derivatives."""
    graph = model.graph
    shown = Graph({n: r for n, r in graph.roots.items() if n not in model.metric_names}, graph.new, graph.applied)
    make = lambda: differentiate(shown, "loss", model.param_leaves, deltas=True)
    return shown, model.once("derivation", make)


def _leaf(model: Core, wanted: Tensor | str) -> Leaf:
    by_name = {str(leaf.name): leaf for leaf in model.param_leaves}
    if isinstance(wanted, Tensor) and wanted.node in model.param_leaves:
        assert isinstance(wanted.node, Leaf)
        return wanted.node
    name = wanted if isinstance(wanted, str) else str(getattr(wanted, "name", wanted))
    if not isinstance(wanted, str) or name not in by_name:
        fail(UnknownNameError, f"derive: {name!r} is no parameter of {model.name}", close_name(name, by_name))
    return by_name[name]


def captions(model: Core) -> dict[Node, str]:
    """The formula line of every equation of the gradient, with its number.

    A derivation that cannot be printed costs a warning and the captions, never the training run: kernels without one
    carry their plain equation.
    """
    _derived(model)
    try:
        return derivation(model, ()).captions()
    except Exception as error:  # noqa: BLE001  whatever fails in printing
        message = f"internal defect: the derivation of {model.name} cannot be printed ({error!r:.200}); {REPORT}"
        warnings.warn(message, DefectWarning, stacklevel=2)
        return {}


def formula_of(model: Core, node: Node) -> str:
    """The formula line of an equation."""
    return captions(model).get(node) or equation_text(node)  # type: ignore[arg-type]


def explain(model: Core, stage: str, target: str = "cpu") -> pages.Page:
    """What a stage made of the model, as a page that prints."""
    if stage not in STAGES:
        fail(DomainError, f"explain: there is no stage {stage!r}", close_name(stage, STAGES))
    devices.check_target("explain", target, "float32")
    if target == "cuda" and stage in ("kernels", "plan"):
        return _device_page(model)
    if target == "cuda" and stage == "source":
        return pages.source_page(source(model, "sgd", 32, target))
    makers: dict[str, Callable[[], pages.Page]] = {
        "formula": lambda: pages.formula_page(derivation(model, ())),
        "gradient": lambda: pages.gradient_page(derivation(model, ()), model.notes),
        "rewritten": lambda: pages.rewritten_page(model.graph.applied),
        "kernels": lambda: pages.kernels_page(_compiled(model).step.plan, model.dtype, captions(model)),
        "plan": lambda: pages.plan_page(_compiled(model).step.plan, model.dtype, captions(model)),
        "source": lambda: pages.source_page(_compiled(model).text.text),
    }
    return makers[stage]()


def _compiled(model: Core, optimizer: Any = "sgd", batch_size: int = 32) -> Compiled:
    """The training program of the last fit, or one for these arguments."""
    return model.last_compiled or model.compiled_training(optimizer_named(optimizer), batch_size)


def _device_page(model: Core) -> pages.Page:
    found = devices.cuda_plan(model, "sgd", 32)
    size = found.memory.size * np.dtype(model.dtype).itemsize
    return pages.device_page(found.choice, found.step.plan, found.blas, size, captions(model))


def source(model: Core, optimizer: Any, batch_size: int, target: str = "cpu") -> str:
    """The text of the training program."""
    if target == "cuda":
        return devices.cuda_plan(model, optimizer, batch_size).program.text
    return _compiled(model, optimizer, batch_size).text.text


@dataclass(frozen=True)
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
    feed |= {leaf: model.params[str(leaf.name)].astype(np.float64) for leaf in model.param_leaves}
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
    v = random.normal(0, CHECK_STREAM, str(leaf.name), slope.shape)
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
