"""Schedules: a hyper-parameter as a formula of the step number k, which counts from 1."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from numbers import Real
from types import MappingProxyType
from typing import Any

import numpy as np
import sympy as sp
from sympy import Expr, Symbol

from graphc.declare.formula import parse
from graphc.declare.formula_text import formula_text
from graphc.declare.origin import located
from graphc.errors import DomainError, FormulaError, TypeMismatchError
from graphc.ir.scalar import less_equal, maximum, minimum, numpy_function, where
from graphc.ir.scalar_latex import scalar_latex
from graphc.records import record

__all__ = [
    "Schedule", "constant", "cosine", "cosine_restarts", "cyclic", "exponential", "inverse_sqrt", "linear", "one_cycle",
    "piecewise", "polynomial", "schedule", "sequence", "step_decay", "warmup",
]  # fmt: skip


def __dir__() -> list[str]:
    return sorted(__all__)


K = Symbol("k", positive=True, integer=True)
"""The number of the step, from 1."""


@record(frozen=True, eq=False)
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

    def _repr_latex_(self) -> str:
        return f"$${self.latex()}$$"


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


@located
def polynomial(eta: float, steps: int, eta_end: float = 0.0, power: float = 1.0) -> Schedule:
    """From `eta` to `eta_end` over `steps` steps along (1 - (k - 1)/steps)**power, then `eta_end`.

    Parameters
    ----------
    eta : float
        The value at the first step.
    steps : int
        How long it takes.
    eta_end : float
        The value from then on.
    power : float
        Above 0; 1 is a straight line.
    """
    text = "eta_end + (eta - eta_end)*(1 - min(k - 1, steps)/steps)**power"
    constants = {"eta": _rate("eta", eta), "steps": _positive("steps", steps), "eta_end": _rate("eta_end", eta_end)}
    return schedule(text, name="polynomial", **constants, power=_positive("power", power))


@located
def linear(eta: float, steps: int, eta_end: float = 0.0) -> Schedule:
    """In a straight line from `eta` to `eta_end` over `steps` steps, then `eta_end`.

    Parameters
    ----------
    eta : float
        The value at the first step.
    steps : int
        How long it takes.
    eta_end : float
        The value from then on; it may be the larger one.
    """
    text = "eta + (eta_end - eta)*min(k - 1, steps)/steps"
    constants = {"eta": _rate("eta", eta), "steps": _positive("steps", steps), "eta_end": _rate("eta_end", eta_end)}
    return schedule(text, name="linear", **constants)


@located
def inverse_sqrt(eta: float, steps: int) -> Schedule:
    """eta*min(k/steps, sqrt(steps/k)): up to `eta` over `steps` steps, then down with the root (Vaswani et al. 2017).

    Parameters
    ----------
    eta : float
        The largest value, at step `steps`.
    steps : int
        How long the warm-up takes.
    """
    text = "eta*min(k/steps, sqrt(steps/k))"
    return schedule(text, name="inverse_sqrt", eta=_rate("eta", eta), steps=_positive("steps", steps))


@located
def cosine_restarts(eta: float, steps: int, factor: float = 1.0, eta_min: float = 0.0) -> Schedule:
    """Half a cosine from `eta` to `eta_min` again and again, each `factor` times as long (Loshchilov & Hutter 2017).

    Parameters
    ----------
    eta : float
        The value at the first step of each cosine.
    steps : int
        How long the first one takes.
    factor : float
        At least 1.
    eta_min : float
        What each one falls to.
    """
    constants = {"eta": _rate("eta", eta), "steps": _positive("steps", steps), "eta_min": _rate("eta_min", eta_min)}
    if _constant("factor", factor) < 1:
        raise DomainError(f"'factor' of a schedule is {factor}. Give a number of at least 1.")
    before, length = "steps*floor((k - 1)/steps)", "steps"
    if factor != 1:  # n cosines are over; a rounded logarithm may lie just below a whole number
        constants["factor"] = float(factor)
        passed = "factor**floor(log(1 + (k - 1)/steps*(factor - 1))/log(factor) + 1e-12)"
        before, length = f"steps*({passed} - 1)/(factor - 1)", f"(steps*{passed})"
    text = f"eta_min + (eta - eta_min)*(1 + cos(pi*(k - 1 - {before})/{length}))/2"
    return schedule(text, name="cosine_restarts", **constants)


@located
def cyclic(eta_min: float, eta: float, up: int, down: int | None = None, shrink: float = 1.0) -> Schedule:
    """From `eta_min` up to `eta` and down again, over and over, in straight lines (Smith 2017).

    Parameters
    ----------
    eta_min, eta : float
        The lowest and the largest value.
    up, down : int
        Steps of the way up and of the way down; as many without `down`.
    shrink : float
        What the height of each cycle but the first is multiplied by, above 0: 0.5 is torch's "triangular2".
    """
    constants = {"eta_min": _rate("eta_min", eta_min), "eta": _rate("eta", eta), "up": _positive("up", up)}
    constants["down"] = constants["up"] if down is None else _positive("down", down)
    done = "floor((k - 1)/(up + down))"
    height = "(eta - eta_min)"
    if _positive("shrink", shrink) != 1:
        height, constants["shrink"] = f"{height}*shrink**{done}", float(shrink)
    at = f"(k - 1 - (up + down)*{done})"
    return schedule(f"eta_min + {height}*min({at}/up, (up + down - {at})/down)", name="cyclic", **constants)


@located
def one_cycle(eta: float, steps: int, warm: float = 0.3, start: float = 25.0, end: float = 1e4) -> Schedule:
    """Up from eta/start to `eta` and down to eta/start/end, along cosines (Smith & Topin 2018; torch's OneCycleLR).

    Parameters
    ----------
    eta : float
        The largest value.
    steps : int
        How long it takes; then it stays.
    warm : float
        The share of the steps that lead up, between 0 and 1.
    start, end : float
        How many times smaller the first value is than `eta`, and the last than the first; above 0.
    """
    up = _positive("warm", warm) * _positive("steps", steps) - 1
    if not 0 < up < steps - 1:
        raise DomainError(f"one_cycle: {warm:g} of {steps} steps leave none for one of the two ways. Give more steps.")
    text = (
        "where(k - 1 <= up, eta - (eta - eta/start)*(1 + cos(pi*(k - 1)/up))/2,"
        " eta/start/end + (eta - eta/start/end)*(1 + cos(pi*min(1, (k - 1 - up)/(last - up))))/2)"
    )
    constants = {"eta": _rate("eta", eta), "up": up, "last": float(steps) - 1}
    return schedule(text, name="one_cycle", **constants, start=_positive("start", start), end=_positive("end", end))


@located
def piecewise(etas: Sequence[float], steps: Sequence[int]) -> Schedule:
    """etas[0] up to step steps[0], then etas[1] up to step steps[1], and so on; the last one stays.

    Parameters
    ----------
    etas : sequence of float
        The values.
    steps : sequence of int
        The last step of each value but the last, ascending.
    """
    return replace(sequence([constant(eta) for eta in etas], steps), name="piecewise")


@located
def sequence(schedules: Sequence[Schedule | float], steps: Sequence[int]) -> Schedule:
    """One schedule after the other: the first up to step steps[0], the second up to step steps[1], and so on.

    Each counts its own steps from 1.

    Parameters
    ----------
    schedules : sequence of Schedule or float
        At least one.
    steps : sequence of int
        The last step of each schedule but the last, ascending.
    """
    parts = [s if isinstance(s, Schedule) else constant(s) for s in schedules]
    ends = [_positive("steps", n) for n in steps]
    if not parts or len(parts) != len(ends) + 1:
        raise DomainError(f"A sequence of {len(parts)} schedules has {max(len(parts) - 1, 0)} ends, not {len(ends)}.")
    if any(a >= b for a, b in zip(ends, ends[1:])):
        raise DomainError(f"The steps {', '.join(f'{n:g}' for n in ends)} of a sequence do not ascend. Sort them.")
    values: dict[str, float] = {}
    bodies: list[Expr] = []
    for number, part in enumerate(parts):
        own = {Symbol(n, real=True): Symbol(_free(f"{n}_{number}", values), real=True) for n in part.values}
        values |= {new.name: part.values[old.name] for old, new in own.items()}
        begin = ends[number - 1] if number else 0.0
        clock = maximum(K - Symbol(f"begin_{number}", real=True), sp.S.One) if number else K
        bodies.append(part.expr.xreplace({**own, K: clock}))
        values |= {f"begin_{number}": begin} if number else {}
    body = bodies[-1]
    for number in range(len(ends) - 1, -1, -1):
        body = where(less_equal(K, Symbol(f"begin_{number + 1}", real=True)), bodies[number], body)
    used = {s.name for s in body.free_symbols}
    kept = {n: v for n, v in values.items() if n in used}
    return Schedule("sequence", body, MappingProxyType(kept))


def _free(name: str, taken: Mapping[str, float]) -> str:
    while name in taken:
        name += "_"
    return name
