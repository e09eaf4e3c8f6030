"""Update rules and schedules: parity with torch's formulas written by hand, values, prints and errors."""

import math

import numpy as np
import pytest

from graphc.errors import DomainError, FormulaError, TypeMismatchError, UnknownNameError
from graphc.optim import (
    SGD,
    Adagrad,
    Adam,
    AdamW,
    Momentum,
    Nesterov,
    RMSProp,
    constant,
    cosine,
    exponential,
    optimizer_named,
    reference_step,
    rule,
    schedule,
    step_decay,
    warmup,
)
from tests import nets

STEPS = 100
LION = """
    u     <- sign(b1*m + (1 - b1)*g)
    m     <- b2*m + (1 - b2)*g
    theta <- theta - eta*u
"""


def gradients(seed=0):
    rng = np.random.default_rng(seed)
    return rng.standard_normal((STEPS, 7)) * np.geomspace(1e-3, 10, 7)


def run(optimizer, dtype=np.float64):
    theta, state = np.linspace(-1, 1, 7).astype(dtype), None
    for k, g in enumerate(gradients().astype(dtype), 1):
        theta, state = reference_step(optimizer, theta, g, state, k)
    return theta


def by_hand(update, g_of=lambda g, p: g):
    p, state = np.linspace(-1, 1, 7), {}
    for t, g in enumerate(gradients(), 1):
        p = update(p, g_of(g, p), state, t)
    return p


def torch_sgd(lr, momentum=0.0, nesterov=False):
    def update(p, g, s, t):
        s["buf"] = momentum * s["buf"] + g if "buf" in s else g.copy()
        d = g + momentum * s["buf"] if nesterov else s["buf"] if momentum else g
        return p - lr * d

    return update


def torch_adagrad(lr, eps):
    def update(p, g, s, t):
        s["sum"] = s.get("sum", 0) + g * g
        return p - lr * g / (np.sqrt(s["sum"]) + eps)

    return update


def torch_rmsprop(lr, alpha, eps):
    def update(p, g, s, t):
        s["avg"] = alpha * s.get("avg", 0) + (1 - alpha) * g * g
        return p - lr * g / (np.sqrt(s["avg"]) + eps)

    return update


def torch_adam(lr, b1, b2, eps, decoupled=0.0):
    def update(p, g, s, t):
        p = p * (1 - lr * decoupled)
        s["m"] = b1 * s.get("m", 0) + (1 - b1) * g
        s["v"] = b2 * s.get("v", 0) + (1 - b2) * g * g
        denominator = np.sqrt(s["v"]) / math.sqrt(1 - b2**t) + eps
        return p - lr / (1 - b1**t) * s["m"] / denominator

    return update


@pytest.mark.parametrize(
    ("optimizer", "update"),
    [
        (SGD(0.05), torch_sgd(0.05)),
        (Momentum(0.01, mu=0.8), torch_sgd(0.01, 0.8)),
        (Nesterov(0.01, mu=0.8), torch_sgd(0.01, 0.8, nesterov=True)),
        (Adagrad(0.1), torch_adagrad(0.1, 1e-10)),
        (RMSProp(0.01, rho=0.95), torch_rmsprop(0.01, 0.95, 1e-8)),
        (Adam(0.01), torch_adam(0.01, 0.9, 0.999, 1e-8)),
        (AdamW(0.01, decay=0.1), torch_adam(0.01, 0.9, 0.999, 1e-8, decoupled=0.1)),
    ],
    ids=lambda x: getattr(x, "name", ""),
)
def test_a_hundred_steps_agree_with_torchs_formulas_written_by_hand(optimizer, update):
    """Mutation-checked: eps inside the root, or no bias correction, is caught."""
    np.testing.assert_allclose(run(optimizer), by_hand(update), rtol=1e-12, atol=1e-14)


def test_decay_is_added_to_the_gradient_like_torchs_weight_decay():
    expected = by_hand(torch_adam(0.01, 0.9, 0.999, 1e-8), lambda g, p: g + 0.1 * p)
    np.testing.assert_allclose(run(Adam(0.01, decay=0.1)), expected, rtol=1e-12)


def test_the_gradient_is_clipped_by_norm_then_by_value():
    def clipped(g, p):
        g = g * min(1.0, 2.0 / (np.linalg.norm(g) + 1e-6))
        return np.clip(g, -0.5, 0.5)

    found = run(SGD(0.1, clip_norm=2.0, clip_value=0.5))
    np.testing.assert_allclose(found, by_hand(torch_sgd(0.1), clipped), rtol=1e-13)
    assert SGD(clip_norm=1.0).needs_norm and not SGD(clip_value=1.0).needs_norm


def test_the_norm_may_stand_in_a_rule():
    normalised = rule("normalised", "theta <- theta - eta*g/norm(g)", eta=0.1)
    theta, _ = reference_step(normalised, np.zeros(2), np.array([3.0, 4.0]))
    np.testing.assert_allclose(theta, [-0.06, -0.08], rtol=1e-15)
    theta, _ = reference_step(normalised, np.zeros(2), np.array([3.0, 4.0]), norm=10.0)
    np.testing.assert_allclose(theta, [-0.03, -0.04], rtol=1e-15)


def test_gradient_descent_on_a_parabola_has_its_closed_form():
    theta, state = np.array([1.0]), None
    for k in range(1, 51):
        theta, state = reference_step(SGD(0.1), theta, theta, state, k)
    np.testing.assert_allclose(theta, 0.9**50, rtol=1e-13)


def test_single_precision_keeps_the_bias_correction_accurate():
    """1 - 0.999**1 in float32 has three digits; constants of a step are computed in float64."""
    first, _ = reference_step(Adam(0.1), np.zeros(1, np.float32), np.ones(1, np.float32))
    assert first.dtype == np.float32 and abs(first[0] + 0.1) < 1e-7
    np.testing.assert_allclose(run(Adam(0.01), np.float32), run(Adam(0.01)), rtol=2e-4, atol=1e-5)


def test_a_rule_from_text_is_an_optimizer_and_a_constructor():
    lion = rule("lion", LION, eta=1e-4, b1=0.9, b2=0.99)
    assert lion.states == ("m",) and lion.temporaries == ("u",)
    theta, state = reference_step(lion, np.zeros(2), np.array([2.0, -3.0]))
    np.testing.assert_allclose(theta, [-1e-4, 1e-4])
    np.testing.assert_allclose(state["m"], [0.02, -0.03])
    faster = lion(eta=1e-3)
    assert faster.hyper["eta"] == 1e-3 and lion.hyper["eta"] == 1e-4
    assert lion(1e-3) == faster == lion.with_(eta=1e-3) and faster != lion


def test_right_hand_sides_see_new_values():
    doubled = rule("doubled", "a <- 2*g\nb <- a + 1\ntheta <- b")
    assert reference_step(doubled, np.zeros(1), np.ones(1))[0] == 3.0
    assert doubled.states == () and doubled.temporaries == ("a", "b")


def test_rules_are_equal_and_hash_by_value():
    assert Adam() == Adam(1e-3) and hash(Adam()) == hash(Adam(0.001))
    assert SGD(np.array([0.1, 1.0])) == SGD(np.array([0.1, 1.0])) != SGD(np.array([0.1, 2.0]))
    assert SGD(cosine(0.1, 10)) == SGD(cosine(0.1, 10)) and len({SGD(0.1), SGD(0.1), SGD(0.2)}) == 2
    assert SGD(0.1, decay=0.0) == SGD(0.1)


def test_rules_are_immutable_and_keep_a_copy_of_a_sweep():
    etas = np.array([0.1, 1.0])
    optimizer = SGD(etas)
    etas[0] = 99
    assert optimizer.hyper["eta"][0] == 0.1
    with pytest.raises(ValueError, match="read-only"):
        optimizer.hyper["eta"][0] = 5
    with pytest.raises(TypeError):
        optimizer.hyper["eta"] = 5


def test_a_rule_prints_as_the_text_it_was_read_from():
    assert str(Adam()) == (
        "Adam(eta=0.001, b1=0.9, b2=0.999, eps=1e-08)\n"
        "    m     <- b1*m + (1 - b1)*g\n"
        "    v     <- b2*v + (1 - b2)*g**2\n"
        "    mhat  <- m/(1 - b1**k)\n"
        "    vhat  <- v/(1 - b2**k)\n"
        "    theta <- theta - eta*mhat/(sqrt(vhat) + eps)"
    )
    assert r"\theta &\leftarrow \theta - \frac{\eta \hat{m}}{\varepsilon + \sqrt{\hat{v}}}" in Adam().latex()
    assert repr(SGD(np.geomspace(0.1, 1, 5), clip_norm=1.0)) == "SGD(eta=[0.1, ..., 1], clip_norm=1)"


def test_no_known_optimizer_is_longer_than_five_lines():
    for make in (SGD, Momentum, Nesterov, Adagrad, RMSProp, Adam, AdamW):
        assert len(make().statements) <= 5


def test_what_depends_on_the_step_alone_is_hoisted():
    statements, constants = Adam().hoisted()
    assert {str(body) for _, body in constants} == {"1 - b1", "1 - b2", "1/(1 - b1**k)", "1/(1 - b2**k)", "-eta"}
    assert not any("k" in map(str, body.free_symbols) for _, body in statements)


@pytest.mark.parametrize(
    ("made", "k", "value"),
    [
        (constant(0.1), 7, 0.1),
        (step_decay(0.1, 0.5, 10), 10, 0.1),
        (step_decay(0.1, 0.5, 10), 11, 0.05),
        (step_decay(0.1, 0.5, 10), 21, 0.025),
        (exponential(0.1, 0.9), 3, 0.081),
        (cosine(0.1, 100), 1, 0.1),
        (cosine(0.1, 100, 0.02), 51, 0.06),
        (cosine(0.1, 100, 0.02), 5000, 0.02),
        (warmup(0.2, 4), 1, 0.05),
        (warmup(constant(0.2), 4), 40, 0.2),
        (warmup(cosine(0.1, 100), 10), 51, 0.05),
        (schedule("eta0/(1 + 0.01*k)", eta0=0.1), 100, 0.05),
    ],
)
def test_schedules_have_their_values(made, k, value):
    assert math.isclose(made.at(k), value, rel_tol=1e-14)


def test_a_schedule_drives_a_hyper_parameter():
    optimizer = SGD(exponential(0.1, 0.5))
    assert [optimizer.values_at(k)["eta"] for k in (1, 2, 3)] == [0.1, 0.05, 0.025]
    theta, _ = reference_step(optimizer, np.zeros(1), np.ones(1), None, 3)
    assert theta == -0.025


UNKNOWN = "Unknown name 'gg'.\n    v <- mu*v + gg\n                ^\nDid you mean 'g'?"
NO_THETA = "The rule 'r' never assigns theta.\n    v <- g\n          ^\nEnd with 'theta <- ...'."
ASSIGNED = (
    "'eta' is a hyper-parameter of 'r' and cannot be assigned.\n    eta <- g\n    ^\n"
    "Choose another name, or do not pass it as a keyword."
)
NORM_OF_THETA = "norm takes the gradient: norm(g).\n    theta <- norm(theta)\n             ^\nWrite norm(g)."
TOO_LONG = "The rule 'r' has 11 lines; 10 is the limit.\n    x <- g\n    ^\nJoin lines, or leave out temporaries."


@pytest.mark.parametrize(
    ("text", "hyper", "message"),
    [
        ("v <- mu*v + gg\ntheta <- theta - v", {"mu": 0.9}, UNKNOWN),
        ("v <- g", {}, NO_THETA),
        ("eta <- g\ntheta <- theta - eta*g", {"eta": 0.1}, ASSIGNED),
        ("\n".join(["x <- g"] * 11), {}, TOO_LONG),
        ("theta = g", {}, "This line of the rule 'r' assigns nothing.\n    theta = g\n    ^\nWrite 'name <- formula'."),
        ("g <- 2*g", {}, "'g' cannot be assigned.\n    g <- 2*g\n    ^\nAssign to theta, a state or a temporary."),
        ("theta <- g", {"mu": 1.0}, "The hyper-parameter 'mu' does not occur in the rule 'r'. Leave it out."),
        ("theta <- norm(theta)", {}, NORM_OF_THETA),
    ],
)
def test_a_wrong_rule_is_refused_with_its_line(text, hyper, message):
    with pytest.raises(FormulaError) as caught:
        rule("r", text, **hyper)
    assert nets.text_of(caught) == message


@pytest.mark.parametrize(
    ("make", "kind", "message"),
    [
        (lambda: Adam().with_(etta=1), FormulaError, "Adam has no hyper-parameter 'etta'. Did you mean 'eta'?"),
        (lambda: SGD("0.1"), TypeMismatchError, "'eta' of 'SGD' is str. Give a number, a schedule or, in a sweep"),
        (lambda: SGD(-0.1), DomainError, "SGD: eta is -0.1, not at least 0\n"),
        (lambda: SGD(0.1)(-0.1), DomainError, "hint: a step goes downhill; to make J large, make -J small"),
        (lambda: SGD([0.1, -0.2]), DomainError, "SGD: eta is -0.2, not at least 0\n"),
        (lambda: SGD(np.array([0.1, -0.2])), DomainError, "SGD: eta is -0.2, not at least 0\n"),
        (lambda: SGD(schedule("-a/k", a=1)), DomainError, "SGD: eta is -1 at step 1 of schedule(-a/k; a=1), not"),
        (lambda: Momentum(mu=1.1), DomainError, "Momentum: mu is 1.1, not in [0, 1]\n"),
        (lambda: Nesterov(mu=-0.1), DomainError, "Nesterov: mu is -0.1, not in [0, 1]\n"),
        (lambda: RMSProp(rho=1), DomainError, "RMSProp: rho is 1, not in [0, 1)\n"),
        (lambda: Adam(b1=1), DomainError, "Adam: b1 is 1, not in [0, 1)\n"),
        (lambda: Adam(b2=[0.9, 1.0]), DomainError, "Adam: b2 is 1, not in [0, 1)\n"),
        (lambda: Adagrad(eps=0), DomainError, "hint: it keeps a division finite, give 1e-8"),
        (lambda: AdamW(decay=-1), DomainError, "AdamW: decay is -1, not at least 0\n"),
        (lambda: SGD(decay=-1), DomainError, "'decay' is -1."),
        (lambda: SGD([[0.1]]), TypeMismatchError, "'eta' of 'SGD' is list. Give a number, a schedule or, in a sweep"),
        (lambda: constant(-1), DomainError, "'eta' of a schedule is -1, below 0\n"),
        (lambda: exponential(-1, 0.5), DomainError, "'eta' of a schedule is -1, below 0\n"),
        (lambda: step_decay(-1, 0.5, 3), DomainError, "'eta' of a schedule is -1, below 0\n"),
        (lambda: cosine(1, 10, -0.1), DomainError, "'eta_min' of a schedule is -0.1, below 0\n"),
        (lambda: warmup(-1, 10), DomainError, "'eta' of a schedule is -1, below 0\n"),
        (lambda: SGD(float("nan")), DomainError, "'eta' of 'SGD' is nan. Give a finite number."),
        (lambda: SGD(0.1, clip_norm=-1), DomainError, "'clip_norm' is -1. Give a positive number, or leave it out."),
        (lambda: optimizer_named("adm"), UnknownNameError, "Unknown optimizer 'adm'. Did you mean 'adam'?"),
        (lambda: optimizer_named(3), TypeMismatchError, "An optimizer is a rule or a name, not int."),
        (lambda: schedule("eta*k", eta=1, b=2), FormulaError, "The constant 'b' does not occur in the schedule"),
        (lambda: schedule("eta*kk", eta=1), FormulaError, "Unknown name 'kk'."),
        (lambda: constant(0.1).at(0), DomainError, "evaluated at step numbers 1, 2, ..., not at 0"),
        (lambda: schedule("1/(k - 3)").at(3), DomainError, "is inf at step 3"),
    ],
)
def test_wrong_values_are_refused_with_one_suggestion(make, kind, message):
    with pytest.raises(kind) as caught:
        make()
    assert message in str(caught.value)


def test_a_schedule_that_leaves_its_domain_within_a_run_is_refused_before_it_begins():
    model, falling = nets.parabola(), SGD(schedule("0.1*(1 - k/50)"))
    wrong = "SGD: eta is -0.024 at step 62 of schedule((1/10) - k/500; ), not at least 0"
    for train in (model.fit, model.sweep):
        with pytest.raises(DomainError) as caught:
            train({}, steps=100, optimizer=falling)
        assert nets.text_of(caught).startswith(wrong)
    falling.check_steps(1, 50)
    rule("up", "theta <- theta - eta*g", eta=schedule("-k*c", c=1)).check_steps(1, 50)  # your own may do anything


def test_a_list_of_numbers_is_an_array_to_sweep_over():
    assert SGD([0.1, 0.2]) == SGD((0.1, 0.2)) == SGD(np.array([0.1, 0.2])) != SGD(0.1)
    assert rule("r", "theta <- theta - a*g", a=[1, 2]).hyper["a"].tolist() == [1.0, 2.0]


def test_optimizers_are_found_by_name():
    assert optimizer_named("AdamW") == AdamW() and optimizer_named(SGD(0.3)) == SGD(0.3)
