"""Train the same networks with graphc and its peers, and compare: ``python -m tests.benchmarks.run --help``.

The exit status is 1 where graphc did not run or its losses differ from the reference's.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.benchmarks import report
from tests.benchmarks.contestants import AVX2, MODES, ROOT, Child, Contestant, Dropped, environment, is_installed
from tests.benchmarks.drawn import draw, find
from tests.benchmarks.workloads import WORKLOADS

RESULTS = Path(__file__).parent / "results"


def arguments(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.run", description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--workloads", nargs="*", type=workload, default=list(WORKLOADS), metavar="W",
        help="W1 .. W10; R7.3 is network 3 of seed 7")  # fmt: skip
    add("--random", type=int, metavar="SEED", help="also the ten networks that are drawn with this seed")
    add("--busy", action="store_true", help="time everybody again beside a process that burns one core")
    add("--no-cached", action="store_true", help="leave the second start, which finds the caches of the first, out")
    add("--peers", nargs="+", default=list(MODES), metavar="PEER[:MODE]", help=f"of {', '.join(MODES)}; graphc always")
    add("--threads", nargs="+", type=int, default=sorted({1, os.cpu_count() or 1}))
    add("--budget", type=float, default=3.0, help="seconds of timing for each contestant")
    add("--rounds", type=int, default=6, help="turns in which the contestants share their budget")
    add("--no-limits", action="store_true", help="do not measure the machine: no bounds")
    add("--avx2", action="store_true", help="nobody uses AVX-512, also where the processor has it")
    add("--keep-caches", action="store_true", help="first steps with what earlier runs have compiled")
    add("--peer-python", default=sys.executable, help="the interpreter of all peers but graphc")
    add("--json", type=Path, default=RESULTS / "latest.json")
    add("--markdown", type=Path, help="also write the tables here, such as docs/benchmarks.md")
    options = parser.parse_args(argv)
    if options.random is not None:
        options.workloads += [w.name for w in draw(options.random)]
    return options


def workload(name: str) -> str:
    """``name`` itself, of a workload that exists."""
    try:
        return find(name).name
    except KeyError:
        raise argparse.ArgumentTypeError(f"there is no workload {name!r}; R7.3 is number 3 of seed 7") from None


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
            found += [Contestant(peer, m, t, python) for m in modes for t in options.threads if takes(m, t, options)]
        else:
            say(f"{peer}: not installed for {python}, left out")
    return found


def takes(mode: str, threads: int, options: argparse.Namespace) -> bool:
    """Who chooses the number of threads itself takes part once."""
    return mode != "auto" or threads == max(options.threads)


def start(field: list[Contestant], workload: str, options: argparse.Namespace) -> list[Child]:
    """Start the children one after the other, so that none compiles while another does."""
    children = []
    for contestant in field:
        try:
            child = Child(contestant, workload, keep_caches=options.keep_caches)
        except Dropped as reason:
            say(f"{workload} {contestant}: left out, {reason}")
            continue
        children.append(child)
        if not options.no_cached:
            child.start_again()
        say(f"{workload} {contestant}: first step after {child.about['first_step_s']:.2f} s")
    return children


def compete(children: list[Child], budget: float, rounds: int) -> dict[Child, list[dict]]:
    """The answers of every child; the children take turns, and one that fails is left out."""
    answers: dict[Child, list[dict]] = {child: [] for child in children}
    for child in children * rounds:
        if child in answers and not _answers(child, budget / rounds, answers[child]):
            del answers[child]
    return answers


def _answers(child: Child, seconds: float, answers: list[dict]) -> bool:
    try:
        answers.append(child.measure(seconds))
    except Dropped as reason:
        say(f"{child.contestant}: left out, {reason}")
        return False
    return True


@contextmanager
def one_core_burning() -> Iterator[None]:
    """A second process that never rests."""
    burner = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        yield
    finally:
        burner.kill()
        burner.wait()


def quantiles(answers: list[dict], prefix: str = "") -> dict[str, float]:
    """Median, 10th and 90th percentile of the seconds of a step over all turns of a child."""
    samples = [s for answer in answers for s in answer["samples"]]
    tenths = statistics.quantiles(samples, n=10, method="inclusive")
    figures = {"median_s": statistics.median(samples), "p10_s": tenths[0], "p90_s": tenths[-1]}
    return {f"{prefix}{name}": value for name, value in figures.items()}


def row(child: Child, answers: list[dict], limits: dict) -> dict:
    """All figures of a child; the bound is the one of its number of threads."""
    c, w = child.contestant, find(child.workload)
    figures = {
        "workload": w.name, "title": w.title, "peer": c.peer, "mode": c.mode, "threads": c.threads,
        "samples": sum(len(answer["samples"]) for answer in answers),
        "steps_per_call": answers[-1]["steps_per_call"], "peak_rss_mb": answers[-1]["peak_rss_mb"],
        **quantiles(answers), **child.about,
    }  # fmt: skip
    return figures | report.bound_of(figures, limits)


def rows_of(workload: str, field: list[Contestant], limits: dict, options: argparse.Namespace) -> list[dict]:
    """One row of figures for every contestant that can train the workload."""
    children = start(field, workload, options)
    try:
        alone = compete(children, options.budget, options.rounds)
        rows = {child: row(child, answers, limits) for child, answers in alone.items()}
        if options.busy:
            with one_core_burning():
                busy = compete(list(rows), options.budget, options.rounds)
            for child, answers in busy.items():
                rows[child] |= quantiles(answers, "busy_")
    finally:
        for child in children:
            child.close()
    return list(rows.values())


def measured_limits(options: argparse.Namespace) -> dict:
    """The limits of the machine for every number of threads, each measured in a process of its own."""
    limits = {}
    for threads in options.threads if not options.no_limits else []:
        c = Contestant("graphc", "fit", threads, sys.executable)
        command = [sys.executable, "-m", "tests.benchmarks.limits", str(threads)]
        found = subprocess.check_output(command, cwd=ROOT, env=environment(c, None), text=True)
        limits[str(threads)] = json.loads(found)
        say(f"limits with {threads} threads: {found.strip()}")
    return limits


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
    os.environ.update(AVX2 if options.avx2 else {})
    field, limits = contestants(options), measured_limits(options)
    rows = []
    for workload in options.workloads:
        rows += rows_of(workload, field, limits, options)
        result = {"machine": machine(), "limits": limits, "rows": rows}
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps(result, indent=1) + "\n")
    text = report.markdown([result], report.kept_notes(options.markdown or report.PAGE))
    print(text)
    if options.markdown:
        options.markdown.write_text(text)
    return 0 if report.graphc_agrees(rows, options.workloads) else 1


if __name__ == "__main__":
    sys.exit(main())
