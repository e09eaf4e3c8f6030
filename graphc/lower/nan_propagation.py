"""Which inputs cannot hold a NaN or an infinity without the gradients showing it.

NaN and infinity go through sums and products, whatever stands beside them, but not through every function: relu(NaN),
say, may be 0. In a dense network ``dW[k, j] = sum_n X[n, k] δ[n, j]`` shows a bad value of X whatever the activations
made of it, and δ shows one of most targets.
"""

from __future__ import annotations

import sympy

from graphc.ir.node import Equation, Leaf, Node, Read
from graphc.ir.scalar import placeholder
from graphc.lower.kernels import Pack, equations_of
from graphc.lower.training import StepPlan


def propagating(step: StepPlan) -> list[Leaf]:
    """The floating-point inputs of which a value that is not finite makes a gradient of its batch not finite.

    What is not proved is not in the list.
    """
    shown: dict[Node, set[Leaf]] = {i.leaf: {i.leaf} for i in step.inputs if not i.integer}
    found: set[Leaf] = set()
    for kernel in step.plan.kernels:
        if isinstance(kernel, Pack):
            continue
        for y in equations_of(kernel):
            reads = [(j, op) for j, op in enumerate(y.operands) if isinstance(op, Read)]
            passing = set().union(*(shown.get(op.node, set()) for j, op in reads if _shows(y, j, op)))
            shown[y], shown[kernel.node] = passing, passing
        if kernel.out.region == "G":
            found |= shown[kernel.node]
    return [i.leaf for i in step.inputs if i.leaf in found]


def _shows(y: Equation, j: int, read: Read) -> bool:
    """Whether every element of operand j that is not finite makes an element of y not finite."""
    if y.masks or not (y.elementwise or y.reducer == "sum"):
        return False
    return _reads_all(y, read) and _passes(y.body, placeholder(j))


def _reads_all(y: Equation, read: Read) -> bool:
    """Whether the indices of y take the read to every element of its node."""
    places = [a.plain_index for a, e in zip(read.at, read.node.shape, strict=True) if e != 1]
    extents = [e for e in read.node.shape if e != 1]
    if None in places or len(set(places)) < len(places):
        return False
    return all(i is not None and y.extents[i] == e for i, e in zip(places, extents, strict=True))


def _passes(body: sympy.Expr, value: sympy.Symbol) -> bool:
    """Whether a NaN or an infinity of ``value`` reaches the body through sums, products and powers 1, 2, .. alone."""
    if body == value:
        return True
    if body.is_Pow:
        return bool(body.exp.is_Integer and body.exp > 0) and _passes(body.base, value)
    return (body.is_Add or body.is_Mul) and any(_passes(part, value) for part in body.args)
