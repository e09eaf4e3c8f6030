"""Derivatives of the inverse, the Cholesky factor and the determinant of matrices, as equations of matrix products.

With Y = A⁻¹ and the cotangents Ȳ, L̄, d̄ (Giles 2008; Murray 2016 for A = L Lᵀ; Φ takes the lower triangle and halves its
diagonal, sym S = (S + Sᵀ)/2):

    inverse     Ā = -Yᵀ Ȳ Yᵀ                    Ẏ = -Y Ȧ Y
    det         Ā = d̄ det(A) Yᵀ                 ḋ = det(A) tr(Y Ȧ)
    log|det|    Ā = d̄ Yᵀ                        ḋ = tr(Y Ȧ)
    cholesky    Ā = sym(L⁻ᵀ Φ(Lᵀ L̄) L⁻¹)        L̇ = L Φ(L⁻¹ Ȧ L⁻ᵀ)

The sign of the determinant has the derivative 0.
"""

from __future__ import annotations

import sympy

from graphc.ir.affine import Extent, identity, index
from graphc.ir.build import constant_node, dense, equation
from graphc.ir.node import Equation, Mask, Node, Operand, Read
from graphc.ir.scalar import placeholder
from graphc.records import record


@record(frozen=True)
class _Stack:
    """Matrices X[b.., k, l], with ``lead`` before them where they belong to a stack of cotangents."""

    node: Node
    lead: tuple[Extent, ...] = ()
    transposed: bool = False

    @property
    def T(self) -> _Stack:  # noqa: N802  the field's name
        return _Stack(self.node, self.lead, not self.transposed)

    def read(self, lead: int, row: int, column: int) -> Read:
        """Element [row, column] of every matrix; the result has ``lead`` axes of a stack of cotangents."""
        places = (column, row) if self.transposed else (row, column)
        first = 0 if self.lead else lead
        batch = [index(first + i) for i in range(self.node.rank - 2)]
        return Read(self.node, (*batch, *(index(i) for i in places)))


def pullback_dense(y: Equation, ybar: Node, lead: tuple[Extent, ...] = ()) -> Node:
    """The cotangent of the matrices that y is a function of."""
    a, bar = y.reads[0].node, _Stack(ybar, lead)
    if y.reducer == "detsign":
        return constant_node(0, (*lead, *a.shape))
    if y.reducer == "cholesky":
        factor = _Stack(y)
        below = _Stack(dense("inverse", y))
        inner = _Stack(_product(factor.T, bar, lower=True), lead)
        return _symmetric(_Stack(_product(_Stack(_product(below.T, inner), lead), below), lead))
    inverse = _Stack(dense("inverse", a))
    if y.reducer == "inverse":
        inverse = _Stack(y)
        return _product(_Stack(_product(inverse.T, bar), lead), inverse.T, -1)
    n_lead, rank = len(lead), len(lead) + a.rank
    scalar = Read(ybar, identity(rank - 2))
    operands: list[Operand] = [scalar, inverse.T.read(n_lead, rank - 2, rank - 1)]
    if y.reducer == "det":
        operands.append(Read(y, tuple(index(i) for i in range(n_lead, rank - 2))))
    body = sympy.Mul(*(placeholder(j) for j in range(len(operands))))
    return equation((*lead, *a.shape), rank, "sum", body, operands)


def pushforward_dense(y: Equation, adot: Node) -> Node:
    """The tangent of y, given that of the matrices."""
    a, dot = y.reads[0].node, _Stack(adot)
    if y.reducer == "detsign":
        return constant_node(0, y.shape)
    if y.reducer == "cholesky":
        below = _Stack(dense("inverse", y))
        return _product(_Stack(y), _Stack(_product(_Stack(_product(below, dot)), below.T, lower=True)))
    if y.reducer == "inverse":
        return _product(_Stack(_product(_Stack(y), dot)), _Stack(y), -1)
    rank, inverse = a.rank, _Stack(dense("inverse", a))
    operands: list[Operand] = [inverse.T.read(0, rank - 2, rank - 1), dot.read(0, rank - 2, rank - 1)]
    if y.reducer == "det":
        operands.append(Read(y, identity(rank - 2)))
    body = sympy.Mul(*(placeholder(j) for j in range(len(operands))))
    return equation(a.shape, rank - 2, "sum", body, operands)


def _product(x: _Stack, y: _Stack, factor: int = 1, lower: bool = False) -> Node:
    """out[s.., b.., i, j] = factor * sum_k x[b.., i, k]*y[b.., k, j]; with ``lower`` Φ of it."""
    lead = x.lead or y.lead
    stacked = x if x.lead or not lead else y
    shape, n_lead = stacked.node.shape, len(lead)
    i, j, k = (len(shape) - 2 + t for t in range(3))
    operands: list[Operand] = [x.read(n_lead, i, k), y.read(n_lead, k, j)]
    body = factor * placeholder(0) * placeholder(1)
    made = equation((*shape, shape[-1]), len(shape), "sum", body, operands)
    return _phi(made) if lower else made


def _phi(x: Node) -> Node:
    """Φ: the lower triangle with half the diagonal."""
    i, j = index(x.rank - 2), index(x.rank - 1)
    own = [Read(x, identity(x.rank))]
    below = equation(x.shape, x.rank, "sum", placeholder(0), own, [Mask("ge", i - j - 1)])
    diagonal = equation(x.shape, x.rank, "sum", placeholder(0) / 2, own, [Mask("eq", i - j)])
    operands: list[Operand] = [Read(below, identity(x.rank)), Read(diagonal, identity(x.rank))]
    return equation(x.shape, x.rank, "sum", placeholder(0) + placeholder(1), operands)


def _symmetric(x: _Stack) -> Node:
    """(S + Sᵀ)/2"""
    rank = x.node.rank
    turned = (*identity(rank)[:-2], index(rank - 1), index(rank - 2))
    operands: list[Operand] = [Read(x.node, identity(rank)), Read(x.node, turned)]
    return equation(x.node.shape, rank, "sum", (placeholder(0) + placeholder(1)) / 2, operands)
