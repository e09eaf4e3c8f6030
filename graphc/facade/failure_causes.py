"""Why the first bad value of a failed step is bad: outside a domain, divided by 0, or too large."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

import numpy as np
import sympy
from numpy.typing import NDArray
from sympy import Expr

from graphc.emit.reference import evaluate
from graphc.ir.build import equation
from graphc.ir.node import Equation, Leaf, Node, Read
from graphc.ir.scalar import placeholder, placeholders, scalar_of

SMALLER = "try a smaller learning rate, or clip_norm=1.0 in the optimizer"


def advice(y: Equation, values: Mapping[Node, NDArray], dtype: str, updates: int) -> str:
    """What to change, given the equation of the first bad value, the values of all nodes, and the updates made."""
    found = next(_outside(y, values, dtype), None)
    if found is not None:
        return found
    if updates:
        return SMALLER
    wider = ', or use dtype="float64"' if dtype == "float32" else ""
    return f"it is too large before any update: scale the data, or start from smaller parameters{wider}"


def _outside(y: Equation, values: Mapping[Node, NDArray], dtype: str) -> Iterator[str]:
    """One sentence for every part of a body that is not finite although what it is made of is.

    Where NaN in its place gets through to the body: nothing is told of the branch of a ``where`` that is not taken.
    """
    nan = placeholder(len(y.operands))
    for part in sympy.postorder_traversal(y.body):
        argument, low, what, instead = _restricted(part)
        if argument is None or not placeholders(argument):
            continue
        given, results = _values_of(argument, y, values, dtype), _values_of(part, y, values, dtype)
        counts = np.isnan(_values_of(y.body.xreplace({part: nan}), y, values, dtype))
        bad = np.isfinite(given) & ~np.isfinite(results) & counts
        if bad.any() and (low is None or (given[bad] <= low).any()):
            yield f"{what.format(f'{given[bad].min():.6g}')}: {instead}"


def _restricted(part: Expr) -> tuple[Expr | None, float | None, str, str]:
    """The argument that a part bears only within a domain, its lower end, what to say, and what to do."""
    if part.is_Pow and part.exp.could_extract_minus_sign():
        return part.base, None, "it divides by {}", "keep that away from 0, for example by adding 1e-8"
    entry = scalar_of(part)
    if entry is not None and entry.domain != (-np.inf, np.inf):
        low, high = entry.domain
        ends = f"above {low:g}" if entry.open_domain else f"at least {low:g}"
        inside = f"from {low:g} to {high:g}" if np.isfinite(high) else ends
        low = None if np.isfinite(high) else low
        return part.args[0], low, f"{entry.name} gets {{}}", f"keep its argument {inside}, for example with gc.maximum"
    if part.is_Pow and not part.exp.is_integer:
        return part.base, 0.0, "a power gets the base {}", "keep the base above 0, for example with gc.maximum"
    return None, None, "", ""


def _values_of(part: Expr, y: Equation, values: Mapping[Node, NDArray], dtype: str) -> NDArray:
    """An expression of the operands and of NaN, which is the one after them, for every value of all indices."""
    stand_ins = {r.node: Leaf(f"s{t}", r.node.shape, "input") for t, r in enumerate(y.reads) if _is_float(r.node)}
    operands = [replace(op, node=stand_ins.get(op.node, op.node)) if isinstance(op, Read) else op for op in y.operands]
    feed = {leaf: value for leaf, value in values.items() if isinstance(leaf, Leaf)}
    feed |= {leaf: values[node] for node, leaf in stand_ins.items()}
    nan = Leaf("nan", (), "constant", value=np.array(np.nan))
    made = equation(y.extents, len(y.extents), "sum", part, [*operands, Read(nan, ())], y.masks)
    sizes = {e: n for s, v in values.items() for e, n in zip(s.shape, v.shape, strict=True) if isinstance(e, str)}
    return evaluate([made], feed, sizes, np.dtype(dtype))[0]


def _is_float(node: Node) -> bool:
    return not (isinstance(node, Leaf) and node.dtype == "int")
