"""Declared data and parameters: ``input`` and ``param``. Every call makes a new leaf."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from graphc.declare.constraints import constraint_of
from graphc.declare.init import initialiser
from graphc.declare.names import check_name, check_shape
from graphc.declare.origin import fail, stamp
from graphc.declare.tensor import Tensor
from graphc.errors import TypeMismatchError
from graphc.ir.affine import Extent
from graphc.ir.node import Leaf

_FLOAT = ("float", "float32", "float64")
_INT = ("int", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "bool")


def input(name: str, shape: Sequence[Extent] | Extent, dtype: Any = "float") -> Tensor:
    """Declare data that is passed when the network runs.

    Parameters
    ----------
    name : str
        An identifier of at most 64 characters, unique in a model.
    shape : tuple of int and str
        Whole numbers, or names of free extents such as ``"n"``, whose size the data tell.
    dtype : str or type
        ``"float"``, or ``"int64"`` for integer labels, which accept any integer or bool data.

    Returns
    -------
    Tensor
        Of the given shape.

    Raises
    ------
    NameClashError
        When a name is no identifier.
    ShapeError
        When an extent is neither a whole number of at least 1 nor a name.
    TypeMismatchError
        When the dtype is unknown.

    Examples
    --------
    >>> import graphc as gc
    >>> gc.input("X", ("n", 2))
    <Tensor X[n, 2]>
    >>> gc.input("T", ("n",), dtype="int64").dtype
    'int'
    """
    check_name(name, "an input")
    return Tensor(stamp(Leaf(name, check_shape(shape, name), "input", _dtype(dtype, name))))


def _dtype(dtype: Any, name: str) -> Any:
    text = dtype if isinstance(dtype, str) else getattr(dtype, "__name__", None) or str(dtype)
    if text not in (*_FLOAT, *_INT):
        fail(TypeMismatchError, f"the dtype of {name} is {dtype!r}", 'use "float", or "int64" for integer labels.')
    return "float" if text in _FLOAT else "int"


def param(name: str, shape: Sequence[Extent] | Extent, init: Any = None, constraint: Any = None) -> Tensor:
    """Declare a parameter, which training changes.

    Parameters
    ----------
    name : str
        An identifier of at most 64 characters, unique in a model.
    shape : tuple of int
        Whole numbers; ``()`` for a scalar.
    init : number, array, initialiser or its name, optional
        Where it starts; :func:`graphc.glorot` for two axes and more, else 0. All are in ``graphc.init``.
    constraint : Constraint or str, optional
        What it is set to after every update: one of ``graphc.constraints``, or a formula such as ``"max(theta, 0)"``.

    Returns
    -------
    Tensor
        Of the given shape.

    Raises
    ------
    NameClashError
        When the name is no identifier.
    ShapeError
        When an extent is free, or an array has another shape.
    DomainError
        When a starting value is not finite.
    UnknownNameError
        When no initialiser has that name.
    TypeMismatchError
        When `init` is something else.

    Examples
    --------
    >>> import graphc as gc
    >>> gc.param("W", (2, 4), gc.normal(1.0))
    <Tensor W[2, 4]>
    """
    check_name(name, "a parameter")
    extents = check_shape(shape, name, free=False)
    start = initialiser(init, name, tuple(int(e) for e in extents))
    kept = constraint_of(constraint, name, tuple(int(e) for e in extents))
    return Tensor(stamp(Leaf(name, extents, "param", value=start, constraint=kept)))
