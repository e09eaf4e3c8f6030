"""What a training step draws at its start, and the states that it sets at its end."""

from __future__ import annotations

from graphc.emit import control
from graphc.emit.text import Text, has_inner, pieces, place
from graphc.lower.layout import Count
from graphc.lower.training import Draw, StepPlan


def print_rows(text: Text, step: StepPlan, at: str, first: str, rows: str, along: str | None = None) -> None:
    """Draw ``rows`` rows of every random tensor that has rows, of the extent ``along`` where there are several, from
    row ``first`` of the batch on, to row ``at``."""
    for d in step.draws:
        if not d.batched or along not in (None, d.leaf.shape[0]):
            continue
        if has_inner(d.leaf.shape):
            part = pieces(d.buffer, f"({at} + i)", f"({first} + i)")
            with text.loops([f"for i in range({rows}):", *part.heads]):
                text.add(_call(d, part.place, part.source, part.length))
        else:
            text.add(_call(d, f"{place(d.buffer)}{_times(at, d.row, ' + ')}", _times(first, d.row) or "0",
                           _times(rows, d.row)))  # fmt: skip


def print_whole(text: Text, step: StepPlan, parts: bool) -> bool:
    """Draw the random tensors without rows, with ``parts`` this thread's part of each; whether there are any."""
    whole = [d for d in step.draws if not d.batched]
    for d in whole:
        lo, length = "0", str(d.row)
        if parts:
            text.add(f"lo = {d.row}*me//team", f"hi = {d.row}*(me + 1)//team")
            lo, length = "lo", "hi - lo"
        text.add(_call(d, f"{place(d.buffer)}{' + lo' if parts else ''}", lo, length))
    return bool(whole)


def _times(number: str, row: int, head: str = "") -> str:
    if number == "0":
        return ""
    return f"{head}{number}" if row == 1 else f"{head}{_grouped(number)}*{row}"


def _grouped(text: str) -> str:
    return f"({text})" if " " in text else text


def _call(d: Draw, at: str, first: str, count: str) -> str:
    kind, limit = d.leaf.value.kind, d.leaf.value.limit
    key = f"C[{control.KEY0}], C[{control.KEY1}], at, epoch, {d.number}"
    return f"random_{kind}({d.buffer.region}, {at}, {first}, {count}, {limit}, {key})"


def print_states(text: Text, step: StepPlan) -> None:
    """Every state becomes what its update gave: each thread sets its own elements."""
    for leaf, start in step.layout.offsets.items():
        if leaf.kind != "state":
            continue
        new, end = step.plan.buffers[step.plan.roots[f"state:{leaf.name}"]], start + Count.of(leaf.shape).at({})
        text.add(f"# state {leaf.name}")
        text.add(f"lo = first if first > {start} else {start}", f"hi = last if last < {end} else {end}")
        with text.block("for t in range(lo, hi):"):
            text.add(f"theta = {new.region}[{place(new)} + t - {start}]", "P[t] = theta")
            text.add("peak = rlargest(peak, theta)")
