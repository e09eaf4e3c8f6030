"""Types of values in compiled code: numbers, typed pointers, whole numbers that the text tells, and nothing.

They bear the names that Numba gives them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from llvmlite import ir


class Signature(NamedTuple):
    """What an operation takes, and gives."""

    return_type: Type
    args: tuple[Type, ...]


class Type:
    """A type, and what it is in LLVM."""

    def __init__(self, name: str, llvm: ir.Type) -> None:
        self.name, self.llvm = name, llvm

    def __call__(self, *arguments: Type) -> Signature:
        return Signature(self, arguments)

    def __repr__(self) -> str:
        return self.name


class Void(Type):
    """Nothing."""


class Boolean(Type):
    """The outcome of a comparison."""


class Float(Type):
    """float32, float64."""

    def __init__(self, bitwidth: int, llvm: ir.Type) -> None:
        super().__init__(f"float{bitwidth}", llvm)
        self.bitwidth = bitwidth


class Integer(Type):
    """int8, .., uint64."""

    def __init__(self, bitwidth: int, signed: bool = True) -> None:
        super().__init__(f"{'' if signed else 'u'}int{bitwidth}", ir.IntType(bitwidth))
        self.bitwidth, self.signed = bitwidth, signed


class IntegerLiteral(Integer):
    """An int64 whose value the text tells."""

    def __init__(self, value: int) -> None:
        super().__init__(64)
        self.literal_value = value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, IntegerLiteral) and other.literal_value == self.literal_value

    def __hash__(self) -> int:
        return hash(self.literal_value)

    def __repr__(self) -> str:
        return f"{self.name} {self.literal_value}"


class CPointer(Type):
    """The address of an array of numbers."""

    def __init__(self, dtype: Type) -> None:
        super().__init__(f"{dtype}*", dtype.llvm.as_pointer())
        self.dtype = dtype

    def __eq__(self, other: object) -> bool:
        return isinstance(other, CPointer) and other.dtype == self.dtype

    def __hash__(self) -> int:
        return hash((CPointer, self.dtype))


void, boolean = Void("nothing", ir.VoidType()), Boolean("bool", ir.IntType(1))
float32, float64 = Float(32, ir.FloatType()), Float(64, ir.DoubleType())
int8, int16, int32, int64 = map(Integer, (8, 16, 32, 64))
uint8, uint16, uint32, uint64 = (Integer(width, signed=False) for width in (8, 16, 32, 64))
NUMBERS = {kind.name: kind for kind in (float32, float64, int8, int16, int32, int64, uint8, uint16, uint32, uint64)}
POINTERS = {f"{name}*": CPointer(kind) for name, kind in NUMBERS.items()}


def unliteral(kind: Type) -> Type:
    """The type without the value that the text tells."""
    return int64 if isinstance(kind, IntegerLiteral) else kind


def is_pointer(*kinds: Any) -> bool:
    """Whether all types are typed pointers."""
    return all(isinstance(kind, CPointer) for kind in kinds)


def are_factors(arrays: Sequence[Any], literals: Sequence[Any]) -> bool:
    """Whether a product takes these types: pointers to floating-point numbers of one precision, and literals."""
    if not is_pointer(*arrays) or not all(isinstance(kind, IntegerLiteral) for kind in literals):
        return False
    return len({kind.dtype for kind in arrays}) == 1 and arrays[0].dtype in (float32, float64)
