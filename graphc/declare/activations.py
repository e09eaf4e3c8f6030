"""Activation functions by name: ``gc.nn.Dense(10, "relu")`` and ``gc.activations.relu`` mean the same."""

from __future__ import annotations

import difflib
from collections.abc import Callable
from typing import Any

from graphc.declare import pointwise
from graphc.declare.names import node_text
from graphc.declare.origin import fail
from graphc.declare.reductions import max, sum
from graphc.declare.shapes import swapaxes
from graphc.declare.softmaxes import log_softmax, softmax
from graphc.declare.tensor import Tensor
from graphc.errors import ShapeError, TypeMismatchError, UnknownNameError
from graphc.ir.scalar import PUBLIC, WORDS


def __getattr__(name: str) -> Any:
    """An activation of the table of scalar functions."""
    if name == "__all__":
        return [*_OWN, *(n for n, entry in PUBLIC.items() if entry.activation)]
    if name not in PUBLIC or not PUBLIC[name].activation:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(pointwise, name)


def __dir__() -> list[str]:
    return sorted(__getattr__("__all__"))


def linear(x: Any) -> Any:
    """x itself.

    Parameters
    ----------
    x : Tensor, indexed expression, number or array
    """
    return x


def glu(x: Tensor, axis: int = -1) -> Tensor:
    """The first half of x along an axis times the sigmoid of the second half (Dauphin et al. 2017).

    Parameters
    ----------
    x : Tensor
        Of an even extent along the axis.
    axis : int
        The axis that is halved.

    Raises
    ------
    ShapeError
        When the extent is free or odd, or there is no such axis.

    Examples
    --------
    >>> import graphc as gc
    >>> gc.glu(gc.input("X", ("n", 6))).shape
    ('n', 3)
    """
    place = axis + x.ndim if axis < 0 else axis
    extent = x.shape[place] if 0 <= place < x.ndim else None
    if not isinstance(extent, int) or extent % 2:
        message = f"glu: {node_text(x.node, x.name)} has no even extent along axis {axis}"
        fail(ShapeError, message, "the axis is cut in halves.")
    before = (slice(None),) * place
    a, b = x[(*before, slice(0, extent // 2))], x[(*before, slice(extent // 2, extent))]
    return a * pointwise.sigmoid(b)


def sparsemax(x: Any, axis: int = -1) -> Tensor:
    """The nearest point of the probability simplex, of which many elements are 0 (Martins & Astudillo 2016).

    max(x - t, 0) with the threshold t for which the elements sum to 1: the largest of (sum of the elements that are at
    least x[j]) - 1 over their number, for all j.

    Parameters
    ----------
    x : Tensor or array
        With at least one axis.
    axis : int
        The axis that sums to 1; time and memory grow with the square of its extent.

    Raises
    ------
    ShapeError
        When there is no such axis.

    Examples
    --------
    >>> import graphc as gc
    >>> gc.sparsemax(gc.input("X", ("n", 3))).shape
    ('n', 3)
    """
    z = swapaxes(x, axis, -1)
    above = pointwise.less_equal(z[..., :, None], z[..., None, :])
    levels = (sum(pointwise.where(above, z[..., None, :], 0), axis=-1) - 1) / sum(above, axis=-1)
    inside = pointwise.stop_gradient(pointwise.less(max(levels, axis=-1, keepdims=True), z))
    threshold = (sum(inside * z, axis=-1, keepdims=True) - 1) / sum(inside, axis=-1, keepdims=True)
    return swapaxes(pointwise.where(inside, z - threshold, 0), axis, -1)


_OWN: dict[str, Callable[[Any], Any]] = {
    "glu": glu, "linear": linear, "log_softmax": log_softmax, "softmax": softmax, "sparsemax": sparsemax
}  # fmt: skip


def _named(name: str) -> Callable[[Any], Any] | None:
    entry = WORDS.get(name)
    found = getattr(pointwise, entry.public) if entry is not None and entry.activation else None
    return _OWN.get(name, found)


def activation(value: str | Callable[[Any], Any] | None) -> Callable[[Any], Any]:
    """The function that an ``activation=`` argument means.

    Raises
    ------
    UnknownNameError
        When no activation has that name.
    TypeMismatchError
        When it is neither a name nor a function.
    """
    if value is None:
        return linear
    if isinstance(value, str):
        found = _named(value)
        if found is None:
            close = difflib.get_close_matches(value, __dir__(), n=1)
            hint = f"did you mean {close[0]!r}?" if close else f"known are {', '.join(__dir__())}."
            fail(UnknownNameError, f"there is no activation named {value!r}", hint)
        return found
    if not callable(value):
        hint = 'give a name such as "relu", or a function of a Tensor.'
        fail(TypeMismatchError, f"the activation is {value!r:.60}", hint)
    return value
