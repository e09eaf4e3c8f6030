"""The garbage collector at rest, while many objects are made that stay."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def at_rest() -> Iterator[None]:
    """No collections inside: they would walk through SymPy's or Numba's 10^5 new objects again and again.

    Importing SymPy takes 0.05 s less that way.
    """
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


@contextmanager
def importing() -> Iterator[None]:
    """At rest, and what was made inside counts as old afterwards, since modules stay: the next collections of young
    objects would walk through all of it, 0.1 s for those of a first step. What a user has frozen stays frozen."""
    enabled = gc.isenabled()
    with at_rest():
        yield
        if enabled and not gc.get_freeze_count():
            gc.freeze()
            gc.unfreeze()
