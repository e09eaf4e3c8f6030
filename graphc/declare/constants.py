"""Numbers and arrays in an expression: a number enters a body exactly, an array or infinity becomes a constant leaf."""

from __future__ import annotations

import itertools
from numbers import Number
from typing import Any
from weakref import WeakValueDictionary

import numpy as np
import sympy

from graphc.declare.origin import caller, fail
from graphc.errors import DomainError, TypeMismatchError
from graphc.ir.node import Leaf
from graphc.ir.scalar import number

LARGEST = 65536
_known: WeakValueDictionary[tuple, Leaf] = WeakValueDictionary()
_counter = itertools.count()


def exact(value: Any, what: str) -> sympy.Expr:
    """The number as an exact expression.

    Raises
    ------
    DomainError
        When it is not finite and real.
    """
    scalar = value.item() if isinstance(value, np.ndarray) else value
    try:
        return number(scalar)
    except DomainError:
        kind = "finite real" if is_infinite(scalar) else "real"
        fail(DomainError, f"{what}: {scalar!r} is no {kind} number", f"constants in formulas are {kind} numbers.")


def is_number(value: Any) -> bool:
    """True for Python and NumPy numbers, arrays without axes, and SymPy numbers."""
    if isinstance(value, sympy.Expr):
        return bool(value.is_number)
    return isinstance(value, Number | np.bool_) or (isinstance(value, np.ndarray) and value.ndim == 0)


def is_infinite(value: Any) -> bool:
    """True for the numbers ∞ and −∞, which no body may hold: SymPy would compute with them."""
    if isinstance(value, sympy.Expr):
        return value in (sympy.oo, -sympy.oo)
    floating = isinstance(value, float) or (isinstance(value, np.ndarray | np.generic) and value.dtype.kind == "f")
    return floating and is_number(value) and bool(np.isinf(value))


def infinity(value: Any) -> Leaf:
    """∞ or −∞ as a constant without axes, which is read like an array."""
    return constant_leaf(np.array(float(value)), "infinity")


def constant_leaf(value: Any, what: str, labels: bool = False) -> Leaf:
    """A leaf that holds a small array; equal arrays give one leaf. ``labels`` keeps whole numbers whole.

    Raises
    ------
    TypeMismatchError
        When the value is no array of real numbers, or too large for a constant.
    DomainError
        When NaN is in it.
    """
    array = _as_array(value, what)
    if array.size > LARGEST:
        hint = "declare it with gc.input and pass it as data."
        fail(TypeMismatchError, f"{what}: an array of {array.size} numbers is too large for a constant", hint)
    if np.isnan(array).any():
        fail(DomainError, f"{what}: the array has NaN in it", "constants are numbers, ∞ or −∞.")
    own = np.array(array, dtype=np.int64 if labels else np.float64)
    own.flags.writeable = False
    key = (own.shape, own.dtype.str, own.tobytes())
    leaf = _known.get(key)
    if leaf is None:
        name = f"C{next(_counter)}" if own.shape or np.isfinite(own) else "∞" if own > 0 else "−∞"
        leaf = Leaf(name, own.shape, "constant", "int" if labels else "float", own)
        leaf.origin = caller()
        _known[key] = leaf
    return leaf


def _as_array(value: Any, what: str) -> np.ndarray:
    fits = isinstance(value, np.ndarray | list | tuple) or hasattr(value, "__array__")
    try:
        array = np.asarray(value) if fits else None
    except ValueError:  # a ragged list
        array = None
    if array is None or array.dtype.kind not in "fiub":
        found = f"an array of {array.dtype}" if array is not None and fits else f"{type(value).__name__} {value!r:.60}"
        hint = "operands are Tensors, numbers and arrays of real numbers."
        if type(value).__module__.startswith("scipy.sparse"):
            found, hint = f"a sparse matrix of type {type(value).__name__}", "pass it as x.toarray()."
        fail(TypeMismatchError, f"{what}: cannot compute with {found}", hint)
    return array
