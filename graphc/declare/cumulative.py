"""Running reductions and differences along an axis."""

from __future__ import annotations

import math
from numbers import Integral
from typing import Any

from graphc.declare import pointwise
from graphc.declare.index_ast import Indexed
from graphc.declare.names import node_text
from graphc.declare.origin import fail
from graphc.declare.rearrange import concatenate
from graphc.declare.reducing import one_axis, running
from graphc.declare.shapes import broadcast_to, zeros_like
from graphc.declare.tensor import Tensor, as_node
from graphc.declare.views import reshape
from graphc.errors import DomainError, IndexNotationError, ShapeError
from graphc.ir.node import Reducer
from graphc.ir.scalar import number


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
    if n == 0:
        return found
    _refuse_free("diff", found, t)
    ends = [_end(end, found, t) for end in (prepend, append)]
    if any(ends):
        found = concatenate([*(ends[0]), found, *(ends[1])], t)
    if int(found.shape[t]) <= n:
        message = f"diff: axis {t} of {node_text(found.node)} has too few elements for {n} differences"
        fail(ShapeError, message, f"n is at most {int(found.shape[t]) - 1}.")
    for _ in range(int(n)):
        found = _part(found, t, slice(1, None)) - _part(found, t, slice(None, -1))
    return found


def unwrap(x: Any, discont: float | None = None, axis: int = -1, period: float = 2 * math.pi) -> Tensor:
    """Angles without jumps: neighbours that differ by more than half a period are moved by whole periods.

    Parameters
    ----------
    x : Tensor or array
        With at least one axis.
    discont : float, optional
        Differences that are smaller stay; at least half of the period, which is the default.
    axis : int
        Along which neighbours are taken; its extent is known.
    period : float
        Above 0.

    Returns
    -------
    Tensor
        Of the shape of x; its gradient is that of x, since the periods are whole.

    Raises
    ------
    DomainError
        When the period is not above 0.
    ShapeError
        When the axis does not exist or has a free extent.

    Examples
    --------
    >>> import graphc as gc
    >>> gc.unwrap(gc.input("X", ("n", 5))).shape
    ('n', 5)
    """
    found = Tensor(as_node(x, "unwrap"))
    t = one_axis(found.node, axis, "gc.unwrap")
    _refuse_free("unwrap", found, t)
    if not period > 0:
        fail(DomainError, f"unwrap: period is {period}", "period is above 0, such as 2*pi or 360.")
    if found.shape[t] == 1:
        return found
    steps = pointwise.stop_gradient(diff(found, axis=t))
    whole = number(period)
    small = pointwise.mod(steps + whole / 2, whole) - whole / 2
    small = pointwise.where((small <= -whole / 2) & (steps > 0), whole / 2, small)
    limit = max(float(discont) if discont is not None else 0.0, period / 2)
    moved = pointwise.where(abs(steps) < limit, 0, small - steps)
    first = zeros_like(_part(found, t, slice(0, 1)))
    return found + concatenate([first, cumsum(moved, t)], t)


def _refuse_free(what: str, x: Tensor, t: int) -> None:
    if isinstance(x.shape[t], str):
        message = f"{what}: axis {t} of {node_text(x.node)} has the free extent {x.shape[t]}"
        fail(ShapeError, message, "differences are taken along an axis of known extent.")


def _end(value: Any, x: Tensor, t: int) -> list[Tensor]:
    """What is put before or after x along axis t; nothing for None."""
    if value is None:
        return []
    end = Tensor(as_node(value, "diff"))
    one = tuple(1 if s == t else e for s, e in enumerate(x.shape))
    return [end if end.ndim else broadcast_to(end, one)]


def _part(x: Tensor, t: int, part: slice) -> Tensor:
    return x[(slice(None),) * t + (part,)]
