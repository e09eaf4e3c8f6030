"""Rules for groups of parameters in CUDA programs and in sweeps: each parameter follows its own."""

from __future__ import annotations

import numpy as np
import pytest

import graphc as gc
from graphc.cuda import selection
from graphc.errors import DeviceError
from graphc.lower.tiers import Tier
from tests.cuda_races import Watched
from tests.nets import text_of

TIERS: tuple[Tier, ...] = ("A", "B", "C")
RNG = np.random.default_rng(11)
X, T = RNG.normal(size=(11, 3)), RNG.normal(size=(11, 1))
PLAIN = {"batch_size": 8, "seed": 5}
GROUPS = {
    "W0": gc.LAMB(gc.schedules.exponential(0.05, 0.9)),
    ("B0", "V"): gc.Momentum(0.05, clip_norm=0.2).averaged(0.5),
    "gamma*": gc.SGD(0.1, clip_norm=0.1),
    "*": None,
}
"""Sums over a parameter and a schedule; two norms, each of its own parameters; beta and C stay as they are."""


def model() -> gc.Model:
    """With states of batch normalisation, and a parameter that stays where its constraint puts it."""
    x, t = gc.input("X", ("n", 3)), gc.input("T", ("n", 1))
    norm = gc.nn.BatchNorm()
    h = norm(gc.tanh(x @ gc.param("W0", (3, 4), gc.normal(0.5)) + gc.param("B0", (4,), 0.1)))
    c = gc.param("C", (4,), 0.5, constraint=gc.constraints.nonnegative)
    y = (h + c) @ gc.param("V", (4, 1), gc.normal(0.5))
    return gc.Model(output=y, loss=gc.losses.mse(y, t), dtype="float64")


def watched(tier: Tier) -> Watched:
    return Watched(threads=4, blocks=1 if tier == "A" else 2)


@pytest.mark.parametrize("tier", TIERS)
def test_each_parameter_follows_its_own_rule_in_every_tier(python, tier: Tier):
    """Mutation-checked: the norm over all parameters, the numbers of the first rule for the second."""
    with selection.use(machine := watched(tier), tier):
        ours = model()
        run = ours.fit(X, T, optimizer=GROUPS, epochs=2, target="cuda", **PLAIN)
        assert machine.found == [] and machine.tiers == {tier} and run.target == "cuda"
        text = ours.source(GROUPS, target="cuda")
    assert "# update of B0, V: Momentum" in text and "∂J/∂C" not in text
    wanted = model()
    other = wanted.fit(X, T, optimizer=GROUPS, epochs=2, **PLAIN)
    np.testing.assert_allclose(ours.params.flat, wanted.params.flat, rtol=1e-10, atol=1e-13)
    np.testing.assert_allclose(run.history["loss"], other.history["loss"], rtol=1e-11)
    np.testing.assert_allclose(gc.averaged(ours).params["V"], gc.averaged(wanted).params["V"], rtol=1e-10)
    np.testing.assert_array_equal(ours.params["C"], np.full(4, 0.5))
    assert np.abs(ours.params["mean0"]).min() > 0


@pytest.mark.parametrize("target", ["cpu", "cuda"])
def test_a_copy_of_a_sweep_over_groups_has_the_bits_of_a_run_alone(target: str):
    """The rate of the second rule and the momentum of it, named by the number of the rule."""
    rates, mus = np.array([0.05, 0.1]), np.array([0.5, 0.9])
    options = {"steps": 3, "target": target, "verify": False, "batch_size": 8}
    with selection.use(machine := watched("A"), "A"):
        swept = model().sweep(X, T, optimizer={**GROUPS, ("B0", "V"): gc.Momentum(rates, mu=mus)}, seeds=[5], **options)
        assert swept.swept == ["1_eta", "1_mu"] and len(swept) == 4
        for place in (1, 2):
            alone = model()
            rule = {**GROUPS, ("B0", "V"): gc.Momentum(rates[place // 2], mu=mus[place % 2])}
            run = alone.fit(X, T, optimizer=rule, seed=5, **options)
            assert swept.model(place).params.flat.tobytes() == alone.params.flat.tobytes()
            assert swept.table[place]["1_eta"] == rates[place // 2] and run.steps == 3
            swept.model(place).fit(X, T, optimizer=rule, **options)
        assert machine.found == []
    assert swept.model(1).params.flat.tobytes() != swept.model(2).params.flat.tobytes()


def test_more_norms_than_there_is_room_for_are_refused():
    weights = [gc.param(f"w{t}", (), 1.0) for t in range(15)]
    rules = {f"w{t}": gc.SGD(0.1, clip_norm=1.0) for t in range(15)}
    with pytest.raises(DeviceError) as caught:
        gc.Model(loss=sum(w**2 for w in weights)).source(rules, target="cuda")
    assert text_of(caught) == (
        "15 rules for groups of parameters, where one asks for norm(g), are too many on CUDA\n"
        "  hint: give 14 rules at most, or leave out target='cuda'"
    )
