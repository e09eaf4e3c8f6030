"""Callbacks that keep what a run passes through: checkpoints in files, the way of the parameters in memory."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from graphc.errors import DomainError, UnknownNameError
from graphc.ir.letters import close_name
from graphc.run.callback import Callback, Watching, at_least_one
from graphc.run.history import Trace

if TYPE_CHECKING:
    from graphc.run.history import Run


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
        at_least_one("Trajectory", "every", every)
        self.every = every

    def begin(self, run: Run, model: Any) -> None:
        self.trace = run.trajectory = Trace(model=model)
        self.trace.add(run.steps, model.params.snapshot())

    def epoch_end(self, run: Run, model: Any) -> bool | None:
        if run.epochs % self.every == 0:
            self.trace.add(run.steps, model.params.snapshot())
        return None

    def end(self, run: Run, model: Any) -> None:
        if self.trace.steps[-1] != run.steps:
            self.trace.add(run.steps, model.params.snapshot())


class Checkpoint(Watching):
    """Save the whole model every ``every`` epochs, atomically: parameters, optimizer state, position in the data.

    The file also says how far the run has come and what the other callbacks remember: ``fit(.., resume=True)`` with the
    same callbacks takes up the last good one, bit for bit.

    Parameters
    ----------
    path : str or Path
        ``"model.safetensors"``; ``{epoch}`` in it is replaced by the number of the epoch, ``{val_loss:.3f}`` and the
        like by a quantity of the history.
    every : int
        Epochs between two checkpoints.
    keep : int, optional
        Keep the last so many checkpoints and the best one, and remove the others; all are kept by default. The path
        must then have ``{epoch}`` in it.
    monitor : str, optional
        What decides which one is the best; by default ``"val_loss"`` when there are validation data, else ``"loss"``.
    mode : "min" or "max"
        Whether smaller or larger is better.

    Attributes
    ----------
    files : list of str
        The checkpoints that there are, oldest first.
    best_path : str or None
        The best one so far.
    """

    def __init__(
        self,
        path: str | Path,
        every: int = 1,
        keep: int | None = None,
        monitor: str | None = None,
        mode: str = "min",
    ) -> None:
        at_least_one("Checkpoint", "every", every)
        super().__init__(monitor, mode)
        if keep is not None and keep < 1:
            raise DomainError(f"Checkpoint: keep is {keep}\n  hint: keep at least the last 1, or leave it out")
        self.path, self.every, self.keep = str(path), every, keep
        if keep is not None and "{epoch" not in self.path:
            hint = "let the names differ, for example 'model-{epoch}.safetensors'"
            raise DomainError(f"Checkpoint: keep is {keep} but all are written to {self.path}\n  hint: {hint}")
        self._forget()

    def _forget(self) -> None:
        self.files: list[str] = []
        self.best_path: str | None = None
        self.best_value: float | None = None

    def begin(self, run: Run, model: Any) -> None:
        self._forget()

    def epoch_end(self, run: Run, model: Any) -> bool | None:
        if run.epochs % self.every:
            return None
        path = self._name(run)
        value = self.sign * self.watched(run)[1]
        if self.best_value is None or value < self.best_value:
            self.best_path, self.best_value = path, value
        self.files = [*(f for f in self.files if f != path), path]
        old = self._too_many()
        self.files = [f for f in self.files if f not in old]
        model.save(path)
        for file in old:  # when the new one is whole, not before
            with contextlib.suppress(OSError):
                Path(file).unlink(missing_ok=True)
        return None

    def _name(self, run: Run) -> str:
        values = {"epoch": run.epochs, "step": run.steps, **run.latest}
        try:
            return self.path.format_map(values)
        except KeyError as error:
            hint = close_name(str(error.args[0]), values)
            raise UnknownNameError(f"Checkpoint: no {error.args[0]!r} for {self.path}\n  hint: {hint}") from None
        except (IndexError, ValueError) as error:
            hint = "write {epoch}, {epoch:03d} or {val_loss:.3f}"
            raise DomainError(f"Checkpoint: {self.path} cannot be filled in: {error}\n  hint: {hint}") from None

    def _too_many(self) -> list[str]:
        return [] if self.keep is None else [f for f in self.files[: -self.keep] if f != self.best_path]

    def state_dict(self) -> dict[str, Any]:
        return {"files": self.files, "best_path": self.best_path, "best_value": self.best_value}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.files, self.best_path = [*state["files"]], state["best_path"]
        self.best_value = state["best_value"]
