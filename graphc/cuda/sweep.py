"""A sweep on a machine: a block a copy where a network fits into one, else one copy after the other; copies that do not
read the same data, in turn."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from graphc.cuda.launching import Outcome
from graphc.cuda.training import CudaTrainer, Stand, means_of, order_key
from graphc.emit import control
from graphc.run.sweep import Copies, data_of


class CudaTogether:
    """Trains the copies of a sweep; the interface is that of :class:`graphc.run.sweep.Together`."""

    threads = 1

    def __init__(self, trainer: CudaTrainer, copies: Copies, shared: Sequence[Any]) -> None:
        self.trainer, self.copies, self.shared = trainer, copies, shared

    def train(self, watch: Callable[[int], bool]) -> None:
        """All copies to their ends; one whose numbers were not finite is trained again up to the step before."""
        starts = self.copies.starts
        self._run(np.arange(len(starts)), [s.steps for s in starts], watch)
        self.copies.status[:] = self.copies.word(control.STATUS)
        again = np.flatnonzero(np.isin(self.copies.status, (control.OVERFLOW, control.NONFINITE)))
        if again.size:
            done = [int(self.copies.control[i, control.DONE]) for i in again]
            for i, steps in zip(again.tolist(), done, strict=True):
                self.copies.begin(i, steps)
            self._run(again, done, watch)

    def _run(self, places: NDArray, steps: list[int], watch: Callable[[int], bool]) -> None:
        """Copies of the same data side by side in tier A, else each alone."""
        for data, alike in self._alike(places):
            self._hold(data)
            sets = [alike] if self.trainer.plan.alone else [[t] for t in alike]
            for some in sets:
                if self._to_the_end(places[some], np.array(steps)[some], watch):
                    return

    def _alike(self, places: NDArray) -> list[tuple[list[Any], list[int]]]:
        """Constants and data, with the numbers of the places whose copies read them."""
        groups: dict[tuple[int, ...], tuple[list[Any], list[int]]] = {}
        for t, place in enumerate(places.tolist()):
            data = data_of(self.shared, place)
            groups.setdefault(tuple(map(id, data)), (data, []))[1].append(t)
        return [*groups.values()]

    def _hold(self, inputs: Sequence[Any]) -> None:
        constants, *data = inputs
        self.trainer.hold([constants, self.copies.starts[0].hyper, *data])

    def _to_the_end(self, ids: NDArray, left: NDArray, watch: Callable[[int], bool]) -> bool:
        """Launch after launch until every chosen copy has ended; True when ``watch`` wants no more."""
        c, trainer = self.copies, self.trainer
        states = [trainer.state_of(c.parameters[i], c.states[i], c.starts[i].settings.tolerance) for i in ids]
        hyper, totals = c.hyper[ids], c.totals[ids, control.WEIGHT : control.TOTALS + 1 + trainer.n_metrics]
        trainer.start(np.stack(states), hyper, totals)
        stand, stopped = self._begin(ids, left), False
        while stand.steps.any() and not stopped:
            outcome, asked = trainer.launch(stand, hyper)
            self._account(ids, asked, outcome)
            left = np.where(outcome.status == control.FINISHED, stand.steps - outcome.done, 0)
            stand = stand.after(outcome.done, left, trainer.capacity)
            c.control[ids, control.EPOCH], c.control[ids, control.POSITION] = stand.epochs, stand.positions
            stopped = watch(int(c.word(control.PROGRESS).sum()))
        self._take_back(ids)
        return stopped

    def _begin(self, ids: NDArray, steps: NDArray) -> Stand:
        """Where copies stand at first."""
        starts = [self.copies.starts[i] for i in ids]
        samplers, settings = [s.sampler for s in starts], [s.settings for s in starts]
        return Stand(
            samplers[0].rows, np.array([order_key(s) for s in samplers]), self.copies.control[ids, control.DONE],
            np.array([s.epoch for s in samplers]), np.array([s.position for s in samplers]), steps,
            np.array([s.shuffle for s in settings]), np.array([s.record_steps for s in settings]),
        )  # fmt: skip

    def _account(self, ids: NDArray, asked: Stand, outcome: Outcome) -> None:
        """The means of the epochs that ended, the losses that were written down, and how far the copies are."""
        c, words = self.copies, self.copies.control
        ended = words[ids, control.EPOCHS]
        for first, count in set(zip(ended.tolist(), outcome.epochs.tolist(), strict=True)):
            alike = (ended == first) & (outcome.epochs == count)
            c.history[ids[alike], first : first + count] = means_of(outcome.totals[alike, :count])
        begins = np.cumsum(asked.steps * asked.record)
        for t in np.flatnonzero(asked.record):
            done, first = int(outcome.done[t]), int(begins[t] - asked.steps[t])
            c.losses[ids[t], asked.numbers[t] : asked.numbers[t] + done] = outcome.losses[first : first + done]
        went = asked.steps > 0
        words[ids, control.EPOCHS] = ended + outcome.epochs
        for word in (control.DONE, control.PROGRESS, control.STEP):
            words[ids, word] = asked.numbers + outcome.done
        words[ids[went], control.STATUS] = outcome.status[went]

    def _take_back(self, ids: NDArray) -> None:
        m, c = self.trainer.plan.memory, self.copies
        states, totals = self.trainer.launcher.download()
        total = min(m.total, c.parameters.shape[1])
        c.parameters[ids, :total] = states[:, :total]
        c.states[ids, : m.extras - m.states] = states[:, m.states : m.extras]
        c.totals[ids, control.WEIGHT : control.WEIGHT + totals.shape[1]] = totals
