"""Lines of a program under construction, and the part of an extent that a thread computes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import field

from sympy import Rational

from graphc.ir.affine import Extent
from graphc.ir.letters import safe_name
from graphc.lower.kernels import Kernel
from graphc.lower.layout import Buffer, Count
from graphc.records import record

INDENT = "    "
NOTE = "# kernel "
"""Before the number of a kernel, where the formula is shown that it computes."""


@record(frozen=True)
class Piece:
    """Lines ``start`` to ``stop`` of a text, the loops of some kernels: how far in they stand, the buffers they touch,
    and the operations they take; ``apart`` says that they are a function in any case."""

    start: int
    stop: int
    depth: int
    buffers: Sequence[Buffer]
    work: int
    apart: bool = False


@record
class Text:
    """Lines of a program under construction; ``pieces`` are those that may become functions.

    ``numbers`` are those of the formulas that are no part of a program's form: they lie behind the constant arrays, so
    that another slope or penalty has the same program. They are read where :meth:`begin_numbers` was called.
    ``notes`` are the kernels beside which their formulas are shown.
    """

    lines: list[str] = field(default_factory=list)
    depth: int = 1
    pieces: list[Piece] = field(default_factory=list)
    numbers: dict[Rational, str] = field(default_factory=dict)
    start_of_numbers: tuple[int, int] = (-1, 0)
    notes: list[Kernel] = field(default_factory=list)

    def begin_numbers(self) -> None:
        """Numbers of formulas are read here, and known by name from here on."""
        self.start_of_numbers = len(self.lines), self.depth

    def number(self, value: Rational) -> str:
        """The name of a number that is passed at run time."""
        return self.numbers.setdefault(value, f"k{len(self.numbers)}")

    def end_numbers(self, first: int) -> None:
        """Print the lines that read the numbers, which lie behind ``first`` constants."""
        at, depth = self.start_of_numbers
        read = [f"{name} = K[{first + t}]" for t, name in enumerate(self.numbers.values())]
        shown = [f"# {value}" for value in self.numbers]
        self.lines[at:at] = [INDENT * depth + line for pair in zip(shown, read, strict=True) for line in pair]

    def add(self, *lines: str) -> None:
        self.lines += [INDENT * self.depth + line if line else "" for line in lines]

    def note(self, *kernels: Kernel) -> None:
        """Lines that hold the places of formulas."""
        for kernel in kernels:
            self.add(f"{NOTE}{len(self.notes)}")
            self.notes.append(kernel)

    def guarded(
        self, conditions: Sequence[str], lines: Sequence[str], statement: str, otherwise: str | None = None
    ) -> None:
        """A statement and the lines before it where all conditions hold."""
        if not conditions:
            self.add(*lines, statement)
            return
        with self.block(f"if {' and '.join(conditions)}:"):
            self.add(*lines, statement)
        if otherwise:
            with self.block("else:"):
                self.add(otherwise)

    def block(self, head: str) -> _Block:
        """``with text.block("for i in range(n):"): ...``."""
        self.add(head)
        return _Block(self)

    def loops(self, heads: Sequence[str], invariant: Sequence[str] = ()) -> _Loops:
        """Nested blocks; ``invariant`` are lines to print just outside the innermost."""
        return _Loops(self, heads, invariant)


class _Block:
    def __init__(self, text: Text) -> None:
        self.text = text

    def __enter__(self) -> None:
        self.text.depth += 1

    def __exit__(self, *_: object) -> None:
        self.text.depth -= 1


class _Loops:
    """Nested ``for`` heads as one context."""

    def __init__(self, text: Text, heads: Sequence[str], invariant: Sequence[str]) -> None:
        self.text, self.heads, self.invariant = text, heads, invariant

    def __enter__(self) -> None:
        self.text.add(*(() if self.heads else self.invariant))
        for t, head in enumerate(self.heads):
            if t == len(self.heads) - 1:
                self.text.add(*self.invariant)
            self.text.add(head)
            self.text.depth += 1

    def __exit__(self, *_: object) -> None:
        self.text.depth -= len(self.heads)


@record(frozen=True)
class Part:
    """The part of an extent that a thread computes: program text of its start, stop and length."""

    start: str = "0"
    stop: str = ""

    @property
    def bounds(self) -> str:
        """Arguments of ``range``."""
        return self.stop if self.start == "0" else f"{self.start}, {self.stop}"

    @property
    def length(self) -> str:
        return self.stop if self.start == "0" else f"{self.stop} - {self.start}"

    def times(self, width: str) -> Part:
        """The same part, counted in elements of rows of some width."""
        if width == "1":
            return self
        return Part("0" if self.start == "0" else f"{self.start}*{width}", f"{self.stop}*{width}")


BLOCK = Part("block", "block_end")
"""What goes block by block: of queries, where their scores do."""
KEYS = "keys_end"  # where the keys end that a block of queries sees


def extent(e: Extent) -> str:
    """Program text of a loop bound."""
    return safe_name(e) if isinstance(e, str) else str(e)


def stride(c: Count) -> str:
    """Program text of a stride."""
    return c.text()


def factor(c: Count) -> str:
    """A stride as a factor."""
    return c.text() if simple(c.text()) else f"({c.text()})"


def place(buffer: Buffer) -> str:
    """The name of the constant that holds a buffer's offset; buffers behind a pointer of their own start at 0."""
    return buffer.name if buffer.region != buffer.name else "0"


def offset(base: str, rest: str) -> str:
    """A place in a region: where a buffer begins, and how far in."""
    if base == "0":
        return rest or "0"
    return f"{base} + {rest}" if rest else base


@record(frozen=True)
class Rows:
    """The loops over the pieces of a row that lie side by side, where a piece begins in a buffer and in an array of the
    same row, and how long it is.  A buffer has room for more than there is along an inner free extent."""

    heads: list[str]
    place: str
    source: str
    length: str


def pieces(b: Buffer, i: str, row: str) -> Rows:
    """Row ``i`` of a buffer and row ``row`` of an array, behind whose first axis there is another free one."""
    shape = b.extents
    last = max(t for t, e in enumerate(shape) if isinstance(e, str))
    outer = [t for t in range(1, last) if shape[t] != 1]
    width = Count.of(shape[last + 1 :]).text()
    at, source = [place(b), f"{i}*{factor(b.strides[0])}"], []
    for t, own in [(0, row), *((t, f"i{t}") for t in outer)]:
        behind = [extent(e) for e in shape[t + 1 : last + 1] if e != 1]
        source.append("*".join([own, *behind, *([width] if width != "1" else [])]))
        at += [f"{own}*{factor(b.strides[t])}"] if t else []
    heads = [f"for i{t} in range({extent(shape[t])}):" for t in outer]
    length = extent(shape[last]) + (f"*{width}" if width != "1" else "")
    return Rows(heads, " + ".join(at), " + ".join(source), length)


def has_inner(extents: Sequence[Extent]) -> bool:
    """Whether there is a free extent behind the first axis."""
    return any(isinstance(e, str) for e in extents[1:])


def simple(text: str) -> bool:
    """True when a text needs no parentheses as a factor."""
    return text.replace("_", "").isalnum() or (text.startswith("(") and text.find(")") == len(text) - 1)
