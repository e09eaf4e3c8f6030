"""Elements in order along an axis: NumPy's names, and the k largest."""

from __future__ import annotations

from typing import Any

import numpy as np

from graphc.declare import pointwise
from graphc.declare.attention import causal_mask
from graphc.declare.computed_places import note_places
from graphc.declare.index_ast import Indexed
from graphc.declare.names import node_text
from graphc.declare.origin import fail
from graphc.declare.reducing import one_axis
from graphc.declare.reductions import sum
from graphc.declare.shapes import moveaxis
from graphc.declare.tensor import Tensor, as_node
from graphc.errors import DomainError, IndexNotationError, ShapeError


def sort(x: Any, axis: int = -1) -> Tensor:
    """The elements along an axis in ascending order, NaN as if it were infinite; each has the gradient of its
    place. It costs the square of the extent.

    Parameters
    ----------
    x : Tensor or array
    axis : int
        Of known extent.

    Raises
    ------
    ShapeError
        When the axis does not exist or has a free extent.

    Examples
    --------
    >>> import graphc as gc
    >>> gc.sort(gc.input("X", ("n", 5))).shape
    ('n', 5)
    """
    z = _last("sort", x, axis)
    return moveaxis(_at(_rank(z, ascending=True), z, int(z.shape[-1])), -1, axis)


def argsort(x: Any, axis: int = -1) -> Tensor:
    """The places of the elements along an axis in ascending order, equal ones in theirs and NaN as if it were
    infinite; its gradient is 0.

    Parameters
    ----------
    x : Tensor or array
    axis : int
        Of known extent.

    Raises
    ------
    ShapeError
        When the axis does not exist or has a free extent.

    Examples
    --------
    >>> import graphc as gc
    >>> gc.argsort(gc.input("X", ("n", 5))).shape
    ('n', 5)
    """
    z = _last("argsort", x, axis)
    count = int(z.shape[-1])
    return moveaxis(_places(_rank(z, ascending=True), count), -1, axis)


def top_k(x: Any, k: int, axis: int = -1, largest: bool = True) -> tuple[Tensor, Tensor]:
    """The k largest elements along an axis, the largest first, and their places; of equal ones the first comes first.
    NaN counts as infinity.

    Parameters
    ----------
    x : Tensor or array
    k : int
        How many, at most the extent of the axis.
    axis : int
        Of known extent.
    largest : bool
        The smallest ones, the smallest first, when it is False.

    Returns
    -------
    tuple of Tensor
        The elements, each with the gradient of its place, and the places, whose gradient is 0.

    Raises
    ------
    ShapeError
        When the axis does not exist or has a free extent.
    DomainError
        When k is no whole number from 1 to the extent.

    Examples
    --------
    >>> import graphc as gc
    >>> values, places = gc.top_k(gc.input("X", ("n", 5)), 2)
    >>> values.shape
    ('n', 2)
    """
    z = _last("top_k", x, axis)
    extent = int(z.shape[-1])
    if not isinstance(k, int | np.integer) or isinstance(k, bool) or not 1 <= k <= extent:
        fail(DomainError, f"top_k: k is {k!r:.40} for {extent} elements", f"give a whole number from 1 to {extent}.")
    rank = _rank(z, ascending=not largest)
    values, places = _at(rank, z, int(k)), _places(rank, int(k))
    return moveaxis(values, -1, axis), moveaxis(places, -1, axis)


def _last(what: str, x: Any, axis: Any) -> Tensor:
    """x with the axis as its last one."""
    if isinstance(x, Indexed):
        message = f"gc.{what} works on whole axes, and {x!r} is an indexed expression"
        fail(IndexNotationError, message, "make it a Tensor first: H = gc.define('H', [i, j], expression).")
    node = as_node(x, what)
    t = one_axis(node, axis, f"gc.{what}")
    if isinstance(node.shape[t], str):
        message = f"{what}: axis {t} of {node_text(node)} has the free extent {node.shape[t]}"
        fail(ShapeError, message, "elements are put in order along an axis of known extent.")
    return moveaxis(Tensor(node), t, -1)


def _rank(z: Tensor, ascending: bool) -> Tensor:
    """How many elements come before each: those beyond it, and of equal ones those that stand before it.

    NaN, which NumPy puts last, counts as infinity: compared as it is, it would have no place at all.
    """
    z = pointwise.where(pointwise.less(z, np.inf), z, np.inf)
    mine, others = z[..., :, None], z[..., None, :]
    beyond = pointwise.less(others, mine) if ascending else pointwise.less(mine, others)
    until = Tensor(causal_mask(z.shape[-1], z.shape[-1]))  # the element itself is one of them
    return sum(pointwise.where(beyond, 1, pointwise.where(pointwise.equal(others, mine), until, 0)), axis=-1) - 1


def _at(rank: Tensor, values: Any, count: int) -> Tensor:
    """out[.., r] = the value whose element comes at place r."""
    there = pointwise.equal(pointwise.stop_gradient(rank)[..., None, :], np.arange(count)[:, None])
    spread = values[..., None, :] if isinstance(values, Tensor) else values
    return sum(pointwise.where(there, spread, 0), axis=-1)


def _places(rank: Tensor, count: int) -> Tensor:
    """out[.., r] = the place of the element that comes at place r."""
    extent = int(rank.shape[-1])
    return Tensor(note_places(_at(rank, np.arange(extent), count).node, extent))
