"""Each exponential of a softmax once, also along free lengths and in the steps of scans; numbers are those of JAX.

Programs run in plain Python, where what was never written is NaN.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import graphc as gc
from tests.covering.plain import Plain, in_python
from tests.graphs import assert_near, in_jax
from tests.test_row_passes import exponentials, source

RNG = np.random.default_rng(3)
ROWS, LENGTH, WIDTH, STEPS = 3, 5, 2, 3
MASKS = {"alone": {}, "causal": {"causal": True}, "padded": {"mask": True}, "both": {"causal": True, "mask": True}}
a, v = RNG.normal(size=(2, ROWS, LENGTH, WIDTH))
x, h, b = RNG.normal(size=(ROWS, STEPS, WIDTH)), *RNG.normal(size=(2, ROWS, WIDTH))
seen = np.array([[1, 1, 1, 0, 0], [1, 1, 1, 1, 1], [0, 0, 0, 0, 0.0]])  # of the last row nothing is left


def attended(a: gc.Tensor, m: gc.Tensor, causal: bool = False, mask: bool = False) -> gc.Tensor:
    return gc.attention(a, a, gc.sin(a), m[:, None, :] if mask else None, causal)


def in_steps(x: Any, h: Any, a: Any, m: Any) -> Any:
    """A state that looks up what is near it, in every step."""

    def step(h: gc.Tensor, x: gc.Tensor) -> tuple[gc.Tensor, gc.Tensor]:
        p = gc.softmax(gc.sum(a * (h + x)[:, None, :], axis=2), where=m)
        return gc.tanh(gc.sum(p[:, :, None] * a, axis=1) + h), p

    return gc.scan(step, h, x)


def derivatives(y: gc.Tensor, of: gc.Tensor, along: gc.Tensor) -> list[gc.Tensor]:
    """A value, the gradient of the sum of its squares, and the product of their second derivatives with a vector."""
    slope = gc.grad(gc.sum(y**2), of)
    return [y, slope, gc.grad(gc.sum(slope * along), of)]


def jax_attended(a: Any, causal: bool = False, mask: bool = False) -> Any:
    kept = jnp.ones((ROWS, 1, LENGTH)) if not mask else jnp.asarray(seen)[:, None, :]
    kept = kept * (jnp.tri(LENGTH) if causal else jnp.ones((LENGTH, LENGTH))) > 0
    scores = jnp.einsum("nqd,nkd->nqk", a, a) / np.sqrt(WIDTH)
    return jnp.einsum("nqk,nkd->nqd", jax_softmax(scores, kept), jnp.sin(a))


def jax_softmax(z: Any, kept: Any) -> Any:
    """0 where nothing is left, without NaN in derivatives."""
    any_left = kept.any(-1, keepdims=True)
    return jnp.where(any_left, jax.nn.softmax(z, where=kept | ~any_left), 0)


def jax_in_steps(h: Any) -> Any:
    def step(h: Any, x: Any) -> Any:
        p = jax_softmax(jnp.einsum("nkd,nd->nk", a, h + x), seen > 0)
        return jnp.tanh(jnp.einsum("nk,nkd->nd", p, a) + h), p

    last, shares = jax.lax.scan(step, h, jnp.swapaxes(x, 0, 1))
    return jnp.concatenate([last, jnp.swapaxes(shares, 0, 1).reshape(ROWS, -1)], 1)


def jax_derivatives(f: Any, at: Any, along: Any) -> list[Any]:
    slope = jax.grad(lambda z: jnp.sum(f(z) ** 2))
    return [f(at), slope(at), jax.grad(lambda z: jnp.sum(slope(z) * along))(at)]


@pytest.mark.parametrize("how", MASKS)
def test_attention_along_a_free_length_takes_every_exponential_once(how: str):
    """Planted faults, seen to fail: exponentials with literal extents alone, as it was; sums 1e-9 off."""
    A, M, V = gc.input("A", ("n", "t", WIDTH)), gc.input("M", ("n", "t")), gc.input("V", ("n", "t", WIDTH))
    found = derivatives(attended(A, M, **MASKS[how]), A, V)
    inputs = [A, M, V] if MASKS[how].get("mask") else [A, V]
    assert exponentials(source(found[0], *inputs[:-1])) == exponentials(source(found[1], *inputs[:-1])) == 1
    with in_python(Plain()):
        ours = gc.compile(outputs=found, inputs=inputs, dtype="float64")(*([a, seen, v] if len(inputs) > 2 else [a, v]))
    exact = in_jax(lambda a, v: jax_derivatives(lambda a: jax_attended(a, **MASKS[how]), a, v))(a, v)
    for what, mine, theirs in zip(("value", "gradient", "second"), ours, exact, strict=True):
        assert_near(mine, theirs, 1e-12, what)
        assert np.isfinite(mine).all() and ("mask" not in MASKS[how] or not mine[2].any())


def test_exponentials_that_would_be_the_largest_array_are_computed_again():
    """Of two vectors of free length, as their scores are. Planted fault, seen to fail: stored whatever they read."""
    x, y, v = gc.input("x", ("n",)), gc.input("y", ("m",)), gc.input("v", ("m",))
    i, j, k = gc.indices("i j k")
    log = gc.logsumexp(x[i] * y[k], over=k)
    text = source(gc.define("s", [i], gc.sum(gc.exp(x[i] * y[j] - log) * v[j], over=j)), x, y, v)
    assert exponentials(text) == 2 and "_exp" not in text


def test_a_softmax_in_the_steps_of_a_scan_takes_every_exponential_once():
    """In the steps of its adjoint as well, which read the shares. Planted faults, seen to fail: none stored in steps;
    adjoints that compute the exponentials of forward values again."""
    X, H, A = gc.input("X", ("n", STEPS, WIDTH)), gc.input("H", ("n", WIDTH)), gc.input("A", ("n", LENGTH, WIDTH))
    M, B = gc.input("M", ("n", LENGTH)), gc.input("B", ("n", WIDTH))
    last, shares = in_steps(X, H, A, M)
    y = gc.concatenate([last, shares.reshape((-1, STEPS * LENGTH))], axis=1)
    found, inputs = derivatives(y, H, B), [X, H, A, M, B]
    assert exponentials(source(last, *inputs[:-1])) == exponentials(source(found[1], *inputs[:-1])) == 1
    with in_python(Plain()):
        ours = gc.compile(outputs=found, inputs=inputs, dtype="float64")(x, h, a, seen, b)
    exact = in_jax(lambda h, b: jax_derivatives(jax_in_steps, h, b))(h, b)
    for what, mine, theirs in zip(("value", "gradient", "second"), ours, exact, strict=True):
        assert_near(mine, theirs, 1e-12, what)
        assert np.isfinite(mine).all()
