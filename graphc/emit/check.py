"""Is every name of a program assigned before it is read, on every path, within the loop that reads it?

What a loop assigns is gone behind it, its index too, but for names that had a value before; what only one branch
assigns is gone behind the branches; and what a kernel names for itself ends at the comment that begins the next kernel.
One pass over the lines: a fraction of a millisecond.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

_NAME = re.compile(r"\b[^\W\d]\w*")
_OWN = re.compile(r"[auc]\d+|a\d+_log|s|shift|scale")  # what a kernel names for itself
_DECIDED = re.compile(r"\b(?:if|and) (?:-?\d+|\(-?\d+\) % \d+) (?:>=|==|!=) 0\b")
_WORDS = frozenset("and break def else float for if in int not or range return while min max".split())


@dataclass
class _Block:
    """Lines under one head: how deep the head stands, its word, the names that are new, whether the block is left."""

    depth: int
    word: str
    index: str = ""
    new: set[str] = field(default_factory=set)
    left: bool = False


def unassigned(text: str) -> list[str]:
    """A sentence for every line of a program that reads a name to which no assignment leads."""
    head, _, body = text.partition("\ndef ")
    known = {*_WORDS, *_NAME.findall("\n".join(line for line in head.splitlines() if '"""' not in line))}
    lines = ("def " + body).splitlines()
    return _Reader(known, head.count("\n") + 2).read(lines)


def decided(text: str) -> list[str]:
    """A sentence for every condition of numbers alone: what stands behind it is always, or never, computed."""
    lines = enumerate(text.splitlines(), 1)
    return [f"line {n}, {line.strip()}: a condition is decided" for n, line in lines if _DECIDED.search(line)]


class _Reader:
    """The names that are known, line by line, and the blocks around the line."""

    def __init__(self, known: set[str], first: int) -> None:
        self.known, self.first = known, first
        self.blocks = [_Block(-1, "")]
        self.own: set[str] = set()
        self.other: _Block | None = None  # the branch before an else
        self.found: list[str] = []

    def read(self, lines: list[str]) -> list[str]:
        for number, line in enumerate(lines, self.first):
            text = line.lstrip()
            if not text or text.startswith('"""'):
                continue
            if text.startswith("#"):
                self.known -= self.own
                self.own.clear()
                continue
            self._line(number, text, (len(line) - len(text)) // 4)
        return self.found

    def _line(self, number: int, text: str, depth: int) -> None:
        while self.blocks[-1].depth >= depth:
            self._close(self.blocks.pop(), text == "else:")
        if text.endswith(":"):
            self._head(number, text, depth)
            return
        target, equals, value = text.partition(" = ")
        assigns = bool(equals) and target.isidentifier()
        self._look(number, text, value if assigns else text)
        if assigns:
            self._assign(target)
        elif text == "break" or text.startswith("return"):
            self.blocks[-1].left = True

    def _head(self, number: int, text: str, depth: int) -> None:
        word, _, rest = text.partition(" ")
        block = _Block(depth, word.rstrip(":"))
        if word == "def":
            self.known.update(_NAME.findall(rest))
        elif word == "for":
            block.index, _, rest = rest.partition(" in ")
            if any(b.index == block.index for b in self.blocks):
                self.found.append(f"line {number}, {text}: {block.index} is the index of a loop around it")
            self._look(number, text, rest)
        else:
            self._look(number, text, rest)
        self.blocks.append(block)
        if block.index:
            block.new.add(block.index)
            self.known.add(block.index)

    def _look(self, number: int, text: str, value: str) -> None:
        names = _NAME.findall(value)
        if not self.known.issuperset(names):
            unknown = ", ".join(dict.fromkeys(n for n in names if n not in self.known))
            self.found.append(f"line {number}, {text}: {unknown} is read, but no assignment leads here")

    def _assign(self, name: str) -> None:
        if name not in self.known:
            self.known.add(name)
            self.blocks[-1].new.add(name)
        if _OWN.fullmatch(name):
            self.own.add(name)

    def _close(self, block: _Block, before_else: bool) -> None:
        """Behind a block only those of its names are known that both branches assign."""
        self.known -= block.new
        other, self.other = self.other, block if before_else else None
        if block.word != "else" or other is None:
            return
        both = other.new if block.left else block.new if other.left else block.new & other.new
        self.known |= both
        self.blocks[-1].new |= both
