"""Models and what they give are pickled and copied with their parameters; compiled code is found in the cache."""

from __future__ import annotations

import copy
import importlib
import json
import multiprocessing
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import graphc as gc
from graphc.declare.tensor import Tensor
from graphc.errors import TypeMismatchError
from graphc.native.loader import statistics
from tests import nets

ROOT = Path(__file__).parents[1]
X, T = nets.data(101)
SWEPT = gc.SGD(np.array([0.01, 0.1]))


def carried(x: Any) -> Any:
    return pickle.loads(pickle.dumps(x))  # noqa: S301  our own


def further(model: gc.Model, seed: int | None = None) -> gc.Run:
    return model.fit(X, T, optimizer=gc.Adam(0.01), batch_size=8, epochs=2, seed=seed)


def bits(model: gc.Model) -> str:
    return model.params.flat.tobytes().hex()


@pytest.fixture(scope="module")
def trained() -> gc.Model:
    model = nets.network("float32")
    further(model, seed=3)
    return model


@pytest.fixture(params=[carried, copy.deepcopy, copy.copy], ids=["pickled", "deepcopied", "copied"])
def again(request) -> Any:
    return request.param


def test_a_copy_of_a_model_goes_on_as_the_model_would_and_leaves_it_alone(trained, again):
    twin = again(trained)
    before, compiled = bits(trained), statistics["compiled"]
    assert bits(twin) == before and twin.last_run == trained.last_run and twin.params.flat.ctypes.data % 64 == 0
    further(twin)
    assert bits(trained) == before != bits(twin)
    third = again(trained)
    further(third)
    assert bits(third) == bits(twin) and statistics["compiled"] == compiled
    twin.initialize(5)
    assert bits(trained) == before
    assert set(twin._core.param_leaves) == set(trained._core.param_leaves)
    assert str(twin.derive()) == str(trained.derive())


def test_runs_sweeps_and_their_models_come_back_whole(trained, again):
    run, swept = trained.last_run, trained.sweep(X, T, optimizer=SWEPT, batch_size=8, epochs=2, seeds=2)
    assert again(run) == run and again(run).history["mae"] == run.history["mae"]
    other = again(swept)
    assert str(other) == str(swept) and repr(other) == repr(swept)
    assert [bits(other.model(i)) for i in range(4)] == [bits(swept.model(i)) for i in range(4)]


@pytest.mark.parametrize(
    "rule",
    [
        nets.MOMENTUM,
        SWEPT,
        gc.AdamW(gc.schedules.warmup(gc.schedules.cosine(0.1, 10), 5)),
        gc.rule("lion", "theta <- theta - eta*sign(g)", eta=0.1),
    ],
    ids=lambda rule: rule.name,
)
def test_optimizers_and_schedules_come_back_equal(rule, again):
    other = again(rule)
    assert other == rule and hash(other) == hash(rule) and str(other) == str(rule) and other.with_(0.2) == rule(0.2)
    with pytest.raises(TypeError):
        other.hyper["eta"] = 3
    schedule = gc.schedules.exponential(0.1, 0.9)
    assert again(schedule) == schedule and again(schedule).at(3) == schedule.at(3)


def test_tensors_come_back_as_the_same_nodes_with_their_letters_and_derivations_as_the_same_text(trained, again):
    i, j, k = gc.indices("i j k")
    A, W = gc.input("A", ("n", 3)), gc.param("W", (3, 2), gc.glorot())
    H = gc.define("H", [i, j], gc.sum(A[i, k] * W[k, j], over=k))
    masked = gc.sum(gc.tanh(H) * np.array([1.0, 2.0]))
    for tensor in (A, W, H, masked, *gc.grad(masked, [W, H])):
        assert again(tensor).node is tensor.node and again(tensor).index_names == tensor.index_names
    derivation, other = trained.derive(), again(trained.derive())
    assert str(other) == str(derivation) and other.latex("lecture") == derivation.latex("lecture")
    numbers = {"X": X, "T": T}
    assert other.numbers(numbers) == derivation.numbers(numbers)
    assert [str(again(trained.explain(stage))) for stage in ("gradient", "plan")]


def test_an_indexed_expression_is_no_tensor_yet():
    i = gc.indices("i")
    with pytest.raises(TypeMismatchError, match=r"the indexed expression .* cannot be pickled"):
        pickle.dumps(gc.param("w", (3,))[i] * 2)


def test_a_graph_a_thousand_nodes_deep_is_pickled():
    x = gc.param("x", (2,), 0.5)
    y = x
    for _ in range(1000):
        y = gc.sin(y)
    assert carried({"y": y, "x": x})["y"].node is y.node


# ---------------------------------------------------------------- other processes


def work(given: tuple[gc.Model, Any, Tensor]) -> tuple[gc.Model, list[float], list[str], int]:
    """What a worker does with a model that it was sent: go on, evaluate, print, count what it compiled."""
    model, derivation, output = given
    compiled = statistics["compiled"]
    run = further(model)
    texts = [str(derivation), str(model.derive()), derivation.latex()]
    assert output.node is model._core.raw_roots["output:output"]
    return model, run.history["loss"], texts, statistics["compiled"] - compiled


def sent(method: str) -> dict[str, bool]:
    """A model sent to workers and back, beside the same done here."""
    model = nets.network("float32")
    further(model, seed=3)
    given = model, model.derive(), Tensor(model._core.raw_roots["output:output"])
    if method == "joblib":
        joblib = importlib.import_module("joblib")
        found = joblib.Parallel(n_jobs=2)(joblib.delayed(work)(given) for _ in range(2))
    else:
        with multiprocessing.get_context(method).Pool(2) as pool:
            found = pool.map(work, [given] * 2)
    other, losses, texts, _ = work((copy.deepcopy(model), *given[1:]))
    goes_on = further(other).history["loss"]
    return {
        "parameters": all(bits(m) == bits(found[0][0]) for m, *_ in found),
        "losses": all(f[1] == losses for f in found),
        "texts": all(f[2] == texts for f in found),
        "nothing compiled": not any(f[3] for f in found),
        "goes on": all(further(f[0]).history["loss"] == goes_on for f in found),
        "leaves": all(set(f[0]._core.param_leaves) == set(model._core.param_leaves) for f in found),
    }


@pytest.mark.parametrize("method", ["fork", "spawn", "joblib"])
def test_a_model_is_sent_to_workers_and_comes_back(method):
    if method == "joblib":
        pytest.importorskip("joblib")
    script = f"""
import json
from tests.test_pickling import sent
if __name__ == "__main__":
    print(json.dumps(sent({method!r})))
"""
    command = [sys.executable, "-W", "ignore::DeprecationWarning", "-c", script]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=120)
    assert not result.stderr, result.stderr
    found = json.loads(result.stdout)
    assert len(found) == 6 and all(found.values()), found
