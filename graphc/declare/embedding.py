"""Whole numbers as vectors: one-hot, embeddings, and the sinusoids that stand for places."""

from __future__ import annotations

import math
from numbers import Integral
from typing import Any

import numpy as np
import sympy

from graphc.declare.computed_places import extent_of_places
from graphc.declare.constants import constant_leaf
from graphc.declare.names import check_shape, node_text
from graphc.declare.origin import fail, stamp
from graphc.declare.tensor import Tensor, as_node
from graphc.declare.views import check_places, gather, labels_leaf, subscript
from graphc.errors import ShapeError, TypeMismatchError
from graphc.ir.affine import Extent, identity, index, modulo
from graphc.ir.build import equation
from graphc.ir.node import Indicator, Mask, Node, Position, Read
from graphc.ir.scalar import equal, placeholder, stop_gradient


def one_hot(labels: Any, classes: int) -> Tensor:
    """out[.., c] = 1 where labels[..] = c, else 0.

    Parameters
    ----------
    labels : Tensor or array of integers
        A Tensor is declared with ``dtype="int64"``, or what gc.argmax, argmin, argsort or top_k gives.
    classes : int
        How many there are; labels are below.

    Raises
    ------
    TypeMismatchError
        When `labels` are no integer data, or `classes` is no whole number.
    ShapeError
        When a constant label is out of range.

    Examples
    --------
    >>> import graphc as gc
    >>> gc.one_hot(gc.input("T", ("n",), dtype="int64"), 10).shape
    ('n', 10)
    """
    if not isinstance(classes, Integral) or isinstance(classes, bool) or classes < 1:
        fail(TypeMismatchError, f"one_hot: there are {classes!r:.40} classes", "give a whole number of at least 1.")
    node, count = label_node("one_hot", labels, int(classes)), int(classes)
    if labels_leaf(node) is None:
        operands = [Read(node, identity(node.rank)), Position(index(node.rank))]
        same = equal(stop_gradient(placeholder(0)), placeholder(1))
        return Tensor(stamp(equation((*node.shape, count), node.rank + 1, "sum", same, operands), [node]))
    chosen = gather(node, identity(node.rank), count) - index(node.rank)
    return Tensor(stamp(_indicator((*node.shape, count), Mask("eq", chosen)), [node]))


def embedding(labels: Any, table: Any) -> Tensor:
    """out[.., j] = table[labels[..], j]: a row of a table for every label.

    The gradient of the table is the sum of the gradients of all places with that label.

    Parameters
    ----------
    labels : Tensor or array of integers
        A Tensor is declared with ``dtype="int64"``, or what gc.argmax, argmin, argsort or top_k gives.
    table : Tensor
        Of shape (labels, width), with any number of further axes.

    Raises
    ------
    TypeMismatchError
        When `labels` are no integer data.
    ShapeError
        When the table has no axes, or a constant label is out of range.

    Examples
    --------
    >>> import graphc as gc
    >>> gc.embedding(gc.input("T", ("n", 32), dtype="int64"), gc.param("E", (1000, 64))).shape
    ('n', 32, 64)
    """
    rows = as_node(table, "embedding")
    if rows.rank == 0:
        fail(ShapeError, f"embedding: the table {node_text(rows)} has no rows", "give it the shape (labels, width).")
    return Tensor(subscript(rows, (label_node("embedding", labels, rows.shape[0]),)))


def label_node(what: str, labels: Any, count: Extent) -> Node:
    """The node of integer data, or of computed places, that stay below a number."""
    if isinstance(labels, Tensor):
        node = labels.node
    elif np.asarray(labels).dtype.kind in "iu":
        node = constant_leaf(np.asarray(labels), f"the labels of {what}", labels=True)
    else:
        fail(TypeMismatchError, f"{what}: the labels {labels!r:.60} are no whole numbers", "number them from 0.")
    leaf, found = labels_leaf(node), extent_of_places(node)
    if leaf is None and found is not None:
        check_places(found, count, f"the labels of {what}")
        return node
    if leaf is None:
        message = f"{what}: {node_text(node)} is no integer data"
        fail(TypeMismatchError, message, 'declare it with gc.input(..., dtype="int64").')
    if leaf.kind == "constant" and isinstance(count, int) and not 0 <= leaf.value.min() <= leaf.value.max() < count:
        message = f"{what}: the labels run from {leaf.value.min()} to {leaf.value.max()} but there are {count}"
        fail(ShapeError, message, f"number them from 0 to {count - 1}.")
    return node


def _indicator(shape: tuple[Extent, ...], mask: Mask) -> Node:
    return equation(shape, len(shape), "sum", placeholder(0), [Indicator(mask)])


def positional_encoding(length: Extent, width: int, base: float = 10000.0) -> Tensor:
    """P[t, k] = sin(t/base^(k/width)) for even k, cos(t/base^((k - 1)/width)) for odd k (Vaswani et al. 2017).

    Parameters
    ----------
    length : int or str
        How many places; or the name of a free extent that another input has.
    width : int
        Of how many sines and cosines.
    base : number
        The longest of the periods is about 2π times that.

    Raises
    ------
    ShapeError
        When an extent is none.
    TypeMismatchError
        When `base` is no positive number.

    Examples
    --------
    >>> import graphc as gc
    >>> (gc.input("X", ("n", 32, 64)) + gc.positional_encoding(32, 64)).shape
    ('n', 32, 64)
    """
    shape = (*check_shape((length,), "positional_encoding"), *check_shape((width,), "positional_encoding", free=False))
    if not isinstance(base, int | float) or isinstance(base, bool) or not 0 < base < math.inf:
        fail(TypeMismatchError, f"positional_encoding: the base is {base!r:.40}", "give a positive number.")
    odd = modulo(index(1), 2, shape)
    t, even, shift = (placeholder(j) for j in range(3))
    rate = sympy.exp(-even * sympy.log(sympy.nsimplify(base)) / int(width))
    body = sympy.sin(t * rate + shift * sympy.pi / 2)  # the cosine is the sine a quarter of a turn later
    places = [Position(index(0)), Position(index(1) - odd), Position(odd)]
    return Tensor(stamp(equation(shape, 2, "sum", body, places)))
