"""Constraints: what a parameter is set to after every update, as a formula of theta and, where named, of its norms.

``gc.param("W", (3, 4), constraint=gc.constraints.nonnegative)``; your own: ``constraint="max(theta, 0)"``.
"""

from __future__ import annotations

from functools import partial
from numbers import Real
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sympy import Expr, S, Symbol

from graphc.declare.formula import formula_error, parse
from graphc.declare.formula_text import formula_text
from graphc.declare.names import shape_text
from graphc.declare.origin import fail, located
from graphc.errors import DomainError, FormulaError, ShapeError, TypeMismatchError
from graphc.ir.scalar import maximum, number, numpy_function
from graphc.records import record

__all__ = ["Constraint", "box", "constraint", "max_norm", "nonnegative", "simplex", "unit_norm"]

THETA = Symbol("theta", real=True)
NORM = Symbol("norm_theta", real=True, nonnegative=True)
"""norm(theta): the Euclidean norm along the axis of a constraint, or of the whole parameter."""
LEVEL = Symbol("level_theta", real=True)
"""level(theta): the number l with sum max(theta - l, 0) = 1 along that axis, by Newton's method from below."""
ROUNDS = 60  # of it at most: every one takes an element out of the sum, most of them many


def __dir__() -> list[str]:
    return sorted(__all__)


@record(frozen=True)
class Constraint:
    """theta <- formula, for every element after every update; equal by value.

    Attributes
    ----------
    name : str
        Shown in prints.
    expr : Expr
        Of the symbols `THETA`, `NORM` and `LEVEL`.
    axis : int or None
        What norm(theta) and level(theta) run along; the whole parameter for None.
    """

    name: str
    expr: Expr
    axis: int | None = None

    @property
    def text(self) -> str:
        """The formula as text."""
        return formula_text(self.expr).replace(NORM.name, "norm(theta)").replace(LEVEL.name, "level(theta)")

    @property
    def reads_others(self) -> bool:
        """Whether an element depends on others."""
        return bool({NORM, LEVEL} & self.expr.free_symbols)

    @property
    def reads_level(self) -> bool:
        """Whether it takes level(theta); norm(theta) otherwise, if it depends on others."""
        return LEVEL in self.expr.free_symbols

    def sizes(self, shape: tuple[int, ...]) -> tuple[int, int, int]:
        """(outer, n, inner): element (o*n + i)*inner + j counts to norm number o*inner + j."""
        if self.axis is None:
            return 1, int(np.prod(shape, dtype=np.int64)), 1
        outer, inner = shape[: self.axis], shape[self.axis + 1 :]
        return int(np.prod(outer, dtype=np.int64)), shape[self.axis], int(np.prod(inner, dtype=np.int64))

    def apply(self, theta: NDArray[Any]) -> NDArray[Any]:
        """What a parameter becomes, by NumPy."""
        if not self.reads_others:
            return np.asarray(numpy_function(self.expr, 0, (THETA,))(theta)) + 0 * theta
        parts = theta.reshape(self.sizes(theta.shape))
        symbol = LEVEL if self.reads_level else NORM
        found = _level(parts) if self.reads_level else np.sqrt(np.sum(parts**2, axis=1, keepdims=True))
        return numpy_function(self.expr, 0, (THETA, symbol))(parts, found).reshape(theta.shape)

    def __str__(self) -> str:
        return f"{self.name}: theta <- {self.text}"


def _level(parts: NDArray[Any]) -> NDArray[Any]:
    level = (np.sum(parts, axis=1, keepdims=True) - 1) / parts.shape[1]
    for _ in range(min(parts.shape[1], ROUNDS)):
        above = np.maximum(parts - level, 0)
        count = np.maximum(np.sum(above > 0, axis=1, keepdims=True), 1)  # rounding may leave none
        level = level + (np.sum(above, axis=1, keepdims=True) - 1) / count
    return level


@located
def constraint(text: str, *, name: str = "constraint", axis: int | None = None, **constants: float) -> Constraint:
    """A constraint from formula text over `theta`, `norm(theta)` or `level(theta)`, and named constants.

    Parameters
    ----------
    text : str
        The formula.
    name : str
        Shown in prints.
    axis : int, optional
        What norm(theta) runs along: 0 for the norm of every column. The whole parameter without.
    **constants : float
        The values of the other names in the text.

    Raises
    ------
    FormulaError
        For an unknown name in the text.

    Examples
    --------
    >>> constraint("max(theta, low)", low=0.1).apply(np.array([-1.0, 2.0])).tolist()
    [0.1, 2.0]
    """
    if axis is not None and (isinstance(axis, bool) or not isinstance(axis, int)):
        raise TypeMismatchError(f"The axis of a constraint is {axis!r}. Give a whole number, or None for all.")
    if not isinstance(text, str):
        raise FormulaError(f"A constraint is formula text, not {type(text).__name__}. Write \"max(theta, 0)\".")
    values = {n: number(v) for n, v in constants.items()}
    symbols = {n: Symbol(n, real=True) for n in values}

    def along(word: str, symbol: Symbol, *args: Expr) -> Expr:
        if args != (THETA,):
            raise formula_error(text, text.index(word), f"{word} takes the parameter.", f"Write {word}(theta).")
        return symbol

    functions = {"norm": partial(along, "norm", NORM), "level": partial(along, "level", LEVEL)}
    expr = parse(text, {**symbols, "theta": THETA}, functions).xreplace({symbols[n]: v for n, v in values.items()})
    if {NORM, LEVEL} <= expr.free_symbols:
        raise FormulaError(f"The constraint {text!r} takes both norm(theta) and level(theta). Take one of them.")
    return Constraint(name, expr, axis)


nonnegative = Constraint("nonnegative", maximum(THETA, S.Zero))
"""At least 0, every element."""


@located
def box(low: float, high: float) -> Constraint:
    """Every element between two numbers.

    Parameters
    ----------
    low, high : float
        The smaller one first.
    """
    if not low <= high:
        raise DomainError(f"box: low is {low} and high is {high}\n  hint: give the smaller number first.")
    return constraint("min(max(theta, low), high)", name=f"box({low}, {high})", low=low, high=high)


@located
def unit_norm(axis: int | None = 0) -> Constraint:
    """theta/norm(theta): every column of norm 1, or the whole parameter; one of norm 0 stays.

    Parameters
    ----------
    axis : int or None
        What the norm runs along; 0 takes the weights that lead to one unit.
    """
    return constraint("theta/max(norm(theta), 1e-30)", name=f"unit_norm({axis})", axis=axis)


@located
def max_norm(limit: float = 2.0, axis: int | None = 0) -> Constraint:
    """theta*limit/max(norm(theta), limit): columns of a larger norm are scaled to it (Srivastava et al. 2014).

    Parameters
    ----------
    limit : float
        Above 0.
    axis : int or None
        What the norm runs along; 0 takes the weights that lead to one unit, None the whole parameter.
    """
    if not isinstance(limit, Real) or not limit > 0:
        raise DomainError(f"max_norm: limit is {limit}\n  hint: a norm is above 0, give 2.0.")
    text = "theta*limit/max(norm(theta), limit)"
    return constraint(text, name=f"max_norm({limit}, {axis})", axis=axis, limit=limit)


@located
def simplex(axis: int | None = 0) -> Constraint:
    """The nearest numbers of at least 0 whose sum is 1, such as probabilities (Michelot 1986).

    Parameters
    ----------
    axis : int or None
        What the sum runs along; the whole parameter for None.
    """
    return constraint("max(theta - level(theta), 0)", name=f"simplex({axis})", axis=axis)


def constraint_of(value: Any, name: str, shape: tuple[int, ...]) -> Constraint | None:
    """The constraint that ``param(constraint=value)`` means, its axis counted from 0."""
    if value is None:
        return None
    found = constraint(value) if isinstance(value, str) else value
    if not isinstance(found, Constraint):
        hint = 'give one of gc.constraints, or a formula such as "max(theta, 0)".'
        fail(TypeMismatchError, f"the constraint of {name} is {value!r:.60}", hint)
    if found.axis is None:
        return found
    if not -len(shape) <= found.axis < len(shape):
        message = f"the constraint of {name} is along axis {found.axis}, its shape is {shape_text(shape)}"
        fail(ShapeError, message, "give an axis that it has, or axis=None for all of it.")
    return Constraint(found.name, found.expr, found.axis % len(shape))
