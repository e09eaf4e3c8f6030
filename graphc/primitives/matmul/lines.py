"""Tiles of several lines: columns that lie in pieces, such as the rows of a picture, of which few fill the vectors.

C[i, l, j] = start + sum_p sum_q sum_k A[i, p, q, k] B[p, q, k, l, j], the columns j of a line side by side. A picture 8
wide is one vector of 8 lanes a line; two lines make a tile whose sums hide how long an operation takes. Every element
has one chain of sums, as in :mod:`.gemm`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from llvmlite import ir

from graphc.primitives import types
from graphc.primitives.intrinsics import Intrinsic
from graphc.primitives.matmul.gemm import (
    BLOCKS,
    WIDTH,
    Matrix,
    Panel,
    Product,
    call_shared,
    cut,
    integer_of,
    lanes_of,
    panel_body,
    power_above,
)
from graphc.primitives.matmul.vector_ir import Int, Vectors, vector_unit
from graphc.primitives.types import are_factors, is_pointer


def emit_lines(v: Vectors, p: Product, lines: int, steps: tuple[int, int]) -> None:
    """Tiles of as many lines as make whole tiles; ``steps`` are the distances of lines in B and in C."""
    assert isinstance(p.n, int)
    lanes, most = lanes_of(v, p.n), WIDTH[vector_unit()[1]]
    line = [(o, min(lanes, p.n - o)) for o in range(0, p.n, lanes)]  # column, lanes that exist
    group = min(lines, most // math.gcd(len(line), most))

    def some(first: Int, count: int) -> list[ir.Value]:
        b, c = (v.at(side.base, v.mul(first, step)) for side, step in zip((p.b, p.c), steps, strict=True))
        moved = replace(p, b=replace(p.b, base=b), c=replace(p.c, base=c))
        places = [(t * steps[0] + o, t * steps[1] + o, some) for t in range(count) for o, some in line]
        for k in range(0, len(places), most):
            tile = places[k : k + most]
            panel = Panel(0, 1, tuple(power_above(some) for *_, some in tile), None, tuple(tile))
            for part in _parts(v, moved, BLOCKS[vector_unit()[1]][len(tile) - 1]):
                panel_body(v, part, panel)(0, [])
        return []

    whole = lines - lines % group
    v.loop(whole, [], lambda t, _: some(t, group), step=group)
    if whole < lines:
        some(whole, lines - whole)


def _parts(v: Vectors, p: Product, rows: int) -> list[Product]:
    """Literal rows in blocks of nearly one size, each at most so many rows."""
    if not isinstance(p.m, int):
        return [p]
    found, first = [], 0
    for height in cut(p.m, rows):
        a, c = (replace(side, base=v.at(side.base, v.mul(side.rows, first))) for side in (p.a, p.c))
        found.append(replace(p, a=a, c=c, m=height))
        first += height
    return found


@Intrinsic
def contract_lines(
    a: Any, oa: Any, rsa: Any, csa2: Any, csa1: Any, csa: Any, b: Any, ob: Any, rsb2: Any, rsb1: Any,
    rsb: Any, lsb: Any, c: Any, oc: Any, ldc: Any, lsc: Any, m: Any, lines: Any, n: Any, k2: Any, k1: Any, k: Any,
    mode: Any,
) -> Any:  # fmt: skip
    """C[i, l, j] = start + sum_p sum_q sum_k A[i, p, q, k] B[p, q, k, l, j]; columns of a line lie side by side.

    A[i, p, q, k] = a[oa + i*rsa + p*csa2 + q*csa1 + k*csa], B[p, q, k, l, j] = b[ob + p*rsb2 + q*rsb1 + k*rsb + l*lsb
    + j] and C[i, l, j] = c[oc + i*ldc + l*lsc + j]. All but offsets, m, k2, k1 and k are literals; the start is 0 in
    mode 0, C in mode 1. C overlaps no operand.
    """
    steps = (rsa, csa2, csa1, csa, rsb2, rsb1, rsb, lsb, ldc, lsc, lines, n, mode)
    if not are_factors((a, b, c), steps):
        return None
    fixed = [kind.literal_value for kind in steps]

    def emit(builder: ir.IRBuilder, signature: types.Signature, args: Sequence[ir.Value]) -> None:
        v = Vectors(builder, a.dtype.llvm)
        number = {position: integer_of(builder, signature, args, position)
                  for position, kind in enumerate(signature.args) if not is_pointer(kind)}  # fmt: skip
        places = [v.at(args[position], number[position + 1]) for position in (0, 6, 12)]

        def product(inner: Vectors, pointers: list[ir.Value], sizes: list[Int]) -> None:
            (a, b, c), (m, k2, k1, k) = pointers, sizes
            row, far_a, near_a, step_a, far_b, near_b, step_b, line_b, row_c, line_c, lines, n, mode = fixed
            parts = Matrix(a, row, step_a), Matrix(b, step_b, 1), Matrix(c, row_c, 1)
            around = ((k2, far_a, far_b), (k1, near_a, near_b))
            emit_lines(inner, Product(*parts, m, n, k, c, 1, mode, around=around), lines, (line_b, line_c))

        sizes = [number[position] for position in (16, 19, 20, 21)]
        call_shared(v, "_".join(map(str, ("contract_lines", *fixed))), places, sizes, product)

    words = (a, oa, rsa, csa2, csa1, csa, b, ob, rsb2, rsb1, rsb, lsb, c, oc, ldc, lsc, m, lines, n, k2, k1, k, mode)
    return types.void(*words), emit
