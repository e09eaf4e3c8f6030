"""Methods of later stages that sit on objects of earlier ones, in one table."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np

from graphc.declare.functions import Function
from graphc.declare.origin import fail, located
from graphc.declare.tensor import Tensor
from graphc.emit.reference import evaluate
from graphc.errors import DomainError
from graphc.facade import pickling  # noqa: F401  makes nodes and derivations fit to be pickled
from graphc.facade.deciding import animate
from graphc.facade.devices import on_device
from graphc.facade.pipeline import read_graph
from graphc.facade.state import Parameters
from graphc.facade.summary import formula, tensor_text
from graphc.ir.latex_words import with_words
from graphc.ir.node import Leaf
from graphc.run.history import Run
from graphc.show.plots import plot_function, plot_history, text_curve
from graphc.show.styles import Latex

POINTS = 601  # of the picture of a function


def _plot_run(run: Run, path: str | Path) -> None:
    """Write loss, metrics and their validation values to a picture; needs the extra ``plot``."""
    plot_history(run.history, path, {name: run.unit(name) for name in run.history})


def _curve(run: Run, name: str = "loss", width: int = 60, height: int = 10) -> str:
    """A quantity of the history as text, for the terminal."""
    return text_curve(run.history[name], width, height, run.unit(name))


@located
def _plot_function(f: Function, path: str | Path, low: float = -5.0, high: float = 5.0, order: int = 1) -> None:
    """Write f and its derivatives up to ``order`` between two numbers to a picture; needs the extra ``plot``."""
    if not (math.isfinite(low) and math.isfinite(high) and low < high):
        fail(DomainError, f"{f.name}.plot: there is nothing from {low} to {high}", "give low < high.")
    z, x = Leaf("z", ("n",), "input"), np.linspace(low, high, POINTS)
    drawn = [f.d(n) for n in range(order + 1)]
    graph = read_graph({g.label: g(Tensor(z)).node for g in drawn})
    values = evaluate(list(graph.roots.values()), {z: x}, {"n": POINTS})
    plot_function(str(f), x.tolist(), dict(zip(graph.roots, (y.tolist() for y in values), strict=True)), path)


def _latex(x: Tensor) -> str | None:
    """The formula of a tensor, for notebooks."""
    node = x.equation
    return _latex_of_leaf(node) if isinstance(node, Leaf) else formula(x)._repr_latex_()


def _latex_of_leaf(leaf: Leaf) -> str | None:
    if leaf.name is None:
        return None
    look = Latex()
    shape = r" \times ".join(str(e) for e in leaf.shape)
    numbers = rf"\mathbb{{{'Z' if Tensor(leaf).dtype == 'int' else 'R'}}}"
    return with_words(f"${look.name(leaf.name)} \\in {numbers}" + (f"^{{{shape}}}$" if shape else "$"))


METHODS = (
    (Run, "plot", _plot_run),
    (Run, "curve", _curve),
    (Run, "animate", animate),
    (Function, "plot", _plot_function),
    (Tensor, "_repr_latex_", _latex),
    (Tensor, "__str__", tensor_text),
    (Parameters, "on_device", on_device),
)

for owner, name, method in METHODS:
    setattr(owner, name, method)
