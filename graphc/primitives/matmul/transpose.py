"""Transposed copies of matrices, by squares in vector registers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from llvmlite import ir

from graphc.primitives import types
from graphc.primitives.intrinsics import Intrinsic
from graphc.primitives.matmul.gemm import COPIES, call_shared, integer_of, kinds_of, multiple_of
from graphc.primitives.matmul.vector_ir import Int, Vectors
from graphc.primitives.types import is_pointer


@Intrinsic
def transpose(dst: Any, doff: Any, src: Any, soff: Any, rows: Any, cols: Any, width: Any) -> Any:
    """dst[doff + j*rows + i] = src[soff + i*width + j] for i < rows, j < cols; the two do not overlap."""
    if not is_pointer(dst, src) or dst.dtype != src.dtype or dst.dtype not in (types.float32, types.float64):
        return None

    def emit(builder: ir.IRBuilder, signature: types.Signature, args: Sequence[ir.Value]) -> None:
        v = Vectors(builder, dst.dtype.llvm)
        number = [integer_of(builder, signature, args, position) for position in (1, 3, 4, 5, 6)]
        places = [v.at(args[0], number[0]), v.at(args[2], number[1])]
        if kinds_of(v, "transpose") >= COPIES:
            number = list(map(v.int, number))
        call_shared(v, "transpose", places, number[2:], lambda inner, p, sizes: emit_transpose(inner, *p, *sizes))

    return types.void(dst, doff, src, soff, rows, cols, width), emit


def emit_transpose(v: Vectors, dst: ir.Value, src: ir.Value, rows: Int, cols: Int, width: Int) -> None:
    """Square blocks through registers, the rest element by element."""
    lanes = 32 // v.size
    high, wide = multiple_of(v, rows, lanes), multiple_of(v, cols, lanes)

    def block(i: Int, j: Int) -> list[ir.Value]:
        corner, target = v.at(src, v.mul(i, width), j), v.at(dst, v.mul(j, rows), i)
        square = [v.load(v.at(corner, v.mul(r, width)), lanes) for r in range(lanes)]
        for r, column in enumerate(transposed(v, square)):
            v.store(column, v.at(target, v.mul(r, rows)), lanes)
        return []

    def element(i: Int, j: Int) -> list[ir.Value]:
        v.store(v.load(v.at(src, v.mul(i, width), j), 1), v.at(dst, v.mul(j, rows), i), 1)
        return []

    def each(row_range: tuple[Int, Int, int], column_range: tuple[Int, Int, int], body: Callable[..., Any]) -> None:
        (start, stop, step), (left, right, stride) = row_range, column_range
        columns = lambda i: v.loop(right, [], lambda j, _: body(i, j), start=left, step=stride)
        v.loop(stop, [], lambda i, _: columns(i), start=start, step=step)

    each((0, high, lanes), (0, wide, lanes), block)
    if wide != cols or not isinstance(cols, int):
        each((0, high, 1), (wide, cols, 1), element)
    if high != rows or not isinstance(rows, int):
        each((high, rows, 1), (0, cols, 1), element)


def transposed(v: Vectors, square: list[ir.Value]) -> list[ir.Value]:
    """Transpose a square of lanes by log2(lanes) rounds, each swapping off-diagonal blocks of half the size."""
    lanes, half = len(square), len(square) // 2
    while half:
        low = [lane if not lane & half else lane - half + lanes for lane in range(lanes)]
        high = [lane + half if not lane & half else lane + lanes for lane in range(lanes)]
        paired = list(square)
        for r in (r for r in range(lanes) if not r & half):
            paired[r] = v.shuffle(square[r], square[r + half], low)
            paired[r + half] = v.shuffle(square[r], square[r + half], high)
        square, half = paired, half // 2
    return square
