"""Rows that are held out, evaluated at the ends of epochs where the run takes place."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from graphc.facade.core import Core
from graphc.facade.devices import brought, verify_there
from graphc.facade.evaluating import evaluated_roots, loss_and_metrics
from graphc.facade.preparing import evaluator
from graphc.facade.weighing import weighed
from graphc.ir.node import Leaf
from graphc.records import record
from graphc.run.data import Bound, convert
from graphc.run.sources import Rows


@record(frozen=True)
class HeldOut:
    """Validation data and the model that weighs them, with the machine that both lie on (None: the host)."""

    model: Core
    data: Bound
    place: Any = None

    def evaluated(self) -> dict[str, Any]:
        """Loss and metrics for the parameters of now."""
        return loss_and_metrics(self.model, self.data, self.place, verify=self.place is None)


def held_out_for(model: Core, data: Bound | None, place: Any = None, verify: bool = True) -> HeldOut | None:
    """Validation data made ready before the first step, on the machine of the run where they fit: their program is
    compiled, and there checked on the first of them."""
    if data is None:
        return None
    twin, own = weighed(model, data)
    scalars, columns = evaluated_roots(twin)
    there = place and brought(own, model.dtype, place)
    if there is None:
        own = replace(own, arrays={leaf: _hosted(leaf, x, model.dtype) for leaf, x in own.arrays.items()})
        evaluator(twin, columns, scalars, own.lengths)
        return HeldOut(twin, own)
    if verify:
        verify_there(twin, columns, scalars, own, place)
    return HeldOut(twin, there, place)


def _hosted(leaf: Leaf, x: Any, dtype: str) -> Any:
    """The array of an input on the host."""
    return x if isinstance(x, np.ndarray | Rows) else convert(leaf, x, dtype)
