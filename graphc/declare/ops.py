"""The scalar operations behind Python's operators."""

from __future__ import annotations

from collections.abc import Callable

import sympy

from graphc.ir.scalar import PUBLIC, absolute, equal, less, less_equal, maximum
from graphc.records import record


@record(frozen=True, eq=False)
class Op:
    """One scalar operation: how it is written and the body it stands for."""

    name: str
    text: str
    build: Callable[..., sympy.Expr]

    def __call__(self, *args: sympy.Expr) -> sympy.Expr:
        return self.build(*args)

    @property
    def title(self) -> str:
        """How messages call it."""
        return self.name if self.name.isidentifier() else f"operator {self.name}"


ADD = Op("+", "{0} + {1}", lambda a, b: a + b)
SUB = Op("-", "{0} - {1}", lambda a, b: a - b)
MUL = Op("*", "{0}*{1}", lambda a, b: a * b)
DIV = Op("/", "{0}/{1}", lambda a, b: a / b)
POW = Op("**", "{0}**{1}", lambda a, b: a**b)
NEG = Op("-", "-{0}", lambda a: -a)
ABS = Op("abs", "abs({0})", absolute)
LESS = Op("<", "{0} < {1}", less)
LESS_EQUAL = Op("<=", "{0} <= {1}", less_equal)
FLOOR_DIVIDE = Op("//", "{0}//{1}", PUBLIC["floor_divide"])
MOD = Op("%", "{0} % {1}", PUBLIC["mod"])
AND = Op("&", "{0} & {1}", lambda a, b: a * b)
OR = Op("|", "{0} | {1}", maximum)
XOR = Op("^", "{0} ^ {1}", lambda a, b: 1 - equal(a, b))
NOT = Op("~", "~{0}", lambda a: 1 - a)
TRUTHS = (LESS, LESS_EQUAL, AND, OR, XOR, NOT)
"""Operations whose values are 0 or 1."""
