"""Values of hyper-parameters: what they may be given as, and how they are told."""

from __future__ import annotations

import math
from collections.abc import Sequence
from numbers import Real
from typing import Any

import numpy as np

from graphc.errors import DomainError, FormulaError, TypeMismatchError
from graphc.optim.schedules import Schedule

Hyper = float | Schedule | np.ndarray
Value = float | Schedule | np.ndarray | Sequence[float]
"""What a hyper-parameter may be given as; a sequence is a 1-D array."""


def hyper_value(rule_name: str, name: str, value: Any) -> Hyper:
    """A hyper-parameter as it was given, checked: a number, a schedule, or a 1-D array of numbers."""
    if not name.isidentifier() or name in ("g", "k", "theta", "norm"):
        raise FormulaError(f"'{name}' cannot be a hyper-parameter of '{rule_name}'. Choose another name.")
    if isinstance(value, Schedule):
        return value
    if isinstance(value, list | tuple) and all(map(_is_real, value)):
        return _values(name, np.asarray(value))
    if isinstance(value, np.ndarray) and value.ndim == 1 and value.dtype.kind in "fiu":
        return _values(name, value)
    if isinstance(value, list | tuple) or not _is_real(value):
        found = f"'{name}' of '{rule_name}' is {type(value).__name__}."
        raise TypeMismatchError(f"{found} Give a number, a schedule or, in a sweep, a list or 1-D array of numbers.")
    if not math.isfinite(value):
        raise DomainError(f"'{name}' of '{rule_name}' is {value}. Give a finite number.")
    return float(value)


def _is_real(value: Any) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool)


def _values(name: str, value: np.ndarray) -> np.ndarray:
    copy = np.array(value, dtype=np.float64)
    if not copy.size or not np.isfinite(copy).all():
        raise DomainError(f"The array '{name}' must hold finite numbers, at least one.")
    copy.setflags(write=False)
    return copy


def extra_value(name: str, value: Any) -> float | None:
    """clip_value, clip_norm or decay, checked; None for a decay of 0."""
    if value is None:
        return None
    if not _is_real(value):
        raise TypeMismatchError(f"'{name}' is a number, not {type(value).__name__}.")
    if not math.isfinite(value) or value < 0 or (value == 0 and name != "decay"):
        raise DomainError(f"'{name}' is {value}. Give a positive number, or leave it out.")
    return float(value) if value else None


def frozen(value: Hyper) -> Any:
    """A hyper-parameter that hashes."""
    return tuple(value.tolist()) if isinstance(value, np.ndarray) else value


def shown(value: Hyper) -> str:
    """A hyper-parameter as text."""
    if isinstance(value, np.ndarray):
        return f"[{value[0]:g}, ..., {value[-1]:g}]" if value.size > 2 else str(value.tolist())
    return str(value) if isinstance(value, Schedule) else f"{value:g}"
