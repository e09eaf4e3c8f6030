"""A sweep on a machine: a block a copy where a network fits into one, else one copy after the other."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from graphc.emit import control
from graphc.run.cuda.accounts import close_epochs
from graphc.run.cuda.training import Copy, CudaTrainer, Outcome
from graphc.run.many import Copies

MEMORY = 1 << 24  # numbers known ahead of a launch, of all copies together


class CudaTogether:
    """Trains the copies of a sweep; the interface is that of :class:`graphc.run.many.Together`."""

    threads = 1

    def __init__(self, trainer: CudaTrainer, copies: Copies, shared: Sequence[Any]) -> None:
        self.trainer, self.copies = trainer, copies
        constants, *data = shared
        trainer.hold([constants, copies.starts[0].hyper, *data])

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
        """Copies side by side in tier A, else each alone."""
        sets = [places] if self.trainer.plan.alone else [places[t : t + 1] for t in range(len(places))]
        left = dict(zip(places.tolist(), steps, strict=True))
        for chosen in sets:
            if self._to_the_end(chosen.tolist(), left, watch):
                return

    def _to_the_end(self, chosen: list[int], left: dict[int, int], watch: Callable[[int], bool]) -> bool:
        """Launch after launch until every chosen copy has ended; True when ``watch`` wants no more."""
        c, trainer = self.copies, self.trainer
        states = [trainer.state_of(c.parameters[i], c.states[i], c.starts[i].settings.tolerance) for i in chosen]
        trainer.launcher.upload(np.stack(states))
        samplers = {i: replace(c.starts[i].sampler) for i in chosen}
        stopped = False
        while any(left[i] for i in chosen) and not stopped:
            width = max(len(trainer.plan.columns), trainer.plan.log_width)
            most = min(trainer.chunk(max(left[i] for i in chosen)), max(1, MEMORY // (width * len(chosen))))
            outcome = trainer.launch([self._copy(i, samplers[i], min(left[i], most)) for i in chosen])
            running = [row for row, i in enumerate(chosen) if left[i]]
            self._account(chosen, running, samplers, outcome)
            for row in running:
                ended = outcome.status[row] != control.FINISHED
                left[chosen[row]] = 0 if ended else left[chosen[row]] - int(outcome.done[row])
            stopped = watch(int(c.word(control.PROGRESS).sum()))
        self._take_back(chosen)
        return stopped

    def _copy(self, i: int, sampler: Any, steps: int) -> Copy:
        number = int(self.copies.control[i, control.DONE])
        return Copy(sampler, number, self.copies.hyper[i], steps, self.copies.starts[i].settings.shuffle)

    def _account(self, chosen: list[int], rows: list[int], samplers: dict[int, Any], outcome: Outcome) -> None:
        """What a launch did: sums and means for all copies at a time that are as far and made as many steps."""
        c, cap = self.copies, self.trainer.capacity
        alike: dict[tuple[int, int], list[int]] = {}
        for row in rows:
            alike.setdefault((int(outcome.done[row]), samplers[chosen[row]].position), []).append(row)
        for (done, position), some in alike.items():
            log, ids = outcome.log[some, :done], [chosen[row] for row in some]
            totals, per_epoch = c.totals[ids], -(-samplers[ids[0]].rows // cap)
            means = close_epochs(log, totals, position // cap, per_epoch)
            c.totals[ids] = totals
            for t, (row, i) in enumerate(zip(some, ids, strict=True)):
                self._note(i, samplers[i], outcome, row, means[t])

    def _note(self, i: int, sampler: Any, outcome: Outcome, row: int, means: NDArray) -> None:
        """The means of a copy's epochs, its losses, and how far it is."""
        c, cap = self.copies, self.trainer.capacity
        words, done = c.control[i], int(outcome.done[row])
        per_epoch, first = -(-sampler.rows // cap), sampler.position // cap
        ended = int(words[control.EPOCHS])
        c.history[i, ended : ended + len(means)] = means
        before = int(words[control.DONE])
        if c.starts[i].settings.record_steps:
            c.losses[i, before : before + done] = outcome.log[row, :done, 0]
        words[control.EPOCHS] = ended + len(means)
        for word in (control.DONE, control.PROGRESS, control.STEP):
            words[word] = before + done
        words[control.STATUS] = outcome.status[row]
        sampler.epoch += int(outcome.epochs[row])
        sampler.position = (first + done) % per_epoch * cap
        words[control.EPOCH], words[control.POSITION] = sampler.epoch, sampler.position

    def _take_back(self, chosen: list[int]) -> None:
        m = self.trainer.plan.memory
        for i, state in zip(chosen, self.trainer.launcher.download(), strict=True):
            own, states = self.copies.parameters[i], self.copies.states[i]
            own[: m.total] = state[: own.size][: m.total]
            states[: m.extras - m.states] = state[m.states : m.extras]
