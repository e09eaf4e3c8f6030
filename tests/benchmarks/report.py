"""The tables of benchmark runs, in Markdown: ``python -m tests.benchmarks.report RESULT.json ...``.

Of a workload that several files hold, the last one counts. What stands between ``<!-- notes -->`` and
``<!-- end of notes -->`` in ``docs/benchmarks.md`` is repeated.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable
from pathlib import Path

from tests.benchmarks import bounds
from tests.benchmarks.drawn import find

RTOL = 1e-4
DTYPES = ("float32", "float64")
PAGE = Path(__file__).parents[2] / "docs" / "benchmarks.md"
NOTES, END_OF_NOTES = "<!-- notes -->", "<!-- end of notes -->"
INTRODUCTION = """\
Training steps on the same data, initial weights and batches, all contestants in turn within one run; a timed call
lasts at least 20 ms, and for each contestant at least as many steps as a chunk of JAX's scan has. Made by `make bench`
(`python -m tests.benchmarks.run`)."""
BOUND = """\
The bound of a step is max(FLOPs of its products / product rate + evaluations of elementary functions × their time,
bytes moved / copy rate) at the row's number of threads. The rates are the best that were measured, and each function
counts as the cheapest one. The batch is read once, parameters and moments are read and written once, at the near rate
where all of that fits into the last cache (`tests/benchmarks/bounds.py`). "Of the bound" is bound / median: 100 %
cannot be reached, since additions, masks and everything else are free in it."""
SUMMARY = """\
Microseconds a step: median (10th to 90th percentile). graphc chooses its number of threads itself (`auto`); each peer
stands at its best mode and number of threads. A ratio below 1 means that graphc is the faster one."""
RANDOM = """\
Widths 3 to 700, batches 1 to 2000, 1 to 6 layers, each activation of the library, drawn by
`tests/benchmarks/drawn.py` with the seed in the name (R*seed*.*number*)."""
STARTS = """\
Seconds until the first step is done: building, compiling and the first call (a chunk of steps, or an epoch, where a
peer has no smaller one). "With imports" counts from the start of the process. Cold: empty cache folders. Cached: a
second process with the caches of the first, those of JAX and Inductor included. Making the data is not counted."""
MEMORY = """\
Peak resident memory in MB (`VmHWM`) of the process that started cold, compiling and all timings included, and in
brackets its growth since the framework was imported and the data were made. "Cached" is the peak of a second process,
which finds the caches of the first, up to its first step. graphc imports most of itself when it is needed, so compare
the totals."""
BUSY = "The same processes beside another one that burns one core: medians in microseconds, and how much slower."
DETAILS = f"""\
The last column is the largest relative difference of the losses after 0, 10 and 100 steps (0, 5 and 20 in networks
drawn at random) from those of the first peer; {RTOL:g} is allowed."""


def markdown(results: list[dict], notes: str = "") -> str:
    """A page: the machine, graphc against the best peer, starts, memory, a busy machine, and every contestant."""
    limits = best_limits([r["limits"] for r in results if "limits" in r])
    rows = [r | bound_of(r, limits) for r in merged(results)]
    listed = [r for r in rows if not is_random(r)]
    random = [r for r in rows if is_random(r)]
    own = [r for r in rows if r["peer"] == "graphc"]
    machine = results[-1]["machine"]
    versions = ", ".join(sorted({f"{r['peer']} {r['version']}" for r in rows}))
    where = f"{machine['cpu']}, {machine['cores']} cores, {machine['system']}, Python {machine['python']}"
    sections = [
        section("# Benchmarks", f"{INTRODUCTION}\n\nMachine: {where}.\nVersions: {versions}.", []),
        notes,
        section("## The limits of the machine", BOUND, limits_table(limits)),
        section("## graphc and its best peer", SUMMARY, summary(listed)),
        section("## Networks drawn at random", RANDOM, summary(random)) if random else "",
        section("## The first step", STARTS, starts(rows)) if any("cached_start_s" in r for r in rows) else "",
        section("## Memory", MEMORY, memory(rows)),
        section("## On a busy machine", BUSY, busy(rows)) if any("busy_median_s" in r for r in own) else "",
        section("## Every contestant", DETAILS, details(rows)),
    ]
    return "\n".join(part for part in sections if part)


def section(title: str, text: str, table: list[str]) -> str:
    return "\n".join([title, "", text, *(["", *table] if table else []), ""])


def merged(results: list[dict]) -> list[dict]:
    """The rows of several runs; a later run of a workload replaces an earlier one."""
    by_workload: dict[str, list[dict]] = {}
    for result in results:
        fresh: dict[str, list[dict]] = {}
        for r in result["rows"]:
            fresh.setdefault(r["workload"], []).append(r)
        by_workload |= fresh
    return [r for rows in by_workload.values() for r in rows]


def best_limits(measured: list[dict]) -> dict[str, dict]:
    """For each number of threads the best figures of several measurements: rates are high, times low."""
    best: dict[str, dict] = {}
    for threads, limits in (pair for one in measured for pair in one.items()):
        known = best.setdefault(threads, dict(limits))
        for name, value in limits.items():
            known[name] = (min if name.startswith("function") else max)(known[name], value)
    return best


def bound_of(r: dict, limits: dict[str, dict]) -> dict:
    """The bound of a row of a dense network, where the limits for its number of threads are known."""
    own, w = limits.get(str(r["threads"])), find(r["workload"])
    return bounds.bound(w, own) if own and not w.network else {}


def limits_table(limits: dict[str, dict]) -> list[str]:
    lines = table_head(
        "threads", "products, float32, GFLOP/s: tiles", "BLAS", "float64: tiles", "BLAS",
        "a function, float32, ns", "float64", "copy near, GB/s", "far",
    )  # fmt: skip
    rates = [f"{lib}_{d}" for d in DTYPES for lib in ("tiles", "blas")]
    for threads, of in sorted(limits.items(), key=lambda pair: int(pair[0])):
        cells = [f"{of[name] / 1e9:.0f}" for name in rates]
        cells += [f"{of[f'function_{d}'] * 1e9:.2f}" for d in DTYPES]
        cells += [f"{of[name] / 1e9:.0f}" for name in ("copy_near", "copy_far")]
        lines.append(table_row(threads, *cells))
    return lines


def summary(rows: list[dict]) -> list[str]:
    lines = table_head("workload", "graphc", "best peer", "its step", "ratio", "of the bound: graphc", "peer")
    for workload in _workloads(rows):
        ours, theirs = best(rows, workload, ours=True), best(rows, workload, ours=False)
        name = f"{theirs['peer']} {theirs['mode']}" if theirs else "-"
        shares = [fraction(r) for r in (ours, theirs)]
        ratio = f"**{ours['median_s'] / theirs['median_s']:.2f}**" if ours and theirs else "-"
        lines.append(table_row(_title(rows, workload), timing(ours), name, timing(theirs), ratio, *shares))
    return lines


def starts(rows: list[dict]) -> list[str]:
    """Of each workload, graphc and every mode of every peer at its fastest cold start."""
    lines = table_head("workload", "contestant", "cold", "with imports", "cached", "with imports")
    names = ("first_step_s", "start_s", "cached_first_step_s", "cached_start_s")
    for r in _one_each(rows, lambda r: r["first_step_s"]):
        cells = [f"{r[name]:.2f}" if name in r else "-" for name in names]
        lines.append(table_row(r["workload"], _name(r), *cells))
    return lines


def memory(rows: list[dict]) -> list[str]:
    """Of each workload, graphc and every mode of every peer at its least peak."""
    lines = table_head("workload", "contestant", "peak MB (growth)", "cached")
    for r in _one_each(rows, lambda r: r["peak_rss_mb"]):
        growth = f"{r['peak_rss_mb'] - r['imported_rss_mb']:.0f}" if "imported_rss_mb" in r else "-"
        cached = f"{r['cached_first_step_peak_mb']:.0f}" if "cached_first_step_peak_mb" in r else "-"
        lines.append(table_row(r["workload"], _name(r), f"{r['peak_rss_mb']:.0f} ({growth})", cached))
    return lines


def busy(rows: list[dict]) -> list[str]:
    lines = table_head("workload", "contestant", "threads", "alone", "busy (10th to 90th percentile)", "busy / alone")
    for r in rows:
        if "busy_median_s" in r:
            times = f"{_us(r['busy_median_s'])} ({_us(r['busy_p10_s'])} to {_us(r['busy_p90_s'])})"
            slower = f"{r['busy_median_s'] / r['median_s']:.2f}"
            lines.append(table_row(r["workload"], _name(r), r["threads"], _us(r["median_s"]), times, slower))
    return lines


def details(rows: list[dict]) -> list[str]:
    lines = table_head("workload", "contestant", "threads", "step, µs", "of the bound", "loss difference")
    for workload in _workloads(rows):
        for r in sorted((r for r in rows if r["workload"] == workload), key=lambda r: r["median_s"]):
            difference = loss_difference(r, reference(rows, workload))
            verdict = f"{difference:.1e}" + ("" if difference <= RTOL else " **differs**")
            lines.append(table_row(workload, _name(r), r["threads"], timing(r), fraction(r), verdict))
    return lines


def best(rows: list[dict], workload: str, *, ours: bool) -> dict | None:
    """The row with the least median step of the peers, or of graphc: where it chose its threads itself, that row."""
    own = [r for r in rows if r["workload"] == workload and (r["peer"] == "graphc") == ours]
    chosen = [r for r in own if r["mode"] == "auto"]
    return min(chosen or own, key=lambda r: r["median_s"], default=None)


def reference(rows: list[dict], workload: str) -> dict:
    """The row whose losses the others must meet: the first peer's, else graphc's own."""
    own = [r for r in rows if r["workload"] == workload]
    return next((r for r in own if r["peer"] != "graphc"), own[0])


def loss_difference(r: dict, ref: dict) -> float:
    """The largest relative difference between the losses of two rows; inf where one is not finite."""
    pairs = zip(r["losses"], ref["losses"], strict=True)
    differences = [abs(a - b) / abs(b) for a, b in pairs]
    return max(d if d == d else float("inf") for d in differences)


def graphc_agrees(rows: list[dict], workloads: list[str]) -> bool:
    """Whether graphc ran every workload, always with the losses of the reference."""
    own = [r for r in rows if r["peer"] == "graphc"]
    ran = {r["workload"] for r in own} == set(workloads)
    return ran and all(loss_difference(r, reference(rows, r["workload"])) <= RTOL for r in own)


def is_random(r: dict) -> bool:
    return r["workload"].startswith("R")


def timing(r: dict | None) -> str:
    if r is None:
        return "-"
    return f"{_us(r['median_s'])} ({_us(r['p10_s'])} to {_us(r['p90_s'])})"


def fraction(r: dict | None) -> str:
    """The share of the bound that a row reaches."""
    return f"{r['bound_s'] / r['median_s']:.0%}" if r and "bound_s" in r else "-"


def table_head(*cells: str) -> list[str]:
    return [table_row(*cells), "|" + "---|" * len(cells)]


def table_row(*cells: object) -> str:
    return "| " + " | ".join(str(c) for c in cells) + " |"


def _us(seconds: float) -> str:
    return f"{seconds * 1e6:.3g}" if seconds < 1e-3 else f"{seconds * 1e6:,.0f}"


def _name(r: dict) -> str:
    return f"{r['peer']} {r['mode']}"


def _title(rows: list[dict], workload: str) -> str:
    return f"{workload} {next(r['title'] for r in rows if r['workload'] == workload)}"


def _one_each(rows: Iterable[dict], key: Callable[[dict], float]) -> list[dict]:
    """The least row of each workload and mode, in the order in which they come."""
    found: dict[tuple[str, str], dict] = {}
    for r in rows:
        least = found.setdefault((r["workload"], _name(r)), r)
        if key(r) < key(least):
            found[r["workload"], _name(r)] = r
    return list(found.values())


def _workloads(rows: list[dict]) -> list[str]:
    return list(dict.fromkeys(r["workload"] for r in rows))


def kept_notes(page: Path = PAGE) -> str:
    """The hand-written part of the page."""
    text = page.read_text() if page.exists() else ""
    if NOTES not in text:
        return ""
    return text[text.index(NOTES) : text.index(END_OF_NOTES) + len(END_OF_NOTES)] + "\n"


if __name__ == "__main__":
    saved = [json.loads(Path(name).read_text()) for name in sys.argv[1:]]
    print(markdown(saved, kept_notes()))
