"""What a notebook shows of results: their text and their picture, in HTML that asks for nothing outside."""

from __future__ import annotations

import base64
import html
import struct
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from graphc.errors import MissingExtraError

SCALE = 0.6  # pixels on the page for a pixel of a picture, which is made for print


def text_and_picture(text: str, plot: Callable[[Path], Any] | None) -> str:
    """The text in its own columns, and below it what ``plot`` writes; the text alone where matplotlib is missing."""
    return preformatted(text) + (_image(plot, text) if plot else "")


def preformatted(text: str) -> str:
    """Text in columns: pages that notebooks are exported to give ``pre`` the letters of their own text."""
    return f'<pre style="font-family:monospace">{html.escape(text)}</pre>'


def _image(plot: Callable[[Path], Any], text: str) -> str:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "picture.png"
        try:
            plot(path)
        except MissingExtraError:
            return ""
        data = path.read_bytes()
    [width] = struct.unpack(">I", data[16:20])  # of the header of every PNG
    said = html.escape(text.splitlines()[0], quote=True)
    look = f'style="width:{round(SCALE * width)}px;max-width:100%" alt="{said}"'
    return f'<img {look} src="data:image/png;base64,{base64.b64encode(data).decode()}">'
