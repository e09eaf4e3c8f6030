"""Functions of one element: NumPy's names, on Tensors, indexed expressions, numbers, arrays and SymPy expressions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import sympy

from graphc.declare.expression import ABS, Op
from graphc.declare.index_ast import index_equal
from graphc.declare.origin import fail
from graphc.declare.tensor import combine
from graphc.errors import TypeMismatchError
from graphc.ir import scalar
from graphc.ir.scalar import canonical

_DOC = """{summary}

Parameters
----------
x : Tensor, indexed expression, number or array
    Of any shape; an array becomes a constant.

Returns
-------
Tensor or indexed expression
    Of the shape of `x`.

Raises
------
DomainError
    When `x` is a number outside the domain.
TypeMismatchError
    When `x` is something else.

Examples
--------
>>> import graphc as gc
>>> X = gc.input("X", ("n", 2))
>>> gc.{name}(X).shape
('n', 2)
"""


def _function(name: str, summary: str, build: Callable[..., sympy.Expr]) -> Callable[[Any], Any]:
    op = Op(name, f"{name}({{0}})", build)

    def function(x: Any) -> Any:
        return combine(op, (x,))

    function.__name__ = function.__qualname__ = name
    function.__doc__ = _DOC.format(summary=summary, name=name)
    return function


exp = _function("exp", "e to the power x.", sympy.exp)
log = _function("log", "The natural logarithm; written inside a loss as on paper, it is compiled stably.", sympy.log)
sqrt = _function("sqrt", "The square root.", sympy.sqrt)
tanh = _function("tanh", "The hyperbolic tangent.", sympy.tanh)
sin = _function("sin", "The sine.", sympy.sin)
cos = _function("cos", "The cosine.", sympy.cos)
erf = _function("erf", "The error function 2/sqrt(pi) * integral of exp(-t**2) from 0 to x.", sympy.erf)
log1p = _function("log1p", "log(1 + x), accurate near 0.", scalar.log1p)
expm1 = _function("expm1", "exp(x) - 1, accurate near 0.", scalar.expm1)
sigmoid = _function("sigmoid", "1/(1 + exp(-x)), accurate in both tails.", scalar.sigmoid)
softplus = _function("softplus", "log(1 + exp(x)) without overflow.", scalar.softplus)
relu = _function("relu", "max(x, 0); its derivative at 0 is 0.", scalar.relu)
silu = _function("silu", "x*sigmoid(x) (Hendrycks and Gimpel 2016).", lambda x: x * scalar.sigmoid(x))
gelu = _function(
    "gelu",
    "x*(1 + erf(x/sqrt(2)))/2, the exact form (Hendrycks and Gimpel 2016).",
    lambda x: x * (1 + sympy.erf(x / sympy.sqrt(2))) / 2,
)
round = _function("round", "The nearest whole number, halves to the even one; its gradient is 0.", scalar.round_)
floor = _function("floor", "The largest whole number not above x; its gradient is 0.", scalar.floor_)
sign = _function("sign", "-1, 0 or 1; its gradient is 0.", scalar.sign)


def abs(x: Any) -> Any:
    """|x|, with derivative sign(x), 0 at 0; the same as ``abs(x)`` of Python.

    Parameters
    ----------
    x : Tensor, indexed expression, number or array
        Of any shape.

    Examples
    --------
    >>> import graphc as gc
    >>> gc.abs(gc.input("X", ("n", 2))).shape
    ('n', 2)
    """
    return combine(ABS, (x,))


stop_gradient = _function(
    "stop_gradient", "x itself, which counts as a constant when derivatives are taken.", scalar.stop_gradient
)


_LEAKY = Op("leaky_relu", "leaky_relu({0}, {1})", scalar.leaky_relu)
_ELU = Op("elu", "elu({0}, {1})", scalar.elu)
_MAXIMUM = Op("maximum", "maximum({0}, {1})", scalar.maximum)
_MINIMUM = Op("minimum", "minimum({0}, {1})", scalar.minimum)
_EQUAL = Op("equal", "equal({0}, {1})", scalar.equal)


def _choose(c: Any, a: sympy.Expr, b: sympy.Expr) -> sympy.Expr:
    if isinstance(c, sympy.core.relational.Relational):  # a condition between SymPy expressions
        return canonical(sympy.Piecewise((a, c), (b, True)))
    return scalar.where(c, a, b)


_WHERE = Op("where", "where({0}, {1}, {2})", _choose)


def leaky_relu(x: Any, alpha: Any = 0.01) -> Any:
    """x where x > 0, else alpha*x (Maas et al. 2013).

    Parameters
    ----------
    x : Tensor, indexed expression, number or array
        Of any shape.
    alpha : number or Tensor
        The slope below 0; it may be a parameter.

    Examples
    --------
    >>> import graphc as gc
    >>> gc.leaky_relu(gc.input("X", ("n", 2)), 0.1).shape
    ('n', 2)
    """
    return combine(_LEAKY, (x, alpha))


def elu(x: Any, alpha: Any = 1.0) -> Any:
    """x where x > 0, else alpha*(exp(x) - 1) (Clevert et al. 2015).

    Parameters
    ----------
    x : Tensor, indexed expression, number or array
        Of any shape.
    alpha : number or Tensor
        Minus the limit far below 0.

    Examples
    --------
    >>> import graphc as gc
    >>> gc.elu(gc.input("X", ("n", 2))).shape
    ('n', 2)
    """
    return combine(_ELU, (x, alpha))


def maximum(a: Any, b: Any) -> Any:
    """The larger of a and b, element by element; at a tie each side takes half of the gradient.

    Parameters
    ----------
    a, b : Tensor, indexed expression, number or array
        Of shapes that broadcast.

    Raises
    ------
    ShapeError
        When the shapes do not broadcast.

    Examples
    --------
    >>> import graphc as gc
    >>> gc.maximum(gc.input("X", ("n", 2)), 0).shape
    ('n', 2)
    """
    return combine(_MAXIMUM, (a, b))


def minimum(a: Any, b: Any) -> Any:
    """The smaller of a and b, element by element; at a tie each side takes half of the gradient.

    Parameters
    ----------
    a, b : Tensor, indexed expression, number or array
        Of shapes that broadcast.
    """
    return combine(_MINIMUM, (a, b))


def clip(x: Any, low: Any, high: Any) -> Any:
    """min(max(x, low), high), element by element.

    Parameters
    ----------
    x, low, high : Tensor, indexed expression, number or array
        Of shapes that broadcast.
    """
    return minimum(maximum(x, low), high)


def where(condition: Any, a: Any, b: Any) -> Any:
    """a where the condition is not 0, else b; nothing of the value not taken gets through, a NaN neither.

    Parameters
    ----------
    condition : Tensor, indexed expression, number or array
        Such as ``X > 0``.
    a, b : Tensor, indexed expression, number or array
        Of shapes that broadcast with the condition.

    Raises
    ------
    ShapeError
        When the shapes do not broadcast.
    TypeMismatchError
        When the condition is True or False, as ``x == y`` of two tensors is.

    Examples
    --------
    >>> import graphc as gc
    >>> X = gc.input("X", ("n", 2))
    >>> gc.where(X > 0, X, 0.1*X).shape
    ('n', 2)
    """
    if isinstance(condition, bool):
        message = f"where: the condition is the Python value {condition}, the same everywhere"
        fail(TypeMismatchError, message, "x == y asks whether both are one tensor; write gc.equal(x, y), or x < y.")
    return combine(_WHERE, (condition, a, b))


def equal(a: Any, b: Any) -> Any:
    """1 where a = b, else 0; between index letters ``equal(i, j)`` is the Kronecker delta.

    In index notation ``equal(T[e], c)`` of integer data T and an index c chooses too: ``gc.sum(gc.equal(T[e], c)*M[e],
    over=e)`` sums the elements of M whose label is c (see :func:`graphc.segment_sum`). Such labels are at least 0.

    Parameters
    ----------
    a, b : Tensor, indexed expression, number or array
        Of shapes that broadcast; or index letters.

    Raises
    ------
    ShapeError
        When the shapes do not broadcast.

    Examples
    --------
    >>> import graphc as gc
    >>> gc.equal(gc.input("X", ("n", 2)), 1).shape
    ('n', 2)
    """
    delta = index_equal(a, b)
    return combine(_EQUAL, (a, b)) if delta is None else delta
