"""NumPy's broadcasting for extents that may be free: equal extents, or an extent of 1, or no axis at all."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NoReturn

from graphc.declare.names import node_text, shape_text
from graphc.declare.origin import fail
from graphc.errors import ShapeError
from graphc.ir.affine import Affine, Extent, constant, index
from graphc.ir.letters import index_letters
from graphc.ir.node import Node, Read


def broadcast_shape(nodes: Sequence[Node], what: Callable[[], str]) -> tuple[Extent, ...]:
    """The common shape of nodes that are combined element by element.

    Raises
    ------
    ShapeError
        When two extents are neither equal nor 1 (a free extent equals only itself), or when a free extent would meet
        itself on another axis because an operand with fewer axes got new ones in front: (n, 1) against (n,).
    """
    shape: tuple[Extent, ...] = ()
    owners: list[Node] = []
    for node in nodes:
        rank = max(len(shape), node.rank)
        old = (1,) * (rank - len(shape)) + shape
        own = (1,) * (rank - node.rank) + node.shape
        owners = [node] * (rank - len(owners)) + owners
        for t, (a, b) in enumerate(zip(old, own)):
            if a != b and 1 not in (a, b):
                _mismatch(owners[t], node, t - rank, what())
            if a == 1 and b != 1:
                owners[t] = node
        shape = tuple(b if a == 1 else a for a, b in zip(old, own))
    for few in nodes:
        for many in nodes:
            _check_rows(few, many, shape, what)
    return shape


def _check_rows(few: Node, many: Node, shape: Sequence[Extent], what: Callable[[], str]) -> None:
    """Refuse few (n,) against many (n, 1): a free extent on an axis that few was given, and on one of its own."""
    rank = len(shape)
    for s in range(rank - many.rank, rank - few.rank):
        for t in range(rank - few.rank, rank):
            e = few.shape[t - rank]
            if isinstance(e, str) and many.shape[s - rank] == e and many.shape[t - rank] == 1:
                _each_with_each(few, many, t - s, t - rank, shape, what())


def _each_with_each(few: Node, many: Node, new: int, t: int, shape: Sequence[Extent], what: str) -> NoReturn:
    e = few.shape[t]
    few_name, many_name = few.name or "b", many.name or "a"
    found = f"{many_name} has shape {shape_text(many.shape)} and {few_name} {shape_text(few.shape)}"
    message = f"{what}: {found}: together {shape_text(shape)}, each {e} with each {e}"
    lined = ", ".join([*([":"] * (few.rank + t + 1) if t != -1 else ["..."]), *["None"] * new])
    letters = index_letters(shape)
    explicit = ", ".join(["None"] * (len(shape) - few.rank))
    every = f"{few_name}[{explicit}], or index letters: {_element(many, many_name, letters)} and "
    every += _element(few, few_name, letters)
    hint = f"write {few_name}[{lined}] to pair them one by one; each with each is written out, {every}."
    fail(ShapeError, message, hint)


def _element(x: Node, name: str, letters: Sequence[str]) -> str:
    """``Y[i, 0]``"""
    own = letters[len(letters) - x.rank :]
    return f"{name}[{', '.join('0' if e == 1 else letter for letter, e in zip(own, x.shape))}]"


def broadcast_read(node: Node, shape: Sequence[Extent]) -> Read:
    """node, read for every element of the common shape."""
    return Read(node, broadcast_maps(node.shape, len(shape)))


def broadcast_maps(own: Sequence[Extent], rank: int) -> tuple[Affine, ...]:
    """Index maps that read a tensor of shape ``own`` from the last axes of a shape with ``rank`` axes."""
    offset = rank - len(own)
    return tuple(constant(0) if e == 1 else index(t + offset) for t, e in enumerate(own))


def _mismatch(a: Node, b: Node, axis: int, what: str) -> None:
    message = f"{what}: {extent_clash(a, axis, b, axis)}"
    fail(ShapeError, message, free_hint(a.shape[axis], b.shape[axis]) or _line_up(a, b) or _line_up(b, a) or _GENERAL)


_GENERAL = "extents must be equal, or one of them 1; gc.reshape, .T and x[:, None] rearrange axes."


def extent_clash(a: Node, axis_a: int, b: Node, axis_b: int) -> str:
    """``axis 1 of X[n, 3] has extent 3 but axis 0 of W[4, 5] has extent 4``."""
    first = f"axis {axis_a % a.rank} of {node_text(a)} has extent {a.shape[axis_a]}"
    return f"{first} but axis {axis_b % b.rank} of {node_text(b)} has extent {b.shape[axis_b]}"


def free_hint(a: Extent, b: Extent) -> str:
    """Why a free extent does not fit; empty when both are numbers."""
    if isinstance(a, str) and isinstance(b, str):
        return f"if {a} and {b} always have the same size, declare both with one name."
    if isinstance(a, str) or isinstance(b, str):
        free = a if isinstance(a, str) else b
        return f"{free} is a free extent: it fits only {free} or 1, never another number."
    return ""


def _line_up(a: Node, b: Node) -> str:
    """The hint for a vector b that belongs to the first axis of a."""
    if b.rank == 1 and a.rank == 2 and a.shape[0] == b.shape[0]:
        return f"write {b.name or 'b'}[:, None] to line it up with axis 0."
    return ""
