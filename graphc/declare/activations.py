"""Activation functions by name: ``gc.nn.Dense(10, "relu")`` and ``gc.activations.relu`` mean the same."""

from __future__ import annotations

import difflib
from collections.abc import Callable
from typing import Any

from graphc.declare.operators import elu, gelu, leaky_relu, relu, sigmoid, silu, softmax, softplus, tanh
from graphc.declare.origin import fail
from graphc.errors import TypeMismatchError, UnknownNameError

__all__ = ["elu", "gelu", "leaky_relu", "linear", "relu", "sigmoid", "silu", "softmax", "softplus", "tanh"]


def __dir__() -> list[str]:
    return sorted(__all__)


def linear(x: Any) -> Any:
    """x itself.

    Parameters
    ----------
    x : Tensor, indexed expression, number or array
    """
    return x


_BY_NAME: dict[str, Callable[[Any], Any]] = {
    f.__name__: f for f in (elu, gelu, leaky_relu, linear, relu, sigmoid, silu, softmax, softplus, tanh)
} | {"swish": silu}


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
        if value not in _BY_NAME:
            close = difflib.get_close_matches(value, _BY_NAME, n=1)
            hint = f"did you mean {close[0]!r}?" if close else f"known are {', '.join(sorted(_BY_NAME))}."
            fail(UnknownNameError, f"there is no activation named {value!r}", hint)
        return _BY_NAME[value]
    if not callable(value):
        hint = 'give a name such as "relu", or a function of a Tensor.'
        fail(TypeMismatchError, f"the activation is {value!r:.60}", hint)
    return value
