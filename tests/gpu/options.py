"""What a run was asked for, and how much time is left to a section."""

from __future__ import annotations

import argparse
import os
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

SECTIONS = ("libraries", "numerics", "bits", "sanitizer", "questions", "benchmark", "scaling")
SHARES = {"libraries": 0.1, "numerics": 0.4, "bits": 0.5, "sanitizer": 0.6, "questions": 0.7, "benchmark": 0.9,
          "scaling": 1.0}  # fmt: skip
"""The part of a limited time after which a section begins nothing new."""
QUICK_MINUTES = 7.5
RESULTS = Path(__file__).parent / "results"


@dataclass
class Options:
    """See ``python -m tests.gpu.run --help``; ``budget`` is in seconds a contestant, ``until`` a monotonic time."""

    emulated: bool = False
    quick: bool = False
    sections: list[str] = field(default_factory=lambda: list(SECTIONS))
    networks: list[str] = field(default_factory=list)
    workers: int = 2
    budget: float = 3.0
    rounds: int = 5
    minutes: float | None = None
    peers: str = sys.executable
    python: str = sys.executable
    json: Path = RESULTS / "latest.json"
    markdown: Path = RESULTS / "latest.md"
    until: float = float("inf")

    def time_is_over(self) -> bool:
        """Whether the section at hand must not begin anything new."""
        return time.monotonic() > self.until

    def begin(self, section: str, began: float) -> None:
        """Give a section its share of the time since ``began``."""
        self.until = began + 60 * self.minutes * SHARES[section] if self.minutes else float("inf")


def read(argv: list[str] | None = None) -> Options:
    """Options from the command line; ``--quick`` and ``--emulated`` change defaults only."""
    parser = argparse.ArgumentParser(prog="python -m tests.gpu.run", description="Everything that a GPU can show.")
    add = parser.add_argument
    add("--emulated", action="store_true", help="on the CPU: tries the script, its times mean nothing")
    add("--quick", action="store_true", help=f"fewer of everything, at most about {QUICK_MINUTES:g} minutes")
    add("--sections", nargs="+", choices=SECTIONS, default=list(SECTIONS))
    add("--networks", nargs="+", default=[], metavar="NAME", help="of numerics, bits, benchmark only these: W1, SGD")
    add("--workers", type=int, default=max(1, min(6, (os.cpu_count() or 1) // 2)), help="processes of checks at a time")
    add("--budget", type=float, help="seconds of timing for each contestant")
    add("--rounds", type=int, help="turns in which the contestants share their budget")
    add("--minutes", type=float, help="begin nothing new after so many minutes")
    add("--peers", default=os.environ.get("GPU_PEERS") or sys.executable, metavar="PYTHON",
        help="the interpreter with torch and jax for CUDA (default: GPU_PEERS, else this one)")  # fmt: skip
    add("--json", type=Path, default=RESULTS / "latest.json")
    add("--markdown", type=Path, default=RESULTS / "latest.md")
    options = Options(**vars(parser.parse_args(argv)))
    short = options.quick or options.emulated
    options.budget = options.budget or (0.1 if options.emulated else 1.0 if options.quick else 3.0)
    options.rounds = options.rounds or (3 if short else 6)
    options.minutes = options.minutes or (QUICK_MINUTES if options.quick and not options.emulated else None)
    return options
