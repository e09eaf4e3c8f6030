"""Random tensors in CUDA programs: the bits of the CPU's, a new draw a step, in every tier."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

import graphc as gc
from graphc.cuda import residency, selection
from graphc.cuda.compiler import compile_program
from graphc.cuda.emulator import Emulator
from graphc.facade.devices import cuda_plan
from graphc.lower.tiers import Tier
from graphc.primitives import noise, philox
from tests.cuda_lint import lint
from tests.cuda_races import Watched

TIERS: tuple[Tier, ...] = ("A", "B", "C")
ROWS, BATCH = 23, 8
RNG = np.random.default_rng(7)
X, T = RNG.normal(size=(ROWS, 3)), RNG.normal(size=(ROWS, 2))


def watched(tier: Tier, memory: int = 1 << 36) -> Watched:
    return Watched(threads=4, blocks=1 if tier == "A" else 2, memory=memory)


def dropped(dtype: str = "float64") -> gc.Model:
    """Dropout, batch normalisation, and noise that all rows share."""
    x, t = gc.input("X", ("n", 3)), gc.input("T", ("n", 2))
    h = gc.dropout(gc.nn.sequential(x, gc.nn.Dense(4), gc.tanh).output, 0.3)
    h = gc.nn.BatchNorm()(h + 0.1 * gc.random.uniform((4,), -1, 1))
    y = h @ gc.param("V", (4, 2), gc.normal(0.5))
    return gc.Model(output=y, loss=gc.losses.mse(y, t), dtype=dtype)


def autoencoder(dtype: str = "float64") -> gc.Model:
    """Variational (Kingma, Welling 2014): a code of two numbers is drawn for every row."""
    x = gc.input("X", ("n", 3))
    mean, logs = (x @ gc.param(f"W_{name}", (3, 2), gc.normal(0.5)) for name in ("mean", "logs"))
    z = mean + gc.exp(logs / 2) * gc.random.normal(("n", 2))
    y = gc.tanh(z @ gc.param("V", (2, 3), gc.normal(0.5)))
    apart = gc.mean(gc.sum(mean**2 + gc.exp(logs) - logs - 1, axis=1)) / 2
    return gc.Model(output=y, loss=gc.losses.mse(y, x) + apart, dtype=dtype)


NETWORKS = {"dropout": (dropped, (X, T)), "autoencoder": (autoencoder, (X,))}


def trained(model: gc.Model, data: tuple[np.ndarray, ...], target: str = "cuda", **options: object):
    given = {"optimizer": "adam", "epochs": 2, "batch_size": BATCH, "seed": 5} | options
    return model, model.fit(*data, target=target, **given)


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("tier", TIERS)
def test_every_tier_trains_with_the_draws_of_the_cpu(python, tier: Tier, name: str):
    """Mutation-checked: the position of the batch left out of the counter, the epoch, a thread's blocks by one."""
    make, data = NETWORKS[name]
    with selection.use(machine := watched(tier), tier):
        ours, run = trained(make(), data)
        assert machine.found == [] and machine.tiers == {tier}
        steady = [ours.predict(X, target="cuda") for _ in range(2)]
        value = ours.evaluate(*data, target="cuda")["loss"]
    wanted, other = trained(make(), data, "cpu")
    np.testing.assert_allclose(ours.params.flat, wanted.params.flat, rtol=1e-10, atol=1e-13)
    np.testing.assert_allclose(run.history["loss"], other.history["loss"], rtol=1e-11)
    np.testing.assert_array_equal(*steady)
    np.testing.assert_allclose(steady[0], wanted.predict(X), rtol=1e-9)
    assert value == pytest.approx(wanted.evaluate(*data)["loss"], rel=1e-9)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_what_is_drawn_has_the_bits_of_numpy(dtype: str):
    """In the memory after three steps of 8, 8 and 7 rows: what is left is the last batch of the epoch."""
    tensors = [gc.random.normal(("n", 3)), gc.random.uniform(("n", 5)), gc.random.bernoulli(("n", 3), 0.3),
               gc.random.bernoulli((7,), 1.0), gc.random.normal((5,)), gc.random.uniform((9,))]  # fmt: skip
    total = gc.mean(gc.input("X", ("n", 3))) * gc.sum(gc.param("W", (2,), 1.0))
    model = gc.Model(loss=total + sum(gc.mean(gc.sum(v)) / 100 for v in tensors), dtype=dtype)
    with selection.use(machine := Emulator(), "C"):
        model.fit(X, epochs=1, batch_size=BATCH, seed=5, target="cuda", verify=False)
        trainer = model.params.trainer
    plan, memory = trainer.plan, machine.download(trainer.launcher.buffers["M"])
    for d in plan.step.draws:
        kind, limit = d.leaf.value.kind, d.leaf.value.limit
        shape = (7, *d.leaf.shape[1:]) if d.batched else d.leaf.shape
        wanted = noise.draw(kind, shape, philox.order_keys(5), 16, 0, d.number, limit, dtype).ravel()
        start = plan.memory.arena_start + d.buffer.offset.at({"n": BATCH})
        np.testing.assert_array_equal(memory[start : start + wanted.size], wanted, err_msg=kind)
    assert len(plan.step.draws) == len(tensors)


def parts(model: gc.Model) -> gc.Model:
    """Epochs and batches begun in one call and ended in another."""
    for steps, seed in ((2, 5), (3, None), (1, None)):
        model.fit(X, T, optimizer="adam", batch_size=BATCH, target="cuda", steps=steps, epochs=None, seed=seed)
    return model


def streamed(model: gc.Model) -> gc.Model:
    """Parts of 8 rows, with memory for fewer than all."""
    with selection.use(machine := watched("A", memory=1000), "A"):
        trained(model, (X, T))
    assert machine.sent == 2 * 6
    return model


def swept(model: gc.Model) -> gc.Model:
    """The second of four copies."""
    rates = gc.Adam(np.array([1e-2, 1e-3]))
    return model.sweep(X, T, optimizer=rates, seeds=[4, 5], epochs=2, batch_size=BATCH, target="cuda").model(3)


@pytest.mark.parametrize("way", [parts, streamed, swept])
def test_however_a_run_is_cut_its_draws_are_the_same(monkeypatch, way: Callable[[gc.Model], gc.Model]):
    monkeypatch.setattr(residency, "PART", 8 * 5 * 8)
    with selection.use(watched("A"), "A"):
        whole, _ = trained(dropped(), (X, T))
        assert way(dropped()).params.flat.tobytes() == whole.params.flat.tobytes()


@pytest.mark.cuda
@pytest.mark.parametrize("tier", ["A", "C"])
def test_draws_are_machine_code_without_divisions_and_spills(tier: Tier):
    """In single precision but for normal numbers, whose formulas take some hundred instructions in double."""
    kernel, books = {"A": ("train", 4), "C": ("batch", 0)}[tier]
    for name, (make, _) in NETWORKS.items():
        with selection.use(Emulator(), tier):
            program = cuda_plan(make("float32")._core, "adam", BATCH).program
        assert lint(program.text) == []
        report = compile_program(program, "sm_90")[kernel].report
        assert (report.spilled, report.divisions) == (0, 0) and report.registers <= 96
        assert report.doubles <= books + (150 if name == "autoencoder" else 0), report
