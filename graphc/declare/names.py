"""Names and shapes as the user declares them, and how they are written in messages."""

from __future__ import annotations

import keyword
from collections.abc import Iterable, Sequence
from numbers import Integral
from typing import Any

from graphc.declare.origin import fail
from graphc.errors import NameClashError, ShapeError, TypeMismatchError
from graphc.ir.affine import Extent
from graphc.ir.node import Leaf, Node
from graphc.ir.walk import topological

LONGEST_NAME = 64


def check_name(name: Any, what: str) -> str:
    """The name, when it is an identifier of at most 64 characters.

    Raises
    ------
    NameClashError
        When it is not.
    """
    if not isinstance(name, str):
        fail(TypeMismatchError, f"the name of {what} is {name!r}, not text", 'give the name first, such as "W0".')
    if len(name) > LONGEST_NAME:
        shown = f"{name[:16]}..."
        fail(NameClashError, f"the name {shown!r} of {what} has {len(name)} characters", f"{LONGEST_NAME} are allowed.")
    if name.startswith("__") and name.endswith("__"):
        message = f"the name {name!r} of {what} is of the kind that Python keeps for itself"
        fail(NameClashError, message, f"leave the underscores out: {name.strip('_') or 'x'!r}.")
    if not name.isidentifier() or keyword.iskeyword(name):
        why = "a Python keyword" if keyword.iskeyword(name) else "no identifier"
        hint = "use letters, digits and _, not beginning with a digit, and no keyword."
        fail(NameClashError, f"the name {name!r} of {what} is {why}", hint)
    return name


def check_unused(name: str, node: Node) -> None:
    """Raise NameClashError when another node that ``node`` is made of carries the name."""
    for other in topological([node]):
        internal = isinstance(other, Leaf) and other.kind == "constant"
        if other is not node and other.name == name and not internal:
            message = f"{name} is defined twice: {node_text(other)} has that name and is part of the new definition"
            fail(NameClashError, message, "choose another name.")


def check_shape(shape: Any, name: str, free: bool = True) -> tuple[Extent, ...]:
    """The shape as a tuple of whole numbers of at least 1 and, where ``free``, names of free extents.

    Raises
    ------
    ShapeError
        When an extent is none of these.
    """
    entries = (shape,) if isinstance(shape, Integral | str) else shape
    if not isinstance(entries, Iterable):
        fail(TypeMismatchError, f"the shape of {name} is {shape!r}", 'give a tuple of extents, such as ("n", 2).')
    return tuple(_check_extent(extent, name, free) for extent in entries)


def _check_extent(extent: Any, name: str, free: bool) -> Extent:
    if isinstance(extent, str):
        if not free:
            hint = "parameters have a fixed shape; only the extents of an input may be free."
            fail(ShapeError, f"the shape of the parameter {name} has the free extent {extent!r}", hint)
        return check_name(extent, f"a free extent of {name}")
    if not isinstance(extent, Integral) or isinstance(extent, bool):
        hint = 'an extent is a whole number or the name of a free extent, such as "n".'
        fail(ShapeError, f"the shape of {name} has the extent {extent!r}", hint)
    if extent < 1:
        fail(ShapeError, f"the shape of {name} has the extent {extent}", "extents are at least 1.")
    return int(extent)


def shape_text(shape: Sequence[Extent]) -> str:
    """``(n, 2)``."""
    return f"({', '.join(map(str, shape))}{',' if len(shape) == 1 else ''})"


def node_text(node: Node, name: str | None = None) -> str:
    """``X[n, 2]``, or where an unnamed tensor comes from."""
    known = name or node.name
    if known:
        return f"{known}[{', '.join(map(str, node.shape))}]" if node.shape else known
    where = f" of {node.origin}" if node.origin else ""
    return f"the {shape_text(node.shape)} tensor{where}" if node.shape else f"the scalar{where}"
