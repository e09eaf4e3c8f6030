"""Atomics, copies, finiteness tests and reduction steps for generated code: raw pointers, offsets in elements."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from llvmlite import ir
from numba.core import cgutils, types
from numba.core.extending import intrinsic

I1, I8, I64 = ir.IntType(1), ir.IntType(8), ir.IntType(64)
_EXPONENT = {ir.FloatType(): (32, 0x7F800000), ir.DoubleType(): (64, 0x7FF0000000000000)}


def as_index(context: Any, builder: ir.IRBuilder, signature: Any, position: int, args: Any) -> ir.Value:
    """Argument ``position`` as an int64, whatever integer it is."""
    return context.cast(builder, args[position], signature.args[position], types.int64)


def is_pointer(*kinds: Any) -> bool:
    """Whether all types are typed pointers."""
    return all(isinstance(kind, types.CPointer) for kind in kinds)


def are_factors(arrays: Sequence[Any], literals: Sequence[Any]) -> bool:
    """Whether a product takes these types: pointers to floating-point numbers of one precision, and literals."""
    if not is_pointer(*arrays) or not all(isinstance(kind, types.IntegerLiteral) for kind in literals):
        return False
    return len({kind.dtype for kind in arrays}) == 1 and arrays[0].dtype in (types.float32, types.float64)


@intrinsic(prefer_literal=True)
def noalias(typingctx: Any) -> Any:  # noqa: ARG001
    """Promise that the pointer arguments of the function in which this stands do not overlap where one is written."""

    def emit(context: Any, builder: ir.IRBuilder, signature: Any, args: Any) -> ir.Value:
        for argument in context.call_conv.get_arguments(builder.function):
            if argument.type.is_pointer:
                argument.add_attribute("noalias")
        return context.get_dummy_value()

    return types.void(), emit


@intrinsic(prefer_literal=True)
def wide(typingctx: Any) -> Any:  # noqa: ARG001
    """Nothing: the first statement of a loop that vectors are to be made of, whatever LLVM expects of that."""
    return types.void(), lambda context, builder, signature, args: context.get_dummy_value()


@intrinsic(prefer_literal=True)
def chains(typingctx: Any) -> Any:  # noqa: ARG001
    """Nothing: the first statement of a loop that sums in several vectors side by side, each of which waits for its own
    last addition alone."""
    return types.void(), lambda context, builder, signature, args: context.get_dummy_value()


@intrinsic(prefer_literal=True)
def atomic_load(typingctx: Any, pointer: Any, index: Any) -> Any:
    """pointer[index], read anew each time this runs: another thread may have written it."""
    if not is_pointer(pointer) or not isinstance(pointer.dtype, types.Integer):
        return None

    def emit(context: Any, builder: ir.IRBuilder, signature: Any, args: Any) -> ir.Value:
        place = builder.gep(args[0], [as_index(context, builder, signature, 1, args)])
        return builder.load_atomic(place, "seq_cst", pointer.dtype.bitwidth // 8)

    return pointer.dtype(pointer, index), emit


@intrinsic(prefer_literal=True)
def atomic_store(typingctx: Any, pointer: Any, index: Any, value: Any) -> Any:
    """pointer[index] = value, seen by other threads with everything written before it."""
    if not is_pointer(pointer) or not isinstance(pointer.dtype, types.Integer):
        return None

    def emit(context: Any, builder: ir.IRBuilder, signature: Any, args: Any) -> ir.Value:
        place = builder.gep(args[0], [as_index(context, builder, signature, 1, args)])
        number = context.cast(builder, args[2], signature.args[2], pointer.dtype)
        builder.store_atomic(number, place, "seq_cst", pointer.dtype.bitwidth // 8)
        return context.get_dummy_value()

    return types.void(pointer, index, value), emit


@intrinsic(prefer_literal=True)
def copy(typingctx: Any, dst: Any, doff: Any, src: Any, soff: Any, n: Any) -> Any:
    """dst[doff + i] = src[soff + i] for i < n; the two ranges do not overlap."""
    if not is_pointer(dst, src) or dst.dtype != src.dtype:
        return None

    def emit(context: Any, builder: ir.IRBuilder, signature: Any, args: Any) -> ir.Value:
        to = builder.gep(args[0], [as_index(context, builder, signature, 1, args)])
        start = builder.gep(args[2], [as_index(context, builder, signature, 3, args)])
        count = as_index(context, builder, signature, 4, args)
        size = I64(context.get_abi_sizeof(context.get_value_type(dst.dtype)))
        kind = ir.FunctionType(ir.VoidType(), [ir.PointerType(), ir.PointerType(), I64, I1])
        memcpy = cgutils.get_or_insert_function(builder.module, kind, "llvm.memcpy.p0.p0.i64")
        builder.call(memcpy, [to, start, builder.mul(count, size), I1(0)])
        return context.get_dummy_value()

    return types.void(dst, doff, src, soff, n), emit


@intrinsic(prefer_literal=True)
def fill(typingctx: Any, dst: Any, off: Any, value: Any, n: Any) -> Any:
    """dst[off + i] = value for i < n."""
    if not is_pointer(dst):
        return None

    def emit(context: Any, builder: ir.IRBuilder, signature: Any, args: Any) -> ir.Value:
        start = builder.gep(args[0], [as_index(context, builder, signature, 1, args)])
        number = context.cast(builder, args[2], signature.args[2], dst.dtype)
        with cgutils.for_range(builder, as_index(context, builder, signature, 3, args)) as loop:
            builder.store(number, builder.gep(start, [loop.index]))
        return context.get_dummy_value()

    return types.void(dst, off, value, n), emit


@intrinsic(prefer_literal=True)
def nonfinite(typingctx: Any, pointer: Any, off: Any, n: Any) -> Any:
    """1 when any of pointer[off : off + n] is NaN or infinite, else 0.

    Tests the exponent bits as integers, which no floating-point flag can remove.
    """
    if not is_pointer(pointer) or pointer.dtype not in (types.float32, types.float64):
        return None

    def emit(context: Any, builder: ir.IRBuilder, signature: Any, args: Any) -> ir.Value:
        width, mask = _EXPONENT[context.get_value_type(pointer.dtype)]
        bits = ir.IntType(width)
        start = builder.gep(args[0], [as_index(context, builder, signature, 1, args)])
        start = builder.bitcast(start, bits.as_pointer())
        found = cgutils.alloca_once_value(builder, bits(0))
        with cgutils.for_range(builder, as_index(context, builder, signature, 2, args)) as loop:
            word = builder.and_(builder.load(builder.gep(start, [loop.index])), bits(mask))
            hit = builder.zext(builder.icmp_unsigned("==", word, bits(mask)), bits)
            builder.store(builder.or_(builder.load(found), hit), found)
        return builder.zext(builder.load(found), I64) if width < 64 else builder.load(found)

    return types.int64(pointer, off, n), emit


def _pair(acc: Any, x: Any) -> Any:
    """The common type of an accumulator and its next term, None when they differ."""
    return acc if acc == x and acc in (types.float32, types.float64) else None


@intrinsic(prefer_literal=True)
def radd(typingctx: Any, acc: Any, x: Any) -> Any:
    """acc + x, where LLVM may sum the terms of a loop in any order: so a sum becomes vector code.

    Only this addition may be regrouped, never the expression that makes x. The flags stand on the instruction itself;
    Numba's fast-math pass leaves instructions alone that have flags.
    """
    kind = _pair(acc, x)
    if kind is None:
        return None

    def emit(context: Any, builder: ir.IRBuilder, signature: Any, args: Any) -> ir.Value:
        return builder.fadd(*args, flags=("reassoc", "nsz", "contract"))

    return kind(acc, x), emit


def _extremum(name: str) -> Any:
    """acc, x -> llvm.maximum or llvm.minimum (IEEE 754-2019): NaN when either is NaN."""

    def emit(context: Any, builder: ir.IRBuilder, signature: Any, args: Any) -> ir.Value:
        kind = args[0].type
        suffix = "f32" if isinstance(kind, ir.FloatType) else "f64"
        signature_ = ir.FunctionType(kind, [kind, kind])
        function = cgutils.get_or_insert_function(builder.module, signature_, f"llvm.{name}.{suffix}")
        return builder.call(function, args)

    return emit


@intrinsic(prefer_literal=True)
def rmax(typingctx: Any, acc: Any, x: Any) -> Any:
    """The larger of acc and x, NaN when either is NaN; a loop of it becomes vector code."""
    kind = _pair(acc, x)
    return None if kind is None else (kind(acc, x), _extremum("maximum"))


@intrinsic(prefer_literal=True)
def rmin(typingctx: Any, acc: Any, x: Any) -> Any:
    """The smaller of acc and x, NaN when either is NaN; a loop of it becomes vector code."""
    kind = _pair(acc, x)
    return None if kind is None else (kind(acc, x), _extremum("minimum"))


@intrinsic(prefer_literal=True)
def rtop(typingctx: Any, acc: Any, x: Any) -> Any:
    """The larger of acc and x; any of the two when one is NaN. A loop of it becomes vector code, twice as fast as rmax.

    For the shift of a logsumexp, whose terms are NaN whatever the shift is when an element is.
    """
    kind = _pair(acc, x)
    if kind is None:
        return None

    def emit(context: Any, builder: ir.IRBuilder, signature: Any, args: Any) -> ir.Value:
        free = ("nnan", "nsz")
        return builder.select(builder.fcmp_ordered(">", *args, flags=free), *args, flags=free)

    return kind(acc, x), emit


@intrinsic(prefer_literal=True)
def rlargest(typingctx: Any, acc: Any, x: Any) -> Any:
    """The larger of acc >= 0 and abs(x), NaN when x is NaN; once NaN, acc stays so.

    It compares bits as integers, among which NaN is above infinity, and a loop of it becomes vector code. A sum of
    x - x would not do: LLVM looks through the terms of `radd` and folds them to 0.
    """
    kind = _pair(acc, x)
    if kind is None:
        return None

    def emit(context: Any, builder: ir.IRBuilder, signature: Any, args: Any) -> ir.Value:
        width, _ = _EXPONENT[args[1].type]
        bits = ir.IntType(width)
        size = builder.and_(builder.bitcast(args[1], bits), bits(2 ** (width - 1) - 1))
        known = builder.bitcast(args[0], bits)
        kind_of_max = ir.FunctionType(bits, [bits, bits])
        larger = cgutils.get_or_insert_function(builder.module, kind_of_max, f"llvm.umax.i{width}")
        return builder.bitcast(builder.call(larger, [known, size]), args[0].type)

    return kind(acc, x), emit
