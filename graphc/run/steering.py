"""Callbacks that steer a run by what they watch: they stop it, or make its learning rate smaller."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from graphc.errors import DomainError
from graphc.run.callback import Watching, at_least_one

if TYPE_CHECKING:
    from graphc.run.history import Run


class EarlyStopping(Watching):
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
        at_least_one("EarlyStopping", "patience", patience)
        super().__init__(monitor, mode)
        self.patience, self.min_delta, self.restore_best = patience, float(min_delta), restore_best

    def begin(self, run: Run, model: Any) -> None:
        self.best, self.wait, self.parameters = np.inf, 0, None

    def epoch_end(self, run: Run, model: Any) -> bool | None:
        name, found = self.watched(run)
        value = self.sign * found
        if value < self.best - self.min_delta:
            self.best, self.wait = value, 0
            run.best = {"epoch": run.epochs, name: found}
            self.parameters = model.params.kept(self.parameters) if self.restore_best else None
            return False
        self.wait += 1
        return self.wait >= self.patience

    def end(self, run: Run, model: Any) -> None:
        if self.parameters is not None:
            model.params.restore(self.parameters)

    def state_dict(self) -> dict[str, Any]:
        kept = {} if self.parameters is None else {"parameters": np.asarray(self.parameters)}
        return {"best": self.best, "wait": self.wait, **kept}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.best, self.wait, self.parameters = state["best"], state["wait"], state.get("parameters")


class ReduceLROnPlateau(Watching):
    """Multiply the learning rate by ``factor`` when a quantity has not improved for ``patience`` epochs.

    The optimizer must have been given a number for ``eta``, no schedule. The next fit begins with that number again.

    Parameters
    ----------
    monitor : str, optional
        A name of the history; by default ``"val_loss"`` when there are validation data, else ``"loss"``.
    factor : float
        Between 0 and 1.
    patience : int
        Epochs without improvement before the rate is made smaller.
    min_delta : float
        What counts as an improvement.
    mode : "min" or "max"
        Whether smaller or larger is better.
    cooldown : int
        Epochs after that, during which none is counted.
    min_lr : float
        The rate is never made smaller than this.

    Examples
    --------
    >>> import graphc as gc
    >>> callbacks = [gc.callbacks.ReduceLROnPlateau(factor=0.5, patience=5)]
    """

    def __init__(
        self,
        monitor: str | None = None,
        factor: float = 0.1,
        patience: int = 10,
        min_delta: float = 1e-4,
        mode: str = "min",
        cooldown: int = 0,
        min_lr: float = 0.0,
    ) -> None:
        at_least_one("ReduceLROnPlateau", "patience", patience)
        super().__init__(monitor, mode)
        if not 0.0 < factor < 1.0:
            raise DomainError(f"ReduceLROnPlateau: factor is {factor}\n  hint: give a number between 0 and 1, as 0.1")
        self.factor, self.patience, self.min_delta = factor, patience, float(min_delta)
        self.cooldown, self.min_lr = cooldown, min_lr

    def begin(self, run: Run, model: Any) -> None:
        self.best, self.wait, self.cooling = np.inf, 0, 0
        run.hyper.check("ReduceLROnPlateau", "eta")

    def epoch_end(self, run: Run, model: Any) -> bool | None:
        value = self.sign * self.watched(run)[1]
        if self.cooling:
            self.cooling, self.wait = self.cooling - 1, 0
        if value < self.best - self.min_delta:
            self.best, self.wait = value, 0
        elif not self.cooling:
            self.wait += 1
            if self.wait >= self.patience and run.hyper["eta"] > self.min_lr:
                run.hyper["eta"] = max(run.hyper["eta"] * self.factor, self.min_lr)
                self.cooling, self.wait = self.cooldown, 0
        return None

    def state_dict(self) -> dict[str, Any]:
        return {"best": self.best, "wait": self.wait, "cooling": self.cooling}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.best, self.wait, self.cooling = state["best"], state["wait"], state["cooling"]
