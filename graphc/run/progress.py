"""A progress line drawn by the calling thread while native code runs: it costs the run nothing."""

from __future__ import annotations

from types import TracebackType
from typing import Self


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
