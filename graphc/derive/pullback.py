"""The one differentiation rule.

For ``y[i] = reduce_k f(.., A[phi(i, k)], ..)`` with cotangent ``ybar`` the pullback to A is

    Abar[p] = sum_{i, k : phi(i, k) = p} ybar[i] * df/dA * w[i, k]

with the weight w of the reducer: 1 for sum, exp(f - y) for logsumexp, [f = y]/ties for max and min (ties share
equally, the convention of JAX and of torch.amax), the product of the other factors for prod (exact at zeros).
The deltas ``phi(i, k) = p`` are contracted away by the constructor.  The pushforward is the same rule read forwards:
``ydot[i] = reduce_k sum_j df/dA_j * Adot_j * w``.
"""

from __future__ import annotations

import sympy

from graphc.derive.dense import pullback_dense, pushforward_dense
from graphc.derive.zero_times_infinity import careful, is_delicate, times
from graphc.ir.affine import Affine, Extent, identity, index, substitute
from graphc.ir.build import Described, equation, equation_of
from graphc.ir.contract import map_mask, map_operand
from graphc.ir.node import Equation, Mask, Node, Operand, Read
from graphc.ir.parts import symbols_of, with_symbols
from graphc.ir.scalar import OUT, derivative, equal, placeholder, placeholder_index


def pullback(y: Equation, ybar: Node, j: int, lead: tuple[Extent, ...] = ()) -> Node:
    """Abar[p] = sum_{i, k : phi(i, k) = p} ybar[i] * df/da_j * w[i, k]       for operand j of y.

    ``lead`` are the extents of a stack of cotangents ybar[s.., i..]; the result is then the stack Abar[s.., p..].
    """
    if y.dense:
        return pullback_dense(y, ybar, lead)
    read = y.operands[j]
    assert isinstance(read, Read)
    if y.reducer not in ("sum", "logsumexp") or y.labels or is_delicate(y.body):
        return equation(*_pulled(y, ybar, j, read, lead))  # which asks the nodes for more than their order
    operands = tuple(op.at if isinstance(op, Read) else op for op in y.operands)
    key = "pullback", y.extents, y.n_free, y.reducer, y.body, operands, y.masks, j, read.node.shape, lead
    return equation_of(key, [*(op.node for op in y.reads), y, ybar], lambda: _pulled(y, ybar, j, read, lead))


def _pulled(y: Equation, ybar: Node, j: int, read: Read, lead: tuple[Extent, ...]) -> Described:
    """The pullback before it is brought to canonical form."""
    n_lead = len(lead)
    r = n_lead + read.node.rank

    def shift(x: Affine) -> Affine:
        return substitute(x, lambda i: index(i + r))

    operands = [map_operand(op, shift) for op in y.operands]
    masks = [map_mask(m, shift) for m in y.masks]
    out = tuple(index(i + r) for i in range(y.n_free))
    slope = _slope(y, j, operands, out, r)
    body = times(slope, _add(operands, Read(ybar, identity(n_lead) + out)), ybar, y)
    masks += [Mask("eq", shift(a) - index(n_lead + t)) for t, a in enumerate(read.at)]
    return lead + read.node.shape + y.extents, r, "sum", body, operands, masks


def pushforward(y: Equation, tangents: dict[Node, Node]) -> Node | None:
    """ydot[i] = sum_k sum_j df/da_j * w[i, k] * adot_j       for the operands that have a tangent."""
    if y.dense:
        return pushforward_dense(y, tangents[y.reads[0].node]) if y.reads[0].node in tangents else None
    operands: list[Operand] = list(y.operands)
    out = identity(y.n_free)
    terms = []
    for j, op in enumerate(y.operands):
        if isinstance(op, Read) and op.node in tangents:
            slope = _slope(y, j, operands, out, 0)
            terms.append(slope * _add(operands, Read(tangents[op.node], op.at)))
    if not terms:
        return None
    return equation(y.extents, y.n_free, "sum", sympy.Add(*terms), operands, y.masks)


def _add(operands: list[Operand], operand: Operand) -> sympy.Symbol:
    operands.append(operand)
    return placeholder(len(operands) - 1)


def _slope(y: Equation, j: int, operands: list[Operand], out: tuple[Affine, ...], shift: int) -> sympy.Expr:
    """df/da_j times the weight of the reducer, over ``operands``, to which what it needs is appended."""
    if y.reducer == "sum":
        plain = y.elementwise and not y.masks
        slope = careful(derivative(y.body, j, use_output=plain), y)
        return with_symbols(slope, {OUT: _add(operands, Read(y, out))}) if OUT in symbols_of(slope) else slope
    slope = derivative(y.body, j, use_output=False)
    at = tuple(index(i + shift) for i in range(len(y.extents)))
    if y.reducer == "prod":
        return slope * sympy.Mul(*(_add(operands, Read(rest, at[: rest.rank])) for rest in _other_factors(y)))
    if y.reducer == "logsumexp":
        return slope * sympy.exp(y.body - _add(operands, Read(y, out)))
    return slope * _share_of_largest(y, operands, out, at) if slope != 0 else slope


def _share_of_largest(
    y: Equation, operands: list[Operand], out: tuple[Affine, ...], at: tuple[Affine, ...]
) -> sympy.Expr:
    """[f = max f]/ties; f is a stored value here and in the maximum, since a copy of it computed anew may differ in its
    last bit from the one that was the largest."""
    if placeholder_index(y.body) is not None:
        value = _add(operands, Read(y, out))
        return equal(y.body, value) / _add(operands, Read(_ties(y), out))
    stored = equation(y.extents, len(y.extents), "sum", y.body, y.operands, y.masks)
    read = Read(stored, identity(len(y.extents)))
    largest = equation(y.extents, y.n_free, y.reducer, placeholder(0), [read], y.masks)
    assert isinstance(largest, Equation)
    f, value = _add(operands, Read(stored, at)), _add(operands, Read(largest, out))
    return equal(f, value) / _add(operands, Read(_ties(largest), out))


def _ties(y: Equation) -> Node:
    """How many elements reach the maximum."""
    operands: list[Operand] = list(y.operands)
    value = _add(operands, Read(y, identity(y.n_free)))
    return equation(y.extents, y.n_free, "sum", equal(y.body, value), operands, y.masks)


def _other_factors(y: Equation) -> list[Node]:
    """prod_{k' != k} f(i, k'), exact with any number of zeros, as a product of nodes over first indices of (i, k)."""
    free = sum(isinstance(e, str) for e in y.bound)
    if len(y.bound) == 1 or free > 1:
        return [_others_along(y, t) for t in range(y.n_free, len(y.extents))]
    return [_others_flat(y)]


def _others_along(y: Equation, t: int) -> Node:
    """prod_{k'[t] != k[t], k'[t+1], ..} f(i, .., k'[t], k'[t+1], ..): the factors that differ at index t first."""
    prime = lambda x: substitute(x, lambda i: index(i + 1) if i >= t else index(i))
    extents = y.extents[: t + 1] + y.extents[t:]
    masks = [map_mask(mask, prime) for mask in y.masks] + [Mask("ne", index(t + 1) - index(t))]
    return equation(extents, t + 1, "prod", y.body, [map_operand(op, prime) for op in y.operands], masks)


def _others_flat(y: Equation) -> Node:
    """The same over several indices, which one number tells apart: all but one have an extent that is known."""
    m, n = len(y.extents), y.n_free
    prime = lambda x: substitute(x, lambda i: index(i + m - n) if i >= n else index(i))
    flat, stride = Affine(0), 1
    for t in sorted(range(n, m), key=lambda t: isinstance(y.extents[t], str)):  # no stride is a multiple of the last
        flat = flat + (index(t + m - n) - index(t)) * stride
        extent = y.extents[t]
        stride = stride * extent if isinstance(extent, int) else 0
    extents = y.extents + y.extents[n:]
    masks = [map_mask(mask, prime) for mask in y.masks] + [Mask("ne", flat)]
    return equation(extents, m, "prod", y.body, [map_operand(op, prime) for op in y.operands], masks)
