"""Programs whose reads and writes are checked: what they are told of their arrays, and what they say of a wrong one."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Sequence
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from graphc.emit import bounds as words
from graphc.errors import CompilerError
from graphc.native.loader import Program

ARRAYS = {
    "A": "working memory", "P": "the parameters", "G": "the gradients", "S": "the optimizer's states",
    "K": "the constants", "L": "rows and labels of the batch", "C": "the control words", "H": "the hyper-parameters",
    "F": "the running totals", "R": "the history", "Q": "the losses of steps", "partials": "the parts of the batch",
}  # fmt: skip


def room(program: Program) -> int:
    """Words behind the control words that a program needs for its checks; 0 where it has none."""
    return words.words_of(max(program.arguments.values())) if program.told else 0


def tell(program: Program, c: NDArray, arrays: Sequence[Any], skipped: Iterable[int] = ()) -> None:
    """Write the extents of arrays, in the order of the arguments, where a program that checks them reads them: at the
    end of the control words ``c``. Pointers lead ``skipped`` elements into the last arrays."""
    if not program.told:
        return
    noted = c[c.size - room(program) :]
    noted[:] = 0
    skips = [0] * len(arrays)
    for t, many in enumerate(reversed([*skipped]), 1):
        skips[-t] = many
    reaches = [(0, x.size) if isinstance(x, np.ndarray) else x.reach for x in arrays]
    ends = [end - many for pair, many in zip(reaches, skips, strict=True) for end in pair]
    noted[words.HEAD : words.HEAD + len(ends)] = ends


def look(program: Program, c: NDArray) -> None:
    """Refuse what a program would have read or written where nothing is.

    Raises
    ------
    CompilerError
        Naming array, place and extent, the line of the text and its equation.
    """
    if program.told:
        noted = c[c.size - room(program) :]
        if noted[words.FLAG]:
            _refuse(program, noted[: words.HEAD].tolist())


def _refuse(program: Program, noted: Sequence[int]) -> NoReturn:
    assert program.told
    text = program.told()
    lines, line = text.shown.splitlines(), noted[words.LINE]
    pointer, _ = text.arguments[noted[words.ARGUMENT]]
    name, low, high = pointer, noted[words.LOW], noted[words.HIGH]
    if noted[words.BUFFER]:
        name = list(_table(text.text)[pointer])[noted[words.BUFFER] - 1]
    place = noted[words.INDEX] - (low if noted[words.BUFFER] else 0)
    array, count = ARRAYS.get(pointer, pointer), high - low
    has = "it has 1 element" if count == 1 else f"it has {count} elements"
    lower = f" from {low} on" if low and not noted[words.BUFFER] else ""
    of = f" ({array})" if array != name else ""
    touched = f"{name}[{place}] is {'written' if noted[words.WRITES] else 'read'}, but {has}{lower}{of}"
    caption = _caption(lines, line)
    said = [
        f"internal defect: the compiled program {program.name!r} was about to touch what is not there",
        f"  {touched}",
        *([f"  {caption}"] if caption else []),
        f"  line {line}: {lines[line - 1].strip()}",
        "  nothing was touched there; the model is as it was before this part of the run",
        "  hint: this is a fault of graphc, please report it with model.source()",
    ]
    raise CompilerError("\n".join(said))


def _table(text: str) -> dict[str, dict[str, tuple[str, ...]]]:
    """The buffers of a text by array."""
    _, _, behind = text.partition(f"\n{words.TABLE} = ")
    return ast.literal_eval(behind.partition(f"\n{words.WORDS} = ")[0])


def _caption(lines: Sequence[str], line: int) -> str:
    """The equation that stands above a line of the text."""
    inside = len(lines[line - 1]) - len(lines[line - 1].lstrip())
    for above in reversed(lines[: line - 1]):
        if above.startswith("def "):
            return ""
        if above.lstrip().startswith("# ") and len(above) - len(above.lstrip()) <= inside:
            return above.strip().removeprefix("# ")
    return ""
