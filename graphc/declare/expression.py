"""Arithmetic on handles: what Tensors and indexed expressions have in common, and why some Python habits fail."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, NoReturn

import sympy

from graphc.declare.origin import caller, fail, source_text
from graphc.errors import TypeMismatchError
from graphc.ir.node import Node
from graphc.ir.scalar import FUNCTIONS, absolute, less, less_equal


@dataclass(frozen=True, eq=False)
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

UFUNCS = {"add": ADD, "subtract": SUB, "multiply": MUL, "divide": DIV, "true_divide": DIV, "power": POW}
COMPARISONS = {
    "less": (LESS, 1),
    "less_equal": (LESS_EQUAL, 1),
    "greater": (LESS, -1),
    "greater_equal": (LESS_EQUAL, -1),
}
_REDUCTIONS = {"add": "sum", "multiply": "prod", "maximum": "max", "minimum": "min"}
_SPELLINGS = {"arcsin": "asin", "arccos": "acos", "arctan": "atan", "absolute": "abs", "fabs": "abs", "rint": "round"}
_FOREIGN = re.compile(r"\b(?:math|np|numpy)\.(\w+)\s*\(")
_OWN = {*FUNCTIONS, "abs", "round", "floor", "sum", "mean", "max", "min", "prod", "reshape", "transpose"} - {
    "asin", "acos", "atan", "sinh", "cosh", "tan"
}


class Handle:
    """Something to compute with that has no value yet; the operators record, one node an operation."""

    __slots__ = ()
    _noun = "a symbolic expression"

    def _combine(self, op: Op, args: tuple[Any, ...]) -> Any:
        raise NotImplementedError

    def __add__(self, other: Any) -> Any:
        return self._combine(ADD, (self, other))

    def __radd__(self, other: Any) -> Any:
        return self._combine(ADD, (other, self))

    def __sub__(self, other: Any) -> Any:
        return self._combine(SUB, (self, other))

    def __rsub__(self, other: Any) -> Any:
        return self._combine(SUB, (other, self))

    def __mul__(self, other: Any) -> Any:
        return self._combine(MUL, (self, other))

    def __rmul__(self, other: Any) -> Any:
        return self._combine(MUL, (other, self))

    def __truediv__(self, other: Any) -> Any:
        return self._combine(DIV, (self, other))

    def __rtruediv__(self, other: Any) -> Any:
        return self._combine(DIV, (other, self))

    def __pow__(self, other: Any) -> Any:
        return self._combine(POW, (self, other))

    def __rpow__(self, other: Any) -> Any:
        return self._combine(POW, (other, self))

    def __neg__(self) -> Any:
        return self._combine(NEG, (self,))

    def __pos__(self) -> Any:
        return self

    def __abs__(self) -> Any:
        return self._combine(ABS, (self,))

    def __lt__(self, other: Any) -> Any:
        return self._combine(LESS, (self, other))

    def __le__(self, other: Any) -> Any:
        return self._combine(LESS_EQUAL, (self, other))

    def __gt__(self, other: Any) -> Any:
        return self._combine(LESS, (other, self))

    def __ge__(self, other: Any) -> Any:
        return self._combine(LESS_EQUAL, (other, self))

    def __bool__(self) -> bool:
        message = f"{self._noun} is neither true nor false: it has no value before it is compiled and run"
        fail(TypeMismatchError, message, "choose between values with gc.where(condition, a, b), not with if, and, or.")

    def __len__(self) -> int:
        fail(TypeMismatchError, f"{self._noun} has no len(): its extents may be free", "use .shape.")

    def __iter__(self) -> Iterator[Any]:
        hint = "gc.sum, gc.mean, gc.max, gc.stack and gc.concatenate work on whole axes; x[0] reads one element."
        fail(TypeMismatchError, f"{self._noun} cannot be iterated over: it has no value yet", hint)

    def __float__(self) -> float:
        self._no_number()

    def __int__(self) -> int:
        self._no_number()

    def __complex__(self) -> complex:
        self._no_number()

    def __array__(self, dtype: Any = None, copy: Any = None) -> NoReturn:
        self._no_number()

    def _sympy_(self) -> NoReturn:
        """SymPy's operators then leave the work to ours: ``Rational(1, 4)*x`` is ``x*Rational(1, 4)``."""
        raise sympy.SympifyError(self._noun)

    def _no_number(self) -> NoReturn:
        found = _FOREIGN.search(source_text(caller()))
        message = f"{self._noun} is no number and no array: it has no value yet"
        fail(TypeMismatchError, message, _hint(found[1] if found else ""))

    def __array_ufunc__(self, ufunc: Any, method: str, *args: Any, **options: Any) -> Any:
        """``array * x`` is ``x.__rmul__(array)``; NumPy's other functions are refused by naming ours."""
        name = ufunc.__name__
        if method != "__call__" or options or name not in (*UFUNCS, *COMPARISONS, "matmul"):
            own = _REDUCTIONS.get(name, "") if method == "reduce" else name
            fail(TypeMismatchError, f"NumPy cannot compute np.{own or name} of {self._noun}", _hint(own))
        if name == "matmul":
            return self @ args[1] if args[0] is self else self.__rmatmul__(args[0])
        if name in UFUNCS:
            return self._combine(UFUNCS[name], args)
        op, order = COMPARISONS[name]
        return self._combine(op, args[::order])

    def __matmul__(self, other: Any) -> Any:
        return self._no_product()

    def __rmatmul__(self, other: Any) -> Any:
        return self._no_product()

    def _no_product(self) -> NoReturn:
        fail(TypeMismatchError, f"@ is not defined for {self._noun}", "write gc.sum(A[i, k]*B[k, j], over=k).")


def _hint(name: str) -> str:
    own = _SPELLINGS.get(name, name)
    if own in _OWN:
        return f"use gc.{own}, which computes with Tensors."
    return "use the functions of graphc (gc.exp, not np.exp or math.exp); gc.compile gives numbers."


class NodeHandle(Handle):
    """A handle of one node of the graph."""

    __slots__ = ("_name", "_node")

    def __init__(self, node: Node, name: str | None = None) -> None:
        self._node, self._name = node, name

    @property
    def node(self) -> Node:
        """The equation or leaf behind the handle."""
        return self._node
