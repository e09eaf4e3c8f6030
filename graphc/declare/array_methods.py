"""The methods of an array on a Tensor: each calls the public function of its name."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Self

from graphc.declare.expression import NodeHandle
from graphc.declare.names import node_text
from graphc.declare.origin import fail
from graphc.declare.public import closest, find, word
from graphc.errors import ShapeError, TypeMismatchError
from graphc.ir.affine import Extent
from graphc.words import meaning

Axis = int | Sequence[int] | None


class ArrayMethods(NodeHandle):
    """NumPy's methods and properties, with NumPy's arguments; the functions of the same names say what they do."""

    __slots__ = ()

    @property
    def shape(self) -> tuple[Extent, ...]:
        """The extents: whole numbers, and names of free extents."""
        return self.node.shape

    @property
    def ndim(self) -> int:
        """How many axes there are."""
        return self.node.rank

    @property
    def size(self) -> int:
        """How many elements there are, where no extent is free."""
        free = next((e for e in self.shape if isinstance(e, str)), None)
        if free is not None:
            message = f"the number of elements of {node_text(self.node)} is not known: {free} is a free extent"
            fail(ShapeError, message, "gc.sum(gc.ones_like(x)) is the number at run time.")
        return math.prod(int(e) for e in self.shape)

    @property
    def T(self) -> Self:
        """The tensor with its axes in reverse order."""
        return word("transpose")(self)

    @property
    def mT(self) -> Self:
        """The tensor with its last two axes exchanged: each matrix of a stack transposed."""
        return word("swapaxes")(self, -1, -2)

    # ------------------------------------------------------------ reductions

    def sum(self, axis: Axis = None, keepdims: bool = False, *, where: Any = True) -> Self:
        """The sum of elements: :func:`graphc.sum`."""
        return word("sum")(self, axis, keepdims, where=where)

    def mean(self, axis: Axis = None, keepdims: bool = False, *, where: Any = True) -> Self:
        """The mean of elements: :func:`graphc.mean`."""
        return word("mean")(self, axis, keepdims, where=where)

    def max(self, axis: Axis = None, keepdims: bool = False, *, where: Any = True) -> Self:
        """The largest element: :func:`graphc.max`."""
        return word("max")(self, axis, keepdims, where=where)

    def min(self, axis: Axis = None, keepdims: bool = False, *, where: Any = True) -> Self:
        """The smallest element: :func:`graphc.min`."""
        return word("min")(self, axis, keepdims, where=where)

    def prod(self, axis: Axis = None, keepdims: bool = False, *, where: Any = True) -> Self:
        """The product of elements: :func:`graphc.prod`."""
        return word("prod")(self, axis, keepdims, where=where)

    def var(self, axis: Axis = None, ddof: float = 0, keepdims: bool = False, *, where: Any = True) -> Self:
        """The variance: :func:`graphc.var`."""
        return word("var")(self, axis, ddof, keepdims, where=where)

    def std(self, axis: Axis = None, ddof: float = 0, keepdims: bool = False, *, where: Any = True) -> Self:
        """The standard deviation: :func:`graphc.std`."""
        return word("std")(self, axis, ddof, keepdims, where=where)

    def any(self, axis: Axis = None, keepdims: bool = False, *, where: Any = True) -> Self:
        """1 where one of the elements is not 0: :func:`graphc.any`."""
        return word("any")(self, axis, keepdims, where=where)

    def all(self, axis: Axis = None, keepdims: bool = False, *, where: Any = True) -> Self:
        """1 where none of the elements is 0: :func:`graphc.all`."""
        return word("all")(self, axis, keepdims, where=where)

    def argmax(self, axis: int | None = None, keepdims: bool = False) -> Self:
        """The place of the largest element: :func:`graphc.argmax`."""
        return word("argmax")(self, axis, keepdims)

    def argmin(self, axis: int | None = None, keepdims: bool = False) -> Self:
        """The place of the smallest element: :func:`graphc.argmin`."""
        return word("argmin")(self, axis, keepdims)

    def cumsum(self, axis: int | None = None) -> Self:
        """The running sum: :func:`graphc.cumsum`."""
        return word("cumsum")(self, axis)

    def cumprod(self, axis: int | None = None) -> Self:
        """The running product: :func:`graphc.cumprod`."""
        return word("cumprod")(self, axis)

    def trace(self, offset: int = 0, axis1: int = 0, axis2: int = 1) -> Self:
        """The sum of a diagonal: :func:`graphc.trace`."""
        return word("trace")(self, offset, axis1, axis2)

    def dot(self, b: Any) -> Self:
        """The product with a vector or matrix: :func:`graphc.dot`."""
        return word("dot")(self, b)

    # ------------------------------------------------------------ other places

    def reshape(self, *shape: Any) -> Self:
        """The same elements in another shape, given as a tuple or one by one: :func:`graphc.reshape`."""
        return word("reshape")(self, _unpacked(shape))

    def transpose(self, *axes: Any) -> Self:
        """The axes in another order, reversed by default: :func:`graphc.transpose`."""
        order = _unpacked(axes)
        return word("transpose")(self, None if order in ((), None) else order)

    def swapaxes(self, axis1: int, axis2: int) -> Self:
        """Two axes exchanged: :func:`graphc.swapaxes`."""
        return word("swapaxes")(self, axis1, axis2)

    def squeeze(self, axis: Axis = None) -> Self:
        """Without axes of extent 1: :func:`graphc.squeeze`."""
        return word("squeeze")(self, axis)

    def ravel(self) -> Self:
        """All elements along one axis: :func:`graphc.ravel`."""
        return word("ravel")(self)

    def flatten(self) -> Self:
        """All elements along one axis: :func:`graphc.ravel`."""
        return word("ravel")(self)

    def diagonal(self, offset: int = 0, axis1: int = 0, axis2: int = 1) -> Self:
        """The elements of a diagonal: :func:`graphc.diagonal`."""
        return word("diagonal")(self, offset, axis1, axis2)

    def repeat(self, repeats: int | Sequence[int], axis: int | None = None) -> Self:
        """Every element several times: :func:`graphc.repeat`."""
        return word("repeat")(self, repeats, axis)

    def take(self, indices: Any, axis: int | None = None) -> Self:
        """The elements at some places: :func:`graphc.take`."""
        return word("take")(self, indices, axis)

    # ------------------------------------------------------------ elements

    def clip(self, min: Any = None, max: Any = None) -> Self:
        """Each element, or the bound it is beyond; either bound may be absent: :func:`graphc.clip`."""
        if min is not None and max is not None:
            return word("clip")(self, min, max)
        low: Any = self if min is None else word("maximum")(self, min)
        return low if max is None else word("minimum")(low, max)

    def round(self, decimals: int = 0) -> Self:
        """The nearest whole number, or the nearest with some decimals: :func:`graphc.round`."""
        if not isinstance(decimals, int):
            fail(TypeMismatchError, f"round: the number of decimals is {decimals!r}", "give a whole number.")
        if decimals == 0:
            return word("round")(self)
        scale = 10 ** abs(decimals)
        return word("round")(self * scale) / scale if decimals > 0 else word("round")(self / scale) * scale

    def __round__(self, ndigits: int | None = None) -> Self:
        return self.round(ndigits or 0)

    if not TYPE_CHECKING:  # to which only attributes that exist are known

        def __getattr__(self, name: str) -> Any:
            message = f"a Tensor has no attribute {name!r}"
            if not name.startswith("_"):
                known, other = find(name), meaning(name)
                near = closest(name, [n for n in dir(type(self)) if not n.startswith("_")])
                lead = f"; here it is {other}" if other else f"; did you mean x.{near}?" if near else ""
                message += f"; write gc.{known.__name__}(x)" if known else lead
            raise AttributeError(message, name=name, obj=self)

    if TYPE_CHECKING:  # what the operators of a handle give here; with an indexed expression, such an expression

        def __add__(self, other: Any) -> Self: ...
        def __radd__(self, other: Any) -> Self: ...
        def __sub__(self, other: Any) -> Self: ...
        def __rsub__(self, other: Any) -> Self: ...
        def __mul__(self, other: Any) -> Self: ...
        def __rmul__(self, other: Any) -> Self: ...
        def __truediv__(self, other: Any) -> Self: ...
        def __rtruediv__(self, other: Any) -> Self: ...
        def __floordiv__(self, other: Any) -> Self: ...
        def __rfloordiv__(self, other: Any) -> Self: ...
        def __mod__(self, other: Any) -> Self: ...
        def __rmod__(self, other: Any) -> Self: ...
        def __pow__(self, other: Any) -> Self: ...
        def __rpow__(self, other: Any) -> Self: ...
        def __neg__(self) -> Self: ...
        def __pos__(self) -> Self: ...
        def __abs__(self) -> Self: ...
        def __lt__(self, other: Any) -> Self: ...
        def __le__(self, other: Any) -> Self: ...
        def __gt__(self, other: Any) -> Self: ...
        def __ge__(self, other: Any) -> Self: ...
        def __and__(self, other: Any) -> Self: ...
        def __rand__(self, other: Any) -> Self: ...
        def __or__(self, other: Any) -> Self: ...
        def __ror__(self, other: Any) -> Self: ...
        def __xor__(self, other: Any) -> Self: ...
        def __rxor__(self, other: Any) -> Self: ...
        def __invert__(self) -> Self: ...


def _unpacked(given: tuple[Any, ...]) -> Any:
    """The sequence that is the only argument, or the arguments themselves."""
    whole = len(given) == 1 and (given[0] is None or isinstance(given[0], Sequence) and not isinstance(given[0], str))
    return given[0] if whole else given
