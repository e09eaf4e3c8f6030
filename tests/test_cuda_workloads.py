"""The benchmark networks at full size on the emulator, and small ones in Numba's simulator, against the CPU."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from graphc.cuda import selection
from graphc.cuda.arrays import DeviceArray
from graphc.cuda.emulator import Emulator, host
from graphc.cuda.machine import Arguments, Loaded
from graphc.cuda.simulator import simulate
from graphc.emit.cuda.program import CudaProgram
from graphc.lower.tiers import Tier
from tests import nets
from tests.benchmarks import graphc_peer as peer
from tests.benchmarks.workloads import WORKLOADS, data
from tests.cuda_table import declared

STEPS = {"W1": 40, "W2": 20, "W3": 3, "W4": 1, "W5": 2, "W9": 200}


@pytest.mark.parametrize("name", STEPS)
def test_a_network_of_the_benchmark_trains_as_on_the_cpu(name: str):
    """In float32, at full size, in the tier that a GPU like an H100 gives it; losses, since a ReLU may tip over."""
    w = WORKLOADS[name]
    X, Y = data(w)
    losses = []
    for target in ("cuda", "cpu"):
        model = declared(w)
        with selection.use(Emulator()):
            run = model.fit(X, Y, optimizer=peer.optimizer(w), steps=STEPS[name], batch_size=w.batch, seed=1,
                            record="step", target=target)  # fmt: skip
        losses.append(run.history["loss"])
    np.testing.assert_allclose(losses[0], losses[1], rtol=2e-5, atol=1e-6)


def test_the_sweep_of_the_benchmark_trains_as_on_the_cpu():
    w = WORKLOADS["W10"]
    X, Y = data(w)
    tables = []
    for target in ("cuda", "cpu"):
        with selection.use(Emulator()):
            sweep = declared(w).sweep(X, Y, optimizer=peer.optimizer(w), steps=10, batch_size=w.batch, target=target)
        tables.append(sweep.losses)
    assert len(tables[0]) == w.copies
    np.testing.assert_allclose(tables[0], tables[1], rtol=1e-5)


class Simulated(Emulator):
    """Kernels run in Numba's CUDA simulator, with few threads."""

    def load(self, program: CudaProgram) -> dict[str, Loaded]:
        few = tuple(replace(k, threads=min(k.threads, 32)) for k in program.kernels)
        small = replace(program, kernels=few)
        return {k.name: Loaded(k, small, 1) for k in few}

    def launch(self, loaded: Loaded, blocks: int, arguments: Arguments) -> None:
        self._do(lambda: self._run(loaded, arguments))

    def _run(self, loaded: Loaded, arguments: Arguments) -> None:
        given = {n: arguments[n] for n, _ in loaded.kernel.arguments}
        values = {n: host(x) if isinstance(x, DeviceArray) else x for n, x in given.items()}
        for n, result in simulate(loaded.handle, loaded.kernel.name, 1, values).items():
            values[n][:] = result


@pytest.mark.parametrize("tier", ["A", "B"])
def test_numba_s_simulator_gives_the_same_with_32_threads(tier: Tier):
    x, t = nets.data(11)
    options = {"steps": 3, "batch_size": 8, "seed": 2}
    with selection.use(Simulated(), tier):
        cuda = nets.network()
        cuda.fit(x, t, target="cuda", **options)
    cpu = nets.network()
    cpu.fit(x, t, **options)
    np.testing.assert_allclose(cuda.params.flat, cpu.params.flat, rtol=1e-10, atol=1e-13)
