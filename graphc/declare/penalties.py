"""What is added to a loss to keep parameters small."""

from __future__ import annotations

from functools import reduce
from typing import Any

from graphc.declare.operators import abs, sum
from graphc.declare.tensor import Tensor


def l1(x: Any, strength: float | Tensor = 1.0) -> Tensor:
    """strength * sum |x|: many elements become 0 (Tibshirani 1996). J = gc.losses.mse(Y, T) + gc.l1(W, 1e-3).

    Parameters
    ----------
    x : Tensor or sequence of Tensors
        Of any shapes.
    strength : float or Tensor
        The factor: a number, or ``gc.input("lam", ())``, which is given with the data.

    Returns
    -------
    Tensor
        A scalar.

    Examples
    --------
    >>> import graphc as gc
    >>> gc.l1([gc.param("W", (2, 3)), gc.param("B", (3,))], 0.01).shape
    ()
    """
    return strength * _total([sum(abs(part)) for part in _parts(x)])


def l2(x: Any, strength: float | Tensor = 1.0) -> Tensor:
    """strength * sum x**2: all elements become smaller, as Keras has it; torch's weight_decay is twice the strength.

    Parameters
    ----------
    x : Tensor or sequence of Tensors
        Of any shapes.
    strength : float or Tensor
        The factor: a number, or ``gc.input("lam", ())``, which is given with the data.

    Returns
    -------
    Tensor
        A scalar.

    Examples
    --------
    >>> import graphc as gc
    >>> gc.l2(gc.param("W", (2, 3)), 0.01).shape
    ()
    """
    return strength * _total([sum(part**2) for part in _parts(x)])


def _parts(x: Any) -> list[Any]:
    return list(x) if isinstance(x, list | tuple) else [x]


def _total(terms: list[Tensor]) -> Tensor:
    return reduce(lambda a, b: a + b, terms)
