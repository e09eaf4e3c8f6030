"""Diagonals and triangles of matrices and of stacks of matrices: NumPy's names."""

from __future__ import annotations

from typing import Any

from graphc.declare.names import node_text
from graphc.declare.origin import fail
from graphc.declare.reducing import one_axis
from graphc.declare.reductions import sum
from graphc.declare.tensor import Tensor, as_node
from graphc.declare.views import view
from graphc.errors import ShapeError
from graphc.ir.affine import Extent, constant, index
from graphc.ir.node import Mask, Node


def diagonal(x: Any, offset: int = 0, axis1: int = 0, axis2: int = 1) -> Tensor:
    """The elements x[.., i, i + offset] of two axes, along a new last axis.

    Parameters
    ----------
    x : Tensor or array
        With at least two axes.
    offset : int
        Above (> 0) or below (< 0) the main diagonal.
    axis1, axis2 : int
        The rows and the columns.

    Raises
    ------
    ShapeError
        When an axis does not exist, both are one, or the number of elements is not known: of free extents, only the
        main diagonal of (n, n) has one.

    Examples
    --------
    >>> import graphc as gc
    >>> gc.diagonal(gc.param("A", (3, 4)), 1).shape
    (3,)
    """
    node = as_node(x, "diagonal")
    return Tensor(_diagonal(node, int(offset), axis1, axis2, "diagonal"))


def _diagonal(node: Node, offset: int, axis1: int, axis2: int, what: str) -> Node:
    a, b = (one_axis(node, axis, f"gc.{what}") for axis in (axis1, axis2))
    if a == b:
        fail(ShapeError, f"{what}: axis {axis1} of {node_text(node)} is named twice", "name the rows and the columns.")
    rest = [t for t in range(node.rank) if t not in (a, b)]
    place = index(len(rest))
    at = [constant(0)] * node.rank
    for new, old in enumerate(rest):
        at[old] = index(new)
    at[a], at[b] = place + max(-offset, 0), place + max(offset, 0)
    return view(node, [*(node.shape[t] for t in rest), _length(node, offset, a, b, what)], at)


def _length(node: Node, offset: int, a: int, b: int, what: str) -> Extent:
    """How many elements a diagonal has."""
    rows, columns = node.shape[a], node.shape[b]
    if rows == columns and offset == 0:
        return rows
    if isinstance(rows, str) or isinstance(columns, str):
        message = f"{what}: diagonal {offset} of {node_text(node)} has no known number of elements"
        fail(ShapeError, message, "of free extents only the main diagonal of (n, n) is known.")
    count = min(rows - max(-offset, 0), columns - max(offset, 0))
    if count < 1:
        message = f"{what}: {node_text(node)} has no diagonal {offset}"
        fail(ShapeError, message, f"the diagonals are {1 - rows} to {columns - 1}.")
    return count


def trace(x: Any, offset: int = 0, axis1: int = 0, axis2: int = 1) -> Tensor:
    """The sum of the elements x[.., i, i + offset] of two axes.

    Parameters
    ----------
    x : Tensor or array
        With at least two axes.
    offset : int
        Above (> 0) or below (< 0) the main diagonal.
    axis1, axis2 : int
        The rows and the columns.

    Raises
    ------
    ShapeError
        When an axis does not exist, both are one, or the number of elements is not known.

    Examples
    --------
    >>> import graphc as gc
    >>> gc.trace(gc.param("A", (3, 3))).shape
    ()
    """
    node = as_node(x, "trace")
    return sum(Tensor(_diagonal(node, int(offset), axis1, axis2, "trace")), axis=-1)


def diag(x: Any, k: int = 0) -> Tensor:
    """A vector as diagonal of a matrix of zeros, or the diagonal of a matrix.

    Parameters
    ----------
    x : Tensor or array
        Of one or two axes.
    k : int
        Above (> 0) or below (< 0) the main diagonal; 0 for a free extent.

    Raises
    ------
    ShapeError
        When `x` has another number of axes, or the extents of the result are not known.

    Examples
    --------
    >>> import graphc as gc
    >>> gc.diag(gc.param("v", (3,))).shape
    (3, 3)
    """
    node, k = as_node(x, "diag"), int(k)
    if node.rank == 2:
        return Tensor(_diagonal(node, k, 0, 1, "diag"))
    if node.rank != 1:
        message = f"diag: {node_text(node)} has {node.rank} axes"
        fail(ShapeError, message, "give a vector or a matrix; gc.diagonal takes stacks of matrices.")
    extent = node.shape[0]
    if isinstance(extent, str) and k:
        message = f"diag: a matrix with {node_text(node)} as diagonal {k} has no known extents"
        fail(ShapeError, message, "a vector of free extent is the main diagonal, k=0.")
    side = extent + abs(k) if isinstance(extent, int) else extent
    place = index(0) - max(-k, 0)
    masks = [Mask("eq", index(1) - index(0) - k)]
    if k:  # what the place along the diagonal is read at exists
        masks += [Mask("ge", place), Mask("ge", constant(int(extent) - 1) - place)]
    return Tensor(view(node, (side, side), [place], masks))


def tril(x: Any, k: int = 0) -> Tensor:
    """x with zeros above diagonal k of its last two axes.

    Parameters
    ----------
    x : Tensor or array
        With at least two axes; free extents are fine.
    k : int
        The last diagonal that is kept.

    Raises
    ------
    ShapeError
        When `x` has fewer axes.

    Examples
    --------
    >>> import graphc as gc
    >>> gc.tril(gc.param("A", (3, 3))).shape
    (3, 3)
    """
    return _triangle("tril", x, int(k), 1)


def triu(x: Any, k: int = 0) -> Tensor:
    """x with zeros below diagonal k of its last two axes.

    Parameters
    ----------
    x : Tensor or array
        With at least two axes; free extents are fine.
    k : int
        The first diagonal that is kept.

    Raises
    ------
    ShapeError
        When `x` has fewer axes.

    Examples
    --------
    >>> import graphc as gc
    >>> gc.triu(gc.param("A", (3, 3)), 1).shape
    (3, 3)
    """
    return _triangle("triu", x, int(k), -1)


def _triangle(name: str, x: Any, k: int, side: int) -> Tensor:
    """out[.., i, j] = x[.., i, j] where i + k - j, times the side, is not negative."""
    node = as_node(x, name)
    if node.rank < 2:
        fail(ShapeError, f"{name}: {node_text(node)} has {node.rank} axes", "give a matrix, or a stack of matrices.")
    rank = node.rank
    beyond = index(rank - 2) + k - index(rank - 1)
    return Tensor(view(node, node.shape, [index(t) for t in range(rank)], [Mask("ge", beyond * side)]))
