"""Functions that LLVM's vectoriser takes for elementary operations, and whose bodies come after it, in line.

A branch, or a table, in a loop keeps LLVM from vectorising it. A call of a function that names vector versions of
itself does not (LLVM's vector-function ABI). So a program is optimised with declarations only; then :func:`complete`
links the bodies and inlines them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

import llvmlite.binding as llvm
from llvmlite import ir

PREFIX = "graphc_late_"
_KEEP = "graphc_keep_"
_WIDTHS = {"float": (2, 4, 8, 16), "double": (2, 4, 8)}
_POINTER = ir.PointerType()


class AbiFunction(NamedTuple):
    """What writes the scalar function of a symbol and its vector versions, and whether loops in them are vectorised."""

    define: Callable[[ir.Module, str], None]
    vectorized: bool = False


class _Attributes(ir.values.FunctionAttributes):
    """Function attributes that llvmlite does not list."""

    def add(self, name: str) -> None:
        set.add(self, name)


def widths(kind: ir.Type) -> tuple[int, ...]:
    """The numbers of lanes a vector of results may have."""
    return _WIDTHS[str(kind)]


def declared(module: ir.Module, symbol: str, result: ir.Type, *arguments: ir.Type) -> ir.Function:
    """The scalar function of a symbol that begins with PREFIX: the program's module knows no more about it.

    A variable holds the vector versions' addresses, since LLVM drops declarations that nothing uses.
    """
    if symbol in module.globals:
        return module.globals[symbol]
    function = ir.Function(module, ir.FunctionType(result, arguments), symbol)
    function.attributes = _Attributes(["nounwind", "willreturn", "memory(none)"])
    lanes = "v" * len(arguments)
    versions = [f"_ZGV_LLVM_N{w}{lanes}_{symbol}({version(symbol, w)})" for w in widths(result)]
    function.attributes.add(f'"vector-function-abi-variant"="{",".join(versions)}"')
    vectors = [ir.Function(module, function_type(result, arguments, w), version(symbol, w)) for w in widths(result)]
    addresses = ir.ArrayType(_POINTER, len(vectors))
    keep = ir.GlobalVariable(module, addresses, keeper(symbol))
    keep.linkage, keep.initializer = "weak_odr", ir.Constant(addresses, vectors)
    return function


def keeper(symbol: str) -> str:
    """The variable that keeps the vector versions of a scalar function; a module without it is not completed."""
    return symbol.replace(PREFIX, _KEEP)


def version(symbol: str, width: int) -> str:
    """The name of the function of ``width`` lanes; of one lane: the symbol itself."""
    return f"{symbol}_{width}" if width > 1 else symbol


def lanes_of(kind: ir.Type, width: int) -> ir.Type:
    """A vector type, or the scalar type for one lane."""
    return ir.VectorType(kind, width) if width > 1 else kind


def function_type(result: ir.Type, arguments: tuple[ir.Type, ...], width: int) -> ir.FunctionType:
    """The type of the function of ``width`` lanes."""
    return ir.FunctionType(lanes_of(result, width), [lanes_of(a, width) for a in arguments])


def inlined(library: ir.Module, kind: ir.FunctionType, name: str) -> tuple[ir.Function, ir.IRBuilder]:
    """A new function that goes into its callers, and a builder at its beginning."""
    function = ir.Function(library, kind, name)
    function.attributes.add("alwaysinline")
    return function, ir.IRBuilder(function.append_basic_block("entry"))


def complete(
    module: llvm.ModuleRef, functions: Mapping[str, AbiFunction], optimize: Callable[[llvm.ModuleRef], None]
) -> None:
    """Define in an optimised module what it declares, and put the bodies in line.

    Parameters
    ----------
    module
        The module, vectorised.
    functions
        The definitions of all symbols there are.
    optimize
        Vectorises a module in place.
    """
    names = [variable.name for variable in module.global_variables if variable.name.startswith(_KEEP)]
    for name in names:
        symbol = name.replace(_KEEP, PREFIX)
        library = ir.Module()
        functions[symbol].define(library, symbol)
        bodies = llvm.parse_assembly(str(library), module._context)  # noqa: SLF001  that of the module
        bodies.triple, bodies.data_layout = module.triple, module.data_layout
        if functions[symbol].vectorized:
            optimize(bodies)
        module.link_in(bodies)
    if names:
        _put_in_line(module)


def _put_in_line(module: llvm.ModuleRef) -> None:
    for value in [*module.functions, *module.global_variables]:
        if value.name.startswith((PREFIX, _KEEP)) and not value.is_declaration:
            value.linkage = "internal"
    passes = llvm.create_new_module_pass_manager()
    passes.add_always_inliner_pass()
    passes.add_global_dead_code_eliminate_pass()
    machine = llvm.Target.from_triple(module.triple).create_target_machine()
    passes.run(module, llvm.create_pass_builder(machine, llvm.create_pipeline_tuning_options(speed_level=2)))
