"""What Numba's contexts say of operators, intrinsics and numbers, asked once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba.core import types
from numba.core.extending import _Intrinsic as Intrinsic

Typed = tuple[Any, ir.Value]  # a type of Numba, and the value


class Unfit(Exception):
    """The text is not of the form that is lowered here."""


class Contexts:
    """The contexts of Numba, and what they have said before."""

    def __init__(self, typing: Any, target: Any) -> None:
        self.typing, self.target = typing, target
        self.known: dict[tuple, tuple[Any, Callable]] = {}
        self.numbers: dict[int, Typed] = {}

    def whole(self, x: int) -> Typed:
        """A whole number of the text, whose type Numba makes anew every time."""
        found = self.numbers.get(x)
        if found is None:
            found = self.numbers[x] = types.IntegerLiteral(x), self.target.get_constant(types.int64, x)
        return found

    def truth(self, builder: ir.IRBuilder, kind: Any, value: ir.Value) -> ir.Value:
        """Whether a value counts as true. The outcome of a comparison does by itself; Numba would import its typed
        lists to say so, a hundredth of a second the first time."""
        return value if kind == types.boolean else self.target.is_true(builder, kind, value)

    def operation(self, function: Any, kinds: tuple[Any, ...]) -> tuple[Any, Callable]:
        """The signature of an operator for some types, and what writes it."""
        found = self.known.get((function, kinds))
        if found is None:
            signature = self.typing.resolve_function_type(function, kinds, {})
            if signature is None:
                raise Unfit(f"no {function} of {kinds}")
            found = self.known[function, kinds] = signature, self.target.get_function(function, signature)
        return found

    def intrinsic(self, function: Intrinsic, kinds: tuple[Any, ...]) -> tuple[Any, Callable]:
        """The same of an intrinsic, which may look at the values of whole numbers."""
        if not function._prefer_literal:  # noqa: SLF001
            kinds = tuple(map(types.unliteral, kinds))
        found = self.known.get((function, kinds))
        if found is None:
            declared = function._defn(self.typing, *kinds)  # noqa: SLF001
            if declared is None:
                raise Unfit(f"no {function} of {kinds}")
            found = self.known[function, kinds] = declared
        return found
