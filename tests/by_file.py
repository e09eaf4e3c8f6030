"""What a run of the tests prints when several processes share it: a line a file, when its last test has ended; and what
the processes counted, added up."""

from __future__ import annotations

from collections import Counter
from collections.abc import Generator
from typing import Any

import pytest

from graphc.native import cache

COUNTS = "counts"


class Counts:
    """Programs compiled, by file of tests; texts checked, and the time that took."""

    def __init__(self) -> None:
        self.programs: Counter[str] = Counter()
        self.texts, self.seconds = 0, 0.0
        self._file = ""

    def follow(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Count what this process puts into the code cache from now on."""
        put = cache.Store.put

        def counted(store: cache.Store, key: str, image: bytes, kind: str = cache.CODE) -> None:
            self.programs[self._file] += kind == cache.CODE
            put(store, key, image, kind)

        monkeypatch.setattr(cache.Store, "put", counted)

    def begin(self, file: str) -> None:
        """The tests of a file begin."""
        self._file = file

    def as_dict(self) -> dict[str, Any]:
        """To be sent to the process that began the run."""
        return {"programs": dict(self.programs), "texts": self.texts, "seconds": self.seconds}

    def add(self, other: dict[str, Any]) -> None:
        """What another process counted."""
        self.programs.update(other["programs"])
        self.texts += other["texts"]
        self.seconds += other["seconds"]


class FileLines:
    """``tests/test_x.py  12 passed, 3.4 s``: printed by the process that began the run."""

    def __init__(self, terminal: pytest.TerminalReporter, counts: Counts) -> None:
        self.terminal, self.counts = terminal, counts
        self.left: Counter[str] = Counter()
        self.found: dict[str, Counter[str]] = {}
        self.seconds: Counter[str] = Counter()

    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_node_collection_finished(self, ids: list[str]) -> None:
        if not self.left:
            self.left = Counter(test.split("::")[0] for test in ids)

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_report_teststatus(self) -> Generator[None, tuple[str, str, Any], tuple[str, str, Any]]:
        """No letter a test. What did not pass is written out at the end."""
        category, _, word = yield
        return category, "", "" if category == "passed" else word

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        file = report.nodeid.split("::")[0]
        self.seconds[file] += report.duration  # pyright: ignore
        if report.when == "call" or not report.passed:
            self.found.setdefault(file, Counter())[report.outcome] += 1
        if report.when == "teardown":
            self.left[file] -= 1
            if self.left[file] == 0:
                self._print(file)

    def _print(self, file: str) -> None:
        outcomes = ", ".join(f"{n} {outcome}" for outcome, n in sorted(self.found.get(file, {}).items()))
        self.terminal.write_line(f"{file}  {outcomes}, {self.seconds[file]:.1f} s", red="failed" in outcomes)

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any) -> None:
        if COUNTS in getattr(node, "workeroutput", {}):
            self.counts.add(node.workeroutput[COUNTS])
