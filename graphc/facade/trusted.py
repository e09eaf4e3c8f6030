"""What the file of a model may say. The checksum in it notices damage, but whoever writes a file can write that, too.

Names become names of a program's text, and the lines of a user's file are shown: so both are held to what a declaration
would have taken.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path, PurePath
from typing import Any, get_args

from graphc.errors import CheckpointError, GraphcError
from graphc.ir.affine import Extent
from graphc.ir.node import Equation, Leaf, Node, Origin
from graphc.ir.reach import Limits, is_inside, places, point_outside
from graphc.ir.scan import Unrolled
from graphc.ir.text import equation_text
from graphc.ir.walk import topological
from graphc.run.index_limits import label_limits, rows_needed

LONGEST_NAME, LONGEST_PATH = 256, 4096
WIDEST = 2**48  # elements along one axis, beyond any memory
REFUSED = (
    GraphcError, KeyError, IndexError, TypeError, ValueError, AttributeError, AssertionError, OverflowError,
    RecursionError, ZeroDivisionError,
)  # fmt: skip


@contextlib.contextmanager
def reading(path: Path) -> Iterator[None]:
    """Whatever goes wrong while the content of a file is made a model is a fault of the file.

    Raises
    ------
    CheckpointError
        With the reason.
    """
    try:
        yield
    except CheckpointError:
        raise
    except REFUSED as error:
        reason = str(error).partition("\n")[0][:200] or type(error).__name__
        message = f"{path}: the declaration in the file is damaged ({reason})\n  hint: save it again"
        raise CheckpointError(message) from None


def as_json(text: str) -> dict[str, Any]:
    """A JSON object without the numbers that JSON does not have."""
    found = json.loads(text)
    if not isinstance(found, dict):
        raise ValueError(f"a {type(found).__name__} instead of a description")
    return found


def name_of(data: Any) -> str | None:
    """The name of a node, which is an identifier, but that of an infinite constant."""
    if data is None or data in ("∞", "−∞"):
        return data
    if isinstance(data, str) and data.isidentifier() and len(data) <= LONGEST_NAME:
        return data
    raise ValueError(f"{data!r:.60} is no name")


def extents_of(data: Sequence[Any]) -> tuple[Extent, ...]:
    """Whole numbers and names of free extents."""
    return tuple(_extent(e) for e in data)


def _extent(data: Any) -> Extent:
    if isinstance(data, str) and data.isidentifier() and len(data) <= LONGEST_NAME:
        return data
    return whole(data, WIDEST)


def whole(data: Any, most: int = 2**63 - 1, least: int = 0) -> int:
    """A whole number within bounds."""
    if isinstance(data, bool) or not isinstance(data, int) or not least <= data <= most:
        raise ValueError(f"{data!r:.60} is no whole number from {least} to {most}")
    return data


def check_reads(roots: Iterable[Node]) -> None:
    """Refuse what is read at places that are not proven to be there, for rows and labels that data are held to.

    Raises
    ------
    ValueError
        Naming the equation.
    """
    roots = list(roots)
    roots += [n.update for n in topological(roots) if isinstance(n, Leaf) and n.update is not None]
    limits, sizes = label_limits(roots), rows_needed(roots)
    for node in topological(roots):
        if isinstance(node, Unrolled) and not _fits(node):
            raise ValueError("a scan goes through arrays of other lengths than its own")
        if isinstance(node, Equation):
            _check_places(node, sizes, limits)


def _check_places(y: Equation, sizes: Mapping[str, int], limits: Limits) -> None:
    for place in dict.fromkeys(places(y)):
        if not is_inside(y, place, sizes, limits):
            at = point_outside(y, place, sizes, limits)
            what = "may leave the axis of" if at is None else f"gives {at} on an axis of"
            raise ValueError(f"an index map {what} {place.extent} in {equation_text(y)}")


def _fits(node: Unrolled) -> bool:
    """Whether what a scan goes through has the shapes of its steps."""
    scan = node.scan
    slices = all(s.given.shape == (scan.length, *s.leaf.shape) for s in scan.slices)
    return slices and all(c.start.shape == c.leaf.shape == c.next.shape for c in scan.carries)


def node_at(number: Any, nodes: Sequence[Node]) -> Node:
    """The node of that number; numbers do not count from the end."""
    return nodes[whole(number)]


def one_of(data: Any, kind: Any) -> Any:
    """One of the words of a literal type."""
    if data not in get_args(kind):
        raise ValueError(f"{data!r:.60} is none of {', '.join(get_args(kind))}")
    return data


def origin_of(data: Any) -> Origin | None:
    """The line that declared a node, where it may be shown: in Python's own files and in the cells of a notebook."""
    if not data:
        return None
    file, line = data
    if not isinstance(file, str) or not file.isprintable() or len(file) > LONGEST_PATH:
        raise ValueError(f"{file!r:.60} is no file")
    shown = PurePath(file).suffix == ".py" or "/" not in file
    return Origin(file, whole(line, 2**31)) if shown else None
