"""The functions of Tensors and indexed expressions, under NumPy's names."""

from __future__ import annotations

from typing import Any

from graphc.declare.linear import matmul as _matmul
from graphc.declare.pointwise import (
    abs,
    clip,
    cos,
    elu,
    equal,
    erf,
    exp,
    expm1,
    floor,
    gelu,
    leaky_relu,
    log,
    log1p,
    maximum,
    minimum,
    relu,
    round,
    sigmoid,
    sign,
    silu,
    sin,
    softplus,
    sqrt,
    stop_gradient,
    tanh,
    where,
)
from graphc.declare.rearrange import concatenate, reshape, stack, transpose
from graphc.declare.reductions import argmax, logsumexp, max, mean, min, prod, softmax, sum
from graphc.declare.running import cumsum
from graphc.declare.segments import segment_sum
from graphc.declare.tensor import Tensor, as_node

__all__ = [
    "abs", "argmax", "clip", "concatenate", "cos", "cumsum", "elu", "equal", "erf", "exp", "expm1", "floor", "gelu",
    "leaky_relu", "log", "log1p", "logsumexp", "matmul", "max", "maximum", "mean", "min", "minimum", "prod", "relu",
    "reshape", "round", "segment_sum", "sigmoid", "sign", "silu", "sin", "softmax", "softplus", "sqrt", "stack",
    "stop_gradient", "sum", "tanh", "transpose", "where",
]  # fmt: skip


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
