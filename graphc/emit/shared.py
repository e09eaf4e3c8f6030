"""Loop nests that differ in their buffers alone become one function, which the program calls: it is compiled once.

    for t in range(lo*64, hi*64):                    def nest_1(x0, at0, at1, lo, hi):
        A[H0 + t] = tanh(A[Z0 + t])          ->          noalias()
    ..                                                   for t in range(lo*64, hi*64):
    for t in range(lo*64, hi*64):                            x0[at1 + t] = tanh(x0[at0 + t])
        A[H1 + t] = tanh(A[Z1 + t])                  nest_1(A, Z0, H0, lo, hi) .. nest_1(A, Z1, H1, lo, hi)

Every buffer is a pointer of its own there, so that LLVM knows that they do not overlap; those that lie at one place
share it (buffers of one phase do so only where a result overwrites what it is made of).  A nest stands where it is used
when it is used once, or when it is so small that calls would cost.  Where layers differ in width, large extents are
arguments, too.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Sequence

from graphc.emit.text import INDENT, Piece, Text
from graphc.lower.layout import Buffer

SMALL, OFTEN = 4096, 8
"""Operations of a nest that is small: it is shared when it occurs more often than so."""

LARGE, MANY = 32, 4
"""Extents so large become arguments, where nests differ in them alone and there are more than so many kinds."""

_PARTS = ("lo", "hi", "first_row", "last_row")
_WORD = re.compile(r"[^\W\d]\w*")
_NUMBER, _INSIDE = re.compile(r"(?<![\w.])\d+(?![\w.])"), re.compile(r"\[[^\[\]]*\]")
_DEFINITION = re.compile(r"^def (nest_\d+_*)\((.*)\):\n((?:    .*\n)+)\n\n", re.MULTILINE)
_CALL = re.compile(r"^( *)(nest_\d+_*)\((.*)\)$")
_ELEMENT = r"(\w+)\[([^\W\d]\w*)?([^\[\]]*)\]"
_OF_TWO = re.compile(rf"^ *{_ELEMENT} = ({_ELEMENT})( \+ |\*)({_ELEMENT})$")
_FRAME = re.compile(r"noalias\(\)|at\d+ = at\d+|return 0")


def share(text: Text, sizes: Collection[str]) -> list[str]:
    """Replace nests of one form by calls; returns the lines of the functions.  ``sizes`` are names of the program's
    own that nests read beside their buffers: free extents."""
    forms = [_Form.of(piece, text, [*_PARTS, *sizes]) for piece in text.pieces]
    forms = _without_extents(forms)
    count = Counter(form.text for form in forms if form is not None)
    taken = set(_WORD.findall("\n".join(text.lines)))
    names: dict[str, str] = {}
    definitions: list[str] = []
    calls: list[tuple[Piece, str]] = []
    for piece, form in zip(text.pieces, forms, strict=True):
        often = OFTEN if piece.work < SMALL else 1
        if form is None or (count[form.text] <= often and not piece.apart):
            continue
        if form.text not in names:
            name = names[form.text] = _free(f"nest_{len(names) + 1}", taken)
            definitions += [*form.definition(name), "", ""]
        calls.append((piece, f"{INDENT * piece.depth}{names[form.text]}({', '.join(form.arguments)})"))
    for piece, call in reversed(calls):
        text.lines[piece.start : piece.stop] = [call]
    return definitions


def overwritten_first(text: Text) -> None:
    """Sums and products of two elements with that first which they overwrite. The first of equal layers overwrites what
    it has computed, others their input: they are one nest then. The rounding is that of either order."""
    for piece in text.pieces:
        for t in range(piece.start, piece.stop):
            text.lines[t] = _own_first(text.lines[t], piece.buffers)


def _own_first(line: str, buffers: Sequence[Buffer]) -> str:
    m = _OF_TWO.match(line)
    if m is None:
        return line
    known = {(b.region, b.name): b for b in buffers if not b.moves}
    place = lambda region, name: (region, b.offset) if (b := known.get((region, name))) else None
    target, left, right = (place(m[t], m[t + 1]) for t in (1, 5, 10))
    if target is None or target != right or target == left:
        return line
    return f"{line[: m.start(4)]}{m[9]}{m[8]}{m[4]}"


def expanded(text: str) -> str:
    """The program with its shared nests put where they are called, as it is printed without sharing."""
    found = {name: (words.split(", "), lines) for name, words, lines in _DEFINITION.findall(text)}
    if not found:
        return text
    out: list[str] = []
    for line in _DEFINITION.sub("", text).split("\n"):
        call = _CALL.match(line)
        if call is None or call[2] not in found:
            out.append(line)
            continue
        words, lines = found[call[2]]
        given = dict(zip(words, call[3].split(", "), strict=True))
        body = [one.removeprefix(INDENT) for one in lines.rstrip("\n").split("\n")]
        out += [call[1] + _WORD.sub(lambda m, given=given: given.get(m[0], m[0]), one)
                for one in body if not _FRAME.fullmatch(one)]  # fmt: skip
    return "\n".join(out)


def _without_extents(forms: Sequence[_Form | None]) -> list[_Form | None]:
    """The forms; those of which there are many kinds that differ in large extents alone get these as arguments."""
    general = [form.general() if form else None for form in forms]
    kinds = Counter(g.text for g in {f.text: g for f, g in zip(forms, general, strict=True) if f and g}.values())
    return [g if g and kinds[g.text] > MANY else f for f, g in zip(forms, general, strict=True)]


def _free(name: str, taken: Collection[str]) -> str:
    while name in taken:
        name += "_"
    return name


class _Form:
    """A nest with neutral names: x0, x1, .. for pointers, at0, at1, .. for offsets."""

    def __init__(self, lines: list[str], parameters: list[str], arguments: list[str], equal: list[str]) -> None:
        self.lines, self.parameters, self.arguments, self.equal = lines, parameters, arguments, equal
        self.text = "\n".join([", ".join(parameters), *equal, *lines])

    @staticmethod
    def of(piece: Piece, text: Text, names: Collection[str]) -> _Form | None:
        """The form of a piece of text, None when it cannot be told apart from its buffers."""
        lines = [line[len(INDENT) * piece.depth :] for line in text.lines[piece.start : piece.stop]]
        words = set(_WORD.findall("\n".join(lines)))
        clash = any(re.fullmatch(r"(x|at|e)\d+", word) for word in words - {b.name for b in piece.buffers})
        if clash:
            return None
        return _renamed(lines, piece.buffers, [name for name in names if name in words])

    def general(self) -> _Form | None:
        """The same with large extents as arguments e0, e1, ..; None for a sum whose order is the compiler's choice,
        since that may depend on its length."""
        names: dict[str, str] = {}

        def named(m: re.Match[str]) -> str:
            return names.setdefault(m[0], f"e{len(names)}") if int(m[0]) >= LARGE else m[0]

        def line(text: str) -> str:
            if text.lstrip().startswith("for "):
                return _NUMBER.sub(named, text)
            return _INSIDE.sub(lambda m: _NUMBER.sub(named, m[0]), text)

        if any("radd(" in text for text in self.lines):
            return None
        lines = list(map(line, self.lines))
        return _Form(lines, [*self.parameters, *names.values()], [*self.arguments, *names], self.equal)

    def definition(self, name: str) -> list[str]:
        """The lines of the function."""
        body = ["noalias()", *self.equal, *self.lines, "return 0"]
        return [f"def {name}({', '.join(self.parameters)}):", *(INDENT + line for line in body)]


def _renamed(lines: Sequence[str], buffers: Sequence[Buffer], more: list[str]) -> _Form:
    places: dict[tuple[str, object], str] = {}  # region and offset -> pointer
    offsets: dict[tuple[str, str], str] = {}  # pointer and name of an offset -> the neutral name
    pointers: dict[str, str] = {}
    by_name = {(b.region, b.name if b.region != b.name else ""): b for b in buffers}
    regions = "|".join(sorted(re.escape(r) for r in {b.region for b in buffers}))
    own = {name for _, name in by_name}
    pattern = re.compile(rf"\b({regions})(\[|, )")

    def neutral(line: str) -> str:
        out, at = [], 0
        for m in pattern.finditer(line):
            if m.start() < at:  # the name of an offset, which is that of a region, too
                continue
            region, word = m[1], _WORD.match(line, m.end())
            name = word[0] if word and word[0] in own else ""
            buffer = by_name.get((region, name))
            key = (region, buffer.offset if buffer and not buffer.moves else name)
            x = places.setdefault(key, f"x{len(places)}")
            pointers[x] = region
            offset = offsets.setdefault((x, name), f"at{len(offsets)}") if name else ""
            out += [line[at : m.start()], x, m[2], offset]
            at = m.end() + len(name)
        return "".join([*out, line[at:]])

    neutral_lines = [*map(neutral, lines)]
    equal: list[str] = []
    first: dict[str, str] = {}
    for (x, _), at in offsets.items():
        if x in first:
            equal.append(f"{at} = {first[x]}")
        first.setdefault(x, at)
    parameters = [*pointers, *offsets.values(), *more]
    return _Form(neutral_lines, parameters, [*pointers.values(), *(name for _, name in offsets), *more], equal)
