"""Lines of a program under construction, and the part of an extent that a thread computes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

INDENT = "    "


@dataclass
class Text:
    """Lines of a program under construction."""

    lines: list[str] = field(default_factory=list)
    depth: int = 1

    def add(self, *lines: str) -> None:
        self.lines += [INDENT * self.depth + line if line else "" for line in lines]

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
        for t, head in enumerate(self.heads):
            if t == len(self.heads) - 1:
                self.text.add(*self.invariant)
            self.text.add(head)
            self.text.depth += 1

    def __exit__(self, *_: object) -> None:
        self.text.depth -= len(self.heads)


@dataclass(frozen=True)
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
