"""Parameters as they are handed out: copies that cannot be written to, so that nothing is changed in vain."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from graphc.declare.origin import fail
from graphc.errors import DataError

IN_PLACE = ("add", "sub", "mul", "truediv", "floordiv", "mod", "pow", "matmul")


class HandedArray(np.ndarray):
    """A read-only copy of a parameter; what is computed with it is a plain array.

    ``W += x`` gives a new array, as for numbers, so that ``model.params["W"] += x`` sets the parameter.
    """

    _name: str = "W"

    def __array_finalize__(self, obj: Any) -> None:
        self._name = getattr(obj, "_name", "W")

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **options: Any) -> Any:
        for x in options.get("out", ()):
            _check_writeable(x)
        if "out" in options:
            options["out"] = tuple(map(plain, options["out"]))
        return getattr(ufunc, method)(*map(plain, inputs), **options)

    def __setitem__(self, key: Any, value: Any) -> None:
        _check_writeable(self)
        super().__setitem__(key, value)

    def copy(self, order: Any = "C") -> NDArray:
        """A plain array that can be written to."""
        return np.array(self, order=order, subok=False)

    def __repr__(self) -> str:
        return repr(plain(self))


def _operator(name: str) -> Callable[[HandedArray, Any], Any]:
    fresh, in_place = (getattr(np.ndarray, f"__{prefix}{name}__") for prefix in ("", "i"))

    def combine(self: HandedArray, other: Any) -> Any:
        return in_place(self, other) if self.flags.writeable else fresh(self, other)

    return combine


for _name in IN_PLACE:
    setattr(HandedArray, f"__i{_name}__", _operator(_name))


def plain(x: Any) -> Any:
    """The array behind a handed one, read-only as it is."""
    return x.view(np.ndarray) if isinstance(x, HandedArray) else x


def hand_out(name: str, values: NDArray) -> HandedArray:
    """A read-only copy."""
    handed = values.copy().view(HandedArray)
    handed._name = name
    handed.flags.writeable = False
    return handed


def _check_writeable(x: Any) -> None:
    if isinstance(x, HandedArray) and not x.flags.writeable:
        _refuse(x._name)


def _refuse(name: str) -> NoReturn:
    message = f"{name} as model.params gives it is a read-only copy: a change in it would be lost"
    fail(DataError, message, f'assign a whole array, model.params["{name}"] = array; {name}.copy() can be written to.')
