"""Tables of 32 float32 numbers that stay in two AVX-512 registers: a look-up is one instruction for 16 lanes.

LLVM makes a gather of an array read in a loop, which took longer than the function around it.
"""

from __future__ import annotations

import functools
from functools import partial

from llvmlite import ir

from graphc.primitives import host
from graphc.primitives.vector_math.builder import FloatBuilder
from graphc.primitives.vector_math.vector_abi import (
    PREFIX,
    AbiFunction,
    declared,
    function_type,
    inlined,
    version,
    widths,
)

SIZE = 32
_I32, _FLOAT = ir.IntType(32), ir.FloatType()
_HALF = 16


@functools.cache
def in_registers() -> bool:
    """Whether this machine has the instruction."""
    return bool(host.features().get("avx512f", False))


def look_up(k: FloatBuilder, name: str, index: ir.Value) -> ir.Value:
    """The entry at the lowest five bits of ``index`` in the table ``name`` of :func:`definition`."""
    return k.ir.call(declared(k.ir.module, PREFIX + name, _FLOAT, _I32), [index])


def definition(name: str, values: list[float]) -> dict[str, AbiFunction]:
    """A table under its name; the values are rounded to float32."""
    rounded = [FloatBuilder(ir.IRBuilder(), _FLOAT).const(value) for value in values]
    return {PREFIX + name: AbiFunction(partial(_define, rounded))}


def _define(values: list[ir.Constant], library: ir.Module, symbol: str) -> None:
    _scalar(values, library, symbol)
    half = ir.VectorType(_FLOAT, _HALF)
    signature = ir.FunctionType(half, [half, ir.VectorType(_I32, _HALF), half])
    permute = ir.Function(library, signature, "llvm.x86.avx512.vpermi2var.ps.512")
    low, high = ir.Constant(half, values[:_HALF]), ir.Constant(half, values[_HALF:])
    for width in widths(_FLOAT):
        function, b = inlined(library, function_type(_FLOAT, (_I32,), width), version(symbol, width))
        found = b.call(permute, [low, _resized(b, function.args[0], width, _HALF), high])
        b.ret(_resized(b, found, _HALF, width))


def _scalar(values: list[ir.Constant], library: ir.Module, symbol: str) -> None:
    """The same from memory, for the remainder of a loop."""
    kind = ir.ArrayType(_FLOAT, SIZE)
    table = ir.GlobalVariable(library, kind, f"{symbol}_values")
    table.global_constant, table.initializer = True, ir.Constant(kind, values)
    function, b = inlined(library, ir.FunctionType(_FLOAT, [_I32]), symbol)
    place = b.gep(table, [b.and_(function.args[0], _I32(SIZE - 1))], source_etype=_FLOAT)
    b.ret(b.load(place, typ=_FLOAT))


def _resized(b: ir.IRBuilder, lanes: ir.Value, width: int, wanted: int) -> ir.Value:
    """The first lanes; more than there are repeat the last one."""
    if width == wanted:
        return lanes
    order = [_I32(min(lane, width - 1)) for lane in range(wanted)]
    nothing = ir.Constant(lanes.type, ir.Undefined)
    return b.shuffle_vector(lanes, nothing, ir.Constant(ir.VectorType(_I32, wanted), order))
