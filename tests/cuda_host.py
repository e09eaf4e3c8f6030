"""What the host does for a step on a GPU, measured with a machine that does nothing: ``python -m tests.cuda_host``.

The machine counts what it is asked for, claims that every step was made, and leaves its own time out.
"""

from __future__ import annotations

import time
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass

from numpy.typing import ArrayLike, NDArray

from graphc.cuda import selection
from graphc.cuda.arrays import DeviceArray
from graphc.cuda.emulator import EmulatedGraph, Emulator, host
from graphc.cuda.machine import Arguments, Loaded
from graphc.cuda.products import MatrixProduct
from graphc.emit.cuda import control
from graphc.emit.cuda.program import CudaProgram
from tests.benchmarks import graphc_peer as peer
from tests.benchmarks.workloads import WORKLOADS

STEPS = 10_000
TOLD = control.DONE, control.EPOCHS, control.POSITION
NEXT = control.NEXT_DONE, control.NEXT_EPOCHS, control.NEXT_POSITION
BUDGET = {"W1": 0.3, "W2": 1.0, "W3": 1.0, "W9": 0.3, "W10": 1.0}


class Idle(Emulator):
    """A machine that makes no step of ``batch`` rows and says that it made them all."""

    def __init__(self, batch: int) -> None:
        super().__init__()
        self.batch, self.seconds, self._steps = batch, 0.0, []
        self.counts = dict.fromkeys(("launches", "replays", "uploads", "downloads", "bytes", "sent"), 0)

    def load(self, program: CudaProgram) -> dict[str, Loaded]:
        return {k.name: Loaded(k, None, 1) for k in program.kernels}

    def upload(self, target: DeviceArray, values: ArrayLike) -> None:
        self.counts["uploads"] += 1
        self.counts["bytes"] += target.nbytes
        self.counts["sent"] += target.nbytes
        super().upload(target, values)

    def download(self, source: DeviceArray) -> NDArray:
        self.counts["downloads"] += 1
        self.counts["bytes"] += source.nbytes
        return super().download(source)

    def launch(self, loaded: Loaded, blocks: int, arguments: Arguments) -> None:
        name = loaded.kernel.name
        if self._recording is None:
            self.counts["launches"] += 1
        if name == "train":
            copies = blocks if loaded.kernel.grid == "copies" else 1
            words = host(arguments["C"])[: copies * control.SIZE].reshape(copies, control.SIZE)
            self._pretend(words, words[:, control.STEPS].copy(), host(arguments["B"]))
        elif self._recording is not None and name == "update":
            self._steps.append((host(arguments["C"])[None, : control.SIZE], host(arguments["B"])))

    def _pretend(self, words: NDArray, steps: NDArray | int, totals: NDArray) -> None:
        """The words as so many steps leave them, and totals that can be divided."""
        started = time.process_time()
        totals.fill(1.0)
        rows = words[:, control.ROWS]
        end = words[:, control.NEXT_POSITION] + steps * self.batch
        for done, epochs, position in (TOLD, NEXT):
            words[:, done] += steps
            words[:, epochs] += end // rows
            words[:, position] = end % rows
        self.seconds += time.process_time() - started

    def multiply(
        self, product: MatrixProduct, a: DeviceArray, b: DeviceArray, c: DeviceArray, bias: DeviceArray | None = None
    ) -> None:
        """Nothing."""

    @contextmanager
    def capture(self) -> Generator[EmulatedGraph, None, None]:
        with super().capture() as graph:
            steps = self._steps = []

            def replay() -> None:
                self.counts["replays"] += 1
                words, totals = steps[0]
                self._pretend(words, len(steps), totals)

            graph.replay = replay
            yield graph


@dataclass(frozen=True)
class Cost:
    """Processor time of the host, so that others on the machine do not count: µs a step and ms a fit, both from fits of
    STEPS and of a tenth of it; and what the machine was asked for in a fit of STEPS."""

    step: float
    fit: float
    counts: dict[str, int]


def cost(name: str, times: int = 7) -> Cost:
    """What the host does for a workload, the least of several fits."""
    w = WORKLOADS[name]
    contestant, machine = peer.Peer(w, "auto", 1), Idle(w.batch)
    contestant.options |= {"target": "cuda", "verify": False}
    with selection.use(machine):
        contestant.run(512)
        few, many = (min(_seconds(contestant, machine, n) for _ in range(times)) for n in (STEPS // 10, STEPS))
        machine.counts = dict.fromkeys(machine.counts, 0)
        contestant.run(STEPS)
    step = (many - few) / (STEPS - STEPS // 10)
    return Cost(step * 1e6, (many - step * STEPS) * 1e3, machine.counts)


def _seconds(contestant: peer.Peer, machine: Idle, steps: int) -> float:
    machine.seconds, started = 0.0, time.process_time()
    contestant.run(steps)
    return time.process_time() - started - machine.seconds


def main() -> None:
    print(f"| network | µs a step | ms a fit | µs a step of {STEPS:,} steps | budget | launches | replays | bytes |")
    print("|---|---|---|---|---|---|---|---|")
    for name, budget in BUDGET.items():
        c = cost(name)
        counts = " | ".join(f"{c.counts[x]:,}" for x in ("launches", "replays", "bytes"))
        whole = c.step + c.fit * 1e3 / STEPS
        print(f"| {name} | {c.step:.2f} | {c.fit:.1f} | {whole:.2f} | {budget} | {counts} |")


if __name__ == "__main__":
    main()
