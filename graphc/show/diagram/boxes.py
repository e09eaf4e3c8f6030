"""What a picture of a graph shows: a box for every line of a derivation and for every leaf, and who reads whom."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import field
from typing import Literal

from graphc.declare.names import shape_text
from graphc.ir.node import Leaf, Node
from graphc.ir.walk import sources
from graphc.records import record
from graphc.show.outline import Line
from graphc.show.reading import Whole

Kind = Literal["input", "param", "constant", "equation", "output", "loss", "adjoint", "gradient"]
WIDEST, MOST = 42, 6  # characters of a line, lines of a formula
BREAKS = r" [+-] | / |(?<=·)", r"(?<= )(?![+/-] )", r"(?<=,)"  # where a formula is broken best, next best, ..
KINDS: Mapping[str, str] = {
    "input": "input",
    "param": "parameter",
    "constant": "constant",
    "equation": "equation",
    "output": "output",
    "loss": "loss",
    "adjoint": "derivative (read from below)",
    "gradient": "gradient of a parameter",
}


@record
class Box:
    """One box: a formula with its shape, or several of one layer.

    ``reads`` are the places, in the list of boxes, of what it reads on its own side, ``values`` of what a derivative
    reads of the forward pass; ``twin`` is the box whose derivative it is; ``lines`` the lines of the derivation.
    """

    kind: Kind
    name: str
    text: list[str]
    shape: str
    said: str = ""
    reads: list[int] = field(default_factory=list)
    values: list[int] = field(default_factory=list)
    twin: int | None = None
    lines: list[Line] = field(default_factory=list)
    leaves: list[Leaf] = field(default_factory=list)

    @property
    def backward(self) -> bool:
        """Whether it stands on the side of the derivatives."""
        return self.kind in ("adjoint", "gradient")

    @property
    def whole(self) -> str:
        """All of it in a sentence: for those who cannot see the picture, and when one points at it."""
        formulas = "; ".join(full_text(line) for line in self.lines)
        more = f" {self.said}" if self.said and len(self.lines) < 2 else ""
        return f"{KINDS[self.kind]} {formulas or self.name}, {self.shape}{more}"


def full_text(line: Line) -> str:
    """``δ0[i,j] = ∂J/∂Z0[i,j] = ..``"""
    return " = ".join(x for x in (line.left, line.partial, line.index) if x)


def boxes(lines: Sequence[Line], loss: Node | None, outputs: Sequence[Line] = ()) -> list[Box]:
    """Leaves, forward lines and outputs, then derivatives, each after what it reads."""
    found: list[Box] = []
    place: dict[Node, int] = {}
    for line in (*[x for x in lines if x.number is None], *outputs):
        for leaf in (n for n in read_by(line) if isinstance(n, Leaf) and n not in place):
            place[leaf] = len(found)
            found.append(_of_leaf(leaf))
        kind: Kind = "loss" if line.node is loss else "output" if line in outputs else "equation"
        reads = [place[n] for n in read_by(line) if n in place]
        place.setdefault(line.node, len(found))
        found.append(_of_line(line, kind, reads))
    for line in (x for x in lines if x.number is not None):
        for leaf in (n for n in (*read_by(line), line.target) if isinstance(n, Leaf) and n not in place):
            place[leaf] = len(found)
            found.append(_of_leaf(leaf))
        read = [place[n] for n in read_by(line) if n in place]
        box = _of_line(line, "gradient" if isinstance(line.target, Leaf) else "adjoint", [])
        box.reads = [p for p in read if found[p].backward]
        box.values = [p for p in read if not found[p].backward]
        box.twin = place.get(line.target) if line.target is not None else None
        place.setdefault(line.node, len(found))
        found.append(box)
    return found


def read_by(line: Line) -> list[Node]:
    """What an equation, with all that is put into it, reads; as it is printed where that is shorter."""
    nodes = [line.node, *line.shown.inlined]
    leaves = [s for n in nodes for s in sources(n) if isinstance(s, Leaf)]
    wholes = [r.node for p in line.shown.pieces.values() if isinstance(p, Whole) for r in p.node.reads]
    straight = [line.node] if isinstance(line.node, Leaf) else []
    printed = [r.node for r in line.shown.refs()]
    return list(dict.fromkeys(n for n in (*printed, *wholes, *leaves, *straight) if n is not line.node or straight))


def _of_leaf(leaf: Leaf) -> Box:
    name = leaf.name or "constant"
    kind: Kind = "param" if leaf.kind == "param" else "input" if leaf.kind == "input" else "constant"
    return Box(kind, name, [name], shape_of(leaf), str(leaf.origin or ""), leaves=[leaf])


def _of_line(line: Line, kind: Kind, reads: Iterable[int]) -> Box:
    sides = [x for x in (line.left, line.partial) if x]
    text = broken(f"{sides[0]} = {line.index}") if len(sides) == 1 else [
        f"{sides[0]} = {sides[1]}", *broken(f"= {line.index}", "  ")
    ]  # fmt: skip
    said = f"({line.number})" if line.number else "   ".join(x for x in (str(line.origin or ""), line.remark) if x)
    return Box(kind, sides[0], text, shape_of(line.node), said, list(reads), lines=[line])


def shape_of(node: Node) -> str:
    """``(n, 4)``, or ``scalar``."""
    return shape_text(node.shape) if node.shape else "scalar"


def broken(text: str, indent: str = "    ") -> list[str]:
    """A formula in lines that a box holds, broken before a plus, a minus or behind a factor."""
    rows = []
    while len(text) > WIDEST:
        places = ([m.start() for m in re.finditer(each, text)] for each in BREAKS)
        fit = ([c for c in each if len(indent) + 10 < c <= WIDEST] for each in places)
        cut = next((max(each) for each in fit if each), WIDEST)
        rows.append(text[:cut].rstrip())
        text = indent + text[cut:].strip()
    rows.append(text)
    return rows if len(rows) <= MOST else [*rows[: MOST - 1], f"{indent}…"]
