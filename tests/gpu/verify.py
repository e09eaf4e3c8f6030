"""The sections that can fail: numerics, bits, sanitizer. Checks run in workers, several at a time."""

from __future__ import annotations

import os
import queue
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from typing import Any

from tests.gpu.checks import Check, checks
from tests.gpu.libraries import sanitizer_path
from tests.gpu.options import Options
from tests.gpu.process import QUIET, ROOT, Gone, Process

TOOLS = ("memcheck", "racecheck", "synccheck")
SANITIZED = {"A": "W1", "B": "W2", "C": "W3", "D": "W3"}  # a network for each tier
FOUND = 86  # the exit status that compute-sanitizer is told to give
PATIENCE, START = 180.0, 60.0  # seconds for a check; more for the first one, which imports and compiles
Line = dict[str, Any]
Say = Callable[[Line], None]


class Crew:
    """Workers that take groups of checks from one queue; a worker that dies is replaced by a new one."""

    def __init__(self, options: Options, say: Say) -> None:
        self.options, self.say = options, say
        self.groups: queue.SimpleQueue[list[Check]] = queue.SimpleQueue()

    def run(self, chosen: Sequence[Check]) -> None:
        """All checks; the results come in any order."""
        by_group: dict[str, list[Check]] = {}
        for check in chosen:
            by_group.setdefault(check.group, []).append(check)
        for group in by_group.values():
            self.groups.put(group)
        count = min(self.options.workers, len(by_group))
        members = [threading.Thread(target=self._member) for _ in range(count)]
        for member in members:
            member.start()
        for member in members:
            member.join()

    def _member(self) -> None:
        worker = Worker(self.options)
        while True:
            try:
                group = self.groups.get_nowait()
            except queue.Empty:
                break
            for check in group:
                self.say({"section": check.section, "name": check.name} | worker.do(check))
        worker.close()


class Worker:
    """One process of :mod:`tests.gpu.worker`, started when it is first needed and again after each of its deaths."""

    def __init__(self, options: Options) -> None:
        self.options = options
        self.process: Process | None = None

    def do(self, check: Check) -> Line:
        """The outcome of a check; a dead, hanging or sick worker has failed and is replaced."""
        if self.options.time_is_over():
            return {"status": "left out", "text": "the time is over"}
        patience = PATIENCE
        if self.process is None:
            self.process, patience = Process(worker_command(self.options)), PATIENCE + START
        try:
            self.process.tell(check.name)
            found = self.process.answer(patience)
        except Gone as reason:
            found = {"status": "failed", "text": str(reason), "sick": True}
        if found.pop("sick", False):
            self.close()
        return found

    def close(self) -> None:
        """End the process."""
        if self.process is not None:
            self.process.close()
        self.process = None


def worker_command(options: Options, *more: str) -> list[str]:
    """How a worker is started."""
    flags = [f"--{name}" for name in ("emulated", "quick") if getattr(options, name)]
    return [sys.executable, "-m", "tests.gpu.worker", *flags, *more]


def verify(section: str, options: Options, say: Say) -> None:
    """The checks of a section."""
    every = checks(options.quick, options.emulated).values()
    wanted = [c for c in every if c.section == section and (not options.networks or c.group in options.networks)]
    Crew(options, say).run(wanted)


# ------------------------------------------------------------------------------------------------------ sanitizer


def sanitize(options: Options, say: Say) -> None:
    """A short training of each tier under each tool; in an emulated run the same trainings without a tool."""
    tool = sanitizer_path()
    if not tool and not options.emulated:
        say({"section": "sanitizer", "name": "all", "status": "left out", "text": "there is no compute-sanitizer"})
        return
    for tier, network in SANITIZED.items():
        for kind in TOOLS[:1] if options.emulated else TOOLS:
            name = f"{kind}: tier {tier}, {network}"
            say({"section": "sanitizer", "name": name} | under(tool, kind, f"{network}: tier {tier}", options))


def under(tool: str, kind: str, check: str, options: Options) -> Line:
    """One check under one tool."""
    if options.time_is_over():
        return {"status": "left out", "text": "the time is over"}
    command = worker_command(options, "--once", check)
    if not options.emulated:
        command = [tool, "--tool", kind, "--error-exitcode", str(FOUND), "--print-limit", "5", *command]
    try:
        done = subprocess.run(
            command, cwd=ROOT, env=os.environ | QUIET, capture_output=True, text=True, timeout=PATIENCE + START
        )
    except subprocess.TimeoutExpired:
        return {"status": "failed", "text": f"no end within {PATIENCE:.0f} s"}
    return judged(done.returncode, done.stdout + done.stderr, emulated=options.emulated)


def judged(status: int, output: str, *, emulated: bool) -> Line:
    """What an exit status means; the text shows the tool's own lines."""
    found = [text.strip() for text in output.splitlines() if text.startswith("=========") and text.strip("= ")]
    if status == 0:
        return {"status": "ok", "text": "without a tool: emulated" if emulated else found[-1] if found else ""}
    shown = found[:6] or output.strip().splitlines()[-1:]
    return {"status": "failed", "text": " / ".join(shown) or f"status {status}"}
