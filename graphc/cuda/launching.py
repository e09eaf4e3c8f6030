"""Launches of a training program, tier by tier."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from graphc.cuda.arrays import DeviceArray
from graphc.cuda.machine import Graph, Loaded, Machine
from graphc.cuda.products import MatrixProduct
from graphc.emit import control as host_control
from graphc.emit.cuda import control
from graphc.emit.cuda.memory_map import capacity_of
from graphc.emit.cuda.plan import CudaPlan
from graphc.lower.kernels import Product, View
from graphc.records import record

RECORDED = 16  # steps in one recording at most, where launches cost something
KEPT = 16  # recordings, for different rows and buffers
CONTROL = np.dtype(np.int32)


@record(frozen=True)
class Task:
    """What the host has to say for a launch.

    Attributes
    ----------
    words : array of shape (copies, control.SIZE)
    keys : array of shape (orders, ahead, 2*control.KEYS)
    table : array of shape (tables, steps ahead, columns)
    ahead : int
        At least as many as the epochs that can end.
    logged : int
        Losses that are written down, of all copies together.
    draws : array of shape (copies, 4) or None
        What random tensors are drawn by (:mod:`graphc.emit.cuda.draws`); None where there are none.
    """

    words: NDArray
    keys: NDArray
    table: NDArray
    ahead: int
    logged: int = 0
    draws: NDArray | None = None


@record(frozen=True)
class Outcome:
    """What a launch tells.

    Attributes
    ----------
    done, epochs, status : arrays of shape (copies,)
        Steps done, epochs ended, verdict.
    totals : array of shape (copies, at least epochs, 2 + metrics)
        Weight, and weighted sums of loss and metrics, of each epoch that ended.
    losses : array of shape (logged,)
        The loss of every step of the copies that write them down, one after the other.
    """

    done: NDArray
    epochs: NDArray
    status: NDArray
    totals: NDArray
    losses: NDArray


@record(frozen=True)
class Pending:
    """Where a launch leaves its control words, the totals of the epochs that ended, and the losses of steps."""

    words: DeviceArray
    epochs: DeviceArray
    losses: DeviceArray


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

    def buffer(self, name: str, size: int, dtype: Any, spare: bool = False) -> DeviceArray:
        """Memory that is kept between launches; a larger one replaces it, of twice the size where ``spare``."""
        found = self.buffers.get(name)
        if found is None or found.size < size:
            size = 1 << (size - 1).bit_length() if spare else size
            found = self.buffers[name] = self.machine.array(size, dtype, note=self.plan.note)
        return found

    def upload(self, states: NDArray, fixed: NDArray, totals: NDArray) -> None:
        """What the runs of several networks begin with, a row each: parameters, states and extras; the numbers of their
        updates that stay the same; totals of an epoch that was begun."""
        self._upload(states)
        self._filled("E", fixed, self.dtype)
        self._filled("T", totals, np.float64)

    def put(self, parts: Mapping[int, NDArray | DeviceArray], fixed: NDArray, totals: NDArray) -> None:
        """What the run of one network begins with: values for places of its memory, which come from the host or from
        elsewhere on the machine, or are there already; the rest as for :meth:`upload`."""
        self._clean(all(isinstance(values, DeviceArray) for values in parts.values()))
        for start, values in parts.items():
            target = self.own.part(start, values.size)
            if not isinstance(values, DeviceArray):
                self.machine.upload(target, values)
            elif values.address != target.address:
                self.machine.copy(target, values)
        self._filled("E", fixed, self.dtype)
        self._filled("T", totals, np.float64)

    def download(self) -> tuple[NDArray, NDArray]:
        """Parameters, states and extras, and the totals of the epoch, a row a copy."""
        return self._download(), self.totals()

    def extras(self) -> NDArray:
        """Those of one network."""
        m = self.plan.memory
        return self.machine.download(self.own.part(m.extras, m.kept - m.extras))

    def totals(self) -> NDArray:
        """Weight and weighted sums of the rows since the last epoch ended, a row a copy."""
        size = self.copies * self.plan.width
        return self.machine.download(self.buffers["T"].part(0, size)).reshape(self.copies, self.plan.width)

    def _upload(self, states: NDArray) -> None:
        raise NotImplementedError

    def _download(self) -> NDArray:
        raise NotImplementedError

    def _clean(self, goes_on: bool) -> None:
        """Make room for one network; whether it goes on from where the machine has it."""
        raise NotImplementedError

    def unwrite(self, gradients: Sequence[slice]) -> None:  # noqa: B027  memory that is shared holds anything anyhow
        """Let what a step has to write hold NaN: its values, and the gradients at these places."""

    def begin(
        self, task: Task, data: Sequence[DeviceArray], results: Mapping[str, DeviceArray] | None = None
    ) -> Pending:
        """Ask for a launch, without waiting for it; ``results`` are where outputs go."""
        copies, ahead, width = len(task.words), task.ahead, self.plan.width
        arguments: dict[str, Any] = {
            "C": self._filled("C", task.words, CONTROL),
            "R": self._filled("R", task.keys, np.uint64),
            "H": self._filled("H", task.table, self.dtype),
            "E": self.buffers["E"],
            "T": self.buffers["T"],
            "B": self.buffer("B", copies * ahead * width, np.float64, spare=True),
            "Q": self.buffer("Q", max(task.logged, 1), self.dtype, spare=True),
            "K": data[0],
            "first_copy": 0,
            "epochs_ahead": ahead,
            "steps_ahead": task.table.shape[1],
        }
        arguments |= {i.pointer: x for i, x in zip(self.plan.step.inputs, data[1:], strict=True)}
        arguments |= results or {}
        if task.draws is not None:
            arguments["D"] = self._filled("D", task.draws, CONTROL)
        self._go(arguments, task.words)
        epochs = arguments["B"].part(0, copies * ahead * width).reshape(copies, ahead, width)
        words = arguments["C"].part(0, task.words.size).reshape(*task.words.shape)
        return Pending(words, epochs, arguments["Q"].part(0, task.logged))

    def finish(self, pending: Pending) -> Outcome:
        """Wait, and read what the launch tells."""
        words, epochs = self.machine.download(pending.words), self.machine.download(pending.epochs)
        losses = self.machine.download(pending.losses) if pending.losses.size else np.empty(0, self.dtype)
        return Outcome(*self._told(words), epochs, losses)

    def _told(self, words: NDArray) -> tuple[NDArray, NDArray, NDArray]:
        """Steps done, epochs ended and verdict of every copy."""
        return words[:, control.DONE], words[:, control.EPOCHS], words[:, control.STATUS]

    @property
    def own(self) -> DeviceArray:
        """Where the memory of the first network begins: its parameters lead."""
        return self.buffers["P" if self.plan.alone else "M"]

    def _filled(self, name: str, values: NDArray, dtype: Any) -> DeviceArray:
        buffer = self.buffer(name, values.size, dtype, spare=True)
        self.machine.upload(buffer.part(0, values.size), values)
        return buffer

    def _go(self, arguments: dict[str, Any], words: NDArray) -> None:
        raise NotImplementedError


class BlockLauncher(_Launcher):
    """Tier A: a block a copy."""

    def _upload(self, states: NDArray) -> None:
        self.copies = len(states)
        self._filled("P", states, self.dtype)

    def _download(self) -> NDArray:
        kept = self.plan.memory.kept
        return self.machine.download(self.buffers["P"].part(0, self.copies * kept)).reshape(self.copies, kept)

    def _clean(self, goes_on: bool) -> None:  # noqa: ARG002  a launch fills its shared memory anew
        self.copies = 1
        self.buffer("P", self.plan.memory.kept, self.dtype, spare=True)

    def _go(self, arguments: dict[str, Any], words: NDArray) -> None:
        self.machine.launch(self.loaded["train"], len(words), arguments | {"P": self.buffers["P"]})


class _OneNetwork(_Launcher):
    """One copy, its whole memory on the device."""

    def _upload(self, states: NDArray) -> None:
        self._clean(goes_on=False)
        self.machine.upload(self.own.part(0, self.plan.memory.kept), states[0])

    def _clean(self, goes_on: bool) -> None:
        memory = self.plan.memory
        m = self.buffer("M", memory.size, self.dtype)
        self.buffer("L", max(memory.integers, 1), np.int32)
        if not goes_on:
            self.machine.clear(m.part(memory.kept, memory.size - memory.kept))

    def unwrite(self, gradients: Sequence[slice]) -> None:
        memory, m = self.plan.memory, self.buffers["M"]
        starts = [memory.gradients + place.start for place in gradients]
        parts = [slice(start, start + place.stop - place.start) for start, place in zip(starts, gradients, strict=True)]
        for part in [slice(memory.arena_start, memory.size), *parts]:
            unwritten(self.machine, m.part(part.start, part.stop - part.start))

    def _download(self) -> NDArray:
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
    """Tiers C and D: recordings of so many steps, replayed as often as a launch has steps."""

    def __init__(self, machine: Machine, plan: CudaPlan, precision: str) -> None:
        super().__init__(machine, plan, precision)
        self.graphs: dict[tuple, Graph] = {}

    def _go(self, arguments: dict[str, Any], words: NDArray) -> None:
        rows, steps, position = (int(words[0, w]) for w in (control.ROWS, control.STEPS, control.POSITION))
        arguments |= self.memory
        places = tuple((n, x.address) for n, x in sorted(arguments.items()) if isinstance(x, DeviceArray))
        capacity = self.plan.step.capacity if self.plan.step.batch else 1
        most = RECORDED if self.plan.choice.tier == "C" else 1
        for count, repeat in lengths(steps, rows, position, capacity, most):
            self._graph(arguments | {"count": count}, places, repeat, words).replay()

    def _told(self, words: NDArray) -> tuple[NDArray, NDArray, NDArray]:
        """A step with a bad number was the last, and does not count."""
        bad_gradient, bad_update = words[:, control.BAD_GRADIENT] != 0, words[:, control.BAD_UPDATE] != 0
        status = np.where(bad_update, host_control.OVERFLOW, words[:, control.NEXT_STATUS])
        status = np.where(bad_gradient, host_control.NONFINITE, status)
        return words[:, control.NEXT_DONE] - (bad_gradient | bad_update), words[:, control.NEXT_EPOCHS], status

    def _graph(self, arguments: dict[str, Any], places: tuple, repeat: int, words: NDArray) -> Graph:
        """The recording of so many steps of so many rows; another one when a buffer has moved."""
        key = (arguments["count"], repeat, places)
        if key not in self.graphs:
            self._warm(arguments, words)
            with self.machine.capture() as graph:
                for _ in range(repeat):
                    self._step(arguments)
            if len(self.graphs) >= KEPT:
                self.graphs.clear()
            self.graphs[key] = graph
        return self.graphs[key]

    def _warm(self, arguments: dict[str, Any], words: NDArray) -> None:
        """One step before a recording, so that nothing is loaded or planned while it is made.

        The kernels that change what a run keeps see one that has ended, and do nothing; the others write to memory that
        every step fills anew.
        """
        ended = words.copy()
        ended[:, control.NEXT_STATUS] = 1
        here, kept = arguments["C"].part(0, words.size), self.buffer("kept C", words.size, CONTROL)
        self.machine.copy(kept, here)
        self.machine.upload(here, ended)
        self._step(arguments)
        self.machine.copy(here, kept)

    def _step(self, arguments: dict[str, Any]) -> None:
        for item in self.plan.program.order:
            if isinstance(item, Product):
                self._multiply(item, arguments["count"])
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


def lengths(steps: int, rows: int, position: int, capacity: int, most: int) -> Iterator[tuple[int, int]]:
    """Rows of a step and steps of a recording, one recording after the other; a recording has a power of two of steps.

    All steps of a recording have as many rows. Where batches divide the rows, that holds for any number of them.
    """
    while steps:
        count = min(capacity, rows - position)
        alike = steps if rows % capacity == 0 else max(1, (rows - position) // capacity)
        repeat = 1 << (min(steps, alike, most).bit_length() - 1)
        yield count, repeat
        steps -= repeat
        position = (position + repeat * count) % rows


def launcher_for(machine: Machine, plan: CudaPlan, precision: str) -> _Launcher:
    """The launcher of a tier."""
    kinds = {"A": BlockLauncher, "B": GridLauncher}
    return kinds.get(plan.choice.tier, GraphLauncher)(machine, plan, precision)
