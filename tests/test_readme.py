"""The README's code runs, and prints what the README says."""

from __future__ import annotations

import contextlib
import io
import linecache
import re
from pathlib import Path

README = Path(__file__).parent.parent / "README.md"


def blocks() -> list[tuple[str, str]]:
    """(language, text) of the fenced blocks, in order."""
    return re.findall(r"```(\w+)\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)


def run(code: str, namespace: dict[str, object], line: int) -> str:
    """What a block prints; its lines count from the first block, under the name readme.py."""
    text = "\n" * line + code
    linecache.cache["readme.py"] = (len(text), None, text.splitlines(keepends=True), "readme.py")
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(text, "readme.py", "exec"), namespace)  # noqa: S102  our own README
    return printed.getvalue()


def test_the_readme_runs_and_prints_what_it_shows():
    namespace: dict[str, object] = {"__name__": "readme"}
    printed, everything, line, compared = "", "", 0, 0
    for language, text in blocks():
        if language == "python":
            printed = run(text, namespace, line)
            everything += printed
            line += text.count("\n")
        elif language == "text":
            assert printed == text
            compared += 1
    assert compared == 2 and "\nTrue " in everything and "SGD: 64 copies" in everything
