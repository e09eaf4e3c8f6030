"""Functions of matrices in CUDA programs: one thread a matrix, with NumPy's and JAX's numbers."""

from __future__ import annotations

import re

import jax
import numpy as np
import pytest

import graphc as gc
from graphc.cuda import selection
from graphc.cuda.emulator import Emulator
from graphc.cuda.launching import GraphLauncher
from graphc.errors import DomainError
from graphc.lower.tiers import Tier
from tests.cuda_races import Watched

N = 3
RNG = np.random.default_rng(1)
OPTIONS = {"target": "cuda", "verify": False}


def watched(tier: Tier) -> Watched:
    return Watched(threads=4, blocks=1 if tier == "A" else 2)


@pytest.fixture(autouse=True)
def without_the_step_before_a_recording(monkeypatch: pytest.MonkeyPatch) -> None:
    """It only loads kernels, and divides zeros, which Python refuses."""
    monkeypatch.setattr(GraphLauncher, "_warm", lambda *_: None)


def test_every_function_of_matrices_is_numpy_s():
    """Stacks, matrices of as many rows as the batch; rows that must be exchanged."""
    a, b, x = gc.input("A", ("n", N, N)), gc.input("B", ("n", N, 2)), gc.input("X", ("n", 8))
    spd = a @ gc.transpose(a, (0, 2, 1)) + np.eye(N)
    outputs = {
        "inverse": gc.linalg.inv(a), "det": gc.linalg.det(a), "sign": gc.linalg.slogdet(a)[0],
        "log": gc.linalg.slogdet(a)[1], "factor": gc.linalg.cholesky(spd), "solution": gc.linalg.solve(a, b),
        "of rows": gc.linalg.slogdet(x @ x.T + 0.1)[1] + 0 * gc.sum(x),
    }  # fmt: skip
    model = gc.Model({n.replace(" ", "_"): y for n, y in outputs.items()}, dtype="float64")
    m, right, rows = (RNG.normal(size=s) for s in ((7, N, N), (7, N, 2), (7, 8)))
    m[0, 0, 0] = 0.0
    with selection.use(machine := watched("C"), "C"):
        found = model.predict({"A": m, "B": right, "X": rows}, target="cuda")
    assert machine.found == []
    np_ = np.linalg
    square = m @ m.transpose(0, 2, 1) + np.eye(N)
    wanted = [np_.inv(m), np_.det(m), *np_.slogdet(m), np_.cholesky(square), np_.solve(m, right)]
    wanted.append(np_.slogdet(rows @ rows.T + 0.1)[1])
    for ours, theirs in zip(found.values() if isinstance(found, dict) else found, wanted, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("tier", ["A", "B", "C"])
@pytest.mark.usefixtures("double_precision")
def test_a_step_through_matrices_is_jax_s(tier: Tier):
    rows, start = RNG.normal(size=(11, N, N)), RNG.normal(size=(N, N))

    def loss_of(w: jax.Array) -> jax.Array:
        np_ = jax.numpy
        inverse = np_.linalg.inv(rows) @ w
        factor = np_.linalg.cholesky(w @ w.T + np_.eye(N))
        return np_.mean(np_.sum(inverse, (1, 2)) ** 2) + np_.linalg.slogdet(w @ w.T)[1] ** 2 + np_.sum(factor**3)

    a, w = gc.input("A", ("n", N, N)), gc.param("W", (N, N), gc.normal(1.0))
    loss = gc.mean(gc.sum(gc.linalg.inv(a) @ w, (1, 2)) ** 2) + gc.linalg.slogdet(w @ w.T)[1] ** 2
    loss = loss + gc.sum(gc.linalg.cholesky(w @ w.T + np.eye(N)) ** 3)
    model = gc.Model(loss=loss, dtype="float64")
    model.params["W"] = start
    with selection.use(machine := watched(tier), tier):
        run = model.fit(rows, steps=1, batch_size=11, optimizer=gc.SGD(1e-3), target="cuda")
    assert machine.found == [] and machine.tiers == {tier}
    value, slope = jax.value_and_grad(loss_of)(start)
    assert run.history["loss"] == pytest.approx([float(value)], rel=1e-10)
    np.testing.assert_allclose(model.params["W"], start - 1e-3 * np.asarray(slope), rtol=1e-9)


def test_a_matrix_that_is_singular_is_named_as_on_the_cpu():
    """Compiled: in Python a division by 0 is an error."""
    a, w = gc.input("A", ("n", N, N)), gc.param("W", (N, N), gc.normal(1.0))
    rows = RNG.normal(size=(11, N, N))
    model = gc.Model(loss=gc.mean(gc.sum(gc.linalg.inv(a) @ w, (1, 2)) ** 2), dtype="float64").initialize(1)
    with selection.use(Emulator(), "A"):
        model.fit(rows, steps=1, batch_size=11, optimizer=gc.SGD(1e-5), **OPTIONS)
        rows[7], before = 1.0, model.params["W"]
        with pytest.raises(DomainError, match=r"A⁻¹: the matrix A\[7\] is singular"):
            model.fit(rows, steps=1, batch_size=11, optimizer=gc.SGD(1e-5), **OPTIONS)
    np.testing.assert_array_equal(model.params["W"], before)


def test_a_plan_says_how_long_one_thread_takes_for_a_matrix():
    big = gc.Model(loss=gc.linalg.slogdet(gc.param("W", (60, 60), gc.normal(1.0)))[1])
    with selection.use(Emulator(), "C"):
        page = str(big.explain("plan", target="cuda"))
    assert "a matrix a thread" in page
    assert re.search(r"note: \w+: a matrix of 60 rows, each by one thread, some 216,000 operations one after", page)
    [microseconds] = re.findall(r"(\S+) µs a step expected", page)
    assert float(microseconds) > 1000
