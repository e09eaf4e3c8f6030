"""Products of matrices in equations of any rank as program text: loops around one call of a primitive."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType

from graphc.emit.expressions import Printer
from graphc.emit.text import INDENT, Part, Text, extent, offset, place
from graphc.ir.letters import index_letters
from graphc.lower.contractions import DEEPEST, Axis
from graphc.lower.kernels import Contraction
from graphc.lower.layout import Buffer, Count

CACHED = 1 << 15  # values of both factors that all loops of a sum find in the cache
NESTED, LINES, DOTS = "contract", "contract_lines", "contract_dots"


def print_contraction(
    text: Text, c: Contraction, part: Part, method: str, capacity: Mapping[str, int] = MappingProxyType({})
) -> None:
    """Loops over the matrices of a stack, a product in each; ``part`` is that of the axis that threads divide.

    What is summed over many rows, each a whole array, is summed over a few of them at a time: all loops find them in
    the cache. ``capacity`` tells how many there may be.
    """
    t = c.tiles
    few = _few_rows(c, capacity)
    heads, names = _flat_loop(c, part) if c.flat else _nested_loops(c, part)
    rows = part.times(str(t.rows.times)) if t.rows is c.divided else Part(stop=_size(t.rows))
    first = [("" if rows.start == "0" else _factor(rows.start), t.rows)]
    first += [("row_0", replace(t.terms[0], c=0))] if few else []
    steps = [*first, *zip(names, t.loops, strict=True)]
    a = _at(c.a, t.starts[0], [(name, x.a) for name, x in steps])
    b = _at(c.b, t.starts[1], [(name, x.b) for name, x in steps])
    out = _at(c.out, t.begin, [(name, x.c) for name, x in steps])
    if t.adds:
        start = _at(c.out, 0, [(names[0], t.loops[0].c)])
        text.add(heads[0], f"{INDENT}fill({start}, f(0.0), {Count.of(c.out.extents[1:]).text()})")
        text.depth += 1
    if few:
        n = _size(t.terms[0])
        with text.loops(heads):
            _each(text, c, rows, out, "{0} = f(0.0)")
        text.add(f"for row_0 in range(0, {n}, {few}):")
        text.add(f"{INDENT}n_rows = {n} - row_0 if {n} - row_0 < {few} else {few}")
        text.depth += 1
    with text.loops(heads[t.adds :]):
        text.add(_call(c, method, (a, b, out), rows, bool(few)))
        if t.scale != 1:
            text.add(f"scale = {Printer({}, share=False, hoists=False, given=text.number).text(t.scale)[0]}")
            _each(text, c, rows, out, "{0} = {0}*scale")
    text.depth -= t.adds or bool(few)


def _few_rows(c: Contraction, capacity: Mapping[str, int]) -> int:
    """Rows that a sum takes at a time, 0 for all: where these hold more of both factors than a part of the cache."""
    t, rows = c.tiles, c.tiles.terms[0]
    if not isinstance(rows.extent, str) or rows.times > 1 or len(t.terms) == 1 or t.scale != 1 or t.adds:
        return 0
    few = max(1, CACHED // (abs(rows.a) + abs(rows.b)))
    return few if c.share == "split" and capacity.get(rows.extent, 0) > few else 0


def _nested_loops(c: Contraction, part: Part) -> tuple[list[str], list[str]]:
    """The heads of the loops, and the index of each."""
    names = index_letters([x.extent for x in c.tiles.loops])
    heads = []
    for x, name in zip(c.tiles.loops, names, strict=True):
        own = part.times(str(x.times)) if x is c.divided else Part(stop=_size(x))
        heads.append(f"for {name} in range({own.bounds}):")
    return heads, names


def _flat_loop(c: Contraction, part: Part) -> tuple[list[str], list[str]]:
    """One loop over all steps, which threads divide, and what each index is in it."""
    [name], loops = index_letters([1]), c.tiles.loops
    words, count = [], 1
    for x in reversed(loops):
        turn = name if count == 1 else f"{name}//{count}"
        words.insert(0, turn if x is loops[0] else f"{turn} % {x.size}" if turn == name else f"({turn}) % {x.size}")
        count *= x.size
    return [f"for {name} in range({part.bounds}):"] if loops else [], [_factor(word) for word in words]


def _call(c: Contraction, method: str, places: tuple[str, str, str], rows: Part, few: bool) -> str:
    """The call of the primitive that computes one product, of the present ``few`` rows."""
    t, (a, b, out), (down, across, lengths) = c.tiles, places, _along(c.tiles.terms)
    adds = int(t.adds or few)
    if few:
        lengths = ", ".join(["1"] * (DEEPEST - len(t.terms)) + ["n_rows", *map(_size, t.terms[1:])])
    wide, sizes = t.rows.c or t.columns.size, f"{rows.length}, {_size(t.columns)}"
    if t.dots:
        down, across = (words.rpartition(", ")[0] for words in (down, across))  # the last terms lie side by side
        return (f"{DOTS}({a}, {t.rows.a}, {down}, {b}, {t.columns.b}, {across}, {out}, {t.rows.c}, {t.columns.c}, "
                f"{sizes}, {lengths}, {adds})")  # fmt: skip
    if t.lines.extent != 1 or adds:
        sizes = f"{rows.length}, {_size(t.lines)}, {_size(t.columns)}"
        return (f"{LINES}({a}, {t.rows.a}, {down}, {b}, {across}, {t.lines.b}, {out}, {wide}, {t.lines.c}, {sizes}, "
                f"{lengths}, {adds})")  # fmt: skip
    if len(t.terms) == 1:
        k = t.terms[0]
        return (f"{method}({a}, {t.rows.a}, {k.a}, {b}, {k.b}, 1, {out}, {wide}, {sizes}, {_size(k)}, "
                f"{c.out.region}, {place(c.out)}, 0)")  # fmt: skip
    return f"{NESTED}({a}, {t.rows.a}, {down}, {b}, {across}, {out}, {wide}, {sizes}, {lengths})"


def _along(terms: Sequence[Axis]) -> list[str]:
    """How far the terms go in both factors, and their lengths, three of each."""
    whole = [*[Axis()] * (DEEPEST - len(terms)), *terms]
    return [", ".join(map(str, words)) for words in zip(*((x.a, x.b, _size(x)) for x in whole), strict=True)]


def _each(text: Text, c: Contraction, rows: Part, out: str, statement: str) -> None:
    """A statement for every element of a product."""
    wide, across = c.tiles.rows.c or c.tiles.columns.size, c.tiles.columns.c if c.tiles.dots else 1
    region, at = out.split(", ", 1)
    t = c.tiles
    inner = [x.extent for x in t.loops]
    p, q, line = index_letters([*inner, 1, 1, 1])[len(inner) :]
    column, lines = q if across == 1 else f"{q}*{across}", t.lines.extent != 1
    heads = [f"for {p} in range({rows.length}):", f"for {q} in range({_size(t.columns)}):"]
    if lines:
        heads.insert(1, f"for {line} in range({_size(t.lines)}):")
        column = f"{line}*{t.lines.c} + {column}"
    with text.loops(heads):
        text.add(statement.format(f"{region}[{offset(at, f'{p}*{wide} + {column}')}]"))


def _size(x: Axis) -> str:
    """Program text of the number of values."""
    return extent(x.extent) if x.times == 1 else f"{extent(x.extent)}*{x.times}"


def _factor(text: str) -> str:
    return text if text.isidentifier() else f"({text})"


def _at(buffer: Buffer, start: int, steps: Sequence[tuple[str, int]]) -> str:
    """Region and offset of the first element, for the present step of every loop."""
    parts = [f"{name}*{step}" for name, step in steps if name and step]
    parts += [str(start)] if start else []
    return f"{buffer.region}, {offset(place(buffer), ' + '.join(parts))}"
