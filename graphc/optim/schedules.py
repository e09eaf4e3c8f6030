"""Schedules: a hyper-parameter as a formula of the step number k, which counts from 1."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from numbers import Real
from types import MappingProxyType
from typing import Any

import numpy as np
import sympy as sp
from sympy import Expr, Symbol

from graphc.declare.formula import formula_text, parse
from graphc.declare.origin import located
from graphc.errors import DomainError, FormulaError, TypeMismatchError
from graphc.ir.scalar import minimum, numpy_function
from graphc.ir.scalar_latex import scalar_latex

__all__ = ["Schedule", "constant", "cosine", "exponential", "schedule", "step_decay", "warmup"]


def __dir__() -> list[str]:
    return sorted(__all__)


K = Symbol("k", positive=True, integer=True)
"""The number of the step, from 1."""


@dataclass(frozen=True, eq=False)
class Schedule:
    """One formula of `k` and named constants; immutable, equal by value.

    `expr` holds the constants as symbols, so that another constant compiles nothing new; `values` holds their values.
    """

    name: str
    expr: Expr
    values: Mapping[str, float]

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "values": dict(self.values)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update({**state, "values": MappingProxyType(state["values"])})

    @property
    def text(self) -> str:
        """The formula as text."""
        return formula_text(self.expr)

    @property
    def key(self) -> tuple:
        """What decides equality."""
        return self.name, self.expr, tuple(sorted(self.values.items()))

    def at(self, k: int) -> float:
        """The value at step `k` (from 1), in float64.

        Raises
        ------
        DomainError
            When `k` is no positive integer, or the formula has no finite value there.
        """
        if k != int(k) or k < 1:
            raise DomainError(f"A schedule is evaluated at step numbers 1, 2, ..., not at {k!r}.")
        symbols = (K, *(Symbol(n, real=True) for n in self.values))
        value = float(numpy_function(self.expr, 0, symbols)(np.float64(k), *map(np.float64, self.values.values())))
        if not math.isfinite(value):
            raise DomainError(f"The schedule {self} is {value} at step {k}. Change the formula or its constants.")
        return value

    def latex(self) -> str:
        """LaTeX of the formula."""
        return scalar_latex(self.expr)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Schedule) and self.key == other.key

    def __hash__(self) -> int:
        return hash(self.key)

    def __str__(self) -> str:
        constants = ", ".join(f"{n}={v:g}" for n, v in self.values.items())
        return f"{self.name}({self.text}; {constants})"

    __repr__ = __str__


@located
def schedule(text: str, *, name: str = "schedule", **constants: float) -> Schedule:
    """A schedule from formula text over `k` and named constants.

    Parameters
    ----------
    text : str
        The formula.
    name : str
        Shown in prints.
    **constants : float
        The values of the other names in the text.

    Raises
    ------
    FormulaError
        For an unknown name in the text, or a constant that the text does not use.

    Examples
    --------
    >>> schedule("eta0/(1 + 0.01*k)", eta0=0.1).at(100)
    0.05
    """
    values = {n: _constant(n, v) for n, v in constants.items()}
    if "k" in values:
        raise FormulaError("'k' is the step number and cannot be a constant. Rename the constant.")
    symbols = {n: Symbol(n, real=True) for n in values}
    expr = parse(text, {**symbols, "k": K})
    unused = sorted(n for n in values if symbols[n] not in expr.free_symbols)
    if unused:
        raise FormulaError(f"The constant '{unused[0]}' does not occur in the schedule {text!r}. Leave it out.")
    return Schedule(name, expr, MappingProxyType(values))


def _constant(name: str, value: Any) -> float:
    if isinstance(value, (bool, str)) or not isinstance(value, Real):
        raise TypeMismatchError(f"The constant '{name}' of a schedule is a number, not {type(value).__name__}.")
    if not math.isfinite(value):
        raise DomainError(f"The constant '{name}' of a schedule is {value}. Give a finite number.")
    return float(value)


def _positive(name: str, value: Any) -> float:
    if not _constant(name, value) > 0:
        raise DomainError(f"'{name}' of a schedule is {value}. Give a positive number.")
    return float(value)


def _rate(name: str, value: Any) -> float:
    number = _constant(name, value)
    if number < 0:
        raise DomainError(
            f"'{name}' of a schedule is {value}, below 0\n  hint: a step goes downhill; to make J large, make -J small"
        )
    return number


@located
def constant(eta: float) -> Schedule:
    """The same value at every step.

    Parameters
    ----------
    eta : float
    """
    return schedule("eta", name="constant", eta=_rate("eta", eta))


@located
def step_decay(eta: float, drop: float, every: int) -> Schedule:
    """eta*drop**floor((k - 1)/every): multiplied by `drop` after every `every` steps.

    Parameters
    ----------
    eta : float
        The value at the first step.
    drop : float
        Above 0.
    every : int
        Steps from one drop to the next.
    """
    text = "eta*drop**floor((k - 1)/every)"
    constants = {"eta": _rate("eta", eta), "drop": _positive("drop", drop), "every": _positive("every", every)}
    return schedule(text, name="step_decay", **constants)


@located
def exponential(eta: float, rate: float) -> Schedule:
    """eta*rate**(k - 1): multiplied by `rate` after every step.

    Parameters
    ----------
    eta : float
        The value at the first step.
    rate : float
        Above 0.
    """
    return schedule("eta*rate**(k - 1)", name="exponential", eta=_rate("eta", eta), rate=_positive("rate", rate))


@located
def cosine(eta: float, steps: int, eta_min: float = 0.0) -> Schedule:
    """Half a cosine from `eta` to `eta_min` over `steps` steps, then `eta_min` (Loshchilov & Hutter 2017).

    Parameters
    ----------
    eta : float
        The value at the first step.
    steps : int
        How long it takes.
    eta_min : float
        The value from then on.
    """
    text = "eta_min + (eta - eta_min)*(1 + cos(pi*min(k - 1, steps)/steps))/2"
    constants = {"eta": _rate("eta", eta), "steps": _positive("steps", steps), "eta_min": _rate("eta_min", eta_min)}
    return schedule(text, name="cosine", **constants)


@located
def warmup(after: Schedule | float, steps: int) -> Schedule:
    """`after`, multiplied by k/steps over the first `steps` steps.

    Parameters
    ----------
    after : Schedule or float
        What is warmed up to; its steps count from the first one, too.
    steps : int
        How long it takes.
    """
    inner = after if isinstance(after, Schedule) else constant(after)
    ramp = Symbol("warmup_steps", real=True)
    if ramp.name in inner.values:
        raise FormulaError("A warm-up of a warm-up has no meaning. Give warmup(...) a schedule without one.")
    values = {**inner.values, ramp.name: _positive("steps", steps)}
    return Schedule(f"warmup of {inner.name}", inner.expr * minimum(sp.S.One, K / ramp), MappingProxyType(values))
