"""Spread and weighted means: NumPy's names, each a formula of the reductions."""

from __future__ import annotations

import math
from typing import Any

from graphc.declare.constants import exact, is_number
from graphc.declare.names import node_text, shape_text
from graphc.declare.origin import fail
from graphc.declare.pointwise import sqrt
from graphc.declare.reducing import keep_axes, normal_axes, reduce_axes
from graphc.declare.reductions import count, max, mean, min, sum
from graphc.declare.tensor import Tensor, as_node
from graphc.declare.views import subscript
from graphc.errors import ShapeError, TypeMismatchError
from graphc.ir.node import Node


def var(x: Any, axis: Any = None, ddof: float = 0, keepdims: bool = False, *, where: Any = True) -> Tensor:
    """The variance: the mean squared distance from the mean.

    Parameters
    ----------
    x : Tensor or array
    axis : int or tuple of int, optional
        Along which axes; all of them when it is None. Over a free extent the number of rows counts.
    ddof : number
        What is subtracted from the number of elements in the divisor: 1 for the unbiased estimate.
    keepdims : bool
        Keep the reduced axes with an extent of 1.
    where : Tensor or array
        Which elements count: those where it is not 0.

    Raises
    ------
    ShapeError
        When an axis does not exist, or `ddof` leaves nothing of the elements.
    TypeMismatchError
        When `ddof` is no number.

    Examples
    --------
    >>> import graphc as gc
    >>> gc.var(gc.input("X", ("n", 3)), axis=0, ddof=1).shape
    (3,)
    """
    squares, axes = _squares("var", x, axis, ddof, where)
    if where is True:
        return _mean_of(squares, axes, ddof, keepdims)
    return sum(squares, axes, keepdims, where=where) / (count(where, squares.node, axes, keepdims) - ddof)


def std(x: Any, axis: Any = None, ddof: float = 0, keepdims: bool = False, *, where: Any = True) -> Tensor:
    """The standard deviation, the square root of the variance; where all elements are equal its gradient is 0.

    Parameters
    ----------
    x : Tensor or array
    axis : int or tuple of int, optional
        Along which axes; all of them when it is None. Over a free extent the number of rows counts.
    ddof : number
        What is subtracted from the number of elements in the divisor: 1 for the usual estimate.
    keepdims : bool
        Keep the reduced axes with an extent of 1.
    where : Tensor or array
        Which elements count: those where it is not 0.

    Raises
    ------
    ShapeError
        When an axis does not exist, or `ddof` leaves nothing of the elements.
    TypeMismatchError
        When `ddof` is no number.

    Examples
    --------
    >>> import graphc as gc
    >>> gc.std(gc.input("X", ("n", 3)), axis=0).shape
    (3,)
    """
    squares, axes = _squares("std", x, axis, ddof, where)
    if where is True:
        return sqrt(_mean_of(squares, axes, ddof, keepdims))
    left = count(where, squares.node, axes, keepdims) - ddof
    return sqrt(sum(squares, axes, keepdims, where=where)) / sqrt(left)


def _squares(name: str, x: Any, axis: Any, ddof: float, where: Any) -> tuple[Tensor, tuple[int, ...]]:
    """The squared distances from the mean, and the axes along which they are summed."""
    node = as_node(x, name)
    axes = normal_axes(node, axis, f"gc.{name}")
    _check_ddof(name, node, axes, ddof)
    return (Tensor(node) - mean(Tensor(node), axes, keepdims=True, where=where)) ** 2, axes


def _mean_of(squares: Tensor, axes: tuple[int, ...], ddof: float, keepdims: bool) -> Tensor:
    reduced = reduce_axes(squares.node, "sum", axes, True, exact(ddof, "ddof"))
    return Tensor(keep_axes(squares.node, reduced, axes) if keepdims else reduced)


def _check_ddof(name: str, node: Node, axes: tuple[int, ...], ddof: Any) -> None:
    if not is_number(ddof):
        fail(TypeMismatchError, f"{name}: ddof is {ddof!r:.60}", "give a number, usually 0 or 1.")
    known = [node.shape[t] for t in axes]
    if not any(isinstance(e, str) for e in known) and ddof >= math.prod(int(e) for e in known):
        message = f"{name}: ddof={ddof} leaves nothing of the {math.prod(int(e) for e in known)} elements"
        fail(ShapeError, f"{message} of {node_text(node)} that are taken together", "take more elements together.")


def average(x: Any, axis: Any = None, weights: Any = None, keepdims: bool = False) -> Tensor:
    """The mean, or with weights sum(weights*x)/sum(weights).

    Parameters
    ----------
    x : Tensor or array
    axis : int or tuple of int, optional
        Along which axes; all of them when it is None.
    weights : Tensor or array, optional
        Of the shape of `x`, or of the extents of `x` along `axis`.
    keepdims : bool
        Keep the reduced axes with an extent of 1.

    Raises
    ------
    ShapeError
        When an axis does not exist, or the weights have another shape.

    Examples
    --------
    >>> import graphc as gc
    >>> gc.average(gc.input("X", ("n", 3)), axis=0, weights=gc.input("w", ("n",))).shape
    (3,)
    """
    if weights is None:
        return mean(x, axis, keepdims)
    node, given = as_node(x, "average"), as_node(weights, "average")
    axes = normal_axes(node, axis, "gc.average")
    if given.shape != node.shape:
        if given.shape != tuple(node.shape[t] for t in axes):
            message = f"average: the weights have shape {shape_text(given.shape)} for {node_text(node)}"
            fail(ShapeError, message, "give one weight for each element, or for each place along axis=.")
        given = subscript(given, tuple(slice(None) if t in axes else None for t in range(node.rank)))
    w = Tensor(given)
    return sum(Tensor(node) * w, axes, keepdims) / sum(w, axes, keepdims)


def ptp(x: Any, axis: Any = None, keepdims: bool = False) -> Tensor:
    """The range of the elements: the largest less the smallest.

    Parameters
    ----------
    x : Tensor or array
    axis : int or tuple of int, optional
        Along which axes; all of them when it is None.
    keepdims : bool
        Keep the reduced axes with an extent of 1.

    Raises
    ------
    ShapeError
        When an axis does not exist.

    Examples
    --------
    >>> import graphc as gc
    >>> gc.ptp(gc.input("X", ("n", 3)), axis=0).shape
    (3,)
    """
    return max(x, axis, keepdims) - min(x, axis, keepdims)
