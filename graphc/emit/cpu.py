"""The text of CPU programs: what they share, evaluation and prediction, and compiled functions.

Each is one function of raw pointers.  P parameters, G gradients, S optimizer state, A arena, L row order and labels,
K constant arrays, ``*_data`` the data, C the control words of :mod:`graphc.emit.control`, F their floating-point
companions, R the history, Q the loss of every step.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import field
from functools import cached_property, partial

from graphc.emit import control
from graphc.emit.loops import KernelPrinter
from graphc.emit.parts import parts_of
from graphc.emit.several import parts_of_rows, print_whole_data
from graphc.emit.shared import overwritten_first, share
from graphc.emit.text import NOTE, Text, extent, place
from graphc.ir.letters import PRIMITIVES
from graphc.ir.node import Node
from graphc.ir.scalar import FUNCTIONS
from graphc.lower.cost import product_method
from graphc.lower.kernels import Kernel, caption_of, results_of
from graphc.lower.layout import ALIGN, Buffer, Count
from graphc.lower.training import StepPlan
from graphc.records import record

_NOTED = re.compile(rf"^( *){NOTE}(\d+)$", re.MULTILINE)


@record(frozen=True)
class Program:
    """The text of a program and the types of its entry's arguments; ``numbers`` are those that K has behind its
    arrays. Formulas of the kernels in ``notes`` are printed when somebody reads them, from ``captions`` if there are
    any."""

    name: str
    text: str
    entry: str
    arguments: tuple[tuple[str, str], ...]
    numbers: tuple[float, ...] = ()
    notes: tuple[Kernel, ...] = ()
    captions: Mapping[Node, str] = field(default_factory=dict)

    @cached_property
    def shown(self) -> str:
        """The text for a reader: every kernel below the formula that it computes."""
        return _NOTED.sub(lambda m: f"{m[1]}# {caption_of(self.notes[int(m[2])], self.captions)}", self.text)

    @property
    def signature(self) -> tuple[str, ...]:
        return tuple(kind for _, kind in self.arguments)


def finished_program(
    name: str,
    finished: str,
    entry: str,
    arguments: Sequence[tuple[str, str]],
    text: Text,
    captions: Mapping[Node, str] | None,
) -> Program:
    """A program whose lines were those of ``text``."""
    numbers = tuple(map(float, text.numbers))  # in the order they lie in
    captions = {} if captions is None else captions  # to ask whether there are some is to have them written
    return Program(name, finished, entry, tuple(arguments), numbers, tuple(text.notes), captions)


def finish(title: str, dtype: str, constants: Sequence[tuple[str, str]], body: Sequence[str]) -> str:
    """The module text: docstring, imports of the primitives the body calls, constants, body."""
    called = set(re.findall(r"\b[a-z_]\w*(?=\()", "\n".join(body)))
    names = sorted(called & {*FUNCTIONS, *PRIMITIVES} - {"stop_gradient"})  # it stands in comments alone
    whole = ", int64" if "int64" in called else ""
    lines = [f'"""{title}"""', "import math", "", f"from numpy import {dtype} as f{whole}", ""]
    lines += ["from graphc.primitives.names import ("]
    lines += [f"    {', '.join(names[i : i + 10])}," for i in range(0, len(names), 10)]
    lines += [")", "", "INF = f(math.inf)"]
    lines += [f"{name} = {value}" for name, value in constants]
    return "\n".join([*lines, "", "", *body]) + "\n"


def pointers(dtype: str, step: StepPlan, names: str) -> list[tuple[str, str]]:
    kinds = {"L": "int64*", "C": "int64*", "H": "float64*", "F": "float64*", "R": "float64*", "Q": "float64*"}
    found = [(n, kinds.get(n, f"{dtype}*")) for n in names]
    return found + [(i.pointer, "int64*" if i.integer else f"{dtype}*") for i in step.inputs]


def constants_of(step: StepPlan) -> list[tuple[str, str]]:
    """Offsets of every buffer, and the capacity of the batch."""
    found: dict[str, str] = {}
    buffers = [*step.plan.buffers.values(), *step.constants]
    buffers += [b for k in step.plan.kernels for b in results_of(k)] + step.plan.in_place
    for b in buffers:
        if b.region != b.name and not b.moves:
            found.setdefault(b.name, b.offset.text())
    found |= {f"{extent(e)}_cap": str(capacity) for e, capacity in step.capacities.items()}
    return list(found.items())


def batch_size(text: Text, step: StepPlan) -> str:
    """Print the rows of this batch, under the name of the free extent, which is returned; "1" where there is none, and
    of several, whose steps are counted."""
    if not step.batch:
        return "1"
    n = extent(step.batch)
    text.add(f"{n} = rows - at if rows - at < {n}_cap else {n}_cap")
    return n


def print_kernels(
    text: Text,
    step: StepPlan,
    dtype: str,
    between: Callable[[], None] | None = None,
) -> None:
    """Print the kernels of a step; with ``between``, divided among threads, and that before every phase but phase 0.

    Phase 0 reads what a thread has gathered itself; it may be empty.
    """
    method = partial(product_method, capacity=step.plan.capacity, dtype=dtype)
    plan = step.plan
    rows = None if between is None else parts_of_rows(step)
    printer = KernelPrinter(text, plan.buffers, method, rows, plan.capacity)
    for phase in plan.phases:
        if phase[0].phase and between is not None:
            between()
        printer.phase(phase)


def shared_lines(text: Text, constants: Sequence[Buffer], sizes: Sequence[str]) -> list[str]:
    """The functions of nests that occur several times, and the program that calls them; ``sizes`` are the names of free
    extents."""
    overwritten_first(text)
    functions = share(text, [*sizes, *text.numbers.values()])
    text.end_numbers(size_of_constants(constants))
    return functions + text.lines


def size_of_constants(constants: Sequence[Buffer]) -> int:
    """Where the numbers of formulas begin, behind the constant arrays."""
    return max((b.offset.at({}) + -(-b.size.at({}) // ALIGN) * ALIGN for b in constants), default=0)


def extents_of(step: StepPlan) -> list[str]:
    """The names of the free extents that nests read, and those of a thread's rows of each of several."""
    own = [extent(e) for e in step.capacities]
    parts = parts_of_rows(step).values() if step.extents else ()
    return [*own, *(word for part in parts for word in (part.start, part.stop))]


def value_text(step: StepPlan, root: str) -> str:
    """A scalar root, in float64."""
    b = step.plan.buffers[step.plan.roots[root]]
    return f"float({b.region}[{place(b)}])"


def evaluation_program(
    name: str,
    step: StepPlan,
    dtype: str,
    outputs: Mapping[str, str],
    scalars: Sequence[str],
    captions: Mapping[Node, str] | None = None,
) -> Program:
    """``evaluate``: rows in chunks; totals of scalar roots go to F (weighted by rows), outputs to their pointers."""
    arguments = pointers(dtype, step, "PALKCF") + [(p, f"{dtype}*") for p in outputs.values()]
    text, whole = Text(depth=0), bool(step.extents)
    with text.block(f"def evaluate({', '.join(n for n, _ in arguments)}):"):
        text.add('"""Rows in chunks: forward, totals of the scalars, rows of the outputs."""', "noalias()")
        text.begin_numbers()
        text.add(f"rows = C[{control.ROWS}]", "at = 0")
        with text.block("while at < rows:"):
            n = batch_size(text, step)
            print_whole_data(text, step) if whole else _rows_in_order(text, step)
            print_kernels(text, step, dtype)
            for root, pointer in outputs.items():
                if root not in step.in_place:
                    _write_rows(text, step, root, pointer, n)
            text.add(f"F[{control.WEIGHT}] = F[{control.WEIGHT}] + float({n})")
            for t, root in enumerate(scalars):
                slot = f"F[{control.TOTALS + t}]"
                text.add(f"{slot} = {slot} + float({n})*{value_text(step, root)}")
            text.add(f"at = at + {n}" if step.batch else "at = rows")
        text.add("return 0")
    lines = shared_lines(text, step.constants, extents_of(step))
    parts = parts_of(text.lines, step.plan.kernels, step.plan.capacity)
    finished = finish(f"{name}: evaluation", dtype, constants_of(step) + parts, lines)
    return finished_program(name, finished, "evaluate", arguments, text, captions)


def _rows_in_order(text: Text, step: StepPlan) -> None:
    """Where the rows of this batch lie in the data and in the outputs."""
    print_places(text, [*(i.buffer for i in step.inputs if i.in_place), *step.in_place.values()], "at")


def print_places(text: Text, moving: Sequence[Buffer], at: str) -> None:
    """Where buffers that move begin: at row ``at`` of what they lie in."""
    for b in moving:
        width = Count.of(b.extents[1:]).at({})
        text.add(f"{b.name} = {at}" + (f"*{width}" if width != 1 else ""))


def _write_rows(text: Text, step: StepPlan, root: str, pointer: str, n: str) -> None:
    """Copy the rows of an output where they belong: behind its last free axis it lies in one piece, the axes before
    that are loops, since the arena has room for more rows than there are."""
    b = step.plan.buffers[step.plan.roots[root]]
    shape = b.extents
    many = lambda e: (extent(e) if step.extents else "rows") if isinstance(e, str) else str(e)
    last = max((t for t, e in enumerate(shape) if isinstance(e, str)), default=-1)
    width = Count.of(shape[last + 1 :]).at({})
    outer = [t for t in range(last) if shape[t] != 1]
    source, target = [place(b)], [f"at*{width}"] if last >= 0 else ["0"]
    for t in outer:
        source.append(f"i{t}*{_grouped(b.strides[t].text())}")
        own = f"(at + i{t})" if isinstance(shape[t], str) else f"i{t}"
        between = [many(e) for e in shape[t + 1 : last + 1] if e != 1]
        target.append("*".join([own, *between, *([str(width)] if width != 1 else [])]))
    n = extent(shape[last]) if step.extents else n
    count = f"{n}*{width}" if last >= 0 else str(width)
    with text.loops([f"for i{t} in range({extent(shape[t])}):" for t in outer]):
        text.add(f"copy({pointer}, {' + '.join(target)}, {b.region}, {' + '.join(source)}, {count})")


def _grouped(text: str) -> str:
    return f"({text})" if " " in text else text


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
    results = [b for k in plan.kernels for b in results_of(k)]
    buffers = {b.name: b for b in [*plan.buffers.values(), *results, *constants, *plan.in_place]}
    text = Text(depth=0)
    with text.block(f"def call({', '.join(n for n, _ in arguments)}):"):
        text.add('"""Outputs from inputs."""', "noalias()")
        text.begin_numbers()
        for t, size in enumerate(sizes):
            text.add(f"{extent(size)} = C[{t}]", f"{extent(size)}_cap = C[{t}]")
        text.add(*(f"{b.name} = {b.offset.text()}" for b in buffers.values() if b.region != b.name and not b.moves))
        method = partial(product_method, capacity=plan.capacity, dtype=dtype)
        printer = KernelPrinter(text, plan.buffers, method)
        printer.phase(plan.kernels)
        text.add("return 0")
    lines = shared_lines(text, constants, [*map(extent, sizes), *(f"{extent(size)}_cap" for size in sizes)])
    finished = finish(f"{name}: function", dtype, parts_of(text.lines, plan.kernels, plan.capacity), lines)
    return finished_program(name, finished, "call", arguments, text, captions)
