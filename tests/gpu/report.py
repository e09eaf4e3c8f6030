"""A run -> lines on the terminal, tables, one page."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from tests.benchmarks.report import section, table_head, table_row, timing
from tests.gpu import field

MUST_PASS = ("numerics", "bits", "sanitizer", "benchmark", "scaling")
MARKS = {"ok": "ok", "failed": "FAILED", "missing": "missing", "left out": "left out", "note": "note"}
EMULATED = "**Emulated on the CPU with one thread: the times on this page mean nothing.**"
STATEMENT = """Microseconds a step: median (10th to 90th percentile) of calls, contestants in turns. graphc's call is a
whole fit, from the arrays of the host to the history, over as many steps as fill half a second. Goals are for an H100
and were set before anything was measured. Losses of all contestants were compared after equal numbers of steps from
equal parameters."""
ASKED = "Alternatives between which graphc has to choose: µs a step in a long launch, without what a fit costs besides."
Line = dict[str, Any]


def shown(line: Line) -> str:
    """One line of the terminal."""
    figures = ", ".join(f"{k} {_short(v)}" for k, v in line.get("figures", {}).items())
    seconds = f" [{line['seconds']:.1f} s]" if "seconds" in line else ""
    return f"{line['section']:10} {MARKS[line['status']]:9} {line['name']}: {line.get('text', figures)}{seconds}"


def _short(value: Any) -> str:
    return f"{value:.1e}" if isinstance(value, float) else str(value)


def failures(lines: list[Line]) -> list[Line]:
    """What makes a run fail."""
    return [x for x in lines if x["status"] == "failed" and x["section"] in MUST_PASS]


def page(result: dict[str, Any]) -> str:
    """The whole page."""
    lines, rows = result["lines"], result["rows"]
    found = [x for x in lines if x["section"] == "libraries"]
    timed, scaled = ([r for r in rows if r["section"] == s] for s in ("benchmark", "scaling"))
    sections = [
        section("# graphc on a GPU", EMULATED if result["emulated"] else "Made by `make gpu-test`.", []),
        section("## The machine", "", libraries_table(found)) if found else "",
        section("## Summary", verdict(lines), summary(lines, result["seconds"])),
        section("## Failed", "", listing(failures(lines))) if failures(lines) else "",
        section("## Left out", "", listing([x for x in lines if x["status"] in ("left out", "note")])),
        section("## Steps", STATEMENT, steps_table(timed)) if timed else "",
        *(section(f"## By {axis}", "", scaling_table(scaled, axis)) for axis in field.grid(result["quick"]) if scaled),
        section("## Open questions", ASKED, questions_table(lines)) if questions_table(lines)[2:] else "",
        section("## Differences from the CPU", "", numerics_table(lines)),
    ]
    return "\n".join(part for part in sections if part)


def verdict(lines: list[Line]) -> str:
    """One sentence."""
    bad = len(failures(lines))
    return f"**{bad} checks failed.**" if bad else "No check failed."


def summary(lines: list[Line], seconds: dict[str, float]) -> list[str]:
    """For each section how many lines of each status, and its time."""
    rows = table_head("section", *MARKS, "seconds")
    for name in dict.fromkeys([*seconds, *(x["section"] for x in lines)]):
        own = [x["status"] for x in lines if x["section"] == name]
        rows.append(table_row(name, *(own.count(s) for s in MARKS), f"{seconds.get(name, 0.0):.0f}"))
    return rows


def libraries_table(lines: list[Line]) -> list[str]:
    return table_head("what", "found, or what follows") + [
        table_row(x["name"], x["text"] if x["status"] == "ok" else f"{MARKS[x['status']]}: {x['text']}") for x in lines
    ]


def listing(lines: list[Line]) -> list[str]:
    return [f"- {x['section']}, {x['name']}: {x.get('text', '')}" for x in lines]


def numerics_table(lines: list[Line]) -> list[str]:
    """The largest differences of every check that passed."""
    names = ("losses", "parameters", "predict", "evaluate", "tolerance")
    rows = table_head("check", *names)
    for x in lines:
        if x["section"] == "numerics" and x["status"] == "ok":
            rows.append(table_row(x["name"], *(_short(x["figures"].get(n, "-")) for n in names)))
    return rows


def questions_table(lines: list[Line]) -> list[str]:
    """Every question with its alternatives, and which was fastest."""
    rows = table_head("question", "alternatives", "fastest")
    for x in lines:
        if x["section"] == "questions" and x["status"] == "ok":
            figures = dict(x["figures"])
            fastest = figures.pop("fastest")
            rows.append(table_row(x["name"], ", ".join(f"{k}: {v}" for k, v in figures.items()), fastest))
    return rows


def steps_table(rows: list[Line]) -> list[str]:
    """Each workload's contestants, the fastest first."""
    lines = table_head("workload", "contestant", "step, µs", "graphc / this", "goal, µs")
    for workload in dict.fromkeys(r["workload"] for r in rows):
        own = sorted((r for r in rows if r["workload"] == workload), key=lambda r: r["median_s"])
        ours = next((r["median_s"] for r in own if r["peer"] == "graphc" and not r["mode"].endswith(field.TF32)), None)
        for r in own:
            name = f"{r['peer']} {r['mode']}" + (f" (tier {r['tier']})" if "tier" in r else "")
            goal = field.GOALS.get(workload, "-") if r["peer"] == "graphc" else ""
            ratio = f"{ours / r['median_s']:.2f}" if ours else "-"
            lines.append(table_row(f"{workload} {r['title']}", name, timing(r), ratio, goal))
    return lines


def scaling_table(rows: list[Line], axis: str) -> list[str]:
    """A line for each width or batch, a column for each contestant."""
    names = [n for n in field.grid(quick=False)[axis] if any(r["workload"] == n for r in rows)]
    peers = list(dict.fromkeys((r["peer"], r["mode"]) for r in rows))
    lines = table_head("network", *(" ".join(p) for p in peers), "tier")
    for name in names:
        own = {(r["peer"], r["mode"]): r for r in rows if r["workload"] == name}
        tier = next((r["tier"] for r in own.values() if "tier" in r), "-")
        title = next(r["title"] for r in own.values())
        lines.append(table_row(title, *(timing(own.get(p)) for p in peers), tier))
    return lines


if __name__ == "__main__":
    print(page(json.loads(Path(sys.argv[1]).read_text())))
