"""Rules side by side, in turns, over several batches, with running means: beside loops written out in NumPy and JAX."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import graphc as gc
from graphc.emit.reference import evaluate
from graphc.errors import DomainError, TypeMismatchError, UnknownNameError
from graphc.optim import reference_step
from tests.covering.plain import Plain, in_python
from tests.interpreted import interpreted

pytestmark = pytest.mark.usefixtures("double_precision")
rng = np.random.default_rng(0)
X, T = rng.normal(size=(24, 3)), rng.normal(size=(24, 1))
SHAPES = {"W0": (3, 5), "B0": (5,), "V": (5, 1), "E": (1,)}
BEGIN = {name: rng.normal(size=shape) for name, shape in SHAPES.items()}
PLAIN = {"batch_size": 8, "shuffle": False}


def model() -> gc.Model:
    x, t = gc.input("X", ("n", 3)), gc.input("T", ("n", 1))
    w, b, v, e = (gc.param(name, shape, BEGIN[name]) for name, shape in SHAPES.items())
    y = gc.tanh(x @ w + b) @ v + e
    return gc.Model(output=y, loss=gc.losses.mse(y, t), dtype="float64")


def loss(p: dict, x: np.ndarray, t: np.ndarray) -> jnp.ndarray:
    return jnp.mean((jnp.tanh(x @ p["W0"] + p["B0"]) @ p["V"] + p["E"] - t) ** 2)


def gradients(p: dict, step: int) -> dict[str, np.ndarray]:
    """JAX's, of the batch of a step."""
    rows = slice(8 * (step % 3), 8 * (step % 3) + 8)
    return {n: np.asarray(g) for n, g in jax.grad(loss)(p, X[rows], T[rows]).items()}


def assert_equal(found: gc.Model, wanted: dict) -> None:
    for name, value in wanted.items():
        np.testing.assert_allclose(found.params[name], value, rtol=1e-11, atol=1e-13, err_msg=name)


def adam(p: np.ndarray, g: np.ndarray, s: list, k: int, eta: float, decay: float) -> np.ndarray:
    s[0], s[1] = 0.9 * s[0] + 0.1 * g, 0.999 * s[1] + 0.001 * g**2
    return p - eta * (s[0] / (1 - 0.9**k) / (np.sqrt(s[1] / (1 - 0.999**k)) + 1e-8) + decay * p)


GROUPS = {
    "W*": gc.AdamW(0.05, decay=0.1),
    ("B0", "V"): gc.Momentum(0.05, clip_norm=0.2).averaged(0.5),
    "*": None,
}


def by_hand(steps: int) -> tuple[dict, dict]:
    """Parameters and means after so many steps of the groups; clip_norm is that of its own parameters."""
    p, s, v = dict(BEGIN), [0.0, 0.0], {"B0": 0.0, "V": 0.0}
    mean: dict = {}
    for k in range(1, steps + 1):
        g = gradients(p, k - 1)
        size = np.sqrt(sum(np.sum(g[n] ** 2) for n in v))
        p["W0"] = adam(p["W0"], g["W0"], s, k, 0.05, 0.1)
        for n in v:
            v[n] = 0.9 * v[n] + g[n] * min(1.0, 0.2 / (size + 1e-6))
            p[n] = p[n] - 0.05 * v[n]
            mean[n] = 0.5 * mean.get(n, p[n]) + 0.5 * p[n]
    return p, mean


@pytest.mark.parametrize("how", [lambda: in_python(Plain()), interpreted], ids=["text", "interpreter"])
@pytest.mark.parametrize("threads", [1, 3])
def test_each_parameter_follows_its_own_rule(how, threads):
    """Mutation-checked: the norm over all parameters, a stretch that begins one line late, E trained, one step number
    a part, the slots of the second rule those of the first."""
    with how():
        found = model()
        found.fit(X, T, optimizer=GROUPS, epochs=2, threads=threads, verify=False, **PLAIN)
    wanted, mean = by_hand(6)
    assert_equal(found, wanted)
    np.testing.assert_array_equal(found.params["E"], BEGIN["E"])
    assert_equal(gc.averaged(found), wanted | mean)


def test_the_gradient_of_a_parameter_that_stays_is_not_computed():
    text = model().source(GROUPS)
    assert "∂J/∂V" in text and "∂J/∂E" not in text and "# update of B0, V: Momentum" in text


def test_a_program_of_groups_is_checked_part_by_part():
    """Against its own text with another sign in the second part."""
    wrong = lambda text: text.replace("theta = theta + q_c0*v_v", "theta = theta - q_c0*v_v")
    with in_python(Plain(wrong)), pytest.raises(gc.errors.CompilerError, match="of the rule Momentum, for B0"):
        model().fit(X, T, optimizer=GROUPS, steps=2, **PLAIN)
    with in_python(Plain()):
        model().fit(X, T, optimizer=GROUPS, steps=2, **PLAIN)


def test_groups_are_resumed_from_a_file(tmp_path):
    with interpreted():
        whole, first = model(), model()
        whole.fit(X, T, optimizer=GROUPS, epochs=4, **PLAIN)
        first.fit(X, T, optimizer=GROUPS, epochs=2, **PLAIN)
        first.save(tmp_path / "model.safetensors")
        rest = gc.Model.load(tmp_path / "model.safetensors")
        np.testing.assert_array_equal(gc.averaged(rest).params["V"], gc.averaged(first).params["V"])
        rest.fit(X, T, optimizer=GROUPS, epochs=2, **PLAIN)
    np.testing.assert_array_equal(whole.params.flat, rest.params.flat)
    np.testing.assert_array_equal(gc.averaged(whole).params.flat, gc.averaged(rest).params.flat)


RULES = [gc.SGD(0.1), gc.Adam(0.1), gc.LAMB(0.1), gc.Rprop(0.1), gc.Muon(0.1)]


@pytest.mark.parametrize("rule", RULES, ids=lambda r: r.name)
@pytest.mark.parametrize("every", [1, 3, 4])
def test_gradients_of_several_batches_are_one_of_their_mean(rule, every):
    """Mutation-checked: a sum for the mean, a round that begins one step late, k for the number of the turn."""
    theta = rng.normal(size=(3, 4))
    batches = rng.normal(size=(12, 3, 4))
    found, state = theta, None
    for k, g in enumerate(batches, 1):
        before = found
        found, state = reference_step(rule.accumulated(every), found, g, state, k)
        assert k % every == 0 or np.array_equal(found, before)
    wanted, state = theta, None
    for k, part in enumerate(batches.reshape(-1, every, 3, 4), 1):
        wanted, state = reference_step(rule, wanted, part.mean(axis=0), state, k)
    np.testing.assert_allclose(found, wanted, rtol=1e-13, atol=1e-15)


@pytest.mark.parametrize("rule", RULES, ids=lambda r: r.name)
@pytest.mark.parametrize(("which", "of"), [((1,), 2), ((2,), 2), ((1, 2, 3, 4, 5), 6), ((3, 1), 3), ((1,), 1)])
def test_a_rule_that_takes_turns_counts_its_own_updates(rule, which, of):
    theta, gradients_ = rng.normal(size=(3, 4)), rng.normal(size=(13, 3, 4))
    found, state, wanted, own, count = theta, None, theta, None, 0
    for k, g in enumerate(gradients_, 1):
        found, state = reference_step(rule.in_turn(*which, of=of), found, g, state, k)
        if (k - 1) % of + 1 in which:
            count += 1
            wanted, own = reference_step(rule, wanted, g, own, count)
        np.testing.assert_allclose(found, wanted, rtol=1e-13, atol=1e-15)


@pytest.mark.parametrize("of", [2, 3, 7, 10, 16])
def test_rounding_takes_no_turn_away(of):
    """The turn of a step number is a floor of a quotient, at whole numbers; here in the precision of the program."""
    counting = gc.rule("counting", "theta <- theta + k")
    for which in range(1, of + 1):
        steps = np.arange(1, 40 * of)
        found, _ = reference_step(counting.in_turn(which, of=of), np.zeros(steps.size, "float32"), np.zeros(1), k=steps)
        np.testing.assert_array_equal(found, np.where((steps - which) % of == 0, (steps - which) // of + 1, 0))


@pytest.mark.parametrize("make", [lambda r: r.averaged(0.9).accumulated(3), lambda r: r.accumulated(3).averaged(0.9)])
def test_a_mean_is_taken_of_updates_alone_in_either_order(make):
    theta, state, mean, k = np.ones(2), None, np.ones(2), 0
    for step, g in enumerate(rng.normal(size=(10, 2)), 1):
        theta, state = reference_step(make(gc.SGD(0.1)), theta, g, state, step)
        if step % 3 == 0:
            k += 1
            mean = theta if k == 1 else 0.9 * mean + 0.1 * theta
        np.testing.assert_allclose(state["average"], mean, rtol=1e-14)


def test_turns_of_two_rules_in_one_program():
    """W0 and B0 move in steps 1, 3, 5, the others in 2, 4, 6, on gradients that see the update before."""
    turns = {"[WB]*": gc.SGD(0.3).in_turn(1, of=2), "*": gc.SGD(0.2).in_turn(2, of=2)}
    with in_python(Plain()):
        found = model()
        found.fit(X, T, optimizer=turns, epochs=2, **PLAIN)
    p = dict(BEGIN)
    for step in range(6):
        g = gradients(p, step)
        p |= {n: p[n] - (0.2 if step % 2 else 0.3) * g[n] for n in (("V", "E") if step % 2 else ("W0", "B0"))}
    assert_equal(found, p)


def test_a_gradient_is_stopped_as_far_as_some_parameters_go():
    """Beside JAX's stop_gradient of those parameters. Mutation-checked: all parameters held, and none."""
    x = gc.input("X", ("n", 3))
    w, v = gc.param("W0", (3, 5)), gc.param("V", (5, 1))
    value = gc.mean(gc.exp(gc.tanh(x @ w) @ v))
    loss_ = gc.mean((gc.tanh(x @ w) @ v) ** 2)
    both = gc.stop_gradient(value, wrt=w) + 3 * gc.stop_gradient(loss_, wrt=[v])
    feed = {x.node: X, w.node: BEGIN["W0"], v.node: BEGIN["V"]}
    found = evaluate([gc.grad(both, p).node for p in (w, v)], feed)

    def held(w: np.ndarray, v: np.ndarray) -> jnp.ndarray:
        stop = jax.lax.stop_gradient
        f = lambda w, v: jnp.tanh(X @ w) @ v
        return jnp.mean(jnp.exp(f(stop(w), v))) + 3 * jnp.mean(f(w, stop(v)) ** 2)

    for a, b in zip(found, jax.grad(held, argnums=(0, 1))(BEGIN["W0"], BEGIN["V"]), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-11)
    with pytest.raises(TypeMismatchError, match="is no parameter or input"):
        gc.stop_gradient(value, wrt=x @ w)
    with pytest.raises(TypeMismatchError, match=r"stop_gradient: 3\.0 is no Tensor"):
        gc.stop_gradient(3.0, wrt=w)


@pytest.mark.parametrize(
    ("optimizer", "error", "text"),
    [
        ({"W0": "adam"}, UnknownNameError, "no part is for the parameter B0"),
        ({"Q*": "adam", "*": None}, UnknownNameError, r"no parameter is named 'Q\*'"),
        ({"*": None}, TypeMismatchError, "nothing is trained"),
        ({"*": gc.LBFGS()}, TypeMismatchError, "is no update rule, and trains all parameters"),
        ({3: "adam"}, TypeMismatchError, "3 names no parameter"),
        ({"*": gc.SGD([0.1, 1.0])}, TypeMismatchError, "eta of SGD is an array"),
    ],
)
def test_groups_that_fit_no_model_are_refused_before_anything_is_compiled(optimizer, error, text):
    with pytest.raises(error, match=text):
        model().fit(X, T, optimizer=optimizer)


def test_what_takes_one_rule_says_so():
    with pytest.raises((DomainError, TypeMismatchError), match="rules for groups of parameters are for model.fit"):
        gc.compare(model(), X, T, [GROUPS])


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: gc.SGD(0.1).accumulated(0), "accumulated: every is 0"),
        (lambda: gc.SGD(0.1, clip_norm=1.0).accumulated(2), "SGD needs norm(g), which is that of one batch"),
        (lambda: gc.SGD(0.1).accumulated(2).with_(clip_norm=1.0), "SGD needs norm(g), which is that of one batch"),
        (lambda: gc.SGD(0.1).accumulated(2).in_turn(1, of=2), "in_turn: the rule SGD has 'turn' already"),
        (lambda: gc.SGD(0.1).in_turn(3, of=2), "the turns 3 of=2"),
        (lambda: gc.SGD(0.1).in_turn(of=2), "the turns none of=2"),
        (lambda: gc.SGD(0.1).in_turn(1, of=17), "of, which is at most 16"),
        (lambda: gc.SGD(0.1).averaged(1.0), "share is 1, not in"),
        (lambda: gc.ASGD().averaged(), "the rule ASGD has 'average' already"),
        (lambda: gc.averaged(model()), "no fit of model has kept a mean"),
    ],
)
def test_rules_that_cannot_be_made_of_others_say_why(make, text):
    with pytest.raises(DomainError) as error:
        make()
    assert text in str(error.value)
