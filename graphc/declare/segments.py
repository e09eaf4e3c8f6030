"""Sums of the rows that belong together."""

from __future__ import annotations

from typing import Any

import numpy as np

from graphc.declare.constants import constant_leaf
from graphc.declare.names import check_shape, node_text
from graphc.declare.origin import fail, stamp
from graphc.declare.tensor import Tensor, as_node, is_expression
from graphc.declare.views import gather, labels_leaf
from graphc.errors import IndexNotationError, ShapeError, TypeMismatchError
from graphc.ir.affine import Affine, Extent, index, size
from graphc.ir.build import equation
from graphc.ir.node import Leaf, Mask, Node, Read
from graphc.ir.scalar import placeholder


def segment_sum(values: Any, ids: Any, count: Extent) -> Tensor:
    """The sums of the rows that belong together: out[c, ..] = sum over n of [ids[n] = c] values[n, ..].

    Every row gets the gradient of its sum: dJ/dvalues[n, ..] = dJ/dout[ids[n], ..].

    Parameters
    ----------
    values : Tensor or array
        Of shape (n, ..).
    ids : Tensor or array of integers
        Of shape (n,): which of the `count` sums a row belongs to. A Tensor is declared with ``dtype="int64"``.
    count : int or str
        How many sums there are; or the name of a free extent that another input has.

    Returns
    -------
    Tensor
        Of shape (count, ..); 0 where no row belongs. With a free extent as `count`, rows whose id is not below it
        belong nowhere.

    Raises
    ------
    IndexNotationError
        For an indexed expression.
    ShapeError
        When `values` has no rows, `ids` is not one number for each of them or not below `count`, or `count` is no
        extent.
    TypeMismatchError
        When `ids` is not integer data.

    Examples
    --------
    >>> import graphc as gc
    >>> message, target = gc.input("M", ("m", 3)), gc.input("target", ("m",), dtype="int64")
    >>> gc.segment_sum(message, target, 6).shape
    (6, 3)
    """
    count = check_shape((count,), "segment_sum")[0]
    node, labels = _values(values), _labels(ids)
    if labels.shape != node.shape[:1]:
        message = f"segment_sum: {node_text(node)} has {node.shape[0]} rows but the ids are {node_text(labels)}"
        fail(ShapeError, message, f"give one id for each row: ids of shape ({node.shape[0]},).")
    leaf = labels_leaf(labels)
    if leaf is None:
        message = f"segment_sum: {node_text(labels)} is no integer data"
        fail(TypeMismatchError, message, 'declare the ids with gc.input(..., dtype="int64").')
    _check_constant(leaf, count)
    return Tensor(_sums(node, labels, count))


def _values(values: Any) -> Node:
    if is_expression(values):
        message = f"segment_sum works on whole axes, and {values!r} is an indexed expression"
        fail(IndexNotationError, message, "write gc.sum(gc.equal(ids[n], c)*values[n, k], over=n).")
    node = as_node(values, "segment_sum")
    if node.rank == 0:
        fail(ShapeError, f"segment_sum: {node_text(node)} has no rows", "give a Tensor of shape (n, ..).")
    return node


def _labels(ids: Any) -> Node:
    if isinstance(ids, Tensor) or is_expression(ids):
        return as_node(ids, "the ids of segment_sum")
    if np.asarray(ids).dtype.kind not in "iu":
        fail(TypeMismatchError, f"segment_sum: the ids {ids!r:.60} are no whole numbers", "number the sums from 0.")
    return constant_leaf(ids, "the ids of segment_sum", labels=True)


def _check_constant(ids: Leaf, count: Extent) -> None:
    if ids.kind != "constant":
        return
    low, high = int(ids.value.min()), int(ids.value.max())
    if low < 0 or (isinstance(count, int) and high >= count):
        last = f"{count} - 1" if isinstance(count, str) else count - 1
        message = f"segment_sum: the ids run from {low} to {high} but there are {count} sums"
        fail(ShapeError, message, f"number them from 0 to {last}.")


def _sums(node: Node, ids: Node, count: Extent) -> Node:
    """out[c, ..] = sum_{n: ids[n] = c} node[n, ..]: the free indices are c and the other axes, n is the bound one."""
    n = node.rank
    label = gather(ids, (index(n),), count)
    masks = [Mask("eq", label - index(0))]
    if isinstance(count, str):  # whether the labels stay below it is known at run time only
        masks.append(Mask("ge", size(count) - 1 - label))
    at: list[Affine] = [index(n), *(index(t) for t in range(1, n))]
    extents = (count, *node.shape[1:], node.shape[0])
    return stamp(equation(extents, n, "sum", placeholder(0), [Read(node, tuple(at))], masks), [node, ids])
