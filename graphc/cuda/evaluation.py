"""Outputs and means of scalars over all rows, on a machine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from graphc.cuda.arrays import DeviceArray
from graphc.cuda.launching import GraphLauncher, Task, unwritten
from graphc.cuda.machine import Machine
from graphc.cuda.residency import on_machine
from graphc.cuda.step_table import order_words
from graphc.emit.cuda import control
from graphc.emit.cuda.plan import CudaPlan


class CudaEvaluator:
    """An evaluation program on a machine."""

    def __init__(self, machine: Machine, plan: CudaPlan, precision: str = "float32") -> None:
        self.machine, self.plan, self.dtype = machine, plan, np.dtype(plan.program.dtype)
        self.launcher = GraphLauncher(machine, plan, precision)
        self.constants: DeviceArray | None = None  # sent once

    def run(
        self,
        parameters: NDArray | DeviceArray,
        data: Sequence[Any],
        constants: NDArray,
        rows: int,
        outputs: Mapping[str, tuple[int, ...]],
        fresh: bool = False,
        kept: bool = False,
    ) -> tuple[dict[str, DeviceArray], NDArray]:
        """Outputs on the machine, by name with their shapes, and the mean of every scalar over the rows, for parameters
        of the host or of the machine. With ``fresh`` everything that the kernels have to write holds NaN before; with
        ``kept`` the next call writes its outputs over these."""
        own = parameters.part if isinstance(parameters, DeviceArray) else lambda start, size: parameters[start:size]
        parts = {0: own(0, min(parameters.size, self.plan.memory.total))}
        self.launcher.put(parts, np.zeros((1, 1)), np.zeros((1, self.plan.width)))
        kinds = [self.dtype, *(np.dtype(np.int32) if i.integer else self.dtype for i in self.plan.step.inputs)]
        if self.constants is None:
            self.constants = on_machine(self.machine, constants, self.dtype)
        held = [on_machine(self.machine, x, kind) for x, kind in zip([self.constants, *data], kinds, strict=True)]
        results = {n: self._room(n, max(int(np.prod(shape)), 1), kept) for n, shape in outputs.items()}
        if fresh:
            self.launcher.unwrite([])
            for result in results.values():
                unwritten(self.machine, result)
        words = np.zeros((1, control.SIZE), np.int32)
        steps = -(-rows // self.plan.step.capacity)
        for word, value in (order_words(rows) | {control.ROWS: rows, control.STEPS: steps}).items():
            words[0, word] = value
        keys, table = np.zeros((1, 1, 2 * control.KEYS), np.uint64), np.zeros((1, 1, 1), self.dtype)
        pointers = {f"{n}_out": r for n, r in results.items()}
        self.launcher.begin(Task(words, keys, table, 1), held, pointers)
        [totals] = self.launcher.totals()
        shaped = {n: r.part(0, int(np.prod(outputs[n]))).reshape(*outputs[n]) for n, r in results.items()}
        return shaped, totals[1:] / max(totals[0], 1.0)

    def _room(self, name: str, size: int, kept: bool) -> DeviceArray:
        """Memory for an output: new, or that of the last call, so that its recordings can be replayed."""
        return self.launcher.buffer(f"{name} out", size, self.dtype) if kept else self.machine.array(size, self.dtype)
