"""Random tensors: drawn anew in every step of training, their mean in ``predict``, ``evaluate`` and compiled functions.

Element e of a tensor in a step depends on the seed of the fit, the step, the tensor and e alone: not on the number of
threads, not on how often a run was interrupted. Each copy of a sweep draws what it draws alone. Derivatives take it as
a constant, so that ``m + s*gc.random.normal(s.shape)`` has the gradient of a reparameterised normal variable.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from graphc.declare.constants import exact, is_number
from graphc.declare.modes import in_train_phase
from graphc.declare.names import check_shape, shape_text
from graphc.declare.origin import fail, stamp
from graphc.declare.pointwise import less, stop_gradient
from graphc.declare.tensor import Tensor, as_node
from graphc.errors import DomainError, ShapeError
from graphc.ir.affine import Extent
from graphc.ir.node import Distribution, Leaf

__all__ = ["bernoulli", "normal", "uniform"]


def __dir__() -> list[str]:
    return sorted(__all__)


NAMES = {"normal": "ε", "uniform": "u", "bernoulli": "mask"}
Shape = Sequence[Extent] | Extent


def normal(shape: Shape, mean: Any = 0.0, std: Any = 1.0) -> Tensor:
    """Normal numbers, new in every step of training; outside of training the mean.

    Parameters
    ----------
    shape : tuple of int and str
        The first extent may be free: ``("n", 2)`` has a row for every row of the batch.
    mean, std : number or Tensor
        Of shapes that broadcast with `shape`.

    Returns
    -------
    Tensor
        ``mean + std*ε``, where ε[..] is drawn by Box and Muller's method from Philox4x32-10.

    Raises
    ------
    ShapeError
        When an extent is neither a whole number of at least 1 nor a name, or one behind the first is free.

    Examples
    --------
    >>> import graphc as gc
    >>> mu = gc.input("mu", ("n", 2))
    >>> gc.random.normal(mu.shape, mu, 0.1).shape
    ('n', 2)
    """
    eps = _leaf("normal", shape)
    scaled = eps if _is(std, 1) else std * eps
    return scaled if _is(mean, 0) else mean + scaled


def uniform(shape: Shape, low: Any = 0.0, high: Any = 1.0) -> Tensor:
    """Uniform numbers in [low, high), new in every step of training; outside of training the middle.

    Parameters
    ----------
    shape : tuple of int and str
        The first extent may be free: ``("n", 2)`` has a row for every row of the batch.
    low, high : number or Tensor
        Of shapes that broadcast with `shape`.

    Raises
    ------
    ShapeError
        When an extent is neither a whole number of at least 1 nor a name, or one behind the first is free.

    Examples
    --------
    >>> import graphc as gc
    >>> gc.random.uniform(("n", 3), -1, 1).shape
    ('n', 3)
    """
    u = _leaf("uniform", shape)
    return u if _is(low, 0) and _is(high, 1) else low + (high - low) * u


def bernoulli(shape: Shape, p: Any = 0.5) -> Tensor:
    """1 with probability p, else 0, new in every step of training; outside of training p.

    Parameters
    ----------
    shape : tuple of int and str
        The first extent may be free: ``("n", 2)`` has a row for every row of the batch.
    p : number or Tensor
        A number from 0 to 1, rounded to a multiple of 2**-32; or a Tensor of a shape that broadcasts with `shape`, into
        which no gradient flows.

    Raises
    ------
    DomainError
        When `p` is a number that is no probability.
    ShapeError
        When an extent is neither a whole number of at least 1 nor a name, or one behind the first is free.

    Examples
    --------
    >>> import graphc as gc
    >>> gc.random.bernoulli(("n", 3), 0.8).shape
    ('n', 3)
    """
    if not is_number(p):
        chance = stop_gradient(Tensor(as_node(p, "random.bernoulli")))
        return in_train_phase(stop_gradient(less(_leaf("uniform", shape), chance)), chance)
    if not 0 <= float(p) <= 1:
        fail(DomainError, f"random.bernoulli: the probability is {p!r}", "it lies between 0 and 1.")
    return _leaf("bernoulli", shape, float(p))


def dropout(x: Any, rate: float) -> Tensor:
    """x with every element set to 0 with probability `rate` in training, the others divided by 1 - `rate`.

    Outside of training it is x; the history of a run has losses and metrics as training sees them (Srivastava et al.,
    Dropout; JMLR 2014).

    Parameters
    ----------
    x : Tensor
    rate : number
        At least 0 and below 1.

    Raises
    ------
    DomainError
        When the rate is something else.
    ShapeError
        When x has a free extent behind its first axis.

    Examples
    --------
    >>> import graphc as gc
    >>> gc.dropout(gc.input("X", ("n", 3)), 0.2).shape
    ('n', 3)
    """
    check_rate("dropout", rate)
    node = as_node(x, "dropout")
    if rate == 0:
        return Tensor(node)
    kept = 1 - exact(rate, "dropout")
    return Tensor(node) * bernoulli(node.shape, kept) / kept


def check_rate(what: str, rate: Any) -> None:
    """Refuse what is no rate of dropout."""
    if not is_number(rate) or not 0 <= float(rate) < 1:
        fail(DomainError, f"{what}: the rate is {rate!r:.60}", "it is at least 0 and below 1.")


def _leaf(kind: Any, shape: Shape, p: float = 0.5) -> Tensor:
    extents = check_shape(shape, f"random.{kind}")
    late = [e for e in extents[1:] if isinstance(e, str)]
    if late and not isinstance(extents[0], str):
        message = f"random.{kind}: the shape {shape_text(extents)} has the free extent {late[0]!r} behind its first"
        fail(ShapeError, message, "rows come first: transpose a tensor that was drawn with the rows in front.")
    return Tensor(stamp(Leaf(NAMES[kind], extents, "random", value=Distribution(kind, p))))


def _is(value: Any, wanted: int) -> bool:
    return is_number(value) and value == wanted
