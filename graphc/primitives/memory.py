"""Atomics, copies, finiteness tests and reduction steps for generated code: raw pointers, offsets in elements."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from llvmlite import ir

from graphc.primitives import types
from graphc.primitives.code import alloca_once_value, cast, declared, for_range
from graphc.primitives.convention import arguments_of
from graphc.primitives.intrinsics import Intrinsic
from graphc.primitives.types import is_pointer

I1, I8, I64 = ir.IntType(1), ir.IntType(8), ir.IntType(64)
_EXPONENT = {ir.FloatType(): (32, 0x7F800000), ir.DoubleType(): (64, 0x7FF0000000000000)}


def as_index(builder: ir.IRBuilder, signature: types.Signature, position: int, args: Sequence[ir.Value]) -> ir.Value:
    """Argument ``position`` as an int64, whatever integer it is."""
    return cast(builder, args[position], signature.args[position], types.int64)


@Intrinsic
def noalias() -> Any:
    """Promise that the pointer arguments of the function in which this stands do not overlap where one is written."""

    def emit(builder: ir.IRBuilder, signature: types.Signature, args: Sequence[ir.Value]) -> None:
        for argument in arguments_of(builder.function):
            if argument.type.is_pointer:
                argument.add_attribute("noalias")

    return types.void(), emit


@Intrinsic
def wide() -> Any:
    """Nothing: the first statement of a loop that vectors are to be made of, whatever LLVM expects of that."""
    return types.void(), lambda builder, signature, args: None


@Intrinsic
def chains() -> Any:
    """Nothing: the first statement of a loop that sums in several vectors side by side, each of which waits for its own
    last addition alone."""
    return types.void(), lambda builder, signature, args: None


@Intrinsic
def atomic_load(pointer: Any, index: Any) -> Any:
    """pointer[index], read anew each time this runs: another thread may have written it."""
    if not is_pointer(pointer) or not isinstance(pointer.dtype, types.Integer):
        return None

    def emit(builder: ir.IRBuilder, signature: types.Signature, args: Sequence[ir.Value]) -> ir.Value:
        place = builder.gep(args[0], [as_index(builder, signature, 1, args)])
        return builder.load_atomic(place, "seq_cst", pointer.dtype.bitwidth // 8)

    return pointer.dtype(pointer, index), emit


@Intrinsic
def atomic_store(pointer: Any, index: Any, value: Any) -> Any:
    """pointer[index] = value, seen by other threads with everything written before it."""
    if not is_pointer(pointer) or not isinstance(pointer.dtype, types.Integer):
        return None

    def emit(builder: ir.IRBuilder, signature: types.Signature, args: Sequence[ir.Value]) -> None:
        place = builder.gep(args[0], [as_index(builder, signature, 1, args)])
        number = cast(builder, args[2], signature.args[2], pointer.dtype)
        builder.store_atomic(number, place, "seq_cst", pointer.dtype.bitwidth // 8)

    return types.void(pointer, index, value), emit


@Intrinsic
def copy(dst: Any, doff: Any, src: Any, soff: Any, n: Any) -> Any:
    """dst[doff + i] = src[soff + i] for i < n; the two ranges do not overlap."""
    if not is_pointer(dst, src) or dst.dtype != src.dtype:
        return None

    def emit(builder: ir.IRBuilder, signature: types.Signature, args: Sequence[ir.Value]) -> None:
        to = builder.gep(args[0], [as_index(builder, signature, 1, args)])
        start = builder.gep(args[2], [as_index(builder, signature, 3, args)])
        count = as_index(builder, signature, 4, args)
        size = I64(dst.dtype.bitwidth // 8)
        kind = ir.FunctionType(ir.VoidType(), [ir.PointerType(), ir.PointerType(), I64, I1])
        memcpy = declared(builder.module, kind, "llvm.memcpy.p0.p0.i64")
        builder.call(memcpy, [to, start, builder.mul(count, size), I1(0)])

    return types.void(dst, doff, src, soff, n), emit


@Intrinsic
def fill(dst: Any, off: Any, value: Any, n: Any) -> Any:
    """dst[off + i] = value for i < n."""
    if not is_pointer(dst):
        return None

    def emit(builder: ir.IRBuilder, signature: types.Signature, args: Sequence[ir.Value]) -> None:
        start = builder.gep(args[0], [as_index(builder, signature, 1, args)])
        number = cast(builder, args[2], signature.args[2], dst.dtype)
        with for_range(builder, as_index(builder, signature, 3, args)) as index:
            builder.store(number, builder.gep(start, [index]))

    return types.void(dst, off, value, n), emit


@Intrinsic
def nonfinite(pointer: Any, off: Any, n: Any) -> Any:
    """1 when any of pointer[off : off + n] is NaN or infinite, else 0.

    Tests the exponent bits as integers, which no floating-point flag can remove.
    """
    if not is_pointer(pointer) or pointer.dtype not in (types.float32, types.float64):
        return None

    def emit(builder: ir.IRBuilder, signature: types.Signature, args: Sequence[ir.Value]) -> ir.Value:
        width, mask = _EXPONENT[pointer.dtype.llvm]
        bits = ir.IntType(width)
        start = builder.gep(args[0], [as_index(builder, signature, 1, args)])
        start = builder.bitcast(start, bits.as_pointer())
        found = alloca_once_value(builder, bits(0))
        with for_range(builder, as_index(builder, signature, 2, args)) as index:
            word = builder.and_(builder.load(builder.gep(start, [index])), bits(mask))
            hit = builder.zext(builder.icmp_unsigned("==", word, bits(mask)), bits)
            builder.store(builder.or_(builder.load(found), hit), found)
        return builder.zext(builder.load(found), I64) if width < 64 else builder.load(found)

    return types.int64(pointer, off, n), emit


def _pair(acc: Any, x: Any) -> Any:
    """The common type of an accumulator and its next term, None when they differ."""
    return acc if acc == x and acc in (types.float32, types.float64) else None


@Intrinsic
def radd(acc: Any, x: Any) -> Any:
    """acc + x, where LLVM may sum the terms of a loop in any order: so a sum becomes vector code.

    Only this addition may be regrouped, never the expression that makes x. The flags stand on the instruction itself;
    Numba's fast-math pass leaves instructions alone that have flags.
    """
    kind = _pair(acc, x)
    if kind is None:
        return None

    def emit(builder: ir.IRBuilder, signature: types.Signature, args: Sequence[ir.Value]) -> ir.Value:
        return builder.fadd(*args, flags=("reassoc", "nsz", "contract"))

    return kind(acc, x), emit


def _extremum(name: str) -> Any:
    """acc, x -> llvm.maximum or llvm.minimum (IEEE 754-2019): NaN when either is NaN."""

    def emit(builder: ir.IRBuilder, signature: types.Signature, args: Sequence[ir.Value]) -> ir.Value:
        kind = args[0].type
        suffix = "f32" if isinstance(kind, ir.FloatType) else "f64"
        signature_ = ir.FunctionType(kind, [kind, kind])
        function = declared(builder.module, signature_, f"llvm.{name}.{suffix}")
        return builder.call(function, args)

    return emit


@Intrinsic
def rmax(acc: Any, x: Any) -> Any:
    """The larger of acc and x, NaN when either is NaN; a loop of it becomes vector code."""
    kind = _pair(acc, x)
    return None if kind is None else (kind(acc, x), _extremum("maximum"))


@Intrinsic
def rmin(acc: Any, x: Any) -> Any:
    """The smaller of acc and x, NaN when either is NaN; a loop of it becomes vector code."""
    kind = _pair(acc, x)
    return None if kind is None else (kind(acc, x), _extremum("minimum"))


@Intrinsic
def rtop(acc: Any, x: Any) -> Any:
    """The larger of acc and x; any of the two when one is NaN. A loop of it becomes vector code, twice as fast as rmax.

    For the shift of a logsumexp, whose terms are NaN whatever the shift is when an element is.
    """
    kind = _pair(acc, x)
    if kind is None:
        return None

    def emit(builder: ir.IRBuilder, signature: types.Signature, args: Sequence[ir.Value]) -> ir.Value:
        free = ("nnan", "nsz")
        return builder.select(builder.fcmp_ordered(">", *args, flags=free), *args, flags=free)

    return kind(acc, x), emit


@Intrinsic
def rlargest(acc: Any, x: Any) -> Any:
    """The larger of acc >= 0 and abs(x), NaN when x is NaN; once NaN, acc stays so.

    It compares bits as integers, among which NaN is above infinity, and a loop of it becomes vector code. A sum of
    x - x would not do: LLVM looks through the terms of `radd` and folds them to 0.
    """
    kind = _pair(acc, x)
    if kind is None:
        return None

    def emit(builder: ir.IRBuilder, signature: types.Signature, args: Sequence[ir.Value]) -> ir.Value:
        width, _ = _EXPONENT[args[1].type]
        bits = ir.IntType(width)
        size = builder.and_(builder.bitcast(args[1], bits), bits(2 ** (width - 1) - 1))
        known = builder.bitcast(args[0], bits)
        kind_of_max = ir.FunctionType(bits, [bits, bits])
        larger = declared(builder.module, kind_of_max, f"llvm.umax.i{width}")
        return builder.bitcast(builder.call(larger, [known, size]), args[0].type)

    return kind(acc, x), emit
