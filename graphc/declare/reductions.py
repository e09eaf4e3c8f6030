"""Reductions: over whole axes of a Tensor with ``axis=``, over index letters of an expression with ``over=``."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from graphc.declare.empty_rows import masked
from graphc.declare.index_ast import Index, Indexed, Reduce, as_indexed, free_indices, rename
from graphc.declare.lowering import lower
from graphc.declare.names import node_text
from graphc.declare.origin import fail
from graphc.declare.pointwise import where as choose
from graphc.declare.reducing import arg_axis, keep_axes, normal_axes, one_axis, reduce_axes
from graphc.declare.tensor import Tensor, as_node, is_expression
from graphc.declare.views import reshape
from graphc.errors import IndexNotationError
from graphc.ir.build import constant_node
from graphc.ir.node import REDUCERS, Node, Reducer

F = TypeVar("F", bound=Callable[..., Any])

_PARAMETERS = """

    Parameters
    ----------
    x : Tensor, array or indexed expression
        A Tensor of any shape, with `axis`; or an expression such as ``X[i, k]``, with `over`.
    axis : int or tuple of int, optional
        The axes to reduce; all of them when it is None.
    keepdims : bool
        Keep the reduced axes with an extent of 1.
    where : Tensor or array
        Which elements of `x` are reduced: those where it is not 0. It broadcasts with `x`.
    over : index or tuple of indices
        The index letters to reduce.

    Returns
    -------
    Tensor or indexed expression
        An expression as long as index letters are left, otherwise a Tensor.

    Raises
    ------
    ShapeError
        When an axis does not exist.
    IndexNotationError
        When `axis` and `over` are mixed, or an index of `over` does not occur.
"""


def _documented(function: F) -> F:
    """Add the parameters that all reductions share to a docstring, before its example."""
    summary, _, example = str(function.__doc__).partition("\n\n")
    function.__doc__ = f"{summary}{_PARAMETERS}\n{example}"
    return function


def _reduce(name: str, reducer: Reducer, x: Any, axis: Any, keepdims: bool, where: Any, over: Any) -> Any:
    if is_expression(x):
        whole = axis is None and not keepdims and where is True
        return _over_indices(name, reducer, x, whole, over)
    node = as_node(x, name)
    if over is not None:
        message = f"gc.{name}: over= belongs to indexed expressions, and {node_text(node)} is a Tensor"
        letters = ", ".join("ijklmpqrst"[: node.rank])
        fail(IndexNotationError, message, f"use axis=, or give it indices: {node.name or 'x'}[{letters}].")
    if where is not True:
        return _reduce_some(name, reducer, node, axis, keepdims, where)
    axes = normal_axes(node, axis, f"gc.{name}")
    reduced = reduce_axes(node, reducer, axes, name == "mean")
    return Tensor(keep_axes(node, reduced, axes) if keepdims else reduced)


def _reduce_some(name: str, reducer: Reducer, node: Node, axis: Any, keepdims: bool, where: Any) -> Tensor:
    """The reduction of the elements where a condition holds: the others are the identity of the reducer."""
    identity = REDUCERS[reducer]
    chosen = choose(where, Tensor(node), identity if math.isinf(identity) else int(identity))
    if name == "mean":
        return sum(chosen, axis, keepdims) / count(where, node, axis, keepdims)
    return _reduce(name, reducer, chosen, axis, keepdims, True, None)


def count(where: Any, node: Node, axis: Any, keepdims: bool) -> Tensor:
    """How many elements of a node a condition chooses along some axes."""
    ones = Tensor(constant_node(1, node.shape))
    return sum(ones if where is True else choose(where, ones, 0), axis, keepdims)


def _over_indices(name: str, reducer: Reducer, x: Any, whole: bool, over: Any) -> Any:
    if not whole:
        message = f"gc.{name}: axis=, keepdims= and where= belong to Tensors, and {x!r} is an indexed expression"
        fail(IndexNotationError, message, "name the index letters to reduce with over=.")
    if over is None:
        first = next(iter(free_indices(as_indexed(x, name))), "k")
        fail(IndexNotationError, f"gc.{name} of {x!r} does not say over which indices", f"add over={first}.")
    arg = as_indexed(x, name)
    letters = _letters(name, over)
    for i in letters:
        if i not in free_indices(arg) and i.size is None:
            message = f"gc.{name}: index {i} does not occur in {arg!r}"
            fail(IndexNotationError, message, "reduce over an index that does.")
    fresh = {i: Index(i.name, i.size) for i in letters}
    expr = Reduce(reducer, tuple(fresh.values()), rename(arg, fresh), name == "mean")
    return expr if free_indices(expr) else Tensor(lower(expr, []))


def _letters(name: str, over: Any) -> list[Index]:
    letters = list(over) if isinstance(over, Iterable) else [over]
    for i in letters:
        if not isinstance(i, Index):
            hint = 'make them with i, j = gc.indices("i j").'
            fail(IndexNotationError, f"gc.{name}: over={i!r} is no index letter", hint)
    if len(set(letters)) < len(letters) or not letters:
        fail(IndexNotationError, f"gc.{name}: over={over!r} must name each index once", "write over=(k, l).")
    return letters


@_documented
def sum(x: Any, axis: Any = None, keepdims: bool = False, *, where: Any = True, over: Any = None) -> Any:
    """The sum of elements.

    Examples
    --------
    >>> import graphc as gc
    >>> X = gc.input("X", ("n", 3)); W = gc.param("W", (3, 2), 0.5)
    >>> gc.sum(X, axis=1).shape
    ('n',)
    >>> i, j, k = gc.indices("i j k")
    >>> gc.define("Z", [i, j], gc.sum(X[i, k]*W[k, j], over=k)).shape
    ('n', 2)
    """
    return _reduce("sum", "sum", x, axis, keepdims, where, over)


@_documented
def mean(x: Any, axis: Any = None, keepdims: bool = False, *, where: Any = True, over: Any = None) -> Any:
    """The sum of elements divided by their number; over a free extent that is the number of rows at run time.

    Examples
    --------
    >>> import graphc as gc
    >>> gc.mean(gc.input("X", ("n", 3)), axis=0).shape
    (3,)
    """
    return _reduce("mean", "sum", x, axis, keepdims, where, over)


@_documented
def max(x: Any, axis: Any = None, keepdims: bool = False, *, where: Any = True, over: Any = None) -> Any:
    """The largest element; equal largest ones share the gradient equally.

    Examples
    --------
    >>> import graphc as gc
    >>> gc.max(gc.input("X", ("n", 3)), axis=1, keepdims=True).shape
    ('n', 1)
    """
    return _reduce("max", "max", x, axis, keepdims, where, over)


@_documented
def min(x: Any, axis: Any = None, keepdims: bool = False, *, where: Any = True, over: Any = None) -> Any:
    """The smallest element; equal smallest ones share the gradient equally.

    Examples
    --------
    >>> import graphc as gc
    >>> gc.min(gc.input("X", ("n", 3))).shape
    ()
    """
    return _reduce("min", "min", x, axis, keepdims, where, over)


@_documented
def prod(x: Any, axis: Any = None, keepdims: bool = False, *, where: Any = True, over: Any = None) -> Any:
    """The product of elements; its gradient is exact at zeros.

    Examples
    --------
    >>> import graphc as gc
    >>> gc.prod(gc.input("X", ("n", 3)), axis=1).shape
    ('n',)
    """
    return _reduce("prod", "prod", x, axis, keepdims, where, over)


@_documented
def logsumexp(x: Any, axis: Any = None, keepdims: bool = False, *, where: Any = True, over: Any = None) -> Any:
    """log(sum(exp(x))) without overflow; −∞ with gradient 0 where nothing is left.

    Examples
    --------
    >>> import graphc as gc
    >>> gc.logsumexp(gc.input("X", ("n", 3)), axis=1).shape
    ('n',)
    """
    if over is not None or is_expression(x):
        return _reduce("logsumexp", "logsumexp", x, axis, keepdims, where, over)
    z, some = masked("gc.logsumexp", Tensor(as_node(x, "logsumexp")), axis, where)
    if some is None:
        return _reduce("logsumexp", "logsumexp", z, axis, keepdims, True, None)
    found = choose(some, _reduce("logsumexp", "logsumexp", z, axis, True, True, None), -math.inf)
    return found if keepdims else sum(found, axis)


def argmax(x: Any, axis: int | None = None, keepdims: bool = False) -> Tensor:
    """The place of the largest element, the first of equal ones, or of the first NaN; its gradient is 0.

    It may be an index: ``C[gc.argmax(x, axis=1)]``.

    Parameters
    ----------
    x : Tensor or array
        With at least one axis.
    axis : int, optional
        The axis to search; the flattened tensor when it is None.
    keepdims : bool
        Keep the axis that is searched with an extent of 1.

    Raises
    ------
    ShapeError
        When the axis does not exist.

    Examples
    --------
    >>> import graphc as gc
    >>> gc.argmax(gc.input("X", ("n", 3)), axis=1).shape
    ('n',)
    """
    return _place("argmax", "max", x, axis, keepdims)


def argmin(x: Any, axis: int | None = None, keepdims: bool = False) -> Tensor:
    """The place of the smallest element, the first of equal ones, or of the first NaN; its gradient is 0.

    It may be an index: ``C[gc.argmin(x, axis=1)]``.

    Parameters
    ----------
    x : Tensor or array
        With at least one axis.
    axis : int, optional
        The axis to search; the flattened tensor when it is None.
    keepdims : bool
        Keep the axis that is searched with an extent of 1.

    Raises
    ------
    ShapeError
        When the axis does not exist.
    """
    return _place("argmin", "min", x, axis, keepdims)


def _place(name: str, reducer: Reducer, x: Any, axis: int | None, keepdims: bool) -> Tensor:
    node = _tensor(name, x, f"compare with gc.{reducer}(..., over=k).").node
    flat = reshape(node, (-1,)) if axis is None else node
    found = arg_axis(flat, one_axis(flat, 0 if axis is None else axis, f"gc.{name}"), reducer)
    axes = normal_axes(node, axis, f"gc.{name}")
    return Tensor(keep_axes(node, found, axes) if keepdims else found)


def _tensor(name: str, x: Any, hint: str) -> Tensor:
    if isinstance(x, Indexed):
        fail(IndexNotationError, f"gc.{name} works on whole axes, and {x!r} is an indexed expression", hint)
    return x if isinstance(x, Tensor) else Tensor(as_node(x, name))
