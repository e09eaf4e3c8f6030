"""Scans in CUDA programs: every tier makes the steps of the CPU, forward and backward, without races."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

import graphc as gc
from graphc.cuda import selection
from graphc.cuda.compiler import compile_program
from graphc.cuda.emulator import Emulator
from graphc.cuda.machine import Loaded
from graphc.emit.cuda.program import CudaProgram
from graphc.facade.devices import cuda_plan
from graphc.lower.tiers import Tier
from tests.cuda_lint import lint
from tests.cuda_races import Watched

TIERS: tuple[Tier, ...] = ("A", "B", "C")
ROWS, BATCH, LENGTH, WIDTH = 5, 3, 3, 2
RNG = np.random.default_rng(3)
X, T = RNG.normal(size=(ROWS, LENGTH, WIDTH)), RNG.normal(size=(ROWS, 1))


def watched(tier: Tier) -> Watched:
    return Watched(threads=3, blocks=1 if tier == "A" else 2)


def recurrent(dtype: str = "float64", width: int = WIDTH) -> gc.Model:
    """Every row has steps of its own: blocks share the rows."""
    x, t = gc.input("X", ("n", LENGTH, WIDTH)), gc.input("T", ("n", 1))
    y = gc.nn.Dense(1)(gc.nn.GRU(width)(x))
    return gc.Model(output=y, loss=gc.losses.mse(y, t), dtype=dtype)


def mixed(dtype: str = "float64", width: int = WIDTH) -> gc.Model:
    """The steps of all rows at once, the last first: each reads the mean over the rows."""
    x, t = gc.input("X", ("n", LENGTH, WIDTH)), gc.input("T", ("n", 1))
    w, r = gc.param("W", (WIDTH, width), gc.normal(0.5)), gc.param("R", (width, width), gc.normal(0.5))

    def step(h: gc.Tensor, v: gc.Tensor) -> tuple[gc.Tensor, gc.Tensor]:
        after = gc.tanh(v @ w + (h - gc.mean(h, axis=0)) @ r)
        return after, gc.sum(after * h, axis=1)

    last, each = gc.scan(step, np.zeros((1, width)), x, reverse=True)
    return gc.Model(output=last, loss=gc.losses.mse(gc.sum(last, axis=1), t[:, 0]) + gc.mean(each**2), dtype=dtype)


NETWORKS = {"recurrent": recurrent, "mixed": mixed}
WAYS = {("recurrent", "B"): "rows of its own", ("recurrent", "C"): "rows of its own"}


def trained(make: Callable[[], gc.Model], target: str = "cuda", **options: object):
    model = make()
    given = {"optimizer": gc.Momentum(0.1), "epochs": 1, "batch_size": BATCH, "seed": 5} | options
    return model, model.fit(X, T, target=target, **given)


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("tier", TIERS)
def test_every_tier_makes_the_steps_of_the_cpu(python, tier: Tier, name: str):
    """A batch of 3 rows and one of 2. Mutation-checked: the last step left out, slots moved by one, forward for
    backward."""
    with selection.use(machine := watched(tier), tier):
        ours, run = trained(NETWORKS[name])
        assert machine.found == [] and machine.tiers == {tier}
        found, page = ours.predict(X, target="cuda"), str(ours.explain("plan", target="cuda"))
    assert page.count(WAYS.get((name, tier), "step by step ")) >= 2
    wanted, other = trained(NETWORKS[name], "cpu")
    np.testing.assert_allclose(ours.params.flat, wanted.params.flat, rtol=1e-11, atol=1e-14)
    np.testing.assert_allclose(run.history["loss"], other.history["loss"], rtol=1e-12)
    np.testing.assert_allclose(found, wanted.predict(X), rtol=1e-11)


class Careless(Watched):
    """Leaves out the barriers within the loops over steps."""

    def load(self, program: CudaProgram) -> dict[str, Loaded]:
        text, count = re.subn(r"(?m)^( {12,})cuda\.syncthreads\(\)$", r"\1pass", program.text)
        assert count > 2
        return super().load(replace(program, text=text))


def test_a_barrier_left_out_between_steps_is_found():
    with selection.use(machine := Careless(threads=3), "A"):
        trained(recurrent, steps=1, epochs=None, verify=False)
    assert machine.found != []


def test_large_steps_of_all_rows_are_a_kernel_of_one_block_with_tiles():
    """Their products go to no library, which has no loop over steps; compiled for the CPU, in full size."""
    losses = {}
    for target in ("cuda", "cpu"):
        with selection.use(Emulator(), "C"):
            model = mixed(width=130)
            if target == "cuda":
                plan = cuda_plan(model._core, "sgd", 40)
            data = np.tile(X, (8, 1, 1)), np.tile(T, (8, 1))
            losses[target] = model.fit(*data, steps=2, batch_size=40, seed=5, target=target).history["loss"]
    assert [k.grid for k in plan.program.kernels if k.name.startswith("scan")] == ["one", "one"]
    assert "TA = cuda.shared.array" in plan.program.text
    np.testing.assert_allclose(losses["cuda"], losses["cpu"], rtol=1e-10)


@pytest.mark.cuda
@pytest.mark.parametrize("tier", TIERS)
def test_scans_are_machine_code_without_divisions_and_spills(tier: Tier):
    with selection.use(Emulator(), tier):
        program = cuda_plan(recurrent("float32", 16)._core, "adam", 32).program
    assert lint(program.text) == []
    image = compile_program(program, "sm_90")
    for name in {"train", *(k.name for k in program.kernels if k.name.startswith("scan"))} & image.keys():
        report = image[name].report
        assert (report.spilled, report.divisions) == (0, 0) and report.registers <= 96, report
        assert report.doubles <= (4 if name == "train" else 0), report
