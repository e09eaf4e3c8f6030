"""A graph as text for the terminal: forward from the top down, derivatives from the bottom up."""

from __future__ import annotations

from collections.abc import Sequence

from graphc.show.diagram.boxes import KINDS, Box, full_text

LONGEST = 96


def listing(boxes: Sequence[Box]) -> str:
    """A line a box: the name, what it reads, its shape, its formula; rails show the way of the data."""
    forward = [b for b in boxes if not b.backward]
    rows = ["forward ▼", *_part(forward, boxes, "│", "▼")]
    if len(forward) < len(boxes):
        rows += ["", "derivatives ▲", *_part([b for b in reversed(boxes) if b.backward], boxes, "│", "▲")]
    return "\n".join(rows)


def _part(some: Sequence[Box], boxes: Sequence[Box], rail: str, tip: str) -> list[str]:
    rows = []
    for b in some:
        read = ", ".join(boxes[q].name.split("[")[0] for q in (*b.reads, *b.values))
        says = "; ".join(full_text(x) for x in b.lines) if len(b.lines) == 1 else b.name
        head = f"  {tip if b.lines else '○'} {says}"
        tail = "  ".join(x for x in (b.shape, KINDS[b.kind] if b.leaves and not b.lines else b.said) if x)
        rows.append(_joined(head, tail))
        rows += [f"  {rail}     {row}" for row in b.text] if len(b.lines) > 1 else []
        rows += [f"  {rail}     reads {read}"] if read else []
    return rows


def _joined(head: str, tail: str) -> str:
    if len(head) + len(tail) + 3 <= LONGEST:
        return f"{head:60}  {tail}".rstrip()
    return f"{head}\n  │     {tail}"
