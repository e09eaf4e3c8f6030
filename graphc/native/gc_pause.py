"""The garbage collector at rest, while many objects are made that stay."""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager

AT_ONCE = 1  # collections of younger objects that count for one rest; after ten one of all is due


@contextmanager
def at_rest() -> Iterator[None]:
    """No collections inside: they would walk through SymPy's or Numba's 10^5 new objects again and again. Afterwards
    those of old objects are due as if it had not rested: dropped models are old, and nothing else would find them.

    Importing SymPy takes 0.05 s less that way.
    """
    enabled, before = gc.isenabled(), gc.get_count()[0]
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            _make_up(gc.get_count()[0] - before)
            gc.enable()


def _make_up(made: int) -> None:
    """The first call looks through what was made, the others count; a first program alone makes no collection of all
    due, which takes a tenth of a second and more."""
    young, middle, _ = gc.get_threshold()
    if young:
        for _ in range(min(made // (young * max(middle, 1)), AT_ONCE)):
            gc.collect(1)


@contextmanager
def importing() -> Iterator[None]:
    """At rest, and what was made inside counts as old afterwards, since modules stay: the next collections of young
    objects would walk through all of it, 0.1 s for those of a first step. What a user has frozen stays frozen.

    Where nothing was imported nothing happens: to freeze is to count collections from 0 again, and who compiles one
    model after the other would never see one.
    """
    enabled, before = gc.isenabled(), len(sys.modules)
    with at_rest():
        yield
        if enabled and len(sys.modules) > before and not gc.get_freeze_count():
            gc.freeze()
            gc.unfreeze()
