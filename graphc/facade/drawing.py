"""What runs, functions and tensors show of themselves: pictures, curves in text, formulas in a notebook."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from graphc.declare.functions import Function
from graphc.declare.origin import fail
from graphc.declare.tensor import Tensor
from graphc.emit.reference import evaluate
from graphc.errors import DomainError
from graphc.facade.pipeline import read_graph
from graphc.facade.summary import formula
from graphc.ir.latex_words import with_words
from graphc.ir.node import Leaf
from graphc.run.history import Run
from graphc.show.notebook import text_and_picture
from graphc.show.plots import plot_function, plot_history, plot_surface, text_curve
from graphc.show.styles import Latex

POINTS = 601  # of the picture of a function
SIDE = 121  # points of a side, of the picture of a surface


def plot_run(run: Run, path: str | Path) -> None:
    """Write loss, metrics and their validation values to a picture; needs the extra ``plot``."""
    plot_history(run.history, path, {name: run.unit(name) for name in run.history})


def curve(run: Run, name: str = "loss", width: int = 60, height: int = 10) -> str:
    """A quantity of the history as text, for the terminal."""
    return text_curve(run.history[name], width, height, run.unit(name))


def draw_function(
    f: Function,
    path: str | Path,
    low: float | Sequence[float] = -5.0,
    high: float | Sequence[float] = 5.0,
    order: int = 1,
) -> None:
    """Write f between low and high to a picture; needs the extra ``plot``.

    A function of one variable is drawn with its derivatives up to ``order``; one of two variables as a surface and as
    level lines with its gradient, where low and high may be pairs, a number for each variable.

    Raises
    ------
    DomainError
        When there is nothing between low and high, or there are more variables than two.
    """
    n = len(f.variables)
    if n > 2:
        names = ", ".join(map(str, f.variables))
        hint = "give all but two of them values: gc.function(..., variables=[..], c=1)."
        fail(DomainError, f"{f.name}.plot: a function of {names} has no picture", hint)
    lows, highs = _ends(low, n), _ends(high, n)
    spans = list(zip(lows, highs))
    if not len(lows) == len(highs) == n or not all(math.isfinite(x) and math.isfinite(y) and x < y for x, y in spans):
        fail(DomainError, f"{f.name}.plot: there is nothing from {low} to {high}", "give low < high.")
    if n == 1:
        x = np.linspace(*spans[0], POINTS)
        drawn = [f.d(n) for n in range(order + 1)]
        values = _values(drawn, [x])
        plot_function(str(f), x.tolist(), {g.label: y.tolist() for g, y in zip(drawn, values, strict=True)}, path)
    else:
        a, b = np.meshgrid(*(np.linspace(*span, SIDE) for span in spans))
        value, *slopes = (y.reshape(a.shape) for y in _values([f, *f.gradient()], [a.ravel(), b.ravel()]))
        plot_surface(str(f), [str(v) for v in f.variables], [a, b], value, slopes if order else [], path)


def _ends(given: float | Sequence[float], n: int) -> list[float]:
    return list(given) if isinstance(given, Sequence) else [given] * n


def _values(functions: Sequence[Function], points: Sequence[np.ndarray]) -> list[np.ndarray]:
    """The values at so many points, by the interpreter."""
    leaves = [Leaf(f"z{t}", ("n",), "input") for t in range(len(points))]
    graph = read_graph({g.label: g(*map(Tensor, leaves)).node for g in functions})
    feed = dict(zip(leaves, points, strict=True))
    values = evaluate(list(graph.roots.values()), feed, {"n": len(points[0])})
    return [np.broadcast_to(y, points[0].shape) for y in values]


def latex_of(x: Tensor) -> str | None:
    """The formula of a tensor, for notebooks."""
    node = x.equation
    return _latex_of_leaf(node) if isinstance(node, Leaf) else formula(x)._repr_latex_()


def _latex_of_leaf(leaf: Leaf) -> str | None:
    if leaf.name is None:
        return None
    look = Latex()
    shape = r" \times ".join(look.name(e) if isinstance(e, str) else str(e) for e in leaf.shape)
    numbers = rf"\mathbb{{{'Z' if Tensor(leaf).dtype == 'int' else 'R'}}}"
    return with_words(f"${look.name(leaf.name)} \\in {numbers}" + (f"^{{{shape}}}$" if shape else "$"))


def html_of_run(run: Run) -> str:
    """What a run tells, and its curves."""
    drawn = any(map(len, run.history.values()))
    return text_and_picture(str(run), (lambda path: plot_run(run, path)) if drawn else None)


def html_of_function(f: Function) -> str:
    """The formula, and the picture of a function of one or two variables."""
    drawn = len(f.variables) <= 2
    return text_and_picture(str(f), (lambda path: draw_function(f, path)) if drawn else None)
