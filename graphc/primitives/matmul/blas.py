"""Matrix products by BLAS, called by symbol with the arguments of :func:`gemm`, and the rule that chooses."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from llvmlite import ir

from graphc.primitives import types
from graphc.primitives.code import alloca_once_value, declared
from graphc.primitives.intrinsics import Intrinsic
from graphc.primitives.matmul import gemm as tiles
from graphc.primitives.matmul.vector_ir import Vectors
from graphc.primitives.memory import as_index
from graphc.primitives.types import are_factors

_I8, _I32 = ir.IntType(8), ir.IntType(32)
_SYMBOLS = {types.float32: "graphc_blas_sgemm", types.float64: "graphc_blas_dgemm"}


def _slot(builder: ir.IRBuilder, value: ir.Value) -> ir.Value:
    """The address of a value: Fortran passes everything by reference."""
    return alloca_once_value(builder, value)


def _layout(rows: int, columns: int) -> tuple[str, int]:
    """Strides -> BLAS's letter for a row-major matrix, and its leading dimension."""
    return ("N", rows) if columns == 1 else ("T", columns)


@Intrinsic
def blas_gemm(
    a: Any, oa: Any, rsa: Any, csa: Any, b: Any, ob: Any, rsb: Any, csb: Any,
    c: Any, oc: Any, ldc: Any, m: Any, n: Any, k: Any, bias: Any, obias: Any, mode: Any,
) -> Any:  # fmt: skip
    """The same product, arguments and modes as :func:`graphc.primitives.matmul.gemm.gemm`, by BLAS.

    One of A's strides and one of B's must be 1; the other is at least the number of elements it steps over.
    """
    literal = (rsa, csa, rsb, csb, ldc, mode)
    if not are_factors((a, b, c, bias), literal):
        return None
    rows_a, columns_a, rows_b, columns_b, width, start = (kind.literal_value for kind in literal)
    if 1 not in (rows_a, columns_a) or 1 not in (rows_b, columns_b) or a.dtype not in _SYMBOLS:
        return None

    def emit(builder: ir.IRBuilder, signature: types.Signature, args: Sequence[ir.Value]) -> None:
        v = Vectors(builder, a.dtype.llvm)
        index = {q: as_index(builder, signature, q, args) for q in (1, 5, 9, 11, 12, 13, 15)}
        place = [v.at(args[q], index[q + 1]) for q in (0, 4, 8, 14)]
        extents = [index[q] for q in (11, 12, 13)]
        if start == tiles.BIAS:
            _start_with_bias(v, place[2], place[3], extents[0], extents[1], width)
        beta = 0.0 if start == tiles.SET else 1.0
        layouts = (_layout(rows_a, columns_a), _layout(rows_b, columns_b))
        _call(v, _SYMBOLS[a.dtype], place[:3], extents, layouts, beta, width)

    return types.void(a, oa, rsa, csa, b, ob, rsb, csb, c, oc, ldc, m, n, k, bias, obias, mode), emit


def _call(
    v: Vectors, symbol: str, place: list[ir.Value], extents: list[ir.Value],
    layouts: tuple[tuple[str, int], tuple[str, int]], beta: float, width: int,
) -> None:  # fmt: skip
    """BLAS stores columns, so it is asked for the transpose: C' = B' A'."""
    builder = v.ir
    letters = [_slot(builder, _I8(ord(letter))) for letter, _ in layouts]
    leads = [_slot(builder, _I32(step)) for _, step in layouts]
    m, n, k = (_slot(builder, builder.trunc(extent, _I32)) for extent in extents)
    one, start, lead = _slot(builder, v.kind(1.0)), _slot(builder, v.kind(beta)), _slot(builder, _I32(width))
    arguments = [letters[1], letters[0], n, m, k, one, place[1], leads[1], place[0], leads[0], start, place[2], lead]
    kind = ir.FunctionType(ir.VoidType(), [ir.PointerType()] * len(arguments))
    builder.call(declared(builder.module, kind, symbol), arguments)


def _start_with_bias(v: Vectors, c: ir.Value, bias: ir.Value, m: ir.Value, n: ir.Value, width: int) -> None:
    """c[i, j] = bias[j]."""

    def element(i: ir.Value, j: ir.Value) -> list[ir.Value]:
        v.store(v.load(v.at(bias, j), 1), v.at(c, v.mul(i, width), j), 1)
        return []

    v.loop(m, [], lambda i, _: v.loop(n, [], lambda j, _: element(i, j)))
