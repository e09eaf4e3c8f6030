"""Initialisers beside those of JAX: bounds, deviations, orthonormal columns; names; what a shape must have."""

from __future__ import annotations

import jax
import numpy as np
import pytest
from scipy import stats

import graphc as gc
from graphc.errors import DomainError, ShapeError, UnknownNameError
from tests import nets

SHAPE = (120, 250)
INITS = jax.nn.initializers
SAME = {
    "glorot": INITS.glorot_uniform(), "glorot_uniform": INITS.glorot_uniform(), "he_uniform": INITS.he_uniform(),
    "lecun_uniform": INITS.lecun_uniform(), "glorot_normal": INITS.glorot_normal(), "he": INITS.he_normal(),
    "he_normal": INITS.he_normal(), "lecun_normal": INITS.lecun_normal(), "identity": None, "ones": INITS.ones,
    "zeros": INITS.zeros, "orthogonal": INITS.orthogonal(), "truncated_normal": INITS.truncated_normal(1.0),
    "normal": INITS.normal(1.0), "uniform": INITS.uniform(1.0), "variance_scaling": None,
}  # fmt: skip


def drawn(init: object, shape: tuple[int, ...] = SHAPE, seed: int = 3) -> np.ndarray:
    model = gc.Model(loss=gc.sum(gc.param("W", shape, init)), dtype="float64").initialize(seed)
    return np.array(model.params["W"])


def test_every_initialiser_has_a_name():
    assert set(SAME) == set(gc.init.__all__) - {"Initialiser", "constant"}


@pytest.mark.parametrize("name", [n for n, init in SAME.items() if init is not None])
def test_mean_and_deviation_are_those_of_jax(name: str):
    """Thirty thousand numbers: deviations agree to a fiftieth; mutation-checked with fan_out for fan_in."""
    ours, theirs = drawn(name), np.asarray(SAME[name](jax.random.key(0), SHAPE))
    assert ours.std() == pytest.approx(theirs.std(), rel=0.02)
    assert ours.mean() == pytest.approx(theirs.mean(), abs=0.02 * float(theirs.std()) + 1e-6)


@pytest.mark.parametrize("distribution", ["truncated_normal", "normal", "uniform"])
@pytest.mark.parametrize("mode", ["fan_in", "fan_out", "fan_avg"])
def test_variance_scaling_has_the_variance_and_the_bounds_of_jax(mode, distribution):
    ours = drawn(gc.init.variance_scaling(1.7, mode, distribution))
    kind = {"normal": "normal", "uniform": "uniform", "truncated_normal": "truncated_normal"}[distribution]
    theirs = np.asarray(INITS.variance_scaling(1.7, mode, kind)(jax.random.key(0), SHAPE))
    assert ours.std() == pytest.approx(theirs.std(), rel=0.02)
    if distribution != "normal":
        assert np.abs(ours).max() == pytest.approx(np.abs(theirs).max(), rel=0.01)


def test_truncated_numbers_have_their_distribution():
    found = drawn(gc.init.truncated_normal(0.5), (40_000,))
    assert np.abs(found).max() <= 1.0 and np.array_equal(found, drawn(gc.init.truncated_normal(0.5), (40_000,)))
    assert stats.kstest(found / 0.5, stats.truncnorm(-2, 2).cdf).pvalue > 0.01
    assert not np.array_equal(found, drawn(gc.init.truncated_normal(0.5), (40_000,), seed=4))


@pytest.mark.parametrize("shape", [(5, 3), (3, 5), (4, 4), (2, 3, 4)])
def test_orthogonal_matrices_are_orthogonal(shape):
    W = drawn(gc.init.orthogonal(2.0), shape).reshape(-1, shape[-1]) / 2
    small = W.T @ W if W.shape[0] >= W.shape[1] else W @ W.T
    np.testing.assert_allclose(small, np.eye(min(W.shape)), atol=1e-14)


def test_orthogonal_matrices_lie_everywhere():
    """Without the signs of R the diagonal of Q would be of one sign."""
    corners = [drawn("orthogonal", (2, 2), seed=s)[0, 0] for s in range(60)]
    assert 15 < sum(c > 0 for c in corners) < 45


def test_names_stand_for_initialisers_with_their_defaults():
    assert gc.param("W", (2, 3), "he_uniform").node.value.describe() == "he_uniform()"
    np.testing.assert_array_equal(drawn("identity", (2, 3)), np.eye(2, 3))
    np.testing.assert_array_equal(drawn(gc.init.identity(3), (2, 2)), 3 * np.eye(2))
    layer = gc.nn.Dense(4, init="orthogonal")(gc.input("X", ("n", 4)))
    W = np.array(gc.Model(layer, gc.mean(layer**2), dtype="float64").initialize(0).params["W0"])
    np.testing.assert_allclose(W.T @ W, np.eye(4), atol=1e-14)


WRONG = {
    "the initialiser of W is 'he_norml'\n  hint: did you mean 'he_normal'?": lambda: gc.param("W", (2, 3), "he_norml"),
    "identity: the parameter has shape (2, 3, 4)\n  hint: it starts what has two axes.":
        lambda: gc.param("W", (2, 3, 4), "identity"),
    "variance_scaling: mode is 'fan'\n  hint: use one of fan_in, fan_out, fan_avg.":
        lambda: gc.init.variance_scaling(mode="fan"),
    "variance_scaling: scale is 0.0\n  hint: a variance is above 0.": lambda: gc.init.variance_scaling(0),
    "truncated_normal: sigma is -1.0\n  hint: a standard deviation is not negative.":
        lambda: gc.init.truncated_normal(-1),
}  # fmt: skip


@pytest.mark.parametrize("message", WRONG)
def test_wrong_initialisers_are_refused_with_one_suggestion(message: str):
    with pytest.raises((DomainError, ShapeError, UnknownNameError)) as caught:
        WRONG[message]()
    assert nets.text_of(caught) == message
