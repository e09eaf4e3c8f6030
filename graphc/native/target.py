"""Generated Python text -> LLVM modules, and the machines that LLVM makes code for.

Functions of the usual form are lowered by their syntax trees (:mod:`graphc.native.lowering`); Numba's typed pipeline is
the general way (:mod:`graphc.native.numba_pipeline`), which is loaded when a text needs it.
"""

from __future__ import annotations

import ast
import functools
import hashlib
import importlib
import inspect
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import FunctionType, MappingProxyType
from typing import Any

import llvmlite.binding as llvm
import numpy as np
from llvmlite import ir

from graphc.emit.bounds import TABLE
from graphc.emit.parts import PARTS
from graphc.native.bounds import Checked
from graphc.native.bundles import bundled
from graphc.native.divided import Divided
from graphc.native.gc_pause import at_rest
from graphc.native.loader import FLUSHING, SYMBOL_PREFIX, bundled_name
from graphc.native.lowering import CHAINS, WIDE, Lowered
from graphc.native.machine_code import Unit
from graphc.native.machines import machine
from graphc.native.operators import Unfit
from graphc.native.subnormals import flushing
from graphc.native.units import forget, units_of
from graphc.primitives import convention, host, types
from graphc.primitives.code import declared
from graphc.primitives.intrinsics import Intrinsic

_MARK = re.compile(rf'^(!\d+) = !{{ !"({WIDE}|{CHAINS})", i32 \d+, i32 (\d+) }}', re.MULTILINE)
_ASKED = {WIDE: "vectorize.width", CHAINS: "interleave.count"}
_OF_FLOATS = frozenset({"fadd", "fsub", "fmul", "fdiv", "frem", "fcmp"})
CONTRACT = "contract"
Tree = ast.FunctionDef


def argument_type(word: str) -> types.Type:
    """``"float32*"`` or ``"int64"`` -> the type that the compiler knows."""
    return types.POINTERS[word] if word.endswith("*") else types.NUMBERS[word]


def replace_numbers(namespace: dict[str, Any]) -> None:
    """Put the compiler's number types where the module's names are NumPy's."""
    for name, value in namespace.items():
        if isinstance(value, type) and issubclass(value, np.number):
            namespace[name] = types.NUMBERS.get(value.__name__, value)


class Shared:
    """Functions of a program that its entries and other functions call: lowered when the first call has said with what
    types, and again for pointers of other types."""

    def __init__(self, functions: Mapping[str, Callable[..., int]]) -> None:
        self.functions = functions
        self.symbols = {name: SYMBOL_PREFIX + _named_by_content(function) for name, function in functions.items()}
        self.types: dict[str, tuple[str, tuple[types.Type, ...]]] = {}

    def symbol_for(self, name: str, kinds: tuple[types.Type, ...]) -> str:
        """The symbol of a function for arguments of some types."""
        known = [symbol for symbol, (other, _) in self.types.items() if other == name]
        for symbol in known:
            if _pointers(self.types[symbol][1]) == _pointers(kinds):
                return symbol
        symbol = self.symbols[name] + (f"_{len(known)}" if known else "")
        self.types[symbol] = name, kinds
        return symbol

    def declared(self, name: str) -> Intrinsic:
        """What stands for a function while its callers are typed and lowered: a call of its symbol."""

        def typed(*arguments: types.Type) -> Any:
            symbol = self.symbol_for(name, tuple(types.unliteral(kind) for kind in arguments))
            _, kinds = self.types[symbol]

            def emit(builder: ir.IRBuilder, signature: types.Signature, args: Sequence[ir.Value]) -> ir.Value:  # noqa: ARG001
                function = declared(builder.module, convention.function_type(kinds), symbol)
                return convention.called(builder, function, args)

            return types.int64(*kinds), emit

        typed.__signature__ = inspect.signature(self.functions[name], follow_wrapped=False)
        typed.__name__ = name
        return Intrinsic(typed)


def _pointers(kinds: Sequence[types.Type]) -> list[types.Type]:
    return [kind for kind in kinds if isinstance(kind, types.CPointer)]


def _named_by_content(function: Callable[..., int]) -> str:
    """A name that functions of the same content share, in whichever program they are."""
    code = function.__code__
    content = repr((code.co_code, code.co_consts, code.co_names, code.co_varnames))
    return f"nest_{hashlib.sha256(content.encode()).hexdigest()[:16]}"


def replace_shared(namespace: dict[str, Any], entries: Mapping[str, tuple[str, ...]]) -> Shared:
    """Put declarations where a module's functions are, but for its entries."""
    own = [name for name, value in namespace.items() if isinstance(value, FunctionType) and name not in entries]
    shared = Shared({name: namespace[name] for name in own})
    namespace.update((name, shared.declared(name)) for name in own)
    return shared


def _to_ir(
    function: Callable[..., int], arguments: tuple[types.Type, ...], trees: Mapping[str, Tree], name: str, symbol: str
) -> ir.Module:
    """One function -> one LLVM module: from its syntax tree, or through Numba where that does not fit."""
    made = _of_tree(function, arguments, trees, name, symbol) if name in trees else None
    return made or _of_byte_code(function, arguments, symbol)


def _of_tree(
    function: Callable[..., int], arguments: tuple[types.Type, ...], trees: Mapping[str, Tree], name: str, symbol: str
) -> ir.Module | None:
    module, names = _empty_module(symbol), function.__globals__
    is_entry = "C" in inspect.signature(function).parameters
    is_checked = TABLE in names and is_entry  # what it calls is checked there
    try:
        if is_checked:
            Checked(trees[name], arguments, names, module, symbol, trees)
        else:
            (Divided if PARTS in names and is_entry else Lowered)(trees[name], arguments, names, module, symbol)
    except Unfit as error:
        if is_checked:
            raise RuntimeError(f"no checks can be written: {error}") from None
        return None
    _contract(module)
    return module


def _of_byte_code(function: Callable[..., int], arguments: tuple[types.Type, ...], symbol: str) -> ir.Module:
    return importlib.import_module("graphc.native.numba_pipeline").of_byte_code(function, arguments, symbol)


def lower(
    entries: dict[str, tuple[Callable[..., int], tuple[str, ...]]],
    shared: Shared | None = None,
    trees: Mapping[str, Tree] = MappingProxyType({}),
    give: Callable[[str, Unit], None] = lambda symbol, unit: None,
) -> tuple[Unit, dict[str, Unit]]:
    """Type and lower every entry, and what they share, to LLVM's language: what belongs to this program alone, and its
    units by their symbols; ``trees`` are the functions of the text as they were parsed.

    ``give`` is called with each of them as soon as it is written, what belongs to the program under an empty symbol.

    Raises
    ------
    Unfit
        When a function does not fit the language of generated code.
    """
    units: dict[str, Unit] = {}
    own: list[str] = []
    shared = shared or Shared({})
    with at_rest():  # tens of thousands of short-lived nodes wake the collector
        for name, (function, words) in entries.items():
            kinds = tuple(map(argument_type, words))
            module = _to_ir(function, kinds, trees, name, SYMBOL_PREFIX + name)
            for symbol, text in units_of(module, SYMBOL_PREFIX):
                if symbol:
                    _give(units, symbol, text, give)
                else:
                    own.append(_finished(text))
                    if len(own) == len(entries):
                        own += _twins(entries)
                        give("", tuple(own))
            forget(module)
        while symbol := next((symbol for symbol in shared.types if symbol not in units), ""):  # functions call others
            name, kinds = shared.types[symbol]
            module = _to_ir(shared.functions[name], kinds, trees, name, symbol)
            for other, text in units_of(module, SYMBOL_PREFIX):
                _give(units, other or symbol, text, give)
            forget(module)
    return tuple(own), units


def _give(units: dict[str, Unit], symbol: str, text: str, give: Callable[[str, Unit], None]) -> None:
    """One more unit, if it is not known."""
    if symbol not in units:
        units[symbol] = (_finished(text),)
        give(symbol, units[symbol])


def _finished(text: str) -> str:
    """Every function begins a cache line, so that what stands before it does not move its loops; marks of loops have
    the form that LLVM reads, which llvmlite cannot write: a node whose first part is itself."""
    aligned = text.encode().decode("latin1").replace("\n{\n", " align 64\n{\n")
    asked = lambda m: f'{m[1]} = distinct !{{ {m[1]}, !{{ !"llvm.loop.{_ASKED[m[2]]}", i32 {m[3]} }} }}'
    return _MARK.sub(asked, aligned)


def _twins(entries: Mapping[str, tuple[Callable[..., int], tuple[str, ...]]]) -> Iterator[str]:
    """Beside every entry one that flushes subnormal numbers while it runs, and one of each that takes a bundle."""
    for entry, (_, words) in entries.items():
        yield flushing(FLUSHING + entry, SYMBOL_PREFIX + entry, words)
        for prefix in (SYMBOL_PREFIX, FLUSHING):
            yield bundled(bundled_name(prefix, entry), prefix + entry, words)


def target_machines(count: int) -> list[llvm.TargetMachine]:
    """Machines for the processor that programs are made for, one for each thread that compiles."""
    return [machine(host.flags()) for _ in range(count)]


@functools.cache
def _data_layout() -> str:
    return str(target_machines(1)[0].target_data)


def _empty_module(name: str) -> ir.Module:
    module = ir.Module(name)
    module.triple, module.data_layout = host.triple(), _data_layout()
    return module


def _contract(module: ir.Module) -> None:
    """A product and a sum may be fused, but where an instruction has flags of its own."""
    for instruction in (i for f in module.functions for block in f.blocks for i in block.instructions):
        if instruction.opname in _OF_FLOATS:
            if not instruction.flags:
                instruction.flags.append(CONTRACT)
        elif isinstance(instruction, ir.CallInstr) and isinstance(instruction.type, ir.FloatType | ir.DoubleType):
            instruction.fastmath.add(CONTRACT)
