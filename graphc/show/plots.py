"""Pictures of a training run: a text curve for the terminal, a plot with matplotlib (the extra ``plot``)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from graphc.errors import DomainError, MissingExtraError

BLOCKS = " ▁▂▃▄▅▆▇█"


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


def _figure(rows: int, columns: int, width: float, height: float) -> tuple[Any, Any]:
    """A figure of its own, and its axes: the user's backend and his open figures stay as they are."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise MissingExtraError("plots need matplotlib\n  hint: install it with: pip install 'graphc[plot]'") from None
    figure = Figure(figsize=(width, height), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False)
    for axis in axes.flat:
        axis.grid(alpha=0.3)
        axis.spines[["top", "right"]].set_visible(False)
    return figure, axes


def _save(figure: Any, path: str | Path) -> None:
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=150)


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
            axis.set(**_scale([v for name in names for v in history[name]]))
        axis.xaxis.get_major_locator().set_params(integer=True)
        axis.set(xlabel=unit, ylabel=names[0] if len({n.removeprefix("val_") for n in names}) == 1 else "")
        if len(names) > 1:
            axis.legend(frameon=False)
    _save(figure, path)


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
    _save(figure, path)


def plot_sweep(
    name: str, values: Sequence[float], curves: Sequence[Sequence[float]], said: Sequence[str], path: str | Path
) -> None:
    """Write two pictures of a sweep: the loss over the epochs, and the loss at the end over the value; colour: verdict.

    Raises
    ------
    MissingExtraError
        When matplotlib is not installed.
    """
    figure, axes = _figure(1, 2, 10, 3.8)
    left, right = axes.flat
    colours = {"too small": "tab:blue", "good": "tab:green", "too large": "tab:red", "": "tab:gray"}
    for value, curve, verdict in zip(values, curves, said, strict=True):
        left.plot(range(1, len(curve) + 1), curve, color=colours[verdict], linewidth=1, alpha=0.7)
        right.plot([value], [curve[-1]], "o", color=colours[verdict], markersize=4)
    for verdict in dict.fromkeys(said):
        right.plot([], [], "o", color=colours[verdict], label=verdict or "interrupted")
    for axis, label in ((left, "epoch"), (right, name)):
        axis.set(xlabel=label, ylabel="loss", **_scale([v for c in curves for v in c]))
    if values and min(values) > 0:
        right.set_xscale("log")
    right.legend(frameon=False)
    _save(figure, path)


def _scale(losses: Sequence[float]) -> dict[str, Any]:
    """A logarithmic axis for positive losses, which shows at most three powers of ten above the median."""
    finite = sorted(v for v in losses if math.isfinite(v))
    if not finite or finite[0] <= 0:
        return {}
    return {"yscale": "log", "ylim": (finite[0] / 2, min(2 * finite[-1], 1e3 * finite[len(finite) // 2]))}
