"""Optimizers that use curvature, beside SciPy's known minima."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from threadpoolctl import threadpool_limits

import graphc as gc
from graphc.emit.reference import evaluate
from graphc.errors import DomainError, ShapeError
from graphc.run.descent import _two_loop
from tests import nets
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


@pytest.mark.parametrize(("memory", "size"), [(50, 2000), (3, 20_000)])
def test_the_direction_of_lbfgs_is_that_of_the_dense_update_whatever_the_threads_of_blas(memory, size):
    """H <- (1 - s yᵀ/sᵀy) H (1 - y sᵀ/sᵀy) + s sᵀ/sᵀy (Nocedal, Wright, equation 7.16), applied to a vector; the oldest
    pair is replaced next.

    Seen to fail where products of matrices, or of long vectors, are left to BLAS on two cores.
    """
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

    found = []
    for threads in (1, 2):
        with threadpool_limits(threads):
            found.append(_two_loop(g, s, y, k))
    np.testing.assert_array_equal(*found)
    np.testing.assert_allclose(found[0], -times(g, order), rtol=1e-9, atol=1e-12)
