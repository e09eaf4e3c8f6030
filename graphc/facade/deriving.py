"""The derivation that a model shows, and the formulas beside the loops of its programs."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property

from graphc.declare.origin import fail, located
from graphc.declare.tensor import Tensor
from graphc.errors import REPORT, DefectWarning, UnknownNameError
from graphc.facade.core import Core
from graphc.facade.pipeline import Differentiated, Graph, differentiate
from graphc.ir.letters import close_name
from graphc.ir.node import Leaf, Node
from graphc.ir.text import equation_text
from graphc.ir.walk import equations
from graphc.show.derivation import Derivation
from graphc.show.derivation import derivation as show_derivation


@located
def derive(loss: Tensor, *wrt: Tensor) -> Derivation:
    """The chain rule for a scalar, line by line: ``print(gc.derive(J, W0))``.

    Parameters
    ----------
    loss : Tensor
        A scalar.
    *wrt : Tensor
        Parameters; all of them by default.
    """
    return derivation(Core(None, loss, None, "float32", "model"), wrt)


def derivation(model: Core, wrt: Sequence[Tensor | str]) -> Derivation:
    """The chain rule for some parameters, given as tensors or by name, or for all of them."""
    leaves = [_leaf(model, w) for w in wrt] or None
    shown_derivation = show_derivation(*_derived(model), leaves, model.loss_name)
    shown_derivation.parameters = model.params
    return shown_derivation


def _derived(model: Core) -> tuple[Graph, Differentiated]:
    """The graph that a derivation shows, and its derivatives."""
    graph, left_out = model.training_graph, {*model.metric_names, *model.state_roots}
    shown = Graph({n: r for n, r in graph.roots.items() if n not in left_out}, graph.new, graph.applied)
    return shown, model.once("derivation", lambda: _derivatives_of(model, shown))


def _derivatives_of(model: Core, shown: Graph) -> Differentiated:
    """Those that training takes, where it has the same forward pass: no equation of that is put into another one, so
    that it does not matter which of them are outputs."""
    trained = (root for name, root in model.training_graph.roots.items() if not name.startswith("output:"))
    if equations(shown.roots.values()) == equations(trained):
        return model.differentiated()
    return differentiate(shown, "loss", model.param_leaves, deltas=True)


def _leaf(model: Core, wanted: Tensor | str) -> Leaf:
    by_name = {str(leaf.name): leaf for leaf in model.param_leaves}
    if isinstance(wanted, Tensor) and wanted.node in model.param_leaves:
        assert isinstance(wanted.node, Leaf)
        return wanted.node
    name = wanted if isinstance(wanted, str) else str(getattr(wanted, "name", wanted))
    if not isinstance(wanted, str) or name not in by_name:
        fail(UnknownNameError, f"derive: {name!r} is no parameter of {model.name}", close_name(name, by_name))
    return by_name[name]


class Captions(Mapping[Node, str]):
    """The formula line of every equation of a gradient, with its number; written when the first is read.

    A derivation that cannot be printed costs a warning and the captions, never the training run: kernels without one
    carry their plain equation.
    """

    def __init__(self, model: Core) -> None:
        self._model = model

    @cached_property
    def names(self) -> dict[Node, str]:
        """The names that formulas give to unnamed equations (Z0, H0, δ0), which no line is written for."""
        found = self._printed(Derivation.names)
        return {node: name for node, name in found.items() if name.isidentifier()}

    @cached_property
    def lines(self) -> dict[Node, str]:
        """The captions."""
        return self._printed(Derivation.captions)

    def _printed(self, read: Callable[[Derivation], dict[Node, str]]) -> dict[Node, str]:
        model = self._model
        _derived(model)
        try:
            return read(model.once("whole derivation", lambda: derivation(model, ())))
        except Exception as error:  # noqa: BLE001  whatever fails in printing
            message = f"internal defect: the derivation of {model.name} cannot be printed ({error!r:.200}); {REPORT}"
            warnings.warn(message, DefectWarning, stacklevel=2)
            return {}

    def __getitem__(self, node: Node) -> str:
        return self.lines[node]

    def __iter__(self) -> Iterator[Node]:
        return iter(self.lines)

    def __len__(self) -> int:
        return len(self.lines)


def captions(model: Core) -> Captions:
    """The formula lines of a model's gradient."""
    return model.once("captions", lambda: Captions(model))


def formula_of(model: Core, node: Node) -> str:
    """The formula line of an equation."""
    return captions(model).get(node) or equation_text(node)  # type: ignore[arg-type]
