"""NumPy's functions of Tensors: ``np.exp(x)`` is ``gc.exp(x)``, found by name in the table of public names.

NumPy hands a call over when an argument is a Tensor or an indexed expression (NEP 13 for ufuncs, NEP 18 for the other
functions). Operators are recorded as Python's are; what has no counterpart is an error that names the closest word.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping
from typing import Any, NoReturn

from graphc.declare.ops import ADD, DIV, FLOOR_DIVIDE, LESS, LESS_EQUAL, MUL, POW, SUB, Op
from graphc.declare.origin import fail, located
from graphc.declare.public import closest, find, word
from graphc.errors import TypeMismatchError

_OPERATORS: dict[str, Op] = {
    "add": ADD, "subtract": SUB, "multiply": MUL, "divide": DIV, "power": POW, "float_power": POW,
    "floor_divide": FLOOR_DIVIDE, "less": LESS, "less_equal": LESS_EQUAL,
}  # fmt: skip
_SWAPPED = {"greater": LESS, "greater_equal": LESS_EQUAL}
_METHODS = {
    "matmul": ("__matmul__", "__rmatmul__"), "remainder": ("__mod__", "__rmod__"), "negative": ("__neg__", ""),
    "positive": ("__pos__", ""), "absolute": ("__abs__", ""), "conjugate": ("__pos__", ""),
    "bitwise_and": ("__and__", "__rand__"), "bitwise_or": ("__or__", "__ror__"), "invert": ("__invert__", ""),
    "bitwise_xor": ("__xor__", "__rxor__"),
}  # fmt: skip
"""The methods of a handle on the left and on the right side of what NumPy calls by these names."""

_REDUCED = {
    "add": "sum", "multiply": "prod", "maximum": "max", "minimum": "min", "logical_and": "all", "logical_or": "any",
    "logaddexp": "logsumexp",
}  # fmt: skip
_ACCUMULATED = {"add": "cumsum", "multiply": "cumprod", "logaddexp": "logcumsumexp"}
_FOREIGN = re.compile(r"\b(?:math|np|numpy)\.(?:linalg\.)?(\w+)\s*\(")


def of_ufunc(handle: Any, ufunc: Any, method: str, args: tuple[Any, ...], options: Mapping[str, Any]) -> Any:
    """What a ufunc of NumPy gives for a handle.

    Raises
    ------
    TypeMismatchError
        When there is no such function, or an option such as ``out=`` is given.
    """
    name = ufunc.__name__
    if method == "__call__" and not options:
        return _called(handle, name, args)
    if method == "outer" and not options and len(args) == 2:
        return ufunc(word("expand_dims")(args[0], _new_axes(args)), args[1])
    table = {"reduce": _REDUCED, "accumulate": _ACCUMULATED}.get(method, {})
    if name not in table:
        _refuse(handle._noun, name if method in ("__call__", "outer") else f"{name}.{method}", name, options)
    given = {"axis": 0, **{k: v for k, v in options.items() if v is not None or k == "axis"}}
    known = inspect.signature(word(table[name])).parameters
    if not set(given) <= set(known):
        _refuse(handle._noun, f"{name}.{method}", table[name], options)
    return word(table[name])(*args, **given)


def _called(handle: Any, name: str, args: tuple[Any, ...]) -> Any:
    if name in _METHODS:
        left, right = _METHODS[name]
        return getattr(args[0], left)(*args[1:]) if args[0] is handle else getattr(handle, right)(args[0])
    if name in _OPERATORS:
        return handle._combine(_OPERATORS[name], args)
    if name in _SWAPPED:
        return handle._combine(_SWAPPED[name], args[::-1])
    own = find(name)
    if own is None:
        _refuse(handle._noun, name, name, {})
    return own(*args)


def _new_axes(args: tuple[Any, ...]) -> tuple[int, ...]:
    """The last axes that the first operand of an outer operation gets."""
    return tuple(range(-_rank(args[1]), 0))


def _rank(x: Any) -> int:
    return getattr(x, "ndim", 0)


# ---------------------------------------------------------------- other functions


def _clip(x: Any, a_min: Any = None, a_max: Any = None, min: Any = None, max: Any = None) -> Any:
    low, high = (a_min if min is None else min), (a_max if max is None else max)
    x = x if low is None else word("maximum")(x, low)
    return x if high is None else word("minimum")(x, high)


def _round(x: Any, decimals: int = 0) -> Any:
    return x.round(decimals)


_ADAPTED: dict[str, Callable[..., Any]] = {
    "shape": lambda x: x.shape,
    "ndim": lambda x: x.ndim,
    "size": lambda x: x.size,
    "copy": lambda x: x,
    "matrix_transpose": lambda x: x.mT,
    "clip": _clip,
    "round": _round,
    "around": _round,
}
"""Functions whose arguments are not ours, or that are no functions of ours."""


_CHANGING = {"put_along_axis": "write y = gc.put_along_axis(x, indices, values, axis)."}
"""Functions of NumPy that give nothing, where ours of the same name gives a new Tensor."""


def of_function(noun: str, function: Any, args: tuple[Any, ...], options: Mapping[str, Any]) -> Any:
    """What a function of NumPy gives when a handle is among its arguments.

    Raises
    ------
    TypeMismatchError
        When there is no such function, or it does not have an option that is given.
    """
    name, module = function.__name__, function.__module__
    if name in _CHANGING:
        message = f"NumPy cannot compute np.{name} of {noun}: it changes its first argument, and a Tensor never changes"
        fail(TypeMismatchError, message, _CHANGING[name])
    shown = name if module == "numpy" else f"{module.removeprefix('numpy.')}.{name}"
    own = _ADAPTED.get(name) or find(name) if module in ("numpy", "numpy.linalg") else None
    if own is None and module == "numpy.linalg":
        own = getattr(word("linalg"), name, None)
    if own is None:
        _refuse(noun, shown, name, {})
    positional, given = _arguments(noun, shown, function, own, args, options)
    return located(own)(*positional, **given)


def _arguments(
    noun: str, name: str, function: Any, own: Callable[..., Any], args: tuple[Any, ...], options: Mapping[str, Any]
) -> tuple[list[Any], dict[str, Any]]:
    """The arguments of a call of NumPy's as ours takes them: the required ones by position, the others by name."""
    theirs, ours = inspect.signature(function), inspect.signature(own).parameters
    required = sum(p.default is p.empty and p.kind is not p.VAR_POSITIONAL for p in ours.values())
    positional: list[Any] = []
    given: dict[str, Any] = {}
    for place, (key, value) in enumerate(theirs.bind(*args, **options).arguments.items()):
        p = theirs.parameters[key]
        if p.kind is p.VAR_POSITIONAL:
            positional += value
        elif p.kind is p.VAR_KEYWORD:
            given |= value
        elif place < required and place == len(positional):
            positional.append(value)
        elif key in ours or value is not p.default:
            given[key] = value
    unknown = [key for key in given if key not in ours]
    if unknown:
        known = ", ".join(key for key, p in ours.items() if p.kind is not p.VAR_POSITIONAL)
        fail(TypeMismatchError, f"np.{name} of {noun} has no option {unknown[0]!r}", f"its parameters are {known}.")
    return positional, given


# ---------------------------------------------------------------- what has no counterpart


def _refuse(noun: str, shown: str, name: str, options: Mapping[str, Any]) -> NoReturn:
    message = f"NumPy cannot compute np.{shown} of {noun}"
    if not options:
        fail(TypeMismatchError, message, hint_of(name))
    message += f" with {', '.join(f'{key}=' for key in options)}"
    fail(TypeMismatchError, message, "a Tensor never changes: assign the result, and choose elements with gc.where.")


def hint_of(name: str) -> str:
    """Which function of ours does what NumPy's or math's function of that name does."""
    own = find(name)
    if own is not None:
        return f"use gc.{own.__name__}, which computes with Tensors."
    near = closest(name.removeprefix("nan")) if name else None
    if near is not None:
        return f"there is no gc.{name}; the closest name is gc.{near}."
    if name:
        return f"there is no gc.{name}; dir(graphc) lists what computes with Tensors."
    return "use the functions of graphc (gc.exp, not math.exp); gc.compile gives numbers."


def hint_of_line(text: str) -> str:
    """The same for the foreign function that a line of the user calls."""
    found = _FOREIGN.search(text)
    return hint_of(found[1] if found else "")
