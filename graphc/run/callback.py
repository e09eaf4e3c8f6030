"""What a callback is, and what those share that watch a quantity of the history."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from graphc.errors import DomainError, UnknownNameError
from graphc.ir.letters import close_name
from graphc.records import record

if TYPE_CHECKING:
    from graphc.run.history import Run


class Callback:
    """Base of callbacks: override :meth:`epoch_end`.

    What a callback remembers from epoch to epoch goes into checkpoints when it tells it by :meth:`state_dict`; a run
    that is taken up again gives it back.
    """

    def begin(self, run: Run, model: Any) -> None:
        """Called before the first step of a fit."""

    def epoch_end(self, run: Run, model: Any) -> bool | None:
        """Called after every epoch with whole steps only; return True to stop the run."""

    def end(self, run: Run, model: Any) -> None:
        """Called after the last step."""

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint keeps of it: numbers, texts, lists of them, arrays."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Called after :meth:`begin` of a run that is taken up again, with what :meth:`state_dict` gave."""


@record
class FunctionCallback(Callback):
    """Any function of the run; it stops the run by returning True."""

    function: Callable[[Run], Any]

    def epoch_end(self, run: Run, model: Any) -> bool | None:
        return self.function(run) is True


class Watching(Callback):
    """Base of callbacks that watch one quantity get smaller (``mode="min"``) or larger (``"max"``)."""

    def __init__(self, monitor: str | None, mode: str) -> None:
        if mode not in ("min", "max"):
            raise DomainError(f"{type(self).__name__}: mode is {mode!r}\n  hint: choose 'min' or 'max'")
        self.monitor, self.sign = monitor, (1.0 if mode == "min" else -1.0)

    def watched(self, run: Run) -> tuple[str, float]:
        """Name and value after this epoch; by default the validation loss where there is one, else the loss."""
        name = self.monitor or ("val_loss" if "val_loss" in run.latest else "loss")
        if name not in run.latest:
            hint = close_name(name, run.latest)
            raise UnknownNameError(f"{type(self).__name__}: no {name!r} is recorded\n  hint: {hint}")
        return name, run.latest[name]


def at_least_one(who: str, name: str, value: int) -> None:
    """Refuse a number of epochs below 1.

    Raises
    ------
    DomainError
        Naming the value.
    """
    if value < 1:
        raise DomainError(f"{who}: {name} is {value}\n  hint: give at least 1 epoch")


def as_callback(value: Any) -> Callback:
    """A callback object, or a function wrapped as one."""
    if isinstance(value, Callback):
        return value
    if callable(value):
        return FunctionCallback(value)
    hint = "pass gc.EarlyStopping(...), gc.Checkpoint(...) or a function of the run"
    raise DomainError(f"callbacks: {value!r:.60} is no callback\n  hint: {hint}")
