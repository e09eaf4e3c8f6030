"""What a program is told, and tells, when its reads and writes are checked: ``check_bounds=True``.

A table behind the text says where the buffers lie, and with it that machine code checks every access before it is made
(:mod:`graphc.native.bounds`). Behind the control words the host writes the extent of every array; the first access that
leaves one is noted there, and the program returns.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from graphc.emit import control
from graphc.emit.cpu import Program
from graphc.lower.kernels import results_of
from graphc.lower.layout import Buffer
from graphc.lower.plan import Plan
from graphc.lower.training import StepPlan

FLAG, LINE, ARGUMENT, BUFFER, INDEX, LOW, HIGH, WRITES = range(8)
"""What is noted: whether anything is; the line of the text, the array by the number of its argument, the buffer by its
number in the table from 1 on (0 for the array as a whole), the element, the first one and the end of what may be
touched, and whether it is a write."""

HEAD = 8  # words of that, and then two an argument: its first element and its end

TABLE, WORDS = "BOUNDS", "BOUNDS_AT"
_HEAD = "# Size and place of every buffer, what a part that moves is a part of: what is read and written is checked."


def words_of(arguments: int) -> int:
    """The words behind the control words of a program with so many arguments."""
    return HEAD + 2 * arguments


def without_table(text: str) -> str:
    """A text as it is without its checks."""
    return text.partition(f"\n\n{_HEAD}")[0]


def bounded_step(program: Program, step: StepPlan) -> Program:
    """The text of a training or an evaluation with the table of its buffers."""
    buffers = [*_buffers(step.plan), *step.constants, *(i.buffer for i in step.inputs)]
    return _bounded(program, buffers, control.size_of(len(step.extents)))


def bounded_function(program: Program, plan: Plan, constants: Iterable[Buffer], sizes: int) -> Program:
    """That of a function of so many free extents."""
    return _bounded(program, [*_buffers(plan), *constants], max(sizes, 1))


def _buffers(plan: Plan) -> list[Buffer]:
    """Those of a plan, some of them several times."""
    found = [*plan.buffers.values(), *(b for k in plan.kernels for b in results_of(k))]
    return [*found, *(r.buffer for r in plan.requests), *plan.in_place]


def _bounded(program: Program, buffers: Iterable[Buffer], words: int) -> Program:
    table: dict[str, dict[str, tuple[str, ...]]] = {}
    for b in buffers:
        if b.region != b.name and not (b.moves and b.whole is None):
            place = (b.name, b.whole.name) if b.moves and b.whole is not None else (b.offset.text(),)
            table.setdefault(b.region, {}).setdefault(b.name, (b.size.text(), *place))
    lines = [_HEAD, f"{TABLE} = {{"]
    for region, found in sorted(table.items()):
        lines += [f"    {region!r}: {{", *(f"        {name!r}: {size!r}," for name, size in found.items()), "    },"]
    lines += ["}", f"{WORDS} = {words}"]
    return replace(program, text=program.text + "\n\n" + "\n".join(lines) + "\n")
