"""A graph as SVG: forward going down on the left, derivatives going up on the right, each beside what it belongs to.

Colours are those of Okabe and Ito, which colour-blind eyes tell apart; kinds differ in outline and place, too. Light
and dark follow ``prefers-color-scheme``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

from graphc.records import record
from graphc.show.diagram.boxes import KINDS, Box
from graphc.show.diagram.layered import Placed, arrange, ranks

CHAR, ROW, PAD, SMALL = 7.35, 16.0, 9.0, 6.3  # widths of characters, height of a line, margin in a box
ACROSS, DOWN, BETWEEN, EDGE = 16.0, 34.0, 64.0, 18.0  # gaps in and between rows, between the sides, at the border
LEGEND = 30.0

LIGHT = (
    "--b:#fff;--i:#1b1b1b;--m:#5b5b5b;--f:#f3f4f6;--l:#7d828b;"
    "--blue:#0072B2;--green:#00795b;--orange:#B54A00;--purple:#a3527f"
)
DARK = (
    "--b:#16181c;--i:#ececec;--m:#a9aeb6;--f:#23262d;--l:#8a9099;"
    "--blue:#56B4E9;--green:#3fc79f;--orange:#E69F00;--purple:#e39cc4"
)
STYLE = f"""
.gc{{{LIGHT};font-family:ui-monospace,"DejaVu Sans Mono",Menlo,Consolas,monospace;font-size:12px}}
@media (prefers-color-scheme:dark){{.gc{{{DARK}}}}}
@media print{{.gc{{{LIGHT}}}}}
""" + """
.gc .ground{fill:var(--b);stroke:none} .gc text{fill:var(--i);white-space:pre} .gc .strong{font-weight:bold}
.gc .small{fill:var(--m);font-size:10.5px}
.gc g rect{fill:var(--f);stroke:var(--l);stroke-width:1.2}
.gc .input rect{stroke:var(--blue);stroke-width:1.8} .gc .param rect{stroke:var(--green);stroke-width:1.8}
.gc .constant rect{stroke-dasharray:2 3} .gc .output rect,.gc .loss rect{stroke:var(--i);stroke-width:2.2}
.gc .adjoint rect{stroke:var(--orange);stroke-width:1.5;stroke-dasharray:6 3}
.gc .gradient rect{stroke:var(--orange);stroke-width:2.2}
.gc .edge{fill:none;stroke:var(--l);stroke-width:1.2} .gc .edge.back{stroke:var(--orange)}
.gc .edge.value{stroke:var(--purple);stroke-width:1;stroke-dasharray:2 4;opacity:.6}
.gc marker path{fill:var(--l)} .gc marker.back path{fill:var(--orange)}
.gc .box:hover rect,.gc .box:focus rect,.gc .box.on rect{stroke-width:3.4}
.gc .box:focus{outline:none} .gc .edge.on{stroke-width:2.4;opacity:1}
"""


@record
class Sized:
    """A box with its size and the middle of its place."""

    box: Box
    width: float
    height: float
    x: float = 0.0
    y: float = 0.0

    @property
    def round(self) -> float:
        """The radius of its corners: leaves are pills."""
        return self.height / 2 if self.box.kind in ("input", "param", "constant") else 5.0


@record
class Drawn:
    """A placed box; ``ways`` are the points between what it reads and itself, from the top down."""

    place: Sized
    ways: list[tuple[int, list[tuple[float, float]]]]
    all: list[Sized]


def svg(boxes: Sequence[Box], title: str, tag: str = "g", marks: Sequence[str] = ()) -> str:
    """The picture; ``tag`` begins the ids of its boxes, ``tag-3``; ``marks`` are ids that each box marks on a page."""
    placed, width, height = layout(boxes)
    legend = _legend(boxes, height)
    width = max(width, legend[1])
    rows = [
        f'<svg xmlns="http://www.w3.org/2000/svg" class="gc" viewBox="0 0 {width:.0f} {height + LEGEND:.0f}"'
        f' width="{width:.0f}" height="{height + LEGEND:.0f}" role="group" aria-labelledby="{tag}-title {tag}-said">',
        f'<title id="{tag}-title">{escape(title)}</title>',
        f'<desc id="{tag}-said">{escape(described(boxes))}</desc>',
        f"<style>{STYLE}</style>",
        f"<defs>{_marker(tag, '')}{_marker(tag, 'back')}</defs>",
        f'<rect class="ground" width="{width:.0f}" height="{height + LEGEND:.0f}"/>',
        *_edges(placed, tag),
        *(_box(p, f"{tag}-{t}", marks[t] if marks else "") for t, p in enumerate(placed)),
        legend[0],
        "</svg>",
    ]
    return "\n".join(rows)


def described(boxes: Sequence[Box]) -> str:
    """The whole picture in a sentence."""
    back = sum(b.backward for b in boxes)
    leaves = sum(b.kind in ("input", "param", "constant") for b in boxes)
    rest = len(boxes) - back - leaves
    return (
        f"{leaves} inputs and parameters, {rest} boxes of the forward pass, which goes down on the left, and {back} of"
        " derivatives, which go up on the right, each at the height of what it is the derivative of."
    )


# ------------------------------------------------------------------ layout


def layout(boxes: Sequence[Box]) -> tuple[list[Drawn], float, float]:
    """Every box with its place and its way to what reads it, and the size of the picture."""
    sized = [_sized(b) for b in boxes]
    forward = [t for t, b in enumerate(boxes) if not b.backward]
    backward = [t for t, b in enumerate(boxes) if b.backward]
    down = [(q, t) for t in forward for q in boxes[t].reads]
    up = [(t, q) for t in backward for q in boxes[t].reads]
    twins = {t: b.twin for t, b in enumerate(boxes) if b.twin is not None and not boxes[b.twin].leaves}
    rank = ranks(len(boxes), [*down, *up], twins)
    _raise_outputs(boxes, rank)
    left = _side(forward, rank, down, sized)
    begin = {t: -left.x[b.twin] if b.twin in left.x else 0.0 for t, b in enumerate(boxes)}
    right = _side(sorted(backward, key=lambda t: begin[t]), rank, up, sized)
    tall: dict[int, float] = {}
    for t, s in enumerate(sized):
        tall[rank[t]] = max(tall.get(rank[t], 0.0), s.height)
    y, top = {}, EDGE
    for r in sorted(tall):
        y[r] = top + tall[r] / 2
        top += tall[r] + DOWN
    low, high = _reach(left, sized)
    start, middle = EDGE - low, EDGE - low + high + BETWEEN
    low, high = _reach(right, sized)
    shift = middle - low
    for t, s in enumerate(sized):
        s.x, s.y = (right.x[t] + shift if boxes[t].backward else left.x[t] + start), y[rank[t]]
    bands = {r: (y[r] - tall[r] / 2, y[r] + tall[r] / 2) for r in y}
    ways = _ways(left, start, rank, bands, down) | _ways(right, shift, rank, bands, up)
    drawn = [
        Drawn(s, [(q, ways[(q, t) if not s.box.backward else (t, q)]) for q in s.box.reads], sized)
        for t, s in enumerate(sized)
    ]
    width = (shift + high if backward else middle - BETWEEN) + EDGE
    return drawn, width, top - DOWN + EDGE


def _sized(box: Box) -> Sized:
    small = _small(box)
    width = max([len(row) * CHAR for row in _rows(box)] + [len(small) * SMALL]) + 2 * PAD
    return Sized(box, max(width, 46.0), ROW * (len(_rows(box)) + (1 if small else 0)) + 1.2 * PAD)


def _rows(box: Box) -> list[str]:
    return [box.name, *box.text] if box.name.startswith("layer") and len(box.lines) > 0 else box.text


def _small(box: Box) -> str:
    said = "" if box.kind in ("input", "param", "constant") else box.said
    return "  ".join(x for x in (box.shape, said) if x)


def _raise_outputs(boxes: Sequence[Box], rank: list[int]) -> None:
    """An output that nothing reads stands just below what it reads, not at the bottom."""
    read = {q for b in boxes for q in (*b.reads, *b.values)}
    for t, b in enumerate(boxes):
        if b.kind == "output" and t not in read and b.reads:
            rank[t] = max(rank[q] for q in b.reads) + 1


def _side(members: Sequence[int], rank: Sequence[int], edges: list[tuple[int, int]], sized: Sequence[Sized]) -> Placed:
    return arrange({t: rank[t] for t in members}, edges, {t: sized[t].width for t in members}, members, ACROSS)


def _reach(side: Placed, sized: Sequence[Sized]) -> tuple[float, float]:
    """How far the boxes and edges of a side reach to the left and to the right."""
    left = [x - sized[t].width / 2 for t, x in side.x.items()]
    right = [x + sized[t].width / 2 for t, x in side.x.items()]
    low, high = side.extent
    return min([low, *left]), max([high, *right])


def _ways(
    side: Placed,
    shift: float,
    rank: Sequence[int],
    bands: Mapping[int, tuple[float, float]],
    edges: Sequence[tuple[int, int]],
) -> dict[tuple[int, int], list[tuple[float, float]]]:
    """Where each edge enters and leaves the rows that it passes through, from the top down."""
    return {
        (a, b): [(x + shift, y) for t, x in enumerate(side.through[a, b]) for y in bands[rank[a] + 1 + t]]
        for a, b in edges
    }


# ------------------------------------------------------------------ drawing


def _marker(tag: str, kind: str) -> str:
    return (
        f'<marker id="{tag}-tip{kind}" class="{kind}" viewBox="0 0 8 8" refX="7" refY="4"'
        ' markerUnits="userSpaceOnUse" markerWidth="9" markerHeight="9" orient="auto">'
        '<path d="M0,0.8 L8,4 L0,7.2 z"/></marker>'
    )


def _edges(placed: Sequence[Drawn], tag: str) -> list[str]:
    rows = []
    for t, drawn in enumerate(placed):
        s = drawn.place
        last = 0 if s.box.backward else -1
        order = sorted(drawn.ways, key=lambda w: w[1][last][0] if w[1] else drawn.all[w[0]].x)
        for port, (q, way) in enumerate(order):
            other = drawn.all[q]
            at = s.x + (port - (len(order) - 1) / 2) * min(14.0, 0.6 * s.width / max(len(order), 1))
            if s.box.backward:  # from below, up to it
                points = [(other.x, other.y - other.height / 2), *reversed(way), (at, s.y + s.height / 2 + 1)]
            else:
                points = [(other.x, other.y + other.height / 2), *way, (at, s.y - s.height / 2 - 1)]
            kind = "back" if s.box.backward else ""
            ends = f'data-from="{tag}-{q}" data-to="{tag}-{t}" marker-end="url(#{tag}-tip{kind})"'
            rows.append(f'<path class="edge {kind}" {ends} d="{_curve(points)}"/>')
        for q in s.box.values:
            other = drawn.all[q]
            a, b = other.x + other.width / 2, s.x - s.width / 2
            bend = f"M{a:.1f},{other.y:.1f} C{a + 40:.1f},{other.y:.1f} {b - 40:.1f},{s.y:.1f} {b:.1f},{s.y:.1f}"
            rows.append(f'<path class="edge value" data-from="{tag}-{q}" data-to="{tag}-{t}" d="{bend}"/>')
    return rows


def _curve(points: Sequence[tuple[float, float]]) -> str:
    """Through the points, vertical at each."""
    text = f"M{points[0][0]:.1f},{points[0][1]:.1f}"
    for (a, b), (c, d) in zip(points, points[1:], strict=False):
        h = (b + d) / 2
        text += f" C{a:.1f},{h:.1f} {c:.1f},{h:.1f} {c:.1f},{d:.1f}"
    return text


def _box(drawn: Drawn, name: str, marks: str) -> str:
    s, marked = drawn.place, f' data-marks="{marks}"' if marks else ""
    left, top = s.x - s.width / 2, s.y - s.height / 2
    rows = [
        f'<g class="box {s.box.kind}" id="{name}" tabindex="0" role="img" aria-label="{escape(s.box.whole)}"{marked}>'
        f"<title>{escape(s.box.whole)}</title>"
        f'<rect x="{left:.1f}" y="{top:.1f}" width="{s.width:.1f}" height="{s.height:.1f}" rx="{s.round:.1f}"/>'
    ]
    pill = s.round > 5
    at, anchor = (s.x, ' text-anchor="middle"') if pill else (left + PAD, "")
    y = top + PAD * 0.6 + ROW * 0.75
    for row in _rows(s.box):
        strong = ' class="strong"' if row == s.box.name and not pill else ""
        rows.append(f'<text{strong} x="{at:.1f}" y="{y:.1f}"{anchor}>{escape(row)}</text>')
        y += ROW
    if _small(s.box):
        rows.append(f'<text class="small" x="{at:.1f}" y="{y:.1f}"{anchor}>{escape(_small(s.box))}</text>')
    return "".join([*rows, "</g>"])


def _legend(boxes: Sequence[Box], top: float) -> tuple[str, float]:
    """The kinds that appear, each with its outline; and how far it reaches."""
    x, parts = EDGE, []
    for kind in [k for k in KINDS if any(b.kind == k for b in boxes)]:
        rx = 7 if kind in ("input", "param", "constant") else 3
        parts.append(
            f'<g class="{kind}"><rect x="{x:.1f}" y="{top:.1f}" width="22" height="14" rx="{rx}"/>'
            f'<text class="small" x="{x + 28:.1f}" y="{top + 11:.1f}">{KINDS[kind]}</text></g>'
        )
        x += 28 + len(KINDS[kind]) * SMALL + 18
    if any(b.values for b in boxes):
        parts.append(
            f'<path class="edge value" d="M{x:.1f},{top + 7:.1f} h22"/>'
            f'<text class="small" x="{x + 28:.1f}" y="{top + 11:.1f}">value read</text>'
        )
        x += 28 + 10 * SMALL
    return f'<g aria-hidden="true">{"".join(parts)}</g>', x + EDGE
