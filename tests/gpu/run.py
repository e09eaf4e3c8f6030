"""Everything that a machine with a GPU can show, in one command: ``python -m tests.gpu.run --help``.

The exit status is 1 where numerics, bits, sanitizer or graphc in a timing failed, 2 where there is no usable GPU.
"""

from __future__ import annotations

import json
import platform
import sys
import time
from collections.abc import Callable
from typing import Any

from graphc.cuda import libraries as installed
from tests.gpu import libraries, report, seen, timings, verify
from tests.gpu.options import SECTIONS, Options, read

Line = dict[str, Any]


class Journal:
    """The lines of a run: shown as they come, and written to the disk after every section."""

    def __init__(self, options: Options) -> None:
        self.options = options
        self.lines: list[Line] = []
        self.rows: list[Line] = []
        self.seconds: dict[str, float] = {}

    def say(self, line: Line) -> None:
        """Keep a line and show it."""
        self.lines.append(line)
        print(report.shown(line), file=sys.stderr, flush=True)

    def result(self) -> dict[str, Any]:
        """All of it, as it goes to the JSON file."""
        return {
            "emulated": self.options.emulated, "quick": self.options.quick, "python": platform.python_version(),
            "lines": self.lines, "rows": self.rows, "seconds": self.seconds,
        }  # fmt: skip

    def write(self) -> str:
        """Both files; the text of the page."""
        page = report.page(self.result())
        for path, text in ((self.options.json, json.dumps(self.result(), indent=1)), (self.options.markdown, page)):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text + "\n")
        return page


def isolated(name: str, step: Callable[[], Line], section: str = "libraries") -> Line:
    """What a step gives; whatever it raises becomes a failed line."""
    try:
        return step()
    except Exception as error:  # noqa: BLE001  the rest must go on
        return {"section": section, "name": name, "status": "failed", "text": f"{type(error).__name__}: {error}"}


def act(section: str, options: Options, journal: Journal) -> None:
    """One section."""
    if section == "libraries":
        for line in libraries.look(options.peers, isolated):
            journal.say(line)
    elif section in ("numerics", "bits", "questions"):
        verify.verify(section, options, journal.say)
    elif section == "sanitizer":
        verify.sanitize(options, journal.say)
    else:
        getattr(timings, section)(options, journal.say, journal.rows)


def guarded(section: str, options: Options, journal: Journal) -> None:
    """A section, however it ends, with its time."""
    began = time.monotonic()

    def whole() -> Line:
        act(section, options, journal)
        return {}

    failure = isolated("the section itself", whole, section)
    if failure:
        journal.say(failure)
    journal.seconds[section] = time.monotonic() - began


def main(argv: list[str] | None = None) -> int:
    options = read(argv)
    journal, began = Journal(options), time.monotonic()
    possible = options.emulated or installed.available()
    for section in SECTIONS:
        if section not in options.sections or (section != "libraries" and not possible):
            continue
        options.begin(section, began)
        guarded(section, options, journal)
        journal.write()
    if possible and not options.emulated:
        gpu = next((x["text"] for x in journal.lines if x["name"] == "GPU"), "unknown")
        print("\n".join(seen.note(journal.lines, gpu)), file=sys.stderr)
    print(journal.write())
    if not possible:
        print("There is no usable GPU: nothing ran on one. --emulated tries the script on the CPU.", file=sys.stderr)
        return 2
    return 1 if report.failures(journal.lines) else 0


if __name__ == "__main__":
    sys.exit(main())
