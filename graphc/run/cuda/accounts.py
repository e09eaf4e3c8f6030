"""The log of the steps of a launch -> means over epochs, as the CPU's loop keeps them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from graphc.emit import control


def close_epochs(log: NDArray, totals: NDArray, first: int, per_epoch: int) -> NDArray:
    """Add the steps of a launch to the running totals of every copy.

    Sums are made step by step, as the loop on the CPU makes them: the same bits however a run is cut.

    Parameters
    ----------
    log : array of shape (copies, steps, values + 1)
        Loss and metrics of every step, then the weight of its rows.
    totals : array of shape (copies, slots)
        Changed in place: what an unfinished epoch leaves for the next launch.
    first : int
        Steps of the epoch that were done before.
    per_epoch : int
        Steps of an epoch.

    Returns
    -------
    array of shape (copies, epochs, values)
        The means of the epochs that ended.
    """
    copies, steps, width = log.shape
    numbers, weights = log.astype(np.float64), log[..., -1:].astype(np.float64)
    weighted = np.concatenate([weights, numbers[..., :-1] * weights], axis=-1)
    slots = [control.WEIGHT, *range(control.TOTALS, control.TOTALS + width - 1)]
    head = min(steps, per_epoch - first)
    begun = _sums(np.concatenate([totals[:, None, slots], weighted[:, :head]], axis=1))
    if first + head < per_epoch:
        totals[:, slots] = begun
        return np.empty((copies, 0, width - 1))
    whole = (steps - head) // per_epoch
    middle = weighted[:, head : head + whole * per_epoch].reshape(copies, whole, per_epoch, width)
    ended = np.concatenate([begun[:, None], _sums(middle)], axis=1)
    rest = np.concatenate([np.zeros((copies, 1, width)), weighted[:, head + whole * per_epoch :]], axis=1)
    totals[:, slots] = _sums(rest)
    return ended[..., 1:] / ended[..., :1]


def _sums(x: NDArray) -> NDArray:
    """Sums over the last axis but one, from the first element on."""
    return np.add.accumulate(x, axis=-2)[..., -1, :]
