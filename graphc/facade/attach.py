"""Methods of later stages that sit on objects of earlier ones, in one table."""

from __future__ import annotations

from pathlib import Path

from graphc.run.history import Run
from graphc.show.plots import plot_history, text_curve


def _plot(run: Run, path: str | Path) -> None:
    """Write loss, metrics and their validation values to a picture; needs the extra ``plot``."""
    plot_history(run.history, path)


def _curve(run: Run, name: str = "loss", width: int = 60, height: int = 8) -> str:
    """A quantity of the history as text, for the terminal."""
    return text_curve(run.history[name], width, height)


METHODS = ((Run, "plot", _plot), (Run, "curve", _curve))

for owner, name, method in METHODS:
    setattr(owner, name, method)
