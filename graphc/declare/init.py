"""Where parameters start: descriptions of distributions; the random numbers are drawn when a model is initialised."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from numbers import Real
from typing import Any, Literal

import numpy as np

from graphc.declare.names import shape_text
from graphc.declare.origin import fail
from graphc.errors import DomainError, ShapeError, TypeMismatchError

__all__ = ["Initialiser", "constant", "glorot", "glorot_normal", "he", "normal", "ones", "uniform", "zeros"]


def __dir__() -> list[str]:
    return sorted(__all__)


Kind = Literal["normal", "uniform", "constant"]


@dataclass(frozen=True, eq=False)
class Initialiser:
    """How a parameter starts: a kind of random number, and its parameters for a shape.

    ``kind`` is ``"normal"`` (parameter ``sigma``), ``"uniform"`` (``low``, ``high``) or ``"constant"`` (``value``).
    """

    kind: Kind
    text: str
    rule: Callable[[tuple[int, ...]], dict[str, Any]] = field(repr=False)

    def parameters(self, shape: Sequence[int]) -> dict[str, Any]:
        """The numbers of the distribution for a parameter of this shape."""
        return self.rule(tuple(shape))

    def describe(self) -> str:
        """As the user would write it: ``normal(1.0)``."""
        return self.text

    def sample(self, draw: Callable[[str, tuple[int, ...]], np.ndarray], shape: Sequence[int]) -> np.ndarray:
        """Values for a shape.

        Parameters
        ----------
        draw : callable
            ``draw("normal", shape)`` gives standard normal, ``draw("uniform", shape)`` numbers in [0, 1).
        shape : tuple of int
        """
        p, shape = self.parameters(shape), tuple(shape)
        if self.kind == "normal":
            return p["sigma"] * draw("normal", shape)
        if self.kind == "uniform":
            return p["low"] + (p["high"] - p["low"]) * draw("uniform", shape)
        return np.array(np.broadcast_to(p["value"], shape), dtype=np.float64)

    def __str__(self) -> str:
        return self.text


class _Given:
    """The same parameters for every shape."""

    def __init__(self, **parameters: Any) -> None:
        self.parameters = parameters

    def __call__(self, shape: tuple[int, ...]) -> dict[str, Any]:  # noqa: ARG002
        return self.parameters


def normal(sigma: float = 1.0) -> Initialiser:
    """Independent normal numbers N(0, sigma**2).

    Parameters
    ----------
    sigma : float
        The standard deviation, not negative.

    Examples
    --------
    >>> normal(0.5).parameters((2, 3))
    {'sigma': 0.5}
    """
    sigma = _finite(sigma, "sigma of normal")
    if sigma < 0:
        fail(DomainError, f"normal: sigma is {sigma}", "a standard deviation is not negative.")
    return Initialiser("normal", f"normal({sigma})", _Given(sigma=sigma))


def uniform(low: float = 0.0, high: float = 1.0) -> Initialiser:
    """Independent uniform numbers in [low, high).

    Parameters
    ----------
    low, high : float
        The smaller one first.

    Examples
    --------
    >>> uniform(-1, 1).parameters((2, 3))
    {'low': -1.0, 'high': 1.0}
    """
    low, high = _finite(low, "low of uniform"), _finite(high, "high of uniform")
    if high < low:
        fail(DomainError, f"uniform: low is {low} and high is {high}", "give the smaller number first.")
    return Initialiser("uniform", f"uniform({low}, {high})", _Given(low=low, high=high))


def constant(value: float) -> Initialiser:
    """The same number everywhere.

    Parameters
    ----------
    value : float
    """
    value = _finite(value, "value of constant")
    return Initialiser("constant", f"constant({value})", _Given(value=value))


def zeros() -> Initialiser:
    """0 everywhere.

    Examples
    --------
    >>> zeros().parameters((3,))
    {'value': 0.0}
    """
    return Initialiser("constant", "zeros()", _Given(value=0.0))


def ones() -> Initialiser:
    """1 everywhere."""
    return Initialiser("constant", "ones()", _Given(value=1.0))


def glorot() -> Initialiser:
    """Uniform in +-sqrt(6/(fan_in + fan_out)), which keeps variances from layer to layer (Glorot and Bengio 2010).

    Examples
    --------
    >>> glorot().parameters((2, 4))
    {'low': -1.0, 'high': 1.0}
    """
    return Initialiser("uniform", "glorot()", _glorot_limits)


def _glorot_limits(shape: tuple[int, ...]) -> dict[str, Any]:
    limit = math.sqrt(6 / sum(fans(shape)))
    return {"low": -limit, "high": limit}


def glorot_normal() -> Initialiser:
    """N(0, 2/(fan_in + fan_out)) (Glorot and Bengio 2010)."""
    return Initialiser("normal", "glorot_normal()", _glorot_sigma)


def _glorot_sigma(shape: tuple[int, ...]) -> dict[str, Any]:
    return {"sigma": math.sqrt(2 / sum(fans(shape)))}



def he() -> Initialiser:
    """N(0, 2/fan_in): keeps the variance behind relu (He et al. 2015).

    Examples
    --------
    >>> he().parameters((8, 4))
    {'sigma': 0.5}
    """
    return Initialiser("normal", "he()", _he_sigma)


def _he_sigma(shape: tuple[int, ...]) -> dict[str, Any]:
    return {"sigma": math.sqrt(2 / fans(shape)[0])}



def fans(shape: Sequence[int]) -> tuple[int, int]:
    """(fan_in, fan_out): the last two extents, each times the window of the axes before; a vector counts for both."""
    if len(shape) < 2:
        size = shape[0] if shape else 1
        return size, size
    window = math.prod(shape[:-2])
    return shape[-2] * window, shape[-1] * window


def initialiser(value: Any, name: str, shape: tuple[int, ...]) -> Initialiser:
    """The initialiser that ``param(init=value)`` means."""
    if value is None:
        return glorot() if len(shape) > 1 else zeros()
    if isinstance(value, Initialiser):
        return value
    if callable(value):
        called = getattr(value, "__name__", "normal")
        fail(TypeMismatchError, f"the initialiser of {name} is the function {called}", f"call it: gc.{called}().")
    return _from_array(value, name, shape)


def _from_array(value: Any, name: str, shape: tuple[int, ...]) -> Initialiser:
    if isinstance(value, Real):
        return constant(_finite(value, f"initial value of {name}"))
    array = np.array(value) if isinstance(value, list | tuple | np.ndarray) or hasattr(value, "__array__") else None
    if array is None or array.dtype.kind not in "fiub":
        hint = "give a number, an array or an initialiser such as gc.normal(1.0)."
        fail(TypeMismatchError, f"the initialiser of {name} is {value!r:.60}", hint)
    if array.shape not in ((), shape):
        message = f"the initial value of {name} has shape {shape_text(array.shape)}, the parameter {shape_text(shape)}"
        fail(ShapeError, message, "they must be equal.")
    if not np.isfinite(array).all():
        fail(DomainError, f"the initial value of {name} has NaN or infinity in it", "start from finite numbers.")
    own = array.astype(np.float64)
    own.flags.writeable = False
    return Initialiser("constant", f"array of shape {shape_text(own.shape)}", _Given(value=own))


def _finite(value: Any, what: str) -> float:
    if not isinstance(value, Real):
        fail(TypeMismatchError, f"the {what} is {value!r}", "give a number.")
    if not math.isfinite(value):
        fail(DomainError, f"the {what} is {value}", "give a finite number.")
    return float(value)
