"""The text of a whole training run: one function that every thread of the run executes.

Thread ``me`` of ``team`` keeps its rows of the batch from the gather to the adjoints, and computes its part of the
gradients and of the update; between two phases all threads meet.  Thread 0 keeps the books.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from graphc.emit import control
from graphc.emit.chance import print_rows, print_states, print_whole
from graphc.emit.cpu import (
    Program,
    batch_size,
    constants_of,
    extents_of,
    finish,
    finished_program,
    pointers,
    print_kernels,
    print_places,
    shared_lines,
    value_text,
)  # fmt: skip
from graphc.emit.parts import parts_of
from graphc.emit.row_blocks import PARTIALS, print_blocks
from graphc.emit.several import print_gathers, print_lengths, print_row_copy, print_turn
from graphc.emit.text import Text, extent, place
from graphc.emit.update import print_constraints, print_update
from graphc.ir.node import Node
from graphc.lower.layout import ALIGN
from graphc.lower.training import StepPlan
from graphc.optim.groups import AnyRule


def training_program(
    name: str,
    step: StepPlan,
    rule: AnyRule,
    dtype: str,
    metrics: Sequence[str],
    captions: Mapping[Node, str] | None = None,
) -> Program:
    """``train``: the whole run, one call.  Roots of the plan are "loss", the metrics and the gradients."""
    own = pointers(dtype, step, "PGSALKHCFRQ")
    partials = [(PARTIALS, f"{dtype}*")] if step.whole_batch else []
    arguments = [*own, *partials, ("me", "int64"), ("team", "int64")]
    text = Text(depth=0)
    with text.block(f"def train({', '.join(n for n, _ in arguments)}):"):
        text.add('"""One call trains: order of the rows, batch, forward, backward, update, history."""')
        _print_start(text, step.layout.total)
        text.begin_numbers()
        print_lengths(text, step)
        with text.block("while done < n_steps:"):
            _print_step(text, step, rule, dtype, list(metrics))
        _print_end(text)
    lines = shared_lines(text, step.constants, extents_of(step))
    parts = parts_of(text.lines, step.plan.kernels, step.plan.capacity)
    finished = finish(f"{name}: training", dtype, constants_of(step) + parts, lines)
    return finished_program(name, finished, "train", arguments, text, captions)


def _print_start(text: Text, total: int) -> None:
    text.add(
        "noalias()",
        f"rows = C[{control.ROWS}]",
        f"n_steps = C[{control.STEPS}]",
        f"number = C[{control.STEP}]",
        f"epoch = C[{control.EPOCH}]",
        f"at = C[{control.POSITION}]",
        f"epochs = C[{control.EPOCHS}]",
        "done = 0",
        "status = 0",
        "tick = 0",
        f"first = {total // ALIGN}*me//team*{ALIGN}",
        f"last = {total // ALIGN}*(me + 1)//team*{ALIGN}",
    )


def _print_step(
    text: Text,
    step: StepPlan,
    rule: AnyRule,
    dtype: str,
    metrics: list[str],
) -> None:
    if step.whole_batch:
        n = "batch_rows"
        text.add(f"{n} = rows - at if rows - at < {step.whole_batch} else {step.whole_batch}")
        print_whole(text, step, parts=False)
        print_blocks(text, step, dtype, ["loss", *metrics], _meet, _print_block)
    else:
        n = batch_size(text, step)
        _print_batch(text, step, n)
        if print_whole(text, step, parts=True):
            _meet(text)
        print_kernels(text, step, dtype, between=lambda: _meet(text))
        _meet(text)
    print_update(text, rule, step.layout, lambda: _meet(text))
    print_constraints(text, step.layout, lambda: _meet(text))
    print_states(text, step)
    _print_findings(text, step)
    with text.block("if me == 0:"):
        _print_books(text, step, n, metrics)
    _meet(text)
    with text.block(f"if atomic_load(C, {control.BAD_GRADIENT}) + atomic_load(C, {control.BAD_UPDATE}) != 0:"):
        text.add(f"status = {control.NONFINITE} if atomic_load(C, {control.BAD_GRADIENT}) != 0 else {control.OVERFLOW}")
        text.add("break")
    _print_advance(text, n)


def _print_batch(text: Text, step: StepPlan, n: str) -> None:
    """A thread's rows of the batch, and what is drawn for them."""
    if step.extents:
        print_turn(text, step)
        print_gathers(text, step)
        return
    text.add(f"first_row = {n}*me//team", f"last_row = {n}*(me + 1)//team")
    _print_gather(text, step)
    print_rows(text, step, "first_row", "first_row", "last_row - first_row")


def _meet(text: Text) -> None:
    """All threads wait for one another: what one wrote before, the others read after."""
    with text.block("if team > 1:"):
        text.add("tick = tick + team", f"meet(C, {control.MEET}, tick)")


def _print_gather(text: Text, step: StepPlan) -> None:
    batched = [i for i in step.inputs if i.batched]
    if not batched:
        return
    rows = "for i in range(first_row, last_row):"
    with text.block(f"if C[{control.SHUFFLE}] != 0:"), text.block(rows):
        _print_place(text, "at")
    with text.block("else:"), text.block(rows):
        text.add("L[i] = at + i")
    with text.block(rows):
        text.add("row = L[i]")
        for i in batched:
            print_row_copy(text, i)


def _print_block(text: Text, step: StepPlan, at: str, n: str) -> None:
    """The ``n`` rows of the epoch from ``at`` on: one copy where they keep the order of the data, none where the
    program is for that order alone."""
    in_place = [i.buffer for i in step.inputs if i.in_place]
    if in_place:
        print_places(text, in_place, f"({at})")
    else:
        _print_gather_of_block(text, step, at, n)
    print_rows(text, step, "0", "part_row", n)


def _print_gather_of_block(text: Text, step: StepPlan, at: str, n: str) -> None:
    batched = [i for i in step.inputs if i.batched]
    with text.block(f"if C[{control.SHUFFLE}] != 0:"), text.block(f"for i in range({n}):"):
        _print_place(text, at)
        text.add("row = L[i]")
        for i in batched:
            print_row_copy(text, i)
    with text.block("else:"):
        for i in batched:
            text.add(f"copy({i.buffer.region}, {place(i.buffer)}, {i.pointer}, ({at})*{i.row}, {n}*{i.row})")


def _print_place(text: Text, at: str) -> None:
    """Which row of the data is row ``at + i`` of the epoch."""
    text.add(f"L[i] = permuted(rows, {at} + i, C[{control.KEY0}], C[{control.KEY1}], epoch)")


def _print_findings(text: Text, step: StepPlan) -> None:
    """What a thread saw during its part of the update: numbers that are not finite, gradients above the tolerance."""
    loss = step.plan.buffers[step.plan.roots["loss"]]
    text.add("# numbers that are not finite end the run; the host then goes back to the step before")
    with text.block(f"if not (top < INF) or nonfinite({loss.region}, {place(loss)}, 1) != 0:"):
        text.add(f"atomic_store(C, {control.BAD_GRADIENT}, 1)")
    with text.block("if not (peak < INF):"):
        text.add(f"atomic_store(C, {control.BAD_UPDATE}, 1)")
    text.add("steep = float(top)")
    with text.block(f"if steep > F[{control.TOLERANCE}] and F[{control.TOLERANCE}] > 0.0:"):
        text.add(f"atomic_store(C, {control.STEEP} + epoch%2, 1)")


def _print_books(text: Text, step: StepPlan, n: str, metrics: list[str]) -> None:
    """Totals over the epoch, weighted by rows; at its end they become a line of the history.  Is the run to stop?"""
    width = 1 + len(metrics)
    count = extent(step.rows) if step.rows and not step.whole_batch else n
    rows = value_text(step, "weight") if "weight" in step.plan.roots else f"float({count})"
    text.add(f"weight = {rows}", f"F[{control.WEIGHT}] = F[{control.WEIGHT}] + weight")
    for t, root in enumerate(["loss", *metrics]):
        slot = f"F[{control.TOTALS + t}]"
        text.add(f"{slot} = {slot} + weight*{value_text(step, root)}")
    with text.block(f"if C[{control.RECORD_STEPS}] != 0:"):
        text.add(f"Q[done] = {value_text(step, 'loss')}")
    with text.block(f"if at + {n} >= rows:"):
        for t in range(width):
            slot = f"F[{control.TOTALS + t}]"
            text.add(f"R[epochs*{width} + {t}] = {slot}/F[{control.WEIGHT}]", f"{slot} = 0.0")
        text.add(f"F[{control.WEIGHT}] = 0.0")
        text.add(f"atomic_store(C, {control.STEEP} + (epoch + 1)%2, 0)")
    text.add(f"atomic_store(C, {control.VERDICT}, {control.STOPPED} if atomic_load(C, {control.STOP}) != 0 else 0)")
    text.add(f"atomic_store(C, {control.PROGRESS}, done + 1)")


def _print_advance(text: Text, n: str) -> None:
    text.add("number = number + 1", "done = done + 1", f"at = at + {n}", f"status = atomic_load(C, {control.VERDICT})")
    with text.block("if at >= rows:"):
        with text.block(f"if F[{control.TOLERANCE}] > 0.0 and atomic_load(C, {control.STEEP} + epoch%2) == 0:"):
            text.add(f"status = {control.CONVERGED}")
        text.add("at = 0", "epoch = epoch + 1", "epochs = epochs + 1")
    with text.block("if status != 0:"):
        text.add("break")


def _print_end(text: Text) -> None:
    with text.block("if me == 0:"):
        text.add(
            f"C[{control.STEP}] = number",
            f"C[{control.EPOCH}] = epoch",
            f"C[{control.POSITION}] = at",
            f"C[{control.EPOCHS}] = epochs",
            f"C[{control.DONE}] = done",
            f"C[{control.STATUS}] = status",
        )
    text.add("return status")
