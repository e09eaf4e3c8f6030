"""Batches that run over several free extents, each in an order and with a batch of its own.

An epoch counts steps here: one pass of the extent that takes the most. Where an extent stands follows from the number
of the step alone: its pass is that number divided by the steps of a pass (its turns), and the rest says which rows come
next. So a run goes on from any step as if it had not been interrupted, whichever passes are unfinished.
"""

from __future__ import annotations

from graphc.emit import control
from graphc.emit.chance import print_rows
from graphc.emit.text import Part, Text, extent, has_inner, pieces, place
from graphc.lower.training import Input, StepPlan


def parts_of_rows(step: StepPlan) -> dict[str, Part]:
    """A thread's rows of every free extent."""
    if not step.extents:
        return {step.batch: Part("first_row", "last_row")} if step.batch else {}
    return {e: Part(f"{extent(e)}_first", f"{extent(e)}_last") for e, _ in step.extents}


def print_lengths(text: Text, step: StepPlan) -> None:
    """The rows of the data along each extent, and the steps of a pass."""
    for t, (e, _) in enumerate(step.extents):
        n = extent(e)
        text.add(f"{n}_rows = C[{control.slot(t, control.ROWS_OF)}]", f"{n}_turns = ({n}_rows + {n}_cap - 1)//{n}_cap")


def print_turn(text: Text, step: StepPlan) -> None:
    """Where each extent stands in this step, and a thread's rows of its batch."""
    for e, _ in step.extents:
        n = extent(e)
        text.add(
            f"{n}_pass = (epoch*rows + at)//{n}_turns",
            f"{n}_at = (epoch*rows + at)%{n}_turns*{n}_cap",
            f"{n} = {n}_rows - {n}_at if {n}_rows - {n}_at < {n}_cap else {n}_cap",
            f"{n}_first = {n}*me//team",
            f"{n}_last = {n}*(me + 1)//team",
        )


def print_gathers(text: Text, step: StepPlan) -> None:
    """A thread's rows of the batches, from where they lie in the data; and what is drawn for them."""
    for t, (e, _) in enumerate(step.extents):
        n = extent(e)
        batched = [i for i in step.inputs if i.leaf.shape[:1] == (e,)]
        if batched:
            with text.block(f"for i in range({n}_first, {n}_last):"):
                text.add(f"row = {n}_at + i")
                with text.block(f"if C[{control.SHUFFLE}] != 0 and {n}_turns > 1:"):
                    keys = ", ".join(f"C[{control.slot(t, k)}]" for k in (control.KEY0_OF, control.KEY1_OF))
                    text.add(f"row = permuted({n}_rows, {n}_at + i, {keys}, {n}_pass)")
                for i in batched:
                    print_row_copy(text, i)
        print_rows(text, step, f"{n}_first", f"{n}_first", f"{n}_last - {n}_first", e)


def print_whole_data(text: Text, step: StepPlan) -> None:
    """All rows of every extent, in their order."""
    for t, (e, _) in enumerate(step.extents):
        text.add(f"{extent(e)} = C[{control.slot(t, control.ROWS_OF)}]")
    for i in step.inputs:
        if i.batched and has_inner(i.leaf.shape):
            with text.block(f"for i in range({extent(i.leaf.shape[0])}):"):
                text.add("row = i")
                print_row_copy(text, i)
        elif i.batched:
            n = extent(i.leaf.shape[0])
            text.add(f"copy({i.buffer.region}, {place(i.buffer)}, {i.pointer}, 0, {n}*{i.row})")


def print_row_copy(text: Text, i: Input) -> None:
    """Row ``i`` of the batch becomes row ``row`` of the data."""
    if has_inner(i.leaf.shape):
        rows = pieces(i.buffer, "i", "row")
        with text.loops(rows.heads):
            text.add(f"copy({i.buffer.region}, {rows.place}, {i.pointer}, {rows.source}, {rows.length})")
        return
    target = f"{place(i.buffer)} + i" + (f"*{i.row}" if i.row != 1 else "")
    source = "row" if i.row == 1 else f"row*{i.row}"
    if i.row == 1:
        text.add(f"{i.buffer.region}[{target}] = {i.pointer}[{source}]")
    else:
        text.add(f"copy({i.buffer.region}, {target}, {i.pointer}, {source}, {i.row})")
