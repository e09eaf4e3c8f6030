"""Matrices that have no inverse or no Cholesky factor: programs give NaN, which is told by the place of the matrix."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from numpy.typing import DTypeLike, NDArray

from graphc.emit.reference import evaluate_all
from graphc.errors import DomainError
from graphc.ir.node import Equation, Leaf, Node
from graphc.ir.walk import equations
from graphc.show.styles import Unicode

_HINT = "add a little to its diagonal, A + 1e-6*np.eye(n), or look at what it is made of."


def check_matrices(
    results: Sequence[NDArray],
    roots: Sequence[Node],
    feed: Mapping[Leaf, NDArray],
    sizes: Mapping[str, int],
    dtype: DTypeLike,
) -> None:
    """Look for the matrix that made a result NaN.

    Raises
    ------
    DomainError
        When a function of matrices has no value, though its matrix is finite: with its place in the stack.
    """
    if any(np.isnan(r).any() for r in results):
        told = singular_matrix(roots, evaluate_all(roots, feed, sizes, np.dtype(dtype)))
        if told:
            raise DomainError(told)


def singular_matrix(
    roots: Iterable[Node], values: Mapping[Node, NDArray], rows: Mapping[str, NDArray] | None = None
) -> str | None:
    """What to say of the first matrix that is finite while its inverse, factor or logarithm is not.

    ``rows`` are the rows of the data that a batch is made of, by extent.
    """
    for node in equations(roots):
        if not node.dense:
            continue
        matrix = node.reads[0].node
        stack = values[matrix].reshape(-1, *values[matrix].shape[-2:])
        found = values[node].reshape(len(stack), -1)
        bad = np.isfinite(stack).all((1, 2)) & ~np.isfinite(found).all(1)
        if bad.any():
            place = [int(i) for i in np.unravel_index(int(bad.argmax()), values[matrix].shape[:-2])]
            if rows is not None and isinstance(matrix.shape[0], str):
                place[0] = int(rows[matrix.shape[0]][place[0]])
            return _text(node, matrix, place)
    return None


def _text(node: Equation, matrix: Node, place: Sequence[int]) -> str:
    at = f"[{', '.join(map(str, place))}]" if place else ""
    name = matrix.name or "·"
    which = f"{name}{at}" if matrix.name or not at else f"at {at}"
    quality = "not positive definite" if node.reducer == "cholesky" else "singular"
    where = f"\n  at {node.origin}" if node.origin else ""
    return f"{Unicode().of_matrix(node.reducer, name)}: the matrix {which} is {quality}{where}\n  hint: {_HINT}"
