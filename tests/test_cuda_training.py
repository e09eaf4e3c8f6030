"""Training with target="cuda" against the CPU's programs: the very text of the kernels, on machines without a GPU.

Most runs are watched: every thread in Python, every access on record (:mod:`tests.cuda_races`).
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import numpy as np
import pytest

import graphc as gc
from graphc.cuda import launching, libraries, residency, selection, training
from graphc.cuda.arrays import DeviceArray
from graphc.cuda.emulator import Emulator
from graphc.cuda.step_table import StepTable
from graphc.emit.cuda.scalars import step_scalars
from graphc.emit.update import hyper_values
from graphc.errors import DataError, DeviceError, DivergenceError, DomainError, UnknownNameError
from graphc.lower import choice, verified_tiers
from graphc.lower.device import Device
from graphc.lower.tiers import Tier
from graphc.run.history import Run
from tests import nets
from tests.cuda_host import Idle
from tests.cuda_races import Watched

TIERS: tuple[Tier, ...] = ("A", "B", "C")
X, T = nets.data(23)


@pytest.fixture(params=TIERS)
def tier(request: pytest.FixtureRequest) -> Iterator[Tier]:
    """Every plan takes this tier, with several threads and blocks."""
    with selection.use(machine := watched(request.param), request.param):
        yield request.param
    assert machine.found == [] and machine.tiers <= {request.param}


@pytest.fixture
def emulated() -> Iterator[Watched]:
    with selection.use(machine := watched("A")):
        yield machine
    assert machine.found == []


def watched(tier: Tier, memory: int = 1 << 36) -> Watched:
    return Watched(threads=4, blocks=1 if tier == "A" else 2, memory=memory)


def trained(target: str, optimizer: object = "adam", **options: object) -> tuple[gc.Model, Run]:
    model = nets.network()
    wanted = {"epochs": 3, "batch_size": 8, "seed": 5, "target": target} | options
    return model, model.fit(X, T, optimizer=optimizer, **wanted)


def assert_same_run(cuda: tuple[gc.Model, Run], cpu: tuple[gc.Model, Run]) -> None:
    (ours, run), (wanted, other) = cuda, cpu
    np.testing.assert_allclose(ours.params.flat, wanted.params.flat, rtol=1e-10, atol=1e-13)
    assert list(run.history) == list(other.history)
    for name, values in other.history.items():
        np.testing.assert_allclose(run.history[name], values, rtol=1e-11)
    assert (run.steps, run.epochs, run.stopped) == (other.steps, other.epochs, other.stopped)


def test_a_run_is_the_cpu_s_batch_by_batch(tier: Tier):
    """Two full batches and one of 7 rows an epoch, in the same shuffled order; a metric beside the loss."""
    assert_same_run(trained("cuda"), trained("cpu"))
    machine = selection.here().machine
    assert isinstance(machine, Watched) and machine.tiers == {tier}


def test_the_norm_of_the_gradient_weights_of_rows_and_a_schedule(tier: Tier):
    weights = np.linspace(0.1, 2.0, len(X))
    options = {"sample_weight": weights, "record": "step"}
    assert_same_run(trained("cuda", nets.MOMENTUM, **options), trained("cpu", nets.MOMENTUM, **options))


def test_a_tolerance_ends_the_run_after_the_same_epoch(tier: Tier):
    options = {"tol": 0.35, "epochs": 400, "batch_size": 128}
    cuda, cpu = (trained(target, gc.SGD(0.2), **options) for target in ("cuda", "cpu"))
    assert cuda[1].stopped == "converged" and 1 < cuda[1].epochs < 400
    assert_same_run(cuda, cpu)


def test_validation_and_callbacks_end_epochs_as_on_the_cpu(emulated):
    options = {"validation": 0.3, "epochs": 30, "callbacks": [gc.EarlyStopping(patience=2)]}
    assert_same_run(trained("cuda", gc.SGD(0.5), **options), trained("cpu", gc.SGD(0.5), **options))


def test_a_run_in_one_go_and_in_parts_has_the_same_bits(tier: Tier):
    whole, _ = trained("cuda", epochs=None, steps=17)
    parts = nets.network()
    first = {"batch_size": 8, "target": "cuda"}
    parts.fit(X, T, steps=4, seed=5, **first)
    for steps in (1, 12):
        parts.fit(X, T, steps=steps, **first)
    assert parts.params.flat.tobytes() == whole.params.flat.tobytes()


def test_an_epoch_that_a_run_leaves_unfinished_is_accounted_for_as_on_the_cpu(tier: Tier):
    """Two of three batches done, then the third in a run of its own."""
    histories = []
    for target in ("cuda", "cpu"):
        model = nets.network()
        turns = ((5, 5), (1, None), (4, None))
        runs = [model.fit(X, T, steps=n, batch_size=8, target=target, seed=seed) for n, seed in turns]
        histories.append([run.history["loss"] + run.history["mae"] for run in runs])
    for ours, wanted in zip(*histories, strict=True):
        np.testing.assert_allclose(ours, wanted, rtol=1e-11)


def test_a_run_that_began_on_one_target_goes_on_on_the_other(emulated, tmp_path):
    model = nets.network()
    model.fit(X, T, epochs=1, batch_size=8, seed=5, target="cuda")
    model.save(tmp_path / "half.npz")
    other = gc.Model.load(tmp_path / "half.npz")
    other.fit(X, T, epochs=2, batch_size=8)
    np.testing.assert_allclose(other.params.flat, trained("cpu")[0].params.flat, rtol=1e-10, atol=1e-13)


def test_data_that_do_not_fit_go_part_by_part_with_the_same_bits(tier: Tier, monkeypatch):
    """Parts of 8 rows; memory for fewer than all."""
    resident, run = trained("cuda", tol=1e-9)
    monkeypatch.setattr(residency, "PART", 8 * 5 * 8)
    with selection.use(machine := watched(tier, memory=1000), tier):
        streamed, other = trained("cuda", tol=1e-9)
    assert machine.sent == 2 * 9 and machine.tiers == {tier}  # X and T, three parts an epoch
    assert streamed.params.flat.tobytes() == resident.params.flat.tobytes()
    assert run.history == other.history


def test_divergence_keeps_the_last_good_step_and_says_the_same(tier: Tier):
    texts, kept = [], []
    for target in ("cuda", "cpu"):
        model = nets.network()
        with pytest.raises(DivergenceError) as caught:
            model.fit(X, T, optimizer=gc.SGD(1e200), epochs=5, batch_size=8, seed=5, target=target)
        texts.append(str(caught.value))
        kept.append(model.params.flat.copy())
    assert texts[0] == texts[1]
    np.testing.assert_allclose(kept[0], kept[1], rtol=1e-10)


def test_an_update_that_overflows_is_undone(emulated):
    """The gradient is finite, its square in the state is not."""
    rule = gc.rule("Squares", "v <- g*g*huge\ntheta <- theta - 1e-300*v", huge=1e308)
    model = nets.network()
    with pytest.raises(DivergenceError, match="theta <- theta"):
        model.fit(X * 100, T * 100, optimizer=rule, epochs=1, batch_size=8, seed=5, target="cuda")
    start = nets.network().initialize(5)
    assert model.params.flat.tobytes() == start.params.flat.tobytes()


def test_a_copy_of_a_sweep_has_the_bits_of_a_run_alone(emulated):
    rates = np.array([0.01, 0.1, 1e200])
    options = {"epochs": 2, "batch_size": 8}
    sweep = nets.network().sweep(X, T, optimizer=gc.SGD(rates), seeds=[5, 6], target="cuda", **options)
    for place, (rule, seed) in enumerate(zip(sweep.rules, sweep.seeds)):
        alone = nets.network()
        if rule.hyper["eta"] > 1:
            assert place >= 4 and sweep.stopped[place] == "diverged"
            continue
        run = alone.fit(X, T, optimizer=rule, seed=seed, target="cuda", **options)
        assert sweep.model(place).params.flat.tobytes() == alone.params.flat.tobytes()
        assert sweep.history["loss"][place].tolist() == run.history["loss"]
    assert sweep.best.params.flat.tobytes() != nets.network().initialize(5).params.flat.tobytes()


def test_a_sweep_where_no_network_fits_a_block_trains_one_after_the_other():
    options = {"optimizer": gc.SGD(np.array([0.01, 0.1])), "epochs": 2, "batch_size": 8, "target": "cuda"}
    with selection.use(watched("A"), "A"):
        side_by_side = nets.network().sweep(X, T, **options)
    with selection.use(watched("C"), "C"):
        one_by_one = nets.network().sweep(X, T, **options)
    np.testing.assert_allclose(side_by_side.history["loss"], one_by_one.history["loss"], rtol=1e-12)


def test_prediction_and_evaluation_are_the_cpu_s(emulated):
    model, _ = trained("cpu")
    rows = np.tile(X, (30, 1)), np.tile(T, (30, 1))
    np.testing.assert_allclose(model.predict(rows[0], target="cuda"), model.predict(rows[0]), rtol=1e-12)
    ours, wanted = model.evaluate(*rows, target="cuda"), model.evaluate(*rows)
    assert list(ours) == list(wanted)
    np.testing.assert_allclose(list(ours.values()), list(wanted.values()), rtol=1e-12)


def test_arrays_on_the_machine_go_in_and_come_out_without_the_host(emulated):
    held = []
    for values in (X, T):
        array = emulated.array(values.size, np.float64)
        emulated.upload(array, values)
        held.append(array.reshape(*values.shape))
    model = nets.network()
    model.fit(*held, epochs=3, batch_size=8, seed=5, target="cuda")
    assert model.params.flat.tobytes() == trained("cuda")[0].params.flat.tobytes()
    found = model.predict(held[0], target="cuda")
    assert found.machine is emulated and found.shape == T.shape
    np.testing.assert_allclose(found.numpy(), model.predict(X), rtol=1e-12)
    np.testing.assert_array_equal(np.from_dlpack(found), found.numpy())


def test_parameters_are_handed_on_in_the_memory_of_the_machine(tier: Tier):
    model, _ = trained("cuda")
    machine = selection.here().machine
    assert isinstance(machine, Watched) and machine.tiers == {tier}
    before = machine.uploaded
    for name in nets.SHAPES:
        np.testing.assert_array_equal(model.params.on_device(name).numpy(), model.params[name])
    assert machine.uploaded == before
    model.params["W0"] = np.ones((3, 4))
    assert model.params.on_device("W0").numpy().tolist() == np.ones((3, 4)).tolist()
    with pytest.raises(UnknownNameError):
        model.params.on_device("W9")


def test_an_array_on_the_machine_of_another_type_is_refused(emulated):
    array = emulated.array(X.size, np.float32).reshape(*X.shape)
    with pytest.raises(DataError) as caught:
        nets.network().fit(array, T, target="cuda")
    assert nets.text_of(caught) == (
        "X (n, 3) lies on the GPU with values of type float32; the program reads float64\n"
        "  hint: convert it there, or pass a NumPy array"
    )


def test_changed_data_are_brought_over_again(emulated):
    model, x = nets.network(), X.copy()
    before = model.fit(x, T, steps=1, seed=5, batch_size=None, target="cuda").history["loss"][0]
    x += 1.0
    after = model.initialize(5).fit(x, T, steps=1, seed=5, batch_size=None, target="cuda").history["loss"][0]
    assert abs(after - before) > 1e-3


# ---------------------------------------------------------------- choices and errors


@pytest.mark.parametrize(
    ("width", "depth", "device", "tier"),
    [
        (16, 2, Device(), "A"),
        (16, 2, Device(shared=16 * 1024), "C"),
        (256, 2, Device(), "C"),
        (1024, 3, Device(), "C"),
        (1024, 3, Device(blas=False), "C"),
        (4096, 5, Device(), "D"),
    ],
)
def test_the_tier_follows_from_the_plan_and_the_device(width: int, depth: int, device: Device, tier: str):
    X, T = gc.input("X", ("n", width)), gc.input("T", ("n", width))
    h = X
    for layer in range(depth):
        h = gc.tanh(h @ gc.param(f"W{layer}", (width, width), gc.normal(0.1)))
    with selection.use(Emulator(device)):
        page = str(gc.Model(loss=gc.mean((h - T) ** 2)).explain("plan", target="cuda"))
    assert page.startswith(f"tier {tier} (")
    assert ("library product" in page) == (width >= 256 and device.blas)
    assert "note: tier" not in page


def test_what_was_never_seen_right_on_a_gpu_is_no_default_and_noted(monkeypatch, tmp_path):
    """Tier B was wrong on the only GPU that it ran on; of other generations nothing is known."""
    unknown = "has not been seen right on a GPU of the generation"
    for tier, notes in (("A", []), ("B", [f"tier B {unknown} sm_90 yet; make gpu-test would tell"])):
        with selection.use(watched(tier), tier):
            assert trained("cuda", epochs=None, steps=1)[1].notes == notes
    (machine := watched("A")).device = Device(capability=(8, 9))
    with selection.use(machine):
        run = nets.network().fit(X, T, steps=2, batch_size=8, target="cuda")
        rates = gc.SGD(np.array([0.1, 0.2]))
        sweep = nets.network().sweep(X, T, optimizer=rates, steps=2, batch_size=8, target="cuda")
    assert run.notes == sweep.notes == [f"tier A {unknown} sm_89 yet; make gpu-test would tell"]
    table = tmp_path / "table.json"
    table.write_text(verified_tiers.TABLE.read_text())
    line = verified_tiers.Seen((9, 0), "B", "a GPU", "CUDA 13.0", "numba-cuda 0.30.4", "2027-01-01", "right")
    verified_tiers.write([line], {((9, 0), "D")}, table)
    assert [x.tier for x in verified_tiers.seen(table)] == ["A", "B", "C"]
    monkeypatch.setattr(choice, "tiers_seen", lambda capability: {x.tier for x in verified_tiers.seen(table)})
    wide = gc.Model(loss=gc.mean(gc.tanh(gc.input("X", ("n", 256)) @ gc.param("W", (256, 256)))))
    assert str(wide.explain("plan", target="cuda")).startswith("tier B (")


def test_a_plan_names_the_long_sums_that_few_threads_make():
    """On an H100 the bias gradients of W4 and logsumexps of 1000 columns took 20 to 150 µs each."""
    X, T = gc.input("X", ("n", 64)), gc.input("T", ("n",), dtype="int64")
    h = gc.tanh(X @ gc.param("W0", (64, 256)) + gc.param("b0", (256,)))
    model = gc.Model(loss=gc.losses.cross_entropy(h @ gc.param("W1", (256, 1000)), T))
    with selection.use(Emulator(), "D"):
        page = str(model.explain("plan", target="cuda"))
    assert "note: tier" not in page
    assert re.search(r"note: \w+: 32 threads add 1,000 values each, one after another, in 1 of 1056 blocks", page)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"target": "gpu"}, "fit: target is 'gpu'\n  hint: choose 'cpu', 'cuda' or 'auto'"),
        (
            {"target": "cuda", "precision": "half"},
            "fit: precision is 'half'\n  hint: choose 'float32', 'tf32' or 'bf16' (of the products on a GPU)",
        ),
        (
            {"precision": "tf32"},
            "fit: precision 'tf32' is for target='cuda'\n  hint: leave it out on the CPU",
        ),
    ],
)
def test_a_target_or_precision_that_there_is_not_is_refused(options, text):
    with pytest.raises(DomainError) as caught:
        nets.network().fit(X, T, **options)
    assert nets.text_of(caught) == text


def test_auto_takes_the_cpu_where_no_gpu_is_and_the_machine_that_is_chosen(monkeypatch):
    monkeypatch.setattr("graphc.cuda.libraries.available", lambda: False)
    cpu, _ = trained("auto")
    assert cpu.params.flat.tobytes() == trained("cpu", threads=1)[0].params.flat.tobytes()
    with selection.use(machine := watched("A")):
        _, run = trained("auto", epochs=None, steps=1, verify=False)
    assert machine.launches == 0 and run.target == "cpu" and run.choice == ""
    assert re.fullmatch(r"target='auto' took the CPU: \S+ µs a step expected on the GPU \(tier A\), \S+ on the CPU",
                        run.notes[-1])  # fmt: skip
    wide, rows = gc.input("X", ("n", 256)), np.ones((512, 256))
    model = gc.Model(loss=gc.mean(gc.tanh(wide @ gc.param("W", (256, 256), gc.normal(0.1)))), dtype="float32")
    options = {"batch_size": 512, "verify": False}
    with selection.use(Idle(512)):
        run = model.fit(rows, steps=2, target="auto", **options)
        sweep = model.sweep(rows, optimizer=gc.SGD(np.array([0.1, 0.2])), steps=2, target="auto", **options)
        there = selection.here().machine.array(rows.size, np.float32).reshape(*rows.shape)
        assert model.fit(there, steps=1, target="auto", **options).target == "cuda"
    assert run.target == "cuda" and run.choice.startswith("tier C: ")
    assert run.notes[-1].startswith("target='auto' took the GPU: ") and sweep.notes[-1].startswith("target='auto'")


def test_the_plan_of_a_gpu_prints_without_one():
    """Stages with what they cost, by arithmetic alone; registers need a compiler, a measured time a run."""
    page = str(nets.network().explain("plan", target="cuda"))
    assert page.startswith("tier A (") and "an element a thread" in page and "∂J/∂W1" in page
    assert re.search(r"^a step +0 +[\d,]+ +\d+\.\d\d$", page, re.M) and "measured on" not in page
    with selection.use(Idle(8), "C"):
        model, run = trained("cuda", verify=False)
        page = str(model.explain("plan", target="cuda"))
    assert re.search(r"^stage 0 +1 +[\d,]+ +\d+\.\d\d$", page, re.M)
    assert re.search(r"^measured on sm_90, the last launch: \d+\.\d\d µs a step$", page, re.M)
    assert re.fullmatch(r"tier C: as asked; \S+ µs a step expected", run.choice)
    assert "def train(P, K, C, R, H, E, T, B, Q" in nets.network().source(target="cuda")


def test_a_sweep_learns_from_its_first_launch_how_many_steps_the_next_may_have(monkeypatch):
    """It did not: 22 launches of 64 steps each, and more time on the host than on an H100."""
    monkeypatch.setattr(training, "FIRST", 2)
    monkeypatch.setattr(training, "SECONDS", 1e9)
    with selection.use(machine := watched("A")):
        rates = gc.SGD(np.array([0.1, 0.2, 0.1]))
        nets.network().sweep(X, T, optimizer=rates, steps=9, batch_size=8, target="cuda", verify=False)
    assert machine.launches == 2  # 2 steps of all copies, then 7


def test_what_a_launch_needs_of_all_copies_is_what_each_needs_alone():
    """One table for the copies whose steps need the same numbers; what no step changes is no part of it."""
    rule = gc.Adam(gc.schedules.exponential(0.1, 0.9))
    table = StepTable(rule, step_scalars(rule))
    hyper = np.array([[*hyper_values(gc.Adam(gc.schedules.exponential(rate, 0.9))).values, 0.0]
                      for rate in (0.1, 0.2, 0.1, 0.1)])  # fmt: skip
    kind = np.dtype(np.float64)
    alike, which = table.alike(np.array([0, 0, 3, 0]), hyper)
    together = table.rows(alike, 7, kind)[which]
    assert len(alike) == 3 and together.shape == (4, 7, 3)  # eta, 1 - b1**k, 1 - b2**k
    for copy, first in enumerate((0, 0, 3, 0)):
        own, _ = table.alike(np.array([first]), hyper[copy : copy + 1])
        np.testing.assert_array_equal(together[copy], table.rows(own, 7, kind)[0])
    np.testing.assert_array_equal(together[0, 3:], together[2, :4])
    assert not np.array_equal(together[0], together[1])
    constant = gc.Adam(0.1)
    table = StepTable(constant, step_scalars(constant))
    rates = np.array([[*hyper_values(gc.Adam(rate)).values, 0.0] for rate in (0.1, 0.2)])
    assert len(table.alike(np.zeros(2), rates)[0]) == 1  # the rates are sent once, before the first step
    first, second = table.fixed(rates, kind)
    assert first.tolist() != second.tolist() and first.tolist() == table.fixed(rates[:1], kind)[0].tolist()


def test_recordings_cover_all_steps_with_the_rows_of_each():
    """Of any length where batches divide the rows; else within the full batches of an epoch."""
    assert list(launching.lengths(28, 28 * 64, 0, 64, 16)) == [(64, 16), (64, 8), (64, 4)]
    assert list(launching.lengths(21, 4 * 8, 24, 8, 16)) == [(8, 16), (8, 4), (8, 1)]
    assert list(launching.lengths(3, 40, 0, 64, 16)) == [(40, 1)] * 3
    for rows, position, steps in ((23, 0, 17), (23, 16, 9), (24, 8, 5), (100, 96, 40)):
        found = [(count, place) for count, n in launching.lengths(steps, rows, position, 8, 4) for place in range(n)]
        at, wanted = position, []
        for _ in range(steps):
            wanted.append(min(8, rows - at))
            at = (at + wanted[-1]) % rows
        assert [count for count, _ in found] == wanted


class Full(Watched):
    """A machine with room for nothing."""

    def array(self, count: int, dtype: object, *, note: str = "") -> DeviceArray:
        raise libraries.out_of_memory(4 * count, 1 << 20, 80 << 30, note)


def test_a_gpu_that_is_full_says_what_the_memory_is_for():
    with selection.use(Full(threads=1)), pytest.raises(DeviceError) as caught:
        nets.network().fit(X, T, optimizer="adam", batch_size=8, target="cuda", verify=False)
    assert nets.text_of(caught) == (
        "the GPU is full: 4 B asked for, 1 MiB of 80 GiB free\n"
        f"  data: {8 * (1 + X.size + T.size):,} bytes\n"
        "  parameters: 512 bytes\n"
        "  optimizer state: 1,024 bytes\n"
        "  gradients: 512 bytes\n"
        "  values of a step: 1,536 bytes\n"
        "  hint: a smaller batch_size, dtype float32, or close what else uses the GPU (nvidia-smi shows it)."
    )


INTERRUPTED = """
import hashlib, json
from graphc.cuda import selection
from tests import nets
x, t = nets.data(23)
model = nets.network()
with selection.use():
    model.fit(x, t, steps=100, batch_size=8, seed=5, target="cuda")
    print("ready", flush=True)
    try:
        model.fit(x, t, steps=10**9, batch_size=8, target="cuda")
    except KeyboardInterrupt:
        steps = 100 + model.last_run.steps
    bits = model.params.flat.tobytes()
    again = nets.network()
    again.fit(x, t, steps=steps, batch_size=8, seed=5, target="cuda")
    print(json.dumps([steps, model.last_run.stopped, bits == again.params.flat.tobytes()]), flush=True)
"""


def test_ctrl_c_ends_a_run_after_a_launch_with_the_bits_of_so_many_steps():
    (steps, stopped, same), _ = nets.interrupted(INTERRUPTED)
    assert steps > 100 and stopped == "interrupted" and same
