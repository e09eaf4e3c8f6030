"""The table of a sweep: a line for every setting of the hyper-parameters, whatever the number of seeds."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from math import inf, isfinite
from statistics import median
from typing import Any

Row = Mapping[str, Any]


def sweep_text(
    optimizer: str,
    swept: Sequence[str],
    rows: Sequence[Row],
    seconds: float,
    threads: int,
    judged: tuple[str, float] = ("loss", 1.0),
) -> str:
    """Lines sorted by the swept values: loss before and after (median over the seeds), the lowest, the verdicts; then
    the best copy, ``judged`` by a column that is to be small (1) or large (-1)."""
    settings: dict[tuple, list[Row]] = {}
    for row in rows:
        settings.setdefault(tuple(row[name] for name in swept), []).append(row)
    head = [*swept, "loss before", "after", "verdict"]
    several = max(map(len, settings.values())) > 1
    if several:
        head = [*swept, "loss before", "after", "lowest", "verdict"]
    lines = [_cells(values, members, several) for values, members in sorted(settings.items(), key=lambda s: s[0])]
    title = f"{optimizer}: {len(rows)} copies, {sum(r['steps'] for r in rows)} steps in {seconds:.3g} s"
    return "\n".join([f"{title}, {threads} threads", *_aligned([head, *lines]), _best(swept, rows, *judged)])


def _cells(values: tuple, members: Sequence[Row], several: bool) -> list[str]:
    losses = [row["loss"] if isfinite(row["loss"]) else inf for row in members]
    numbers = [*values, median(row["initial"] for row in members), median(losses)]
    return [*map(_number, [*numbers, min(losses)] if several else numbers), _verdicts(members)]


def _verdicts(members: Sequence[Row]) -> str:
    """``good``, or ``good 3, too large 1``; and the first step that failed."""
    counts = Counter(row["verdict"] or row["stopped"] for row in members)
    text = ", ".join(counts) if len(counts) == 1 else ", ".join(f"{v} {n}" for v, n in counts.most_common())
    failed = [row["steps"] + 1 for row in members if row["stopped"] == "diverged"]
    return f"{text} (diverged at step {min(failed)})" if failed else text


def _number(value: float) -> str:
    return f"{value:.4g}" if isfinite(value) else "-"


def _aligned(lines: Sequence[Sequence[str]]) -> list[str]:
    """Numbers to the right, the verdict to the left."""
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    shown = [[cell.rjust(w) for cell, w in zip(line[:-1], widths, strict=False)] for line in lines]
    return ["  " + "   ".join([*cells, line[-1]]) for cells, line in zip(shown, lines, strict=True)]


def _best(swept: Sequence[str], rows: Sequence[Row], name: str, sign: float) -> str:
    finite = [row for row in rows if isfinite(row[name])]
    if not finite:
        return "no copy has a finite loss: sweep over smaller values"
    best = min(finite, key=lambda row: sign * row[name])
    where = ", ".join([*(f"{value} = {best[value]:.4g}" for value in swept), f"seed {best['seed']}"])
    return f"best: {where}, {name} {best[name]:.4g}{_hint(swept, rows, best)}"


def _hint(swept: Sequence[str], rows: Sequence[Row], best: Row) -> str:
    """The best value at an end of the sweep may not be the best there is."""
    if not swept or len({row[swept[0]] for row in rows}) < 3:
        return ""
    values = [row[swept[0]] for row in rows]
    if best[swept[0]] == max(values):
        return f"; it is the largest {swept[0]} of the sweep: try larger ones"
    return f"; it is the smallest {swept[0]} of the sweep: try smaller ones" if best[swept[0]] == min(values) else ""
