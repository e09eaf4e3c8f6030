"""Sweeps: many copies in one call, each with the bits of a run alone; what became of every copy."""

from __future__ import annotations

import re
import threading

import numpy as np
import pytest

import graphc as gc
from graphc.errors import DataError, DivergenceError, DomainError, TypeMismatchError
from graphc.native.build import statistics
from graphc.native.stack import cores
from graphc.show.sweep_table import sweep_text
from graphc.show.verdicts import Ended, verdicts
from tests import nets

X, T = nets.data(101)
ETAS = np.geomspace(1e-2, 100, 5)


def alone(make, rule, seed, *data, **options):
    """The model after the same training by itself, and its run."""
    model = make().initialize(seed)
    try:
        model.fit(*data, optimizer=rule, seed=seed, **options)
    except DivergenceError:
        assert model.last_run.stopped == "diverged"
    return model, model.last_run


def everything(model):
    """All that a step changes."""
    [rule] = model.state.rules.values()
    bits = (model.params.flat.tobytes(), rule.values.tobytes(), model.state.totals.values.tobytes())
    return bits, rule.step, model.state.sampler


def assert_same_as_alone(sweep, make, *data, **options):
    for i in range(len(sweep)):
        model, run = alone(make, sweep.rules[i], sweep.seeds[i], *data, **options)
        assert everything(sweep.model(i)) == everything(model), sweep.table[i]
        assert (sweep.steps[i], sweep.stopped[i], sweep.epochs[i]) == (run.steps, run.stopped, run.epochs)
        for name, values in run.history.items():
            rest = sweep.history[name][i]
            assert rest[: len(values)].tolist() == values and np.isnan(rest[len(values) :]).all()


CASES = {
    "short batches, three seeds, copies that diverge": (
        {"optimizer": gc.SGD(ETAS), "seeds": 3}, {"epochs": 6, "batch_size": 8}),
    "a run that ends within an epoch, losses of all steps": (
        {"optimizer": gc.SGD(ETAS), "seeds": [7]}, {"steps": 45, "batch_size": 8, "record": "step"}),
    "a schedule, clipped gradients, sample weights, an array that is not eta": (
        {"optimizer": gc.Adam(gc.schedules.cosine(0.05, 40), b1=np.array([0.5, 0.9]), clip_norm=0.5), "seeds": [3, 1]},
        {"epochs": 4, "batch_size": 8, "sample_weight": np.linspace(0, 2, 101)}),
    "two arrays, all rows at once, the given order, a tolerance": (
        {"optimizer": gc.Momentum(np.array([0.05, 0.3]), mu=np.array([0.0, 0.9])), "seeds": 2},
        {"epochs": 400, "batch_size": None, "shuffle": False, "tol": 0.01}),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_every_copy_has_the_bits_of_a_run_alone(case):
    """Mutation-checked: order by the copy's number instead of its seed, states not reset, H shared: all are noticed."""
    varied, options = CASES[case]
    make = lambda: nets.network("float32")
    sweep = make().sweep(X, T, **varied, **options)
    assert_same_as_alone(sweep, make, X, T, **options)


def test_the_copies_are_every_combination_eta_first_then_the_seeds():
    rule = gc.Momentum(np.array([0.1, 0.2]), mu=np.array([0.5, 0.9]))
    sweep = nets.network("float32").sweep(X, T, optimizer=rule, seeds=[4, 2], steps=1, batch_size=None)
    found = [(row["eta"], row["mu"], row["seed"]) for row in sweep.table]
    assert found == [(eta, mu, seed) for eta in (0.1, 0.2) for mu in (0.5, 0.9) for seed in (4, 2)]


def test_pairs_are_value_t_of_every_array_with_seed_t():
    """Mutation-checked: with the seeds in reverse order."""
    rule, options = gc.Momentum([0.01, 0.1, 0.5], mu=[0.9, 0.5, 0.0]), {"epochs": 2, "batch_size": None}
    sweep = nets.network("float32").sweep(X, T, optimizer=rule, seeds=[4, 9, 4], paired=True, **options)
    copies = [(row["eta"], row["mu"], row["seed"]) for row in sweep.table]
    assert copies == [(0.01, 0.9, 4), (0.1, 0.5, 9), (0.5, 0.0, 4)]
    whole = nets.network("float32").sweep(X, T, optimizer=rule, seeds=[4, 9], **options)
    same = [(row["eta"], row["mu"], row["seed"]) for row in whole.table]
    for i, copy in enumerate(copies):
        assert everything(sweep.model(i)) == everything(whole.model(same.index(copy)))
    rates = gc.Momentum([0.01, 0.1], mu=0.9)
    one = nets.network("float32").sweep(X, T, optimizer=rates, seeds=[4], paired=True, **options)
    assert one.seeds == [4, 4] and one.table[0]["eta"] == 0.01


def test_a_sweep_is_one_native_call_a_thread_and_shares_the_program_of_fit():
    model = nets.network("float32")
    model.fit(X, T, optimizer=gc.SGD(0.1), steps=1, batch_size=8)
    before, rule = dict(statistics), gc.SGD(np.geomspace(1e-4, 1e-1, 16))
    for threads in (1, 2, None):
        sweep = model.sweep(X, T, optimizer=rule, seeds=4, batch_size=8, threads=threads)
        assert sweep.threads == (threads or cores()) and len(sweep) == 64
    assert statistics["native_calls"] - before["native_calls"] == 3 + cores()
    for word in ("compiled", "loaded_from_cache"):
        assert statistics[word] == before[word]


def test_the_number_of_threads_changes_no_bit_even_when_none_can_be_started(monkeypatch):
    def sweep():
        options = {"optimizer": gc.SGD(ETAS), "seeds": 3, "epochs": 20, "batch_size": 8}
        return [nets.network("float32").sweep(X, T, threads=threads, **options) for threads in (1, 2, 5)]

    def refuse(self):
        raise RuntimeError("can't start new thread")

    found = sweep()
    monkeypatch.setattr(threading.Thread, "start", refuse)
    found += sweep()
    for other in found[1:]:
        np.testing.assert_array_equal(other.history["loss"], found[0].history["loss"])
        np.testing.assert_array_equal(other.copies.parameters, found[0].copies.parameters)


def test_the_model_itself_stays_as_it_is():
    swept, other = nets.network("float32"), nets.network("float32")
    sweep = swept.sweep(X, T, optimizer=gc.SGD(ETAS), seeds=2, epochs=2, batch_size=8)
    sweep.evaluate(X, T)
    assert swept.last_run is None and swept.last_sweep is sweep
    for model in (swept, other):
        model.fit(X, T, optimizer=gc.SGD(0.1), epochs=2, batch_size=8, seed=5)
    assert everything(swept) == everything(other)


def test_the_best_copy_is_a_model_that_goes_on_where_it_ended():
    options = {"epochs": 5, "batch_size": 8}
    sweep = nets.network("float32").sweep(X, T, optimizer=gc.SGD(ETAS), seeds=3, **options)
    assert sweep.best_index == np.nanargmin([row["loss"] for row in sweep.table]) and sweep.best is sweep.best
    rule, seed = sweep.rules[sweep.best_index], sweep.seeds[sweep.best_index]
    model, _ = alone(lambda: nets.network("float32"), rule, seed, X, T, **options)
    np.testing.assert_array_equal(sweep.best.predict(X), model.predict(X))
    np.testing.assert_array_equal(sweep.parameters(sweep.best_index)["W0"], sweep.best.params["W0"])
    for best in (sweep.best, model):
        best.fit(X, T, optimizer=rule, **options)
    assert everything(sweep.best) == everything(model)
    assert everything(sweep.model(sweep.best_index)) != everything(model), "the sweep keeps what it found"


def test_all_copies_are_evaluated_on_other_data():
    x, t = nets.data(40)
    sweep = nets.network("float32").sweep(X, T, optimizer=gc.SGD(ETAS[:3]), seeds=2, epochs=2, batch_size=8)
    found = sweep.evaluate(x, t)
    expected = [sweep.model(i).evaluate(x, t) for i in range(6)]
    assert {n: v.tolist() for n, v in found.items()} == {n: [e[n] for e in expected] for n in ("loss", "mae")}


def test_without_an_array_and_with_one_seed_there_is_one_copy():
    sweep = nets.network("float32").sweep({"X": X, "T": T}, optimizer="sgd", epochs=2, batch_size=8)
    assert len(sweep) == 1 and sweep.history["loss"].shape == (1, 2) and sweep.verdicts == ["good"]
    assert re.search(r"loss before +after +verdict\n.*good\nbest: seed 0, loss 0\.\d+$", str(sweep))


# ---------------------------------------------------------------- copies that diverge


def test_an_update_that_overflows_leaves_that_copy_as_before_the_step_and_the_others_alone():
    """J = mean(x)*theta. Mutation-checked: without the second run theta is infinite."""
    x, theta = gc.input("x", ("n",)), gc.param("theta", (), 1.0)
    make = lambda: gc.Model(loss=gc.mean(x) * theta, name="overflowing")
    rule = gc.Momentum(np.array([1.0, 5e37, 1e38]), mu=1.0)
    options = {"steps": 9, "batch_size": 2, "record": "step"}
    sweep = make().sweep(np.ones(5), optimizer=rule, **options)
    assert sweep.stopped == ["finished", "diverged", "diverged"] and sweep.steps.tolist() == [9, 3, 2]
    assert np.isfinite(sweep.copies.parameters).all() and np.isnan(sweep.losses).tolist() == [False, True, True]
    assert_same_as_alone(sweep, make, np.ones(5), **options)
    assert sweep.verdicts == ["good", "too large", "too large"] and sweep.best_index == 0
    assert "too large (diverged at step 3)" in str(sweep)


def test_when_every_copy_diverges_there_is_no_best_one():
    sweep = nets.network("float32").sweep(X, T, optimizer=gc.SGD(np.array([1e9, 1e12])), epochs=9, batch_size=8)
    assert sweep.stopped == ["diverged"] * 2
    assert str(sweep).endswith("\nno copy has a finite loss: sweep over smaller values")
    with pytest.raises(DivergenceError, match=r"^sweep: no copy has a finite loss\n  hint: sweep over smaller values$"):
        sweep.best  # noqa: B018


# ---------------------------------------------------------------- verdicts


def ended(value, curve, initial=1.0, stopped="finished", group=()):
    return Ended(value, group, initial, curve, stopped)


def test_verdicts_follow_their_definition():
    falling, done, swinging = [0.9, 0.8, 0.7], [0.5, 0.2, 0.01], [0.01, 2.0] * 20
    found = verdicts([ended(1, falling), ended(2, done), ended(4, [0.9, 0.8, 0.11]), ended(3, [0.9, 0.8, 0.10]),
                      ended(5, swinging), ended(6, [], stopped="diverged"), ended(7, done, stopped="interrupted"),
                      ended(1, falling, group=(1,)), ended(1, [1.5], group=(2,))])  # fmt: skip
    assert found == ["too small", "good", "too large", "good", "too large", "too large", "", "good", "too large"]


def test_on_a_parabola_the_verdict_turns_at_the_known_bound():
    """Gradient descent on J = (theta0**2 + 10 theta1**2)/2 converges below eta = 2/10 and swings above."""
    etas = np.array([1e-5, 1e-4, 0.01, 0.1, 0.19, 0.1999, 0.2001, 0.3, 3.0])
    sweep = nets.parabola().sweep(optimizer=gc.SGD(etas), steps=300)
    np.testing.assert_allclose(sweep.initial, 5.5)
    assert sweep.verdicts == ["too small"] * 2 + ["good"] * 3 + ["too large"] * 4
    found = np.array([sweep.parameters(i)["theta"] for i in range(5)])
    np.testing.assert_allclose(found, (1 - etas[:5, None] * [1.0, 10.0]) ** 300, rtol=1e-10, atol=1e-300)


def test_a_rate_that_saturates_a_network_without_diverging_is_too_large():
    """XOR: at a huge rate tanh saturates, and the loss stays finite and high."""
    x = np.array([[0, 0], [0, 1], [1, 0], [1, 1]])
    rates = gc.SGD(np.geomspace(1e-3, 100, 16))
    sweep = nets.xor().sweep(x, x[:, :1] ^ x[:, 1:], optimizer=rates, seeds=4, epochs=2000, batch_size=4)
    by_rate = [set(sweep.verdicts[4 * i : 4 * i + 4]) for i in range(16)]
    assert by_rate[:4] == [{"too small"}] * 4 and by_rate[7:11] == [{"good"}] * 4
    assert by_rate[13:] == [{"too large"}] * 3 and "diverged" not in sweep.stopped
    assert sweep.best.predict(x).round().ravel().tolist() == [0, 1, 1, 0]


def test_the_smallest_and_largest_rates_of_a_regression_are_told_apart_with_mini_batches():
    etas = np.array([1e-6, 1e-4, 0.05, 0.2, 5.0, 1e4])
    sweep = nets.network("float32").sweep(X, T, optimizer=gc.SGD(etas), seeds=5, epochs=60, batch_size=8)
    found = [set(sweep.verdicts[5 * i : 5 * i + 5]) for i in range(6)]
    assert found == [{"too small"}] * 2 + [{"good"}] * 2 + [{"too large"}] * 2


def test_the_table_has_a_line_for_every_setting_and_says_when_the_best_is_at_an_end():
    rows = [{"eta": eta, "seed": seed, "initial": 1.0, "loss": loss, "best_loss": loss, "steps": 9,
             "stopped": "finished" if loss == loss else "diverged", "verdict": verdict}
            for eta, seed, loss, verdict in [(0.1, 0, 0.5, "too small"), (0.1, 1, 0.7, "too small"),
                                             (10, 0, float("nan"), "too large"), (10, 1, float("nan"), "too large"),
                                             (1, 0, 0.125, "good"), (1, 1, 2.0, "too large")]]  # fmt: skip
    assert sweep_text("SGD", ["eta"], rows, 0.25, 2).splitlines() == [
        "SGD: 6 copies, 54 steps in 0.25 s, 2 threads",
        "  eta   loss before   after   lowest   verdict",
        "  0.1             1     0.6      0.5   too small",
        "    1             1   1.062    0.125   good 1, too large 1",
        "   10             1       -        -   too large (diverged at step 10)",
        "best: eta = 1, seed 0, loss 0.125",
    ]
    rows[4]["loss"] = 0.6
    assert sweep_text("SGD", ["eta"], rows, 0.25, 2).splitlines()[-1] == (
        "best: eta = 0.1, seed 0, loss 0.5; it is the smallest eta of the sweep: try smaller ones"
    )


def test_a_sweep_draws_a_picture(tmp_path):
    sweep = nets.network("float32").sweep(X, T, optimizer=gc.SGD(ETAS), seeds=2, epochs=20, batch_size=8)
    sweep.plot(tmp_path / "new" / "sweep.png")
    assert (tmp_path / "new" / "sweep.png").read_bytes()[:4] == b"\x89PNG"


# ---------------------------------------------------------------- arguments


@pytest.mark.parametrize(
    ("options", "error", "text"),
    [
        ({"seeds": 0}, DomainError, "sweep: seeds is 0\n  hint: give at least 1"),
        ({"seeds": []}, DomainError, "sweep: seeds is []\n  hint: give whole numbers of at least 0"),
        ({"seeds": [1, -1]}, DomainError, "sweep: seeds is [1, -1]\n  hint: give whole numbers of at least 0"),
        ({"seeds": 2.5}, TypeMismatchError, "sweep: seeds is 2.5\n  hint: give a whole number or a list of them"),
        ({"seeds": "12"}, TypeMismatchError, "sweep: seeds is '12'\n  hint: give a whole number or a list of them"),
        ({"seeds": True}, TypeMismatchError, "sweep: seeds is True\n  hint: give a whole number or a list of them"),
        ({"seed": 3}, TypeMismatchError,
         "sweep: there is no option 'seed'\n  hint: give seeds=4 for the seeds 0 to 3, or a list of seeds"),
        ({"dtype": "float64"}, TypeMismatchError, "sweep: there is no option 'dtype'\n"
         "  hint: say it in the declaration: gc.Model(..., dtype='float64')"),
        ({"epoch": 3}, TypeMismatchError, "sweep: there is no option 'epoch'\n  hint: here it is called 'epochs'."),
        ({"seeds": 2, "paired": True}, DomainError, "sweep: paired values must be equally many, but there are "
         "5 of eta, 2 of seeds\n  hint: leave paired out for every combination"),
        ({"epochs": 0}, DomainError, "sweep: epochs is 0\n  hint: give at least 1"),
        ({"steps": 2, "epochs": 2}, DomainError, "sweep: both epochs and steps are given\n  hint: give one of them"),
    ],
    ids=str,
)  # fmt: skip
def test_arguments_that_make_no_sense_are_refused_before_anything_is_compiled(options, error, text):
    before = dict(statistics)
    with pytest.raises(error) as caught:
        nets.network().sweep(X, T, optimizer=gc.SGD(ETAS), **options)
    assert nets.text_of(caught) == text and statistics == before


def test_data_that_do_not_fit_are_named_as_those_of_the_sweep():
    with pytest.raises(DataError, match=r"^sweep: the model reads 2 inputs \(X \(n, 3\), T \(n, 2\)\) but 1 arrays"):
        nets.network().sweep(X, optimizer=gc.SGD(ETAS))


# ---------------------------------------------------------------- Ctrl-C

CHILD = """
import json
import numpy as np
import graphc as gc
from tests import nets
X, T = nets.data(101)
model = nets.network("float32")
rule = gc.SGD(np.array([0.01, 1e9, 0.02, 0.03, 0.04]))
model.sweep(X, T, optimizer=rule, steps=1, batch_size=8)
print("ready", flush=True)
try:
    model.sweep(X, T, optimizer=rule, steps=10**8, batch_size=8, threads=2, progress=PROGRESS)
except KeyboardInterrupt:
    s = model.last_sweep
    parameters = [s.model(i).params.flat.tobytes().hex() for i in range(5)]
    print(json.dumps([s.steps.tolist(), s.stopped, s.verdicts, parameters]), flush=True)
"""


@pytest.mark.parametrize("progress", [False, True], ids=["plain", "with a progress line"])
def test_ctrl_c_stops_all_copies_after_a_whole_step_and_leaves_those_that_have_not_begun(progress):
    """Mutation-checked: without the look at the stop word the copies still to come make one step each."""
    code = CHILD.replace("PROGRESS", str(progress))
    (steps, stopped, said, parameters), waited = nets.interrupted(code)
    assert waited < 2 and min(steps[0], steps[2]) > 100 and steps[3:] == [0, 0]
    assert stopped == ["interrupted", "diverged", *["interrupted"] * 3] and said == ["", "too large", "", "", ""]
    for i, eta in ((0, 0.01), (3, 0.03)):
        model = nets.network("float32").initialize(0)
        if steps[i]:
            model.fit(X, T, optimizer=gc.SGD(eta), steps=steps[i], batch_size=8, seed=0)
        assert model.params.flat.tobytes().hex() == parameters[i]


def test_copies_whose_batches_are_computed_in_blocks_of_rows_have_the_bits_of_a_run_alone(monkeypatch):
    """Red when the parts of a batch belong to no thread's own memory."""
    for name, value in {"LARGE": 1, "BLOCK_BYTES": 1, "FEWEST": 16}.items():
        monkeypatch.setattr(f"graphc.lower.training.{name}", value)
    x, t = nets.data(101)
    sweep = nets.network().sweep(x, t, optimizer=gc.SGD(np.array([0.1, 0.3])), epochs=3, batch_size=64, threads=2)
    for number, eta in enumerate((0.1, 0.3)):
        alone = nets.network().initialize(0)
        alone.fit(x, t, optimizer=gc.SGD(eta), epochs=3, batch_size=64, seed=0)
        assert "part_number" in alone.source()
        np.testing.assert_array_equal(sweep.model(number).params.flat, alone.params.flat)
