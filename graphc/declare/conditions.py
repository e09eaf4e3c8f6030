"""Which values are conditions, whose elements are 0 and 1: what ``&``, ``|``, ``^`` and ``~`` take."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import sympy

from graphc.ir.node import Equation, Indicator, Node, Operand, Read
from graphc.ir.scalar import equal, less, less_equal, maximum, minimum, placeholder_index, step, where

_TRUTHS = (equal, less, less_equal, step)
NAMES = ("equal", "not_equal", "isnan", "isinf", "isfinite", "logical_and", "logical_or", "logical_xor", "logical_not")


def is_condition(value: Any) -> bool:
    """Whether True or False, an array or a handle has no other values than 0 and 1."""
    own = getattr(value, "_is_condition", None)
    if own is not None:
        return own()
    if not isinstance(value, bool | np.ndarray | np.generic | list | tuple):
        return False  # a plain 0 or 1 is what x > 0 & (x < 1) gives, where parentheses are missing
    array = np.asarray(value)
    return array.dtype.kind == "b" or (array.dtype.kind in "iuf" and bool(np.isin(array, (0, 1)).all()))


def of_node(node: Node) -> bool:
    """Whether a node has no other values than 0 and 1: comparisons, and what is chosen or multiplied of them."""
    if not isinstance(node, Equation) or not (node.elementwise or node.reducer in ("max", "min", "prod")):
        return False
    return _of_body(node.body, node.operands)


def _of_body(body: sympy.Expr, operands: Sequence[Operand]) -> bool:
    """Whether a body has no other values than 0 and 1."""
    j = placeholder_index(body)
    if j is not None:
        operand = operands[j]
        return isinstance(operand, Indicator) or (isinstance(operand, Read) and of_node(operand.node))
    if body.is_number or isinstance(body, _TRUTHS):
        return isinstance(body, _TRUTHS) or body in (0, 1)
    if isinstance(body, where):
        return all(_of_body(branch, operands) for branch in body.args[1:])
    if body.is_Mul or isinstance(body, maximum | minimum):
        return all(_of_body(part, operands) for part in body.args)
    opposite = 1 - body
    return (body.is_Add and not opposite.is_Add and _of_body(opposite, operands)) or body.func.__name__ in NAMES
