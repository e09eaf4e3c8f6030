"""Running reductions and differences along an axis."""

from __future__ import annotations

from numbers import Integral
from typing import Any

from graphc.declare.index_ast import Indexed
from graphc.declare.names import node_text
from graphc.declare.origin import fail
from graphc.declare.rearrange import concatenate
from graphc.declare.reducing import one_axis, running
from graphc.declare.shapes import broadcast_to
from graphc.declare.tensor import Tensor, as_node
from graphc.declare.views import reshape
from graphc.errors import DomainError, IndexNotationError, ShapeError
from graphc.ir.node import Reducer


def cumsum(x: Any, axis: int | None = None) -> Tensor:
    """The running sum along an axis; it costs the square of the extent.

    Parameters
    ----------
    x : Tensor, number or array
        Of any shape.
    axis : int, optional
        Along which it runs; the flattened tensor when it is None.

    Raises
    ------
    ShapeError
        When the axis does not exist.

    Examples
    --------
    >>> import graphc as gc
    >>> gc.cumsum(gc.input("X", ("n", 3)), axis=1).shape
    ('n', 3)
    """
    return _running("cumsum", "sum", x, axis)


def cumprod(x: Any, axis: int | None = None) -> Tensor:
    """The running product along an axis, with a gradient that is exact at zeros; it costs the square of the extent.

    Parameters
    ----------
    x : Tensor, number or array
        Of any shape.
    axis : int, optional
        Along which it runs; the flattened tensor when it is None.

    Raises
    ------
    ShapeError
        When the axis does not exist.

    Examples
    --------
    >>> import graphc as gc
    >>> gc.cumprod(gc.input("X", ("n", 3)), axis=1).shape
    ('n', 3)
    """
    return _running("cumprod", "prod", x, axis)


def logcumsumexp(x: Any, axis: int | None = None) -> Tensor:
    """log(cumsum(exp(x))) along an axis without overflow; it costs the square of the extent.

    Parameters
    ----------
    x : Tensor, number or array
        Of any shape.
    axis : int, optional
        Along which it runs; the flattened tensor when it is None.

    Raises
    ------
    ShapeError
        When the axis does not exist.
    """
    return _running("logcumsumexp", "logsumexp", x, axis)


def _running(name: str, reducer: Reducer, x: Any, axis: int | None) -> Tensor:
    if isinstance(x, Indexed):
        over = {"sum": "sum", "prod": "prod", "logsumexp": "logsumexp"}[reducer]
        neutral = {"sum": "0", "prod": "1", "logsumexp": "-math.inf"}[reducer]
        hint = f"write gc.{over}(gc.where(k <= i, x[k], {neutral}), over=k)."
        fail(IndexNotationError, f"gc.{name} works on whole axes, and {x!r} is an indexed expression", hint)
    node = as_node(x, name)
    if axis is None and node.rank != 1:
        node = reshape(node, (-1,))
    return Tensor(running(node, one_axis(node, 0 if axis is None else axis, f"gc.{name}"), reducer))


def diff(x: Any, n: int = 1, axis: int = -1, prepend: Any = None, append: Any = None) -> Tensor:
    """The differences of neighbours along an axis of known extent: x[1:] - x[:-1], n times.

    Parameters
    ----------
    x : Tensor or array
        With at least one axis.
    n : int
        How many times; the axis becomes shorter by n.
    axis : int
        Along which neighbours are taken.
    prepend, append : Tensor, number or array, optional
        What is put before and after the elements first; a number stands for one element.

    Raises
    ------
    DomainError
        When n is no whole number of at least 0.
    ShapeError
        When the axis does not exist, has a free extent, or is too short.

    Examples
    --------
    >>> import graphc as gc
    >>> gc.diff(gc.input("X", ("n", 5))).shape
    ('n', 4)
    """
    found = Tensor(as_node(x, "diff"))
    t = one_axis(found.node, axis, "gc.diff")
    if not isinstance(n, Integral) or isinstance(n, bool) or n < 0:
        fail(DomainError, f"diff: n is {n!r}", "n is a whole number of at least 0.")
    extent = found.shape[t]
    if n == 0:
        return found
    if isinstance(extent, str):
        message = f"diff: axis {t} of {node_text(found.node)} has the free extent {extent}"
        fail(ShapeError, message, "differences are taken along an axis of known extent.")
    ends = [_end(end, found, t) for end in (prepend, append)]
    if any(ends):
        found = concatenate([*(ends[0]), found, *(ends[1])], t)
    if int(found.shape[t]) <= n:
        message = f"diff: axis {t} of {node_text(found.node)} has too few elements for {n} differences"
        fail(ShapeError, message, f"n is at most {int(found.shape[t]) - 1}.")
    for _ in range(int(n)):
        found = _part(found, t, slice(1, None)) - _part(found, t, slice(None, -1))
    return found


def _end(value: Any, x: Tensor, t: int) -> list[Tensor]:
    """What is put before or after x along axis t; nothing for None."""
    if value is None:
        return []
    end = Tensor(as_node(value, "diff"))
    one = tuple(1 if s == t else e for s, e in enumerate(x.shape))
    return [end if end.ndim else broadcast_to(end, one)]


def _part(x: Tensor, t: int, part: slice) -> Tensor:
    return x[(slice(None),) * t + (part,)]
