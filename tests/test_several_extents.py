"""Losses over several free extents: interior, boundary and initial points, each with batches of its own.

One training program is compiled here; all else runs in plain Python.
"""

from __future__ import annotations

import copy
import pickle
from collections.abc import Iterator, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import graphc as gc
from graphc.errors import DataError, DeviceError, DomainError, GraphcError, TypeMismatchError, UnknownNameError
from graphc.primitives import philox
from tests.covering.plain import Plain, in_python
from tests.nets import batches

RNG = np.random.default_rng(0)
ROWS, SIZES, STREAMS = {"n": 23, "m": 9, "k": 4}, {"n": 7, "m": 4}, {"n": 0, "m": 3, "k": 4}
DATA = {
    "X": RNG.normal(size=(ROWS["n"], 2)), "B": RNG.normal(size=(ROWS["m"], 2)), "U": RNG.normal(size=(ROWS["m"], 1)),
    "I": RNG.normal(size=(ROWS["k"], 2)),
}  # fmt: skip
EXTENTS = {"X": "n", "B": "m", "U": "m", "I": "k"}
STEPS, ETA = 20, 0.05

pytestmark = pytest.mark.usefixtures("double_precision")


def declared() -> gc.Model:
    """A gradient in the interior, values on the boundary, zeros at the initial points."""
    X, B, I = gc.input("X", ("n", 2)), gc.input("B", ("m", 2)), gc.input("I", ("k", 2))
    U = gc.input("U", ("m", 1))
    net = gc.nn.sequential(2, gc.nn.Dense(5, "tanh"), gc.nn.Dense(1))
    u = net(X).named("u")
    inside = gc.grad(gc.sum(u), X)
    loss = gc.mean((inside[:, 0] - 1) ** 2) + 2 * gc.mean((net(B) - U) ** 2) + gc.mean(net(I) ** 2)
    metrics = {"boundary": gc.mean(gc.abs(net(B) - U))}
    return gc.Model(output=u, loss=loss, metrics=metrics, dtype="float64").initialize(1)


def values(model: gc.Model) -> dict[str, np.ndarray]:
    return {name: np.array(model.params[name]) for name in model.params}


def same(a: Mapping[str, Any], b: Mapping[str, Any]) -> bool:
    return a.keys() == b.keys() and all(np.array_equal(a[name], b[name]) for name in a)


def of_jax(p: dict[str, Any], X: Any, B: Any, U: Any, I: Any) -> Any:
    net = lambda x: jnp.tanh(x @ p["W0"] + p["B0"]) @ p["W1"] + p["B1"]
    slope = jax.vmap(jax.grad(lambda x: net(x)[0]))(X)
    return jnp.mean((slope[:, 0] - 1) ** 2) + 2 * jnp.mean((net(B) - U) ** 2) + jnp.mean(net(I) ** 2)


def steps_of(seed: int) -> Iterator[dict[str, np.ndarray]]:
    """The data of every step: each extent begins anew, in another order, when it is used up."""
    parts = {e: batches(n, SIZES.get(e, n), STEPS, seed, e in SIZES, STREAMS[e]) for e, n in ROWS.items()}
    for rows in zip(*parts.values(), strict=True):
        chosen = dict(zip(parts, rows, strict=True))
        yield {name: x[chosen[EXTENTS[name]]] for name, x in DATA.items()}


def adam_of_jax(params: dict[str, np.ndarray], seed: int) -> tuple[dict[str, np.ndarray], list[float]]:
    slope, losses = jax.jit(jax.value_and_grad(of_jax)), []
    m, v = ({name: np.zeros_like(w) for name, w in params.items()} for _ in range(2))
    for k, data in enumerate(steps_of(seed), 1):
        loss, g = slope(params, **data)
        losses.append(float(loss))
        m = {n: 0.9 * m[n] + 0.1 * np.asarray(g[n]) for n in g}
        v = {n: 0.999 * v[n] + 0.001 * np.asarray(g[n]) ** 2 for n in g}
        mean, spread = ({n: x[n] / (1 - b**k) for n in x} for x, b in ((m, 0.9), (v, 0.999)))
        params = {n: params[n] - ETA * mean[n] / (np.sqrt(spread[n]) + 1e-8) for n in params}
    return params, losses


def fitted(model: gc.Model, steps: int = STEPS, **options: Any) -> gc.Run:
    sizes = {"n": SIZES["n"], "B": SIZES["m"]}
    return model.fit(DATA, optimizer=gc.Adam(ETA), steps=steps, batch_size=sizes, **options)


def test_twenty_steps_are_those_of_jax_for_any_threads_after_any_interruption_and_in_a_sweep(tmp_path):
    """Seen to fail when the second extent has the order of the first, when a pass begins at the epoch of the first, and
    when the place in the data does not travel with the file."""
    alone = declared()
    run = fitted(alone, seed=3, record="step", threads=1)
    wanted, losses = adam_of_jax(values(declared()), 3)
    np.testing.assert_allclose(run.history["loss"], losses, rtol=1e-10)
    for name, x in wanted.items():
        np.testing.assert_allclose(alone.params[name], x, rtol=1e-10, atol=1e-12, err_msg=name)

    means = fitted(model := declared(), seed=3, threads=3).history["loss"]
    assert same(values(model), values(alone))
    np.testing.assert_allclose(means, np.mean(np.reshape(losses, (5, 4)), axis=1), rtol=1e-10)  # epochs of 4 steps

    divided = declared()
    for step in range(STEPS):
        fitted(divided, 1, **({"seed": 3} if step == 0 else {}))
        divided.save(tmp_path / "m.safetensors")
        divided = gc.Model.load(tmp_path / "m.safetensors") if step % 2 else pickle.loads(pickle.dumps(divided))  # noqa: S301
    assert same(values(divided), values(alone))

    sweep = declared().sweep(
        DATA, optimizer=gc.Adam(np.array([0.2, ETA])), batch_size={"n": 7, "m": 4}, steps=STEPS, seeds=[0, 3]
    )
    beside = declared().initialize(3)
    fitted(beside, seed=3)
    assert same(values(sweep.model(3)), values(beside))


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_every_kernel_is_divided_by_the_rows_of_its_own_extent(threads):
    """Pairs of rows of two extents, labels, noise for the rows of each, and a mean over one that the other reads.

    Seen to fail when a row of one extent may read what other threads have of another before they have met.
    """
    found = []
    for team in (1, threads):
        with in_python(Plain(seed=threads), "divided"):
            X, Z, C = gc.input("X", ("n", 2)), gc.input("Z", ("m", 2)), gc.input("C", ("m",), dtype="int64")
            W = gc.param("W", (2, 2), np.array([[0.5, -1.0], [0.25, 0.75]]))
            x, z = gc.dropout(gc.tanh(X @ W), 0.3), Z @ W + gc.random.normal(Z.shape)
            near = gc.sum((x[:, None, :] - z[None, :, :]) ** 2, axis=2)
            pairs = gc.mean(gc.exp(-near), axis=1)
            loss = gc.losses.cross_entropy(z - gc.mean(x, axis=0), C) + gc.mean(pairs) + gc.mean(near)
            model = gc.Model(loss=loss, dtype="float64")
            data = {"X": DATA["X"], "Z": DATA["B"], "C": np.arange(9) % 2}
            run = model.fit(data, optimizer=gc.SGD(0.1), steps=5, batch_size=4, seed=2, threads=team)
            assert not run.notes  # the program was checked beside the interpreter
            found.append(values(model))
    assert same(*found)


def test_a_value_that_rows_of_another_extent_still_read_is_not_overwritten_in_place():
    """exp(z s) is the last to read z, in the phase in which the rows of x read all of z.

    Seen to fail when rows of another extent count as a thread's own.
    """
    found = []
    for team in (1, 3):
        with in_python(Plain(seed=team), "divided"):
            X, Z, W = gc.input("X", ("n", 2)), gc.input("Z", ("m", 2)), gc.param("W", (2, 2), 0.5)
            x, z = gc.tanh(X @ W), Z @ W
            s = gc.mean(x)
            near = gc.sum(gc.exp(-(((x * s)[:, None, :] - z[None, :, :]) ** 2)), axis=1)
            metrics = {"near": gc.mean(near @ np.ones((2, 2))), "w": gc.mean(gc.exp(z * s) @ np.ones((2, 2)))}
            model = gc.Model(loss=gc.mean(x**2), metrics=metrics, dtype="float64")
            data = {"X": DATA["X"], "Z": DATA["B"]}
            run = model.fit(data, optimizer=gc.SGD(0.1), steps=3, batch_size=6, threads=team)
            found.append(run.history)
    assert same(*found)


def linear() -> tuple[gc.Model, np.ndarray]:
    """A loss that is quadratic, and its minimum by NumPy."""
    X, T, B, U = (gc.input(n, (e, k)) for n, e, k in (("X", "n", 2), ("T", "n", 1), ("B", "m", 2), ("U", "m", 1)))
    W = gc.param("W", (2, 1), 0.0)
    model = gc.Model(X @ W, loss=gc.mean((X @ W - T) ** 2) + 3 * gc.mean((B @ W - U) ** 2), dtype="float64")
    weigh = lambda x, u, c: (np.sqrt(c / len(x)) * x, np.sqrt(c / len(x)) * u)
    rows = [weigh(DATA["X"], DATA["X"][:, :1] ** 2, 1), weigh(DATA["B"], DATA["U"], 3)]
    a, b = (np.concatenate(parts) for parts in zip(*rows, strict=True))
    return model, np.linalg.lstsq(a, b, rcond=None)[0]


LINEAR = {"X": DATA["X"], "T": DATA["X"][:, :1] ** 2, "B": DATA["B"], "U": DATA["U"]}


@pytest.mark.parametrize("optimizer", [gc.LBFGS(), gc.LevenbergMarquardt(), gc.NewtonCG()], ids=str)
def test_curvature_takes_all_rows_of_every_extent(python, optimizer):
    """Seen to fail when the squares of all terms count the rows of the first extent."""
    model, minimum = linear()
    run = model.fit(LINEAR, optimizer=optimizer, steps=40, tol=1e-10)
    assert run.steps < 40
    np.testing.assert_allclose(model.params["W"], minimum, rtol=1e-8)


def test_batches_of_curvature_stay_the_same_and_shorter_extents_begin_again(python):
    model, _ = linear()
    run = model.fit(LINEAR, optimizer=gc.LBFGS(), epochs=2, batch_size={"X": 8, "B": 5}, record="step")
    assert run.steps == 6 and run.epochs == 2


def test_evaluation_and_validation_take_all_rows_of_every_extent(python):
    """Seen to fail when a fraction is taken of the first extent alone."""
    model = declared()
    wanted = float(of_jax(values(model), **DATA))
    np.testing.assert_allclose(model.evaluate(DATA)["loss"], wanted, rtol=1e-12)
    assert model.predict(DATA["X"]).shape == (23, 1)
    run = copy.deepcopy(model).fit(DATA, optimizer=gc.SGD(0.0), epochs=2, validation=DATA)
    np.testing.assert_allclose(run.history["val_loss"], [wanted] * 2, rtol=1e-12)
    part = copy.deepcopy(model).fit(DATA, optimizer=gc.SGD(0.0), epochs=1, batch_size=2, validation=0.25, seed=5)
    assert part.steps == 9  # of 23 rows 6 are kept out, of 9 two, of 4 one
    out = {e: philox.permutation(n, 5, t, 2)[:count] for t, ((e, n), count) in enumerate(zip(ROWS.items(), (6, 2, 1)))}
    wanted = float(of_jax(values(model), **{name: x[out[EXTENTS[name]]] for name, x in DATA.items()}))
    np.testing.assert_allclose(part.history["val_loss"], [wanted], rtol=1e-12)


def test_outputs_have_extents_of_their_own_also_beside_another_of_the_loss(python):
    """Seen to fail when all outputs have the rows of the first input."""
    model = declared()
    forward = lambda x: np.tanh(x @ model.params["W0"] + model.params["B0"]) @ model.params["W1"] + model.params["B1"]
    X, B, T = gc.input("X", ("n", 2)), gc.input("B", ("m", 2)), gc.input("T", ("n", 1))
    net = gc.nn.sequential(2, gc.nn.Dense(5, "tanh"), gc.nn.Dense(1))
    both = gc.Model(output={"a": net(X), "b": net(B)}, dtype="float64")
    both.params = values(model)
    for name, found in both.predict({"X": DATA["X"], "B": DATA["B"]}).items():
        np.testing.assert_allclose(found, forward(DATA["X" if name == "a" else "B"]), rtol=1e-12)
    other = gc.Model(output=net(B), loss=gc.losses.mse(net(X), T), dtype="float64")
    other.params = values(model)
    np.testing.assert_allclose(other.predict(DATA["B"]), forward(DATA["B"]), rtol=1e-12)
    assert other.fit(DATA["X"], DATA["X"][:, :1], batch_size=10, epochs=1, sample_weight=np.ones(23)).steps == 3


def test_what_several_extents_do_not_allow_is_said_in_their_names():
    model = declared()
    refused: list[tuple[type[GraphcError], str, dict[str, Any]]] = [
        (UnknownNameError, "batch_size names 'z', which is no free extent and no input that has one",
         {"batch_size": {"z": 3}}),
        (DataError, "batch_size gives 3 and 4 for the extent 'm'", {"batch_size": {"B": 3, "U": 4}}),
        (DomainError, "batch_size is 0", {"batch_size": {"n": 0}}),
        (TypeMismatchError, "batch_size is 2.5", {"batch_size": {"n": 2.5}}),
        (DataError, "sample_weight weighs the rows of one free extent, but the data have 'n', 'm', 'k'",
         {"sample_weight": np.ones(23)}),
        (DeviceError, "have the free extents 'n' and 'm' and 'k'; CUDA programs take batches of one",
         {"target": "cuda"}),
        (DomainError, "validation=0.9 of 4 rows leaves 4 to validate on", {"validation": 0.9}),
    ]  # fmt: skip
    for kind, told, options in refused:
        with pytest.raises(kind) as error:
            model.fit(DATA, **options)
        assert told in str(error.value) and "hint:" in str(error.value)
    with pytest.raises(DataError, match="B has 9 rows but U has 3; both count the extent 'm'"):
        model.fit({**DATA, "U": DATA["U"][:3]})
    assert values(model) and not model.last_run.steps


def test_names_of_extents_that_would_be_one_in_a_program_are_refused(python):
    X, Z, W = gc.input("X", ("n", 2)), gc.input("Z", ("n_cap", 2)), gc.param("W", (2, 1), 0.5)
    model = gc.Model(loss=gc.mean(X @ W) + gc.mean(Z @ W))
    with pytest.raises(DataError, match="the free extents 'n', 'n_cap' cannot be told apart in a program"):
        model.fit(DATA["X"], DATA["B"])


def test_one_extent_takes_its_batch_size_by_name_too(python):
    found = []
    for size in (4, {"n": 4}, {"T": 4}):
        X, T, W = gc.input("X", ("n", 2)), gc.input("T", ("n", 1)), gc.param("W", (2, 1), 0.5)
        model = gc.Model(X @ W, loss=gc.losses.mse(X @ W, T), dtype="float64")
        model.fit(DATA["B"], DATA["U"], optimizer=gc.SGD(0.1), steps=5, batch_size=size)
        found.append(values(model))
    assert same(found[0], found[1]) and same(found[0], found[2])
