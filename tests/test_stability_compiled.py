"""Formulas as on paper, compiled: accurate values, first and second derivatives where naive code overflows.

The oracle is SymPy's derivative of the same formula, evaluated by mpmath with enough digits for exp(-2e4) beside 1.
"""

from __future__ import annotations

from types import SimpleNamespace

import mpmath as mp
import numpy as np
import pytest
import sympy as sp

import graphc as gc
from tests.test_stable import Z, assert_close, exact_values, grid

THEIRS = SimpleNamespace(exp=sp.exp, log=sp.log, cosh=sp.cosh)
OURS = SimpleNamespace(exp=gc.exp, log=gc.log, cosh=gc.function("cosh_", "cosh(z)"))
DTYPES = {"float32": np.float32, "float64": np.float64}
LIMIT = {"float32": 80, "float64": 700}
ORDERS = ("value", "first derivative", "second derivative")


def sigmoid(o, z):
    return 1 / (1 + o.exp(-z))


def cross_entropy(t):
    """-(t log y + (1 - t) log(1 - y)) of y = 1/(1 + exp(-z))."""

    def loss(o, z):
        y = sigmoid(o, z)
        return -(t * o.log(y) + (1 - t) * o.log(1 - y))

    return loss


def softmax_cross_entropy(o, z):
    """Of the logits z, 1 and -z/2 for the first class, as exp over the sum of exp."""
    total = o.exp(z) + o.exp(1 + 0 * z) + o.exp(-z / 2)
    return -o.log(o.exp(z) / total)


PAPER = {
    "sigmoid": (sigmoid, "line"),
    "softplus": (lambda o, z: o.log(1 + o.exp(z)), "line"),
    "log(cosh)": (lambda o, z: o.log(o.cosh(z)), "line"),
    "x*log(x)": (lambda o, z: z * o.log(z), "positive"),
    "tanh": (lambda o, z: (o.exp(z) - o.exp(-z)) / (o.exp(z) + o.exp(-z)), "line"),
    "logsumexp": (lambda o, z: o.log(o.exp(z) + o.exp(z / 3)), "line"),
    "cross-entropy, t = 0": (cross_entropy(0), "line"),
    "cross-entropy, t = 1": (cross_entropy(1), "line"),
    "cross-entropy, t = 1/4": (cross_entropy(0.25), "line"),
}


def exact(name: str, order: int, z: np.ndarray) -> list[mp.mpf]:
    return exact_values(PAPER[name][0](THEIRS, Z).diff(Z, order), z)


@pytest.fixture(scope="module", params=list(DTYPES))
def compiled(request):
    """One program a precision: all formulas with two derivatives; the cross-entropies of logits in a matrix."""
    z, t, M, T = gc.input("z", ("n",)), gc.input("t", ("n",)), gc.input("M", ("m", 3)), gc.input("T", ("m", 3))
    loss = gc.losses.bce(gc.sigmoid(z), t, reduce="sum")
    outputs = [loss, gc.grad(loss, z)]
    for formula, _ in PAPER.values():
        y = formula(OURS, z)
        first = gc.grad(gc.sum(y), z)
        outputs += [y, first, gc.grad(gc.sum(first), z)]
    E = gc.exp(M)
    p = E / gc.sum(E, axis=1, keepdims=True)
    rows = -gc.sum(T * gc.log(p), axis=1)
    partition = gc.log(gc.sum(gc.exp(M), axis=1))
    outputs += [p, rows, partition]
    outputs += [gc.grad(gc.sum(rows), M), gc.grad(gc.sum(partition), M), gc.hvp(gc.sum(partition), M, T)]
    f = gc.compile(outputs, [z, t, M, T], dtype=request.param, subnormals=True)
    return SimpleNamespace(call=f, dtype=request.param, number=DTYPES[request.param])


LOGITS = [[0, 0, 0], [1e4, -1e4, 3], [-1e4, -1e4, -1e4], [1e4, 1e4, 9999], [88, 89, 90], [-800, 1e-30, 5e-324]]
TARGETS = [[1, 0, 0], [0, 1, 0], [0, 0, 1], [0.5, 0.25, 0.25], [0, 0, 1], [1, 0, 0]]


def run(compiled, z, t=None):
    """All outputs after the loss of z with the labels t and its gradient, unless t is given."""
    m, targets = np.array(LOGITS, compiled.number), np.array(TARGETS, compiled.number)
    found = compiled.call(z, np.zeros_like(z) if t is None else t, m, targets)
    return found[2:] if t is None else found[:2], m, targets


@pytest.mark.parametrize("name", list(PAPER))
def test_a_formula_as_on_paper_is_accurate_from_subnormals_to_ten_thousand(compiled, name):
    """|error| <= 8 eps max(|exact|, 1), and finite wherever the exact value is."""
    z = grid(compiled.number, PAPER[name][1])
    at = 3 * list(PAPER).index(name)
    for order, found in enumerate(run(compiled, z)[0][at : at + 3]):
        assert found.dtype == compiled.number
        assert_close(found, exact(name, order, z), compiled.number, (name, ORDERS[order], compiled.dtype))


@pytest.mark.parametrize("t", [0, 1])
def test_both_tails_of_cross_entropy_are_accurate_relative_to_their_size(compiled, t):
    z = grid(compiled.number, "line")
    z = z[np.abs(z) < LIMIT[compiled.dtype]]
    name = f"cross-entropy, t = {t}"
    at = 3 * list(PAPER).index(name)
    eps = np.finfo(compiled.number).eps
    for order, found in enumerate(run(compiled, z)[0][at : at + 3]):
        for value, wanted in zip(found, exact(name, order, z)):
            assert abs(value - wanted) <= 8 * eps * abs(wanted), (name, ORDERS[order], value, wanted)


def softmax_on_paper(z, t):
    """p, -sum t log p, log sum exp z, their gradients p*sum(t) - t and p, and the Hessian of the latter times t."""
    z, t = [mp.mpf(float(v)) for v in z], [mp.mpf(float(v)) for v in t]
    total = sum(mp.exp(v - max(z)) for v in z)
    p, log_sum = [mp.exp(v - max(z)) / total for v in z], max(z) + mp.log(total)
    slope = [q * sum(t) - s for q, s in zip(p, t)]
    curvature = [q * (s - mp.fdot(p, t)) for q, s in zip(p, t)]
    return p, [log_sum * sum(t) - mp.fdot(t, z)], [log_sum], slope, p, curvature


SOFTMAX = ("softmax", "cross-entropy", "logsumexp", "its gradient", "gradient of logsumexp", "Hessian of logsumexp")


def test_softmax_and_its_cross_entropy_by_exponentials_are_accurate_for_any_logits(compiled):
    """exp(z)/sum(exp(z)), -sum(t*log(p)) and log(sum(exp(z))) written so."""
    outputs, m, t = run(compiled, np.zeros(1, compiled.number))
    for row, (z, target) in enumerate(zip(m, t)):
        with mp.workdps(60):
            for name, found, wanted in zip(SOFTMAX, outputs[-6:], softmax_on_paper(z, target)):
                assert_close(np.atleast_1d(found[row]), wanted, compiled.number, (name, z))


def test_the_cross_entropy_of_a_confident_mistake_is_20_with_gradient_1(compiled):
    """At z = 20, t = 0; PyTorch's BCELoss of sigmoid gives 100 and 0 in float32."""
    wanted = {"float32": (20.0, 1.0), "float64": (20 + np.log1p(np.exp(-20)), 1 / (1 + np.exp(-20)))}
    loss, slope = wanted[compiled.dtype]
    near = lambda x: pytest.approx(x, rel=0 if compiled.dtype == "float32" else 4e-16, abs=0)
    for z, t, value, gradient in ((20, 0, loss, slope), (-20, 1, loss, -slope), (1e4, 0, 1e4, 1.0)):
        found = run(compiled, np.array([z], compiled.number), np.array([t], compiled.number))[0]
        assert [v.item() for v in found] == [near(value), near(gradient)]


def test_a_training_step_at_saturated_logits_moves_by_the_exact_gradient():
    """The whole training program: logits of 1e4 with the wrong label, sigmoid and cross-entropy as on paper.

    Hidden neurons of -1, 0 and 1 give the four rows the logits 1e4, -1e4, 20 and 0.
    """
    X, T = gc.input("X", ("n", 2)), gc.input("T", ("n", 1))
    W0, B0 = gc.param("W0", (2, 4), 1e3 * np.eye(2, 4)), gc.param("B0", (4,), 0.0)
    W1, B1 = gc.param("W1", (4, 1), [[1e4], [20.0], [0.0], [0.0]]), gc.param("B1", (1,), 0.0)
    Y = 1 / (1 + gc.exp(-(gc.tanh(X @ W0 + B0) @ W1 + B1)))
    model = gc.Model(output=Y, loss=gc.mean(-(T * gc.log(Y) + (1 - T) * gc.log(1 - Y))), dtype="float32")
    x, t = np.array([[1, 0], [-1, 0], [0, 1], [0, 0]]), np.array([[0], [1], [0], [1]])
    history = model.fit(x, t, optimizer=gc.SGD(2.0), steps=1, batch_size=4).history
    assert history["loss"][0] == pytest.approx((1e4 + 1e4 + 20 + np.log(2)) / 4, rel=1e-6)
    slopes = (1 + 1) / 4, 1 / 4, (1 - 1 + 1 - 1 / 2) / 4
    found = model.params["W1"][0, 0], model.params["W1"][1, 0], model.params["B1"][0]
    np.testing.assert_allclose(found, np.array([1e4, 20.0, 0.0]) - 2.0 * np.array(slopes), rtol=1e-6)
