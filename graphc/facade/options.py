"""The arguments of ``fit`` and ``sweep``, each checked on its own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from graphc.errors import DomainError, TypeMismatchError
from graphc.optim import Rule, optimizer_named
from graphc.run.callbacks import Callback, as_callback

TARGETS = ("cpu", "cuda", "auto")
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


@dataclass
class Options:
    """The arguments of ``fit``, checked."""

    rule: Rule
    steps: int | None
    epochs: int | None
    batch_size: int | None
    tolerance: float
    seed: int | None
    validation: Any
    callbacks: list[Callback]
    shuffle: bool
    sample_weight: Any
    record: str
    progress: bool
    target: str = "cpu"
    precision: str = "float32"
    threads: int | None = None
    verify: bool = True

    @property
    def by_epoch(self) -> bool:
        """Whether the run returns to Python after every epoch."""
        return bool(self.callbacks) or self.validation is not None


def check_options(
    who: str,
    optimizer: Any,
    *,
    epochs: int | None,
    steps: int | None,
    tol: float | None,
    batch_size: int | None,
    shuffle: bool,
    sample_weight: Any,
    record: str,
    progress: bool,
    target: str,
    precision: str,
    threads: int | None,
    verify: bool,
    seed: int | None = None,
    validation: Any = None,
    callbacks: Sequence[Any] = (),
) -> Options:
    """The arguments of ``fit``, each checked on its own; errors begin with ``who``."""
    check_target(who, target, precision)
    if record not in ("epoch", "step"):
        raise DomainError(f"{who}: record is {record!r}\n  hint: choose 'epoch' or 'step'")
    if epochs is not None and steps is not None:
        raise DomainError(f"{who}: both epochs and steps are given\n  hint: give one of them")
    for name, value in (("epochs", epochs), ("steps", steps), ("batch_size", batch_size), ("threads", threads)):
        _check_count(who, name, value)
    if tol is not None and not (isinstance(tol, int | float) and tol > 0):
        raise DomainError(f"{who}: tol is {tol!r}\n  hint: give a positive number, such as 1e-6")
    if seed is not None and (not isinstance(seed, int | np.integer) or seed < 0):
        raise DomainError(f"{who}: seed is {seed!r}\n  hint: give a whole number of at least 0")
    return Options(
        rule=optimizer_named(optimizer),
        steps=steps,
        epochs=epochs if epochs or steps or tol else 1,
        batch_size=batch_size,
        tolerance=float(tol or 0.0),
        seed=seed,
        validation=validation,
        callbacks=_callbacks(who, callbacks),
        shuffle=bool(shuffle),
        sample_weight=sample_weight,
        record=record,
        progress=bool(progress),
        target=target,
        precision=precision,
        threads=threads,
        verify=bool(verify),
    )


def _callbacks(who: str, values: Any) -> list[Callback]:
    if not isinstance(values, list | tuple):
        raise TypeMismatchError(f"{who}: callbacks is {values!r:.60}\n  hint: give a list, [callback]")
    return [as_callback(c) for c in values]


def _check_count(who: str, name: str, value: Any) -> None:
    if value is None:
        return
    if isinstance(value, bool) or not isinstance(value, int | np.integer):
        raise TypeMismatchError(f"{who}: {name} is {value!r}\n  hint: give a whole number")
    if value < 1:
        raise DomainError(f"{who}: {name} is {value}\n  hint: give at least 1")
