"""Optimizers that use curvature, beside SciPy's known minima."""

from __future__ import annotations

import math
import re
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import graphc as gc
from graphc.emit import descent
from graphc.emit.line_search import FOUND, FOUND_SLOPE, HEAD, LOSS, SLOPE, STEP
from graphc.emit.reference import evaluate
from graphc.errors import DivergenceError, DomainError, ShapeError
from graphc.native.loader import statistics
from tests import nets
from tests.covering.plain import Descended
from tests.graphs import in_jax


@pytest.mark.parametrize(
    ("optimizer", "most"),
    [(gc.LBFGS(), 157), (gc.ConjugateGradient(), 600), (gc.NewtonCG(), 150), (gc.LevenbergMarquardt(), 40)],
    ids=str,
)
def test_the_minimum_of_rosenbrock_in_20_dimensions_is_found(optimizer, most):
    """SciPy's L-BFGS-B takes 131 steps. Seen to fail without conjugate directions."""
    x = gc.param("x", (20,), np.tile([-1.2, 1.0], 10))
    model = gc.Model(loss=gc.sum((10 * (x[1:] - x[:-1] ** 2)) ** 2 + (1 - x[:-1]) ** 2), dtype="float64")
    run = model.fit({}, optimizer=optimizer, tol=1e-6, steps=most)
    assert run.stopped == "converged" and np.abs(model.params["x"] - 1).max() < 2e-6


def test_batches_in_blocks_of_rows_have_the_way_of_whole_batches(monkeypatch):
    """Rows are read where they lie. Red when the arguments of the program are those of a program without parts."""
    monkeypatch.setattr("graphc.facade.preparing.NEAR", 0)
    rng, found = np.random.default_rng(3), []
    data = {"A": rng.normal(size=(200, 3)), "B": rng.normal(size=(200, 1))}
    for blocks in (False, True):
        for name, value in {"LARGE": 1, "BLOCK_BYTES": 1, "FEWEST": 16}.items() if blocks else ():
            monkeypatch.setattr(f"graphc.lower.training.{name}", value)
        A, B, V = gc.input("A", ("n", 3)), gc.input("B", ("n", 1)), gc.param(f"V{blocks}", (3, 1), 0.0)
        model = gc.Model(A @ V, loss=gc.mean((gc.tanh(A @ V) - B) ** 2), dtype="float64")
        model.fit(data, optimizer=gc.LBFGS(), tol=1e-9, steps=50, threads=2)
        assert ("part_number" in model.source()) == blocks
        found.append(model.params[f"V{blocks}"])
    np.testing.assert_allclose(*found, rtol=1e-6)


@pytest.mark.parametrize("power", [1, 2])
def test_the_factor_of_squares_may_be_an_input(power, python):
    """Ridge regression beside the normal equations. Mutation-checked: without the root of the factor."""
    rng = np.random.default_rng(3)
    a, b = rng.normal(size=(20, 3)), rng.normal(size=(20, 1))
    A, B, lam = gc.input("A", ("n", 3)), gc.input("B", ("n", 1)), gc.input("lam", ())
    V = gc.param("V", (3, 1), 0.0)
    model = gc.Model(A @ V, loss=gc.mean((A @ V - B) ** 2) + gc.l2(V, lam**power / 2), dtype="float64")
    for factor in (0.0, 0.7, 2.0):
        model.fit(a, b, factor, optimizer=gc.LevenbergMarquardt(), tol=1e-12, steps=30)
        wanted = np.linalg.solve(a.T @ a + 20 * factor**power / 2 * np.eye(3), a.T @ b)
        np.testing.assert_allclose(model.params["V"], wanted, rtol=1e-7)
    if power == 1:
        with pytest.raises(DomainError) as caught:
            model.fit(a, b, -0.5, optimizer=gc.LevenbergMarquardt())
        assert nets.text_of(caught) == (
            "fit: LevenbergMarquardt takes a sum of squares, but lam = -0.5 makes the factor of one negative\n"
            "  hint: give numbers of at least 0, or take gc.LBFGS()"
        )


def test_what_curvature_cannot_do_is_refused():
    x = gc.param("x", (2,), 1.0)
    model = gc.Model(loss=gc.sum(gc.exp(x)), dtype="float64")
    for call in (
        lambda: model.sweep({}, optimizer=gc.LBFGS()),
        lambda: model.fit({}, optimizer=gc.LBFGS(), target="cuda"),
        lambda: model.fit({}, optimizer=gc.LevenbergMarquardt()),
    ):
        with pytest.raises(DomainError):
            call()
    X, W = gc.input("X", ("n", 1)), gc.param("W", (1, 1))
    with pytest.raises(ShapeError, match="depends on other rows of X"):
        (gc.cumsum(X, axis=0) @ W).d(X)
    with pytest.raises(ShapeError):
        (gc.input("Z", ("n", 2)) @ gc.param("V", (2, 1))).d(gc.input("Z", ("n", 2)))


def net(u, W, V, tanh):
    return tanh(u @ W) @ V


def test_derivatives_of_a_row_by_its_inputs_are_those_of_jax():
    """Seen to fail when the order of u.d(x, 2) is ignored, and when t is taken for x."""
    rng = np.random.default_rng(0)
    W, V, x, t = rng.normal(size=(2, 5)), rng.normal(size=(5, 1)), rng.normal(size=(4, 1)), rng.normal(size=(4, 1))
    X, T = gc.input("X", ("n", 1)), gc.input("T", ("n", 1))
    u = net(gc.concatenate([X, T], axis=1), W, V, gc.tanh)
    nodes = [u.d(X), u.d(X, 2), u.d(X, T), u.d(T, X, 2), u.d(T)]
    found = evaluate([y.node for y in nodes], {X.node: x, T.node: t}, dtype=np.float64)

    def of_jax(x, t):
        of_row = lambda a, b: net(jnp.stack([a, b]), W, V, jnp.tanh)[0]
        by = lambda f, *places: by(jax.grad(f, places[0]), *places[1:]) if places else f
        orders = [(0,), (0, 0), (0, 1), (1, 0, 0), (1,)]
        return [jax.vmap(by(of_row, *places))(x[:, 0], t[:, 0])[:, None] for places in orders]

    for ours, theirs in zip(found, in_jax(of_jax)(x, t), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-11, atol=1e-13)


def test_products_with_the_jacobian_and_the_gauss_newton_matrix_are_those_of_jax():
    """Seen to fail when the curvature of the loss by the output is left out."""
    rng = np.random.default_rng(1)
    w, v, x, a = (rng.normal(size=s) for s in ((3, 4), (4, 2), (6, 3), (3, 4)))
    W, A = gc.param("W", (3, 4)), gc.param("A", (3, 4))
    y = gc.tanh(gc.dot(x, W)) @ v
    loss = gc.sum(gc.exp(y) + y**2)
    wanted = [gc.jvp(y, W, A).node, gc.gauss_newton(loss, y, W, A).node]
    found = evaluate(wanted, {W.node: w, A.node: a}, dtype=np.float64)

    def of_jax(w, a):
        f, g = lambda w: net(x, w, v, jnp.tanh), lambda y: jnp.sum(jnp.exp(y) + y**2)
        y, pushed = jax.jvp(f, (w,), (a,))
        curved = jax.jvp(jax.grad(g), (y,), (pushed,))[1]
        return pushed, jax.vjp(f, w)[1](curved)[0]

    for ours, theirs in zip(found, in_jax(of_jax)(w, a), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-11)


@pytest.mark.parametrize("optimizer", [gc.LevenbergMarquardt(), gc.NewtonCG(), gc.ConjugateGradient()])
def test_least_squares_come_to_the_solution_of_numpy(optimizer):
    rng = np.random.default_rng(2)
    x, t = rng.normal(size=(40, 3)), rng.normal(size=(40, 1))
    X, T, W = gc.input("X", ("n", 3)), gc.input("T", ("n", 1)), gc.param("W", (3, 1), 0.0)
    model = gc.Model(X @ W, loss=gc.losses.mse(X @ W, T), dtype="float64")
    run = model.fit(x, t, optimizer=optimizer, tol=1e-9, steps=60)
    assert run.stopped == "converged"
    np.testing.assert_allclose(model.params["W"], np.linalg.lstsq(x, t, rcond=None)[0], rtol=1e-6, atol=1e-8)


def small_network() -> gc.Model:
    X, T = gc.input("X", ("n", 3)), gc.input("T", ("n", 1))
    Y = gc.nn.sequential(3, gc.nn.Dense(5, "tanh"), gc.nn.Dense(1))(X)
    return gc.Model(Y, loss=gc.losses.mse(Y, T), dtype="float64")


def test_a_run_goes_on_bit_for_bit_also_from_a_file_and_is_validated_and_stopped_early(tmp_path):
    """Seen to fail when the pairs of L-BFGS do not belong to the state that is kept."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(300, 3))
    t = np.tanh(x @ rng.normal(size=(3, 1)))
    whole, divided = small_network().initialize(1), small_network().initialize(1)
    whole.fit(x, t, optimizer=gc.LBFGS(), steps=20)
    divided.fit(x, t, optimizer=gc.LBFGS(), steps=10)
    divided.save(tmp_path / "model.safetensors")
    loaded = gc.Model.load(tmp_path / "model.safetensors")
    for model in (divided, loaded):
        model.fit(x, t, optimizer=gc.LBFGS(), steps=10)
        np.testing.assert_array_equal(model.params.flat, whole.params.flat)
    run = small_network().fit(
        x, t, optimizer=gc.LBFGS(), steps=200, validation=0.2, seed=3, callbacks=[gc.EarlyStopping(patience=3)]
    )
    assert run.stopped == "early stopping" and len(run.history["val_loss"]) == run.steps < 200


def text(method: str, dtype: str = "float64") -> dict[str, Any]:
    """The functions of a program's text, as Python."""
    return Descended(method, dtype).names


@pytest.mark.parametrize(("memory", "size"), [(7, 64), (2, 16)])
def test_the_direction_of_lbfgs_is_that_of_the_dense_update(memory, size):
    """H <- (1 - s yᵀ/sᵀy) H (1 - y sᵀ/sᵀy) + s sᵀ/sᵀy (Nocedal, Wright, equation 7.16), applied to a vector; the oldest
    pair is replaced next. Seen to fail where the newest comes first in the second loop."""
    rng = np.random.default_rng(0)
    s, g, k = rng.normal(size=(memory, size)), rng.normal(size=size), 2
    y = s * rng.uniform(0.5, 2, size)
    order = [(k + t) % memory for t in range(memory)]

    def times(v: np.ndarray, pairs: list[int]) -> np.ndarray:
        if not pairs:
            return v * (s[order[-1]] @ y[order[-1]]) / (y[order[-1]] @ y[order[-1]])
        *older, i = pairs
        share = (s[i] @ v) / (s[i] @ y[i])
        u = times(v - share * y[i], older)
        return u - s[i] * (y[i] @ u) / (s[i] @ y[i]) + share * s[i]

    a, words = np.zeros(descent.room("LBFGS", size, memory)), np.zeros(descent.TEMPLATES, int)
    words[[descent.SIZE, descent.MEMORY]], a[HEAD : HEAD + size] = (size, memory), g
    functions, pairs = text("LBFGS"), np.concatenate([s, y]).ravel()
    functions["begin"](pairs, a, words)
    assert functions["two_loop"](pairs, a, words, k) == 1
    np.testing.assert_allclose(a[HEAD + size :][:size], -times(g, order), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("size", [4, 32, 76])
def test_normal_equations_are_solved_as_by_numpy(size):
    """In panels of 32 lines; a matrix that is not positive definite is refused. Seen to fail where the lines of a panel
    do not change those behind."""
    rng = np.random.default_rng(size)
    j, b = rng.normal(size=(size + 8, size)), rng.normal(size=size)
    functions, a = text("LevenbergMarquardt"), np.concatenate([np.zeros(size * size), j.ravel(), b])
    functions["products"](a, 0, size * size, size, 0, (size + 8) // 4, 1.0)
    system = j.T @ j
    np.testing.assert_allclose(np.triu(a[: size * size].reshape(size, size)), np.triu(system), rtol=1e-12, atol=1e-12)
    assert functions["factored"](a, 0, size) == 1
    functions["solved"](a, 0, len(a) - size, size)
    np.testing.assert_allclose(a[-size:], np.linalg.solve(system, b), rtol=1e-6)
    a[: size * size] = (system - 2 * np.linalg.eigvalsh(system)[0] * np.eye(size)).ravel()
    assert functions["factored"](a, 0, size) == 0


def test_the_line_search_finds_steps_that_fulfil_the_wolfe_conditions():
    """Two of the functions of Moré and Thuente (1994), one with walls, one that is nearly straight; from steps much too
    short and too long. Seen to fail where a loss that rises is taken for one that falls."""
    loss = {
        "1": lambda t: (-t / (t**2 + 2), (t**2 - 2) / (t**2 + 2) ** 2),
        "2": lambda t: ((t + 0.004) ** 5 - 2 * (t + 0.004) ** 4, 5 * (t + 0.004) ** 4 - 8 * (t + 0.004) ** 3),
        "walls": lambda t: (t - 3 * math.log(t + 1e-3) if -1e-3 < t < 50 else math.inf, 1 - 3 / (t + 1e-3)),
        "bowl": lambda t: (math.hypot(1, t - 30), (t - 30) / math.hypot(1, t - 30)),
    }
    for name, phi in loss.items():
        for first in (1e-3, 0.1, 10.0, 1e3):
            functions, a, looked = text("LBFGS"), np.zeros(HEAD), []

            def look(*args, phi=phi, a=a, looked=looked):
                t = args[-2]
                looked.append(t)
                a[STEP], (a[FOUND], a[FOUND_SLOPE]) = t, phi(t)
                return 1

            functions["look"] = look
            a[LOSS], a[SLOPE] = f0, slope0 = phi(0.0)
            found = functions["search"](0, 0, 0, a, 0, 0, (1e-3, 0.1), 0, 0, 0, 0, first, 1)
            f, slope = phi(a[STEP])
            assert found == 1 and looked[-1] == a[STEP] and len(looked) <= 16, (name, first, looked)
            assert f <= f0 + 1e-3 * a[STEP] * slope0 and abs(slope) <= -0.1 * slope0, (name, first, looked)


@pytest.mark.parametrize("optimizer", [gc.LBFGS(), gc.NewtonCG(), gc.LevenbergMarquardt()], ids=str)
def test_a_run_is_one_native_call_with_the_bits_of_step_after_step_by_any_number_of_threads(optimizer):
    """With a callback every step is a call of its own. Seen to fail where every thread takes the part of the first."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(300, 3))
    t = np.tanh(x @ rng.normal(size=(3, 1)))
    found = []
    for options in ({"threads": 1}, {"threads": 2}, {"callbacks": [lambda run: None]}, {"validation": (x, t)}):
        model = small_network().initialize(1)
        before = statistics["native_calls"]
        run = model.fit(x, t, optimizer=optimizer, steps=25, verify=False, **options)
        assert "callbacks" in options or "validation" in options or statistics["native_calls"] - before <= 4
        found.append([*run.history["loss"], *model.params.flat])
    assert all(other == found[0] for other in found[1:])


def test_a_step_begins_where_a_callback_has_set_the_parameters():
    """Seen to fail where loss and gradient that are known are taken for those of the new place."""
    x, t = np.ones((3, 3)), np.full((3, 1), 2.0)
    model = small_network().initialize(1)

    def set_to_zero(run: gc.Run) -> None:
        if run.epochs == 3:
            model.params = {name: 0 * value for name, value in model.params.items()}

    run = model.fit(x, t, optimizer=gc.LBFGS(), steps=4, callbacks=[set_to_zero])
    assert run.history["loss"][3] == 4.0


def test_the_text_of_an_optimizer_stands_before_those_that_it_calls():
    x = gc.param("x", (2,), 1.0)
    model = gc.Model(loss=gc.sum((gc.exp(x) - 2) ** 2), dtype="float64")
    cases = ("lbfgs", "L-BFGS", 1), ("newtoncg", "Newton", 2), (gc.LevenbergMarquardt(), "Levenberg", 1)
    for optimizer, title, calls in cases:
        source = model.source(optimizer)
        assert source.startswith(f'"""{title}') and len(re.findall(r"^def (?:train|call)\(", source, re.M)) == 1 + calls


def test_a_loss_without_value_names_its_formula_and_no_lower_loss_ends_the_run(python):
    w = gc.param("w", (3,), -1.0)
    for optimizer in (gc.LBFGS(), gc.LevenbergMarquardt()):
        model = gc.Model(loss=gc.sum(gc.log(w) ** 2), dtype="float64")
        with pytest.raises(DivergenceError, match=r"the parameters of step 0 are kept\n  J = Σ_i log\(w\[i\]\)²"):
            model.fit({}, optimizer=optimizer, steps=3)
        model.params["w"] = np.full(3, 2.0)
        run = model.fit({}, optimizer=optimizer, steps=500)
        assert run.stopped == "no progress" and run.steps < 500
        np.testing.assert_allclose(model.params["w"], 1, rtol=1e-7)


def test_residuals_of_too_many_rows_are_asked_for_again(python, monkeypatch):
    """Also with metrics, in blocks of rows, after a fit with weights. Seen to fail where no block is asked for again,
    and where the weights are looked for."""
    rng, found = np.random.default_rng(4), []
    x = rng.normal(size=(70, 2))
    t = np.exp(x @ [[0.3], [-0.2]])
    monkeypatch.setattr("graphc.facade.functions.ROWS", 16)
    monkeypatch.setattr("graphc.facade.functions.MOST_ROWS", 16)
    for most in (2**27, 1):
        monkeypatch.setattr("graphc.facade.objectives.AT_ONCE", most)
        X, T, W = gc.input("X", ("n", 2)), gc.input("T", ("n", 1)), gc.param("W", (2, 1), 0.0)
        Y = gc.exp(X @ W)
        loss, off = gc.losses.mse(Y, T) + gc.l2(W, 1e-3), gc.mean(abs(Y - T))
        model = gc.Model(Y, loss=loss, metrics={"off": off}, dtype="float64")
        model.fit(x, t, optimizer=gc.SGD(0.0), steps=1, sample_weight=np.ones(70))  # whose program reads weights
        run = model.fit(x, t, optimizer=gc.LevenbergMarquardt(), tol=1e-9, steps=20)
        found.append([*run.history["loss"], *run.history["off"], *model.params.flat])
        assert run.stopped == "converged"
        np.testing.assert_allclose(run.history["off"][-1], np.abs(np.exp(x @ model.params["W"]) - t).mean(), rtol=1e-9)
    assert found[0] == found[1]
