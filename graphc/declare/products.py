"""Products of tensors: NumPy's names, each a sum of products."""

from __future__ import annotations

import string
from collections.abc import Sequence
from typing import Any

from graphc.declare import linear
from graphc.declare.broadcasting import broadcast_shape, extent_clash, free_hint
from graphc.declare.einsum import letter_extents, product_sum
from graphc.declare.names import node_text
from graphc.declare.origin import fail, stamp
from graphc.declare.reducing import normal_axes, one_axis
from graphc.declare.shapes import moveaxis, ravel
from graphc.declare.tensor import Tensor, as_node
from graphc.declare.views import subscript
from graphc.errors import ShapeError
from graphc.ir.affine import Affine, Extent, constant, floor_div, index, modulo
from graphc.ir.build import constant_node, equation
from graphc.ir.node import Node, Read
from graphc.ir.scalar import placeholder


def outer(a: Any, b: Any) -> Tensor:
    """out[i, j] = a[i]*b[j], of flattened tensors.

    Parameters
    ----------
    a, b : Tensor or array
        Vectors, also of free extents; other shapes are flattened.

    Raises
    ------
    ShapeError
        When a tensor of free extent is no vector.

    Examples
    --------
    >>> import graphc as gc
    >>> gc.outer(gc.input("U", ("n",)), gc.param("v", (3,))).shape
    ('n', 3)
    """
    return _summed("outer", [_vector(a, "outer"), _vector(b, "outer")], ["i", "j"], "ij")


def inner(a: Any, b: Any) -> Tensor:
    """The sum of products over the last axes of a and b.

    Parameters
    ----------
    a, b : Tensor, number or array
        A scalar multiplies.

    Raises
    ------
    ShapeError
        When the last extents differ.

    Examples
    --------
    >>> import graphc as gc
    >>> gc.inner(gc.input("X", ("n", 3)), gc.param("W", (4, 3))).shape
    ('n', 4)
    """
    x, y = as_node(a, "inner"), as_node(b, "inner")
    if not x.rank or not y.rank:
        return Tensor(x) * Tensor(y)
    return Tensor(_contract("inner", x, y, [x.rank - 1], [y.rank - 1]))


def dot(a: Any, b: Any) -> Tensor:
    """The product of vectors or matrices; the sum over the last axis of a and the last but one of b.

    Parameters
    ----------
    a, b : Tensor, number or array
        A scalar multiplies. Unlike ``a @ b``, stacks of matrices are multiplied each with each.

    Raises
    ------
    ShapeError
        When the extents that are summed differ.

    Examples
    --------
    >>> import graphc as gc
    >>> gc.dot(gc.input("X", ("n", 3)), gc.param("W", (3, 2))).shape
    ('n', 2)
    """
    x, y = as_node(a, "dot"), as_node(b, "dot")
    if not x.rank or not y.rank:
        return Tensor(x) * Tensor(y)
    if x.rank <= 2 and y.rank <= 2:
        return Tensor(linear.matmul(x, y))
    return Tensor(_contract("dot", x, y, [x.rank - 1], [max(y.rank - 2, 0)]))


def vdot(a: Any, b: Any) -> Tensor:
    """The sum of the products of all elements of two tensors of equally many.

    Parameters
    ----------
    a, b : Tensor or array
        They are flattened, unless both have one shape.

    Raises
    ------
    ShapeError
        When the numbers of elements differ.

    Examples
    --------
    >>> import graphc as gc
    >>> gc.vdot(gc.input("X", ("n", 3)), gc.input("Y", ("n", 3))).shape
    ()
    """
    x, y = as_node(a, "vdot"), as_node(b, "vdot")
    if x.shape != y.shape:
        x, y = _vector(x, "vdot"), _vector(y, "vdot")
    axes = list(range(x.rank))
    return Tensor(_contract("vdot", x, y, axes, axes))


def tensordot(a: Any, b: Any, axes: Any = 2) -> Tensor:
    """The sum of products over pairs of axes.

    Parameters
    ----------
    a, b : Tensor or array
    axes : int, or two sequences of int
        How many of the last axes of `a` and of the first ones of `b`; or which axes of each.

    Raises
    ------
    ShapeError
        When an axis does not exist, or the extents of a pair differ.

    Examples
    --------
    >>> import graphc as gc
    >>> gc.tensordot(gc.input("X", ("n", 3, 4)), gc.param("W", (5, 4)), axes=(2, 1)).shape
    ('n', 3, 5)
    """
    x, y = as_node(a, "tensordot"), as_node(b, "tensordot")
    if isinstance(axes, int):
        pairs = [range(x.rank - axes, x.rank), range(axes)] if 0 <= axes <= min(x.rank, y.rank) else [[], [0]]
    else:
        pairs = [list(s) if isinstance(s, Sequence) else [s] for s in axes]
    if len(pairs) != 2 or len(pairs[0]) != len(pairs[1]):
        message = f"tensordot: the axes {axes} of {node_text(x)} and {node_text(y)} do not pair up"
        fail(ShapeError, message, "give how many axes, or as many of the first as of the second.")
    left, right = ([one_axis(n, s, "gc.tensordot") for s in some] for n, some in zip((x, y), pairs))
    for node, some in ((x, left), (y, right)):
        normal_axes(node, tuple(some), "gc.tensordot")
    return Tensor(_contract("tensordot", x, y, left, right))


def _contract(what: str, a: Node, b: Node, left: Sequence[int], right: Sequence[int]) -> Node:
    """The sum of a*b over pairs of axes: first the other axes of a, then those of b."""
    for s, t in zip(left, right):
        if a.shape[s] != b.shape[t]:
            hint = free_hint(a.shape[s], b.shape[t]) or "the extents that are summed must be equal."
            fail(ShapeError, f"{what}: {extent_clash(a, s, b, t)}", hint)
    of_a = string.ascii_lowercase[: a.rank]
    of_b = list(string.ascii_uppercase[: b.rank])
    for s, t in zip(left, right):
        of_b[t] = of_a[s]
    out = "".join(c for s, c in enumerate(of_a) if s not in left) + "".join(c for c in of_b if c.isupper())
    terms = [of_a, "".join(of_b)]
    return product_sum([a, b], terms, out, letter_extents(what, [a, b], terms))


def _summed(what: str, nodes: Sequence[Node], terms: Sequence[str], out: str) -> Tensor:
    return Tensor(product_sum(nodes, terms, out, letter_extents(what, nodes, terms)))


def _vector(x: Any, what: str) -> Node:
    node = x if isinstance(x, Node) else as_node(x, what)
    return node if node.rank == 1 else ravel(Tensor(node)).node


def kron(a: Any, b: Any) -> Tensor:
    """The Kronecker product: b in the place of every element of a, multiplied by it.

    Parameters
    ----------
    a, b : Tensor, number or array
        The one with fewer axes gets axes of extent 1 in front. A free extent stays where the other extent is 1.

    Raises
    ------
    ShapeError
        When a free extent would be multiplied.

    Examples
    --------
    >>> import graphc as gc
    >>> gc.kron(gc.param("A", (2, 3)), gc.param("B", (4, 5))).shape
    (8, 15)
    """
    x, y = as_node(a, "kron"), as_node(b, "kron")
    rank = max(x.rank, y.rank)
    x, y = (subscript(n, (None,) * (rank - n.rank)) for n in (x, y))
    shape = [_times(x, y, t) for t in range(rank)]
    at: tuple[list[Affine], list[Affine]] = ([], [])
    for t, e in enumerate(y.shape):
        whole = e if isinstance(e, int) else None  # a free extent of b meets an extent of 1 of a
        at[0].append(floor_div(index(t), whole, shape) if whole else constant(0))
        at[1].append(modulo(index(t), whole, shape) if whole else index(t))
    reads = [Read(n, tuple(maps)) for n, maps in zip((x, y), at)]
    return Tensor(stamp(equation(shape, rank, "sum", placeholder(0) * placeholder(1), reads), [x, y]))


def _times(a: Node, b: Node, t: int) -> Extent:
    """The product of the extents of axis t."""
    e, f = a.shape[t], b.shape[t]
    if isinstance(e, int) and isinstance(f, int):
        return e * f
    if 1 not in (e, f):
        free = e if isinstance(e, str) else f
        message = f"kron: axis {t} of {node_text(a)} and {node_text(b)} would have {e} times {f} places"
        fail(ShapeError, message, f"the free extent {free} stays where the other extent is 1.")
    return f if e == 1 else e


def cross(a: Any, b: Any, axis: int = -1) -> Tensor:
    """The vector product in three dimensions: out[i] = a[i + 1]*b[i + 2] - a[i + 2]*b[i + 1], counted modulo 3.

    Parameters
    ----------
    a, b : Tensor or array
        Of shapes that broadcast, with an extent of 3 along `axis`.
    axis : int
        Along which the vectors stand, in `a`, `b` and the result.

    Raises
    ------
    ShapeError
        When an extent along `axis` is not 3, or the shapes do not broadcast.

    Examples
    --------
    >>> import graphc as gc
    >>> gc.cross(gc.input("U", ("n", 3)), gc.param("v", (3,))).shape
    ('n', 3)
    """
    nodes = []
    for x in (a, b):
        node = as_node(x, "cross")
        t = one_axis(node, axis, "gc.cross")
        if node.shape[t] != 3:
            message = f"cross: axis {axis} of {node_text(node)} has extent {node.shape[t]}"
            fail(ShapeError, message, "the vector product is one of three dimensions; a plane has u*y - v*x.")
        nodes.append(moveaxis(Tensor(node), t, -1).node)
    shape = broadcast_shape(nodes, lambda: "cross")
    i = index(len(shape) - 1)
    reads = [_turned(n, shape, modulo(i + s, 3)) for n, s in zip((*nodes, *nodes), (1, 2, 2, 1))]
    u, v, w, z = (placeholder(j) for j in range(4))
    found = stamp(equation(shape, len(shape), "sum", u * v - w * z, reads), nodes)
    return moveaxis(Tensor(found), -1, axis if axis < 0 else one_axis(constant_node(0, shape), axis, "gc.cross"))


def _turned(node: Node, shape: Sequence[Extent], last: Affine) -> Read:
    """node for every element of a shape that it broadcasts to, its last axis read at another place."""
    offset = len(shape) - node.rank
    at = [constant(0) if e == 1 else index(t + offset) for t, e in enumerate(node.shape[:-1])]
    return Read(node, (*at, last))
