"""Pictures of a loss over a line or a plane of parameters: contours and a surface, with the paths of runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from graphc.show.plots import COLOURS, empty_figure, one_axis, save_figure, scale

LEVELS = 24  # of the contours
DECADES = 1.5  # between least and largest loss, from where on the levels are logarithmic
TOP = 98  # per cent of the points lie below the highest level: far out the loss may be huge
DASHES = ("-", "--", "-.", ":", (0, (5, 1, 1, 1)))


def plot_curve(x: NDArray, loss: NDArray, name: str, path: str | Path) -> None:
    """The loss along a line.

    Raises
    ------
    MissingExtraError
        When matplotlib is not installed.
    """
    figure, axis = one_axis(6, 4)
    axis.plot(x, np.where(np.isfinite(loss), loss, np.nan), color=COLOURS[0])
    axis.set(xlabel=name, ylabel="loss")
    for end in (0, 1) if x[0] < 0 < 1 < x[-1] and "(0)" in name else ():
        axis.axvline(end, color="black", linewidth=0.6, linestyle=":")
    save_figure(figure, path)


def plot_surface(
    axes: Sequence[NDArray], loss: NDArray, names: Sequence[str], paths: Mapping[str, NDArray], path: str | Path
) -> None:
    """Contours on the left, the surface on the right.

    Raises
    ------
    MissingExtraError
        When matplotlib is not installed.
    """
    figure = empty_figure(9.5, 4.2)
    left, right = figure.add_subplot(1, 2, 1), figure.add_subplot(1, 2, 2, projection="3d")
    height, title = heights(loss)
    draw_contours(figure, left, axes, height, names, title)
    _draw_surface(right, axes, height, names, title)
    for t, (name, places) in enumerate(paths.items()):
        look = _look(t)
        draw_path(left, places, look, name)
        z = _interpolated(axes, height, places)
        right.plot(places[:, 0], places[:, 1], z + 0.01 * np.ptp(height[np.isfinite(height)]), zorder=10, **look)
    if paths:
        left.legend(fontsize=9, framealpha=0.9)
    save_figure(figure, path)


def heights(loss: NDArray) -> tuple[NDArray, str]:
    """What is drawn: the loss or its logarithm, cut off where it is huge; and what to call it."""
    finite = loss[np.isfinite(loss)]
    if not finite.size:
        return np.zeros(loss.shape), "loss (nowhere finite)"
    top = float(np.percentile(finite, TOP)) if finite.max() > 10 * np.percentile(finite, TOP) else float(finite.max())
    cut = np.where(np.isfinite(loss), np.minimum(loss, top), top)
    if finite.min() > 0 and np.log10(top / finite.min()) > DECADES:
        return np.log10(cut), "log10 of the loss"
    return cut, "loss"


def draw_contours(
    figure: Any, axis: Any, axes: Sequence[NDArray], height: NDArray, names: Sequence[str], title: str
) -> None:
    """Filled levels with their scale."""
    low, high = float(height.min()), float(height.max())
    levels = _round_levels(low, high if high > low else low + 1.0)
    filled = axis.contourf(axes[0], axes[1], height.T, levels, cmap="cividis")
    axis.contour(axes[0], axes[1], height.T, levels[::3], colors="black", linewidths=0.5, linestyles="solid", alpha=0.5)
    axis.set(xlabel=names[0], ylabel=names[1], xlim=axes[0][[0, -1]], ylim=axes[1][[0, -1]])
    figure.colorbar(filled, ax=axis, label=title, format="%.3g", ticks=levels[::3])


def _round_levels(low: float, high: float) -> NDArray:
    """Levels at 1, 2, 2.5 or 5 times a power of ten that hold both numbers."""
    step = (high - low) / LEVELS
    power = 10.0 ** np.floor(np.log10(step))
    step = next(s * power for s in (1, 2, 2.5, 5, 10) if s * power >= step)
    return step * np.arange(np.floor(low / step), np.ceil(high / step) + 1)


def _draw_surface(axis: Any, axes: Sequence[NDArray], height: NDArray, names: Sequence[str], title: str) -> None:
    x, y = np.meshgrid(*axes, indexing="ij")
    axis.computed_zorder = False  # a path lies on the surface, not behind it
    axis.plot_surface(x, y, height, cmap="cividis", rstride=1, cstride=1, linewidth=0, antialiased=True, alpha=0.9)
    short = [name.split(" (")[0].removesuffix(" of the Hessian") for name in names]
    axis.set(xlabel=short[0], ylabel=short[1], zlabel=title)
    axis.tick_params(labelsize=8)
    for part in (axis.xaxis, axis.yaxis, axis.zaxis):
        part.get_major_locator().set_params(nbins=5)
    axis.set_box_aspect(None, zoom=0.82)
    axis.view_init(elev=40, azim=-60)


def draw_path(axis: Any, places: NDArray, look: Mapping[str, Any], name: str) -> None:
    """White below, so that it is seen on dark and light; a ring where it begins, a dot where it ends."""
    axis.plot(places[:, 0], places[:, 1], color="white", linewidth=look["linewidth"] + 2, solid_capstyle="round")
    axis.plot(places[:, 0], places[:, 1], label=f"{name} (ring: start, dot: end)" if name == "path" else name, **look)
    axis.plot(*places[0], "o", markersize=8, markerfacecolor="white", markeredgecolor=look["color"], markeredgewidth=2)
    axis.plot(*places[-1], "o", markersize=9, color=look["color"], markeredgecolor="white")


def _interpolated(axes: Sequence[NDArray], height: NDArray, places: NDArray) -> NDArray:
    """The height at places between the points of the grid, bilinear; at the rim outside."""
    at = []
    for axis, p in zip(axes, places.T, strict=True):
        t = np.clip((p - axis[0]) / (axis[-1] - axis[0]), 0.0, 1.0) * (len(axis) - 1)
        k = np.minimum(t.astype(int), len(axis) - 2)
        at.append((k, t - k))
    (i, a), (j, b) = at
    lower = (1 - a) * height[i, j] + a * height[i + 1, j]
    upper = (1 - a) * height[i, j + 1] + a * height[i + 1, j + 1]
    return (1 - b) * lower + b * upper


Surface = tuple[Sequence[NDArray], NDArray, Sequence[str], Mapping[str, NDArray]]


def plot_comparison(
    curves: Mapping[str, tuple[Sequence[int], NDArray]], surface: Surface | None, path: str | Path
) -> None:
    """Losses over the steps on the left; on the right contours with the paths, in the same colours.

    Raises
    ------
    MissingExtraError
        When matplotlib is not installed.
    """
    figure = empty_figure(9.5 if surface else 5.5, 4.2)
    left = figure.add_subplot(1, 2 if surface else 1, 1)
    looks = {name: _look(t) for t, name in enumerate(curves)}
    for name, (steps, losses) in curves.items():
        left.plot(steps, np.where(np.isfinite(losses), losses, np.nan), label=name, **looks[name])
    left.set(xlabel="step", ylabel="loss over all rows", **scale([v for _, c in curves.values() for v in c.tolist()]))
    left.grid(alpha=0.3)
    left.spines[["top", "right"]].set_visible(False)
    left.legend(fontsize=9, frameon=False)
    if surface:
        axes, loss, names, paths = surface
        right = figure.add_subplot(1, 2, 2)
        height, title = heights(loss)
        draw_contours(figure, right, axes, height, names, title)
        for name, places in paths.items():
            draw_path(right, places, looks[name], name)
    save_figure(figure, path)


def _look(t: int) -> dict[str, Any]:
    return {"color": COLOURS[t % len(COLOURS)], "linestyle": DASHES[t % len(DASHES)], "linewidth": 2}
