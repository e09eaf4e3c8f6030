"""Special functions by the names of ``scipy.special``, exact to the tails, from the table of scalar functions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from graphc.declare.pointwise import public_function
from graphc.ir.scalar import PUBLIC

_PREFIX = "special."


def __getattr__(name: str) -> Callable[..., Any]:
    if name == "__all__":
        return [n.removeprefix(_PREFIX) for n in PUBLIC if n.startswith(_PREFIX)]  # pyright: ignore[reportReturnType]
    if _PREFIX + name not in PUBLIC:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    made = globals()[name] = public_function(PUBLIC[_PREFIX + name], _PREFIX + name)
    return made


def __dir__() -> list[str]:
    return sorted(n.removeprefix(_PREFIX) for n in PUBLIC if n.startswith(_PREFIX))
