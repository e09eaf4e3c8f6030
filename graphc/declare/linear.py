"""The matrix product, for vectors, matrices and stacks of matrices, with NumPy's rules."""

from __future__ import annotations

from graphc.declare.broadcasting import broadcast_maps, broadcast_shape, extent_clash, free_hint
from graphc.declare.names import node_text
from graphc.declare.origin import fail, stamp
from graphc.errors import ShapeError
from graphc.ir.affine import Affine, index
from graphc.ir.build import constant_node, equation
from graphc.ir.node import Node, Read
from graphc.ir.scalar import placeholder


def matmul(a: Node, b: Node) -> Node:
    """out[.., i, j] = sum_k a[.., i, k]*b[.., k, j]; the axis i or j is absent when a or b is a vector.

    Raises
    ------
    ShapeError
        When an operand has no axes or the extents of k differ.
    """
    if a.rank == 0 or b.rank == 0:
        other = b if a.rank == 0 else a
        fail(ShapeError, f"@ of {node_text(other)} and a scalar, which has no axes", "multiply by a scalar with *.")
    what = f"{_short(a)} @ {_short(b)}"
    inner = max(b.rank - 2, 0)
    if a.shape[-1] != b.shape[inner]:
        fail(ShapeError, f"{what}: {extent_clash(a, a.rank - 1, b, inner)}", _hint(a, b))
    batch = _batch_shape(a, b, what)
    rows, columns = a.shape[-2:-1], b.shape[-1:] if b.rank > 1 else ()
    n = len(batch)
    k = n + len(rows) + len(columns)
    i, j = tuple(index(n) for _ in rows), tuple(index(k - 1) for _ in columns)
    reads = [Read(a, _batch_maps(a, n) + i + (index(k),)), Read(b, _batch_maps(b, n) + (index(k),) + j)]
    extents = (*batch, *rows, *columns, a.shape[-1])
    return stamp(equation(extents, k, "sum", placeholder(0) * placeholder(1), reads), [a, b])


def _batch_shape(a: Node, b: Node, what: str) -> tuple:
    stacks = [constant_node(0, x.shape[:-2]) for x in (a, b)]
    return broadcast_shape(stacks, lambda: f"{what}, the axes before the last two")


def _batch_maps(x: Node, rank: int) -> tuple[Affine, ...]:
    return broadcast_maps(x.shape[:-2], rank)


def _short(x: Node) -> str:
    return x.name or f"({', '.join(map(str, x.shape))})"


def _hint(a: Node, b: Node) -> str:
    left, right = _short(a), _short(b)
    if b.rank == 2 and a.shape[-1] == b.shape[1]:
        return f"did you mean {left} @ {right}.T?"
    if a.rank == 2 and a.shape[0] == b.shape[max(b.rank - 2, 0)]:
        return f"did you mean {left}.T @ {right}?"
    if b.shape[-1] == a.shape[0] and a.rank == b.rank == 2:
        return f"did you mean {right} @ {left}?"
    wanted = f"give axis {max(b.rank - 2, 0)} of {right} the extent {a.shape[-1]}."
    return free_hint(a.shape[-1], b.shape[max(b.rank - 2, 0)]) or wanted
