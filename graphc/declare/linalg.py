"""Linear algebra of small dense matrices, by the names of ``numpy.linalg``: stacks of matrices A[b.., k, l].

All of it is five functions of a matrix (inverse, Cholesky factor, determinant, its logarithm, its sign) and formulas of
them; their derivatives of any order are formulas of them too (:mod:`graphc.derive.dense`).
"""

from __future__ import annotations

from typing import Any, NamedTuple

from graphc.declare.diagonals import trace
from graphc.declare.names import node_text
from graphc.declare.norms import norm
from graphc.declare.origin import fail, stamp
from graphc.declare.shapes import swapaxes
from graphc.declare.tensor import Tensor, as_node
from graphc.errors import ShapeError
from graphc.ir.build import dense
from graphc.ir.node import Node, Reducer

__all__ = ["cholesky", "det", "inv", "norm", "slogdet", "solve", "trace"]


def __dir__() -> list[str]:
    return sorted(__all__)


class SlogdetResult(NamedTuple):
    """The sign of a determinant and the logarithm of its absolute value."""

    sign: Tensor
    logabsdet: Tensor


def inv(a: Any) -> Tensor:
    """The inverse A⁻¹ of every matrix, by elimination with partial pivoting.

    Parameters
    ----------
    a : Tensor or array
        Matrices [.., n, n].

    Raises
    ------
    ShapeError
        When the last two axes are not of one extent.
    DomainError
        When a compiled program meets a singular matrix: it names its place in the stack.

    Examples
    --------
    >>> import graphc as gc
    >>> gc.linalg.inv(gc.param("A", (3, 3))).shape
    (3, 3)
    """
    return _of(a, "inverse", "inv")


def det(a: Any) -> Tensor:
    """The determinant of every matrix; its derivative det(A) A⁻ᵀ needs an inverse.

    Parameters
    ----------
    a : Tensor or array
        Matrices [.., n, n].

    Raises
    ------
    ShapeError
        When the last two axes are not of one extent.

    Examples
    --------
    >>> import graphc as gc
    >>> gc.linalg.det(gc.input("A", ("n", 3, 3))).shape
    ('n',)
    """
    return _of(a, "det", "det")


def slogdet(a: Any) -> SlogdetResult:
    """The sign and the logarithm of the absolute value of the determinant; ∂ log|det A| = A⁻ᵀ.

    Of a singular matrix they are 0 and -inf, as in NumPy.

    Parameters
    ----------
    a : Tensor or array
        Matrices [.., n, n].

    Returns
    -------
    SlogdetResult
        ``sign`` and ``logabsdet``.

    Raises
    ------
    ShapeError
        When the last two axes are not of one extent.

    Examples
    --------
    >>> import graphc as gc
    >>> sign, logabsdet = gc.linalg.slogdet(gc.param("A", (3, 3)))
    """
    return SlogdetResult(_of(a, "detsign", "slogdet"), _of(a, "logabsdet", "slogdet"))


def cholesky(a: Any) -> Tensor:
    """The lower triangular L with L Lᵀ = A of every symmetric positive definite matrix.

    Of a matrix that is not symmetric (A + Aᵀ)/2 is taken, as JAX does: so derivatives are those of symmetric matrices.

    Parameters
    ----------
    a : Tensor or array
        Matrices [.., n, n].

    Raises
    ------
    ShapeError
        When the last two axes are not of one extent.
    DomainError
        When a compiled program meets a matrix that is not positive definite: it names its place in the stack.

    Examples
    --------
    >>> import graphc as gc
    >>> gc.linalg.cholesky(gc.input("A", ("n", 3, 3))).shape
    ('n', 3, 3)
    """
    x = Tensor(_square(as_node(a, "cholesky"), "cholesky"))
    return _of((x + swapaxes(x, -1, -2)) / 2, "cholesky", "cholesky")


def solve(a: Any, b: Any) -> Tensor:
    """The solution x of A x = b for every matrix: A⁻¹ b.

    With a residual of about cond(A) times that of a factorisation and an error that is as small
    (Druinsky and Toledo, How accurate is inv(A)*b?, 2012).

    Parameters
    ----------
    a : Tensor or array
        Matrices [.., n, n].
    b : Tensor or array
        One vector [n] for all matrices, or matrices [.., n, m], as ``numpy.linalg.solve``.

    Raises
    ------
    ShapeError
        When the last two axes of `a` are not of one extent, or `b` does not fit.
    DomainError
        When a compiled program meets a singular matrix: it names its place in the stack.

    Examples
    --------
    >>> import graphc as gc
    >>> gc.linalg.solve(gc.param("A", (3, 3)), gc.input("b", (3,))).shape
    (3,)
    """
    inverse, right = _of(a, "inverse", "solve"), as_node(b, "solve")
    if right.rank == 0 or right.shape[0 if right.rank == 1 else -2] != inverse.shape[-1]:
        message = f"solve: {node_text(right)} does not fit matrices of {inverse.shape[-1]} rows"
        fail(ShapeError, message, "give one vector [n], or matrices [.., n, m].")
    return inverse @ Tensor(right)


def _of(a: Any, kind: Reducer, what: str) -> Tensor:
    node = _square(as_node(a, what), what)
    return Tensor(stamp(dense(kind, node), [node]))


def _square(node: Node, what: str) -> Node:
    if node.rank < 2 or node.shape[-1] != node.shape[-2]:
        hint = "its last two axes must be of one extent: matrices [.., n, n]."
        fail(ShapeError, f"{what} of {node_text(node)}", hint)
    return node
