"""Between which numbers a node lies, whatever the inputs and parameters are: from the structure of the graph alone."""

from __future__ import annotations

import math
from weakref import WeakKeyDictionary

import numpy as np
from sympy import Symbol

from graphc.derive.differentiability import interval
from graphc.ir.node import Distribution, Equation, Indicator, Leaf, Node, Operand, Read
from graphc.ir.scalar import placeholder
from graphc.ir.scalar_table import REALS, Interval
from graphc.ir.walk import topological

_known: WeakKeyDictionary[Node, Interval] = WeakKeyDictionary()


def range_of(node: Node) -> Interval:
    """A closed interval that holds all values of a node; the values of inputs and parameters may be any."""
    for n in topological([node]) if node not in _known else ():
        if n not in _known:
            _known[n] = _equation(n) if isinstance(n, Equation) else _leaf(n)
    return _known[node]


def ranges_of_reads(y: Equation) -> dict[Symbol, Interval]:
    """The intervals of the placeholders of a body."""
    return {placeholder(j): _operand(op) for j, op in enumerate(y.operands)}


def _operand(op: Operand) -> Interval:
    if isinstance(op, Read):
        return range_of(op.node)
    return (0.0, 1.0) if isinstance(op, Indicator) else REALS


def _leaf(leaf: Node) -> Interval:
    value = leaf.value if isinstance(leaf, Leaf) and leaf.kind in ("constant", "random") else None
    if isinstance(value, Distribution):
        return value.interval
    if not isinstance(value, np.ndarray) or not value.size:
        return REALS
    return float(value.min()), float(value.max())


def _equation(y: Equation) -> Interval:
    low, high = interval(y.body, ranges_of_reads(y))
    if math.isnan(low) or math.isnan(high):
        return REALS
    if y.masks:
        low, high = min(low, 0.0), max(high, 0.0)
    if y.elementwise or y.reducer in ("max", "min"):
        return low, high
    if y.reducer == "sum":
        return (low if low >= 0 else -math.inf), (high if high <= 0 else math.inf)
    return (0.0, math.inf) if y.reducer == "prod" and low >= 0 else REALS
