"""How compiled functions call one another: the status is returned, the result stored at the first argument.

It is Numba's convention, so that functions that went through Numba call others and are called by them. The second
argument is a place for an exception, which no function of generated text raises; the third is the first of the text.
"""

from __future__ import annotations

from collections.abc import Sequence

from llvmlite import ir

from graphc.primitives.code import alloca_once
from graphc.primitives.types import Type

STATUS, RESULT = ir.IntType(32), ir.IntType(64)
EXCEPTION = ir.LiteralStructType([ir.IntType(8).as_pointer(), STATUS, ir.IntType(8).as_pointer(),
                                  ir.IntType(8).as_pointer(), STATUS]).as_pointer()  # fmt: skip
OWN = (RESULT, EXCEPTION)
"""What stands at the first arguments."""


def function_type(kinds: Sequence[Type]) -> ir.FunctionType:
    """That of a function of some arguments."""
    return ir.FunctionType(STATUS, [*(kind.as_pointer() for kind in OWN), *(kind.llvm for kind in kinds)])


def new_function(module: ir.Module, symbol: str, names: Sequence[str], kinds: Sequence[Type]) -> ir.Function:
    """A function of named arguments."""
    function = ir.Function(module, function_type(kinds), symbol)
    own = ("retptr", "excinfo")
    for argument, name in zip(function.args, (*own, *(f"arg.{name}" for name in names)), strict=True):
        argument.name = name
    for argument in function.args[: len(OWN)]:
        argument.add_attribute("captures(none)")
        argument.add_attribute("noalias")
    return function


def arguments_of(function: ir.Function) -> tuple[ir.Argument, ...]:
    """Those of the text."""
    return function.args[len(OWN) :]


def give_back(builder: ir.IRBuilder, value: ir.Value) -> None:
    """Return a value."""
    builder.store(value, builder.function.args[0])
    builder.ret(STATUS(0))


def called(builder: ir.IRBuilder, function: ir.Function, arguments: Sequence[ir.Value]) -> ir.Value:
    """A call whose status nobody reads. Each has places of its own for result and exception; with places for all, a
    step of W5 took 8 % longer."""
    slots = [alloca_once(builder, kind) for kind in OWN]
    builder.store(RESULT(0), slots[0])
    builder.call(function, [*slots, *arguments])
    return builder.load(slots[0])
