"""Text that is not of the usual form -> LLVM module, through Numba's typed pipeline.

Numba's own CPU target spends 0.2 s of a first compilation on loading what generated code never uses (arrays, linear
algebra, reference counting), resolves every call against overloads that generated code never calls, optimises each
function three times and reports every error as a traceback. This target knows scalars, typed pointers, loops and
intrinsics only; it types and lowers with Numba, once.

This file alone knows Numba, which it imports when it is imported: it is loaded for the first text that needs it.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from types import FunctionType
from typing import Any, ClassVar

from llvmlite import ir
from numba.core import compiler, cpu, fastmathpass, target_extension, transforms
from numba.core import types as numba_types
from numba.core.compiler_machinery import FunctionPass, PassManager, register_pass
from numba.core.errors import NumbaError
from numba.core.extending import intrinsic
from numba.core.typed_passes import NativeLowering, NoPythonBackend, NopythonTypeInference
from numba.core.typing import context as typing_context
from numba.core.typing import mathdecl, templates
from numba.core.untyped_passes import FixupArgs, TranslateByteCode
from numba.cpython import builtins, mathimpl, numbers, rangeobj  # noqa: F401  importing them registers the scalar operations

from graphc.native.loader import SYMBOL_PREFIX
from graphc.native.operators import Unfit
from graphc.primitives import types
from graphc.primitives.intrinsics import Intrinsic

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

    def _add_global(self, value: object, kind: numba_types.Type) -> None:
        if isinstance(kind, numba_types.Function) and not all(map(_is_plain, kind.templates)):
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
def _compiling() -> Iterator[tuple[_Typing, _Lowering]]:
    """This thread compiles for our target. What was looked up is forgotten afterwards: it holds on to all that Numba
    made of the program."""
    contexts = _contexts()
    try:
        with target_extension.target_override("graphc"):
            for context in contexts:
                context.refresh()
            yield contexts
    finally:
        for context in contexts:
            context.looked_up.clear()


def of_byte_code(function: Callable[..., int], arguments: tuple[types.Type, ...], symbol: str) -> ir.Module:
    """The module of one function, under a symbol.

    Raises
    ------
    Unfit
        When the function does not fit the language of generated code; the first line says why.
    """
    names = {name: _for_numba(value) for name, value in function.__globals__.items()}
    kinds = tuple(_type_for_numba(kind) for kind in arguments)
    again = FunctionType(function.__code__, names, function.__name__, function.__defaults__)
    with _compiling() as (typing, lowering):
        library = _Library(lowering.codegen())
        try:
            options = {"library": library, "pipeline_class": _Pipeline}
            compiler.compile_extra(typing, lowering, again, kinds, numba_types.int64, _flags(), {}, **options)
        except NumbaError as error:
            raise Unfit(str(error)) from None
    [module] = library.modules
    if symbol != SYMBOL_PREFIX + function.__name__:
        made = module.globals.pop(SYMBOL_PREFIX + function.__name__)
        made.name, module.globals[symbol] = symbol, made
    return module


# ---------------------------------------------------------------------- names and types in both languages
def _for_numba(value: Any) -> Any:
    """What stands for a name of the text: intrinsics and number types as Numba knows them."""
    if isinstance(value, Intrinsic):
        return _intrinsic_for_numba(value)
    return _type_for_numba(value) if isinstance(value, types.Type) else value


def _type_for_numba(kind: types.Type) -> numba_types.Type:
    if isinstance(kind, types.CPointer):
        return numba_types.CPointer(_type_for_numba(kind.dtype))
    if isinstance(kind, types.IntegerLiteral):
        return numba_types.IntegerLiteral(kind.literal_value)
    special: Mapping[types.Type, numba_types.Type] = {types.void: numba_types.void, types.boolean: numba_types.boolean}
    return special.get(kind) or getattr(numba_types, kind.name)


def _type_of_numba(kind: numba_types.Type) -> types.Type | None:
    """The same the other way; None for a type that generated code does not have."""
    if isinstance(kind, numba_types.CPointer):
        return types.POINTERS.get(f"{kind.dtype}*")
    if isinstance(kind, numba_types.IntegerLiteral):
        return types.IntegerLiteral(kind.literal_value)
    return types.boolean if isinstance(kind, numba_types.Boolean) else types.NUMBERS.get(str(kind))


def _intrinsic_for_numba(own: Intrinsic) -> Any:
    """An operation as Numba's: typed and written by its own rules."""

    def typed(typingctx: Any, *arguments: numba_types.Type) -> Any:  # noqa: ARG001
        kinds = [*map(_type_of_numba, arguments)]
        found = own.typing(*kinds) if None not in kinds else None
        if found is None:
            return None
        signature, write = found

        def emit(context: Any, builder: ir.IRBuilder, signature_: Any, args: Any) -> ir.Value:  # noqa: ARG001
            made = write(builder, signature, args)
            return context.get_dummy_value() if made is None else made

        return _type_for_numba(signature.return_type)(*map(_type_for_numba, signature.args)), emit

    context = inspect.Parameter("typingctx", inspect.Parameter.POSITIONAL_OR_KEYWORD)
    typed.__signature__ = inspect.Signature([context, *own.parameters()])
    typed.__name__ = own.name
    return intrinsic(prefer_literal=True)(typed)
