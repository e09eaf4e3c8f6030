"""Norms of vectors and matrices, as numpy.linalg has them."""

from __future__ import annotations

import math
from numbers import Real
from typing import Any

from graphc.declare.constants import exact
from graphc.declare.counting import count_nonzero
from graphc.declare.names import node_text
from graphc.declare.origin import fail
from graphc.declare.pointwise import abs as magnitude
from graphc.declare.pointwise import sqrt
from graphc.declare.reducing import normal_axes, one_axis
from graphc.declare.reductions import max, min, sum
from graphc.declare.tensor import Tensor, as_node
from graphc.errors import DomainError, ShapeError


def norm(x: Any, ord: Any = None, axis: Any = None, keepdims: bool = False) -> Tensor:
    """The norm of vectors or matrices, as ``numpy.linalg.norm``; at 0 the gradient of the Euclidean norm is 0.

    Parameters
    ----------
    x : Tensor or array
    ord : number or "fro", optional
        Of a vector: 1, 2, another exponent, inf, -inf, or 0 for the number of elements that are not 0. Of a matrix:
        "fro", 1 and -1 (sums of columns), inf and -inf (sums of rows). The root of the sum of squares when it is None.
    axis : int or pair of int, optional
        Along which axes the vectors or matrices stand; when it is None, `x` is one, or with `ord` None all elements.
    keepdims : bool
        Keep the reduced axes with an extent of 1.

    Raises
    ------
    ShapeError
        When an axis does not exist, or neither vectors nor matrices are meant.
    DomainError
        When there is no such norm, or it needs singular values.

    Examples
    --------
    >>> import graphc as gc
    >>> gc.norm(gc.input("X", ("n", 3)), axis=1).shape
    ('n',)
    """
    node = as_node(x, "norm")
    if axis is None and ord is None:
        return sqrt(sum(Tensor(node) ** 2, None, keepdims))
    axes = list(axis) if isinstance(axis, tuple | list) else [axis] if axis is not None else [*range(node.rank)]
    if len(axes) not in (1, 2):
        fail(ShapeError, f"norm of {node_text(node)} along {len(axes)} axes", "name one axis, or two with axis=(0, 1).")
    places = [one_axis(node, a, "gc.norm") for a in axes]
    normal_axes(node, tuple(places), "gc.norm")
    if len(places) == 1:
        return _of_vectors(Tensor(node), ord, places[0], keepdims)
    return _of_matrices(Tensor(node), ord, places[0], places[1], keepdims)


def _of_vectors(x: Tensor, ord: Any, axis: int, keepdims: bool) -> Tensor:
    if ord is None or ord == 2:
        return sqrt(sum(x**2, axis, keepdims))
    if ord == 0:
        return count_nonzero(x, axis, keepdims)
    if not isinstance(ord, Real) or isinstance(ord, bool) or math.isnan(ord):
        fail(DomainError, f"norm: there is no norm {ord!r} of vectors", "give 1, 2, another number, inf or -inf.")
    size = magnitude(x)
    if math.isinf(ord):
        return (max if ord == math.inf else min)(size, axis, keepdims)
    return sum(size, axis, keepdims) if ord == 1 else sum(size**ord, axis, keepdims) ** (1 / exact(ord, "norm"))


def _of_matrices(x: Tensor, ord: Any, rows: int, columns: int, keepdims: bool) -> Tensor:
    if ord is None or ord == "fro":
        return sqrt(sum(x**2, (rows, columns), keepdims))
    if ord not in (1, -1, math.inf, -math.inf):
        message = f"norm: the norm {ord!r} of matrices is not known"
        hint = 'give "fro", 1, -1, inf or -inf; axis=1 takes the norm of each row.'
        fail(DomainError, message + (", it needs singular values" if ord in (2, -2, "nuc") else ""), hint)
    inside, outside = (columns, rows) if math.isinf(ord) else (rows, columns)
    sums = sum(magnitude(x), inside, keepdims=True)
    found = (max if ord in (1, math.inf) else min)(sums, outside, keepdims=True)
    return found if keepdims else found[tuple(0 if t in (rows, columns) else slice(None) for t in range(x.ndim))]
