"""What a launch needs of every step and epoch ahead: numbers of the update, keys of the order of the rows.

Networks of a launch that are alike share a set of keys and a table: what they need is computed and sent once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import sympy
from numpy.typing import NDArray

from graphc.emit.cuda import control
from graphc.emit.cuda.scalars import StepScalars
from graphc.emit.update import hyper_values
from graphc.ir.scalar import numpy_function
from graphc.optim.groups import AnyRule
from graphc.optim.schedules import K, Schedule
from graphc.primitives import philox


class StepTable:
    """The numbers of :class:`graphc.emit.cuda.scalars.StepScalars`, evaluated in float64 for many steps at a time.

    Parameters
    ----------
    rule
        Its hyper-parameters' names and schedules; their values are given for each run.
    scalars
        Expressions of k and the hyper-parameters.
    """

    def __init__(self, rule: AnyRule, scalars: StepScalars) -> None:
        self.names = hyper_values(rule).names
        self._schedules = {
            sympy.Symbol(n, real=True): _renamed(n, v) for n, v in rule.hyper.items() if isinstance(v, Schedule)
        }
        self._symbols = (K, *(sympy.Symbol(n, real=True) for n in self.names))
        self._moving, self._reads = self._functions(scalars.columns)
        self._fixed, _ = self._functions(scalars.fixed)
        self.width = len(self._moving)

    def _functions(self, expressions: Sequence[sympy.Expr]) -> tuple[list[Callable], list[int]]:
        """Functions of all symbols, and the symbols that any of them reads, by number."""
        whole = [e.xreplace(self._schedules) for e in expressions]
        free = {s for body in whole for s in body.free_symbols}
        reads = [t for t, s in enumerate(self._symbols) if s in free]
        return [numpy_function(e, 0, self._symbols) for e in whole], reads

    def fixed(self, values: NDArray, dtype: np.dtype) -> NDArray:
        """What stays the same in all steps of a run, shape (copies, numbers, at least 1); ``values`` of shape
        (copies, ..) in the order of ``names``."""
        out = np.zeros((len(values), max(len(self._fixed), 1)), dtype)
        arguments = np.vstack([np.ones(len(values)), values[:, : len(self.names)].T])
        with np.errstate(all="ignore"):
            for t, function in enumerate(self._fixed):
                out[:, t] = function(*arguments)
        return out

    def alike(self, numbers: NDArray, values: NDArray) -> tuple[NDArray, NDArray]:
        """The distinct (number of the next step, hyper-parameters) as far as the tables depend on them, a row each, and
        for every copy which of them is its own."""
        given = np.column_stack([numbers + 1.0, values[:, : len(self.names)]])
        given[:, [t for t in range(given.shape[1]) if t not in self._reads]] = 0.0
        return distinct(given)

    def rows(self, alike: NDArray, steps: int, dtype: np.dtype) -> NDArray:
        """Tables of the distinct rows of :meth:`alike`: shape (tables, steps, columns), one number where no step needs
        any."""
        if not self.width:
            return np.zeros((1, 1, 1), dtype)
        table = np.empty((len(alike), steps, self.width), dtype)
        arguments = [a[:, None] for a in alike.T]
        arguments[0] = arguments[0] + np.arange(steps)
        with np.errstate(all="ignore"):
            for t, function in enumerate(self._moving):
                table[:, :, t] = function(*arguments)
        return table


def distinct(rows: NDArray) -> tuple[NDArray, NDArray]:
    """The distinct rows of a matrix, and for every row which of them it is."""
    if (rows == rows[0]).all():
        return rows[:1], np.zeros(len(rows), np.int64)
    found, which = np.unique(rows, axis=0, return_inverse=True)
    return found, which.ravel()


def _renamed(name: str, schedule: Schedule) -> sympy.Expr:
    """A schedule over the names that its constants have among all hyper-parameters."""
    return schedule.expr.xreplace(
        {sympy.Symbol(c, real=True): sympy.Symbol(f"{name}_{c}", real=True) for c in schedule.values}
    )


def epoch_keys(orders: NDArray[np.uint64], count: int) -> NDArray[np.uint64]:
    """Round keys of ``count`` epochs, shape (orders, count, 2*KEYS): summand and odd factor of each round.

    ``orders`` has a row for each order of the data: its key, and the epoch to begin with.
    """
    epochs = orders[:, 1:] + np.arange(count, dtype=np.uint64)
    keys = np.empty((len(orders), count, control.KEYS, 2), np.uint64)
    summands = keys[..., 0] = philox.round_keys_of(orders[:, :1], epochs)
    half = np.uint64(32)
    keys[..., 1] = (summands << half | summands >> half) | np.uint64(1)
    return keys.reshape(len(orders), count, 2 * control.KEYS)


def order_words(rows: int) -> dict[int, int]:
    """The control words that describe the network of :func:`graphc.primitives.philox.permuted` on so many rows."""
    bits = max((rows - 1).bit_length(), 2)
    rounds = philox.SMALL_ROUNDS if bits <= philox.SMALL_BITS else philox.ROUNDS
    return {control.LOW_BITS: bits // 2, control.HIGH_BITS: bits - bits // 2, control.ROUNDS: rounds}
