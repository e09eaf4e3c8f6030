"""Pieces of LLVM's language that operations are made of: places on the stack, loops, declarations, conversions."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from llvmlite import ir

from graphc.primitives.types import Boolean, Float, Integer, IntegerLiteral, Type


def alloca_once(builder: ir.IRBuilder, kind: ir.Type, name: str = "") -> ir.Value:
    """A place on the stack, made where the function begins, that holds 0 until it is written."""
    with builder.goto_entry_block():
        place = builder.alloca(kind, name=name)
        builder.store(kind(None), place)
    return place


def alloca_once_value(builder: ir.IRBuilder, value: ir.Value) -> ir.Value:
    """The address of a value."""
    place = alloca_once(builder, value.type)
    builder.store(value, place)
    return place


def declared(module: ir.Module, kind: ir.FunctionType, name: str) -> ir.Function:
    """The function of a name, which another module may define."""
    return module.globals.get(name) or ir.Function(module, kind, name)


@contextmanager
def for_range(builder: ir.IRBuilder, count: ir.Value) -> Iterator[ir.Value]:
    """A loop from 0 to count, whose body is written meanwhile; gives the index."""
    test, body, end = (builder.append_basic_block(f"for.{name}") for name in ("cond", "body", "end"))
    before = builder.block
    builder.branch(test)
    builder.position_at_end(test)
    index = builder.phi(count.type, name="loop.index")
    builder.cbranch(builder.icmp_signed("<", index, count), body, end)
    builder.position_at_end(body)
    yield index
    following = builder.add(index, count.type(1), flags=["nsw"])
    index.add_incoming(count.type(0), before)
    index.add_incoming(following, builder.block)
    builder.branch(test)
    builder.position_at_end(end)


def cast(builder: ir.IRBuilder, value: ir.Value, kind: Type, to: Type) -> ir.Value:
    """A number as another type has it; a comparison's outcome is 0 or 1.

    Raises
    ------
    TypeError
        Where a type is no number.
    """
    if isinstance(kind, IntegerLiteral) and isinstance(to, Integer | Float):
        return to.llvm(kind.literal_value if isinstance(to, Integer) else float(kind.literal_value))
    if isinstance(kind, Integer | Boolean) and isinstance(to, Integer):
        return _resized(builder, value, kind, to)
    if isinstance(kind, Integer | Boolean) and isinstance(to, Float):
        signed = isinstance(kind, Integer) and kind.signed
        return (builder.sitofp if signed else builder.uitofp)(value, to.llvm)
    if isinstance(kind, Float) and isinstance(to, Integer):
        return (builder.fptosi if to.signed else builder.fptoui)(value, to.llvm)
    if isinstance(kind, Float) and isinstance(to, Float):
        wider, narrower = to.bitwidth > kind.bitwidth, to.bitwidth < kind.bitwidth
        return builder.fpext(value, to.llvm) if wider else builder.fptrunc(value, to.llvm) if narrower else value
    if kind == to:
        return value
    raise TypeError(f"{kind} is not made {to}")


def _resized(builder: ir.IRBuilder, value: ir.Value, kind: Integer | Boolean, to: Integer) -> ir.Value:
    width, signed = (kind.bitwidth, kind.signed) if isinstance(kind, Integer) else (1, False)
    if width == to.bitwidth:
        return value
    return (builder.trunc if width > to.bitwidth else builder.sext if signed else builder.zext)(value, to.llvm)


def truth(builder: ir.IRBuilder, value: ir.Value, kind: Type) -> ir.Value:
    """Whether a value counts as true: a comparison's outcome, or a number that is not 0."""
    if isinstance(kind, Boolean):
        return value
    compare = builder.icmp_unsigned if isinstance(kind, Integer) else builder.fcmp_unordered
    return compare("!=", value, kind.llvm(0))
