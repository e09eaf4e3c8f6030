"""The sections that measure: contestants live side by side, and one at a time uses the GPU, in turns."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from tests.benchmarks.run import quantiles
from tests.gpu import field
from tests.gpu.field import Contestant
from tests.gpu.options import Options
from tests.gpu.process import Gone, Process

START = 240.0  # seconds until a contestant has compiled and trained its first steps
Line = dict[str, Any]
Say = Callable[[Line], None]


class Runner:
    """A contestant's process for one workload; ``about`` is what it said when it was ready."""

    def __init__(self, contestant: Contestant, workload: str) -> None:
        self.contestant, self.workload = contestant, workload
        environment = {"JAX_PLATFORMS": "cpu"} if contestant.emulated else {}
        self.process = Process(contestant.command(workload), environment)
        self.samples: list[dict] = []
        self.about: dict[str, Any] = {}

    def wait(self) -> str:
        """Until it is ready; the reason why it never will be, or an empty text."""
        try:
            self.about = self.process.answer(START)
        except Gone as reason:
            return str(reason)
        return self.about.get("skipped", "")

    def measure(self, seconds: float) -> str:
        """One turn; the reason why there was none, or an empty text."""
        try:
            self.process.tell(str(seconds))
            self.samples.append(self.process.answer(seconds + START))
        except Gone as reason:
            return str(reason)
        return ""

    def row(self) -> Line:
        """Its figures."""
        c = self.contestant
        w = field.find(self.workload, small=c.emulated)
        return {
            "workload": self.workload, "title": w.title, "peer": c.peer, "mode": c.mode, "emulated": c.emulated,
            "steps_per_call": self.samples[-1]["steps_per_call"], **quantiles(self.samples), **self.about,
        }  # fmt: skip


def contestants(modes: dict[str, tuple[str, ...]], options: Options) -> list[Contestant]:
    """Every peer in every mode; whether it can run it says itself."""
    pythons = {"graphc": options.python}
    return [
        Contestant(peer, mode, pythons.get(peer, options.peers), options.emulated)
        for peer, of in modes.items()
        for mode in of
    ]


def compete(workload: str, field_of: Iterable[Contestant], options: Options, section: str, say: Say) -> list[Line]:
    """One row for each contestant that is able; all are started, then each has its turns."""
    runners = [Runner(c, workload) for c in field_of if field.takes(c, workload, options.quick)]
    try:
        with ThreadPoolExecutor(options.workers) as pool:
            reasons = dict(zip(runners, pool.map(Runner.wait, runners)))
        able = [r for r in runners if not reasons[r]]
        for runner in able * options.rounds:
            if not reasons[runner]:
                reasons[runner] = runner.measure(options.budget / options.rounds)
        for runner, reason in reasons.items():
            if reason:
                name = f"{workload}: {runner.contestant}"
                status = "failed" if runner.contestant.peer == "graphc" else "left out"
                say({"section": section, "name": name, "status": status, "text": reason})
        return [r.row() for r in able if not reasons[r]]
    finally:
        for runner in runners:
            runner.process.close()


def benchmark(options: Options, say: Say, rows: list[Line]) -> None:
    """The workloads, one after the other; ``rows`` grows."""
    entrants = contestants(field.QUICK if options.quick else field.MODES, options)
    names = [n for n in field.GOALS if not options.networks or n in options.networks]
    _all(names, entrants, options, "benchmark", say, rows)


def scaling(options: Options, say: Say, rows: list[Line]) -> None:
    """Networks of several widths and batches."""
    names = dict.fromkeys(n for of in field.grid(options.quick).values() for n in of)
    _all(names, contestants(field.SCALING, options), options, "scaling", say, rows)


def _all(
    names: Iterable[str], entrants: list[Contestant], options: Options, section: str, say: Say, rows: list[Line]
) -> None:
    for name in names:
        if options.time_is_over():
            say({"section": section, "name": name, "status": "left out", "text": "the time is over"})
            continue
        found = compete(name, entrants, options, section, say)
        rows += [r | {"section": section} for r in found]
        for r in found:
            say(agreement(r, found, section))


def agreement(r: Line, rows: list[Line], section: str) -> Line:
    """Whether a contestant's losses after equal numbers of steps are those of the first peer."""
    name, allowed = f"{r['workload']}: losses of {r['peer']} {r['mode']}", tolerance(r)
    reference = next((o for o in rows if o["peer"] != "graphc" and not o["mode"].endswith(field.TF32)), r)
    d = loss_distance(r["losses"], reference["losses"])
    text = "nobody to compare with" if reference is r else f"differ by {d:.1e}, allowed are {allowed:.0e}"
    status = "ok" if d <= allowed else "failed" if r["peer"] == "graphc" else "note"
    return {"section": section, "name": name, "status": status, "text": text}


def tolerance(r: Line) -> float:
    """Of losses: rounding grows from step to step."""
    return 3e-2 if r["mode"].endswith(field.TF32) else 2e-3


def loss_distance(a: list[float], b: list[float]) -> float:
    """The largest relative difference; inf where one is not a number."""
    differences = [abs(x - y) / max(abs(y), 1e-3) for x, y in zip(a, b, strict=True)]
    return max(d if d == d else float("inf") for d in differences)
