"""Attention: mean values weighted by how well keys fit a query."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sympy

from graphc.declare.linear import matmul
from graphc.declare.names import node_text, shape_text
from graphc.declare.origin import fail, stamp
from graphc.declare.pointwise import where
from graphc.declare.shapes import swapaxes
from graphc.declare.softmaxes import softmax
from graphc.declare.tensor import Tensor, as_node
from graphc.errors import ShapeError
from graphc.ir.affine import Extent, index
from graphc.ir.build import equation
from graphc.ir.node import Indicator, Mask, Node
from graphc.ir.scalar import placeholder


def attention(
    query: Any, key: Any, value: Any, mask: Any = None, causal: bool = False, scale: Any = None, bias: Any = None
) -> Tensor:
    """softmax(query keyᵀ/√d + bias) value, the scaled dot product (Vaswani et al. 2017).

    Parameters
    ----------
    query : Tensor or array
        Of shape (.., q, d).
    key : Tensor or array
        Of shape (.., k, d).
    value : Tensor or array
        Of shape (.., k, v).
    mask : Tensor or array, optional
        Which keys a query sees: those where it is not 0. It broadcasts with (.., q, k): ``mask[:, None, :]`` for the
        words of sentences, mask (n, k). A query that sees nothing gets 0, and its gradient is 0.
    causal : bool
        Whether query t sees the keys up to t alone.
    scale : number, optional
        What products are multiplied by, 1/√d when it is None.
    bias : Tensor or array, optional
        What is added to them, such as a number for each distance of query and key; it broadcasts with (.., q, k).

    Returns
    -------
    Tensor
        Of shape (.., q, v).

    Raises
    ------
    ShapeError
        When the shapes do not fit.

    Examples
    --------
    >>> import graphc as gc
    >>> X = gc.input("X", ("n", 32, 64))
    >>> gc.attention(X, X, X, causal=True).shape
    ('n', 32, 64)
    """
    q, k, v = (as_node(x, "attention") for x in (query, key, value))
    _check(q, k, v)
    d = q.shape[-1]
    assert isinstance(d, int)
    scores = Tensor(matmul(q, swapaxes(Tensor(k), -1, -2).node))
    scores = scores / sympy.sqrt(d) if scale is None else scores * scale
    if bias is not None:
        _check_mask("bias", as_node(bias, "attention"), scores.shape)
        scores = scores + Tensor(as_node(bias, "attention"))
    seen = Tensor(causal_mask(q.shape[-2], k.shape[-2])) if causal else None
    if mask is not None:
        _check_mask("mask", as_node(mask, "attention"), scores.shape)
        seen = Tensor(as_node(mask, "attention")) if seen is None else where(mask, seen, 0)
    weights = softmax(scores) if seen is None else softmax(scores, where=seen)
    return Tensor(matmul(weights.node, v))


def _check_mask(name: str, mask: Node, shape: Sequence[Extent]) -> None:
    behind = shape[len(shape) - mask.rank :] if mask.rank <= len(shape) else ()
    if mask.rank > len(shape) or any(m not in (1, e) for m, e in zip(mask.shape, behind)):
        message = f"attention: the {name} is {node_text(mask)} for scores of shape {shape_text(shape)}"
        fail(ShapeError, message, f"it broadcasts with (.., queries, keys): {name}[:, None, :] for a {name} (n, keys).")


def causal_mask(rows: Extent, columns: Extent) -> Node:
    """out[t, s] = [t >= s]."""
    seen = Indicator(Mask("ge", index(0) - index(1)))
    return stamp(equation((rows, columns), 2, "sum", placeholder(0), [seen]))


def _check(q: Node, k: Node, v: Node) -> None:
    for name, node in (("query", q), ("key", k), ("value", v)):
        if node.rank < 2:
            message = f"attention: the {name} {node_text(node)} has {node.rank} axes"
            fail(ShapeError, message, "give the last two axes to places and their vectors: (n, places, width).")
    if q.shape[-1] != k.shape[-1] or isinstance(q.shape[-1], str):
        message = f"attention: the queries are {node_text(q)} and the keys {node_text(k)}"
        fail(ShapeError, message, "their last axes have one known extent.")
    if k.shape[-2] != v.shape[-2]:
        message = f"attention: the keys are {node_text(k)} and the values {node_text(v)}"
        fail(ShapeError, message, "there is one value for each key: the last axes but one have one extent.")
