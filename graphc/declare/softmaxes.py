"""Softmax and its logarithm along any axes, of all elements or of those that a mask leaves."""

from __future__ import annotations

from typing import Any

import numpy as np

from graphc.declare.empty_rows import masked
from graphc.declare.index_ast import Indexed
from graphc.declare.origin import fail
from graphc.declare.pointwise import exp
from graphc.declare.pointwise import where as choose
from graphc.declare.reducing import keep_axes, normal_axes, reduce_axes
from graphc.declare.tensor import Tensor, as_node
from graphc.errors import IndexNotationError


def softmax(x: Any, axis: Any = -1, *, where: Any = True) -> Tensor:
    """exp(x)/sum(exp(x)) along an axis, computed as exp(x - logsumexp(x)).

    Parameters
    ----------
    x : Tensor or array
        With at least one axis.
    axis : int or tuple of int
        The axes that sum to 1.
    where : Tensor or array
        Which elements take part: those where it is not 0; the others are 0. It broadcasts with `x`. A row of which
        nothing is left is 0, as is its gradient; so is one that constants of −∞ in `x` leave nothing of.

    Raises
    ------
    ShapeError
        When an axis does not exist.
    IndexNotationError
        For an indexed expression.

    Examples
    --------
    >>> import graphc as gc
    >>> gc.softmax(gc.input("X", ("n", 3))).shape
    ('n', 3)
    """
    x = _tensor("softmax", x, "write gc.exp(x[i, k] - gc.logsumexp(x[i, j], over=j)).")
    z, some = masked("gc.softmax", x, axis, where)
    p = exp(z - _logsumexp(z, axis))
    return p if some is None else choose(some, p, 0)


def log_softmax(x: Any, axis: Any = -1, *, where: Any = True) -> Tensor:
    """x - logsumexp(x) along an axis, the logarithm of the softmax without overflow.

    Parameters
    ----------
    x : Tensor or array
        With at least one axis.
    axis : int or tuple of int
        The axes along which the exponentials sum to 1.
    where : Tensor or array
        Which elements take part: those where it is not 0; the others are −∞. It broadcasts with `x`.

    Raises
    ------
    ShapeError
        When an axis does not exist.
    IndexNotationError
        For an indexed expression.

    Examples
    --------
    >>> import graphc as gc
    >>> gc.log_softmax(gc.input("X", ("n", 3))).shape
    ('n', 3)
    """
    x = _tensor("log_softmax", x, "write x[i, k] - gc.logsumexp(x[i, j], over=j).")
    z, some = masked("gc.log_softmax", x, axis, where)
    p = z - _logsumexp(z, axis)
    return p if some is None else choose(some, p, -np.inf)


def softmin(x: Any, axis: Any = -1, *, where: Any = True) -> Tensor:
    """exp(-x)/sum(exp(-x)) along an axis: the softmax of -x.

    Parameters
    ----------
    x : Tensor or array
        With at least one axis.
    axis : int or tuple of int
        The axes that sum to 1.
    where : Tensor or array
        Which elements take part: those where it is not 0; the others are 0. It broadcasts with `x`.

    Raises
    ------
    ShapeError
        When an axis does not exist.
    IndexNotationError
        For an indexed expression.
    """
    hint = "write gc.exp(-x[i, k] - gc.logsumexp(-x[i, j], over=j))."
    return softmax(-_tensor("softmin", x, hint), axis, where=where)


def _logsumexp(z: Tensor, axis: Any) -> Tensor:
    axes = normal_axes(z.node, axis, "gc.softmax")
    return Tensor(keep_axes(z.node, reduce_axes(z.node, "logsumexp", axes), axes))


def _tensor(name: str, x: Any, hint: str) -> Tensor:
    if isinstance(x, Indexed):
        fail(IndexNotationError, f"gc.{name} works on whole axes, and {x!r} is an indexed expression", hint)
    return x if isinstance(x, Tensor) else Tensor(as_node(x, name))
