"""Operations of compiled code that are written in LLVM's language where they are called."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence

from llvmlite import ir

from graphc.primitives.types import Signature

Emit = Callable[[ir.IRBuilder, Signature, Sequence[ir.Value]], ir.Value | None]
"""Writes the operation: where, with what types, of which values. An operation that gives nothing returns None."""

Typing = Callable[..., tuple[Signature, Emit] | None]
"""Types of arguments -> what the operation takes and gives, and what writes it; None where it does not take them."""


class Intrinsic:
    """An operation by its typing; whole numbers that the text tells have types of their own."""

    def __init__(self, typing: Typing) -> None:
        self.typing, self.name, self.__doc__ = typing, typing.__name__, typing.__doc__

    def parameters(self) -> list[inspect.Parameter]:
        """Those of a call."""
        return [*inspect.signature(self.typing).parameters.values()]
