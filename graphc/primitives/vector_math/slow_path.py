"""Arguments that a scalar function seldom meets, at the price of one test a vector for the others.

The emitter of a function writes the ordinary case alone, gives NaN where that does not hold, and ends in
:func:`unless_rare`. Where a lane of a vector is NaN, a cold call computes those lanes by the code for any argument. A
result never depends on the other lanes.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import partial

from llvmlite import ir

from graphc.primitives.vector_math.builder import FloatBuilder
from graphc.primitives.vector_math.vector_abi import (
    PREFIX,
    AbiFunction,
    declared,
    function_type,
    inlined,
    lanes_of,
    version,
    widths,
)

Emitter = Callable[..., ir.Value]
_I64, _POINTER = ir.IntType(64), ir.PointerType()
_SELDOM = (1, 100000)


def unless_rare(k: FloatBuilder, name: str, usual: ir.Value, *arguments: ir.Value) -> ir.Value:
    """``usual``, or the function ``name`` of :func:`definitions` of the arguments where ``usual`` is NaN."""
    function = declared(k.ir.module, f"{PREFIX}{name}_{k.kind}", k.kind, *[k.kind] * (1 + len(arguments)))
    return k.ir.call(function, [usual, *arguments])


def definitions(name: str, emit: Emitter, vectorized: bool) -> dict[str, AbiFunction]:
    """A function for any argument, in both types, where an ordinary case of this name is NaN.

    Loops over the lanes are vectorised on demand, since that costs time of compilation.
    """
    kinds = (ir.FloatType(), ir.DoubleType())
    return {f"{PREFIX}{name}_{kind}": AbiFunction(partial(_define, kind, emit), vectorized) for kind in kinds}


def _define(kind: ir.Type, emit: Emitter, library: ir.Module, symbol: str) -> None:
    """The bodies of the scalar and the vector versions of one function."""
    arity = len(inspect.signature(emit).parameters) - 1
    row = _row_function(library, f"{symbol}_row", kind, emit, arity)
    for width in (1, *widths(kind)):
        whole = function_type(kind, (kind,) * (1 + arity), width)
        cold = _cold_function(library, f"{version(symbol, width)}_cold", whole, row, width)
        _tested(library, version(symbol, width), cold, width)


def _row_function(library: ir.Module, symbol: str, kind: ir.Type, emit: Emitter, arity: int) -> ir.Function:
    """``f(usual*, arguments*..., n)``: fill in the NaN elements of ``usual``, n > 0."""
    function = ir.Function(library, ir.FunctionType(ir.VoidType(), [_POINTER] * (1 + arity) + [_I64]), symbol)
    function.attributes.add("noinline")
    for pointer in function.args[:-1]:
        pointer.add_attribute("noalias")
    b = ir.IRBuilder(function.append_basic_block("entry"))
    before, body, done = b.block, b.append_basic_block("body"), b.append_basic_block("done")
    b.branch(body)
    b.position_at_end(body)
    i = b.phi(_I64)
    usual, *arguments = [b.gep(p, [i], source_etype=kind) for p in function.args[:-1]]
    fast = b.load(usual, typ=kind)
    exact = emit(FloatBuilder(b, kind), *[b.load(p, typ=kind) for p in arguments])
    b.store(b.select(b.fcmp_unordered("uno", fast, fast), exact, fast), usual)
    following = b.add(i, _I64(1))
    i.add_incoming(_I64(0), before)
    i.add_incoming(following, b.block)
    b.cbranch(b.icmp_unsigned("<", following, function.args[-1]), body, done)
    b.position_at_end(done)
    b.ret_void()
    return function


def _cold_function(
    library: ir.Module, name: str, kind: ir.FunctionType, row: ir.Function, width: int
) -> ir.Function:
    """The lanes go to memory, through the row function, and back."""
    function = ir.Function(library, kind, name)
    function.attributes.add("noinline")
    function.attributes.add("cold")
    b = ir.IRBuilder(function.append_basic_block("entry"))
    places = [b.alloca(argument.type) for argument in function.args]
    for place, argument in zip(places, function.args, strict=True):
        b.store(argument, place)
    b.call(row, [*places, _I64(width)])
    b.ret(b.load(places[0], typ=kind.return_type))
    return function


def _tested(library: ir.Module, name: str, cold: ir.Function, width: int) -> None:
    """``usual`` where no lane is NaN, else what the cold function makes of it."""
    function, b = inlined(library, cold.function_type, name)
    before, rare, done = b.block, b.append_basic_block("rare"), b.append_basic_block("done")
    usual = function.args[0]
    b.cbranch(_any(b, b.fcmp_unordered("uno", usual, usual), width), rare, done).set_weights(_SELDOM)
    b.position_at_end(rare)
    exact = b.call(cold, function.args)
    b.branch(done)
    b.position_at_end(done)
    result = b.phi(usual.type)
    result.add_incoming(usual, before)
    result.add_incoming(exact, rare)
    b.ret(result)


def _any(b: ir.IRBuilder, lanes: ir.Value, width: int) -> ir.Value:
    """Whether a lane is true."""
    if width == 1:
        return lanes
    name = f"llvm.vector.reduce.or.v{width}i1"
    bit = ir.IntType(1)
    reduce = b.module.globals.get(name) or ir.Function(b.module, ir.FunctionType(bit, [lanes_of(bit, width)]), name)
    return b.call(reduce, [lanes])
