"""Derivatives along a direction: of an output by an input, row by row; Jacobian and Gauss-Newton times a vector."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from graphc.declare.names import node_text, shape_text
from graphc.declare.origin import fail, located
from graphc.declare.tensor import Tensor
from graphc.derive.by_row import RowsMeetError, check_rows_apart
from graphc.derive.gradient import gradient, tangent
from graphc.errors import DomainError, ShapeError, TypeMismatchError
from graphc.facade.calculus import note, prepared, scalar_tensor, tensor_of, tidied
from graphc.ir.build import constant_node
from graphc.ir.node import Leaf, Node
from graphc.ir.walk import topological

MOST = 6  # order: beyond it formulas become too long to be worth compiling


@located
def derivative(u: Tensor, *wrt: Tensor | int) -> Tensor:
    """The derivative of every row by an input of that row: u_x for ``u.d(x)``, u_xx for ``u.d(x, 2)``, u_xt for
    ``u.d(x, t)``.

    Parameters
    ----------
    *wrt : Tensor or int
        Tensors with one number a row, of shape (n,) or (n, 1), or single numbers; each may be followed by how often.

    Returns
    -------
    Tensor
        Of the shape of u; forward accumulation, one after the other.

    Raises
    ------
    ShapeError
        When x has more than one number a row, or a row of u depends on other rows of x.
    """
    sequence = _sequence(u, wrt)
    unique = list(dict.fromkeys(x.node for x in sequence))
    node, moved = prepared(tensor_of(u, "d"), [Tensor(n) for n in unique])
    place = [unique.index(x.node) for x in sequence]
    reached = set(topological([node]))
    for x, w in zip(unique, moved, strict=True):
        _check(u, x, w, node, reached)
    found = node
    for t in place:
        found = tidied([_along(found, moved[t])])[0]

    def again(y: Node, ws: Sequence[Node]) -> list[Node]:
        for t in place:
            y = _along(y, ws[t])
        return [y]

    note([found], u, [Tensor(n) for n in unique], again)
    return Tensor(found)


def _along(y: Node, w: Node) -> Node:
    return tangent(y, {w: constant_node(1, w.shape)})


def _sequence(u: Tensor, wrt: Sequence[Any]) -> list[Tensor]:
    found: list[Tensor] = []
    before: Tensor | None = None
    for x in wrt:
        if isinstance(x, Tensor):
            found.append(x)
            before = x
        elif before is None or isinstance(x, bool) or not isinstance(x, int):
            fail(TypeMismatchError, f"d: {x!r:.60} is no Tensor", "write u.d(x), u.d(x, 2) or u.d(x, t).")
        elif x < 1:
            fail(DomainError, f"d: the order {x} is below 1", "u.d(x, 2) is the second derivative.")
        else:
            found += [before] * (x - 1)
            before = None
    if not found:
        fail(TypeMismatchError, "d: nothing is given to derive by", "write u.d(x), u.d(x, 2) or u.d(x, t).")
    if len(found) > MOST:
        fail(DomainError, f"d: the order {len(found)} is above {MOST}", "derive what d gives once more.")
    return found


def _check(u: Tensor, x: Node, w: Node, node: Node, reached: set[Node]) -> None:
    rows = x.shape[0] if x.shape and isinstance(x.shape[0], str) else None
    if any(e != 1 for e in x.shape[rows is not None :]):
        fail(ShapeError, f"d: {node_text(x)} has shape {shape_text(x.shape)}, more than one number a row",
             "make each coordinate an input of its own, and join them by gc.concatenate.")  # fmt: skip
    if w not in reached and not isinstance(w, Leaf):
        fail(ShapeError, f"d: {node_text(u.node, u.name)} is not made of {node_text(x)}",
             "derive by the very tensor that it was made of; coordinates are inputs, no slices.")  # fmt: skip
    if rows is None:
        return
    try:
        check_rows_apart(node, w, rows)
    except RowsMeetError:
        fail(ShapeError, f"d: a row of {node_text(u.node, u.name)} depends on other rows of {node_text(x)}",
             "gc.grad and gc.jacobian derive by all rows.")  # fmt: skip


@located
def jvp(y: Tensor, wrt: Tensor | Sequence[Tensor], vector: Tensor | Sequence[Tensor]) -> Tensor:
    """Jacobian-vector product J v without the Jacobian, by forward accumulation.

    Parameters
    ----------
    y : Tensor
        Of any shape.
    wrt : Tensor or sequence of Tensors
        What it is derived by.
    vector : Tensor or sequence of Tensors
        The v, of the shape (or the shapes) of `wrt`.

    Returns
    -------
    Tensor
        Of the shape of y.

    Raises
    ------
    ShapeError
        When the shapes of `wrt` and `vector` differ.
    """
    targets, vectors = _paired("jvp", wrt, vector)
    node, moved = prepared(tensor_of(y, "jvp"), targets)
    product = lambda y, w: [tangent(y, dict(zip(w, [v.node for v in vectors], strict=True)))]
    found = tidied(product(node, moved))
    note(found, y, targets, product)
    return Tensor(found[0])


@located
def gauss_newton(
    loss: Tensor, output: Tensor, wrt: Tensor | Sequence[Tensor], vector: Tensor | Sequence[Tensor]
) -> Any:
    """Gauss-Newton product Jᵀ H J v: J the Jacobian of the output, H the Hessian of the loss by the output (Schraudolph
    2002). It is the Hessian-vector product without the second derivatives of the output.

    Parameters
    ----------
    loss : Tensor
        A scalar made of the output.
    output : Tensor
        What the loss is made of, such as the prediction.
    wrt : Tensor or sequence of Tensors
        What the output is derived by.
    vector : Tensor or sequence of Tensors
        The v, of the shape (or the shapes) of `wrt`.

    Returns
    -------
    Tensor, or list of Tensors when ``wrt`` is a sequence

    Raises
    ------
    ShapeError
        When the loss is not a scalar, or is not made of the output, or shapes differ.
    """
    several = isinstance(wrt, list | tuple)
    targets, vectors = _paired("gauss_newton", wrt, vector)
    y = tensor_of(output, "gauss_newton")
    node, [inner, *moved] = prepared(scalar_tensor(loss, "gauss_newton"), [y, *targets])
    if inner not in topological([node]):
        fail(ShapeError, f"gauss_newton: the loss is not made of {node_text(y.node, y.name)}",
             "pass the very tensor that the loss was made of.")  # fmt: skip

    def product(loss: Node, of: Sequence[Node]) -> list[Node]:
        inner, *w = of
        push = tangent(inner, dict(zip(w, [v.node for v in vectors], strict=True)))
        curved = tangent(gradient(loss, [inner])[0], {inner: push})
        return gradient(inner, w, curved)

    found = tidied(product(node, [inner, *moved]))
    note(found, loss, [y, *targets], product)
    return [Tensor(n) for n in found] if several else Tensor(found[0])


def _paired(what: str, wrt: Any, vector: Any) -> tuple[list[Tensor], list[Tensor]]:
    targets = [tensor_of(w, what) for w in (wrt if isinstance(wrt, list | tuple) else [wrt])]
    vectors = [tensor_of(v, what) for v in (vector if isinstance(vector, list | tuple) else [vector])]
    if [t.shape for t in targets] != [v.shape for v in vectors]:
        shapes = ", ".join(shape_text(t.shape) for t in targets)
        given = ", ".join(shape_text(v.shape) for v in vectors)
        fail(ShapeError, f"{what}: the vector has shape {given}, the tensor {shapes}", "they must be equal.")
    return targets, vectors
