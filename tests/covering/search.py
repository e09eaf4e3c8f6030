"""The search: graphs of block after block, failures shrunk, what is found kept.

A block is 300 graphs of one covering array, drawn from one seed; graph k of block s is the same on every machine.
"""

from __future__ import annotations

import json
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

from tests.covering.array import Coverage
from tests.covering.build import Description
from tests.covering.compare import Failure, check
from tests.covering.draw import block
from tests.covering.shrink import shrink
from tests.covering.text import text_of

BLOCK = 300
PATIENCE = 30  # seconds for one graph
KEPT = Path(__file__).with_name("kept.jsonl")
Result = tuple[str, Failure | None, Description]  # where it was drawn: "block 7, graph 12"


@cache
def drawn(seed: int, count: int = BLOCK) -> tuple[list[Description], Coverage]:
    """The first graphs of a block, and what they cover."""
    coverage = Coverage()
    return [description for _, description in block(seed, count, coverage)], coverage


def graphs_of(seed: int, count: int = BLOCK) -> list[Description]:
    """The first graphs of a block."""
    return drawn(seed, count)[0]


def examine(place: str, description: Description, budget: int = 250) -> Result:
    """Check a graph; when it fails, the smallest graph that fails in the same way."""
    failure = patiently(description)
    if failure is None or failure.kind == SLOW:
        return place, failure, description
    small = shrink(description, lambda d: _kind(d) == failure.kind, budget)
    return place, patiently(small) or failure, small


SLOW = "slow"


def patiently(description: Description) -> Failure | None:
    """The verdict on a graph, or that it took too long."""
    try:
        with _limit(PATIENCE):
            return check(description)
    except TimeoutError:
        return Failure(SLOW, f"not done in {PATIENCE} s")


def _kind(description: Description) -> str:
    """Of the failure of a smaller graph; none where JAX has no such graph, as with a matrix that lost a row."""
    try:
        failure = patiently(description)
    except (TypeError, ValueError):
        return ""
    return failure.kind if failure else ""


@contextmanager
def _limit(seconds: int) -> Iterator[None]:
    def stop(number: int, frame: Any) -> None:
        raise TimeoutError

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


# ---------------------------------------------------------------- the kept cases


def kept(path: Path = KEPT) -> list[dict[str, Any]]:
    """Graphs that failed once, a line each: ``found``, where and what; ``graph``, its description."""
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def keep(place: str, failure: Failure, description: Description, path: Path = KEPT) -> bool:
    """Append a graph, unless one that differs in its numbers alone is there."""
    known = {_shape_of(case["graph"]) for case in kept(path)}
    if _shape_of(description) in known:
        return False
    with path.open("a") as file:
        file.write(json.dumps({"found": f"{place}: {failure.kind}, {failure.text}", "graph": description}) + "\n")
    return True


def _shape_of(description: Description) -> str:
    return text_of(description).rpartition(", seed")[0]


def report(result: Result, write: Callable[[str], None] = print) -> None:
    """What failed, as a person would write it."""
    place, failure, description = result
    if failure is not None:
        write(f"{place}: {failure.kind}: {failure.text}\n{_indented(text_of(description))}")


def _indented(text: str) -> str:
    return "\n".join(f"    {line}" for line in text.splitlines())
