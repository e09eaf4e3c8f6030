"""Pictures of a training run: a text curve for the terminal, a plot with matplotlib (the extra ``plot``)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from graphc.errors import MissingExtraError

BLOCKS = " ▁▂▃▄▅▆▇█"


def text_curve(values: Sequence[float], width: int = 60, height: int = 8) -> str:
    """The values as columns of blocks, on a logarithmic scale when all are positive."""
    if not values:
        return "no values"
    shown = _averaged(list(values), width)
    logarithmic = min(shown) > 0
    levels = [math.log10(v) for v in shown] if logarithmic else shown
    low, high = min(levels), max(levels)
    span = (high - low) or 1.0
    heights = [max(1, round((v - low) / span * height * 8)) for v in levels]
    rows = ["".join(BLOCKS[min(8, max(0, h - 8 * row))] for h in heights) for row in reversed(range(height))]
    labels = [f"{max(shown):10.3g} ", *[" " * 11] * (height - 2), f"{min(shown):10.3g} "] if height > 1 else [""]
    scale = ", logarithmic" if logarithmic else ""
    lines = [f"{label}│{row}" for label, row in zip(labels, rows, strict=True)]
    return "\n".join([*lines, f"{'':11s}└{'─' * len(shown)} 1 to {len(values)}{scale}"])


def _averaged(values: list[float], width: int) -> list[float]:
    """At most ``width`` values, each the mean of an equal part."""
    n = len(values)
    parts = min(n, width)
    cuts = [i * n // parts for i in range(parts + 1)]
    return [sum(values[a:b]) / (b - a) for a, b in zip(cuts, cuts[1:], strict=False)]


def _pyplot() -> Any:
    try:
        import matplotlib

        matplotlib.use("Agg")
        from matplotlib import pyplot
    except ImportError:
        raise MissingExtraError("plots need matplotlib\n  hint: install it with: pip install 'graphc[plot]'") from None
    return pyplot


def _save(figure: Any, path: str | Path) -> None:
    figure.tight_layout()
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=150)
    _pyplot().close(figure)


def plot_history(history: Mapping[str, Sequence[float]], path: str | Path) -> None:
    """Write the curves of a history to a picture: losses above, on a logarithmic axis, the other quantities below.

    Raises
    ------
    MissingExtraError
        When matplotlib is not installed.
    """
    pyplot = _pyplot()
    losses = {n: v for n, v in history.items() if n in ("loss", "val_loss")}
    others = {n: v for n, v in history.items() if n not in losses}
    figure, axes = pyplot.subplots(1 + bool(others), 1, figsize=(7, 3.5 * (1 + bool(others))), squeeze=False)
    for axis, curves in zip(axes[:, 0], (losses, others), strict=False):
        for name, values in curves.items():
            axis.plot(range(1, len(values) + 1), values, label=name, linestyle="--" if name.startswith("val_") else "-")
        axis.legend(frameon=False)
        axis.grid(alpha=0.3)
    if all(v > 0 for values in losses.values() for v in values):
        axes[0, 0].set_yscale("log")
    axes[0, 0].set_ylabel("loss")
    axes[-1, 0].set_xlabel("epoch")
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
    figure, (left, right) = _pyplot().subplots(1, 2, figsize=(10, 3.8))
    colours = {"too small": "tab:blue", "good": "tab:green", "too large": "tab:red", "": "tab:gray"}
    for value, curve, verdict in zip(values, curves, said, strict=True):
        left.plot(range(1, len(curve) + 1), curve, color=colours[verdict], linewidth=1, alpha=0.7)
        right.plot([value], [curve[-1]], "o", color=colours[verdict], markersize=4)
    for verdict in dict.fromkeys(said):
        right.plot([], [], "o", color=colours[verdict], label=verdict or "interrupted")
    for axis, label in ((left, "epoch"), (right, name)):
        axis.set(xlabel=label, ylabel="loss", **_scale([v for c in curves for v in c]))
        axis.grid(alpha=0.3)
    if min(values) > 0:
        right.set_xscale("log")
    right.legend(frameon=False)
    _save(figure, path)


def _scale(losses: Sequence[float]) -> dict[str, Any]:
    """A logarithmic axis for positive losses, which shows at most three powers of ten above the median."""
    finite = sorted(v for v in losses if math.isfinite(v))
    if not finite or finite[0] <= 0:
        return {}
    return {"yscale": "log", "ylim": (finite[0] / 2, min(2 * finite[-1], 1e3 * finite[len(finite) // 2]))}
