"""Dataclasses that cost a third to declare: their methods are closures over the names of their fields, and ``__init__``
alone is compiled, where :mod:`dataclasses` compiles the text of six functions a class.

Importing graphc declares two hundred of them.
"""

from __future__ import annotations

import operator
import reprlib
import sys
from collections.abc import Callable, Sequence
from dataclasses import MISSING, Field, FrozenInstanceError, dataclass, fields
from typing import TYPE_CHECKING, Any


class _Absent:
    """What stands for a default that is made anew for every record; signatures show it."""

    def __repr__(self) -> str:
        return "<factory>"


_ABSENT = _Absent()


def _record(cls: type | None = None, *, frozen: bool = False, eq: bool = True, repr: bool = True) -> Any:  # noqa: A002
    """``@dataclass`` with these of its options; fields are declared as there, and ``fields``, ``replace``, ``asdict``
    take such a record."""
    if cls is None:
        return lambda c: _record(c, frozen=frozen, eq=eq, repr=repr)
    own, made = vars(cls), fields(dataclass(init=False, repr=False, eq=False)(cls))
    methods: dict[str, Any] = {"__init__": _Init(cls, made, frozen)}
    if repr:
        methods["__repr__"] = _repr([f.name for f in made if f.repr])
    if eq:
        values = _values([f.name for f in made if f.compare])
        methods |= {"__eq__": _eq(values), "__hash__": (lambda self: hash(values(self))) if frozen else None}
    if frozen:
        methods |= _frozen(cls, {f.name for f in made})
    for name, method in methods.items():
        if own.get(name) is None:
            setattr(cls, name, method)
    return cls


class _Init:
    """Stands where ``__init__`` is, which is compiled for the first record of a class: few classes have one."""

    def __init__(self, cls: type, made: Sequence[Field], frozen: bool) -> None:
        self._cls, self._made, self._frozen = cls, made, frozen

    def __get__(self, record: Any, owner: type | None = None) -> Any:
        if vars(self._cls).get("__init__") is self:
            self._cls.__init__ = _init(self._cls, self._made, self._frozen)  # pyright: ignore[reportAttributeAccessIssue]
        return vars(self._cls)["__init__"].__get__(record, owner)


def _init(cls: type, made: Sequence[Field], frozen: bool) -> Callable[..., None]:
    """The one function that is compiled: its arguments are the fields, those by name alone behind the others."""
    given = {"_set": object.__setattr__, "_ABSENT": _ABSENT}
    asked = [f for f in made if f.init]
    words, lines = [], []
    for f in sorted(asked, key=lambda f: f.kw_only is True):
        if f.kw_only is True and "*" not in words:
            words.append("*")
        value = f.name
        if f.default_factory is not MISSING:
            given[f"_make_{f.name}"] = f.default_factory
            words.append(f"{f.name}=_ABSENT")
            value = f"_make_{f.name}() if {f.name} is _ABSENT else {f.name}"
        elif f.default is not MISSING:
            given[f"_default_{f.name}"] = f.default
            words.append(f"{f.name}=_default_{f.name}")
        else:
            words.append(f.name)
        lines.append(f"_set(self, {f.name!r}, {value})" if frozen else f"self.{f.name} = {value}")
    lines += ["self.__post_init__()"] if hasattr(cls, "__post_init__") else []
    body = "".join(f"\n  {line}" for line in lines or ["pass"])
    text = f"def make({', '.join(given)}):\n def __init__({', '.join(['self', *words])}):{body}\n return __init__"
    found: dict[str, Any] = {}
    exec(text, vars(sys.modules[cls.__module__]), found)  # noqa: S102  names of fields of our own classes
    init = found["make"](**given)
    init.__qualname__ = f"{cls.__qualname__}.__init__"
    init.__annotations__ = {f.name: f.type for f in asked} | {"return": None}
    return init


def _values(names: Sequence[str]) -> Callable[[Any], tuple]:
    """What gives the values of some fields of a record."""
    if len(names) > 1:
        return operator.attrgetter(*names)
    return lambda record: tuple(getattr(record, name) for name in names)


def _eq(values: Callable[[Any], tuple]) -> Callable[[Any, Any], Any]:
    def __eq__(self: Any, other: Any) -> Any:  # noqa: N807
        return values(self) == values(other) if other.__class__ is self.__class__ else NotImplemented

    return __eq__


def _repr(names: Sequence[str]) -> Callable[[Any], str]:
    @reprlib.recursive_repr()
    def __repr__(self: Any) -> str:  # noqa: N807
        return f"{type(self).__qualname__}({', '.join(f'{name}={getattr(self, name)!r}' for name in names)})"

    return __repr__


def _frozen(cls: type, names: set[str]) -> dict[str, Callable[..., None]]:
    def __setattr__(self: Any, name: str, value: Any) -> None:  # noqa: N807
        if type(self) is cls or name in names:
            raise FrozenInstanceError(f"cannot assign to field {name!r}")
        super(cls, self).__setattr__(name, value)

    def __delattr__(self: Any, name: str) -> None:  # noqa: N807
        if type(self) is cls or name in names:
            raise FrozenInstanceError(f"cannot delete field {name!r}")
        super(cls, self).__delattr__(name)

    return {"__setattr__": __setattr__, "__delattr__": __delattr__}


if TYPE_CHECKING:
    from dataclasses import dataclass as record
else:
    record = _record
