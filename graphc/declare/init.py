"""Where parameters start: descriptions of distributions; the random numbers are drawn when a model is initialised."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import field
from numbers import Real
from typing import Any, Literal, get_args

import numpy as np

from graphc.declare.names import shape_text
from graphc.declare.origin import fail
from graphc.errors import DomainError, ShapeError, TypeMismatchError, UnknownNameError
from graphc.ir.letters import close_name
from graphc.records import record

__all__ = [
    "Initialiser", "constant", "glorot", "glorot_normal", "glorot_uniform", "he", "he_normal", "he_uniform", "identity",
    "lecun_normal", "lecun_uniform", "normal", "ones", "orthogonal", "truncated_normal", "uniform", "variance_scaling",
    "zeros",
]  # fmt: skip


def __dir__() -> list[str]:
    return sorted(__all__)


Kind = Literal["normal", "truncated", "uniform", "orthogonal", "constant"]
Mode = Literal["fan_in", "fan_out", "fan_avg"]
Distribution = Literal["truncated_normal", "normal", "uniform"]
TRUNCATED = 0.8796256610342398  # the standard deviation of a standard normal number within [-2, 2]


@record(frozen=True, eq=False)
class Initialiser:
    """How a parameter starts: a kind of random number, and its parameters for a shape.

    ``kind`` is ``"normal"`` or ``"truncated"`` (parameter ``sigma``), ``"uniform"`` (``low``, ``high``),
    ``"orthogonal"`` (``gain``) or ``"constant"`` (``value``).
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
            ``draw("normal", shape)`` gives standard normal numbers, ``draw("truncated", shape)`` those within [-2, 2],
            ``draw("uniform", shape)`` numbers in [0, 1).
        shape : tuple of int
        """
        p, shape = self.parameters(shape), tuple(shape)
        if self.kind in ("normal", "truncated"):
            return p["sigma"] * draw(self.kind, shape)
        if self.kind == "orthogonal":
            return p["gain"] * _orthonormal(draw("normal", (math.prod(shape[:-1]), shape[-1]))).reshape(shape)
        if self.kind == "uniform":
            return p["low"] + (p["high"] - p["low"]) * draw("uniform", shape)
        return np.array(np.broadcast_to(p["value"], shape), dtype=np.float64)

    def __str__(self) -> str:
        return self.text


def _orthonormal(a: np.ndarray) -> np.ndarray:
    """Orthonormal columns, or rows where there are fewer, uniformly distributed (Mezzadri 2007)."""
    q, r = np.linalg.qr(a if a.shape[0] >= a.shape[1] else a.T)
    q = q * np.where(np.diag(r) < 0, -1.0, 1.0)
    return q if a.shape[0] >= a.shape[1] else q.T


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



def glorot_uniform() -> Initialiser:
    """The same as :func:`glorot`."""
    return glorot()


def he_normal() -> Initialiser:
    """The same as :func:`he`."""
    return he()


def he_uniform() -> Initialiser:
    """Uniform in +-sqrt(6/fan_in) (He et al. 2015).

    Examples
    --------
    >>> he_uniform().parameters((6, 4))
    {'low': -1.0, 'high': 1.0}
    """
    return Initialiser("uniform", "he_uniform()", _Scaled(2.0, "fan_in", "uniform"))


def lecun_normal() -> Initialiser:
    """N(0, 1/fan_in): keeps the variance of a linear layer, and behind selu (LeCun et al. 1998).

    Examples
    --------
    >>> lecun_normal().parameters((4, 8))
    {'sigma': 0.5}
    """
    return Initialiser("normal", "lecun_normal()", _Scaled(1.0, "fan_in", "normal"))


def lecun_uniform() -> Initialiser:
    """Uniform in +-sqrt(3/fan_in) (LeCun et al. 1998).

    Examples
    --------
    >>> lecun_uniform().parameters((3, 8))
    {'low': -1.0, 'high': 1.0}
    """
    return Initialiser("uniform", "lecun_uniform()", _Scaled(1.0, "fan_in", "uniform"))


def truncated_normal(sigma: float = 1.0) -> Initialiser:
    """Normal numbers N(0, sigma**2), drawn again where they lie beyond 2*sigma.

    Parameters
    ----------
    sigma : float
        The standard deviation before that, not negative.

    Examples
    --------
    >>> truncated_normal(0.5).parameters((2, 3))
    {'sigma': 0.5}
    """
    sigma = _finite(sigma, "sigma of truncated_normal")
    if sigma < 0:
        fail(DomainError, f"truncated_normal: sigma is {sigma}", "a standard deviation is not negative.")
    return Initialiser("truncated", f"truncated_normal({sigma})", _Given(sigma=sigma))


def variance_scaling(
    scale: float = 1.0, mode: Mode = "fan_in", distribution: Distribution = "truncated_normal"
) -> Initialiser:
    """Numbers of mean 0 and variance scale/fan: what glorot, he and lecun are cases of.

    Parameters
    ----------
    scale : float
        Above 0.
    mode : "fan_in", "fan_out" or "fan_avg"
        The number of inputs, of outputs, or the mean of both.
    distribution : "truncated_normal", "normal" or "uniform"
        Whose variance it is; that of the truncated one after truncation.

    Examples
    --------
    >>> variance_scaling(2.0, "fan_avg", "normal").parameters((4, 12))
    {'sigma': 0.5}
    """
    scale = _finite(scale, "scale of variance_scaling")
    if scale <= 0:
        fail(DomainError, f"variance_scaling: scale is {scale}", "a variance is above 0.")
    for name, value, known in (("mode", mode, get_args(Mode)), ("distribution", distribution, get_args(Distribution))):
        if value not in known:
            fail(UnknownNameError, f"variance_scaling: {name} is {value!r}", f"use one of {', '.join(known)}.")
    kind: Kind = "truncated" if distribution == "truncated_normal" else distribution
    text = f"variance_scaling({scale}, {mode!r}, {distribution!r})"
    return Initialiser(kind, text, _Scaled(scale, mode, kind))


class _Scaled:
    """The parameters of a distribution of variance scale/fan."""

    def __init__(self, scale: float, mode: Mode, kind: Kind) -> None:
        self.scale, self.mode, self.kind = scale, mode, kind

    def __call__(self, shape: tuple[int, ...]) -> dict[str, Any]:
        fan_in, fan_out = fans(shape)
        fan = {"fan_in": fan_in, "fan_out": fan_out, "fan_avg": (fan_in + fan_out) / 2}[self.mode]
        sigma = math.sqrt(self.scale / fan)
        if self.kind == "uniform":
            limit = math.sqrt(3 * self.scale / fan)
            return {"low": -limit, "high": limit}
        return {"sigma": sigma / TRUNCATED if self.kind == "truncated" else sigma}


def orthogonal(gain: float = 1.0) -> Initialiser:
    """gain times a matrix whose columns, or rows if there are fewer, are orthonormal (Saxe et al. 2014).

    All axes but the last count as rows.

    Parameters
    ----------
    gain : float

    Examples
    --------
    >>> orthogonal(2.0).parameters((4, 4))
    {'gain': 2.0}
    """
    return Initialiser("orthogonal", f"orthogonal({gain})", _Matrix("orthogonal", _finite(gain, "gain of orthogonal")))


def identity(gain: float = 1.0) -> Initialiser:
    """gain on the diagonal of a matrix, 0 elsewhere.

    Parameters
    ----------
    gain : float

    Examples
    --------
    >>> identity().parameters((2, 2))["value"].tolist()
    [[1.0, 0.0], [0.0, 1.0]]
    """
    return Initialiser("constant", f"identity({gain})", _Matrix("identity", _finite(gain, "gain of identity")))


class _Matrix:
    """The parameters of an initialiser of matrices."""

    def __init__(self, name: str, gain: float) -> None:
        self.name, self.gain = name, gain

    def __call__(self, shape: tuple[int, ...]) -> dict[str, Any]:
        if len(shape) < 2 or (self.name == "identity" and len(shape) > 2):
            axes = "two axes" if self.name == "identity" else "two axes or more"
            fail(ShapeError, f"{self.name}: the parameter has shape {shape_text(shape)}", f"it starts what has {axes}.")
        return {"value": self.gain * np.eye(shape[0], shape[1])} if self.name == "identity" else {"gain": self.gain}


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
    if isinstance(value, str):
        value = _named(value, name)
    if isinstance(value, Initialiser):
        value.parameters(shape)
        return value
    if callable(value):
        called = getattr(value, "__name__", "normal")
        fail(TypeMismatchError, f"the initialiser of {name} is the function {called}", f"call it: gc.{called}().")
    return _from_array(value, name, shape)


_BY_NAME: dict[str, Callable[[], Initialiser]] = {
    f.__name__: f
    for f in (
        glorot, glorot_normal, glorot_uniform, he, he_normal, he_uniform, identity, lecun_normal, lecun_uniform, normal,
        ones, orthogonal, truncated_normal, uniform, variance_scaling, zeros,
    )
}  # fmt: skip


def _named(value: str, name: str) -> Initialiser:
    if value not in _BY_NAME:
        fail(UnknownNameError, f"the initialiser of {name} is {value!r}", close_name(value, _BY_NAME))
    return _BY_NAME[value]()


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
