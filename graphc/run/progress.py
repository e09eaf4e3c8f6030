"""A progress line drawn by the calling thread while native code runs: it costs the run nothing."""

from __future__ import annotations

import importlib
import sys
import time
from types import TracebackType
from typing import Any, Self

PAUSE = 0.1  # seconds between two pictures of the line in a notebook


class NoProgress:
    """Draws nothing."""

    def __enter__(self) -> Self:
        return self

    def draw(self, done: int) -> None:
        """Show the steps done in this native call."""

    def next_call(self, done: int) -> None:
        """A native call has ended after ``done`` steps."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pass


class ProgressLine(NoProgress):
    """``with ProgressLine(1000, "training") as line: line.draw(250)``; loads rich when it is first shown."""

    def __init__(self, total: int, title: str) -> None:
        self.total, self.title = total, title
        self.done = 0

    def __enter__(self) -> Self:
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        title = TextColumn("{task.description}")
        self.bar = Progress(title, BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(), transient=True)
        self.bar.start()
        self.task = self.bar.add_task(self.title, total=self.total)
        self.offset = 0
        return self

    def draw(self, done: int) -> None:
        self.bar.update(self.task, completed=self.offset + done)

    def next_call(self, done: int) -> None:
        self.offset += done
        self.bar.update(self.task, completed=self.offset)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.bar.stop()


class NotebookLine(NoProgress):
    """One line in a notebook that is drawn anew in its place, and says in the end what was done.

    Rich shows nothing that moves there without ipywidgets, and leaves an empty line behind.
    """

    def __init__(self, total: int, title: str) -> None:
        self.total, self.title = total, title
        self.offset = self.done = 0

    def __enter__(self) -> Self:
        self.started = self.last = time.monotonic()
        show = importlib.import_module("IPython.display").display
        self.handle: Any = show(self._data(), raw=True, display_id=True)
        return self

    def draw(self, done: int) -> None:
        self.done = self.offset + done
        if time.monotonic() - self.last >= PAUSE:
            self.last = time.monotonic()
            self.handle.update(self._data(), raw=True)

    def next_call(self, done: int) -> None:
        self.offset += done
        self.draw(0)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        seconds = time.monotonic() - self.started
        text = f"{self.title}: {self.done:,} of {self.total:,} steps in {seconds:.3g} s"
        self.handle.update({"text/plain": text}, raw=True)

    def _data(self) -> dict[str, str]:
        part = min(self.done / max(self.total, 1), 1.0)
        seconds = (time.monotonic() - self.started) * (1 - part) / part if part else 0.0
        rest = f", {seconds:.0f} s left" if part else ""
        bar = "█" * round(30 * part) + "░" * (30 - round(30 * part))
        return {"text/plain": f"{self.title} {bar} {self.done:,} of {self.total:,} steps{rest}"}


def progress_line(total: int, title: str) -> NoProgress:
    """The line that the place shows where Python runs: a terminal, or a notebook."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython else None
    in_notebook = type(shell).__name__ == "ZMQInteractiveShell"
    return NotebookLine(total, title) if in_notebook else ProgressLine(total, title)
