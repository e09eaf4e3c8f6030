"""Where a model of two inputs decides what, as a picture; and films of a run: of that boundary, or of its path."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from graphc.declare.origin import fail, located
from graphc.derive.ranges import range_of
from graphc.errors import DomainError, ShapeError, TypeMismatchError
from graphc.facade.core import Core
from graphc.facade.evaluating import outputs_of
from graphc.facade.landscape import landscape, own_plane, points_of
from graphc.facade.state import Parameters
from graphc.lower.training import layout_parameters
from graphc.run.history import Run
from graphc.show.films import film_boundary, film_path, plot_boundary

SIZE, FILM_SIZE = 201, 101  # points along each axis
FRAMES = 60  # of a film at most


@located
def plot_decision(model: Any, x: Any, t: Any, path: str | Path, level: float | None = None) -> None:
    """Write the output over the plane of two inputs, where it decides, and the data to a picture.

    Parameters
    ----------
    model : Model
        Its output reads one input of shape (n, 2) and is one number a row, or one a class.
    x : array of shape (rows, 2)
    t : array of shape (rows,), (rows, 1) or (rows, classes)
        What the rows are: two values, classes, or one column a class.
    path : str or Path
    level : float, optional
        Where one number decides: 0.5 when it lies between 0 and 1; else 0, or the middle of the two values in t where
        that puts fewer rows on the wrong side.

    Raises
    ------
    ShapeError
        When the model has other inputs or outputs.
    MissingExtraError
        When matplotlib is not installed.
    """
    core = getattr(model, "_core", None)
    if not isinstance(core, Core):
        fail(TypeMismatchError, f"plot_decision: {model!r:.60} is no Model", "gc.plot_decision(model, x, t, path).")
    points, labels = _checked(core, x, t, "plot_decision")
    axes = _axes(points, SIZE)
    heights = _outputs(core, axes)
    level = _level(core, points, labels) if level is None else float(level)
    plot_boundary(axes, heights, level, points, labels, _names(core), path)


def _names(core: Core) -> tuple[str, str]:
    name = core.inputs[0].name
    return f"{name}[:, 0]", f"{name}[:, 1]"


def _decides(core: Core) -> bool:
    """Whether a boundary can be drawn: one output of one input with two columns."""
    if len(core._outputs) != 1 or len(core.inputs) != 1:
        return False
    [output] = core._outputs.values()
    return core.inputs[0].shape[1:] == (2,) and output.node.rank in (1, 2) and isinstance(output.shape[0], str)


def _checked(core: Core, x: Any, t: Any, who: str) -> tuple[NDArray, NDArray]:
    if not _decides(core):
        shapes = ", ".join(f"{leaf.name}{leaf.shape}" for leaf in core.inputs) or "none"
        found = f"; its outputs are {', '.join(core._outputs)}" if len(core._outputs) > 1 else ""
        message = f"{who}: the output of {core.name} has to read one input of shape (n, 2); its inputs are {shapes}"
        raise ShapeError(f"{message}{found}\n  hint: take two features, and one output of shape (n, 1) or (n, classes)")
    points, given = np.asarray(x, dtype=np.float64), np.asarray(t)
    if points.ndim != 2 or points.shape[1] != 2 or len(given) != len(points):
        message = f"{who}: x has shape {points.shape} and t {given.shape}"
        raise ShapeError(f"{message}\n  hint: two columns, and as many rows in t")
    wide = given.ndim == 2 and given.shape[1] > 1
    return points, given.argmax(axis=1) if wide else given.reshape(len(given), -1)[:, 0]


def _axes(points: NDArray, size: int) -> list[NDArray]:
    low, high = points.min(axis=0), points.max(axis=0)
    room = 0.15 * np.where(high > low, high - low, 1.0)
    return [np.linspace(a - r, b + r, size) for a, b, r in zip(low, high, room, strict=True)]


def _outputs(core: Core, axes: Sequence[NDArray]) -> NDArray:
    """Over the grid: shape (size, size), or (size, size, classes)."""
    grid = np.stack([a.ravel() for a in np.meshgrid(*axes, indexing="ij")], axis=1)
    values = np.asarray(outputs_of(core, (grid,), None, True)[0], dtype=np.float64)
    heights = values.reshape(len(axes[0]), len(axes[1]), -1)
    return heights[:, :, 0] if heights.shape[2] == 1 else heights


def _level(core: Core, points: NDArray, labels: NDArray) -> float:
    [output] = core._outputs.values()
    low, high = range_of(output.node)
    if low >= 0 and high <= 1:
        return 0.5
    middle = (float(labels.min()) + float(labels.max())) / 2
    values = np.asarray(outputs_of(core, (points,), None, True)[0]).reshape(len(points), -1)[:, 0]
    wrong = {level: int(np.sum((values > level) != (labels > middle))) for level in (0.0, middle)}
    return middle if wrong[middle] < wrong[0.0] else 0.0


# ---------------------------------------------------------------- films


@located
def animate(run: Run, path: str | Path, what: str | None = None, seconds: float = 6.0) -> None:
    """Write a film (GIF) of a run with ``callbacks=[gc.Trajectory()]``; needs the extra ``plot``.

    Parameters
    ----------
    path : str or Path
    what : "boundary" or "path", optional
        Where the model decides, or the way of the parameters over a plane; by default the first for a model of two
        inputs.
    seconds : float
        How long it takes.

    Raises
    ------
    DomainError
        When the parameters were not kept, or the run came from a file.
    """
    every = points_of(run)
    assert run.trajectory is not None
    if run.trajectory.model is None or run.trajectory.data is None:
        raise DomainError("animate: the run came from a file, without its model and data\n  hint: fit again")
    core, data = _twin(run.trajectory.model._core), _in_order(run)
    if what not in (None, "boundary", "path"):
        raise DomainError(f"animate: what is {what!r:.60}\n  hint: choose 'boundary' or 'path'")
    chosen = sorted({round(k) for k in np.linspace(0, len(every) - 1, FRAMES)})
    titles = [f"step {run.trajectory.steps[k]}" for k in chosen]
    pace = max(1, round(len(chosen) / float(seconds)))
    if what == "boundary" or (what is None and _decides(core) and len(data) == 2):
        points, labels = _checked(core, *(data if len(data) == 2 else ([], [])), "animate")
        axes, frames = _axes(points, FILM_SIZE), []
        for k in chosen:
            core.params.restore(every[k])
            frames.append(_outputs(core, axes))
        film_boundary(axes, frames, _level(core, points, labels), points, labels, _names(core), titles, path, pace)
        return
    core.params.restore(every[-1])
    try:
        scape = landscape(core, data, own_plane(core.params), 41, None, {"path": run}, 0, None, True)
    except DomainError:  # a path that is a point or a line
        scape = landscape(core, data, "random", 41, None, {"path": run}, 0, None, True)
    film_path(scape.axes, scape.loss, scape.names, scape.paths["path"][chosen], titles, path, pace)


def _twin(core: Core) -> Core:
    """A copy whose parameters may be changed."""
    twin = copy.copy(core)
    twin._params = Parameters(layout_parameters(twin.kept_leaves), twin.dtype)
    twin.ready = {}
    return twin


def _in_order(run: Run) -> tuple[Any, ...]:
    """The data of the fit in the order of declaration."""
    assert run.trajectory is not None
    core, data = run.trajectory.model._core, run.trajectory.data or ()
    if len(data) == 1 and isinstance(data[0], dict):
        return tuple(data[0][str(leaf.name)] for leaf in core.training_inputs)
    return tuple(data)
