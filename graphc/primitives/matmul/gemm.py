"""Matrix products as register-blocked tiles of vector code, one function a kind of product.

C[i, j] = start[i, j] + sum_k A[i, k] B[k, j], where ``start`` is 0, C itself, or bias[j]. Every element sums k upwards
in one chain of fused operations (the matrix-vector case: in vector lanes that are added at the end), whatever block
its row falls into: a row has the same bits for every M and every split of the rows.
"""

from __future__ import annotations

import functools
import math
import weakref
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from llvmlite import ir

from graphc.primitives import types
from graphc.primitives.intrinsics import Intrinsic
from graphc.primitives.matmul.blocks import has_blocks, in_blocks
from graphc.primitives.matmul.product import ADD, BIAS, SET, Matrix, Panel, Product
from graphc.primitives.matmul.vector_ir import I64, Int, Vectors, function_of, vector_unit
from graphc.primitives.memory import as_index
from graphc.primitives.types import are_factors, is_pointer

LATENCY = 4
"""Cycles from one fused operation of a chain to the next; a lone row takes at least so many for each term."""

BLOCKS = {32: (8, 8, 4, 4), 16: (8, 6, 4)}
"""Vector registers -> rows of a block of 1, 2, ... vectors: enough sums to hide the latency, and little code."""

WIDTH = {32: 4, 16: 2}
"""Vector registers -> vectors of a panel, at most; one more where a lone vector would be left, which loads a factor for
every fused operation."""


ROWS, SMALL, OFTEN = 32, 256, 8
"""Rows of a free extent, for an estimate; elements of a right factor that is small: a call takes some nanoseconds, a
tenth of six products of 4 by 8 by 8. A product with a small one stands alone when a program has more than so many of
its kind."""

MANY, COPIES = 8, 4
"""Kinds of products, and of transposed copies, that are written with their sizes as literals. What comes on top shares
the code of its panels, whose strides and lengths are arguments: a deep network of ever other widths compiles in the
time of its kinds of panels. Networks of a few layers stay as they were, and bits do not depend on panels."""

_calls: weakref.WeakKeyDictionary[ir.Function, int] = weakref.WeakKeyDictionary()


def emit_product(v: Vectors, p: Product) -> None:
    """Emit a product by the method that its literal shape and strides call for."""
    if p.n == 1 and p.a.columns == 1 and p.b.rows == 1 and p.k != 1:
        emit_dots(v, p)
        return
    if p.n == 1 and p.a.rows == 1 and p.c.rows == 1:
        column = replace(p, a=p.b.transposed, b=p.a.transposed, c=p.c.transposed, m=1, n=p.m, bias_step=0)
        emit_tiles(v, column)
        return
    emit_tiles(v, p)


def emit_dots(v: Vectors, p: Product) -> None:
    """c[i] = start + sum_k A[i, k] b[k], both contiguous in k: lanes sum k modulo the lane count, then a fixed tree."""
    lanes = lanes_of(v, p.k)

    def turn(row: ir.Value) -> Callable[..., list[ir.Value]]:
        return lambda k, acc: [v.fma(v.load(v.at(row, k), lanes), v.load(v.at(p.b.base, k), lanes), acc[0])]

    def rest(row: ir.Value, k: Int, acc: ir.Value) -> ir.Value:
        mask = v.mask(lanes, v.add(p.k, v.mul(k, -1)))
        return v.fma(v.load(v.at(row, k), lanes, mask), v.load(v.at(p.b.base, k), lanes, mask), acc)

    def one_row(i: Int, _: list[ir.Value]) -> list[ir.Value]:
        row = v.at(p.a.base, v.mul(i, p.a.rows))
        whole = multiple_of(v, p.k, lanes)
        [acc] = v.loop(whole, [v.zero(lanes)], turn(row), step=lanes)
        if whole is not p.k and whole != p.k:
            acc = rest(row, whole, acc)
        place = v.at(p.c.base, v.mul(i, p.c.rows))
        start = _start(v, p, place, p.bias, 1, None)
        v.store(v.ir.fadd(start, v.total(acc)), place, 1)
        return []

    v.loop(p.m, [], one_row)


def emit_tiles(v: Vectors, p: Product) -> None:
    """Every panel of columns from top to bottom: whole blocks of rows, then the rows that are left."""
    if has_blocks(p):
        in_blocks(v, p, functools.partial(emit_tiles, v))
        return
    for panel in panels(v, p):
        if p.shared and p.b.columns == 1 and p.c.columns == 1:
            _call_panel(v, p, panel)
        else:
            v.loop(panel.count, [], panel_body(v, p, panel))


def _call_panel(v: Vectors, p: Product, panel: Panel) -> None:
    """Call the function of all panels of so many vectors, and of products of the same mode that lie alike."""
    most, last = vector_unit()[0] // v.size, panel.lanes[-1]
    active = panel.active if panel.active is not None else last if len(panel.lanes) > 1 and last < most else None
    lanes = panel.lanes[:-1] + (most if len(panel.lanes) > 1 else last,)
    fresh = None if p.fresh is None else v.ir.zext(p.fresh, I64)
    numbers = [p.a.rows, p.a.columns, p.b.rows, p.c.rows, p.m, p.k, panel.first, panel.count, fresh, active]
    fixed = [x if x == 1 and t < 2 or x is None else None for t, x in enumerate(numbers)]  # strides of 1 are literals
    fixed[-2:] = None, None

    def emit(inner: Vectors, args: Sequence[ir.Value]) -> None:
        given = iter(args[4:])
        a_rows, a_columns, b_rows, c_rows, m, k, first, count, new, some = [
            x if x is not None else next(given) if number is not None else None
            for x, number in zip(fixed, numbers, strict=True)
        ]
        parts = Matrix(args[0], a_rows, a_columns), Matrix(args[1], b_rows, 1), Matrix(args[2], c_rows, 1)
        own = Product(*parts, m, 1, k, args[3], p.bias_step, p.mode)
        own = own if new is None else replace(own, fresh=inner.ir.icmp_signed("!=", new, I64(0)))
        inner.loop(count, [], panel_body(inner, own, Panel(first, count, lanes, some)))

    variable = [v.int(x) for x, literal in zip(numbers, fixed, strict=True) if literal is None and x is not None]
    words = ("panel", *lanes, p.mode, p.bias_step, *fixed[:2], "part" if active is not None else "whole")
    words = words if fresh is None else (*words, "on")
    pointers = [p.a.base, p.b.base, p.c.base, p.bias]
    kinds = [v.kind.as_pointer()] * 4 + [I64] * len(variable)
    v.ir.call(function_of(v, "_".join(map(str, words)), kinds, emit), [*pointers, *variable])


def panel_body(v: Vectors, p: Product, panel: Panel) -> Callable[..., list[ir.Value]]:
    vectors = len(panel.lanes)
    rows = block_rows(vectors, p.m)

    def body(t: Int, _: list[ir.Value]) -> list[ir.Value]:
        block = functools.partial(_block, v, p, panel, v.add(panel.first, v.mul(t, panel.width)))
        if isinstance(p.m, int):
            whole = multiple_of(v, p.m, rows)
            v.loop(whole, [], lambda i, _: block(i, rows), step=rows)
            return block(whole, p.m % rows) if p.m != whole else []
        lone = rows if p.reads_c else rows * vectors // max(vectors, LATENCY)
        whole, last = _cut_rows(v, p.m, rows, lone)
        v.loop(whole, [], lambda i, _: block(v.least(i, last), rows), step=rows)
        for few in (4, 2) if p.fresh is not None else ():
            end = v.ir.add(whole, v.int(multiple_of(v, v.ir.sub(p.m, whole), few)))
            v.loop(end, [], lambda i, _, few=few: block(i, few), start=whole, step=few)
            whole = end
        v.loop(p.m, [], lambda i, _: block(i, 1), start=whole)
        return []

    return body


def _cut_rows(v: Vectors, m: ir.Value, rows: int, lone: int) -> tuple[ir.Value, ir.Value]:
    """The end of the rows done in blocks, and the last block's first row.

    More than ``lone`` rows left over are done by one more block that ends at the last row: it computes some rows for a
    second time, and stores the same bits. A sum that starts with C must not do that.
    """
    whole = multiple_of(v, m, rows)
    last = v.ir.sub(m, v.int(rows))
    if lone >= rows - 1:
        return whole, last
    many = v.ir.icmp_signed(">", v.ir.sub(m, whole), v.int(lone))
    overlap = v.ir.and_(many, v.ir.icmp_signed(">", m, v.int(rows)))
    return v.ir.select(overlap, m, whole), last


def _block(v: Vectors, p: Product, panel: Panel, first: Int, i: Int, rows: int) -> list[ir.Value]:
    """C[i : i + rows, first : first + width]: all sums in registers, one pass over k."""
    lanes, offsets = panel.lanes, panel.offsets()
    masks = panel.masks(v)
    in_b, in_c = ([place[t] for place in panel.places] or offsets for t in range(2))
    corner = v.at(p.c.base, v.mul(i, p.c.rows), v.mul(first, p.c.columns))
    places = [[v.at(corner, v.mul(r, p.c.rows), v.mul(o, p.c.columns)) for o in in_c] for r in range(rows)]
    bias = v.at(p.bias, v.mul(first, p.bias_step))
    biases = [v.at(bias, o * p.bias_step) for o in offsets]
    left = v.at(p.a.base, v.mul(i, p.a.rows))
    top = v.at(p.b.base, v.mul(first, p.b.columns))

    def turn(left: ir.Value, top: ir.Value, k: Int, sums: list[ir.Value]) -> list[ir.Value]:
        column, row = v.at(left, v.mul(k, p.a.columns)), v.at(top, v.mul(k, p.b.rows))
        right = [v.load(v.at(row, v.mul(o, p.b.columns)), w, mask) for o, w, mask in zip(in_b, lanes, masks)]
        entries = [v.load(v.at(column, v.mul(r, p.a.rows)), 1) for r in range(rows)]
        pairs = [(entry, vector) for entry in entries for vector in right]
        widths = lanes * rows
        return [v.fma(v.splat(x, w), y, total) for (x, y), w, total in zip(pairs, widths, sums)]

    def summed(depth: int, left: ir.Value, top: ir.Value, sums: list[ir.Value]) -> list[ir.Value]:
        if depth == len(p.around):
            return v.loop(p.k, sums, functools.partial(turn, left, top))
        count, down, across = p.around[depth]
        inner = lambda k, sums: summed(depth + 1, v.at(left, v.mul(k, down)), v.at(top, v.mul(k, across)), sums)
        return v.loop(count, sums, inner)

    cells = [(row[t], biases[t], lanes[t], masks[t]) for row in places for t in range(len(lanes))]
    sums = summed(0, left, top, [_start(v, p, *cell) for cell in cells])
    for total, (place, _, width, mask) in zip(sums, cells):
        v.store(total, place, width, mask)
    return []


def _start(v: Vectors, p: Product, place: ir.Value, bias: ir.Value, lanes: int, mask: ir.Value | None) -> ir.Value:
    """The value that a sum begins with."""
    if p.fresh is not None:
        begun = v.load(place, lanes, mask)
        return v.ir.select(p.fresh, _start(v, replace(p, fresh=None), place, bias, lanes, mask), begun)
    if p.mode == ADD:
        return v.load(place, lanes, mask)
    if p.mode == BIAS and p.bias_step == 0:
        return v.splat(v.load(bias, 1), lanes)
    return v.load(bias, lanes, mask) if p.mode == BIAS else v.zero(lanes)


def panels(v: Vectors, p: Product) -> list[Panel]:
    """Cut the columns: panels of nearly equal width, so that no narrow one is left, and a masked last vector."""
    lanes = lanes_of(v, p.n) if p.b.columns == 1 and p.c.columns == 1 else 1
    most = WIDTH[vector_unit()[1]]
    if not isinstance(p.n, int):
        return _run_time_panels(v, p.n, lanes, most)
    *widths, last = cut(-(-p.n // lanes), most)
    if last == 1 and widths:
        last += widths.pop()
    return _grouped([*widths, last], lanes, p.n % lanes)


def _run_time_panels(v: Vectors, n: ir.Value, lanes: int, most: int) -> list[Panel]:
    """Wide panels, then single vectors, then one masked vector for the rest."""
    wide, whole = multiple_of(v, n, most * lanes), multiple_of(v, n, lanes)
    count = v.ir.sdiv(wide, v.int(most * lanes))
    middle = v.ir.sdiv(v.ir.sub(whole, wide), v.int(lanes))
    found = [Panel(0, count, (lanes,) * most), Panel(wide, middle, (lanes,))]
    if lanes == 1:
        return found
    rest = v.ir.sub(n, whole)
    last = v.ir.zext(v.ir.icmp_signed(">", rest, v.int(0)), rest.type)
    return [*found, Panel(whole, last, (lanes,), rest)]


def _grouped(widths: list[int], lanes: int, active: int) -> list[Panel]:
    """Neighbours of one width share their code; a panel whose last vector is not full stands alone."""
    out: list[Panel] = []
    first = 0
    for position, width in enumerate(widths):
        ragged = position == len(widths) - 1 and active > 0
        if ragged:
            last = power_above(active)
            out.append(Panel(first, 1, (lanes,) * (width - 1) + (last,), active if active < last else None))
        elif out and len(out[-1].lanes) == width:
            out[-1] = replace(out[-1], count=out[-1].count + 1)
        else:
            out.append(Panel(first, 1, (lanes,) * width))
        first += width * lanes
    return out


def block_rows(vectors: int, m: Int) -> int:
    """Rows of a block: all its sums fit the registers; a literal row count is cut without a rest where possible."""
    most = BLOCKS[vector_unit()[1]][vectors - 1]
    if not isinstance(m, int):
        return most
    fitting = [rows for rows in range(most, (most + 1) // 2, -1) if m % rows == 0]
    return fitting[0] if fitting else min(m, most)


def cut(extent: int, most: int) -> list[int]:
    """Pieces of nearly one size, none above ``most``."""
    count = -(-extent // most)
    few, more = divmod(extent, count)
    return [few + 1] * more + [few] * (count - more)


def lanes_of(v: Vectors, extent: Int) -> int:
    """Lanes of a vector for an extent: the host's, or fewer where a literal extent needs fewer."""
    most = vector_unit()[0] // v.size
    return min(most, power_above(extent)) if isinstance(extent, int) else most


def power_above(extent: int) -> int:
    """The least power of two that is not below extent."""
    return 1 << (extent - 1).bit_length()


def multiple_of(v: Vectors, extent: Int, step: int) -> Int:
    """The largest multiple of step that is not above extent."""
    if isinstance(extent, int):
        return extent // step * step
    return extent if step == 1 else v.ir.sub(extent, v.ir.srem(extent, v.int(step)))


def integer_of(builder: ir.IRBuilder, signature: types.Signature, args: Sequence[ir.Value], position: int) -> Int:
    """A literal argument as a Python int, another one as its int64 value."""
    kind = signature.args[position]
    if isinstance(kind, types.IntegerLiteral):
        return int(kind.literal_value)
    return as_index(builder, signature, position, args)


def kinds_of(v: Vectors, name: str) -> int:
    """The functions of a name, with all their literals, that the program has."""
    return sum(known.startswith(f"graphc_{name}_") for known in v.ir.module.globals)


def is_large(sizes: Sequence[Int]) -> bool:
    """Whether a call costs nothing beside a product: by its literal sizes, and those of the others but one, which are
    the rows that it is done for."""
    literal = [size for size in sizes if isinstance(size, int)]
    return math.prod(literal) * ROWS ** max(0, len(sizes) - len(literal) - 1) >= SMALL


Emit = Callable[[Vectors, list[ir.Value], list[Int]], None]


def call_shared(v: Vectors, name: str, pointers: list[ir.Value], sizes: list[Int], emit: Emit) -> None:
    """Call a function of the program that ``emit`` writes, when there is none yet of that name and literal sizes.

    A small one is put into its callers, unless it is called often; others stand alone: passes and code grow with the
    kinds of products, not with their number, and one that was compiled before is there already.
    """
    variable = [size for size in sizes if isinstance(size, ir.Value)]
    name = "_".join([name, *("x" if isinstance(size, ir.Value) else str(size) for size in sizes)])

    def body(inner: Vectors, args: Sequence[ir.Value]) -> None:
        rest = list(args[len(pointers) :])
        emit(inner, list(args[: len(pointers)]), [s if isinstance(s, int) else rest.pop(0) for s in sizes])

    function = function_of(v, name, [v.kind.as_pointer()] * len(pointers) + [I64] * len(variable), body)
    _calls[function] = _calls.get(function, 0) + 1
    alone = is_large(sizes) or _calls[function] > OFTEN
    function.attributes.discard("alwaysinline" if alone else "noinline")
    function.attributes.add("noinline" if alone else "alwaysinline")
    v.ir.call(function, [*pointers, *variable])


@Intrinsic
def gemm(
    a: Any, oa: Any, rsa: Any, csa: Any, b: Any, ob: Any, rsb: Any, csb: Any,
    c: Any, oc: Any, ldc: Any, m: Any, n: Any, k: Any, bias: Any, obias: Any, mode: Any,
) -> Any:  # fmt: skip
    """C[i, j] = start[i, j] + sum_k A[i, k] B[k, j]; A[i, k] = a[oa + i*rsa + k*csa], C[i, j] = c[oc + i*ldc + j].

    Strides and mode are literals; m, n and k may be literals. ``mode`` is 0: start = 0, 1: start = C, 2: start =
    bias[obias + j]; otherwise any pointer may stand for the bias. Fast when csb is 1 (any strides of A), or n is 1
    and one of A's strides is 1. C overlaps no operand.
    """
    literal = (rsa, csa, rsb, csb, ldc, mode)
    if not are_factors((a, b, c, bias), literal):
        return None

    def emit(builder: ir.IRBuilder, signature: types.Signature, args: Sequence[ir.Value]) -> None:
        v = Vectors(builder, a.dtype.llvm)
        number = {position: integer_of(builder, signature, args, position)
                  for position, kind in enumerate(signature.args) if not is_pointer(kind)}  # fmt: skip
        places = [v.at(args[position], number[position + 1]) for position in (0, 4, 8, 14)]
        rsa, csa, rsb, csb, ldc = (number[position] for position in (2, 3, 6, 7, 10))

        def product(inner: Vectors, pointers: list[ir.Value], sizes: list[Int]) -> None:
            (a, b, c, bias), (m, n, k) = pointers, sizes
            parts = Matrix(a, rsa, csa), Matrix(b, rsb, csb), Matrix(c, ldc, 1)
            large = math.prod(size if isinstance(size, int) else ROWS for size in (n, k)) >= SMALL
            shared = large and kinds_of(inner, "gemm") > MANY
            emit_product(inner, Product(*parts, m, n, k, bias, 1, mode.literal_value, shared))

        name = "_".join(map(str, ("gemm", rsa, csa, rsb, csb, ldc, mode.literal_value)))
        call_shared(v, name, places, [number[position] for position in (11, 12, 13)], product)

    return types.void(a, oa, rsa, csa, b, ob, rsb, csb, c, oc, ldc, m, n, k, bias, obias, mode), emit


@Intrinsic
def contract(
    a: Any, oa: Any, rsa: Any, csa2: Any, csa1: Any, csa: Any, b: Any, ob: Any, rsb2: Any, rsb1: Any,
    rsb: Any, c: Any, oc: Any, ldc: Any, m: Any, n: Any, k2: Any, k1: Any, k: Any,
) -> Any:  # fmt: skip
    """C[i, j] = sum_p sum_q sum_k A[i, p, q, k] B[p, q, k, j], the columns of B and C side by side.

    A[i, p, q, k] = a[oa + i*rsa + p*csa2 + q*csa1 + k*csa] for p < k2, q < k1, B alike. Strides are literals; m, n and
    the lengths of the sums may be. C overlaps no operand.
    """
    strides = (rsa, csa2, csa1, csa, rsb2, rsb1, rsb, ldc)
    if not are_factors((a, b, c), strides):
        return None

    def emit(builder: ir.IRBuilder, signature: types.Signature, args: Sequence[ir.Value]) -> None:
        v = Vectors(builder, a.dtype.llvm)
        number = {position: integer_of(builder, signature, args, position)
                  for position, kind in enumerate(signature.args) if not is_pointer(kind)}  # fmt: skip
        places = [v.at(args[position], number[position + 1]) for position in (0, 6, 11)]
        steps = [number[position] for position in (2, 3, 4, 5, 8, 9, 10, 13)]

        def product(inner: Vectors, pointers: list[ir.Value], sizes: list[Int]) -> None:
            (a, b, c), (m, n, k2, k1, k) = pointers, sizes
            row, far_a, near_a, step_a, far_b, near_b, step_b, wide = steps
            parts = Matrix(a, row, step_a), Matrix(b, step_b, 1), Matrix(c, wide, 1)
            around = ((k2, far_a, far_b), (k1, near_a, near_b))
            emit_tiles(inner, Product(*parts, m, n, k, c, 1, SET, around=around))

        sizes = [number[position] for position in range(14, 19)]
        call_shared(v, "_".join(map(str, ("contract", *steps))), places, sizes, product)

    words = (a, oa, rsa, csa2, csa1, csa, b, ob, rsb2, rsb1, rsb, c, oc, ldc, m, n, k2, k1, k)
    return types.void(*words), emit
