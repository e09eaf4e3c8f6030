"""Is every name of a program assigned before it is read, on every path, within the loop that reads it?

What a loop assigns is gone behind it, its index too, but for names that had a value before; what only one branch
assigns is gone behind the branches; and what a kernel names for itself ends at the comment that begins the next kernel.
One pass over the lines: a microsecond or two a line.
"""

from __future__ import annotations

import re

_BARE = bytes(c if c >= 128 or chr(c).isalnum() or c in b"_\n" else ord(" ") for c in range(256))
_OWN = re.compile(r"[auc]\d+|a\d+_log|s|shift|scale")  # what a kernel names for itself
_DECIDED = re.compile(r"\b(?:if|and) (?:-?\d+|\(-?\d+\) % \d+) (?:>=|==|!=) 0\b")
_ENDS = frozenset(("break", "return"))
_WORDS = frozenset("and break def else float for if in int not or range return while min max".split())


def unassigned(text: str) -> list[str]:
    """A sentence for every line of a program that reads a name to which no assignment leads."""
    head, *functions = text.split("\ndef ")
    above = "\n".join(line for line in head.split("\n") if '"""' not in line)
    known = {*_WORDS, *" ".join(_bare(above)).split()}
    found: list[str] = []
    first = head.count("\n") + 2
    for function in functions:
        found += _Reader(set(known), first).read("def " + function)
        known.add(function[: function.index("(")])  # functions know those above them
        first += function.count("\n") + 1
    return found


def _bare(text: str) -> list[str]:
    """The lines with nothing but names and numbers."""
    return text.encode().translate(_BARE).decode().split("\n")


def decided(text: str) -> list[str]:
    """A sentence for every condition of numbers alone: what stands behind it is always, or never, computed."""
    lines = enumerate(text.splitlines(), 1)
    return [f"line {n}, {line.strip()}: a condition is decided" for n, line in lines if _DECIDED.search(line)]


class _Reader:
    """The names that are known, line by line, and the blocks around the line.

    Of every block: how far in its head stands, its first word, and how many names were new before it.
    """

    def __init__(self, known: set[str], first: int) -> None:
        self.known, self.first = known, first
        self.blocks = [(-1, "", 0)]
        self.new: list[str] = []  # names of all blocks around the line, in order
        self.own: set[str] = set()
        self.indices: set[str] = set()  # of the loops around the line
        self.left = 0  # how many blocks were open at the last break or return
        self.other: tuple[set[str], bool] | None = None  # the branch before an else: its names, whether it is left
        self.found: list[str] = []

    def read(self, body: str) -> list[str]:
        known, innermost = self.known, -1  # how far in the head of the innermost block stands
        for number, (line, bare) in enumerate(zip(body.split("\n"), _bare(body), strict=True), self.first):
            text = line.lstrip()
            if not text or text[0] == '"':
                continue
            if text[0] == "#":
                known -= self.own
                self.own.clear()
                continue
            depth, words = len(line) - len(text), bare.split()
            if depth <= innermost:
                innermost = self._leave(depth, words[0] == "else")
            if line[-1] == ":":
                self._head(number, text, words, depth)
                innermost = depth
            elif words[0] in _ENDS or not known.issuperset(words):  # else nothing changes
                self._line(number, text, words)
        return self.found

    def _line(self, number: int, text: str, words: list[str]) -> None:
        target = words[0]
        assigns = text.startswith(" = ", len(target))
        if not self.known.issuperset(words[1:] if assigns else words):
            self._miss(number, text, words[1:] if assigns else words)
        if assigns:
            self._assign(target)
        elif target in _ENDS:
            self.left = len(self.blocks)

    def _head(self, number: int, text: str, words: list[str], depth: int) -> None:
        word, index = words[0], ""
        self.blocks.append((depth, word, len(self.new)))
        if word == "for":
            index, words = words[1], words[3:]
            if index in self.indices:
                self.found.append(f"line {number}, {text}: {index} is the index of a loop around it")
        elif word == "def":
            self.known.update(words)
        if not self.known.issuperset(words):
            self._miss(number, text, words)
        if index:
            self.new.append(index)
            self.known.add(index)
            self.indices.add(index)

    def _miss(self, number: int, text: str, words: list[str]) -> None:
        """Some words are not known: numbers from now on are, a name is a fault."""
        new = [word for word in dict.fromkeys(words) if word not in self.known]
        self.known.update(word for word in new if word[0].isdigit())
        unknown = ", ".join(word for word in new if not word[0].isdigit())
        if unknown:
            self.found.append(f"line {number}, {text}: {unknown} is read, but no assignment leads here")

    def _assign(self, name: str) -> None:
        if name not in self.known:
            self.known.add(name)
            self.new.append(name)
        if _OWN.fullmatch(name):
            self.own.add(name)

    def _leave(self, depth: int, before_else: bool) -> int:
        """Close the blocks that end before a line; returns how far in the innermost one is that is left."""
        blocks = self.blocks
        while blocks[-1][0] >= depth:
            left = self.left == len(blocks)
            _, word, before = blocks.pop()
            names = self.new[before:]
            del self.new[before:]
            self.known.difference_update(names)
            if word == "for":
                self.indices.discard(names[0])
            elif word == "else" and self.other is not None:
                self._join(set(names), left, *self.other)
            self.other = (set(names), left) if before_else else None
            self.left = 0
        return blocks[-1][0]

    def _join(self, names: set[str], left: bool, others: set[str], other_left: bool) -> None:
        """Behind two branches those of their names are known that both assign."""
        both = others if left else names if other_left else names & others
        self.new += sorted(both - self.known)
        self.known |= both
