"""The tables of a benchmark run, in Markdown: ``python -m tests.benchmarks.report results.json``."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from tests.benchmarks.workloads import WORKLOADS

RTOL = 1e-4


def markdown(machine: dict, rows: list[dict]) -> str:
    """A page: what was measured, graphc against the best peer, and every contestant."""
    versions = sorted({f"{r['peer']} {r['version']}" for r in rows})
    return "\n".join(
        [
            "# Benchmarks",
            "",
            "Training steps on the same data, initial weights and batches. Made by `python -m tests.benchmarks.run`.",
            "",
            f"Machine: {machine['cpu']}, {machine['cores']} cores, {machine['system']}, Python {machine['python']}.",
            f"Versions: {', '.join(versions)}.",
            "",
            "## graphc and its best peer",
            "",
            "Microseconds a step: median (10th to 90th percentile) at the best thread count.",
            "A ratio below 1 means that graphc is the faster one.",
            "",
            *summary(rows),
            "",
            "## Every contestant",
            "",
            "The first step counts building, compiling and the first call (a chunk of steps, or an epoch, where a peer",
            "has no smaller one), without imports. The last column is the largest relative difference of the losses",
            f"after 0, 10 and 100 steps from those of the first peer; {RTOL:g} is allowed.",
            "",
            *details(rows),
            "",
        ]
    )


def summary(rows: list[dict]) -> list[str]:
    lines = table_head("workload", "graphc", "best peer", "its step", "ratio", "first step, s: graphc", "peer")
    for workload in _workloads(rows):
        ours, theirs = best(rows, workload, ours=True), best(rows, workload, ours=False)
        ratio = f"**{ours['median_s'] / theirs['median_s']:.2f}**" if ours and theirs else "-"
        name = f"{theirs['peer']} {theirs['mode']}" if theirs else "-"
        firsts = [f"{r['first_step_s']:.2f}" if r else "-" for r in (ours, theirs)]
        lines.append(table_row(_title(workload), timing(ours), name, timing(theirs), ratio, *firsts))
    return lines


def details(rows: list[dict]) -> list[str]:
    lines = table_head("workload", "contestant", "threads", "step, µs", "first step, s", "peak MB", "loss difference")
    for workload in _workloads(rows):
        for r in sorted((r for r in rows if r["workload"] == workload), key=lambda r: r["median_s"]):
            difference = loss_difference(r, reference(rows, workload))
            lines.append(
                table_row(
                    workload, f"{r['peer']} {r['mode']}", r["threads"], timing(r), f"{r['first_step_s']:.2f}",
                    f"{r['peak_rss_mb']:.0f}", f"{difference:.1e}" + ("" if difference <= RTOL else " **differs**"),
                )
            )
    return lines


def best(rows: list[dict], workload: str, *, ours: bool) -> dict | None:
    """The row with the least median step of graphc, or of its peers."""
    own = [r for r in rows if r["workload"] == workload and (r["peer"] == "graphc") == ours]
    return min(own, key=lambda r: r["median_s"], default=None)


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


def timing(r: dict | None) -> str:
    if r is None:
        return "-"
    return f"{_us(r['median_s'])} ({_us(r['p10_s'])} to {_us(r['p90_s'])})"


def table_head(*cells: str) -> list[str]:
    return [table_row(*cells), "|" + "---|" * len(cells)]


def table_row(*cells: object) -> str:
    return "| " + " | ".join(str(c) for c in cells) + " |"


def _us(seconds: float) -> str:
    return f"{seconds * 1e6:.3g}" if seconds < 1e-3 else f"{seconds * 1e6:,.0f}"


def _title(workload: str) -> str:
    return f"{workload} {WORKLOADS[workload].title}"


def _workloads(rows: list[dict]) -> list[str]:
    return list(dict.fromkeys(r["workload"] for r in rows))


if __name__ == "__main__":
    saved = json.loads(Path(sys.argv[1]).read_text())
    print(markdown(saved["machine"], saved["rows"]))
