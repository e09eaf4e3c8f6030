"""Kernels in blocks of queries as program text: loops around products and nests, which compute one block of each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from graphc.emit.expressions import Printer
from graphc.emit.nests import Frame, NestPrinter
from graphc.emit.text import BLOCK, KEYS, Part, Text, extent, offset, place
from graphc.ir.letters import index_letters
from graphc.ir.node import Node
from graphc.lower.cost import TILES
from graphc.lower.kernels import Blocks, Cut, Inside, Kernel, Nest, Placed
from graphc.lower.layout import Buffer, Count

KEYS_AT_ONCE = 32  # loops go through so many at once; another number of them has a rest
Group = tuple[Kernel, ...]  # kernels whose loops are joined


def print_blocks(
    text: Text,
    blocks: Blocks,
    buffers: Mapping[Node, Buffer],
    runs: Sequence[Sequence[Group]],
    part: Part,
) -> None:
    """One block after another through all kernels, whose ``runs`` are each inside one loop over the rows of a block;
    ``part`` is that of the first loop."""
    *around, (count, _) = blocks.loops
    heads = [f"for {name} in range({extent(e)}):" for e, name in around]
    if around:
        heads[0] = f"for {around[0][1]} in range({part.bounds}):"
    inside = {id(x.kernel): x for x in blocks.inside}
    sums = [(x.cut, _rows(x.cut, part, bool(around))) for x in blocks.inside if x.cut and x.last == x.cut.term]
    for cut, own in sums:
        region, start = cut.c.buffer.region, "" if own.start == "0" else own.start
        text.add(f"fill({region}, {offset(place(cut.c.buffer), start)}, f(0.0), {own.length})")
    even, end = isinstance(count, int) and count % blocks.size == 0, f"{BLOCK.start} + {blocks.size}"
    with text.loops([*heads, f"for {BLOCK.start} in range(0, {extent(count)}, {blocks.size}):"]):
        text.add(f"{BLOCK.stop} = {end}" if even else f"{BLOCK.stop} = {end} if {end} < {count} else {count}")
        if blocks.keys:
            text.add(*_last_key(blocks))
        for run in runs:
            text.note(*(kernel for group in run for kernel in group))
            first = inside[id(run[0][0])]
            if first.cut is None:
                _print_nests(text, [[inside[id(k)] for k in group] for group in run], blocks, buffers)
            else:
                _print_product(text, first, first.cut, blocks, str(blocks.size) if even else BLOCK.length)
    for cut, own in sums:
        if cut.scale != 1:
            _print_scale(text, cut, [f"for t in range({own.bounds}):"], offset(place(cut.c.buffer), "t"))


def _last_key(blocks: Blocks) -> tuple[str, str]:
    """Where the keys of a block end, behind those that its queries see."""
    seen = f"({offset(BLOCK.stop, str(blocks.behind + KEYS_AT_ONCE - 1))})//{KEYS_AT_ONCE}*{KEYS_AT_ONCE}"
    return f"{KEYS} = {seen}", f"{KEYS} = {KEYS} if {KEYS} < {blocks.keys} else {blocks.keys}"


def _rows(cut: Cut, part: Part, rows: bool) -> Part:
    """The elements of what is added up block by block, of the rows of a part or of all."""
    out = cut.c.buffer
    return part.times(Count.of(out.extents[1:]).text()) if rows else Part(stop=out.size.text())


def _print_product(text: Text, x: Inside, cut: Cut, blocks: Blocks, length: str) -> None:
    """The call that computes a block of a product, or adds its part to a sum over all blocks."""
    steps = [*zip(x.own[:-1], (name for _, name in blocks.loops), strict=False), (x.last, BLOCK.start)]
    size = lambda i: length if i == x.last else KEYS if i == x.key else extent(x.kernel.node.extents[i])
    a, b, c = (_at(matrix, steps) for matrix in (cut.a, cut.b, cut.c))
    adds = int(x.last == cut.term)
    text.add(f"{TILES}({a}, {cut.a.step(cut.row)}, {cut.a.step(cut.term)}, {b}, {cut.b.step(cut.term)}, 1, {c}, "
            f"{cut.c.step(cut.row)}, {size(cut.row)}, {size(cut.column)}, {size(cut.term)}, "
             f"{cut.c.buffer.region}, {place(cut.c.buffer)}, {adds})")  # fmt: skip
    if cut.scale != 1 and not adds:
        row, column = index_letters([1, 1], names=[name for _, name in blocks.loops])
        heads = [f"for {row} in range({length}):", f"for {column} in range({size(cut.column)}):"]
        _print_scale(text, cut, heads, offset(c.split(", ", 1)[1], f"{row}*{cut.c.step(cut.row)} + {column}"))


def _print_scale(text: Text, cut: Cut, heads: Sequence[str], at: str) -> None:
    """Multiply what a product gave by its constant."""
    text.add(f"scale = {Printer({}, share=False, hoists=False, given=text.number).text(cut.scale)[0]}")
    with text.loops(heads):
        target = f"{cut.c.buffer.region}[{at}]"
        text.add(f"{target} = {target}*scale")


def _at(matrix: Placed, steps: Sequence[tuple[int | None, str]]) -> str:
    """Region and offset of where a matrix begins; what has room for a block begins with it."""
    buffer = matrix.buffer
    here = {i for t, i in enumerate(matrix.at) if buffer.in_blocks(t)}
    moved = [(name, matrix.step(i)) for i, name in steps if i is not None and i not in here]
    parts = [name if step == 1 else f"{name}*{step}" for name, step in moved if step]
    return f"{buffer.region}, {offset(place(buffer), ' + '.join(parts))}"


def _print_nests(
    text: Text, groups: Sequence[Sequence[Inside]], blocks: Blocks, buffers: Mapping[Node, Buffer]
) -> None:
    """Nests for the rows of a block: several in one loop over them."""
    loop = f"for {blocks.loops[-1][1]} in range({BLOCK.bounds}):"
    with text.loops([loop] if len(groups) > 1 else []):
        for group in groups:
            own = group[0].own
            letters = {i: name for i, (_, name) in zip(own, blocks.loops, strict=True) if i is not None}
            taken = {name for i, (_, name) in zip(own, blocks.loops, strict=True) if i is None}
            frame = Frame(letters, taken, group[0].last, group[0].key)
            nests = [x.kernel for x in group if isinstance(x.kernel, Nest)]
            NestPrinter(text, buffers, nests, BLOCK, len(letters) - (len(groups) == 1), frame).print()
