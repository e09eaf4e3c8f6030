"""What happens at the end of an epoch: early stopping, checkpoints, any function of the run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from graphc.errors import DomainError, UnknownNameError
from graphc.ir.letters import close_name
from graphc.run.history import Trace

if TYPE_CHECKING:
    from graphc.run.history import Run


class Callback:
    """Base of callbacks: override :meth:`epoch_end`."""

    def begin(self, run: Run, model: Any) -> None:
        """Called before the first step of a fit."""

    def epoch_end(self, run: Run, model: Any) -> bool | None:
        """Called after every epoch with whole steps only; return True to stop the run."""

    def end(self, run: Run, model: Any) -> None:
        """Called after the last step."""


@dataclass
class FunctionCallback(Callback):
    """Any function of the run; it stops the run by returning True."""

    function: Callable[[Run], Any]

    def epoch_end(self, run: Run, model: Any) -> bool | None:
        return self.function(run) is True


class EarlyStopping(Callback):
    """Stop when a quantity has not improved for ``patience`` epochs.

    Parameters
    ----------
    monitor : str, optional
        A name of the history; by default ``"val_loss"`` when there are validation data, else ``"loss"``.
    patience : int
        Epochs without improvement before the run stops.
    min_delta : float
        What counts as an improvement.
    mode : "min" or "max"
        Whether smaller or larger is better.
    restore_best : bool
        Put the parameters of the best epoch back at the end.
    """

    def __init__(
        self,
        monitor: str | None = None,
        patience: int = 10,
        min_delta: float = 0.0,
        mode: str = "min",
        restore_best: bool = True,
    ) -> None:
        if patience < 1:
            raise DomainError(f"EarlyStopping: patience is {patience}\n  hint: give at least 1 epoch")
        if mode not in ("min", "max"):
            raise DomainError(f"EarlyStopping: mode is {mode!r}\n  hint: choose 'min' or 'max'")
        self.monitor, self.patience, self.min_delta = monitor, patience, min_delta
        self.sign, self.restore_best = (1.0 if mode == "min" else -1.0), restore_best

    def begin(self, run: Run, model: Any) -> None:
        self.best, self.wait, self.parameters = np.inf, 0, None

    def epoch_end(self, run: Run, model: Any) -> bool | None:
        name = self.monitor or ("val_loss" if "val_loss" in run.latest else "loss")
        if name not in run.latest:
            raise UnknownNameError(f"EarlyStopping: no {name!r} is recorded\n  hint: {close_name(name, run.latest)}")
        value = self.sign * run.latest[name]
        if value < self.best - self.min_delta:
            self.best, self.wait = value, 0
            run.best = {"epoch": run.epochs, name: self.sign * value}
            self.parameters = model.params.snapshot() if self.restore_best else None
            return False
        self.wait += 1
        return self.wait >= self.patience

    def end(self, run: Run, model: Any) -> None:
        if self.parameters is not None:
            model.params.restore(self.parameters)


class Trajectory(Callback):
    """Keep the parameters before the first step and after every ``every`` epochs, as ``run.trajectory``.

    ``model.landscape(x, t, along="path")`` and ``run.animate("fit.gif")`` draw the way they went. With
    ``batch_size=None`` an epoch is one step.

    Parameters
    ----------
    every : int
        Epochs between two points; each point takes the memory of all parameters.
    """

    def __init__(self, every: int = 1) -> None:
        if every < 1:
            raise DomainError(f"Trajectory: every is {every}\n  hint: give at least 1 epoch")
        self.every = every

    def begin(self, run: Run, model: Any) -> None:
        self.trace = run.trajectory = Trace(model=model)
        self.trace.add(0, model.params.snapshot())

    def epoch_end(self, run: Run, model: Any) -> bool | None:
        if run.epochs % self.every == 0:
            self.trace.add(run.steps, model.params.snapshot())
        return None

    def end(self, run: Run, model: Any) -> None:
        if self.trace.steps[-1] != run.steps:
            self.trace.add(run.steps, model.params.snapshot())


class Checkpoint(Callback):
    """Save the whole model every ``every`` epochs, atomically: parameters, optimizer state, position in the data.

    Parameters
    ----------
    path : str or Path
        ``"model.safetensors"``; ``{epoch}`` in it is replaced by the number of the epoch.
    every : int
        Epochs between two checkpoints.
    """

    def __init__(self, path: str | Path, every: int = 1) -> None:
        if every < 1:
            raise DomainError(f"Checkpoint: every is {every}\n  hint: give at least 1 epoch")
        self.path, self.every = str(path), every

    def epoch_end(self, run: Run, model: Any) -> bool | None:
        if run.epochs % self.every == 0:
            model.save(self.path.replace("{epoch}", str(run.epochs)))
        return None


def as_callback(value: Any) -> Callback:
    """A callback object, or a function wrapped as one."""
    if isinstance(value, Callback):
        return value
    if callable(value):
        return FunctionCallback(value)
    hint = "pass gc.EarlyStopping(...), gc.Checkpoint(...) or a function of the run"
    raise DomainError(f"callbacks: {value!r:.60} is no callback\n  hint: {hint}")
