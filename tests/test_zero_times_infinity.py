"""Derivatives where the function is fine and a factor of the chain rule is not: 0 wins over infinity.

Every case gives NaN by the chain rule alone.  The right values are limits, or the subgradient 0 of a norm at 0.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import mpmath as mp
import numpy as np
import pytest

import graphc as gc
from graphc.cuda import selection
from graphc.derive.gradient import gradient
from graphc.derive.ranges import range_of
from graphc.emit.reference import evaluate
from tests.cuda_races import Watched

Z3, INF = np.zeros(3), np.inf


@dataclass(frozen=True)
class Case:
    """A scalar of parameters, where it is looked at, and its gradients there."""

    name: str
    build: Callable[..., gc.Tensor]
    at: dict[str, Any]
    gradients: list[Any]


def norm(x: gc.Tensor, **how: Any) -> gc.Tensor:
    return gc.sqrt(gc.sum(x**2, **how))


def pairwise(X: gc.Tensor) -> gc.Tensor:
    return gc.sum(norm(X[:, None, :] - X[None, :, :], axis=2))


def cosine(x: gc.Tensor, y: gc.Tensor) -> gc.Tensor:
    return gc.sum(x * y) / gc.maximum(norm(x) * norm(y), 1e-8)


ROWS = np.array([[0.0, 0.0], [3.0, 4.0]])
CASES = [
    Case("a norm", norm, {"x": Z3}, [Z3]),
    Case("of products", lambda x: gc.sqrt(gc.sum(x * x)), {"x": Z3}, [Z3]),
    Case("of two components", lambda x: gc.sqrt(x[0] * x[0] + x[1] * x[1]), {"x": np.zeros(2)}, [np.zeros(2)]),
    Case("not taken", lambda x: gc.maximum(gc.sqrt(x[0] ** 2 + x[1] ** 2), 1e-10), {"x": np.zeros(2)}, [np.zeros(2)]),
    Case("a distance", lambda x, y: norm(x - y), {"x": Z3 + 1, "y": Z3 + 1}, [Z3, Z3]),
    Case("of rows", lambda X: gc.sum(norm(X, axis=1)), {"X": ROWS}, [[[0, 0], [0.6, 0.8]]]),
    Case("all pairs", pairwise, {"X": ROWS}, [[[-1.2, -1.6], [1.2, 1.6]]]),
    Case("of a layer", lambda W: norm(W @ np.ones((3, 2))), {"W": np.zeros((4, 3))}, [np.zeros((4, 3))]),
    Case("a standard deviation", lambda x: gc.sqrt(gc.mean((x - gc.mean(x)) ** 2)), {"x": Z3 + 2}, [Z3]),
    Case("cosine similarity", cosine, {"x": Z3, "y": Z3 + 1}, [(Z3 + 1) * 1e8, Z3]),
    Case("a third root", lambda x: gc.sum(x**2) ** (1 / 3), {"x": Z3}, [Z3]),
    Case("an own power", lambda x, p: gc.sum(x**2) ** p, {"x": Z3, "p": 0.25}, [Z3, 0.0]),
    Case("a power of 0", lambda x, p: x**p, {"x": 0.0, "p": 2.0}, [0.0, 0.0]),
    Case("a root times 0", lambda x, y: gc.sqrt(x) * y, {"x": 0.0, "y": 0.0}, [0.0, 0.0]),
    Case("a root of a product", lambda x, y: gc.sqrt(x * y), {"x": 0.0, "y": 0.0}, [0.0, 0.0]),
    Case("a root of relu", lambda x: gc.sqrt(gc.relu(x)), {"x": -1.0}, [0.0]),
    Case("a root of |x|", lambda x: gc.sqrt(gc.abs(x)), {"x": 0.0}, [0.0]),
    Case("tanh of exp", lambda x: gc.tanh(gc.exp(x)), {"x": 800.0}, [0.0]),
    Case("sigmoid of exp", lambda x: gc.sigmoid(gc.exp(x)), {"x": 800.0}, [0.0]),
    Case("sigmoid of log x²", lambda x: gc.sigmoid(gc.log(x**2)), {"x": 0.0}, [0.0]),
    Case("a logarithm of a product", lambda x, y: gc.tanh(gc.log(y * x**2)), {"x": 0.0, "y": 2.0}, [0.0, 0.0]),
    Case("a logarithm written with log1p", lambda x: gc.tanh(gc.log1p((x - 1) ** 2 - 1)), {"x": 1.0}, [0.0]),
    Case("and another saturation", lambda x: gc.erf(gc.log1p((x - 1) ** 2 - 1)), {"x": 1.0}, [0.0]),
    Case("a root not taken", lambda x: gc.maximum(gc.sqrt(x), 1e-3), {"x": 0.0}, [0.0]),
    Case("a logarithm not taken", lambda x: gc.maximum(gc.log(x), -100.0), {"x": 0.0}, [0.0]),
    Case("an inverse not taken", lambda x: gc.minimum(1 / x, 5.0), {"x": 0.0}, [0.0]),
    Case("exp(-1/x²)", lambda x: gc.exp(-1 / x**2), {"x": 0.0}, [0.0]),
    Case("only what overflows", lambda z: gc.sum(gc.exp(2 * z)), {"z": [0, 1, 710.0]}, [[2, 2 * np.exp(2), INF]]),
    Case("a sum beside", lambda z: 3 * gc.sum(gc.exp(z)) + z[0], {"z": [0, 1, 710.0]}, [[4, 3 * np.e, INF]]),
    Case("a stored root not taken", lambda x: gc.maximum(gc.sqrt(x).named("R"), 0.1), {"x": 0.0}, [0.0]),
    Case("a stored inverse not taken", lambda x: gc.minimum((1 / x).named("V"), 5.0), {"x": 0.0}, [0.0]),
    Case("a stored root times 0", lambda x, y: gc.sqrt(x).named("R") * y, {"x": 0.0, "y": 0.0}, [0.0, 0.0]),
    Case("honest infinity", gc.sqrt, {"x": 0.0}, [INF]),
    Case("honest infinity of x log x", lambda x: x * gc.log(x), {"x": 0.0}, [-INF]),
    Case("away from 0", lambda x, y: gc.sqrt(x) * y, {"x": 4.0, "y": 3.0}, [0.75, 2.0]),
]


def declared(case: Case) -> tuple[gc.Tensor, list[gc.Tensor]]:
    params = [gc.param(name, np.shape(value)) for name, value in case.at.items()]
    return case.build(*params), params


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_gradients_are_limits_or_the_subgradient_0(case: Case):
    J, params = declared(case)
    feed = {p.node: np.asarray(v, float) for p, v in zip(params, case.at.values(), strict=True)}
    found = evaluate([g.node for g in gc.grad(J, params)], feed)
    for value, expected in zip(found, case.gradients, strict=True):
        np.testing.assert_allclose(value, expected, rtol=1e-12)


FUSED = ("a root of a product",)  # the chain rule step by step has ∞ before it meets the 0


@pytest.mark.parametrize("case", [c for c in CASES if c.name not in FUSED], ids=lambda case: case.name)
def test_the_chain_rule_on_what_was_declared_says_the_same(case: Case):
    """What programs are checked against, without any rewriting."""
    J, params = declared(case)
    feed = {p.node: np.asarray(v, float) for p, v in zip(params, case.at.values(), strict=True)}
    for value, expected in zip(evaluate(gradient(J.node, [p.node for p in params]), feed), case.gradients, strict=True):
        np.testing.assert_allclose(value, expected, rtol=1e-12)


def test_second_derivatives_at_the_origin_are_finite():
    x = gc.param("x", (3,))
    [h] = evaluate([gc.hessian(norm(x), x).node], {x.node: Z3})
    assert np.isfinite(h).all()
    [h] = evaluate([gc.hessian(norm(x), x).node], {x.node: np.array([3.0, 0.0, 4.0])})
    np.testing.assert_allclose(h, (np.eye(3) - np.outer([0.6, 0, 0.8], [0.6, 0, 0.8])) / 5, atol=1e-15)


def test_programs_say_the_same():
    """All cases in one function."""
    built = [declared(case) for case in CASES]
    outputs = [g for J, params in built for g in gc.grad(J, params)]
    named = [p for _, params in built for p in params]
    inputs = [gc.input(f"i{t}", p.shape) for t, p in enumerate(named)]
    moved = gc.compile(outputs=[gc.grad(case.build(*own), list(own))[t]
                                for case, own in zip(CASES, _split(inputs), strict=True)
                                for t in range(len(own))], inputs=inputs, dtype="float64")  # fmt: skip
    found = moved(*[np.asarray(v, float) for case in CASES for v in case.at.values()])
    assert len(found) == len(outputs)
    for value, expected in zip(found, [g for case in CASES for g in case.gradients], strict=True):
        np.testing.assert_allclose(value, expected, rtol=1e-12)


def _split(inputs: list[gc.Tensor]) -> list[list[gc.Tensor]]:
    rest = iter(inputs)
    return [[next(rest) for _ in case.at] for case in CASES]


def test_a_network_whose_rows_have_norm_0_trains_on_both_targets():
    X, T = gc.input("X", ("n", 3)), gc.input("T", ("n",))
    model = gc.Model(loss=gc.mean((norm(X @ gc.param("W", (3, 2), gc.normal(0.5)), axis=1) - T) ** 2), dtype="float64")
    x, t = np.array([[0.0, 0, 0], [1, 2, 3], [0, 1, 0]]), np.array([1.0, 2, 3])
    ended = []
    for target in ("cpu", "cuda"):
        with selection.use(Watched(threads=4), "A"):
            model.initialize(1).fit(x, t, optimizer=gc.SGD(0.1), steps=3, batch_size=3, shuffle=False, target=target)
        ended.append(model.params.flat.copy())
    assert np.isfinite(ended[0]).all()
    np.testing.assert_allclose(ended[0], ended[1], rtol=1e-12)


def test_the_formulas_stay_those_of_the_book():
    X, W = gc.input("X", ("n", 3)), gc.param("W", (3, 2))
    page = str(gc.Model(loss=gc.mean(norm(X @ W, axis=1).named("N"))).derive())
    assert "δ0[i,j] = ∂J/∂Z0[i,j] = Z0[i,j] / (n·N[i])" in page and "where" not in page
    Z = gc.param("Z", (4, 3))
    page = str(gc.Model(loss=gc.sum(gc.softmax(Z, axis=1) ** 2)).derive())
    assert "J = Σ_{i,j} softmax(Z)[i,j]²" in page
    assert "∂J/∂Z[i,j] = 2·(softmax(Z)[i,j]² - (Σ_k softmax(Z)[i,k]²)·softmax(Z)[i,j])" in page
    z = gc.param("z", (5,))
    assert "∂J/∂z[i] = 2·exp(2·z[i])" in str(gc.Model(loss=gc.sum(gc.exp(2 * z))).derive())


def test_a_choice_that_the_user_wrote_stays_in_the_formulas():
    """Only those of the compiler's own are left out."""
    x, s = gc.param("x", (3,)), gc.param("s", (3,))
    page = str(gc.Model(loss=gc.sum(gc.where(s, x / s, 0.0))).derive())
    assert "J = Σ_i where(s[i], x[i]/s[i], 0)" in page and "∂J/∂x[i] = where(s[i], 1/s[i], 0)" in page
    page = str(gc.Model(loss=gc.sum(gc.where(x < 0, x, gc.log(gc.maximum(x, 1e-3))))).derive())
    assert "J = Σ_i where([x[i] < 0], x[i], log(max(x[i], 0.001)))" in page
    page = str(gc.Model(loss=gc.sum(gc.log(gc.softplus(x)))).derive())
    assert "J = Σ_i log(softplus(x[i]))" in page and "∂J/∂x[i] = σ(x[i]) / softplus(x[i])" in page


def test_where_a_node_lies_follows_from_its_formula():
    x = gc.param("x", (3,))
    for tensor, expected in (
        (x, (-INF, INF)), (x**2, (0, INF)), (gc.sum(x**2), (0, INF)), (gc.mean(x**2) + 0.5, (0.5, INF)),
        (gc.tanh(x), (-1, 1)), (gc.max(gc.sigmoid(x)), (0, 1)), (gc.sum(-gc.exp(x)), (-INF, 0)),
        (gc.prod(x), (-INF, INF)), (gc.sum(gc.sigmoid(x)), (0, INF)),
    ):  # fmt: skip
        assert range_of(tensor.node) == expected


def both(x: gc.Tensor) -> gc.Tensor:
    """Two factors that are 0 at 0, beside exponentials that may overflow."""
    s = x * gc.exp(x)
    return gc.tanh(s) * gc.sin(s)


SECOND = [
    ("two factors that are 0", both, 0.0, 2.0),
    ("one, and one that is 1", lambda x: gc.tanh(x * gc.exp(x)) * (1 + gc.sin(x * gc.exp(x))), 0.0, 4.0),
    ("a logarithm", lambda x: gc.tanh(gc.log(x)) * gc.log(x), 1.0, 2.0),
    ("an inverse", lambda x: (1 - 1 / x) * gc.tanh(gc.log(x)), 1.0, 2.0),
    ("a branch not taken", lambda x: gc.maximum(gc.sqrt(x), 1.0), 0.0, 0.0),
    ("a root of nothing", lambda x: gc.sqrt(gc.relu(x)), -1.0, 0.0),
    ("what has faded", lambda x: gc.tanh(gc.exp(x)), 800.0, 0.0),
    ("what has faded and is finite yet", lambda x: gc.tanh(gc.exp(x)), 700.0, 0.0),
]


@pytest.mark.parametrize(("name", "f", "at", "wanted"), SECOND, ids=[case[0] for case in SECOND])
def test_second_derivatives_where_a_factor_of_the_first_is_zero(name: str, f: Callable, at: float, wanted: float):
    """Values of SymPy's limits. Seen to fail (0 for 2) when what stands beside a 0 is flat there."""
    x = gc.param("x", (2,))
    twice = gc.grad(gc.sum(gc.grad(gc.sum(f(x)), x)), x)
    with np.errstate(all="ignore"):
        (found,) = evaluate([twice.node], {x.node: np.array([at, at])}, dtype=np.float64)
    np.testing.assert_allclose(found, wanted, rtol=1e-12, atol=1e-12)


def logistic(z: mp.mpf) -> mp.mpf:
    return 1 / (1 + mp.exp(-z))


OF_LOGARITHMS: list[tuple[str, Callable, Callable]] = [
    ("sigmoid", lambda x: gc.sigmoid(gc.log(x**2)), lambda x: logistic(mp.log(x**2))),
    ("its mirror", lambda x: gc.sigmoid(-gc.log(x**2)), lambda x: logistic(-mp.log(x**2))),
    ("tanh", lambda x: gc.tanh(gc.log(x**2) / 2), lambda x: mp.tanh(mp.log(x**2) / 2)),
    ("softplus", lambda x: gc.softplus(gc.log(x**2)), lambda x: mp.log1p(mp.exp(mp.log(x**2)))),
    ("beside a sum", lambda x: gc.sigmoid(gc.log(x**2) + x), lambda x: logistic(mp.log(x**2) + x)),
    ("of a product", lambda x: gc.sigmoid(gc.log(x**2 * gc.exp(x))), lambda x: logistic(mp.log(x**2 * mp.exp(x)))),
    ("log1p", lambda x: gc.sigmoid(gc.log1p(x**2 - 1)), lambda x: logistic(mp.log1p(x**2 - 1))),
]


@pytest.mark.parametrize(("name", "ours", "theirs"), OF_LOGARITHMS, ids=[case[0] for case in OF_LOGARITHMS])
def test_what_saturates_of_a_logarithm_has_the_derivatives_of_the_ratio_that_it_is(
    name: str, ours: Callable, theirs: Callable
):
    """sigmoid(log x²) is x²/(1 + x²), with curvature 2 at 0. Limits by mpmath from both sides; seen to fail (0 for 2)
    by the chain rule alone."""
    at = np.array([0.0, 1e-8, -0.5, 1.0, 50.0, -800.0])
    x = gc.param("x", at.shape)
    first = gc.grad(gc.sum(ours(x)), x)
    found = evaluate([n.node for n in (first, gc.grad(gc.sum(first), x))], {x.node: at})
    with mp.workprec(2000):
        near, h = mp.mpf(2) ** -300, mp.mpf(2) ** -450
        for order, values in enumerate(found, start=1):
            for p, value in zip(at, values, strict=True):
                for side in (-near, near):
                    wanted = float(mp.diff(theirs, mp.mpf(p) + side, order, h=h))
                    np.testing.assert_allclose(value, wanted, rtol=1e-10, atol=1e-50, err_msg=f"{order} at {p}")


def test_formulas_of_them_show_the_chain_rule():
    x = gc.param("x", (3,))
    page = str(gc.derive(gc.sum(gc.sigmoid(gc.log(x**2))), x))
    assert "∂J/∂x[i] = 2·σ(-log(x[i]²))·σ(log(x[i]²)) / x[i]" in page
