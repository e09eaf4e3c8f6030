"""Launches of a training program, tier by tier."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from graphc.emit.cuda import control
from graphc.emit.cuda.places import capacity_of
from graphc.lower.kernels import Product, View
from graphc.run.cuda.arrays import DeviceArray
from graphc.run.cuda.machine import Graph, Loaded, Machine
from graphc.run.cuda.plan import CudaPlan
from graphc.run.cuda.products import MatrixProduct

RECORDED = 16  # steps in one recording, where launches cost something
KEPT = 16  # recordings, for different rows and buffers
CONTROL = np.dtype(np.int32)


@dataclass(frozen=True)
class Pending:
    """Where a launch leaves its control words and its log."""

    words: DeviceArray
    log: DeviceArray


def unwritten(machine: Machine, target: DeviceArray) -> None:
    """Fill memory with NaN, to see what is read there before it was written."""
    machine.upload(target, np.full(target.size, np.nan, target.dtype))


class _Launcher:
    """Buffers that grow with the number of steps and copies of a launch."""

    def __init__(self, machine: Machine, plan: CudaPlan, precision: str) -> None:
        self.machine, self.plan, self.precision = machine, plan, precision
        self.dtype = np.dtype(plan.program.dtype)
        self.loaded = machine.load(plan.program)
        self.buffers: dict[str, DeviceArray] = {}
        self.copies = 1

    def buffer(self, name: str, size: int, dtype: Any) -> DeviceArray:
        """Memory that is kept between launches; a larger one replaces it."""
        found = self.buffers.get(name)
        if found is None or found.size < size:
            found = self.buffers[name] = self.machine.array(size, dtype, note=self.plan.note)
        return found

    def upload(self, states: NDArray) -> None:
        """Parameters, states and extras, shape (copies, kept)."""
        raise NotImplementedError

    def download(self) -> NDArray:
        """The same back."""
        raise NotImplementedError

    def unwrite(self, gradients: Sequence[slice]) -> None:  # noqa: B027  memory that is shared holds anything anyhow
        """Let what a step has to write hold NaN: its values, and the gradients at these places."""

    def begin(
        self,
        words: NDArray,
        keys: NDArray,
        table: NDArray,
        data: Sequence[DeviceArray],
        results: Mapping[str, DeviceArray] | None = None,
    ) -> Pending:
        """Ask for a launch, without waiting for it; ``results`` are where outputs go."""
        copies, steps = len(words), int(words[:, control.STEPS].max())
        width = self.plan.log_width
        arguments: dict[str, Any] = {
            "C": self._filled("C", words, CONTROL),
            "R": self._filled("R", keys, np.uint64),
            "H": self._filled("H", table, self.dtype),
            "Q": self.buffer("Q", copies * steps * width, self.dtype),
            "K": data[0],
            "first_copy": 0,
            "epochs_ahead": keys.shape[1],
            "steps_ahead": steps,
        }
        arguments |= {i.pointer: x for i, x in zip(self.plan.step.inputs, data[1:], strict=True)}
        arguments |= results or {}
        self._go(arguments, words)
        log = arguments["Q"].part(0, copies * steps * width).reshape(copies, steps, width)
        return Pending(arguments["C"].part(0, words.size).reshape(*words.shape), log)

    def finish(self, pending: Pending) -> tuple[NDArray, NDArray]:
        """Wait, and read control words and logs, a row a copy."""
        return self.machine.download(pending.words), self.machine.download(pending.log)

    @property
    def own(self) -> DeviceArray:
        """Where the memory of the first network begins: its parameters lead."""
        return self.buffers["P" if self.plan.alone else "M"]

    def _filled(self, name: str, values: NDArray, dtype: Any) -> DeviceArray:
        buffer = self.buffer(name, values.size, dtype)
        self.machine.upload(buffer.part(0, values.size), values)
        return buffer

    def _go(self, arguments: dict[str, Any], words: NDArray) -> None:
        raise NotImplementedError


class BlockLauncher(_Launcher):
    """Tier A: a block a copy."""

    def upload(self, states: NDArray) -> None:
        self.copies = len(states)
        self._filled("P", states, self.dtype)

    def download(self) -> NDArray:
        kept = self.plan.memory.kept
        return self.machine.download(self.buffers["P"].part(0, self.copies * kept)).reshape(self.copies, kept)

    def _go(self, arguments: dict[str, Any], words: NDArray) -> None:
        self.machine.launch(self.loaded["train"], len(words), arguments | {"P": self.buffers["P"]})


class _OneNetwork(_Launcher):
    """One copy, its whole memory on the device."""

    def upload(self, states: NDArray) -> None:
        memory = self.plan.memory
        m = self.buffer("M", memory.size, self.dtype)
        self.buffer("L", max(memory.integers, 1), np.int32)
        self.machine.clear(m)
        self.machine.upload(m.part(0, memory.kept), states[0])

    def unwrite(self, gradients: Sequence[slice]) -> None:
        memory, m = self.plan.memory, self.buffers["M"]
        starts = [memory.gradients + place.start for place in gradients]
        parts = [slice(start, start + place.stop - place.start) for start, place in zip(starts, gradients, strict=True)]
        for part in [slice(memory.arena_start, memory.size), *parts]:
            unwritten(self.machine, m.part(part.start, part.stop - part.start))

    def download(self) -> NDArray:
        return self.machine.download(self.buffers["M"].part(0, self.plan.memory.kept))[None]

    @property
    def memory(self) -> dict[str, DeviceArray]:
        return {"M": self.buffers["M"], "L": self.buffers["L"]}


class GridLauncher(_OneNetwork):
    """Tier B: one kernel on many blocks, which wait for one another."""

    def _go(self, arguments: dict[str, Any], words: NDArray) -> None:
        barrier = self.buffer("S", control.BARRIER_SIZE, np.int32)
        self.machine.clear(barrier)
        loaded = self.loaded["train"]
        blocks = max(1, min(self.plan.choice.blocks, loaded.resident))
        self.machine.launch(loaded, blocks, arguments | self.memory | {"S": barrier})


class GraphLauncher(_OneNetwork):
    """Tiers C and D: recordings of one and of several steps, replayed as often as a launch has steps."""

    def __init__(self, machine: Machine, plan: CudaPlan, precision: str) -> None:
        super().__init__(machine, plan, precision)
        self.graphs: dict[tuple, Graph] = {}

    def _go(self, arguments: dict[str, Any], words: NDArray) -> None:
        rows, steps, position = (int(words[0, w]) for w in (control.ROWS, control.STEPS, control.POSITION))
        arguments |= self.memory
        while steps:
            count = min(self.plan.step.capacity, rows - position) if self.plan.step.batch else 1
            same = 1 if count < self.plan.step.capacity else max(1, (rows - position) // count)
            repeat = RECORDED if min(same, steps) >= RECORDED and self.plan.choice.tier == "C" else 1
            self._graph(arguments, count, repeat, words).replay()
            steps -= repeat
            position = (position + repeat * count) % rows if position + repeat * count < rows else 0

    def _graph(self, arguments: dict[str, Any], count: int, repeat: int, words: NDArray) -> Graph:
        """The recording for so many rows; another one when a buffer has moved."""
        places = tuple((n, x.address) for n, x in sorted(arguments.items()) if isinstance(x, DeviceArray))
        key = (count, repeat, places)
        if key not in self.graphs:
            self._warm(arguments, count, words)
            with self.machine.capture() as graph:
                for _ in range(repeat):
                    self._step(arguments, count)
            if len(self.graphs) >= KEPT:
                self.graphs.clear()
            self.graphs[key] = graph
        return self.graphs[key]

    def _warm(self, arguments: dict[str, Any], count: int, words: NDArray) -> None:
        """One step before a recording, so that nothing is loaded or planned while it is made.

        Its kernels see a run that has ended and do nothing; its products write to memory that every step fills anew.
        """
        ended = words.copy()
        ended[:, control.STATUS] = 1
        here, kept = arguments["C"].part(0, words.size), self.buffer("kept C", words.size, CONTROL)
        self.machine.copy(kept, here)
        self.machine.upload(here, ended)
        self._step(arguments, count)
        self.machine.copy(here, kept)

    def _step(self, arguments: dict[str, Any], count: int) -> None:
        for item in self.plan.program.order:
            if isinstance(item, Product):
                self._multiply(item, count)
            else:
                self.machine.launch(self.loaded[item], self._blocks(self.loaded[item]), arguments)

    def _blocks(self, loaded: Loaded) -> int:
        return 1 if loaded.kernel.grid == "one" else self.plan.choice.blocks

    def _multiply(self, p: Product, count: int) -> None:
        sizes = {self.plan.step.batch: count} if self.plan.step.batch else {}
        m, n, k = (e if isinstance(e, int) else sizes[e] for e in (p.m, p.n, p.k))
        strides = [self._strides(v) for v in (p.a, p.b, p.c)]
        precision = "float64" if self.dtype == np.float64 else self.precision
        scale = float(p.scale.subs(dict.fromkeys(p.scale.free_symbols, count)))
        product = MatrixProduct(m, n, k, *strides, precision, scale=scale, bias=p.bias is not None)  # pyright: ignore
        bias = self._place(p.bias) if p.bias is not None else None
        self.machine.multiply(product, self._place(p.a), self._place(p.b), self._place(p.c), bias)

    def _strides(self, view: View) -> tuple[int, int]:
        capacity = capacity_of(self.plan.step)
        return view.row.at(capacity), view.column.at(capacity)

    def _place(self, view: View) -> DeviceArray:
        capacity, m = capacity_of(self.plan.step), self.buffers["M"]
        start = self.plan.memory.base(view.buffer.region) + view.buffer.offset.at(capacity)
        return m.part(start, max(view.buffer.size.at(capacity), 1))


def launcher_for(machine: Machine, plan: CudaPlan, precision: str) -> _Launcher:
    """The launcher of a tier."""
    kinds = {"A": BlockLauncher, "B": GridLauncher}
    return kinds.get(plan.choice.tier, GraphLauncher)(machine, plan, precision)
