"""The arguments of ``fit`` and ``sweep``, each checked on its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from graphc.errors import DomainError, TypeMismatchError
from graphc.optim import Curvature, Groups, Rule, optimizer_named
from graphc.records import record
from graphc.run.callback import Callback, FunctionCallback, as_callback
from graphc.run.keeping import Checkpoint
from graphc.run.steering import EarlyStopping

BatchSize = int | Mapping[str, int | None] | Literal["auto"] | None
TARGETS = ("cpu", "cuda", "auto")
BATCH = 32  # rows a step of an update rule unless told otherwise
PRECISIONS = ("float32", "tf32", "bf16")


def check_target(who: str, target: Any, precision: Any) -> None:
    """Refuse a target or precision that there is not.

    Raises
    ------
    DomainError
        Naming what there is.
    """
    if target not in TARGETS:
        raise DomainError(f"{who}: target is {target!r}\n  hint: choose 'cpu', 'cuda' or 'auto'")
    if precision not in PRECISIONS:
        raise DomainError(
            f"{who}: precision is {precision!r}\n  hint: choose 'float32', 'tf32' or 'bf16' (of the products on a GPU)"
        )
    if precision != "float32" and target == "cpu":
        raise DomainError(f"{who}: precision {precision!r} is for target='cuda'\n  hint: leave it out on the CPU")


@record(frozen=True)
class Options:
    """The arguments of ``fit`` and ``sweep``; :meth:`checked` makes of them what a run takes."""

    optimizer: Any
    steps: int | None
    epochs: int | None
    batch_size: BatchSize
    tol: float | None
    shuffle: bool
    sample_weight: Any
    record: str
    progress: bool
    target: str = "cpu"
    precision: str = "float32"
    threads: int | None = None
    verify: bool = True
    seed: int | None = None
    validation: Any = None
    callbacks: Sequence[Any] = ()
    resume: bool | str | Path = False

    def with_rule(self, rule: Rule) -> Options:
        """The same, checked as they are, with another update rule."""
        return replace(self, optimizer=rule)

    @property
    def rule(self) -> Rule:
        """The optimizer, where it was checked and is an update rule, or several that do as one."""
        return self.optimizer

    def for_parameters(self, names: Sequence[str]) -> Options:
        """With the parameters that each of several rules is for."""
        return replace(self, optimizer=self.optimizer.assigned(names)) if isinstance(self.optimizer, Groups) else self

    @property
    def rows_a_step(self) -> int | None:
        """The batch size of one free extent, where it was checked; None for all rows."""
        assert not isinstance(self.batch_size, str | Mapping)
        return self.batch_size

    @property
    def tolerance(self) -> float:
        """Of ``tol``; 0 where none was given."""
        return float(self.tol or 0.0)

    @property
    def by_epoch(self) -> bool:
        """Whether something happens at the ends of epochs."""
        return bool(self.callbacks) or self.validation is not None

    def checked(self, who: str) -> Options:
        """Each argument checked on its own, the optimizer by its rule; errors begin with ``who``."""
        check_target(who, self.target, self.precision)
        if self.record not in ("epoch", "step"):
            raise DomainError(f"{who}: record is {self.record!r}\n  hint: choose 'epoch' or 'step'")
        if self.epochs is not None and self.steps is not None:
            raise DomainError(f"{who}: both epochs and steps are given\n  hint: give one of them")
        optimizer = optimizer_named(self.optimizer)
        if isinstance(optimizer, Curvature):
            _check_curvature(who, optimizer, self)
        if isinstance(optimizer, Groups) and who not in ("fit", "sweep"):
            message = f"{who}: rules for groups of parameters are for model.fit and model.sweep"
            raise DomainError(f"{message}\n  hint: give one rule such as gc.Adam(1e-3)")
        whole = None if isinstance(optimizer, Curvature) else BATCH
        batch_size = whole if isinstance(self.batch_size, str) and self.batch_size == "auto" else self.batch_size
        callbacks = _callbacks(who, self.callbacks)
        if who == "sweep":
            _check_watched(self, callbacks)
        for name in ("epochs", "steps", "threads"):
            _check_count(who, name, getattr(self, name))
        for size in batch_size.values() if isinstance(batch_size, Mapping) else (batch_size,):
            _check_count(who, "batch_size", size)
        if self.tol is not None and not (isinstance(self.tol, int | float) and self.tol > 0):
            raise DomainError(f"{who}: tol is {self.tol!r}\n  hint: give a positive number, such as 1e-6")
        if self.seed is not None and (not isinstance(self.seed, int | np.integer) or self.seed < 0):
            raise DomainError(f"{who}: seed is {self.seed!r}\n  hint: give a whole number of at least 0")
        return replace(
            self,
            optimizer=optimizer,
            batch_size=batch_size,
            target="cpu" if isinstance(optimizer, Curvature) else self.target,
            epochs=self.epochs if self.epochs or self.steps or self.tol else 1,
            callbacks=callbacks,
            shuffle=bool(self.shuffle),
            progress=bool(self.progress),
            verify=bool(self.verify),
        )


def _check_curvature(who: str, optimizer: Curvature, options: Options) -> None:
    """Refuse what an optimizer that uses curvature cannot do."""
    if who != "fit":
        raise DomainError(
            f"{who}: {optimizer.name} trains one model at a time\n"
            f"  hint: call fit in a loop, or sweep over an update rule such as gc.Adam(1e-3)"
        )
    if options.target == "cuda":
        raise DomainError(
            f"{who}: {optimizer.name} runs on the CPU only\n"
            f"  hint: leave out target, or take an update rule such as gc.Adam(1e-3)"
        )
    if options.sample_weight is not None and not optimizer.weighted:
        raise DomainError(
            f"{who}: {optimizer.name} takes no sample_weight\n  hint: take gc.LBFGS(), or weigh the rows in the loss"
        )


def _check_watched(options: Options, callbacks: Sequence[Callback]) -> None:
    """Refuse what the copies of a sweep cannot do at the ends of epochs."""
    other = next((c for c in callbacks if not isinstance(c, EarlyStopping)), None)
    if other is not None:
        name = "a function" if isinstance(other, FunctionCallback) else type(other).__name__
        hint = "call fit in a loop for other callbacks"
        raise DomainError(f"sweep: callbacks may be gc.EarlyStopping, not {name}\n  hint: {hint}")
    if options.by_epoch and options.target == "cuda":
        what = "early stopping" if callbacks else "validation"
        raise DomainError(f"sweep: {what} is for target='cpu'\n  hint: leave out target, or call fit in a loop")


def _callbacks(who: str, values: Any) -> list[Callback]:
    if not isinstance(values, list | tuple):
        raise TypeMismatchError(f"{who}: callbacks is {values!r:.60}\n  hint: give a list, [callback]")
    found = [as_callback(c) for c in values]
    return sorted(found, key=lambda c: isinstance(c, Checkpoint))  # the last to act: it keeps what the others remember


def _check_count(who: str, name: str, value: Any) -> None:
    if value is None:
        return
    if isinstance(value, bool) or not isinstance(value, int | np.integer):
        raise TypeMismatchError(f"{who}: {name} is {value!r}\n  hint: give a whole number")
    if value < 1:
        raise DomainError(f"{who}: {name} is {value}\n  hint: give at least 1")
