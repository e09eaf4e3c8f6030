"""A large network collapsed by layer: a box for each layer, forward and backward, and one for many alike in a row."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from graphc.ir.node import Node
from graphc.show.diagram.boxes import WIDEST, Box, Kind, broken, full_text

MANY = 40  # boxes: a picture of more is collapsed
SHOWN = 4  # equations that the box of a layer shows
ALIKE = 3  # layers of one form in a row are one box from here on


def collapsed(boxes: Sequence[Box], layers: Sequence[Node]) -> list[Box]:
    """The boxes grouped by the layer they belong to; leaves that one layer alone reads stand inside its box."""
    number = _numbers(boxes, layers)
    readers: dict[int, set[int]] = {}
    for p, box in enumerate(boxes):
        for q in box.reads if not box.backward else ():
            readers.setdefault(q, set()).add(number[p])
    inside = {p for p, b in enumerate(boxes) if b.leaves and b.kind != "input" and len(readers.get(p, ())) == 1}
    inside |= {p for p, b in enumerate(boxes) if b.leaves and p not in readers}
    groups: dict[tuple[bool, int], list[int]] = {}
    for p, box in enumerate(boxes):
        if p not in inside and not box.leaves:
            groups.setdefault((box.backward, number[p]), []).append(p)
    owner = {p: key for key, members in groups.items() for p in members}
    held: dict[int, list[int]] = {}
    for p in sorted(inside):
        for layer in readers.get(p, ()):
            held.setdefault(layer, []).append(p)
    return _joined(boxes, groups, owner, held, _alike(boxes, groups, held))


def _numbers(boxes: Sequence[Box], layers: Sequence[Node]) -> list[int]:
    """The layer of every box: forward the last one above it, backward the one whose derivative it is or serves."""
    of = {node: t for t, node in enumerate(layers)}
    number: list[int] = []
    for box in boxes:
        own = [of[line.node] for line in box.lines if line.node in of]
        if box.leaves:
            number.append(-1)
        elif not box.backward:
            number.append(own[0] if own else max((number[q] for q in box.reads), default=-1))
        else:
            target = [of[line.target] for line in box.lines if line.target in of]
            number.append(target[0] if target else min((number[q] for q in box.reads), default=len(layers) - 1))
    return [max(n, 0) if not b.leaves else n for n, b in zip(number, boxes, strict=True)]


def _alike(
    boxes: Sequence[Box], groups: Mapping[tuple[bool, int], Sequence[int]], held: Mapping[int, Sequence[int]]
) -> dict[int, int]:
    """For every layer the first of its run of layers of one form; runs shorter than ``ALIKE`` are none."""

    def form(layer: int) -> tuple:
        members = [p for side in (False, True) for p in groups.get((side, layer), ())]
        texts = tuple(re.sub(r"(?<=\w)\d+", "#", full_text(line)) for p in members for line in boxes[p].lines)
        return texts, tuple(boxes[p].shape for p in (*members, *held.get(layer, ())))

    order = sorted({layer for _, layer in groups})
    first: dict[int, int] = {}
    run: list[int] = []
    for layer in [*order, None]:
        if run and layer is not None and layer == run[-1] + 1 and form(layer) == form(run[0]):
            run.append(layer)
            continue
        first.update({n: run[0] if len(run) >= ALIKE else n for n in run})
        run = [layer] if layer is not None else []
    return first


def _joined(
    boxes: Sequence[Box],
    groups: Mapping[tuple[bool, int], Sequence[int]],
    owner: Mapping[int, tuple[bool, int]],
    held: Mapping[int, Sequence[int]],
    first: Mapping[int, int],
) -> list[Box]:
    alone = [p for p, b in enumerate(boxes) if b.leaves and p not in {q for each in held.values() for q in each}]
    alone = [p for p in alone if any(p in b.reads for b in boxes)]
    keys = list(dict.fromkeys((side, first[layer]) for side, layer in groups))
    place: dict[int, int] = {p: t for t, p in enumerate(alone)}
    where = {key: len(alone) + t for t, key in enumerate(keys)}
    place |= {p: where[side, first[layer]] for p, (side, layer) in owner.items()}
    found = [boxes[p] for p in alone]
    for side, layer in keys:
        run = [n for n, f in first.items() if f == layer]
        members = [p for n in run for p in groups.get((side, n), ())]
        box = _of_layer([boxes[p] for p in members], [boxes[q] for n in run for q in held.get(n, ())], run)
        here = where[side, layer]
        box.reads = _places([q for p in members for q in boxes[p].reads], place, here)
        box.values = _places([q for p in members for q in boxes[p].values], place, here)
        box.twin = where.get((False, layer)) if side else None
        found.append(box)
    return found


def _places(read: Sequence[int], place: Mapping[int, int], here: int) -> list[int]:
    return [q for q in dict.fromkeys(place[p] for p in read if p in place) if q != here]


def _of_layer(members: Sequence[Box], leaves: Sequence[Box], run: Sequence[int]) -> Box:
    """One box for the boxes of a layer, or of a run of layers of one form, whose first is written out."""
    count = len(members) // len(run)
    lines = [line for m in members[:count] for line in m.lines]
    text = [row for line in lines[:SHOWN] for row in broken(full_text(line))[:3]]
    text += [f"… {len(lines) - SHOWN} more"] if len(lines) > SHOWN else []
    first = leaves[: len(leaves) // len(run)]
    params = ", ".join(f"{b.name} {b.shape}" for b in first)
    last = next((m for m in reversed(members[:count]) if m.kind in ("loss", "output")), members[0])
    title = f"layer {run[0]}" if len(run) == 1 else f"layers {run[0]} to {run[-1]}, {len(run)} of one form"
    said = f"holds {params}" if params and not last.backward else ""
    said = said if len(said) <= WIDEST + 8 else f"holds {len(first)} parameters"
    if len(run) > 1:
        said = "  ".join(x for x in (f"× {len(run)}", said) if x)
    shape = members[count - 1].shape if not last.backward else members[0].shape
    kind: Kind = last.kind if not last.backward else "adjoint"
    return Box(kind, title, text, shape, said, lines=[x for m in members for x in m.lines],
               leaves=[x for b in leaves for x in b.leaves])  # fmt: skip
