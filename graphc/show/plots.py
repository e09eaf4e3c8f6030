"""Pictures of a training run: a text curve for the terminal, a plot with matplotlib (the extra ``plot``)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from graphc.errors import DomainError, MissingExtraError

BLOCKS = " ▁▂▃▄▅▆▇█"
COLOURS = ("#D55E00", "#56B4E9", "#CC79A7", "#009E73", "#000000", "#E69F00", "#0072B2")
"""Told apart by colour-blind eyes (Okabe and Ito, 2008, "Color universal design")."""
VERDICTS = {
    "too small": ("#0072B2", "--", "v"), "good": ("#009E73", "-", "o"), "too large": ("#D55E00", ":", "^"),
    "": ("#777777", "-.", "x"),
}  # fmt: skip
ARROWS = 8  # an arrow of the gradient at every eighth point of a grid


def text_curve(values: Sequence[float], width: int = 60, height: int = 10, unit: str = "") -> str:
    """The values as columns of blocks; x marks NaN or infinity.

    The scale is logarithmic when all values are positive and the largest is ten times the least or more.

    Raises
    ------
    DomainError
        When there is no room: a width or height below 1.
    """
    if width < 1 or height < 1:
        message = f"a curve of {width} columns and {height} lines has no room"
        raise DomainError(f"{message}\n  hint: the defaults are 60 and 10.")
    if not values:
        return "no values"
    shown = _averaged(list(values), width)
    finite = [v for v in shown if math.isfinite(v)]
    logarithmic = bool(finite) and 0 < 10 * min(finite) <= max(finite)
    heights = _heights([math.log10(v) if logarithmic and math.isfinite(v) else v for v in shown], 8 * height)
    rows = ["".join(_block(h, row) for h in heights) for row in reversed(range(height))]
    labels = [""] * height
    if finite:
        labels[-1], labels[0] = f"{min(finite):.3g}", f"{max(finite):.3g}"
    lines = [f"{label:>10s} │{row}".rstrip() for label, row in zip(labels, rows, strict=True)]
    axis = f"{unit} 1 to {len(values)}".strip() + (", logarithmic" if logarithmic else "")
    return "\n".join([*lines, f"{'':11s}└{'─' * len(shown)} {axis}"])


def _heights(levels: Sequence[float], most: int) -> list[int | None]:
    """Eighths of a line for every level: 1 for the lowest, ``most`` for the highest, None for what is not finite."""
    finite = [v for v in levels if math.isfinite(v)]
    low = min(finite, default=0.0)
    span = max(finite, default=0.0) - low or 1.0
    return [max(1, round((v - low) / span * most)) if math.isfinite(v) else None for v in levels]


def _block(height: int | None, row: int) -> str:
    """What a column of that height shows in a line, counted from below."""
    if height is None:
        return "x" if row == 0 else " "
    return BLOCKS[min(8, max(0, height - 8 * row))]


def _averaged(values: list[float], width: int) -> list[float]:
    """At most ``width`` values, each the mean of an equal part."""
    n = len(values)
    parts = min(n, width)
    cuts = [i * n // parts for i in range(parts + 1)]
    return [sum(values[a:b]) / (b - a) for a, b in zip(cuts, cuts[1:], strict=False)]


def empty_figure(width: float, height: float) -> Any:
    """A figure of its own: the user's backend and his open figures stay as they are.

    Raises
    ------
    MissingExtraError
        When matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure
        from mpl_toolkits import mplot3d  # noqa: F401  makes axes with three directions known
    except ImportError:
        raise MissingExtraError("plots need matplotlib\n  hint: install it with: pip install 'graphc[plot]'") from None
    return Figure(figsize=(width, height), layout="constrained")


def _figure(rows: int, columns: int, width: float, height: float) -> tuple[Any, Any]:
    """A figure and its axes."""
    figure = empty_figure(width, height)
    axes = figure.subplots(rows, columns, squeeze=False)
    for axis in axes.flat:
        axis.grid(alpha=0.3)
        axis.spines[["top", "right"]].set_visible(False)
    return figure, axes


def one_axis(width: float, height: float) -> tuple[Any, Any]:
    """A figure with one pair of axes."""
    figure, axes = _figure(1, 1, width, height)
    return figure, axes[0, 0]


def film_writer(pace: int) -> Any:
    """What writes GIFs of so many frames a second, when there is a figure."""
    from matplotlib.animation import PillowWriter

    return PillowWriter(fps=pace)


def save_figure(figure: Any, path: str | Path) -> None:
    """Write it as a picture, in a folder that is made when it is missing."""
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=150)


def plot_rates(
    rates: Sequence[float], losses: Sequence[float], smoothed: Sequence[float], suggestion: float, path: str | Path
) -> None:
    """Write the losses over the learning rates to a picture, with the rate that is suggested.

    Raises
    ------
    MissingExtraError
        When matplotlib is not installed.
    """
    figure, axis = one_axis(7, 4)
    axis.plot(rates, losses, color=COLOURS[1], alpha=0.5, linewidth=1, label="loss of the batch")
    axis.plot(rates, smoothed, color=COLOURS[0], label="smoothed")
    if math.isfinite(suggestion):
        axis.axvline(suggestion, color=COLOURS[4], linestyle="--", label=f"suggestion: {suggestion:.2g}")
    axis.set(xscale="log", xlabel="learning rate", ylabel="loss")
    axis.legend()
    save_figure(figure, path)


def plot_history(history: Mapping[str, Sequence[float]], path: str | Path, units: Mapping[str, str]) -> None:
    """Write the curves of a history to a picture: losses above, on a logarithmic axis, the other quantities below.

    ``units`` says for every name what an entry stands for, "epoch" or "step"; curves of two units share no axis.

    Raises
    ------
    MissingExtraError
        When matplotlib is not installed.
    """
    panels: dict[tuple[bool, str], list[str]] = {}
    for name in history:
        panels.setdefault((name in ("loss", "val_loss"), units[name]), []).append(name)
    figure, axes = _figure(len(panels), 1, 7, 0.4 + 2.8 * len(panels))
    for axis, ((losses, unit), names) in zip(axes.flat, sorted(panels.items(), key=lambda p: not p[0][0]), strict=True):
        for name in names:
            _draw(axis, name, history[name])
        if losses:
            axis.set(**scale([v for name in names for v in history[name]]))
        axis.xaxis.get_major_locator().set_params(integer=True)
        axis.set(xlabel=unit, ylabel=names[0] if len({n.removeprefix("val_") for n in names}) == 1 else "")
        if len(names) > 1:
            axis.legend(frameon=False)
    save_figure(figure, path)


def _draw(axis: Any, name: str, values: Sequence[float]) -> None:
    """One curve: dashed for validation, a dot where there is a single value."""
    style = "--" if name.startswith("val_") else "-"
    axis.plot(range(1, len(values) + 1), values, label=name, linestyle=style, marker="o" if len(values) == 1 else "")


def plot_function(formula: str, x: Sequence[float], curves: Mapping[str, Sequence[float]], path: str | Path) -> None:
    """Write a scalar function and its derivatives, by name, to a picture with the formula as its title.

    Raises
    ------
    MissingExtraError
        When matplotlib is not installed.
    """
    figure, axes = _figure(1, 1, 6, 4)
    axis = axes[0, 0]
    for name, y in curves.items():
        axis.plot(x, y, label=name)
    axis.axhline(0, color="black", linewidth=0.6)
    axis.axvline(0, color="black", linewidth=0.6)
    axis.set_title(formula.replace("$", r"\$"), fontsize=10)
    axis.legend(frameon=False)
    save_figure(figure, path)


def plot_surface(
    formula: str,
    names: Sequence[str],
    grids: Sequence[Any],
    values: Any,
    slopes: Sequence[Any],
    path: str | Path,
) -> None:
    """Write a function of two variables to a picture: as a surface, and its level lines with the gradient as arrows.

    Parameters
    ----------
    formula : str
        The title.
    names : two str
        What the axes show.
    grids, slopes : two arrays of shape (m, m)
        The variables at the points of a grid; the derivatives by them, none to leave the arrows out.
    values : array of shape (m, m)

    Raises
    ------
    MissingExtraError
        When matplotlib is not installed.
    """
    figure, axes = _figure(1, 2, 10, 4.2)
    a, b = grids
    left, right = axes.flat
    place = left.get_subplotspec()
    left.remove()
    surface = figure.add_subplot(place, projection="3d")
    surface.plot_surface(a, b, values, cmap="viridis", rcount=60, ccount=60)
    lines = right.contourf(a, b, values, levels=20, cmap="viridis")
    figure.colorbar(lines, ax=right)
    if slopes:
        some = (slice(ARROWS // 2, None, ARROWS),) * 2
        right.quiver(a[some], b[some], *(s[some] for s in slopes), color="white", width=0.004)
    for axis in (surface, right):
        axis.set(xlabel=names[0], ylabel=names[1])
    figure.suptitle(formula.replace("$", r"\$"), fontsize=10)
    save_figure(figure, path)


def plot_sweep(
    name: str, values: Sequence[float], curves: Sequence[Sequence[float]], said: Sequence[str], path: str | Path
) -> None:
    """Write two pictures of a sweep: the loss over the epochs, and the loss at the end over the value.

    Colour, line and mark tell the verdict; values are shaded in the colour of what most of their copies were.

    Raises
    ------
    MissingExtraError
        When matplotlib is not installed.
    """
    figure, axes = _figure(1, 2, 9.5, 4.2)
    left, right = axes.flat
    for value, curve, verdict in zip(values, curves, said, strict=True):
        colour, line, mark = VERDICTS[verdict]
        left.plot(range(1, len(curve) + 1), curve, color=colour, linestyle=line, linewidth=1.2, alpha=0.8)
        right.plot([value], [curve[-1]], mark, color=colour, markersize=5)
    for verdict in [v for v in VERDICTS if v in said]:
        colour, line, mark = VERDICTS[verdict]
        left.plot([], [], color=colour, linestyle=line, label=verdict or "interrupted")
        right.plot([], [], mark, color=colour, label=verdict or "interrupted")
    left.legend(frameon=False)
    _shade_regimes(right, values, said)
    for axis, label in ((left, "epoch"), (right, name)):
        axis.set(xlabel=label, ylabel="loss", **scale([v for c in curves for v in c]))
    if values and min(values) > 0:
        right.set_xscale("log")
    right.legend(frameon=False)
    save_figure(figure, path)


def _shade_regimes(axis: Any, values: Sequence[float], said: Sequence[str]) -> None:
    """Bands from value to value, halfway between them, in the colour of what most copies of the value were."""
    each = sorted(set(values))
    if len(each) < 2 or each[0] <= 0:
        return
    edges = [each[0], *(math.sqrt(a * b) for a, b in zip(each, each[1:], strict=False)), each[-1]]
    for value, low, high in zip(each, edges, edges[1:], strict=False):
        votes = [s for v, s in zip(values, said, strict=True) if v == value]
        axis.axvspan(low, high, color=VERDICTS[max(votes, key=votes.count)][0], alpha=0.12, linewidth=0)


def scale(losses: Sequence[float]) -> dict[str, Any]:
    """A logarithmic axis for positive losses, which shows at most three powers of ten above the median."""
    finite = sorted(v for v in losses if math.isfinite(v))
    if not finite or finite[0] <= 0:
        return {}
    return {"yscale": "log", "ylim": (finite[0] / 2, min(2 * finite[-1], 1e3 * finite[len(finite) // 2]))}
