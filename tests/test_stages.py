"""Several optimizers, one after the other, as one run; in plain Python."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import graphc as gc
from graphc.errors import DomainError, GraphcError, TypeMismatchError

RNG = np.random.default_rng(4)
x = RNG.normal(size=(10, 2))
t = np.tanh(x @ RNG.normal(size=(2, 1)))
PLAN: dict[str, Any] = {"optimizer": [gc.Adam(0.05), gc.LBFGS(), gc.SGD(0.01)], "steps": [7, 4, 3]}
SIZES = {"batch_size": [4, None, 4]}

pytestmark = pytest.mark.usefixtures("python")


def declared() -> gc.Model:
    X, T = gc.input("X", ("n", 2)), gc.input("T", ("n", 1))
    Y = gc.nn.sequential(2, gc.nn.Dense(3, "tanh"), gc.nn.Dense(1))(X)
    return gc.Model(Y, loss=gc.losses.mse(Y, T), dtype="float64")


def same(a: gc.Model, b: gc.Model) -> bool:
    return all(np.array_equal(a.params[name], b.params[name]) for name in a.params)


class Seen(gc.callbacks.Callback):
    """What a callback is told."""

    def __init__(self) -> None:
        self.told: list[Any] = []

    def begin(self, run: gc.Run, model: Any) -> None:  # noqa: ARG002
        self.told.append("begin")

    def epoch_end(self, run: gc.Run, model: Any) -> None:  # noqa: ARG002
        self.told.append(run.steps)

    def end(self, run: gc.Run, model: Any) -> None:  # noqa: ARG002
        self.told.append("end")


def test_a_plan_is_the_fits_one_after_the_other_in_one_run():
    """Seen to fail when the seed orders the rows anew in every part, and when callbacks begin with every part."""
    whole, apart, seen = declared(), declared(), Seen()
    run = whole.fit(x, t, **PLAN, **SIZES, seed=2, callbacks=[seen])
    runs = [
        apart.fit(x, t, optimizer=o, steps=n, batch_size=b, **({"seed": 2} if k == 0 else {}))
        for k, (o, n, b) in enumerate(zip(*PLAN.values(), SIZES["batch_size"], strict=True))
    ]
    assert same(whole, apart) and whole.last_run is run
    assert (run.steps, run.epochs, run.stopped) == (14, sum(r.epochs for r in runs), "finished")
    assert run.history["loss"] == [loss for r in runs for loss in r.history["loss"]]
    assert seen.told == ["begin", 3, 6, 8, 9, 10, 11, 14, "end"]


@pytest.mark.parametrize("kept", range(7))
def test_a_plan_goes_on_from_any_checkpoint_bit_for_bit(tmp_path, kept):
    """After each of the epochs, with a rate that a callback set.

    Seen to fail when the steps of a part are counted from its own beginning.
    """
    options: dict[str, Any] = {**PLAN, **SIZES, "seed": 2}
    steer = lambda run: run.hyper.__setitem__("eta", 0.02) if run.steps == 6 else None
    whole, epochs = declared(), []
    checkpoint = gc.Checkpoint(str(tmp_path / "{epoch}.safetensors"))
    whole.fit(x, t, **options, callbacks=[steer, checkpoint, lambda run: epochs.append(run.steps)])
    assert epochs == [3, 6, 8, 9, 10, 11, 14]
    files = sorted(tmp_path.glob("*.safetensors"), key=lambda f: int(f.stem))
    again = declared()
    again.fit(x, t, **options, callbacks=[steer], resume=files[kept])
    assert same(again, whole)


def test_a_rate_that_was_set_at_the_end_of_a_part_is_not_that_of_the_next(tmp_path):
    """Seen to fail when the checkpoint after the last step of a part steers the next."""
    options: dict[str, Any] = {"optimizer": [gc.Adam(0.05), gc.SGD(0.01)], "steps": [6, 3], "batch_size": 4, "seed": 2}
    steer = lambda run: run.hyper.__setitem__("eta", 0.2) if run.steps == 6 else None
    whole, again = declared(), declared()
    whole.fit(x, t, **options, callbacks=[steer, gc.Checkpoint(str(tmp_path / "{epoch}.safetensors"))])
    again.fit(x, t, **options, callbacks=[steer], resume=tmp_path / "2.safetensors")
    assert same(again, whole)


def test_epochs_are_counted_by_the_batches_of_each_part_and_a_stop_ends_the_plan():
    run = declared().fit(x, t, optimizer=["adam", "lbfgs"], epochs=[2, 5], batch_size=[4, None])
    assert run.steps == 2 * 3 + 5
    stop = lambda run: run.steps >= 3
    run = declared().fit(x, t, optimizer=["adam", "lbfgs"], epochs=[2, 5], batch_size=4, callbacks=[stop])
    assert (run.steps, run.stopped) == (3, "callback")


@pytest.mark.parametrize(
    ("options", "kind", "told"),
    [
        ({"steps": [3]}, DomainError, "2 optimizers are given, but steps has 1: [3]"),
        ({"steps": 5}, TypeMismatchError, "2 optimizers are given, but steps is 5"),
        ({"steps": [3, None]}, TypeMismatchError, "2 optimizers are given, but steps is [3, None]"),
        ({}, DomainError, "2 optimizers are given, but neither steps nor epochs of each"),
        ({"epochs": [1, 2], "batch_size": [2, 3, 4]}, DomainError, "but batch_size has 3: [2, 3, 4]"),
        ({"epochs": [1, 2], "steps": [1, 2]}, DomainError, "both epochs and steps are given"),
        ({"steps": [0, 2]}, DomainError, "steps is 0"),
        ({"optimizer": [], "steps": []}, DomainError, "optimizer is an empty list"),
    ],
)
def test_what_does_not_fit_a_plan_is_told_before_anything_is_trained(
    options: dict[str, Any], kind: type[GraphcError], told: str
):
    model = declared()
    with pytest.raises(kind) as error:
        model.fit(x, t, **{"optimizer": [gc.Adam(), gc.LBFGS()], **options})
    assert told in str(error.value) and "hint:" in str(error.value) and model.last_run is None


def test_a_model_that_a_later_part_cannot_train_is_refused_before_the_first():
    X, T, W = gc.input("X", ("n", 2)), gc.input("T", ("n", 1)), gc.param("W", (2, 1), 0.5)
    model = gc.Model(loss=gc.losses.mse(gc.dropout(X, 0.5) @ W, T))
    with pytest.raises(DomainError, match="LBFGS evaluates the loss several times a step"):
        model.fit(x, t, **PLAN)
    assert model.last_run is None
