"""What a launch needs of every step and epoch ahead: numbers of the update, keys of the order of the rows."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import sympy
from numpy.typing import NDArray

from graphc.emit.cuda import control
from graphc.emit.update import hyper_values
from graphc.ir.scalar import numpy_function
from graphc.optim.rules import Rule
from graphc.optim.schedules import K, Schedule
from graphc.run import random


class StepTable:
    """The columns of :class:`graphc.emit.cuda.steps.StepScalars`, evaluated in float64 for many steps at a time.

    Parameters
    ----------
    rule
        Its hyper-parameters' names and schedules; their values are given for each run.
    columns
        Expressions of k and the hyper-parameters.
    """

    def __init__(self, rule: Rule, columns: Sequence[sympy.Expr]) -> None:
        self.names = hyper_values(rule).names
        schedules = {
            sympy.Symbol(n, real=True): _renamed(n, v) for n, v in rule.hyper.items() if isinstance(v, Schedule)
        }
        self.symbols = (K, *(sympy.Symbol(n, real=True) for n in self.names))
        whole = [column.xreplace(schedules) for column in columns]
        self.functions = [numpy_function(body, 0, self.symbols) for body in whole]
        self.reads = [[t for t, s in enumerate(self.symbols) if s in body.free_symbols] for body in whole]

    def rows(self, first: Sequence[int], steps: int, values: NDArray, dtype: np.dtype) -> NDArray:
        """Shape (copies, steps, columns): from steps ``first`` on, counted from 1; ``values`` of shape (copies, ..) in
        the order of ``names``. A column is computed once for all copies in which what it reads is the same."""
        given = np.column_stack([np.asarray(first, np.float64), values[:, : len(self.names)]])
        table = np.empty((len(given), steps, max(len(self.functions), 1)), dtype)
        with np.errstate(all="ignore"):
            for t, (function, reads) in enumerate(zip(self.functions, self.reads, strict=True)):
                distinct, which = np.unique(given[:, reads or [0]], axis=0, return_inverse=True)
                arguments = np.zeros((len(self.symbols), len(distinct), 1))
                arguments[reads or [0], :, 0] = distinct.T
                k = arguments[0] + np.arange(steps) if 0 in reads else arguments[0]
                column = np.asarray(function(k, *arguments[1:]), dtype)
                column = np.broadcast_to(column, (len(distinct), k.shape[1]))
                table[:, :, t] = column if len(distinct) == 1 else column[which.ravel()]
        return table


def _renamed(name: str, schedule: Schedule) -> sympy.Expr:
    """A schedule over the names that its constants have among all hyper-parameters."""
    return schedule.expr.xreplace(
        {sympy.Symbol(c, real=True): sympy.Symbol(f"{name}_{c}", real=True) for c in schedule.values}
    )


def epoch_keys(keys: tuple[int, int], epoch: int, count: int) -> NDArray[np.uint64]:
    """Round keys of ``count`` epochs from ``epoch`` on, shape (count, 2*KEYS): summand and odd factor of each round."""
    epochs = np.arange(epoch, epoch + count, dtype=np.uint64)
    summands = random.round_keys(*keys, epochs)
    half = np.uint64(32)
    factors = (summands << half | summands >> half) | np.uint64(1)
    return np.stack([summands, factors], axis=-1).reshape(count, 2 * control.KEYS)


def order_words(rows: int) -> dict[int, int]:
    """The control words that describe the network of :func:`graphc.run.random.permuted` on so many rows."""
    bits = max((rows - 1).bit_length(), 2)
    rounds = random.SMALL_ROUNDS if bits <= random.SMALL_BITS else random.ROUNDS
    return {control.LOW_BITS: bits // 2, control.HIGH_BITS: bits - bits // 2, control.ROUNDS: rounds}
