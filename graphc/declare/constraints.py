"""Constraints: what a parameter is set to after every update, as a formula of theta and, where named, of its norms.

``gc.param("W", (3, 4), constraint=gc.constraints.nonnegative)``; your own: ``constraint="max(theta, 0)"``.
"""

from __future__ import annotations

from dataclasses import dataclass
from numbers import Real
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sympy import Expr, Symbol

from graphc.declare.formula import formula_error, formula_text, parse
from graphc.declare.names import shape_text
from graphc.declare.origin import fail, located
from graphc.errors import DomainError, FormulaError, ShapeError, TypeMismatchError
from graphc.ir.scalar import number, numpy_function

__all__ = ["Constraint", "box", "constraint", "max_norm", "nonnegative", "unit_norm"]

THETA = Symbol("theta", real=True)
NORM = Symbol("norm_theta", real=True, nonnegative=True)
"""norm(theta): the Euclidean norm along the axis of a constraint, or of the whole parameter."""


def __dir__() -> list[str]:
    return sorted(__all__)


@dataclass(frozen=True)
class Constraint:
    """theta <- formula, for every element after every update; equal by value.

    Attributes
    ----------
    name : str
        Shown in prints.
    expr : Expr
        Of the symbols `THETA` and `NORM`.
    axis : int or None
        What norm(theta) runs along; the whole parameter for None.
    """

    name: str
    expr: Expr
    axis: int | None = None

    @property
    def text(self) -> str:
        """The formula as text."""
        return formula_text(self.expr).replace(NORM.name, "norm(theta)")

    @property
    def reads_norm(self) -> bool:
        """Whether an element depends on others."""
        return NORM in self.expr.free_symbols

    def sizes(self, shape: tuple[int, ...]) -> tuple[int, int, int]:
        """(outer, n, inner): element (o*n + i)*inner + j counts to norm number o*inner + j."""
        if self.axis is None:
            return 1, int(np.prod(shape, dtype=np.int64)), 1
        outer, inner = shape[: self.axis], shape[self.axis + 1 :]
        return int(np.prod(outer, dtype=np.int64)), shape[self.axis], int(np.prod(inner, dtype=np.int64))

    def apply(self, theta: NDArray[Any]) -> NDArray[Any]:
        """What a parameter becomes, by NumPy."""
        if not self.reads_norm:
            return np.asarray(numpy_function(self.expr, 0, (THETA,))(theta)) + 0 * theta
        parts = theta.reshape(self.sizes(theta.shape))
        norms = np.sqrt(np.sum(parts**2, axis=1, keepdims=True))
        return numpy_function(self.expr, 0, (THETA, NORM))(parts, norms).reshape(theta.shape)

    def __str__(self) -> str:
        return f"{self.name}: theta <- {self.text}"


@located
def constraint(text: str, *, name: str = "constraint", axis: int | None = None, **constants: float) -> Constraint:
    """A constraint from formula text over `theta`, `norm(theta)` and named constants.

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

    def norm(*args: Expr) -> Expr:
        if args != (THETA,):
            raise formula_error(text, text.index("norm"), "norm takes the parameter.", "Write norm(theta).")
        return NORM

    expr = parse(text, {**symbols, "theta": THETA}, {"norm": norm}).xreplace({symbols[n]: v for n, v in values.items()})
    return Constraint(name, expr, axis)


nonnegative = constraint("max(theta, 0)", name="nonnegative")
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
