"""What holds somewhere, everywhere, and how often: NumPy's names."""

from __future__ import annotations

from typing import Any

from graphc.declare.pointwise import where as choose
from graphc.declare.reductions import max, min, sum
from graphc.declare.tensor import Tensor, as_node


def any(x: Any, axis: Any = None, keepdims: bool = False, *, where: Any = True) -> Tensor:
    """1 where one of the elements is not 0, else 0; its gradient is 0.

    Parameters
    ----------
    x : Tensor or array
        Such as ``X > 0``.
    axis : int or tuple of int, optional
        Along which axes; all of them when it is None.
    keepdims : bool
        Keep the reduced axes with an extent of 1.
    where : Tensor or array
        Which elements count: those where it is not 0.

    Raises
    ------
    ShapeError
        When an axis does not exist.

    Examples
    --------
    >>> import graphc as gc
    >>> gc.any(gc.input("X", ("n", 3)) > 0, axis=1).shape
    ('n',)
    """
    found = _is_true("any", x)
    return max(found if where is True else choose(where, found, 0), axis, keepdims)


def all(x: Any, axis: Any = None, keepdims: bool = False, *, where: Any = True) -> Tensor:
    """1 where none of the elements is 0, else 0; its gradient is 0.

    Parameters
    ----------
    x : Tensor or array
        Such as ``X > 0``.
    axis : int or tuple of int, optional
        Along which axes; all of them when it is None.
    keepdims : bool
        Keep the reduced axes with an extent of 1.
    where : Tensor or array
        Which elements count: those where it is not 0.

    Raises
    ------
    ShapeError
        When an axis does not exist.

    Examples
    --------
    >>> import graphc as gc
    >>> gc.all(gc.input("X", ("n", 3)) > 0, axis=1).shape
    ('n',)
    """
    found = _is_true("all", x)
    return min(found if where is True else choose(where, found, 1), axis, keepdims)


def count_nonzero(x: Any, axis: Any = None, keepdims: bool = False) -> Tensor:
    """How many elements are not 0; its gradient is 0.

    Parameters
    ----------
    x : Tensor or array
        Such as ``X > 0``.
    axis : int or tuple of int, optional
        Along which axes; all of them when it is None.
    keepdims : bool
        Keep the reduced axes with an extent of 1.

    Raises
    ------
    ShapeError
        When an axis does not exist.

    Examples
    --------
    >>> import graphc as gc
    >>> gc.count_nonzero(gc.input("X", ("n", 3)) > 0, axis=0).shape
    (3,)
    """
    return sum(_is_true("count_nonzero", x), axis, keepdims)


def _is_true(name: str, x: Any) -> Tensor:
    """1 where x is not 0, NaN included, else 0."""
    return choose(Tensor(as_node(x, name)), 1, 0)
