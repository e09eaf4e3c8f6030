"""The text of CPU programs: the whole training run, evaluation and prediction, and compiled functions.

Each is one function of raw pointers.  P parameters, G gradients, S optimizer state, A arena, L row order and labels,
K constant arrays, ``*_data`` the data, C the control words of :mod:`graphc.emit.control`, F their floating-point
companions, R the history, Q the loss of every step.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from graphc.emit import control
from graphc.emit.loops import KernelPrinter, Text, extent, place
from graphc.emit.update import print_update
from graphc.ir.letters import PRIMITIVES
from graphc.ir.node import Node
from graphc.ir.scalar import FUNCTIONS
from graphc.lower.cost import product_method
from graphc.lower.layout import Buffer, Count
from graphc.lower.training import Input, StepPlan
from graphc.optim.rules import Rule


@dataclass(frozen=True)
class Program:
    """The text of a program and the types of its entry's arguments."""

    name: str
    text: str
    entry: str
    arguments: tuple[tuple[str, str], ...]

    @property
    def signature(self) -> tuple[str, ...]:
        return tuple(kind for _, kind in self.arguments)


def finish(title: str, dtype: str, constants: Sequence[tuple[str, str]], body: Sequence[str]) -> str:
    """The module text: docstring, imports of the primitives the body calls, constants, body."""
    called = set(re.findall(r"\b[a-z_]\w*(?=\()", "\n".join(body)))
    names = sorted(called & {*FUNCTIONS, *PRIMITIVES})
    lines = [f'"""{title}"""', "import math", "", f"from numpy import {dtype} as f", ""]
    lines += ["from graphc.run.primitives.names import ("]
    lines += [f"    {', '.join(names[i : i + 10])}," for i in range(0, len(names), 10)]
    lines += [")", "", "INF = f(math.inf)"]
    lines += [f"{name} = {value}" for name, value in constants]
    return "\n".join([*lines, "", "", *body]) + "\n"


def _pointers(dtype: str, step: StepPlan, names: str) -> list[tuple[str, str]]:
    kinds = {"L": "int64*", "C": "int64*", "H": "float64*", "F": "float64*", "R": "float64*", "Q": "float64*"}
    found = [(n, kinds.get(n, f"{dtype}*")) for n in names]
    return found + [(i.pointer, "int64*" if i.integer else f"{dtype}*") for i in step.inputs]


def _constants(step: StepPlan) -> list[tuple[str, str]]:
    """Offsets of every buffer, and the capacity of the batch."""
    found: dict[str, str] = {}
    buffers = [*step.plan.buffers.values(), *step.constants]
    buffers += [b for k in step.plan.kernels for b in (k.out, getattr(k, "packed", None)) if b is not None]
    for b in buffers:
        if b.region != b.name:
            found.setdefault(b.name, b.offset.text())
    if step.batch:
        found[f"{extent(step.batch)}_cap"] = str(step.capacity)
    return list(found.items())


def training_program(
    name: str,
    step: StepPlan,
    rule: Rule,
    dtype: str,
    metrics: Sequence[str],
    captions: Mapping[Node, str] | None = None,
) -> Program:
    """``train``: the whole run, one call.  Roots of the plan are "loss", the metrics and the gradients."""
    arguments = _pointers(dtype, step, "PGSALKHCFRQ")
    text = Text(depth=0)
    with text.block(f"def train({', '.join(n for n, _ in arguments)}):"):
        text.add('"""One call trains: order of the rows, batch, forward, backward, update, history."""')
        _train_body(text, step, rule, dtype, list(metrics), captions or {})
    finished = finish(f"{name}: training", dtype, _constants(step), text.lines)
    return Program(name, finished, "train", tuple(arguments))


def _train_body(
    text: Text, step: StepPlan, rule: Rule, dtype: str, metrics: list[str], captions: Mapping[Node, str]
) -> None:
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
    )
    with text.block("while done < n_steps:"):
        n = _batch_size(text, step)
        _gather(text, step, n)
        _kernels(text, step, dtype, captions)
        _check_finite(text, step)
        print_update(text, rule, step.layout.total)
        _record(text, step, n, metrics)
    text.add(
        f"C[{control.STEP}] = number",
        f"C[{control.EPOCH}] = epoch",
        f"C[{control.POSITION}] = at",
        f"C[{control.EPOCHS}] = epochs",
        f"C[{control.DONE}] = done",
        f"C[{control.STATUS}] = status",
        "return status",
    )


def _batch_size(text: Text, step: StepPlan) -> str:
    """The rows of this batch, under the name of the free extent."""
    if not step.batch:
        return "1"
    n = extent(step.batch)
    text.add(f"{n} = rows - at if rows - at < {n}_cap else {n}_cap")
    return n


def _gather(text: Text, step: StepPlan, n: str) -> None:
    batched = [i for i in step.inputs if i.batched]
    if not batched:
        return
    with text.block(f"if C[{control.SHUFFLE}] != 0:"), text.block(f"for i in range({n}):"):
        text.add(f"L[i] = permuted(rows, at + i, C[{control.KEY0}], C[{control.KEY1}], epoch)")
    with text.block("else:"), text.block(f"for i in range({n}):"):
        text.add("L[i] = at + i")
    with text.block(f"for i in range({n}):"):
        text.add("row = L[i]")
        for i in batched:
            _copy_row(text, i)


def _copy_row(text: Text, i: Input) -> None:
    target = f"{place(i.buffer)} + i" + (f"*{i.row}" if i.row != 1 else "")
    source = "row" if i.row == 1 else f"row*{i.row}"
    if i.row == 1:
        text.add(f"{i.buffer.region}[{target}] = {i.pointer}[{source}]")
    else:
        text.add(f"copy({i.buffer.region}, {target}, {i.pointer}, {source}, {i.row})")


def _kernels(text: Text, step: StepPlan, dtype: str, captions: Mapping[Node, str]) -> None:
    printer = KernelPrinter(text, step.plan.buffers, lambda p: product_method(p, step.plan.capacity, dtype), captions)
    for kernel in step.plan.kernels:
        printer.kernel(kernel)


def _check_finite(text: Text, step: StepPlan) -> None:
    """Stop before the update when the loss or a gradient is not finite: the parameters stay as they are."""
    loss = step.plan.buffers[step.plan.roots["loss"]]
    text.add("# a step whose loss or gradient is not finite changes nothing and ends the run")
    value = f"{loss.region}, {place(loss)}, 1"
    with text.block(f"if nonfinite({value}) != 0 or nonfinite(G, 0, {step.layout.total}) != 0:"):
        text.add(f"status = {control.NONFINITE}", "break")
    with text.block(f"if F[{control.TOLERANCE}] > 0.0:"):
        text.add("top = f(0.0)")
        with text.block(f"for t in range({step.layout.total}):"):
            text.add("top = rmax(top, absolute(G[t]))")
        text.add("top_64 = float(top)")
        with text.block(f"if top_64 > F[{control.GRADIENT}]:"):
            text.add(f"F[{control.GRADIENT}] = top_64")


def _value(step: StepPlan, root: str) -> str:
    b = step.plan.buffers[step.plan.roots[root]]
    element = f"{b.region}[{place(b)}]"
    return f"float({element})"


def _record(text: Text, step: StepPlan, n: str, metrics: list[str]) -> None:
    """Totals over the epoch, weighted by rows; at the end of an epoch they become a line of the history."""
    width = 1 + len(metrics)
    rows = _value(step, "weight") if "weight" in step.plan.roots else f"float({n})"
    text.add(f"weight = {rows}", f"F[{control.WEIGHT}] = F[{control.WEIGHT}] + weight")
    for t, root in enumerate(["loss", *metrics]):
        slot = f"F[{control.TOTALS + t}]"
        text.add(f"{slot} = {slot} + weight*{_value(step, root)}")
    with text.block(f"if C[{control.RECORD_STEPS}] != 0:"):
        text.add(f"Q[done] = {_value(step, 'loss')}")
    text.add("number = number + 1", "done = done + 1", f"at = at + {n}")
    with text.block("if at >= rows:"):
        for t in range(width):
            slot = f"F[{control.TOTALS + t}]"
            text.add(f"R[epochs*{width} + {t}] = {slot}/F[{control.WEIGHT}]", f"{slot} = 0.0")
        text.add(f"F[{control.WEIGHT}] = 0.0", "at = 0", "epoch = epoch + 1", "epochs = epochs + 1")
        with text.block(f"if F[{control.TOLERANCE}] > 0.0 and F[{control.GRADIENT}] <= F[{control.TOLERANCE}]:"):
            text.add(f"status = {control.CONVERGED}", "break")
        text.add(f"F[{control.GRADIENT}] = 0.0")
    text.add(f"atomic_store(C, {control.PROGRESS}, done)")
    with text.block(f"if atomic_load(C, {control.STOP}) != 0:"):
        text.add(f"status = {control.STOPPED}", "break")


def evaluation_program(
    name: str,
    step: StepPlan,
    dtype: str,
    outputs: Mapping[str, str],
    scalars: Sequence[str],
    captions: Mapping[Node, str] | None = None,
) -> Program:
    """``evaluate``: rows in chunks; totals of scalar roots go to F (weighted by rows), outputs to their pointers."""
    arguments = _pointers(dtype, step, "PALKCF") + [(p, f"{dtype}*") for p in outputs.values()]
    text = Text(depth=0)
    with text.block(f"def evaluate({', '.join(n for n, _ in arguments)}):"):
        text.add('"""Rows in chunks: forward, totals of the scalars, rows of the outputs."""', "noalias()")
        text.add(f"rows = C[{control.ROWS}]", "at = 0")
        with text.block("while at < rows:"):
            n = _batch_size(text, step)
            _rows_in_order(text, step, n)
            _kernels(text, step, dtype, captions or {})
            for root, pointer in outputs.items():
                _write_rows(text, step, root, pointer, n)
            text.add(f"F[{control.WEIGHT}] = F[{control.WEIGHT}] + float({n})")
            for t, root in enumerate(scalars):
                slot = f"F[{control.TOTALS + t}]"
                text.add(f"{slot} = {slot} + float({n})*{_value(step, root)}")
            text.add(f"at = at + {n}" if step.batch else "at = rows")
        text.add("return 0")
    finished = finish(f"{name}: evaluation", dtype, _constants(step), text.lines)
    return Program(name, finished, "evaluate", tuple(arguments))


def _rows_in_order(text: Text, step: StepPlan, n: str) -> None:
    for i in step.inputs:
        if i.batched and i.row == 1:
            with text.block(f"for i in range({n}):"):
                text.add(f"{i.buffer.region}[{place(i.buffer)} + i] = {i.pointer}[at + i]")
        elif i.batched:
            text.add(f"copy({i.buffer.region}, {place(i.buffer)}, {i.pointer}, at*{i.row}, {n}*{i.row})")


def _write_rows(text: Text, step: StepPlan, root: str, pointer: str, n: str) -> None:
    node = step.plan.roots[root]
    b = step.plan.buffers[node]
    by_row = bool(node.shape) and node.shape[0] == step.batch
    width = Count.of([e for e in (node.shape[1:] if by_row else node.shape) if isinstance(e, int)]).at({})
    start = f"at*{width}" if by_row else "0"
    count = f"{n}*{width}" if by_row else str(width)
    text.add(f"copy({pointer}, {start}, {b.region}, {place(b)}, {count})")


def function_program(
    name: str,
    plan,
    dtype: str,
    pointers: Sequence[tuple[str, str]],
    sizes: Sequence[str],
    constants: Sequence[Buffer],
    captions: Mapping[Node, str] | None = None,
) -> Program:
    """``call``: outputs from inputs for one set of arrays; ``sizes`` are the free extents, in the order of C."""
    arguments = [("A", f"{dtype}*"), ("K", f"{dtype}*"), ("C", "int64*"), *pointers]
    buffers = {b.name: b for b in [*plan.buffers.values(), *(k.out for k in plan.kernels), *constants]}
    buffers |= {k.packed.name: k.packed for k in plan.kernels if getattr(k, "packed", None) is not None}
    text = Text(depth=0)
    with text.block(f"def call({', '.join(n for n, _ in arguments)}):"):
        text.add('"""Outputs from inputs."""', "noalias()")
        for t, size in enumerate(sizes):
            text.add(f"{extent(size)} = C[{t}]", f"{extent(size)}_cap = C[{t}]")
        text.add(*(f"{b.name} = {b.offset.text()}" for b in buffers.values() if b.region != b.name))
        printer = KernelPrinter(text, plan.buffers, lambda p: product_method(p, plan.capacity, dtype), captions)
        for kernel in plan.kernels:
            printer.kernel(kernel)
        text.add("return 0")
    return Program(name, finish(f"{name}: function", dtype, [], text.lines), "call", tuple(arguments))
