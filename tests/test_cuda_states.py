"""States that a step updates, on a GPU: running statistics of batch normalisation and a count, beside JAX."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import graphc as gc
from graphc.cuda import selection
from graphc.lower.tiers import Tier
from tests.cuda_races import Watched

ROWS, STEPS, MOMENTUM, EPS = 23, 6, 0.9, 1e-3
RNG = np.random.default_rng(4)
X, T = 2 * RNG.normal(size=(ROWS, 3)) + 1, RNG.normal(size=(ROWS, 1))
NAMES = ("W0", "B0", "gamma0", "beta0", "W1", "B1")

pytestmark = pytest.mark.usefixtures("double_precision")


def declared() -> gc.Model:
    x, t = gc.input("X", ("n", 3)), gc.input("T", ("n", 1))
    norm = gc.nn.BatchNorm(momentum=MOMENTUM, eps=EPS)
    net = gc.nn.sequential(x, gc.nn.Dense(4), norm, gc.tanh, gc.nn.Dense(1))
    count = gc.state("count", (), 0.0, update=lambda s: s + 1)
    loss = gc.losses.mse(net.output, t) + gc.stop_gradient(gc.in_train_phase(0.0, count))
    return gc.Model(output=net.output, loss=loss, dtype="float64")


def loss_by_hand(params: dict, x: jax.Array, t: jax.Array) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
    z = x @ params["W0"] + params["B0"]
    m, v = z.mean(0), z.var(0)
    h = jnp.tanh((z - m) / jnp.sqrt(v + EPS) * params["gamma0"] + params["beta0"])
    return jnp.mean((h @ params["W1"] + params["B1"] - t) ** 2), (m, v)


def by_hand(params: dict) -> dict[str, np.ndarray]:
    """Momentum 0.5 in order of the rows, with the norm of the gradient cut at 1."""
    mean, var, slope = np.zeros(4), np.ones(4), jax.jit(jax.grad(loss_by_hand, has_aux=True))
    speed, at = dict.fromkeys(NAMES, 0.0), 0
    for _ in range(STEPS):
        slopes, (m, v) = slope(params, X[at : at + 8], T[at : at + 8])
        norm = np.sqrt(sum(float(np.sum(np.square(g))) for g in slopes.values()))
        for name in NAMES:
            speed[name] = 0.5 * speed[name] + slopes[name] * min(1.0, 1.0 / (norm + 1e-6))
            params[name] = params[name] - 0.1 * speed[name]
        mean, var = MOMENTUM * mean + (1 - MOMENTUM) * m, MOMENTUM * var + (1 - MOMENTUM) * v
        at = 0 if at + 8 >= ROWS else at + 8
    return {**params, "mean0": mean, "var0": var, "count": np.float64(STEPS)}


@pytest.mark.parametrize("tier", ["A", "B", "C"])
def test_states_follow_the_batches_as_by_jax_and_stay_there(tier: Tier):
    model = declared().initialize(3)
    params = {name: jnp.array(model.params[name]) for name in NAMES}
    rule = gc.Momentum(0.1, mu=0.5, clip_norm=1.0, decay=0.0)
    options = {"optimizer": rule, "batch_size": 8, "shuffle": False, "target": "cuda"}
    with selection.use(machine := Watched(threads=4, blocks=1 if tier == "A" else 2), tier):
        for steps in (4, STEPS - 4):
            model.fit(X, T, steps=steps, **options)
        assert machine.found == [] and machine.tiers == {tier}
        found = model.predict(X, target="cuda")
    wanted = by_hand(params)
    for name, value in wanted.items():
        np.testing.assert_allclose(model.params[name], value, rtol=1e-11, atol=1e-13, err_msg=name)
    scaled = (X @ wanted["W0"] + wanted["B0"] - wanted["mean0"]) / np.sqrt(wanted["var0"] + EPS)
    h = np.tanh(scaled * wanted["gamma0"] + wanted["beta0"])
    np.testing.assert_allclose(found, h @ wanted["W1"] + wanted["B1"], rtol=1e-10)


def test_a_rule_that_measures_each_parameter_and_a_sweep_leave_states_alone():
    """LAMB divides by norms, which are 0 for what has no gradient; a copy of a sweep has the bits of a run alone."""
    options = {"steps": 4, "batch_size": 8, "target": "cuda", "verify": False}
    with selection.use(machine := Watched(threads=4), "A"):
        alone = declared()
        alone.fit(X, T, optimizer=gc.LAMB(0.01), seed=5, **options)
        assert alone.params["count"] == 4 and np.isfinite(alone.params.flat).all()
        alone.initialize(5).fit(X, T, optimizer=gc.SGD(0.05), seed=5, **options)
        rates = gc.SGD(np.array([0.05, 0.1]))
        sweep = declared().sweep(X, T, optimizer=rates, seeds=[5], **options)
        assert machine.found == []
    assert sweep.model(0).params.flat.tobytes() == alone.params.flat.tobytes()
    assert sweep.model(1).params["count"] == 4
