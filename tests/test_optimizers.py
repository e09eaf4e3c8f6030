"""Every known optimizer beside torch.optim or optax: a hundred steps in float64, by the reference, by the text of the
CPU's program, by that of the GPU's, and in a sweep.

Where they arrive stands in goldens/optimizers.json, with the script that wrote it.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import graphc as gc
from graphc.cuda import selection
from graphc.errors import DomainError, FormulaError
from graphc.optim import OPTIMIZERS, reference_step
from tests import nets
from tests.covering.plain import Plain, in_python
from tests.cuda_races import Watched

GOLDEN = json.loads((Path(__file__).parent / "goldens" / "optimizers.json").read_text())
GRADIENTS = {name: np.array(g) for name, g in GOLDEN["gradients"].items()}
RULES = {
    "SGD": gc.SGD(0.05),
    "SGD decay": gc.SGD(0.05, decay=0.1),
    "Momentum": gc.Momentum(0.01, 0.8, decay=0.1),
    "Momentum dampening": gc.Momentum(0.01, 0.8, dampening=0.3),
    "Nesterov": gc.Nesterov(0.01, 0.8, decay=0.1),
    "Adagrad": gc.Adagrad(0.1, decay=0.1),
    "RMSProp": gc.RMSProp(0.01, 0.95, decay=0.1),
    "RMSProp mu": gc.RMSProp(0.01, 0.95, mu=0.7),
    "RMSProp centred": gc.RMSProp(0.01, 0.95, centred=True),
    "RMSProp centred mu": gc.RMSProp(0.01, 0.95, mu=0.7, centred=True),
    "Adam": gc.Adam(0.01, decay=0.1),
    "AdamW": gc.AdamW(0.01, decay=0.1),
    "AMSGrad": gc.AMSGrad(0.01),
    "Adadelta": gc.Adadelta(0.7, 0.8, decay=0.1),
    "Adamax": gc.Adamax(0.01, decay=0.1),
    "NAdam": gc.NAdam(0.01, decay=0.1),
    "RAdam": gc.RAdam(0.01, decay=0.1),
    "Rprop": gc.Rprop(0.02, low=1e-3, high=0.05),
    "ASGD": gc.ASGD(0.05, 0.01, t0=20, decay=0.1),
    "Lion": gc.Lion(0.01, decay=0.1),
    "AdaBelief": gc.AdaBelief(0.01),
    "Yogi": gc.Yogi(0.01),
    "LAMB": gc.LAMB(0.01, decay=0.1),
    "Adafactor": gc.Adafactor(0.2, decay=0.1),
}


def start(shape: tuple[int, ...]) -> np.ndarray:
    return np.linspace(-1, 1, int(np.prod(shape))).reshape(shape)


def assert_golden(name: str, found: dict[str, np.ndarray], steps: int) -> None:
    wanted = GOLDEN["theta"][name][GOLDEN["steps"].index(steps)]
    for parameter, value in found.items():
        np.testing.assert_allclose(value, wanted[parameter], rtol=1e-12, atol=1e-14, err_msg=f"{name}: {parameter}")


def network() -> gc.Model:
    """A model whose gradients are its data: J = sum W*A + sum b*B, a row a step."""
    shapes = {name: g.shape[1:] for name, g in GRADIENTS.items()}
    W, b = (gc.param(name, shape, start(shape)) for name, shape in shapes.items())
    A, B = gc.input("A", ("n", *shapes["W"])), gc.input("B", ("n", *shapes["b"]))
    return gc.Model(loss=gc.mean(gc.sum(A * W, axis=(1, 2)) + gc.sum(B * b, axis=1)), dtype="float64")


DATA = {"A": GRADIENTS["W"], "B": GRADIENTS["b"]}
OPTIONS = {"batch_size": 1, "shuffle": False, "verify": False}


def test_every_known_optimizer_has_a_golden():
    assert {name.partition(" ")[0].lower() for name in RULES} == set(OPTIMIZERS) - {"muon"}  # below
    assert RULES.keys() == GOLDEN["theta"].keys()


@pytest.mark.parametrize("name", RULES)
def test_a_hundred_steps_are_those_of_torch_or_optax(name: str):
    """Mutation-checked in seven rules: a sign, a threshold, a step number, a maximum, what stays of the gradient."""
    for parameter, gradients in GRADIENTS.items():
        theta, state = start(gradients.shape[1:]), None
        for k, g in enumerate(gradients, 1):
            theta, state = reference_step(RULES[name], theta, g, state, k)
            if k in GOLDEN["steps"]:
                mean = {f"mean of {parameter}": state["average"]} if name == "ASGD" else {}
                assert_golden(name, {parameter: theta, **mean}, k)


@pytest.mark.parametrize("name", RULES)
def test_the_cpu_s_program_and_a_sweep_arrive_there(name: str):
    rule = RULES[name]
    with in_python(Plain()):
        alone, swept = network(), network()
        alone.fit(DATA, optimizer=rule, epochs=1, **OPTIONS)
        sweep = swept.sweep(DATA, optimizer=rule(eta=[3 * rule.hyper["eta"], rule.hyper["eta"]]), epochs=1, **OPTIONS)
    assert_golden(name, dict(alone.params), 100)
    assert_golden(name, dict(sweep.model(1).params), 100)


@pytest.mark.parametrize("name", RULES)
def test_the_gpu_s_kernel_arrives_there(name: str):
    with selection.use(Watched(threads=2, blocks=1, memory=1 << 36), "A"):
        model = network()
        model.fit(DATA, optimizer=RULES[name], epochs=1, target="cuda", **OPTIONS)
    assert_golden(name, dict(model.params), 100)


def test_machine_code_arrives_there():
    model = network()
    model.fit(DATA, optimizer=RULES["NAdam"], epochs=1, batch_size=1, shuffle=False)
    assert_golden("NAdam", dict(model.params), 100)


def newton_schulz(g: np.ndarray) -> np.ndarray:
    """zeropower_via_newtonschulz5 of the authors, in float64."""
    a, b, c = 3.4445, -4.7750, 2.0315
    x = g.T if g.shape[0] > g.shape[1] else g
    x = x / np.linalg.norm(x)
    for _ in range(5):
        gram = x @ x.T
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x.T if g.shape[0] > g.shape[1] else x


def by_hand(gradients: np.ndarray, eta: float, mu: float, decay: float) -> np.ndarray:
    shape, m = gradients.shape[1:], 0
    theta = start(shape)
    for g in gradients:
        m = mu * m + (1 - mu) * g
        step = newton_schulz(((1 - mu) * g + mu * m).reshape(shape[0], -1)).reshape(shape)
        theta = (1 - eta * decay) * theta - eta * step
    return theta


@pytest.mark.parametrize("where", ["reference", "one thread", "three threads", "sweep", "machine code", "A", "B", "C"])
def test_muon_goes_the_way_of_its_authors(where: str):
    """Seen to fail with the two sides of a tall matrix exchanged, and with A*X in the place of A; on GPUs with every
    barrier of a block left out."""
    rule, model, options = gc.Muon(0.1, 0.9, 0.01), network(), OPTIONS | {"epochs": 1}
    found: dict[str, np.ndarray] = {}
    if where == "reference":
        for name, gradients in GRADIENTS.items():
            theta, state = start(gradients.shape[1:]), None
            for k, g in enumerate(gradients, 1):
                theta, state = reference_step(rule, theta, g, state, k)
            found[name] = theta
    elif where == "machine code":
        model.fit(DATA, optimizer=rule, epochs=1, batch_size=1, shuffle=False)
    elif where in ("A", "B", "C"):
        machine = Watched(threads=4, blocks=1 if where == "A" else 2, memory=1 << 36)
        with selection.use(machine, where):
            model.fit(DATA, optimizer=rule, target="cuda", steps=12, batch_size=1, shuffle=False, verify=False)
        assert machine.found == []
        found = dict(model.params)
    else:
        with in_python(Plain(), "divided"):
            if where == "sweep":
                sweep = model.sweep(DATA, optimizer=rule(eta=[0.3, 0.1]), **options)
                found = dict(sweep.model(1).params)
            else:
                model.fit(DATA, optimizer=rule, threads=3 if where == "three threads" else 1, **options)
    for name, value in (found or dict(model.params)).items():
        wanted = by_hand(GRADIENTS[name][: 12 if where in ("A", "B", "C") else None], 0.1, 0.9, 0.01)
        np.testing.assert_allclose(value, wanted, rtol=1e-12, atol=1e-13, err_msg=name)


def test_orthogonal_takes_matrices_of_every_shape_and_zeros():
    rng = np.random.default_rng(0)
    for shape in ((3, 5), (5, 3), (2, 4, 3), (6,), ()):
        x = rng.normal(size=shape)
        found, _ = reference_step(gc.rule("r", "theta <- orthogonal(g)"), 0 * x, x)
        for own, given in zip(found.reshape(-1, *shape[-2:]), x.reshape(-1, *shape[-2:])) if len(shape) > 1 else ():
            np.testing.assert_allclose(own, newton_schulz(given), rtol=1e-12)
        assert found.shape == shape
    zero, _ = reference_step(gc.rule("r", "theta <- orthogonal(g)"), np.ones((2, 3)), np.zeros((2, 3)))
    np.testing.assert_array_equal(zero, 0)


@pytest.mark.parametrize("where", ["cpu", "A", "B", "C"])
@pytest.mark.parametrize("shape", [(2, 4, 3), (3, 2, 5)])
def test_programs_take_a_stack_of_matrices_one_by_one(where: str, shape: tuple[int, ...]):
    """Seen to fail when every matrix is the first."""
    x = np.random.default_rng(1).normal(size=shape)
    W, b = gc.param("W", x.shape, 0.0), gc.param("b", (3,), 0.0)
    model = gc.Model(loss=gc.sum(W * x) + gc.sum(b), dtype="float64")
    options = {"optimizer": gc.rule("r", "theta <- orthogonal(g)"), "steps": 1, "verify": False}
    if where == "cpu":
        with in_python(Plain()):
            model.fit({}, **options)
    else:
        machine = Watched(threads=3, blocks=1 if where == "A" else 2, memory=1 << 36)
        with selection.use(machine, where):
            model.fit({}, target="cuda", **options)
        assert machine.found == []
    for own, given in zip(model.params["W"], x, strict=True):
        np.testing.assert_allclose(own, newton_schulz(given), rtol=1e-12)


def test_numbers_of_a_step_are_computed_once_a_step_in_double_precision():
    """1 - b2**k has three digits in float32: rho of RAdam would be off by hundreds."""
    statements, constants = gc.RAdam().hoisted()
    assert [target for target, _ in statements] == ["m", "v", "mhat", "theta"]
    assert not any("k" in map(str, body.free_symbols) for _, body in statements)
    assert not any(str(s) in ("rho", "r", "last") for _, body in constants for s in body.free_symbols)


WHOLE = {
    "LAMB": RULES["LAMB"],
    "Adafactor": RULES["Adafactor"],
    "own": gc.rule("own", "u <- u + g\ntheta <- theta - eta*(g + mean(u))/(1 + sqrt(sum(g**2)))", eta=0.1,
                   clip_value=1.0, clip_norm=30.0, decay=0.1),
}  # fmt: skip


def by_reference(rule) -> dict[str, np.ndarray]:
    """Both parameters together, whose gradients have one norm."""
    theta, state = {name: start(g.shape[1:]) for name, g in GRADIENTS.items()}, dict.fromkeys(GRADIENTS)
    for k in range(12):
        norm = np.sqrt(sum(np.sum(g[k] ** 2) for g in GRADIENTS.values()))
        for name, g in GRADIENTS.items():
            theta[name], state[name] = reference_step(rule, theta[name], g[k], state[name], k + 1, norm)
    return theta


@pytest.mark.parametrize("name", WHOLE)
@pytest.mark.parametrize("where", ["one thread", "three threads", "A", "B", "C"])
def test_sums_over_parameters_are_those_of_the_reference_everywhere(name: str, where):
    """Mutation-checked: a missing meeting or barrier, a sum over the neighbour, the gradient before it is clipped."""
    model, steps = network(), {"optimizer": WHOLE[name], "steps": 12, **OPTIONS}
    if where in ("A", "B", "C"):
        machine = Watched(threads=4, blocks=1 if where == "A" else 2, memory=1 << 36)
        with selection.use(machine, where):
            model.fit(DATA, target="cuda", **steps)
        assert machine.found == []
    else:
        with in_python(Plain(), "divided"):
            model.fit(DATA, threads=3 if where == "three threads" else 1, **steps)
    for parameter, value in by_reference(WHOLE[name]).items():
        np.testing.assert_allclose(model.params[parameter], value, rtol=1e-12, err_msg=parameter)


def test_machine_code_of_sums_passes_its_own_check_in_single_precision():
    X, T = nets.data()
    model = nets.network("float32").initialize(1)
    run = model.fit(X, T, optimizer=gc.LAMB(0.03), epochs=40, batch_size=8)
    assert run.history["loss"][-1] < 0.5 * run.history["loss"][0]


def test_row_and_column_means_of_every_shape():
    for shape in ((), (5,), (3, 4), (2, 3, 4)):
        x = np.random.default_rng(0).normal(size=shape)
        deep = x.reshape(-1, 1) if len(shape) < 2 else x
        for word, axis in (("rowmean", -1), ("colmean", -2), ("mean", None)):
            found, _ = reference_step(gc.rule("r", f"theta <- {word}(g)"), 0 * x, x)
            np.testing.assert_allclose(found, (0 * deep + deep.mean(axis=axis, keepdims=True)).reshape(shape))


def test_theta_is_assigned_after_the_last_sum():
    with pytest.raises(FormulaError, match="assigns theta before it takes a sum or a mean"):
        gc.rule("r", "theta <- theta - g\nu <- sum(theta)\ntheta <- theta - u")
    with pytest.raises(FormulaError, match="'mean' cannot be assigned"):
        gc.rule("r", "mean <- g\ntheta <- theta - mean")
    with pytest.raises(FormulaError, match="sum takes 1 argument, not 2"):
        gc.rule("r", "theta <- theta - sum(g, 2)")


@pytest.mark.parametrize("make", OPTIMIZERS.values(), ids=OPTIMIZERS)
def test_an_optimizer_prints_as_lines_that_make_it_again(make):
    made = make()
    again = gc.rule(made.name, made.text, **made.hyper)
    lines = sum(not target.startswith("_") for target, _ in made.statements)
    assert again == made and lines <= 8
    assert str(made).count("<-") == made.latex().count("leftarrow") == lines and r"\theta &\leftarrow" in made.latex()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: gc.Rprop(down=0), "Rprop: down is 0, not above 0\n"),
        (lambda: gc.Rprop(low=-1), "Rprop: low is -1, not at least 0\n"),
        (lambda: gc.ASGD(lam=-1), "ASGD: lam is -1, not at least 0\n"),
        (lambda: gc.NAdam(psi=-1), "NAdam: psi is -1, not at least 0\n"),
        (lambda: gc.Momentum(dampening=2), "Momentum: dampening is 2, not in [0, 1]\n"),
        (lambda: gc.Yogi(eps=0), "Yogi: eps is 0, not above 0\n"),
    ],
)
def test_hyper_parameters_have_a_domain(make, message):
    with pytest.raises(DomainError) as caught:
        make()
    assert message in str(caught.value)
