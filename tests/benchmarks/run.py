"""Train the same networks with graphc and its peers, and compare: ``python -m tests.benchmarks.run --help``.

The exit status is 1 where graphc did not run or its losses differ from the reference's.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import sys
from pathlib import Path

from tests.benchmarks import report
from tests.benchmarks.contestants import MODES, Child, Contestant, Dropped, is_installed
from tests.benchmarks.workloads import WORKLOADS

RESULTS = Path(__file__).parent / "results"


def arguments(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.run", description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--workloads", nargs="+", default=list(WORKLOADS), choices=list(WORKLOADS), metavar="W")
    add("--peers", nargs="+", default=list(MODES), metavar="PEER[:MODE]", help=f"of {', '.join(MODES)}; graphc always")
    add("--threads", nargs="+", type=int, default=sorted({1, os.cpu_count() or 1}))
    add("--budget", type=float, default=3.0, help="seconds of timing for each contestant")
    add("--rounds", type=int, default=6, help="turns in which the contestants share their budget")
    add("--keep-caches", action="store_true", help="first steps with what earlier runs have compiled")
    add("--peer-python", default=sys.executable, help="the interpreter of all peers but graphc")
    add("--json", type=Path, default=RESULTS / "latest.json")
    add("--markdown", type=Path, help="also write the tables here, such as docs/benchmarks.md")
    return parser.parse_args(argv)


def contestants(options: argparse.Namespace) -> list[Contestant]:
    """All wanted peers, modes and thread counts; a peer that is not installed is named and left out."""
    wanted = dict.fromkeys(["graphc", *options.peers])
    known = [*MODES, *(f"{peer}:{mode}" for peer, modes in MODES.items() for mode in modes)]
    unknown = [name for name in wanted if name not in known]
    if unknown:
        sys.exit(f"unknown peer {unknown[0]!r}; known are {', '.join(known)}")
    found = []
    for name in wanted:
        peer, _, mode = name.partition(":")
        python = sys.executable if peer == "graphc" else options.peer_python
        if is_installed(peer, python):
            modes = [mode] if mode else MODES[peer]
            found += [Contestant(peer, m, t, python) for m in modes for t in options.threads]
        else:
            say(f"{peer}: not installed for {python}, left out")
    return found


def start(field: list[Contestant], workload: str, keep_caches: bool) -> list[Child]:
    """Start the children one after the other, so that none compiles while another does."""
    children = []
    for contestant in field:
        try:
            child = Child(contestant, workload, keep_caches=keep_caches)
        except Dropped as reason:
            say(f"{workload} {contestant}: left out, {reason}")
            continue
        say(f"{workload} {contestant}: first step after {child.about['first_step_s']:.2f} s")
        children.append(child)
    return children


def compete(children: list[Child], workload: str, budget: float, rounds: int) -> list[dict]:
    """One row of figures a child; the children take turns, and one that fails is left out."""
    answers: dict[Child, list[dict]] = {child: [] for child in children}
    for child in children * rounds:
        if child in answers and not _answers(child, budget / rounds, answers[child]):
            del answers[child]
    return [row(child, workload, got) for child, got in answers.items()]


def _answers(child: Child, seconds: float, answers: list[dict]) -> bool:
    try:
        answers.append(child.measure(seconds))
    except Dropped as reason:
        say(f"{child.contestant}: left out, {reason}")
        return False
    return True


def row(child: Child, workload: str, answers: list[dict]) -> dict:
    samples = [s for answer in answers for s in answer["samples"]]
    tenths = statistics.quantiles(samples, n=10, method="inclusive")
    c = child.contestant
    return {
        "workload": workload, "peer": c.peer, "mode": c.mode, "threads": c.threads,
        "median_s": statistics.median(samples), "p10_s": tenths[0], "p90_s": tenths[-1], "samples": len(samples),
        "steps_per_call": answers[-1]["steps_per_call"], "peak_rss_mb": answers[-1]["peak_rss_mb"], **child.about,
    }


def machine() -> dict:
    """What the figures were measured on."""
    info = Path("/proc/cpuinfo")
    models = [line.split(":")[1].strip() for line in _lines(info) if line.startswith("model name")]
    return {
        "cpu": models[0] if models else platform.processor(), "cores": os.cpu_count(),
        "system": platform.system(), "python": platform.python_version(),
    }


def _lines(path: Path) -> list[str]:
    return path.read_text().splitlines() if path.exists() else []


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def main(argv: list[str] | None = None) -> int:
    options = arguments(argv)
    field = contestants(options)
    rows = []
    for workload in options.workloads:
        children = start(field, workload, options.keep_caches)
        try:
            rows += compete(children, workload, options.budget, options.rounds)
        finally:
            for child in children:
                child.close()
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps({"machine": machine(), "rows": rows}, indent=1) + "\n")
    text = report.markdown(machine(), rows)
    print(text)
    if options.markdown:
        options.markdown.write_text(text)
    return 0 if report.graphc_agrees(rows, options.workloads) else 1


if __name__ == "__main__":
    sys.exit(main())
