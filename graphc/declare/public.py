"""The public functions by name: what the methods of a Tensor and NumPy's functions of Tensors call.

A name is looked up when it is called, in the one table of names that users see: that of the package, which is there
before any of its modules and loads the module of a name when it is first used.
"""

from __future__ import annotations

import difflib
import sys
from collections.abc import Callable, Iterable
from typing import Any

_PUBLIC: Any = sys.modules[__name__.partition(".")[0]]

SPELLINGS = {
    "amax": "max", "amin": "min", "concat": "concatenate", "permute_dims": "transpose", "cumulative_sum": "cumsum",
    "cumulative_prod": "cumprod", "pow": "power",
}  # fmt: skip
"""NumPy's other names of our functions; those of functions of one element stand in their declarations."""


def find(name: str) -> Callable[..., Any] | None:
    """The public function of that name, or of its other spelling; None when there is none."""
    for known in (name, SPELLINGS.get(name, "")):
        value = getattr(_PUBLIC, known) if known in _PUBLIC.__all__ else None
        if callable(value) and not isinstance(value, type):
            return value
    return None


def word(name: str) -> Callable[..., Any]:
    """The public function of that name, which is known to exist."""
    return getattr(_PUBLIC, name)


def closest(name: str, known: Iterable[str] | None = None) -> str | None:
    """What of the known names, by default the public functions, is most like a name; None when nothing is."""
    names = [n for n in _PUBLIC.__all__ if n == n.lower()] if known is None else known
    return next(iter(difflib.get_close_matches(name, list(names), n=1, cutoff=0.76)), None)
