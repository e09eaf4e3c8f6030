"""Where the user stands: the file, line and text of the first frame outside graphc, and errors that show it."""

from __future__ import annotations

import linecache
import sys
from types import FrameType
from typing import NoReturn

from graphc.errors import GraphcError
from graphc.ir.node import Node, Origin

_PACKAGE = __name__.partition(".")[0]


def _user_frame() -> FrameType | None:
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and _is_ours(frame.f_globals.get("__name__", "")):
        frame = frame.f_back
    return frame


def _is_ours(module: str) -> bool:
    """True inside graphc, and inside NumPy, which calls graphc back for the user."""
    return module.partition(".")[0] in (_PACKAGE, "numpy")


def caller() -> Origin | None:
    """The user's file and line that called into graphc."""
    frame = _user_frame()
    return None if frame is None else Origin(frame.f_code.co_filename, frame.f_lineno)


def source_text(origin: Origin | None) -> str:
    """The text of the user's line, empty when it is unknown (an interactive line, for example)."""
    return "" if origin is None else linecache.getline(origin.file, origin.line).strip()


def stamp(node: Node) -> Node:
    """Remember the user's line on a node that has none yet."""
    if node.origin is None:
        node.origin = caller()
    return node


def fail(error: type[GraphcError], message: str, hint: str) -> NoReturn:
    """Raise ``error``: what was asked and found, then the user's line, then one suggestion."""
    origin = caller()
    lines = [message]
    if origin is not None:
        text = source_text(origin)
        lines.append(f"  at {origin}:  {text}" if text else f"  at {origin}")
    lines.append(f"  hint: {hint}")
    raise error("\n".join(lines))
