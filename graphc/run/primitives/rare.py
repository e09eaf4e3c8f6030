"""Arguments that a scalar function seldom meets, without a price for the others: one test and one cold call a vector.

Straight-line code must pay for the hardest argument on all of them, and a branch in a loop keeps LLVM from vectorising
it. So the emitter of a function writes the ordinary case alone, gives NaN where that does not hold, and ends in
:func:`unless_rare`, a call that the vectoriser takes for an elementary operation, since it names a vector version of
itself (LLVM's vector-function ABI). After the vectoriser, :func:`complete` puts in the bodies: a branch around a cold
call where no lane is NaN, else the exact function for the NaN lanes. A result never depends on the other lanes.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import NamedTuple

import llvmlite.binding as llvm
from llvmlite import ir

from graphc.run.primitives.builder import FloatBuilder

Emitter = Callable[..., ir.Value]
PREFIX = "graphc_rare_"
_KEEP = "graphc_rare_keep_"
_WIDTHS = {"float": (2, 4, 8, 16), "double": (2, 4, 8)}
_I64, _POINTER = ir.IntType(64), ir.PointerType()
_KINDS = {"float": ir.FloatType(), "double": ir.DoubleType()}


class _Attributes(ir.values.FunctionAttributes):
    """Function attributes that llvmlite does not list."""

    def add(self, name: str) -> None:
        set.add(self, name)


def unless_rare(k: FloatBuilder, name: str, usual: ir.Value, *arguments: ir.Value) -> ir.Value:
    """``usual``, or the function ``name`` of the table given to :func:`complete` where ``usual`` is NaN."""
    symbol = f"{PREFIX}{name}_{k.kind}"
    function = k.ir.module.globals.get(symbol) or _declared(k.ir.module, symbol, k.kind, 1 + len(arguments))
    return k.ir.call(function, [usual, *arguments])


def _declared(module: ir.Module, symbol: str, kind: ir.Type, arity: int) -> ir.Function:
    """The scalar function, which names its vector versions; they are kept alive until they are called."""
    function = ir.Function(module, ir.FunctionType(kind, [kind] * arity), symbol)
    function.attributes = _Attributes(["nounwind", "willreturn", "memory(none)"])
    widths = _WIDTHS[str(kind)]
    variants = [f"_ZGV_LLVM_N{w}{'v' * arity}_{symbol}({symbol}_{w})" for w in widths]
    function.attributes.add(f'"vector-function-abi-variant"="{",".join(variants)}"')
    vectors = [ir.Function(module, _vector_type(kind, w, arity), f"{symbol}_{w}") for w in widths]
    pointers = ir.ArrayType(_POINTER, len(vectors))
    keep = ir.GlobalVariable(module, pointers, symbol.replace(PREFIX, _KEEP))
    keep.linkage, keep.initializer = "weak_odr", ir.Constant(pointers, vectors)
    return function


def _vector_type(kind: ir.Type, width: int, arity: int) -> ir.FunctionType:
    lanes = ir.VectorType(kind, width) if width > 1 else kind
    return ir.FunctionType(lanes, [lanes] * arity)


class Slow(NamedTuple):
    """What a function is for any argument, and whether a loop of it is worth LLVM's time: of 128-bit integers it is not."""

    emit: Emitter
    vectorized: bool


def complete(module: llvm.ModuleRef, slow: Mapping[str, Slow], optimize: Callable[[llvm.ModuleRef], None]) -> None:
    """Define, in an optimised module, what its calls of :func:`unless_rare` name, and put the tests in line.

    Parameters
    ----------
    module
        The module, vectorised.
    slow
        Name -> the function for any argument, in terms of the same arguments.
    optimize
        Vectorises a module in place.
    """
    keeps = [variable for variable in module.global_variables if variable.name.startswith(_KEEP)]
    if not keeps:
        return
    for variable in keeps:
        name, kind = variable.name.removeprefix(_KEEP).rsplit("_", 1)
        library = ir.Module()
        _define(library, name, _KINDS[kind], slow[name].emit)
        bodies = llvm.parse_assembly(str(library))
        bodies.triple, bodies.data_layout = module.triple, module.data_layout
        if slow[name].vectorized:
            optimize(bodies)
        module.link_in(bodies)
    for value in [*module.functions, *module.global_variables]:
        if value.name.startswith(PREFIX) and not value.is_declaration:
            value.linkage = "internal"
    _put_in_line(module)


def _put_in_line(module: llvm.ModuleRef) -> None:
    passes = llvm.create_new_module_pass_manager()
    passes.add_always_inliner_pass()
    passes.add_global_dead_code_eliminate_pass()
    tuning = llvm.create_pipeline_tuning_options(speed_level=2)
    machine = llvm.Target.from_triple(module.triple).create_target_machine()
    passes.run(module, llvm.create_pass_builder(machine, tuning))


def _define(library: ir.Module, name: str, kind: ir.Type, emit: Emitter) -> None:
    """The bodies of the scalar and the vector versions of one function."""
    arity = len(inspect.signature(emit).parameters) - 1
    symbol = f"{PREFIX}{name}_{kind}"
    row = _row_function(library, f"{symbol}_row", kind, emit, arity)
    for width in (1, *_WIDTHS[str(kind)]):
        whole = f"{symbol}_{width}" if width > 1 else symbol
        cold = _cold_function(library, f"{whole}_cold", _vector_type(kind, width, 1 + arity), row)
        _wrapper(ir.Function(library, cold.function_type, whole), cold)


def _row_function(library: ir.Module, symbol: str, kind: ir.Type, emit: Emitter, arity: int) -> ir.Function:
    """``f(usual*, arguments*..., n)``: fill in the NaN elements of ``usual``."""
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


def _cold_function(library: ir.Module, symbol: str, kind: ir.FunctionType, row: ir.Function) -> ir.Function:
    """The lanes go to memory, through the row function, and back."""
    function = ir.Function(library, kind, symbol)
    function.attributes.add("noinline")
    function.attributes.add("cold")
    b = ir.IRBuilder(function.append_basic_block("entry"))
    places = [b.alloca(argument.type) for argument in function.args]
    for place, argument in zip(places, function.args):
        b.store(argument, place)
    width = getattr(kind.return_type, "count", 1)
    b.call(row, [*places, _I64(width)])
    b.ret(b.load(places[0], typ=kind.return_type))
    return function


def _wrapper(function: ir.Function, cold: ir.Function) -> None:
    """``usual`` where no lane is NaN, else what the cold function makes of it."""
    function.attributes.add("alwaysinline")
    b = ir.IRBuilder(function.append_basic_block("entry"))
    before, rare, done = b.block, b.append_basic_block("rare"), b.append_basic_block("done")
    usual = function.args[0]
    b.cbranch(_any(b, b.fcmp_unordered("uno", usual, usual)), rare, done).set_weights([1, 100000])
    b.position_at_end(rare)
    exact = b.call(cold, function.args)
    b.branch(done)
    b.position_at_end(done)
    result = b.phi(usual.type)
    result.add_incoming(usual, before)
    result.add_incoming(exact, rare)
    b.ret(result)


def _any(b: ir.IRBuilder, lanes: ir.Value) -> ir.Value:
    """Whether a bit is set."""
    if not isinstance(lanes.type, ir.VectorType):
        return lanes
    signature = ir.FunctionType(ir.IntType(1), [lanes.type])
    name = f"llvm.vector.reduce.or.v{lanes.type.count}i1"
    function = b.module.globals.get(name) or ir.Function(b.module, signature, name)
    return b.call(function, [lanes])
