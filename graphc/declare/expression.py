"""Arithmetic on handles: what Tensors and indexed expressions have in common, and why some Python habits fail."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NoReturn

import sympy

from graphc.declare import protocol
from graphc.declare.conditions import is_condition
from graphc.declare.names import node_text
from graphc.declare.ops import (
    ABS,
    ADD,
    AND,
    DIV,
    FLOOR_DIVIDE,
    LESS,
    LESS_EQUAL,
    MOD,
    MUL,
    NEG,
    NOT,
    OR,
    POW,
    SUB,
    XOR,
    Op,
)
from graphc.declare.origin import caller, fail, source_text
from graphc.errors import TypeMismatchError
from graphc.ir.node import Node


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

    def __floordiv__(self, other: Any) -> Any:
        return self._combine(FLOOR_DIVIDE, (self, other))

    def __rfloordiv__(self, other: Any) -> Any:
        return self._combine(FLOOR_DIVIDE, (other, self))

    def __mod__(self, other: Any) -> Any:
        return self._combine(MOD, (self, other))

    def __rmod__(self, other: Any) -> Any:
        return self._combine(MOD, (other, self))

    def __and__(self, other: Any) -> Any:
        return self._choose(AND, (self, other))

    def __rand__(self, other: Any) -> Any:
        return self._choose(AND, (other, self))

    def __or__(self, other: Any) -> Any:
        return self._choose(OR, (self, other))

    def __ror__(self, other: Any) -> Any:
        return self._choose(OR, (other, self))

    def __xor__(self, other: Any) -> Any:
        return self._choose(XOR, (self, other))

    def __rxor__(self, other: Any) -> Any:
        return self._choose(XOR, (other, self))

    def __invert__(self) -> Any:
        return self._choose(NOT, (self,))

    def _choose(self, op: Op, args: tuple[Any, ...]) -> Any:
        """The operation of conditions, whose elements are 0 and 1: of other numbers ``&`` would mean their bits."""
        wrong = next((a for a in args if not is_condition(a)), None)
        if wrong is not None:
            shown = node_text(wrong.node) if isinstance(wrong, NodeHandle) else f"{wrong!r:.60}"
            hint = "compare first, and put each comparison in parentheses: (x > 0) & (x < 1)."
            fail(TypeMismatchError, f"{op.title}: {shown} is no condition", hint)
        return self._combine(op, args)

    def _is_condition(self) -> bool:
        """Whether there are no other values than 0 and 1."""
        return False

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
        message = f"{self._noun} is no number and no array: it has no value yet"
        fail(TypeMismatchError, message, protocol.hint_of_line(source_text(caller())))

    def __array_ufunc__(self, ufunc: Any, method: str, *args: Any, **options: Any) -> Any:
        """``np.exp(x)`` is ``gc.exp(x)``, and ``array * x`` is ``x.__rmul__(array)``."""
        return protocol.of_ufunc(self, ufunc, method, args, options)

    def __array_function__(self, function: Any, types: Any, args: Any, options: Any) -> Any:
        """``np.sum(x, axis=0)`` is ``gc.sum(x, axis=0)``."""
        return protocol.of_function(self._noun, function, args, options)

    def __matmul__(self, other: Any) -> Any:
        return self._no_product()

    def __rmatmul__(self, other: Any) -> Any:
        return self._no_product()

    def _no_product(self) -> NoReturn:
        fail(TypeMismatchError, f"@ is not defined for {self._noun}", "write gc.sum(A[i, k]*B[k, j], over=k).")


class NodeHandle(Handle):
    """A handle of one node of the graph."""

    __slots__ = ("_name", "_node")

    def __init__(self, node: Node, name: str | None = None) -> None:
        self._node, self._name = node, name

    @property
    def node(self) -> Node:
        """The equation or leaf behind the handle."""
        return self._node
