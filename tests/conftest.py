"""What every test shares: Hypothesis profiles, the strict mode in which a test that does not run has failed, the number
of programs that the tests leave in the code cache, and the check of the text of every program that a test prints."""

from __future__ import annotations

import os
import time
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any, TypeVar

import pytest
from hypothesis import HealthCheck, settings

from tests.by_file import COUNTS, Counts, FileLines
from tests.covering.plain import Plain, in_python
from tests.text_check import Case, findings_of, recording

settings.register_profile("repeatable", derandomize=True, deadline=None, max_examples=40)
settings.register_profile(
    "fuzz", deadline=None, max_examples=2000, suppress_health_check=[HealthCheck.too_slow], print_blob=True
)
settings.load_profile("repeatable")

MOST_PROGRAMS = 230  # of a whole run that begins with an empty cache: compiling is what the tests wait for
MOST_KERNELS = 210  # of the run that compiles CUDA kernels, which are smaller

R = TypeVar("R", pytest.TestReport, pytest.CollectReport)


def _fail_if_skipped(report: R) -> R:
    """Under GRAPHC_STRICT=1 a skip is a failure, whose text is the reason of the skip. An xfail stays what it is."""
    if os.environ.get("GRAPHC_STRICT") == "1" and report.skipped and not hasattr(report, "wasxfail"):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr
        report.outcome = "failed"
        report.longrepr = f"GRAPHC_STRICT=1 accepts no skip: {reason}"
    return report


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    return _fail_if_skipped((yield))


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    return _fail_if_skipped((yield))


def _programs() -> int:
    folder = os.environ.get("GRAPHC_CACHE")
    return len(list(Path(folder).glob("*.obj"))) if folder else 0


_before = _programs()
counts = Counts()


def _of_a_worker(config: pytest.Config) -> dict[str, Any] | None:
    """What a process that shares the run sends to the one that began it; None in the latter."""
    return getattr(config, "workeroutput", None)


@pytest.hookimpl(trylast=True)
def pytest_configure(config: pytest.Config) -> None:
    if _of_a_worker(config) is None and getattr(config.option, "numprocesses", None):
        terminal = config.pluginmanager.getplugin("terminalreporter")
        config.pluginmanager.register(FileLines(terminal, counts), "file lines")


def pytest_runtest_logstart(location: tuple[str, int | None, str]) -> None:
    """Which files compile: a run that compiles too many says where."""
    counts.begin(location[0])


@pytest.fixture
def double_precision() -> Iterator[None]:
    """JAX computes in float64 in this test alone: a setting of the whole process would reach whatever runs next."""
    jax = pytest.importorskip("jax")  # the environment of the CUDA check has none
    with jax.enable_x64(True):
        yield


@pytest.fixture
def python() -> Iterator[Plain]:
    """Programs for the CPU run as the Python they are written in; nothing is compiled."""
    with in_python(Plain()) as machine:
        yield machine


@pytest.fixture(scope="session")
def printed_programs() -> Iterator[list[Case]]:
    """The programs for the CPU that were printed and not yet checked."""
    with pytest.MonkeyPatch.context() as patch, recording() as cases:
        counts.follow(patch)
        yield cases


@pytest.fixture(autouse=True)
def texts_are_right(printed_programs: list[Case]) -> Iterator[None]:
    """After every test: what its programs read was written before or is state, within its buffer, by assigned names."""
    yield
    started = time.perf_counter()
    cases, printed_programs[:] = [*printed_programs], []
    found = [finding for case in cases for finding in findings_of(case.quick)]
    counts.texts += len(cases)
    counts.seconds += time.perf_counter() - started
    assert found == []


def _most(config: pytest.Config) -> int:
    return MOST_KERNELS if config.option.markexpr == "cuda" else MOST_PROGRAMS


@pytest.hookimpl(trylast=True)
def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    terminalreporter.write_line(f"{counts.texts} texts were checked in {counts.seconds:.1f} s")
    compiled = _programs() - _before
    if compiled > 0:
        terminalreporter.write_line(f"{compiled} programs were compiled into the code cache (at most {_most(config)})")
        files = ", ".join(f"{Path(file).stem} {n}" for file, n in counts.programs.most_common() if n)
        terminalreporter.write_line(f"by the tests' own processes, into any cache: {files}")


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Under GRAPHC_STRICT=1 a run that compiles too many programs has failed."""
    output = _of_a_worker(session.config)
    if output is not None:
        output[COUNTS] = counts.as_dict()
    elif os.environ.get("GRAPHC_STRICT") == "1" and _programs() - _before > _most(session.config):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
