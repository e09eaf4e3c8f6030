"""Tiles of dot products: sums along what lies side by side in both factors, as in the gradient of a kernel.

C[i, j] = sum_p sum_q sum_k A[i, p, q, k] B[j, p, q, k]. The lanes of a vector hold terms, k modulo the lane count, and
are added in a fixed tree at the end; every element of C has sums of its own, so that bits depend on no cut of rows and
columns. Few columns, which would fill a part of a vector in a tile of :mod:`.gemm`, cost nothing here.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from llvmlite import ir

from graphc.primitives import types
from graphc.primitives.intrinsics import Intrinsic
from graphc.primitives.matmul.gemm import call_shared, cut, integer_of, lanes_of
from graphc.primitives.matmul.vector_ir import Int, Vectors
from graphc.primitives.types import are_factors, is_pointer
from graphc.records import record

TALLEST = 6
"""Rows of a tile: with two columns, sums and what is loaded fit sixteen registers."""

UNROLLED = 8
"""Vectors along k that are written one after the other; more are a loop."""


@record(frozen=True)
class Side:
    """A factor: element (i, p, q, k) lies at base[i*step + p*far + q*near + k]."""

    base: ir.Value
    step: int
    far: int
    near: int


@record(frozen=True)
class Sums:
    """Lengths of the sums: ``far`` and ``near`` loops around ``k`` literal terms, in vectors of ``lanes``."""

    far: Int
    near: Int
    k: int
    lanes: int


def _tile(v: Vectors, a: Side, b: Side, rows: range, n: int, sums: Sums) -> list[ir.Value]:
    """All sums of some rows and n columns, each a vector of lanes, row after row."""

    def turn(k: Int, active: int | None, at: Sequence[ir.Value], acc: list[ir.Value]) -> list[ir.Value]:
        mask = v.mask(sums.lanes, active)
        load = lambda start, side, i: v.load(v.at(start, i * side.step, k), sums.lanes, mask)
        right = [load(at[1], b, j) for j in range(n)]
        out = list(acc)
        for r, i in enumerate(rows):
            left = load(at[0], a, i)
            out[r * n : r * n + n] = [v.fma(left, y, s) for y, s in zip(right, out[r * n : r * n + n], strict=True)]
        return out

    def along(at: Sequence[ir.Value], acc: list[ir.Value]) -> list[ir.Value]:
        whole = sums.k - sums.k % sums.lanes
        if whole > UNROLLED * sums.lanes:
            acc = v.loop(whole, acc, lambda k, acc: turn(k, None, at, acc), step=sums.lanes)
        else:
            for k in range(0, whole, sums.lanes):
                acc = turn(k, None, at, acc)
        return turn(whole, sums.k - whole, at, acc) if whole < sums.k else acc

    def near(at: Sequence[ir.Value], acc: list[ir.Value]) -> list[ir.Value]:
        moved = lambda q: [v.at(x, v.mul(q, side.near)) for x, side in zip(at, (a, b), strict=True)]
        return v.loop(sums.near, acc, lambda q, acc: along(moved(q), acc))

    moved = lambda p: [v.at(side.base, v.mul(p, side.far)) for side in (a, b)]
    return v.loop(sums.far, [v.zero(sums.lanes)] * (len(rows) * n), lambda p, acc: near(moved(p), acc))


@Intrinsic
def contract_dots(
    a: Any, oa: Any, rsa: Any, csa2: Any, csa1: Any, b: Any, ob: Any, rsb: Any, csb2: Any, csb1: Any,
    c: Any, oc: Any, rsc: Any, csc: Any, m: Any, n: Any, k2: Any, k1: Any, k: Any,
    mode: Any,
) -> Any:  # fmt: skip
    """C[i, j] = start + sum_p sum_q sum_k A[i, p, q, k] B[j, p, q, k] for p < k2, q < k1.

    A[i, p, q, k] = a[oa + i*rsa + p*csa2 + q*csa1 + k], B alike, C[i, j] = c[oc + i*rsc + j*csc]. Strides, m, n and k
    are literals; k2 and k1 may be. The start is 0 in mode 0, C in mode 1. C overlaps no operand.
    """
    literal = (rsa, csa2, csa1, rsb, csb2, csb1, rsc, csc, m, n, k, mode)
    if not are_factors((a, b, c), literal):
        return None

    def emit(builder: ir.IRBuilder, signature: types.Signature, args: Sequence[ir.Value]) -> None:
        v = Vectors(builder, a.dtype.llvm)
        number = {position: integer_of(builder, signature, args, position)
                  for position, kind in enumerate(signature.args) if not is_pointer(kind)}  # fmt: skip
        places = [v.at(args[position], number[position + 1]) for position in (0, 5, 10)]
        fixed = [kind.literal_value for kind in literal]
        rsa, csa2, csa1, rsb, csb2, csb1, rsc, csc, m, n, k, mode = fixed

        def product(inner: Vectors, pointers: list[ir.Value], sizes: list[Int]) -> None:
            left, right = Side(pointers[0], rsa, csa2, csa1), Side(pointers[1], rsb, csb2, csb1)
            sums, first = Sums(sizes[0], sizes[1], k, lanes_of(inner, k)), 0
            for height in cut(m, TALLEST):
                rows = range(first, first + height)
                found = iter(_tile(inner, left, right, rows, n, sums))
                for i in rows:
                    for j in range(n):
                        place, total = inner.at(pointers[2], i * rsc + j * csc), inner.total(next(found))
                        inner.store(inner.ir.fadd(inner.load(place, 1), total) if mode else total, place, 1)
                first += height

        call_shared(v, "_".join(map(str, ("contract_dots", *fixed))), places, [number[16], number[17]], product)

    words = (a, oa, rsa, csa2, csa1, b, ob, rsb, csb2, csb1, c, oc, rsc, csc, m, n, k2, k1, k, mode)
    return types.void(*words), emit
