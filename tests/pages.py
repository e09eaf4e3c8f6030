"""The pages whose code is run, and how: the README and what users read in ``docs/``.

The Python blocks of a page run in order in one namespace, named after the page. A ``text`` block shows what the Python
block before it printed, with ``...`` as in doctest for what differs from run to run. A block under a line ``*Not run:
why.*`` is only shown; a comment ``<!-- python`` holds what a page leaves out, such as imports.
"""

from __future__ import annotations

import contextlib
import doctest
import io
import linecache
import re
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
BLOCK = re.compile(
    r"^(?P<mark>\*Not run: [^\n]+\*\n\n)?(?:```(?P<language>\w+)\n(?P<text>.*?)^```|<!-- python\n(?P<hidden>.*?)^-->)",
    re.DOTALL | re.MULTILINE,
)
DOTS = re.compile(r"^ +\.\.\.$", re.MULTILINE)  # a line of dots stands for any lines
SAME = doctest.OutputChecker()


@dataclass
class Ran:
    """What came of a page: all that it printed, how many outputs were compared, and those that differ."""

    printed: str = ""
    compared: int = 0
    wrong: list[tuple[str, str]] = field(default_factory=list)


def every_block(page: Path) -> list[tuple[str, str]]:
    """(language, text) of the fenced blocks that count, in order; what a comment holds is Python."""
    found = BLOCK.finditer(page.read_text(encoding="utf-8"))
    return [(m["language"] or "python", m["text"] or m["hidden"] or "") for m in found if not m["mark"]]


def blocks(page: Path, wanted: str) -> list[str]:
    """The blocks in one language."""
    return [text for language, text in every_block(page) if language == wanted]


def run(page: Path) -> Ran:
    """Run a page's blocks."""
    namespace: dict[str, object] = {"__name__": "__main__"}
    ran, printed, line = Ran(), "", 0
    for language, text in every_block(page):
        if language == "python":
            printed = _run(text, namespace, line, f"{page.stem.lower()}.py")
            ran.printed += printed
            line += text.count("\n")
        elif language == "text":
            ran.compared += 1
            if not SAME.check_output(DOTS.sub("...", text), printed, doctest.ELLIPSIS):
                ran.wrong.append((text, printed))
    return ran


def _run(code: str, namespace: dict[str, object], line: int, name: str) -> str:
    """What a block prints; its lines count from the first block, under the name of the page."""
    text = "\n" * line + code
    linecache.cache[name] = (len(text), None, text.splitlines(keepends=True), name)
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(text, name, "exec"), namespace)  # noqa: S102  our own pages
    return printed.getvalue()
