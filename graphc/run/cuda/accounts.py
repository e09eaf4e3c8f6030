"""The log of the steps of a launch -> means over epochs, as the CPU's loop keeps them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from graphc.emit import control


def close_epochs(log: NDArray, totals: NDArray, first: int, per_epoch: int) -> NDArray:
    """Add the steps of a launch to the running totals; a row of means for every epoch that ended.

    Parameters
    ----------
    log : array of shape (steps, values + 1)
        Loss and metrics of every step, then the weight of its rows.
    totals : array
        Changed in place: what an unfinished epoch leaves for the next launch.
    first : int
        Steps of the epoch that were done before.
    per_epoch : int
        Steps of an epoch.
    """
    log = log.astype(np.float64)
    weighted = np.concatenate([log[:, -1:], log[:, :-1] * log[:, -1:]], axis=1)
    slots = np.array([control.WEIGHT, *range(control.TOTALS, control.TOTALS + log.shape[1] - 1)])
    rows = []
    for start, stop, ends in _epochs(len(log), first, per_epoch):
        # one after the other, as the loop on the CPU adds: the same sums however a run is cut
        totals[slots] = np.add.accumulate(np.vstack([totals[slots], weighted[start:stop]]))[-1]
        if ends:
            rows.append(totals[slots[1:]] / totals[control.WEIGHT])
            totals[slots] = 0.0
    return np.array(rows).reshape(len(rows), log.shape[1] - 1)


def _epochs(steps: int, first: int, per_epoch: int):
    """(start, stop, whether the epoch ends there) of every epoch that a launch touches."""
    start = 0
    while start < steps:
        stop = min(steps, start + per_epoch - first)
        yield start, stop, first + stop - start == per_epoch
        start, first = stop, 0
