"""Generated Python text -> LLVM module -> object file: a compilation target of our own inside Numba.

Numba's own CPU target spends 0.2 s of a first compilation on loading what generated code never uses (arrays, linear
algebra, reference counting), resolves every call against overloads that generated code never calls, optimises each
function three times and reports every error as a traceback. This target knows scalars, typed pointers, loops and
intrinsics only; it types and lowers with Numba and hands one module to LLVM once.

This file imports Numba when it is imported: load it only when something must be compiled.
"""

from __future__ import annotations

import ast
import hashlib
import inspect
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import FunctionType, MappingProxyType
from typing import Any, ClassVar

import llvmlite.binding as llvm
import numpy as np
from llvmlite import ir
from numba.core import cgutils, compiler, config, cpu, fastmathpass, target_extension, transforms, types
from numba.core.callconv import create_error_model
from numba.core.compiler_machinery import FunctionPass, PassManager, register_pass
from numba.core.errors import NumbaError
from numba.core.extending import intrinsic
from numba.core.typed_passes import NativeLowering, NoPythonBackend, NopythonTypeInference
from numba.core.typing import context as typing_context
from numba.core.typing import mathdecl, templates
from numba.core.untyped_passes import FixupArgs, TranslateByteCode
from numba.cpython import builtins, mathimpl, numbers, rangeobj  # noqa: F401  importing them registers the scalar operations

from graphc.emit.bounds import TABLE
from graphc.emit.parts import PARTS
from graphc.native.bounds import Checked
from graphc.native.bundles import bundled
from graphc.native.contexts import Contexts, Unfit
from graphc.native.divided import Divided
from graphc.native.gc_pause import at_rest
from graphc.native.loader import FLUSHING, SYMBOL_PREFIX, bundled_name
from graphc.native.lowering import CHAINS, WIDE, Lowered, called
from graphc.native.machine_code import Unit
from graphc.native.subnormals import flushing
from graphc.native.units import forget, units_of

_MARK = re.compile(rf'^(!\d+) = !{{ !"({WIDE}|{CHAINS})", i32 \d+, i32 (\d+) }}', re.MULTILINE)
_ASKED = {WIDE: "vectorize.width", CHAINS: "interleave.count"}
_NUMBERS: dict[object, object] = {
    np.float32: types.float32,
    np.float64: types.float64,
    np.int32: types.int32,
    np.int64: types.int64,
    np.uint32: types.uint32,
    np.uint64: types.uint64,
}
Tree = ast.FunctionDef
_OVERLOADS = (templates._OverloadFunctionTemplate, templates._OverloadAttributeTemplate)


class _Graphc(target_extension.Generic):
    """The name of this target in Numba's registry."""


def _is_plain(template: Any) -> bool:
    """Whether a typing template needs no second compilation behind it; ``issubclass`` asks abstract classes, slowly."""
    return not (isinstance(template, type) and any(base in _OVERLOADS for base in template.__mro__))


class _Typing(typing_context.BaseContext):
    """Types of scalars, pointers, ranges and intrinsics."""

    def __init__(self) -> None:
        self.looked_up: dict[object, object] = {}
        super().__init__()

    def load_additional_registries(self) -> None:
        self.install_registry(mathdecl.registry)

    def install_registry(self, registry: templates.Registry) -> None:
        loader = self._registries.get(registry)
        if loader is None:
            loader = self._registries[registry] = templates.RegistryLoader(registry)
        for template in filter(_is_plain, loader.new_registrations("functions")):
            self.insert_function(template(self))
        for template in filter(_is_plain, loader.new_registrations("attributes")):
            self.insert_attributes(template(self))
        for value, kind in loader.new_registrations("globals"):
            self._add_global(value, kind)

    def _add_global(self, value: object, kind: types.Type) -> None:
        if isinstance(kind, types.Function) and not all(map(_is_plain, kind.templates)):
            return
        known = self._lookup_global(value)
        if known is not None:
            kind = known.augment(kind)
            self._remove_global(value)
        self._insert_global(value, kind)

    def resolve_function_type(self, func: object, args: tuple, kws: dict) -> object:
        if kws:
            return super().resolve_function_type(func, args, kws)
        key = (func, args)
        signature = self.looked_up.get(key)
        if signature is None:
            signature = self.looked_up[key] = super().resolve_function_type(func, args, kws)
        return signature


class _Lowering(cpu.CPUContext):
    """Lowers to LLVM without the object runtime: no reference counts, no Python objects, no executable."""

    def __init__(self, typing: _Typing) -> None:
        self.looked_up: dict[object, object] = {}
        super().__init__(typing, "graphc")

    def load_additional_registries(self) -> None:
        self.install_registry(mathimpl.registry)

    def get_function(self, fn: object, sig: object, _firstcall: bool = True) -> object:
        key = (fn, sig)
        found = self.looked_up.get(key)
        if found is None:
            found = self.looked_up[key] = super().get_function(fn, sig, _firstcall)
        return found

    def mangler(self, name: str, types: object, *, abi_tags: tuple = (), uid: int | None = None) -> str:
        kind = "environment_" if name.startswith(".NumbaEnv") else ""
        return SYMBOL_PREFIX + kind + name.rsplit(".", 1)[-1]

    def insert_user_function(self, func: object, fndesc: object, libs: object = ()) -> None:
        """Nothing: compiled functions are called by no other, and a record of them would keep all of Numba's data."""

    def post_lowering(self, mod: Any, library: object) -> None:
        fastmathpass.rewrite_module(mod, self.fastmath)

    def get_executable(self, library: object, fndesc: object, env: object) -> None:
        return None


class _Library:
    """Stands where Numba expects a code library: it only collects the modules."""

    recorded_timings = None

    def __init__(self, codegen: Any) -> None:
        self.codegen = codegen
        self.name = "graphc"
        self.modules: list[Any] = []
        self._reload_init: set[object] = set()

    def create_ir_module(self, name: str) -> Any:
        return self.codegen._create_empty_module(name)

    def add_ir_module(self, module: Any) -> None:
        self.modules.append(module)

    def add_linking_library(self, library: object) -> None:
        """Nothing generated links to another library."""

    def finalize(self) -> None:
        """LLVM runs later, once for all functions."""


@register_pass(mutates_CFG=True, analysis_only=False)
class _Canonical(FunctionPass):
    """Loops in the form that lowering expects. Numba's own pass also finds out how long every variable lives, which
    only counting references needs."""

    _name = "graphc_canonical"

    def __init__(self) -> None:
        super().__init__()

    def run_pass(self, state: Any) -> Any:
        state["func_ir"].blocks = transforms.canonicalize_cfg(state["func_ir"].blocks)
        return True


class _Pipeline(compiler.Compiler):
    """Byte code -> Numba IR -> types -> LLVM IR; no rewrites, no inlining, no lifetimes of Python objects.

    No SSA either: a name of generated code has one type in a function, so each name becomes one stack slot, which
    LLVM turns into registers.
    """

    def define_pipelines(self) -> list[PassManager]:
        manager = PassManager("graphc")
        steps = (TranslateByteCode, FixupArgs, _Canonical, NopythonTypeInference, NativeLowering, NoPythonBackend)
        for step in steps:
            manager.add_pass(step, step.__name__)
        manager.finalize()
        return [manager]


class _Target:
    """The one pair of contexts, in the place where Numba's registry looks for a dispatcher."""

    class targetdescr:  # noqa: N801  the attribute names are Numba's
        typing_context: ClassVar[_Typing]
        target_context: ClassVar[_Lowering]


def _contexts() -> tuple[_Typing, _Lowering]:
    """Both contexts, made on first use."""
    pair = _Target.targetdescr
    if not hasattr(pair, "target_context"):
        pair.typing_context = _Typing()
        target_extension.target_registry["graphc"] = _Graphc
        target_extension.dispatcher_registry[_Graphc] = _Target
        pair.target_context = _Lowering(pair.typing_context)
    return pair.typing_context, pair.target_context


def argument_type(word: str) -> types.Type:
    """``"float32*"`` or ``"int64"`` -> the type that the compiler knows."""
    scalar = getattr(types, word.rstrip("*"))
    return types.CPointer(scalar) if word.endswith("*") else scalar


def replace_numbers(namespace: dict[str, Any]) -> None:
    """Put the compiler's number types where the module's names are NumPy's, whose typing would load Numba's arrays."""
    for name, value in namespace.items():
        if isinstance(value, type) and value in _NUMBERS:
            namespace[name] = _NUMBERS[value]


def _flags() -> compiler.Flags:
    flags = compiler.Flags()
    flags.no_cpython_wrapper = True
    flags.no_cfunc_wrapper = True
    flags.no_rewrites = True
    flags.enable_ssa = False
    flags.error_model = "numpy"
    flags.fastmath = cpu.FastMathOptions({"contract"})
    return flags


@contextmanager
def _compiling() -> Iterator[None]:
    """This thread compiles for our target. The collector rests: tens of thousands of short-lived IR nodes wake it.
    What was looked up is forgotten afterwards: it holds on to all that Numba made of the program."""
    try:
        with at_rest(), target_extension.target_override("graphc"):
            for context in _contexts():
                context.refresh()
            yield
    finally:
        for context in _contexts():
            context.looked_up.clear()


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

    def declared(self, name: str) -> Any:
        """What stands for a function while its callers are typed and lowered: a call of its symbol."""

        def typed(typingctx: Any, *arguments: types.Type) -> Any:  # noqa: ARG001
            symbol = self.symbol_for(name, tuple(types.unliteral(kind) for kind in arguments))
            _, kinds = self.types[symbol]

            def emit(context: Any, builder: ir.IRBuilder, signature: Any, args: Any) -> ir.Value:
                kind = context.call_conv.get_function_type(types.int64, kinds)
                function = cgutils.get_or_insert_function(builder.module, kind, symbol)
                return called(builder, function, kind, args)

            return types.int64(*kinds), emit

        own = inspect.signature(self.functions[name], follow_wrapped=False)
        context = inspect.Parameter("typingctx", inspect.Parameter.POSITIONAL_OR_KEYWORD)
        typed.__signature__ = inspect.Signature([context, *own.parameters.values()])
        return intrinsic(typed)


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
) -> Any:
    """One function -> one LLVM module: from its syntax tree, or through Numba where that does not fit."""
    made = _of_tree(function, arguments, trees, name, symbol) if name in trees else None
    return made or _of_byte_code(function, arguments, symbol)


def _of_tree(
    function: Callable[..., int], arguments: tuple[types.Type, ...], trees: Mapping[str, Tree], name: str, symbol: str
) -> Any:
    typing, lowering = _contexts()
    flags = _flags()
    model = create_error_model(flags.error_model, lowering)
    lowering = lowering.subtarget(error_model=model, fastmath=flags.fastmath)
    library = _Library(lowering.codegen())
    module = library.create_ir_module(symbol)
    names, contexts = function.__globals__, Contexts(typing, lowering)
    is_entry = "C" in inspect.signature(function).parameters
    is_checked = TABLE in names and is_entry  # what it calls is checked there
    try:
        with lowering.push_code_library(library):
            if is_checked:
                Checked(contexts, trees[name], arguments, names, module, symbol, trees)
            else:
                of = Divided if PARTS in names and is_entry else Lowered
                of(contexts, trees[name], arguments, names, module, symbol)
    except (Unfit, NumbaError) as error:
        if is_checked:
            raise RuntimeError(f"no checks can be written: {error}") from None
        return None
    lowering.post_lowering(module, library)
    return module


def _of_byte_code(function: Callable[..., int], arguments: tuple[types.Type, ...], symbol: str) -> Any:
    typing, lowering = _contexts()
    library = _Library(lowering.codegen())
    compiler.compile_extra(
        typing, lowering, function, arguments, types.int64, _flags(), {}, library=library, pipeline_class=_Pipeline
    )
    [module] = library.modules
    if symbol != SYMBOL_PREFIX + function.__name__:
        made = module.globals.pop(SYMBOL_PREFIX + function.__name__)
        made.name, module.globals[symbol] = symbol, made
    return module


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
    numba.core.errors.NumbaError
        When an entry does not fit the language of generated code.
    """
    units: dict[str, Unit] = {}
    own: list[str] = []
    shared = shared or Shared({})
    with _compiling():
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
    aligned = cgutils.normalize_ir_text(text).replace("\n{\n", " align 64\n{\n")
    asked = lambda m: f'{m[1]} = distinct !{{ {m[1]}, !{{ !"llvm.loop.{_ASKED[m[2]]}", i32 {m[3]} }} }}'
    return _MARK.sub(asked, aligned)


def _twins(entries: Mapping[str, tuple[Callable[..., int], tuple[str, ...]]]) -> Iterator[str]:
    """Beside every entry one that flushes subnormal numbers while it runs, and one of each that takes a bundle."""
    for entry, (_, words) in entries.items():
        yield flushing(FLUSHING + entry, SYMBOL_PREFIX + entry, words)
        for prefix in (SYMBOL_PREFIX, FLUSHING):
            yield bundled(bundled_name(prefix, entry), prefix + entry, words)


def target_machines(count: int) -> list[llvm.TargetMachine]:
    """Machines for the processor of this process, one for each thread that compiles."""
    codegen, options = _contexts()[1].codegen(), {"opt": config.OPT}
    codegen._customize_tm_options(options)
    target = llvm.Target.from_triple(llvm.get_process_triple())
    return [target.create_target_machine(**options) for _ in range(count)]
