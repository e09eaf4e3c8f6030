"""What users call: public functions, and constructors and methods of public classes, answer arguments that they do not
have as graphc does everywhere: a TypeMismatchError that names the nearest one.

Public names are handed out in one place (``graphc/__init__.py``), and there they become entries. What a function shows
of itself stays: signature, documentation, home.
"""

from __future__ import annotations

import sys
from types import FunctionType
from typing import Any

from graphc.declare.origin import is_located, located

_FUNCTIONS: dict[FunctionType, Any] = {}


def entry(value: Any) -> Any:
    """A public function, or a class, as users get it; other values as they are."""
    if isinstance(value, FunctionType) and not is_located(value):
        return _function(value)
    if isinstance(value, type) and not issubclass(value, BaseException):
        for cls in value.__mro__[:-1]:
            if cls.__module__.startswith("graphc."):
                _locate_methods(cls)
        if value.__init__ is object.__init__:
            _give_constructor(value)
    return value


def _function(function: FunctionType) -> Any:
    """The entry of a function: one, whatever names it has, and the one that its module has, as pickle asks."""
    made = _FUNCTIONS.get(function)
    if made is None:
        made = _FUNCTIONS[function] = located(function)
        home = sys.modules[function.__module__]
        if vars(home).get(function.__name__) is function:
            setattr(home, function.__name__, made)
    return made


def _locate_methods(cls: type) -> None:
    getattr(cls, "__init__", None)  # a record's is compiled when it is asked for
    for name, member in list(vars(cls).items()):
        if isinstance(member, FunctionType) and not is_located(member) and (name[0] != "_" or name == "__init__"):
            setattr(cls, name, located(member))


def _give_constructor(cls: type) -> None:
    """Of a class without arguments, which Python's own constructor would refuse in its own words."""

    def __init__(self: Any) -> None:
        """Nothing to set."""

    __init__.__qualname__ = f"{cls.__qualname__}.__init__"
    setattr(cls, "__init__", located(__init__))  # noqa: B010  type checkers know the constructor of object
