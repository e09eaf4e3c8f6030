"""Infinities in constants: masks of softmax, logsumexp and max give the values and gradients of JAX, with 0 at masked
places and NaN nowhere."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import graphc as gc
from graphc.emit.reference import evaluate
from graphc.errors import DomainError
from graphc.facade.agreement import near
from tests.nets import text_of

INF = np.inf
MASK = np.array([[0, 0, -INF, 0], [-INF, 0, 0, -INF], [0, 0, 0, 0]])
KEPT = np.isfinite(MASK)
P, T = gc.param("P", (3, 4), gc.normal(1.0)), gc.param("T", (3, 4), gc.normal(1.0))
p, t = np.random.default_rng(0).standard_normal((2, 3, 4))


def losses(o, kept, softmax, logsumexp, P, T) -> dict:
    """The same losses by graphc and by JAX."""
    found = {}
    for name, z in {"array": P + MASK, "where": o.where(kept, P, -INF)}.items():
        found |= {
            f"softmax, {name}": o.sum(softmax(z, axis=1) * T),
            f"logsumexp, {name}": o.sum(logsumexp(z, axis=1) ** 2),
            f"max, {name}": o.sum(o.max(z, axis=1) ** 2),
            f"exp, {name}": o.sum(o.exp(z) * T),
            f"tanh, {name}": o.sum(o.tanh(z) * T),
            f"cross-entropy, {name}": o.mean(logsumexp(z, axis=1) - P[:, 1]),
        }
    high = o.where(kept, P, INF)
    return found | {"min": o.sum(o.min(high, axis=1) ** 2), "minimum": o.sum(o.minimum(high, T))}


OURS = losses(gc, KEPT * 1.0, gc.softmax, gc.logsumexp, P, T)
OUTPUTS = [y for loss in OURS.values() for y in (loss, *gc.grad(loss, [P, T]))]
GONE = np.array([[1.0, 1, 1, 0], [0, 0, 0, 0], [1, 0, 0, 0]])
EMPTY = [
    gc.softmax(P, where=GONE), gc.softmax(P + np.where(GONE, 0, -INF)), gc.softmax(gc.where(GONE, P, -INF)),
    gc.softmax(P, where=gc.stop_gradient(T > -0.7) * GONE), gc.exp(gc.log_softmax(P, where=GONE)),
    gc.attention(P, T, T, mask=GONE[:, :3]),
]  # fmt: skip
SLOPES = [gc.grad(gc.sum(y**2), P) for y in EMPTY]


def theirs(p, t) -> dict:
    return losses(jnp, KEPT, jax.nn.softmax, jax.nn.logsumexp, p, t)


@pytest.mark.parametrize("how", ["compiled", "interpreted"])
def test_values_and_gradients_behind_a_mask_are_those_of_jax(how):
    outputs = [*OUTPUTS, *EMPTY, *SLOPES]
    interpreted = lambda *arrays: evaluate([y.node for y in outputs], dict(zip((P.node, T.node), arrays)))
    found = (gc.compile(outputs, [P, T]) if how == "compiled" else interpreted)(p, t)
    for y in found[len(OUTPUTS) :]:  # a row of which nothing is left is 0, to the gradient
        assert np.isfinite(y).all() and not y[1].any()
    assert all(y.any() for y in found[len(OUTPUTS) : len(OUTPUTS) + len(EMPTY)])
    with jax.enable_x64(True):
        for place, name in enumerate(OURS):
            value, gradients = jax.value_and_grad(lambda p, t, n=name: theirs(p, t)[n], argnums=(0, 1))(p, t)
            for ours, exact in zip(found[3 * place : 3 * place + 3], (value, *gradients), strict=True):
                np.testing.assert_allclose(ours, exact, rtol=1e-12, atol=1e-14, err_msg=name)
            if "cross" not in name and "min" not in name:
                assert not found[3 * place + 1][~KEPT].any()


def test_an_infinity_prints_as_one_and_is_saved_with_a_model(tmp_path):
    loss = gc.sum(gc.softmax(gc.where(KEPT * 1.0, P, -INF), axis=1) * T)
    derivation = gc.derive(loss, P)
    assert "P[i,j], −∞)" in str(derivation) and r"P_{i,j}, -\infty\right)" in derivation.latex()
    model = gc.Model(loss=loss, dtype="float64")
    model.save(tmp_path / "masked.safetensors")
    assert str(gc.Model.load(tmp_path / "masked.safetensors").derive("P")) == str(model.derive("P"))
    i, j = gc.indices("i j")
    causal = gc.define("C", [i, j], gc.where(i <= j, P[i, j], -INF))
    assert "−∞" in repr(causal.equation)
    found = evaluate([causal.node], {P.node: p})[0]
    np.testing.assert_array_equal(np.isfinite(found), np.triu(np.ones((3, 4))) > 0)
    shown = gc.derive(gc.sum(gc.exp(P + MASK)), P).numbers({"P": p})
    assert "nan" not in shown


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: P + np.nan, "operator +: nan is no real number\n  hint: constants in formulas are real numbers."),
        (lambda: gc.where(P > 0, P, np.nan), "where: nan is no real number\n"
         "  hint: constants in formulas are real numbers."),
        (lambda: P * np.full((3, 4), np.nan), "operator *: the array has NaN in it\n"
         "  hint: constants are numbers, ∞ or −∞."),
        (lambda: P * np.array("one"), "operator *: 'one' is no real number\n"
         "  hint: constants in formulas are real numbers."),
        (lambda: gc.param("q", (), INF), "the initial value of q is inf\n  hint: give a finite number."),
    ],
)  # fmt: skip
def test_nan_is_refused_in_constants_and_infinity_where_a_value_starts(make, text):
    with pytest.raises(DomainError) as caught:
        make()
    assert text_of(caught) == text


def test_an_infinity_is_near_itself_and_nothing_else():
    exact = np.array([1.0, -INF, INF])
    assert near(np.array([1.0, -INF, INF]), exact, 1e-9)
    for wrong in ([1.0, 0.0, INF], [1.0, INF, INF], [1.0, np.nan, INF], [1.1, -INF, INF], [-INF, -INF, INF]):
        assert not near(np.array(wrong), exact, 1e-9)
