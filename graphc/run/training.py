"""The training run: one native call, while the calling thread draws progress and listens for Ctrl-C.

The compiled loop holds no lock and touches no Python object, so it may run in any thread.  It looks at a stop word
after every step; a stopped run keeps the parameters of its last whole step.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from graphc.emit import control
from graphc.run.build import Program
from graphc.run.memory import address, aligned
from graphc.run.sampler import Sampler

SHORT = 0.05  # seconds: a run expected to be shorter is not worth a thread (start and join cost 90 microseconds)
POLL = 0.05  # seconds between two looks at the progress word


@dataclass
class RuleState:
    """What an update rule remembers between steps: its states, laid out like the parameters, and the step number."""

    values: NDArray
    step: int = 0


@dataclass
class Totals:
    """Running totals of an epoch that a run may leave unfinished: weight of the rows seen, sums, largest gradient."""

    values: NDArray = field(default_factory=lambda: np.zeros(control.F_SIZE))


@dataclass
class Call:
    """One native call: what goes in, and what came out."""

    steps: int
    status: int = 0
    done: int = 0
    epochs: NDArray = field(default_factory=lambda: np.empty((0, 1)))
    step_losses: NDArray = field(default_factory=lambda: np.empty(0))


class Trainer:
    """A compiled training program with its buffers; calls continue where the last one ended."""

    def __init__(
        self,
        program: Program,
        sizes: Mapping[str, int],
        dtype: str,
        capacity: int,
        n_metrics: int,
        seconds_per_step: float = 0.0,
    ) -> None:
        self.program, self.dtype, self.capacity, self.n_metrics = program, np.dtype(dtype), capacity, n_metrics
        self.seconds_per_step = seconds_per_step
        self.total = sizes["parameters"]
        self.gradients = aligned(self.total, dtype)
        self.arena = aligned(sizes["arena"], dtype)
        self.integers = aligned(sizes["integers"], np.int64)
        self.control = aligned(control.C_SIZE, np.int64)

    def run(
        self,
        parameters: NDArray,
        state: RuleState,
        sampler: Sampler,
        totals: Totals,
        data: Sequence[NDArray],
        constants: NDArray,
        hyper: NDArray,
        steps: int,
        *,
        shuffle: bool,
        record_steps: bool,
        tolerance: float,
        watch: Callable[[int], None] | None = None,
    ) -> Call:
        """Train for up to ``steps`` steps; ``watch`` is told the progress."""
        c, f = self.control, totals.values
        if len(f) != control.F_SIZE + self.n_metrics:
            totals.values = f = np.zeros(control.F_SIZE + self.n_metrics)
        f[control.TOLERANCE] = tolerance
        c[:] = 0
        c[control.ROWS], c[control.STEPS], c[control.STEP] = sampler.rows, steps, state.step
        c[control.EPOCH], c[control.POSITION] = sampler.epoch, sampler.position
        c[control.SHUFFLE], c[control.RECORD_STEPS] = shuffle, record_steps
        c[control.KEY0], c[control.KEY1] = sampler.keys
        history = np.empty((self._epochs_ahead(sampler, steps), 1 + self.n_metrics))
        losses = np.empty(steps if record_steps else 1)
        arrays = [parameters, self.gradients, state.values, self.arena, self.integers, constants, hyper, c, f]
        arguments = [address(a) for a in (*arrays, history, losses, *data)]
        call = Call(steps)
        try:
            self._call(arguments, steps * self.seconds_per_step, watch)
        finally:
            state.step = int(c[control.STEP])
            sampler.epoch, sampler.position = int(c[control.EPOCH]), int(c[control.POSITION])
            call.status, call.done = int(c[control.STATUS]), int(c[control.DONE])
            call.epochs = history[: int(c[control.EPOCHS])]
            call.step_losses = losses[: call.done] if record_steps else losses[:0]
            self.last = call
        return call

    def _epochs_ahead(self, sampler: Sampler, steps: int) -> int:
        per_epoch = -(-sampler.rows // self.capacity)
        return steps // per_epoch + 2

    def _call(self, arguments: list[int], seconds: float, watch: Callable[[int], None] | None) -> None:
        in_main = threading.current_thread() is threading.main_thread()
        if (seconds < SHORT and watch is None) or not in_main:
            self.program.call("train", *arguments)
            return
        worker = threading.Thread(target=self.program.call, args=("train", *arguments), name="graphc", daemon=True)
        worker.start()
        try:
            while worker.is_alive():
                worker.join(POLL)
                if watch is not None:
                    watch(int(self.control[control.PROGRESS]))
        except BaseException:  # Ctrl-C or an error of the watcher: let the last step finish, then pass it on
            self.control[control.STOP] = 1
            worker.join()
            raise


class Evaluator:
    """A compiled evaluation program: outputs and totals over all rows."""

    def __init__(self, program: Program, sizes: Mapping[str, int], dtype: str, n_scalars: int) -> None:
        self.program, self.dtype, self.n_scalars = program, np.dtype(dtype), n_scalars
        self.arena_size, self.integer_size = sizes["arena"], sizes["integers"]

    def run(
        self, parameters: NDArray, data: Sequence[NDArray], constants: NDArray, rows: int, outputs: Sequence[NDArray]
    ) -> NDArray:
        """Fill ``outputs``; returns the mean of every scalar over the rows."""
        c = np.zeros(control.C_SIZE, np.int64)
        c[control.ROWS] = rows
        f = np.zeros(control.F_SIZE + self.n_scalars)
        arena, integers = aligned(self.arena_size, self.dtype), aligned(self.integer_size, np.int64)
        arrays = [parameters, arena, integers, constants, c, f, *data, *outputs]
        self.program.call("evaluate", *(address(a) for a in arrays))
        return f[control.TOTALS : control.TOTALS + self.n_scalars] / max(f[control.WEIGHT], 1.0)
