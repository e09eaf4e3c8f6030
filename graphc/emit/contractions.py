"""Products of matrices in equations of any rank as program text: loops around one call of a primitive."""

from __future__ import annotations

from collections.abc import Sequence

from graphc.emit.expressions import Printer
from graphc.emit.text import Part, Text, extent, offset, place
from graphc.ir.letters import index_letters
from graphc.lower.contractions import DEEPEST, Axis
from graphc.lower.kernels import Contraction
from graphc.lower.layout import Buffer

NESTED = "contract"


def print_contraction(text: Text, c: Contraction, part: Part, method: str) -> None:
    """Loops over the matrices of a stack, a product in each; ``part`` is that of the axis that threads divide."""
    t, divided = c.tiles, c.divided
    names = index_letters([x.extent for x in t.loops])
    heads = []
    for x, name in zip(t.loops, names, strict=True):
        own = part.times(str(x.times)) if x is divided else Part(stop=_size(x))
        heads.append(f"for {name} in range({own.bounds}):")
    rows = part.times(str(t.rows.times)) if t.rows is divided else Part(stop=_size(t.rows))
    first = [("" if rows.start == "0" else _factor(rows.start), t.rows)]
    steps = [*first, *zip(names, t.loops, strict=True)]
    a = _at(c.a, t.starts[0], [(name, x.a) for name, x in steps])
    b = _at(c.b, t.starts[1], [(name, x.b) for name, x in steps])
    out = _at(c.out, 0, [(name, x.c) for name, x in steps])
    wide = t.rows.c or t.columns.size
    with text.loops(heads):
        sizes = f"{rows.length}, {_size(t.columns)}"
        if len(t.terms) == 1:
            k = t.terms[0]
            text.add(f"{method}({a}, {t.rows.a}, {k.a}, {b}, {k.b}, 1, {out}, {wide}, {sizes}, {_size(k)}, "
                     f"{c.out.region}, {place(c.out)}, 0)")  # fmt: skip
        else:
            terms = [*[Axis()] * (DEEPEST - len(t.terms)), *t.terms]
            along = [", ".join(map(str, words)) for words in zip(*((x.a, x.b, _size(x)) for x in terms), strict=True)]
            text.add(f"{NESTED}({a}, {t.rows.a}, {along[0]}, {b}, {along[1]}, {out}, {wide}, {sizes}, {along[2]})")
        if t.scale != 1:
            _scale(text, c, rows, out, wide)


def _scale(text: Text, c: Contraction, rows: Part, out: str, wide: int) -> None:
    """Multiply a product by its constant."""
    text.add(f"scale = {Printer({}, share=False, hoists=False, given=text.number).text(c.tiles.scale)[0]}")
    region, at = out.split(", ", 1)
    t = c.tiles
    inner = [x.extent for x in t.loops]
    p, q = index_letters([*inner, 1, 1])[len(inner) :]
    with text.loops([f"for {p} in range({rows.length}):", f"for {q} in range({_size(t.columns)}):"]):
        target = f"{region}[{offset(at, f'{p}*{wide} + {q}')}]"
        text.add(f"{target} = {target}*scale")


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
