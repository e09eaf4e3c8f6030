"""``averaged``: the running means of the parameters in their place."""

from __future__ import annotations

import math
from copy import copy

from graphc.errors import DomainError
from graphc.facade.core import Core


def averaged(model: Core) -> Core:
    """A copy of a model with the means that its last fit with a mean has kept.

    Raises
    ------
    DomainError
        When there is none.
    """
    means = model.state.averages()
    if not means:
        message = f"averaged: no fit of {model.name} has kept a mean of its parameters"
        raise DomainError(f"{message}\n  hint: fit with one: optimizer=gc.Adam(1e-3).averaged(0.999)")
    twin = copy(model)
    for name, flat in means.items():
        shape, start = twin.params._places[name]
        twin.params[name] = flat[start : start + math.prod(shape)].reshape(shape)
    return twin
