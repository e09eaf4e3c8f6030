"""Boundaries of decision as pictures, and films (GIF) of boundaries and paths, by Matplotlib's Pillow writer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from graphc.show.plots import COLOURS, film_writer, one_axis, save_figure
from graphc.show.surfaces import draw_contours, draw_path, heights

MARKS = "os^Dv*PX"
DPI = 100  # of films
FILLS = ("#FBE0CC", "#D6ECF9", "#F3DCE9", "#CCEBE0", "#DDDDDD", "#FAEBCC", "#CCE3F0")  # of regions, in light COLOURS


def plot_boundary(
    axes: Sequence[NDArray],
    height: NDArray,
    level: float,
    points: NDArray,
    labels: NDArray,
    names: Sequence[str],
    path: str | Path,
) -> None:
    """Write the output over a plane, its boundary and the data to a picture.

    Raises
    ------
    MissingExtraError
        When matplotlib is not installed.
    """
    figure, axis = one_axis(6.4, 5)
    filled = _draw_boundary(axis, axes, height, level, points, labels, names, height)
    if filled is not None:
        figure.colorbar(filled, ax=axis, label="output", format="%.2g")
    axis.legend(fontsize=9, framealpha=0.9)
    save_figure(figure, path)


def _draw_boundary(
    axis: Any,
    axes: Sequence[NDArray],
    height: NDArray,
    level: float,
    points: NDArray,
    labels: NDArray,
    names: Sequence[str],
    every: NDArray,
) -> Any:
    """The fill (None for regions of classes); ``every`` holds all that is to be shown in these colours."""
    filled = None
    if height.ndim == 3:
        classes = height.shape[2]
        edges = np.arange(classes + 1) - 0.5
        colours = [FILLS[c % len(FILLS)] for c in range(classes)]
        axis.contourf(axes[0], axes[1], height.argmax(axis=2).T, edges, colors=colours)
    else:
        finite = every[np.isfinite(every)]
        low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 1.0)
        levels = np.linspace(low, high if high > low else low + 1.0, 17)
        filled = axis.contourf(axes[0], axes[1], height.T, levels, cmap="cividis", alpha=0.8)
        if np.nanmin(height) < level < np.nanmax(height):
            axis.contour(axes[0], axes[1], height.T, [level], colors="white", linewidths=4)
            axis.contour(axes[0], axes[1], height.T, [level], colors="black", linewidths=2)
        axis.plot([], [], color="black", linewidth=2, label=f"output = {level:g}")
    for k, label in enumerate(np.unique(labels)):
        rows = points[labels == label]
        look = {"color": COLOURS[k % len(COLOURS)], "markeredgecolor": "white", "markersize": 7}
        axis.plot(rows[:, 0], rows[:, 1], MARKS[k % len(MARKS)], label=f"target {label:g}", linestyle="", **look)
    axis.set(xlabel=names[0], ylabel=names[1])
    axis.grid(visible=False)
    return filled


def film_boundary(
    axes: Sequence[NDArray],
    frames: Sequence[NDArray],
    level: float,
    points: NDArray,
    labels: NDArray,
    names: Sequence[str],
    titles: Sequence[str],
    path: str | Path,
    pace: int,
) -> None:
    """Write the boundary as it moves; ``pace`` are frames a second."""
    figure, axis = one_axis(5.6, 4.6)
    every = np.stack(frames)

    def draw(k: int) -> None:
        axis.clear()
        _draw_boundary(axis, axes, frames[k], level, points, labels, names, every)
        axis.set_title(titles[k], fontsize=10)
        axis.legend(fontsize=8, framealpha=0.9, loc="upper right")

    _write(figure, draw, len(frames), path, pace)


def film_path(
    axes: Sequence[NDArray],
    loss: NDArray,
    names: Sequence[str],
    places: NDArray,
    titles: Sequence[str],
    path: str | Path,
    pace: int,
) -> None:
    """Write the path as it grows over the contours of the loss."""
    figure, axis = one_axis(6.4, 4.8)
    height, title = heights(loss)
    draw_contours(figure, axis, axes, height, names, title)
    still = set(axis.lines)

    def draw(k: int) -> None:
        for line in [line for line in axis.lines if line not in still]:
            line.remove()
        draw_path(axis, places[: k + 1], {"color": COLOURS[0], "linestyle": "-", "linewidth": 2}, "")
        axis.set_title(titles[k], fontsize=10)

    _write(figure, draw, len(places), path, pace)


def _write(figure: Any, draw: Callable[[int], None], count: int, path: str | Path, pace: int) -> None:
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    writer = film_writer(pace)
    with writer.saving(figure, str(path), DPI):
        for k in range(count):
            draw(k)
            writer.grab_frame()
