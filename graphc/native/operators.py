"""What operators of generated text are in LLVM's language: arithmetic and comparisons of numbers.

Types are those that Numba finds: whole numbers give int64, a float beside a wider one is as wide, a whole number beside
a float is float64. What Numba knows beyond (unsigned numbers beside signed ones, powers) goes through Numba.
"""

from __future__ import annotations

import ast
from collections.abc import Sequence

from llvmlite import ir

from graphc.primitives import types
from graphc.primitives.code import cast, truth

Typed = tuple[types.Type, ir.Value]  # a type, and the value


class Unfit(Exception):
    """The text is not of the form that is lowered here, or not of the language that Numba compiles."""


ARITHMETIC: dict[type[ast.AST], tuple[str, str]] = {
    ast.Add: ("add", "fadd"), ast.Sub: ("sub", "fsub"), ast.Mult: ("mul", "fmul"), ast.Div: ("", "fdiv"),
}  # fmt: skip
"""The instructions of whole numbers and of floats."""

NO_WRAP = ("nsw",)  # whole numbers are places and counts, far from the ends of int64

COMPARED: dict[type[ast.AST], str] = {
    ast.Lt: "<", ast.LtE: "<=", ast.Gt: ">", ast.GtE: ">=", ast.Eq: "==", ast.NotEq: "!=",
}  # fmt: skip


def is_whole(kind: types.Type) -> bool:
    """Whether it is a whole number."""
    return isinstance(kind, types.Integer)


def converted(builder: ir.IRBuilder, found: Typed, to: types.Type) -> ir.Value:
    """A value as another type has it.

    Raises
    ------
    Unfit
        Where it has none.
    """
    try:
        return cast(builder, found[1], found[0], to)
    except TypeError as error:
        raise Unfit(str(error)) from None


def arithmetic(builder: ir.IRBuilder, operator: type[ast.AST], found: Sequence[Typed]) -> Typed:
    """A sum, difference, product or quotient."""
    if operator not in ARITHMETIC:
        raise Unfit(operator.__name__)
    whole, broken = ARITHMETIC[operator]
    kind = _common([kind for kind, _ in found])
    kind = kind if whole or isinstance(kind, types.Float) else types.float64
    left, right = (converted(builder, x, kind) for x in found)
    if is_whole(kind):
        return kind, getattr(builder, whole)(left, right, flags=NO_WRAP)
    return kind, getattr(builder, broken)(left, right)


def negative(builder: ir.IRBuilder, found: Typed) -> Typed:
    """-x, of zeros, too."""
    kind = _common([found[0]])
    value = converted(builder, found, kind)
    return kind, builder.neg(value) if is_whole(kind) else builder.fsub(kind.llvm(-0.0), value)


def comparison(builder: ir.IRBuilder, operator: type[ast.AST], found: Sequence[Typed]) -> Typed:
    """Whether two numbers are in some order; NaN is in none but != ."""
    if operator not in COMPARED:
        raise Unfit(operator.__name__)
    word, kind = COMPARED[operator], _common([kind for kind, _ in found])
    values = [converted(builder, x, kind) for x in found]
    ordered = builder.fcmp_unordered if word == "!=" else builder.fcmp_ordered
    return types.boolean, (builder.icmp_signed if is_whole(kind) else ordered)(word, *values)


def holds(builder: ir.IRBuilder, found: Typed) -> ir.Value:
    """Whether a value counts as true."""
    kind, value = found
    if not isinstance(kind, types.Boolean | types.Float | types.Integer):
        raise Unfit(f"{kind} is neither true nor false")
    return truth(builder, value, kind)


def _common(kinds: Sequence[types.Type]) -> types.Type:
    """The type that numbers have when they meet."""
    floats = [kind for kind in kinds if isinstance(kind, types.Float)]
    whole = [kind for kind in kinds if isinstance(kind, types.Integer)]
    if len(floats) + len(whole) < len(kinds) or not all(kind.signed for kind in whole):
        raise Unfit(f"an operation of {kinds}")
    if not floats:
        return types.int64
    return types.float64 if whole else max(floats, key=lambda kind: kind.bitwidth)
