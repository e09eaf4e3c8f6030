"""Parameters and optimizer state stay on a GPU between fits; they are brought down when somebody reads them, once."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import ArrayLike, NDArray

import graphc as gc
from graphc.cuda import libraries, selection, training
from graphc.cuda.arrays import DeviceArray
from graphc.cuda.machine import Arguments, Loaded
from graphc.errors import DeviceError, DivergenceError
from graphc.lower.tiers import Tier
from graphc.run.mirrored import same_bits
from tests import nets
from tests.cuda_races import Watched

X, T = nets.data(23)
OPTIONS = {"epochs": 1, "batch_size": 8, "target": "cuda", "verify": False}
BOOKS = 512  # bytes that come back after a fit of few steps whatever the network


class Counting(Watched):
    """Counts the bytes that pass between host and machine; calls that it refuses raise."""

    def __init__(self, tier: Tier, refuse: str = "") -> None:
        super().__init__(threads=4, blocks=1 if tier == "A" else 2)
        self.down, self.up, self.refuse, self.after = 0, 0, refuse, 0

    def _refuse(self, what: str) -> None:
        if self.refuse == what:
            self.after -= 1
            if self.after < 0:
                raise DeviceError("the GPU refused a call: the launch failed (launch_failed)")

    def upload(self, target: DeviceArray, values: ArrayLike) -> None:
        self._refuse("upload")
        self.up += target.nbytes
        super().upload(target, values)

    def download(self, source: DeviceArray) -> NDArray:
        self._refuse("download")
        self.down += source.nbytes
        return super().download(source)

    def _run(self, loaded: Loaded, blocks: int, arguments: Arguments) -> None:
        self._refuse("launch")
        super()._run(loaded, blocks, arguments)

    def passed(self) -> tuple[int, int]:
        """Bytes down and up since the last call."""
        found, self.down, self.up = (self.down, self.up), 0, 0
        return found


def fit(model: gc.Model, optimizer: object = "adam", **options: object) -> gc.Model:
    model.fit(X, T, optimizer=optimizer, **OPTIONS | options)
    return model


@pytest.mark.parametrize("tier", ["A", "B", "C"])
def test_nothing_is_brought_down_before_it_is_read_and_then_once(tier: Tier, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(training, "SECONDS", 1e9)  # an epoch is one launch
    with selection.use(machine := Counting(tier), tier):
        model = fit(nets.network(), seed=5)
        size = model.params.held.size * 8
        assert machine.passed()[0] <= BOOKS
        fit(model)
        down, up = machine.passed()
        assert down <= BOOKS
        fit(model)
        assert machine.passed() == (down, up)
        model.params["W0"]
        assert machine.passed() == (size, 0)
        model.params["W1"], model.predict(X), model.params.flat
        assert machine.passed() == (0, 0)
        [state] = model.state.rules.values()
        assert state.values.any() and machine.passed() == (2 * size, 0)
        fit(model)
        assert machine.passed() == (down, up)
        model.params["B0"] = np.arange(4) / 10
        machine.passed()
        fit(model)
        assert machine.passed() == (down, up + size)


def pickled(model: gc.Model, folder: Path) -> gc.Model:
    return pickle.loads(pickle.dumps(model))  # noqa: S301  written in the same line


def saved(model: gc.Model, folder: Path) -> gc.Model:
    model.save(folder / "model.safetensors")
    return gc.Model.load(folder / "model.safetensors")


def read_all(model: Any, folder: Path | None = None) -> gc.Model:
    assert model.params.flat.any() and model.state.rules
    assert all(r.step and r.values is not None for r in model.state.rules.values())
    return model


READINGS: dict[str, Callable[[gc.Model, Path], object]] = {
    "all": read_all,
    "predict": lambda m, p: m.predict(X),
    "predict there": lambda m, p: m.predict(X, target="cuda", verify=False),
    "evaluate there": lambda m, p: m.evaluate(X, T, target="cuda", verify=False),
    "a parameter there": lambda m, p: m.params.on_device("W1"),
    "pickle": pickled,
    "copy": lambda m, p: copy.deepcopy(m),
    "save": saved,
    "a sweep": lambda m, p: m.sweep(X, T, optimizer=gc.Adam(np.array([0.1, 0.2])), **OPTIONS),
    "another rule": lambda m, p: fit(m, gc.SGD(1e-300)),
}  # fmt: skip


BOTH = ("predict there", "a sweep", "another rule")
CASES = [(tier, reading) for reading in READINGS for tier in ("A", "C") if tier == "A" or reading in BOTH]


@pytest.mark.parametrize(("tier", "reading"), CASES)
def test_whoever_reads_in_between_has_the_bits_and_changes_none(tier: Tier, reading: str, tmp_path: Path):
    """Beside a model that was read after every fit."""
    with selection.use(Counting(tier), tier):
        eager, lazy = (fit(nets.network(), seed=5) for _ in range(2))
        fit(read_all(eager)), fit(lazy)
        found = READINGS[reading](lazy, tmp_path)
        if reading == "another rule":
            read_all(READINGS[reading](eager, tmp_path))
        read_all(eager)
        if isinstance(found, DeviceArray):
            assert found.numpy().tolist() == eager.params["W1"].tolist()
        elif isinstance(found, np.ndarray):
            np.testing.assert_allclose(found, eager.predict(X), rtol=1e-12)
        elif isinstance(found, gc.Model):
            assert found.params.flat.tobytes() == eager.params.flat.tobytes()
            lazy = found
        fit(eager, batch_size=5), fit(lazy, batch_size=5)  # another program, from where the first one left them
        assert lazy.params.flat.tobytes() == eager.params.flat.tobytes()
        read_all(eager)


# ---------------------------------------------------------------- errors


@pytest.mark.parametrize("tier", ["A", "C"])
@pytest.mark.parametrize(("what", "after", "read"), [("launch", 0, 0), ("download", 2, 0), ("download", 2, 1)])
def test_a_run_that_ends_in_an_error_leaves_what_there_was_before_it(tier: Tier, what: str, after: int, read: int):
    """Two fits; then the first launch is refused by a machine that still answers, or it is made, and nothing comes back
    but its words and losses, until the machine is asked again."""
    with selection.use(machine := Counting(tier), tier):
        wanted, model = (fit(fit(nets.network(), seed=5)) for _ in range(2))
        if read:
            read_all(model)
        machine.refuse, machine.after = what, after
        with pytest.raises(DeviceError, match="the launch failed"):
            fit(model)
        machine.refuse = ""
        assert (step_of(model), model.state.sampler) == (step_of(wanted), wanted.state.sampler)
        assert copy.deepcopy(model).params.flat.tobytes() == wanted.params.flat.tobytes()
        assert fit(model).params.flat.tobytes() == fit(wanted).params.flat.tobytes()


def test_a_run_whose_second_launch_is_refused_keeps_the_steps_of_the_first(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(training, "FIRST", 1)
    whole, model = nets.network(), nets.network()
    with selection.use(machine := Counting("A"), "A"):
        fit(fit(whole, seed=5), epochs=None, steps=3)
        machine.refuse, machine.after = "launch", 1
        with pytest.raises(DeviceError, match="the launch failed"):
            fit(model, seed=5)
        machine.refuse = ""
        assert step_of(model) == model.state.sampler.position // 8 == 1
        fit(model, epochs=None, steps=5)
    assert model.params.flat.tobytes() == whole.params.flat.tobytes()


@pytest.mark.parametrize("tier", ["A", "C"])
def test_a_step_that_is_not_finite_goes_back_to_a_copy_on_the_machine(tier: Tier):
    with selection.use(machine := Counting(tier), tier):
        lazy, eager = (fit(fit(nets.network(), seed=5)) for _ in range(2))
        read_all(eager)
        machine.passed()
        for model in (lazy, eager):
            with pytest.raises(DivergenceError):
                fit(model, gc.SGD(1e200))
        assert step_of(lazy) == step_of(eager) and lazy.state.sampler == eager.state.sampler
        assert lazy.params.flat.tobytes() == eager.params.flat.tobytes()


def step_of(model: gc.Model) -> int:
    return [*model.state.rules.values()][-1].step


@pytest.mark.parametrize("tier", ["A", "C"])
def test_values_that_are_lost_with_the_gpu_are_told_once(tier: Tier):
    """Then the host's older ones count, with the step that they belong to."""
    with selection.use(machine := Counting(tier), tier):
        model = read_all(fit(nets.network(), seed=5))
        before = model.params.flat.copy()
        fit(fit(model))
        machine.refuse = "download"
        with pytest.raises(DeviceError) as caught:
            model.params["W0"]
        assert nets.text_of(caught) == (
            "what the last fits made of the parameters was on the GPU, which no longer gives it: "
            "the GPU refused a call: the launch failed (launch_failed)\n"
            "  hint: the parameters are what they were when they were last read; load a checkpoint, or fit again."
        )
        assert same_bits(model.params.flat, before)
        [state] = model.state.rules.values()
        assert state.step == 9
        with pytest.raises(DeviceError, match="^what the last fits made of the optimizer's states was on the GPU"):
            print(state.values)
        assert state.step == 3 and state.values.any()
        machine.refuse = ""
        assert fit(model).params.flat.any()


def test_values_that_are_replaced_are_not_brought_down():
    with selection.use(machine := Counting("A"), "A"):
        for change in (lambda m: m.initialize(3), lambda m: setattr(m, "params", dict(nets.network().params))):
            model = fit(nets.network(), seed=5)
            machine.refuse = "download"
            change(model)
            machine.refuse = ""
            assert model.params.flat.any()


def test_without_room_for_a_second_copy_the_host_has_it():
    """A step that is not finite then goes back to that."""

    class Narrow(Counting):
        def array(self, count: int, dtype: object, *, note: str = "") -> DeviceArray:
            if self.refuse == "room":
                raise libraries.out_of_memory(8 * count, 1 << 20, 80 << 30, note)
            return super().array(count, dtype, note=note)

    with selection.use(machine := Narrow("A"), "A"):
        model = fit(nets.network(), seed=5)
        size = model.params.held.size * 8
        machine.refuse = "room"
        machine.passed()
        fit(model)
        assert machine.passed()[0] >= 3 * size
        machine.refuse = ""
        with pytest.raises(DivergenceError):
            fit(model, gc.SGD(1e200))
        wanted = read_all(fit(fit(nets.network(), seed=5)))
        with pytest.raises(DivergenceError):
            fit(wanted, gc.SGD(1e200))
        assert model.params.flat.tobytes() == wanted.params.flat.tobytes()
