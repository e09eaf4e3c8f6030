"""Training on a machine: launches of a few tenths of a second, between which the host looks around.

The trainer keeps data, parameters and states on the machine during a run; after every launch it reads the log of the
steps.  A step with a number that is not finite is undone by going back to the start of the call and doing the good
steps again: a run is deterministic.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from graphc.emit import control as host_control
from graphc.emit.cuda import control
from graphc.emit.cuda.places import LARGEST, TOLERANCE
from graphc.errors import DeviceError
from graphc.run.cuda.accounts import close_epochs
from graphc.run.cuda.arrays import DeviceArray
from graphc.run.cuda.holding import Parts, fits, on_machine
from graphc.run.cuda.launching import Pending, launcher_for
from graphc.run.cuda.machine import Machine
from graphc.run.cuda.plan import CudaPlan
from graphc.run.cuda.table import StepTable, epoch_keys, order_words
from graphc.run.sampler import Sampler
from graphc.run.training import Call, Moving, Settings, Watch, epochs_within, first_bad

SECONDS = 0.25  # a launch takes about as long: Ctrl-C and progress wait for its end
FIRST = 64  # steps of the first launch, which tells how long a step takes
MOST = 1 << 17  # steps of a launch: what is known ahead of them takes memory


@dataclass(frozen=True)
class Copy:
    """One network of a launch: its place in the data, steps before and now, hyper-parameters in the order of slots;
    whether an epoch ends with the last row."""

    sampler: Sampler
    number: int
    hyper: NDArray
    steps: int
    shuffle: bool = True
    last: bool = True


@dataclass(frozen=True)
class Outcome:
    """What a launch tells of every copy: steps done, epochs ended, verdict, and the log of its steps."""

    done: NDArray
    epochs: NDArray
    status: NDArray
    log: NDArray


class CudaTrainer:
    """A training program on a machine; calls continue where the last one ended."""

    def __init__(self, machine: Machine, plan: CudaPlan, precision: str = "float32") -> None:
        self.machine, self.plan, self.dtype = machine, plan, np.dtype(plan.program.dtype)
        self.total, self.n_metrics, self.capacity = plan.memory.total, plan.log_width - 2, plan.step.capacity
        self.launcher = launcher_for(machine, plan, precision)
        assert plan.rule is not None
        self.table = StepTable(plan.rule, plan.columns)
        self.data: list[DeviceArray] = []
        self.parts: Parts | None = None
        self.left: NDArray | None = None
        self.seconds_per_step, self.begun = 0.0, 0.0
        self.notes = [plan.choice.note] if plan.choice.note else []

    def hold(self, inputs: Sequence[Any]) -> None:
        """Bring constants and data to the machine, as they are now; they stay for the runs that follow."""
        constants, _, *data = inputs
        inputs_of = self.plan.step.inputs
        kinds = [self.dtype, *(np.dtype(np.int32) if i.integer else self.dtype for i in inputs_of)]
        everything, self.parts, self.data = [constants, *data], None, []
        hosted = not any(isinstance(x, DeviceArray) for x in data)
        if hosted and not fits(self.machine, everything, kinds):
            batched = [False, *(i.batched for i in inputs_of)]
            self.parts = Parts(self.machine, everything, kinds, batched, self.capacity)
            return
        size = sum(x.size * kind.itemsize for x, kind in zip(everything, kinds, strict=True))
        note = f"data: {size:,} bytes\n{self.plan.note}"
        self.data = [on_machine(self.machine, x, kind, note) for x, kind in zip(everything, kinds, strict=True)]

    def run(
        self, moving: Moving, inputs: Sequence[Any], call: Call, settings: Settings, watch: Watch | None = None
    ) -> None:
        """Train for up to ``call.steps`` steps; the meaning is that of :meth:`graphc.run.training.Trainer.run`."""
        if len(moving.totals.values) != host_control.F_SIZE + self.n_metrics:
            moving.totals.values = np.zeros(host_control.F_SIZE + self.n_metrics)
        kept = moving.copy()
        self._run(moving, inputs, call, settings, watch)
        verdict = call.status
        if verdict not in (host_control.NONFINITE, host_control.OVERFLOW):
            return
        if verdict == host_control.OVERFLOW:
            call.overflow = first_bad(np.concatenate([moving.parameters, moving.rule.values]))
        moving.restore(kept)
        call.steps = call.done
        self._run(moving, inputs, call, settings, watch)
        if verdict == host_control.NONFINITE:
            call.status = verdict

    def probe(self, moving: Moving, inputs: Sequence[Any], call: Call, places: Sequence[slice]) -> None:
        """One step in order of the rows, as :meth:`graphc.run.training.Trainer.probe`; what tier A has in shared memory
        holds what was there."""
        moving.totals.values = np.zeros(host_control.F_SIZE + self.n_metrics)
        seconds = self.seconds_per_step
        self.hold(inputs)
        self._run(moving, inputs, call, Settings(shuffle=False), None, places)
        self.seconds_per_step, self.left = seconds, None

    def _run(
        self,
        moving: Moving,
        inputs: Sequence[Any],
        call: Call,
        settings: Settings,
        watch: Watch | None,
        unwritten: Sequence[slice] | None = None,
    ) -> None:
        call.done, call.status = 0, host_control.FINISHED
        call.epochs, call.step_losses = np.empty((0, 1 + self.n_metrics)), np.empty(0)
        largest = moving.totals.values[host_control.GRADIENT]
        state = self.state_of(moving.parameters, moving.rule.values, settings.tolerance, largest)
        self.launcher.upload(state[None])
        if unwritten is not None:
            self.launcher.unwrite(unwritten)
        try:
            while call.done < call.steps and call.status == host_control.FINISHED:
                self._part(moving, inputs, call, settings)
                if watch is not None and watch(call.done) and call.status == host_control.FINISHED:
                    call.status = host_control.STOPPED
        finally:
            self._take_back(moving)

    def copy_of(self, start: int, values: NDArray) -> DeviceArray | None:
        """Parameters from ``start`` on as the last run left them, copied there; None unless they are ``values``."""
        if self.left is None or not np.array_equal(self.left[start : start + values.size], values.ravel()):
            return None
        target = self.machine.array(values.size, self.dtype)
        self.machine.copy(target, self.launcher.own.part(start, values.size))
        return target.reshape(*values.shape)

    def state_of(self, parameters: NDArray, states: NDArray, tolerance: float, largest: float = 0.0) -> NDArray:
        """Parameters, states and extras of one network, as they lie on the machine."""
        m = self.plan.memory
        state = np.zeros(m.kept, self.dtype)
        state[: min(parameters.size, self.total)] = parameters[: self.total]
        state[m.states : m.extras][: states.size] = states[: m.extras - m.states]
        state[m.extras + TOLERANCE], state[m.extras + LARGEST] = tolerance, largest
        return state

    def _take_back(self, moving: Moving) -> None:
        state, m = self.launcher.download()[0], self.plan.memory
        moving.parameters[:] = state[: moving.parameters.size]
        self.left = state[: moving.parameters.size]
        states = state[m.states : m.extras]
        moving.rule.values[: states.size] = states[: moving.rule.values.size]
        moving.totals.values[host_control.GRADIENT] = state[m.extras + LARGEST]

    def _part(self, moving: Moving, inputs: Sequence[Any], call: Call, settings: Settings) -> None:
        sampler = moving.sampler
        if self.parts is None:
            steps = self.chunk(call.steps - call.done)
            outcome = self.launch([Copy(sampler, moving.rule.step, inputs[1], steps, settings.shuffle)])
        else:
            outcome = self._streamed(self.parts, moving, inputs[1], call.steps - call.done, settings.shuffle)
        done, log = int(outcome.done[0]), outcome.log[0]
        per_epoch = -(-sampler.rows // self.capacity)
        first = sampler.position // self.capacity
        [means] = close_epochs(log[None, :done], moving.totals.values[None], first, per_epoch)
        call.epochs = np.concatenate([call.epochs, means])
        if settings.record_steps:
            call.step_losses = np.concatenate([call.step_losses, log[:done, 0].astype(np.float64)])
        call.done, call.status = call.done + done, int(outcome.status[0])
        moving.rule.step += done
        sampler.epoch += int(outcome.epochs[0])
        sampler.position = (first + done) % per_epoch * self.capacity

    def _streamed(self, parts: Parts, moving: Moving, hyper: NDArray, left: int, shuffle: bool) -> Outcome:
        """The steps of one part of the data, while the next is on its way."""
        sampler = moving.sampler
        part = parts.take(sampler, shuffle)
        steps = min(left, -(-part.rows // self.capacity))
        own = replace(sampler, rows=part.rows, position=0)
        last = part.position + part.rows >= sampler.rows
        pending = self.begin([Copy(own, moving.rule.step, hyper, steps, False, last)], part.arrays)
        if left > steps:
            parts.send_after(part, sampler, shuffle)
        return self.finish(pending)

    def chunk(self, left: int) -> int:
        """Steps of the next launch."""
        if not self.seconds_per_step:
            return min(left, FIRST)
        return min(left, MOST, max(1, int(SECONDS / self.seconds_per_step)))

    def epochs_ahead(self, sampler: Sampler, steps: int) -> int:
        """At least as many as the epochs that so many steps can end or begin."""
        return epochs_within(sampler, steps, self.capacity)

    def launch(self, copies: Sequence[Copy]) -> Outcome:
        """Each copy for its steps; one with no steps is left as it is."""
        return self.finish(self.begin(copies, self.data))

    def finish(self, pending: Pending) -> Outcome:
        """Wait for a launch and read what it tells."""
        words, log = self.launcher.finish(pending)
        self.seconds_per_step = (time.perf_counter() - self.begun) / max(1, log.shape[1])
        outcome = Outcome(words[:, control.DONE], words[:, control.EPOCHS], words[:, control.STATUS], log)
        if not outcome.done.any() and not outcome.status.any():
            raise DeviceError("the GPU made no step and tells of no error\n  hint: see whether nvidia-smi shows errors")
        return outcome

    def begin(self, copies: Sequence[Copy], data: Sequence[DeviceArray]) -> Pending:
        """Ask for a launch, without waiting for it."""
        self.begun = time.perf_counter()
        steps = max(c.steps for c in copies)
        ahead = self.epochs_ahead(copies[0].sampler, steps)
        words = np.zeros((len(copies), control.SIZE), np.int32)
        for row, c in zip(words, copies, strict=True):
            values = order_words(c.sampler.rows) | {
                control.ROWS: c.sampler.rows, control.STEPS: c.steps, control.POSITION: c.sampler.position,
                control.SHUFFLE: int(c.shuffle), control.ENDS: int(c.last),
            }  # fmt: skip
            row[list(values)] = list(values.values())
        keys = np.stack([epoch_keys(c.sampler.keys, c.sampler.epoch, ahead) for c in copies])
        hyper = np.array([c.hyper for c in copies])
        table = self.table.rows([c.number + 1 for c in copies], steps, hyper, self.dtype)
        return self.launcher.begin(words, keys, table, data)
