"""Constraints and penalties: what parameters are set to after every update, on every target, and what losses add."""

from __future__ import annotations

import copy

import numpy as np
import pytest

import graphc as gc
from graphc.cuda import selection
from graphc.emit.reference import evaluate
from graphc.errors import DomainError, FormulaError, ShapeError, TypeMismatchError
from tests import nets
from tests.covering.plain import Plain, in_python
from tests.cuda_races import Watched

C = gc.constraints
START = np.random.default_rng(7).normal(size=(4, 3))
SLOPES = np.random.default_rng(8).normal(size=(12, 4, 3))


def columns(W: np.ndarray, axis: int | None) -> np.ndarray:
    return np.sqrt(np.sum(W**2, axis=axis, keepdims=True))


def nearest(W: np.ndarray) -> np.ndarray:
    """The projection of every column to the simplex, by sorting (Held, Wolfe and Crowder 1974)."""
    found = np.empty_like(W)
    for j, x in enumerate(W.T):
        falling = np.sort(x)[::-1]
        levels = (np.cumsum(falling) - 1) / np.arange(1, len(x) + 1)
        found[:, j] = np.maximum(x - levels[np.flatnonzero(falling > levels)[-1]], 0)
    return found


CASES = {
    "simplex": (C.simplex(), nearest),
    "simplex of rows": (C.simplex(axis=1), lambda W: nearest(W.T).T),
    "nonnegative": (C.nonnegative, lambda W: np.maximum(W, 0)),
    "box": (C.box(-0.3, 0.4), lambda W: np.clip(W, -0.3, 0.4)),
    "own": ("sign(theta)*max(abs(theta) - 0.01, 0)", lambda W: np.sign(W) * np.maximum(np.abs(W) - 0.01, 0)),
    "unit_norm": (C.unit_norm(), lambda W: W / columns(W, 0)),
    "unit_norm of rows": (C.unit_norm(axis=-1), lambda W: W / columns(W, 1)),
    "unit_norm of all": (C.unit_norm(axis=None), lambda W: W / columns(W, None)),
    "max_norm": (C.max_norm(1.1), lambda W: W * np.minimum(1, 1.1 / columns(W, 0))),
    "own norm": (C.constraint("theta/(1 + a*norm(theta))", a=0.1, axis=0), lambda W: W / (1 + 0.1 * columns(W, 0))),
}


def network(constraint: object) -> gc.Model:
    """J = sum W*A + sum V*V: the gradient of W is data; V has no constraint and lies beside it."""
    A = gc.input("A", ("n", 4, 3))
    V, W = gc.param("V", (3,), 1.0), gc.param("W", (4, 3), START, constraint=constraint)
    return gc.Model(loss=gc.mean(gc.sum(A * W, axis=(1, 2))) + gc.sum(V**2), dtype="float64")


def by_hand(project, steps: int = 12, eta: float = 0.2) -> np.ndarray:
    W = START
    for A in SLOPES[:steps]:
        W = project(W - eta * A)
    return W


def trained(constraint: object, **options: object) -> np.ndarray:
    model, wanted = network(constraint), {"epochs": 1, "batch_size": 1, "shuffle": False, "verify": False}
    model.fit(SLOPES, optimizer=gc.SGD(0.2), **(wanted | options))
    np.testing.assert_allclose(model.params["V"], np.full(3, 0.6**12), rtol=1e-12)
    return np.array(model.params["W"])


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("threads", [1, 3])
def test_the_cpu_s_program_keeps_them_after_every_step(name: str, threads: int):
    """Mutation-checked: before the update, one element too few, norms of rows for columns are seen."""
    constraint, project = CASES[name]
    with in_python(Plain(), "divided"):
        np.testing.assert_allclose(trained(constraint, threads=threads), by_hand(project), rtol=1e-12)


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("tier", ["A", "B", "C"])
def test_the_gpu_s_kernels_keep_them_too(name: str, tier):
    constraint, project = CASES[name]
    machine = Watched(threads=4, blocks=1 if tier == "A" else 2, memory=1 << 36)
    with selection.use(machine, tier):
        np.testing.assert_allclose(trained(constraint, target="cuda"), by_hand(project), rtol=1e-12)
    assert machine.found == []


def test_machine_code_and_sweeps_keep_them_and_the_check_of_programs_knows_them():
    X, T = nets.data()
    x, t = gc.input("X", ("n", 3)), gc.input("T", ("n", 2))
    W0, W1 = gc.param("W0", (3, 5), "he", constraint=C.max_norm(0.5)), gc.param("W1", (5, 2), "normal", C.nonnegative)
    model = gc.Model(loss=gc.losses.mse(gc.tanh(x @ W0) @ W1, t), dtype="float64")
    model.fit(X, T, optimizer=gc.Adam(0.1), epochs=20, batch_size=8)
    sweep = model.sweep(X, T, optimizer=gc.Adam([0.1, 1.0]), epochs=20, batch_size=8)
    for each in (model, sweep.model(1)):
        assert columns(each.params["W0"], 0).max() == pytest.approx(0.5) and np.min(each.params["W1"]) == 0.0


def test_a_program_that_forgets_a_constraint_is_found_by_its_check():
    def forget(text: str) -> str:
        return text.replace("P[t] = maximum(theta, f(0.0))", "P[t] = theta")

    with in_python(Plain(forget)), pytest.raises(gc.errors.CompilerError, match="W"):
        trained(C.nonnegative, verify=True)


def test_another_constraint_is_another_program_and_a_copy_keeps_its_own(tmp_path):
    made = network(C.max_norm(1.1)).initialize(0)
    with in_python(Plain()):
        assert network(C.max_norm(1.2)).source() != made.source() == network(C.max_norm(1.1)).source()
        assert "# constraint of W: theta <- 11*theta/10/maximum(norm(theta), 11/10)" in made.source()
        made.save(tmp_path / "model.graphc")
        for again in (copy.deepcopy(made), gc.Model.load(tmp_path / "model.graphc")):
            assert again.source() == made.source()


def test_constraints_print_and_are_equal_by_value():
    assert str(C.box(0, 1)) == "box(0, 1): theta <- minimum(maximum(theta, 0), 1)"
    assert C.max_norm(2) == C.max_norm(2) != C.max_norm(3)
    zero = C.unit_norm().apply(np.zeros((2, 2)))
    np.testing.assert_array_equal(zero, np.zeros((2, 2)))


WRONG = {
    "box: low is 2 and high is 1\n  hint: give the smaller number first.": lambda: C.box(2, 1),
    "max_norm: limit is 0\n  hint: a norm is above 0, give 2.0.": lambda: C.max_norm(0),
    "the constraint of W is 3\n  hint: give one of gc.constraints, or a formula such as \"max(theta, 0)\".":
        lambda: gc.param("W", (2,), constraint=3),
    "the constraint of W is along axis 1, its shape is (2,)\n"
    "  hint: give an axis that it has, or axis=None for all of it.":
        lambda: gc.param("W", (2,), constraint=C.unit_norm(axis=1)),
    "Unknown name 'thta'.\n    max(thta, 0)\n        ^\nDid you mean 'theta'?": lambda: C.constraint("max(thta, 0)"),
    "The constraint 'theta/norm(theta) - level(theta)' takes both norm(theta) and level(theta). Take one of them.":
        lambda: C.constraint("theta/norm(theta) - level(theta)"),
    "norm takes the parameter.\n    norm(2)\n    ^\nWrite norm(theta).": lambda: C.constraint("norm(2)"),
}  # fmt: skip


@pytest.mark.parametrize("message", WRONG)
def test_wrong_constraints_are_refused_with_one_suggestion(message: str):
    with pytest.raises((DomainError, FormulaError, ShapeError, TypeMismatchError)) as caught:
        WRONG[message]()
    assert nets.text_of(caught) == message


def test_penalties_are_sums_of_sizes_and_squares():
    W, b = gc.param("W", (4, 3), START), gc.param("b", (2,), [-3.0, 0.0])
    found = [gc.l1([W, b], 0.1), gc.l2((W, b)), gc.grad(gc.l1([W, b], 0.1), b), gc.grad(gc.l2(b, 0.5), b)]
    values = evaluate([x.node for x in found], {W.node: START, b.node: np.array([-3.0, 0.0])}, {})
    np.testing.assert_allclose(values[0], 0.1 * (np.abs(START).sum() + 3), rtol=1e-14)
    np.testing.assert_allclose(values[1], (START**2).sum() + 9, rtol=1e-14)
    np.testing.assert_allclose(values[2], [-0.1, 0.0])
    np.testing.assert_allclose(values[3], [-3.0, 0.0])


def test_a_simplex_of_many_numbers_sums_to_one():
    rng = np.random.default_rng(0)
    for W in (rng.normal(size=(300, 4)), 1e-3 * rng.normal(size=(500, 2)), np.zeros((3, 2)), 1e6 * START):
        found = C.simplex().apply(W)
        np.testing.assert_allclose(found, nearest(W), atol=1e-9)
    assert np.isfinite(C.simplex().apply(np.full((7, 1), 3e7, np.float32))).all()
