"""What a page shows of texts: the user's lines that declare something, and loops beside the formulas they compute."""

from __future__ import annotations

import linecache
from collections.abc import Mapping, Sequence

from graphc.ir.node import Origin
from graphc.records import record
from graphc.show.page.tags import code, table, text

AROUND, MOST = 1, 400  # lines shown around a declaration; lines of one file


def declared(origins: Sequence[Origin]) -> tuple[str, dict[Origin, str]]:
    """The declaring lines of every file as HTML, and the id of each; a file that cannot be read gives its numbers."""
    ids: dict[Origin, str] = {}
    parts = []
    files = list(dict.fromkeys(o.file for o in origins))
    for f, file in enumerate(files):
        wanted = sorted({o.line for o in origins if o.file == file})
        ids |= {Origin(file, line): f"d-{f}-{line}" for line in wanted}
        near = sorted({n for line in wanted for n in range(line - AROUND, line + AROUND + 1) if n > 0})[:MOST]
        rows, before = [], None
        for n in near:
            words = linecache.getline(file, n).rstrip("\n")
            if not words and n not in wanted:
                continue
            if before is not None and n > before + 1:
                rows.append('<span class="line gap">…</span>')
            name = f' id="d-{f}-{n}"' if n in wanted else ""
            rows.append(f'<span class="line"{name}><span class="no">{n}</span> {text(words)}</span>')
            before = n
        label = str(Origin(file, 0)).rsplit(":", 1)[0]
        parts.append(_listing(label, rows))
        ids = {o: i for o, i in ids.items() if o.file != file or o.line in near}
    return "".join(parts) or "<p>Where it was declared is not known.</p>", ids


@record
class Block:
    """Lines of a program from ``start`` to before ``end`` that compute what these captions say."""

    captions: list[str]
    start: int
    end: int


def blocks(source: str) -> list[Block]:
    """The commented pieces of a program: captions, one below the other, and the lines that belong to them; a loop that
    has captions inside belongs to none before it."""
    lines = source.splitlines()
    found: list[Block] = []
    t = 0
    while t < len(lines):
        if not lines[t].lstrip().startswith("# "):
            t += 1
            continue
        indent, start = _indent(lines[t]), t
        while t < len(lines) and lines[t].lstrip().startswith("# ") and _indent(lines[t]) == indent:
            t += 1
        while t < len(lines) and _indent(lines[t]) >= indent and not _comment(lines[t], indent) and lines[t].strip():
            t += 1
        inner = (i for i in range(start, t) if lines[i].lstrip().startswith("# ") and _indent(lines[i]) > indent)
        t = max((i for i in range(start, next(inner, start)) if _indent(lines[i]) == indent), default=t)
        captions = [x.strip().removeprefix("# ") for x in lines[start:t] if _comment(x, indent)]
        found.append(Block(captions, start, t))
    return found


def _comment(line: str, indent: int) -> bool:
    return line.lstrip().startswith("# ") and _indent(line) == indent


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip(" "))


def program(source: str, number: Mapping[str, Sequence[str]]) -> tuple[str, dict[str, str]]:
    """A program as HTML, and for every caption the id of the loops below it; ``number`` holds marks by caption."""
    lines = source.splitlines()
    found, ids, pieces, at = blocks(source), {}, [], 0
    for b, block in enumerate(found):
        marked = [m for c in block.captions for m in number.get(c, ())]
        if not marked:
            continue
        ids |= dict.fromkeys(block.captions, f"k-{b}")
        marks = " ".join(dict.fromkeys(marked))
        inside = text("\n".join(lines[block.start : block.end]))
        pieces.append(text("\n".join(lines[at : block.start])))
        pieces.append(f'<span class="loop" id="k-{b}" data-marks="{marks}">{inside}</span>')
        at = block.end
    pieces.append(text("\n".join(lines[at:])))
    return _framed("Text of the generated program", "\n".join(pieces)), ids


def _listing(label: str, rows: Sequence[str]) -> str:
    return f'<p class="file">{text(label)}</p>{_framed(label, "".join(rows))}'


def _framed(label: str, inside: str) -> str:
    return f'<pre class="wide" tabindex="0" role="region" aria-label="{text(label)}">{inside}</pre>'


def symbols(rows: Sequence[Sequence[object]]) -> str:
    """The table of inputs and parameters."""
    return table("Inputs and parameters", ("name", "kind", "shape", "numbers"),
                 [[code(a), text(b), code(c), text(d)] for a, b, c, d in rows])  # fmt: skip
