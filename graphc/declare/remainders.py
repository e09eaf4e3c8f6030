"""NumPy's functions of one element with two results, each a formula."""

from __future__ import annotations

from typing import Any

from graphc.declare import pointwise
from graphc.declare.expression import Op
from graphc.declare.tensor import combine
from graphc.ir.functions.floats import exponent, mantissa

_MANTISSA = Op("mantissa", "mantissa({0})", mantissa)
_EXPONENT = Op("exponent", "exponent({0})", exponent)


def modf(x: Any) -> tuple[Any, Any]:
    """The fraction and the whole part of x, both with its sign: x - trunc(x) and trunc(x).

    Parameters
    ----------
    x : Tensor, indexed expression or array

    Returns
    -------
    fraction, whole : Tensor or indexed expression
        Of the shape of x; the gradient of the whole part is 0. The fraction of an infinite number is 0.

    Examples
    --------
    >>> import graphc as gc
    >>> [part.shape for part in gc.modf(gc.input("X", ("n", 2)))]
    [('n', 2), ('n', 2)]
    """
    whole = pointwise.trunc(x)
    return pointwise.where(pointwise.isinf(x), 0, x - whole), whole


def divmod(x1: Any, x2: Any) -> tuple[Any, Any]:
    """The whole quotient and the remainder of a division: x1 // x2 and x1 % x2.

    Parameters
    ----------
    x1, x2 : Tensor, indexed expression, number or array
        One of them at least a Tensor or an expression.

    Returns
    -------
    quotient, remainder : Tensor or indexed expression
        The remainder has the sign of x2.

    Examples
    --------
    >>> import graphc as gc
    >>> [part.shape for part in gc.divmod(gc.input("X", ("n", 2)), 3)]
    [('n', 2), ('n', 2)]
    """
    return pointwise.floor_divide(x1, x2), pointwise.mod(x1, x2)


def frexp(x: Any) -> tuple[Any, Any]:
    """The parts of x = m*2**e with 1/2 <= abs(m) < 1 and a whole number e.

    Parameters
    ----------
    x : Tensor, indexed expression or array

    Returns
    -------
    m, e : Tensor or indexed expression
        Of the shape of x; the gradient of m is 2**-e, that of e is 0. Of 0, infinity and NaN they are x and 0.

    Examples
    --------
    >>> import graphc as gc
    >>> [part.shape for part in gc.frexp(gc.input("X", ("n", 2)))]
    [('n', 2), ('n', 2)]
    """
    return combine(_MANTISSA, (x,)), combine(_EXPONENT, (x,))
