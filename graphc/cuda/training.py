"""Training on a machine: launches of a few tenths of a second, between which the host looks around.

The trainer keeps data, parameters and states on the machine during a run; after every launch it reads the log of the
steps.  A step with a number that is not finite is undone by going back to the start of the call and doing the good
steps again: a run is deterministic.
"""

from __future__ import annotations

import contextlib
import time
import weakref
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from graphc.cuda.arrays import DeviceArray
from graphc.cuda.launching import Outcome, Pending, Task, launcher_for
from graphc.cuda.machine import Machine
from graphc.cuda.residency import Parts, fits, on_machine
from graphc.cuda.step_table import StepTable, distinct, epoch_keys, order_words
from graphc.emit import control as host_control
from graphc.emit.cuda import control
from graphc.emit.cuda.memory_map import LARGEST, TOLERANCE
from graphc.emit.cuda.plan import CudaPlan
from graphc.errors import DeviceError
from graphc.records import record
from graphc.run.mirrored import Mirrored
from graphc.run.sampler import Sampler
from graphc.run.training import BAD, Call, Moving, Settings, Watch, epochs_within, first_bad

SECONDS = 0.25  # a launch takes about as long: Ctrl-C and progress wait for its end
FIRST = 64  # steps of the first launch, which tells how long a step takes
MOST = 1 << 17  # steps of a launch: what is known ahead of them takes memory
MEMORY = 1 << 24  # numbers known ahead of a launch, of all networks together


@record(frozen=True)
class Stand:
    """Where the networks of a launch stand in the data and their runs, and for how many steps they go: arrays with an
    element a network. ``keys`` are the orders of their data, ``numbers`` the steps done; ``ends`` says whether an epoch
    ends with the last of the ``rows``, ``first`` which row of the epoch is the first of them."""

    rows: int
    keys: NDArray[np.uint64]
    numbers: NDArray
    epochs: NDArray
    positions: NDArray
    steps: NDArray
    shuffle: NDArray
    record: NDArray
    ends: bool = True
    first: int = 0

    @staticmethod
    def of(sampler: Sampler, number: int, steps: int, settings: Settings) -> Stand:
        """That of one network."""
        one = lambda x: np.array([x])
        return Stand(
            sampler.rows, one(order_key(sampler)), one(number), one(sampler.epoch), one(sampler.position), one(steps),
            one(settings.shuffle), one(settings.record_steps),
        )  # fmt: skip

    def after(self, steps: NDArray, wanted: NDArray, capacity: int) -> Stand:
        """Where they stand after so many steps, to go on for ``wanted`` steps."""
        per_epoch = -(-self.rows // capacity)
        ended, first = np.divmod(self.positions // capacity + steps, per_epoch)
        return replace(
            self, numbers=self.numbers + steps, epochs=self.epochs + ended, positions=first * capacity, steps=wanted
        )

    def is_at(self, other: Stand) -> bool:
        """Whether the networks of another stand are where those of this one are, and the same of them go on."""
        ours, theirs = ((s.numbers, s.epochs, s.positions, s.steps > 0) for s in (self, other))
        return all(map(np.array_equal, ours, theirs))


@record(frozen=True)
class Books:
    """What the host keeps of a run: steps of the rule, place in the data, running totals."""

    step: int
    sampler: Sampler
    totals: NDArray

    @staticmethod
    def of(moving: Moving) -> Books:
        """As they are now."""
        return Books(moving.rule.step, replace(moving.sampler), moving.totals.values.copy())

    def restore(self, moving: Moving) -> None:
        """Put them back."""
        moving.rule.step, moving.totals.values[:] = self.step, self.totals
        moving.sampler.epoch, moving.sampler.position = self.sampler.epoch, self.sampler.position


def order_key(sampler: Sampler) -> np.uint64:
    """The key of the order of the rows, as :func:`graphc.primitives.philox.round_keys_of` takes it."""
    key0, key1 = sampler.keys
    return np.uint64(key1 << 32 | key0)


class CudaTrainer:
    """A training program on a machine; calls continue where the last one ended."""

    extra_words = 0  # of control words: nothing is checked there

    def __init__(self, machine: Machine, plan: CudaPlan, precision: str = "float32") -> None:
        self.machine, self.plan, self.dtype = machine, plan, np.dtype(plan.program.dtype)
        self.total, self.n_metrics, self.capacity = plan.memory.total, plan.width - 2, plan.step.capacity
        self.launcher = launcher_for(machine, plan, precision)
        assert plan.rule is not None and plan.scalars is not None
        self.table = StepTable(plan.rule, plan.scalars)
        self.ahead: tuple[Stand, Task] | None = None
        self.data: list[DeviceArray] = []
        self.own: list[DeviceArray | None] = []  # those of the data whose memory is the trainer's
        self.parts: Parts | None = None
        self.lent: list[weakref.ref[Mirrored]] = []  # whose newest values lie in the launcher's memory
        self.seconds_per_step, self.begun = 0.0, 0.0
        self.choice = f"tier {plan.choice.tier}: {plan.choice.reason}"
        self.notes = [plan.choice.note] if plan.choice.note else []

    def hold(self, inputs: Sequence[Any]) -> None:
        """Bring constants and data to the machine, as they are now; they stay for the runs that follow."""
        constants, _, *data = inputs
        inputs_of = self.plan.step.inputs
        kinds = [self.dtype, *(np.dtype(np.int32) if i.integer else self.dtype for i in inputs_of)]
        everything, self.parts, self.data = [constants, *data], None, []
        before, self.own = [*self.own, *([None] * len(everything))], []
        hosted = not any(isinstance(x, DeviceArray) for x in data)
        if hosted and not fits(self.machine, everything, kinds):
            batched = [False, *(i.batched for i in inputs_of)]
            self.parts = Parts(self.machine, everything, kinds, batched, self.capacity)
            return
        size = sum(x.size * kind.itemsize for x, kind in zip(everything, kinds, strict=True))
        note = f"data: {size:,} bytes\n{self.plan.note}"
        for x, kind, old in zip(everything, kinds, before, strict=False):
            self.data.append(on_machine(self.machine, x, kind, note, old))
            self.own.append(None if isinstance(x, DeviceArray) else self.data[-1])

    def run(
        self, moving: Moving, inputs: Sequence[Any], call: Call, settings: Settings, watch: Watch | None = None
    ) -> None:
        """Train for up to ``call.steps`` steps; the meaning is that of :meth:`graphc.run.training.Trainer.run`."""
        if len(moving.totals.values) != host_control.F_SIZE + self.n_metrics:
            moving.totals.values = np.zeros(host_control.F_SIZE + self.n_metrics)
        before = Books.of(moving)
        self._run(moving, inputs, call, settings, watch)
        verdict = call.status
        if verdict not in BAD:
            return
        before.restore(moving)
        call.steps = call.done
        self._run(moving, inputs, call, settings, watch)
        if verdict == host_control.NONFINITE:
            call.status = verdict

    def probe(self, moving: Moving, inputs: Sequence[Any], call: Call, places: Sequence[slice]) -> None:
        """One step in order of the rows, as :meth:`graphc.run.training.Trainer.probe`; what tier A has in shared memory
        holds what was there."""
        self._leave()
        moving.totals.values = np.zeros(host_control.F_SIZE + self.n_metrics)
        seconds = self.seconds_per_step
        self.hold(inputs)
        self._run(moving, inputs, call, Settings(shuffle=False), None, places)
        self.seconds_per_step = seconds

    def _run(
        self,
        moving: Moving,
        inputs: Sequence[Any],
        call: Call,
        settings: Settings,
        watch: Watch | None,
        unwritten: Sequence[slice] | None = None,
    ) -> None:
        before = Books.of(moving)
        call.done, call.status = 0, host_control.FINISHED
        call.epochs, call.step_losses = np.empty((0, 1 + self.n_metrics)), np.empty(0)
        self._put(moving, inputs[1], settings.tolerance)
        self._keep(moving)
        if unwritten is not None:
            self.launcher.unwrite(unwritten)
        try:
            while call.done < call.steps and call.status == host_control.FINISHED:
                self._part(moving, inputs, call, settings)
                if watch is not None and watch(call.done) and call.status == host_control.FINISHED:
                    call.status = host_control.STOPPED
        finally:
            try:
                self._take_back(moving, call)
            except DeviceError:  # of a machine that has stopped: what there was before is what there is
                before.restore(moving)
                raise

    def _put(self, moving: Moving, hyper: NDArray, tolerance: float) -> None:
        """What a run of one network begins with; parameters and states stay where they are, or are copied on the
        machine, when nobody has changed what the last run left."""
        m, largest = self.plan.memory, moving.totals.values[host_control.GRADIENT]
        self._leave(moving.held, moving.rule)
        parts: dict[int, Any] = {}
        for start, (held, size) in self._places(moving).items():
            there = held.on(self.machine)
            parts[start] = held.values[:size] if there is None else there
        parts[m.extras] = self._extras(tolerance, largest)
        self.ahead = None
        self.launcher.put(parts, self.table.fixed(hyper[None], self.dtype), moving.totals.values[host_control.WEIGHT :])

    def _places(self, moving: Moving) -> dict[int, tuple[Mirrored, int]]:
        """Where parameters and states begin in the memory of one network, and how many there are of each."""
        m = self.plan.memory
        own = {0: (moving.held, min(moving.held.size, m.total))}
        return own | ({m.states: (moving.rule, m.extras - m.states)} if m.n_states else {})

    def _keep(self, moving: Moving) -> None:
        """Before the first step: what the host does not have gets a copy on the machine, to go back to; where there is
        no room for it, the host gets it."""
        places = self._places(moving)
        away = [start for start, (held, _) in places.items() if held.away]
        with contextlib.suppress(DeviceError):
            for start in away:
                held, size = places[start]
                there = self.launcher.buffer("kept M", self.plan.memory.extras, self.dtype).part(start, size)
                self.machine.copy(there, self.launcher.own.part(start, size))
                held.lies(there)
        for held, _ in places.values():
            held.leave(self.launcher.own.owner)

    def _leave(self, *but: Mirrored) -> None:
        """Before the memory of networks is written to: bring down what of other runs lies there."""
        for held in [found for known in self.lent if (found := known()) is not None]:
            if held not in but:
                held.leave(self.launcher.own.owner)
        self.lent = []

    def start(self, states: NDArray, hyper: NDArray, totals: NDArray) -> None:
        """What the runs of several networks begin with, a row each: their states; hyper-parameters; totals of an epoch
        that was begun."""
        self._leave()
        self.ahead = None
        self.launcher.upload(states, self.table.fixed(hyper, self.dtype), totals)

    def state_of(self, parameters: NDArray, states: NDArray, tolerance: float, largest: float = 0.0) -> NDArray:
        """Parameters, states and extras of one network, as they lie on the machine."""
        m = self.plan.memory
        state = np.zeros(m.kept, self.dtype)
        state[: min(parameters.size, self.total)] = parameters[: self.total]
        state[m.states : m.extras][: states.size] = states[: m.extras - m.states]
        state[m.extras :] = self._extras(tolerance, largest)
        return state

    def _extras(self, tolerance: float, largest: float) -> NDArray:
        extras = np.zeros(self.plan.memory.kept - self.plan.memory.extras, self.dtype)
        extras[TOLERANCE], extras[LARGEST] = tolerance, largest
        return extras

    def _take_back(self, moving: Moving, call: Call) -> None:
        """What the run left: totals, and where parameters and states lie. After a step with a bad number they are where
        they were before the run."""
        if call.status in BAD:
            if call.status == host_control.OVERFLOW:
                call.overflow = first_bad(self.launcher.download()[0][0, : self.plan.memory.extras])
            return
        extras, [totals] = self.launcher.extras(), self.launcher.totals()
        for start, (held, size) in self._places(moving).items():
            held.lies(self.launcher.own.part(start, size))
        self.lent = [weakref.ref(held) for held, _ in self._places(moving).values()]
        moving.totals.values[host_control.GRADIENT] = extras[LARGEST]
        moving.totals.values[host_control.WEIGHT :] = totals

    def _part(self, moving: Moving, inputs: Sequence[Any], call: Call, settings: Settings) -> None:
        sampler, left = moving.sampler, call.steps - call.done
        if self.parts is None:
            stand = Stand.of(sampler, moving.rule.step, left, settings)
            outcome, stand = self.launch(stand, inputs[1][None])
        else:
            outcome = self._streamed(self.parts, moving, inputs[1], left, settings)
        done, ended = int(outcome.done[0]), int(outcome.epochs[0])
        call.epochs = np.concatenate([call.epochs, means_of(outcome.totals[0, :ended])])
        if settings.record_steps:
            call.step_losses = np.concatenate([call.step_losses, outcome.losses[:done].astype(np.float64)])
        call.done, call.status = call.done + done, int(outcome.status[0])
        moving.rule.step += done
        first, per_epoch = sampler.position // self.capacity, -(-sampler.rows // self.capacity)
        sampler.epoch += ended
        sampler.position = (first + done) % per_epoch * self.capacity

    def _streamed(self, parts: Parts, moving: Moving, hyper: NDArray, left: int, settings: Settings) -> Outcome:
        """The steps of one part of the data, while the next is on its way."""
        sampler = moving.sampler
        part = parts.take(sampler, settings.shuffle)
        steps = min(left, -(-part.rows // self.capacity))
        own = Stand.of(replace(sampler, rows=part.rows, position=0), moving.rule.step, steps,
                       replace(settings, shuffle=False))  # fmt: skip
        last = part.position + part.rows >= sampler.rows
        self.begun = time.perf_counter()
        pending = self.launcher.begin(self.task(replace(own, ends=last, first=part.position), hyper[None]), part.arrays)
        if left > steps:
            parts.send_after(part, sampler, settings.shuffle)
        return self.finish(pending, steps)

    def chunk(self, left: int) -> int:
        """Steps of the next launch."""
        if not self.seconds_per_step:
            return min(left, FIRST)
        return min(left, MOST, max(1, int(SECONDS / self.seconds_per_step)))

    def epochs_ahead(self, sampler: Sampler, steps: int) -> int:
        """At least as many as the epochs that so many steps can end or begin."""
        return epochs_within(sampler, steps, self.capacity)

    def launch(self, stand: Stand, hyper: NDArray) -> tuple[Outcome, Stand]:
        """A launch of at most ``stand.steps`` steps of every network: what it tells, and the stand with the steps that
        were asked for. While the machine works, the next launch is prepared.

        ``hyper`` has a row a network, in the order of slots; a network with no steps is left as it is.
        """
        ready, self.ahead = self.ahead, None
        if ready is None or not ready[0].is_at(stand):
            ready = self._prepared(stand, hyper)
        asked, task = ready
        self.begun = time.perf_counter()
        pending = self.launcher.begin(task, self.data)
        left = stand.steps - asked.steps
        if left.any() and self.seconds_per_step:
            self.ahead = self._prepared(asked.after(asked.steps, left, self.capacity), hyper)
        return self.finish(pending, int(asked.steps.max())), asked

    def finish(self, pending: Pending, steps: int) -> Outcome:
        """Wait for a launch and read what it tells."""
        outcome = self.launcher.finish(pending)
        self.seconds_per_step = (time.perf_counter() - self.begun) / max(1, steps)
        if not outcome.done.any() and not outcome.status.any():
            raise DeviceError("the GPU made no step and tells of no error\n  hint: see whether nvidia-smi shows errors")
        return outcome

    def _prepared(self, stand: Stand, hyper: NDArray) -> tuple[Stand, Task]:
        """The next launch from a stand on, with the steps that it has."""
        orders, _ = distinct(stand.keys[:, None])
        tables, _ = self.table.alike(stand.numbers, hyper)
        per_epoch = -(-stand.rows // self.capacity)
        numbers = len(tables) * self.table.width + int(stand.record.sum())
        numbers += len(stand.steps) * (len(orders) * 4 * control.KEYS + self.plan.width) // per_epoch
        most = max(1, min(self.chunk(int(stand.steps.max())), MEMORY // max(numbers, 1)))
        chosen = replace(stand, steps=np.minimum(stand.steps, most))
        return chosen, self.task(chosen, hyper)

    def task(self, stand: Stand, hyper: NDArray) -> Task:
        """What the host says for a launch."""
        steps = int(stand.steps.max())
        ahead = steps // -(-stand.rows // self.capacity) + 2
        orders, which_order = self._orders(stand)
        tables, which_table = self.table.alike(stand.numbers, hyper)
        logged = stand.steps * stand.record
        columns = order_words(stand.rows) | {
            control.ROWS: stand.rows, control.STEPS: stand.steps, control.POSITION: stand.positions,
            control.NEXT_POSITION: stand.positions, control.SHUFFLE: stand.shuffle, control.ENDS: int(stand.ends),
            control.ORDER: which_order, control.TABLE: which_table, control.RECORD: stand.record,
            control.LOG: np.cumsum(logged) - logged,
        }  # fmt: skip
        words = np.zeros((len(stand.steps), control.SIZE), np.int32)
        for word, values in columns.items():
            words[:, word] = values
        keys = epoch_keys(orders, ahead) if stand.shuffle.any() else np.zeros((1, 1, 2 * control.KEYS), np.uint64)
        table, draws = self.table.rows(tables, steps, self.dtype), draw_words(stand) if self.plan.step.draws else None
        return Task(words, keys, table, ahead, int(logged.sum()), draws)

    def _orders(self, stand: Stand) -> tuple[NDArray, NDArray]:
        """The distinct orders of the rows, key and first epoch, and which of them every network has."""
        if not stand.shuffle.any():
            return np.zeros((1, 2), np.uint64), np.zeros(len(stand.steps), np.int64)
        return distinct(np.column_stack([stand.keys, stand.epochs.astype(np.uint64)]))


def draw_words(stand: Stand) -> NDArray[np.int32]:
    """What random tensors are drawn by, a row a network (:mod:`graphc.emit.cuda.draws`)."""
    firsts = np.full(len(stand.keys), stand.first)
    words = [stand.keys, stand.keys >> np.uint64(32), stand.epochs, firsts]
    return np.column_stack([np.asarray(w).astype(np.uint64).astype(np.uint32) for w in words]).view(np.int32)


def means_of(totals: NDArray) -> NDArray:
    """Weighted sums over epochs, the weight first -> means over epochs."""
    return totals[..., 1:] / totals[..., :1]
