"""The functions of Tensors and indexed expressions, under NumPy's names; those of one element come from their table."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from graphc.declare import pointwise
from graphc.declare.cumulative import cumsum
from graphc.declare.linear import matmul as _matmul
from graphc.declare.pointwise import clip, equal, where
from graphc.declare.rearrange import concatenate, reshape, stack, transpose
from graphc.declare.reductions import argmax, logsumexp, max, mean, min, prod, sum
from graphc.declare.segments import segment_sum
from graphc.declare.softmaxes import softmax
from graphc.declare.tensor import Tensor, as_node

__all__ = [
    "argmax", "clip", "concatenate", "cumsum", "equal", "logsumexp", "matmul", "max", "mean", "min", "prod", "reshape",
    "segment_sum", "softmax", "stack", "sum", "transpose", "where",
]  # fmt: skip


def __getattr__(name: str) -> Callable[..., Any]:
    return getattr(pointwise, name)


def matmul(a: Any, b: Any) -> Tensor:
    """The matrix product ``a @ b``, with NumPy's rules for vectors and stacks of matrices.

    Parameters
    ----------
    a, b : Tensor or array
        With at least one axis; the last axis of `a` and the last but one of `b` have one extent.

    Raises
    ------
    ShapeError
        When these extents differ.

    Examples
    --------
    >>> import graphc as gc
    >>> gc.matmul(gc.input("X", ("n", 3)), gc.param("W", (3, 2), 0.5)).shape
    ('n', 2)
    """
    return Tensor(_matmul(as_node(a, "matmul"), as_node(b, "matmul")))
