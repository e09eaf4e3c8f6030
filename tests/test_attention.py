"""Softmax behind masks, attention, normalisation, one-hot and embeddings: values and derivatives of JAX."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import graphc as gc
from graphc.emit.reference import evaluate_all
from graphc.errors import GraphcError
from tests import graphs
from tests.nets import text_of

INF = np.inf
X, Y = gc.input("X", ("n", 3, 4)), gc.input("Y", ("n", 3, 4))
x, y = np.random.default_rng(0).normal(size=(2, 2, 3, 4))
MASK = np.random.default_rng(3).random((2, 3, 4)) < 0.6
MASK[:, 0], MASK[..., 0] = True, True  # something is left along each axis
SQUARE, CAUSAL = MASK[0][:, :3], np.tri(3)
SEEN = np.array([[1, 1, 0], [1, 0, 1.0]])


def jax_attention(q: Any, k: Any, v: Any, mask: Any = True, scale: float = 0.5, bias: Any = 0.0) -> Any:
    """As ``jax.nn.dot_product_attention``, which takes its exponentials in float32."""
    weights = jax.nn.softmax(jnp.einsum("nqd,nkd->nqk", q, k) * scale + bias, where=mask)
    return jnp.einsum("nqk,nkv->nqv", weights, v)


def standardized(a: Any, axis: Any, epsilon: float = 1e-5) -> Any:
    return jax.nn.standardize(a, axis=axis, epsilon=epsilon)


def rms(a: Any, axis: Any) -> Any:
    return a / jnp.sqrt(jnp.mean(a**2, axis=axis, keepdims=True) + 1e-6)


def grouped(a: Any, groups: int, channels: int) -> Any:
    """Channels of axis 1 or of the last axis in groups, each normalised together with all places."""
    n, c = a.shape[0], a.shape[channels]
    b = jnp.moveaxis(a, channels, 1)
    shape = b.shape
    z = standardized(b.reshape(n, groups, c // groups, -1), (2, 3)).reshape(shape)
    return jnp.moveaxis(z, 1, channels)


def masked(a: Any, mask: Any, axis: Any) -> Any:
    return jax.nn.softmax(a, axis=axis, where=mask)


WORDS: dict[str, tuple[Callable[[Any, Any], Any], Callable[[Any, Any], Any]]] = {
    "softmax over two axes": (lambda a, b: gc.softmax(a, (1, 2)), lambda a, b: jax.nn.softmax(a, (1, 2))),
    **{f"softmax where, axis {axis}": (lambda a, b, t=axis: gc.softmax(a, t, where=MASK[0]) * b,
                                       lambda a, b, t=axis: masked(a, MASK[0], t) * b) for axis in (1, (1, 2))},
    "log_softmax where": (lambda a, b: gc.where(MASK[0], gc.log_softmax(a, 1, where=MASK[0]), 0),
                          lambda a, b: jnp.where(MASK[0], jnp.log(masked(a, MASK[0], 1)), 0)),
    "softmax of a mask of rows": (lambda a, b: gc.softmax(a, where=gc.stop_gradient(b > 0)) * b,
                                  lambda a, b: masked(a, b > 0, -1) * b),
    "logsumexp where": (lambda a, b: gc.logsumexp(a, 1, where=MASK[0]) ** 2,
                        lambda a, b: jax.nn.logsumexp(jnp.where(MASK[0], a, -jnp.inf), 1) ** 2),
    "attention": (lambda a, b: gc.attention(a, b, a * b), lambda a, b: jax_attention(a, b, a * b)),
    "attention, causal": (lambda a, b: gc.attention(a, b, b, causal=True),
                          lambda a, b: jax_attention(a, b, b, CAUSAL > 0)),
    "attention, causal and mask": (lambda a, b: gc.attention(a, b, b, SQUARE, True, 0.7),
                                   lambda a, b: jax_attention(a, b, b, SQUARE * CAUSAL > 0, 0.7)),
    "attention with a bias": (lambda a, b: gc.attention(a, b, b, causal=True, bias=b[:, :, :3]),
                              lambda a, b: jax_attention(a, b, b, CAUSAL > 0, bias=b[:, :, :3])),
    "layer_norm": (lambda a, b: gc.layer_norm(a) * b, lambda a, b: standardized(a, -1) * b),
    "layer_norm over two axes": (lambda a, b: gc.layer_norm(a, (-2, -1), b[0], b[1]),
                                 lambda a, b: standardized(a, (1, 2)) * b[0] + b[1]),
    "layer_norm of an axis within": (lambda a, b: gc.layer_norm(a, 1, b[0, :, 0], b[0, :, 1], eps=0.5),
                                     lambda a, b: standardized(a, 1, 0.5) * b[0, :, :1] + b[0, :, 1:2]),
    "rms_norm": (lambda a, b: gc.rms_norm(a, -1, b[0, 0]), lambda a, b: rms(a, -1) * b[0, 0]),
    "group_norm": (lambda a, b: gc.group_norm(a, 3, b[0, :, 0], b[0, :, 1]),
                   lambda a, b: grouped(a, 3, 1) * b[0, :, :1] + b[0, :, 1:2]),
    "group_norm, channels last": (lambda a, b: gc.group_norm(a, 2, b[0, 0], channels="last"),
                                  lambda a, b: grouped(a, 2, 2) * b[0, 0]),
    "group_norm of vectors": (lambda a, b: gc.group_norm(a[:, 0], 2) * b[:, 0],
                              lambda a, b: standardized(a[:, 0].reshape(2, 2, 2), 2).reshape(2, 4) * b[:, 0]),
}  # fmt: skip


FIRST = ("softmax over two axes", "layer_norm over two axes", "group_norm of vectors", "group_norm, channels last")


def derivatives(o: Any, grad: Any, name: str, f: Any, a: Any, b: Any) -> list[Any]:
    """The value, the gradients by a and b, and, but for a few, the gradient by a of (gradient by a)²."""
    loss = lambda a, b: o.sum(o.sin(f(a, b)) + f(a, b) ** 2 / 3)
    ga, gb = grad(loss, (0, 1))(a, b)
    second = grad(lambda a, b: o.sum(grad(loss, (0, 1))(a, b)[0] ** 2), (0,))(a, b)[0] if name not in FIRST else ga
    return [f(a, b), ga, gb, second]


def test_words_of_attention_and_normalisation_have_the_derivatives_of_jax():
    """Mutation-checked: a causal mask the other way round, a norm without eps, a mask that is left out of the sum."""

    def ours(f: Any, places: Any) -> Any:
        return lambda a, b: gc.grad(f(a, b), [(a, b)[t] for t in places])

    both = lambda a, b: [derivatives(jnp, jax.grad, name, f, a, b) for name, (_, f) in WORDS.items()]
    for (name, (f, _)), wanted in zip(WORDS.items(), graphs.in_jax(both)(x, y), strict=True):
        found = graphs.reference(derivatives(gc, ours, name, f, X, Y), {X: x, Y: y})
        levels = (("value", 1e-13), ("by a", 1e-12), ("by b", 1e-12), ("second", 1e-9))
        for (what, tolerance), a, b in zip(levels, found, wanted):
            assert np.shape(a) == np.shape(b), (name, what, np.shape(a), np.shape(b))
            graphs.assert_near(a, b, tolerance, (name, what))


def test_a_row_of_which_nothing_is_left_is_0_and_its_gradient_too():
    """To the second derivative, whether a mask, a constant or data leave nothing; compiled: tests/test_infinities.py.

    Mutation-checked: rows that are not looked for give NaN.
    """
    M = gc.input("M", ("n", 3))
    gone = np.array([[1, 1, 1, 0], [0, 0, 0, 0], [1, 0, 0, 0.0]])
    infinite = np.where(gone > 0, 0.0, -INF)
    outputs: list[Any] = []
    for p in (gc.softmax(X, where=gone), gc.softmax(X + infinite), gc.softmax(gc.where(gone, X, -INF)),
              gc.softmax(X, where=gc.stack([M, M, M, M], axis=2)), gc.exp(gc.log_softmax(X, where=gone))):  # fmt: skip
        slope = gc.grad(gc.sum(p**2 * Y), X)
        outputs += [p, slope, gc.grad(gc.sum(slope**2), X)]
    top = gc.logsumexp(X, -1, where=gone)
    outputs += [top, gc.grad(gc.sum(gc.where(top > -INF, top, 0)), X)]
    out = gc.attention(X, Y, Y, mask=M[:, None, :])
    outputs += [out, *gc.grad(gc.sum(out**2), [X, Y])]
    seen = SEEN * np.array([[1], [0]])
    found = graphs.reference(outputs, {X: x, Y: y, M: seen})
    for t, value in enumerate(found[:15]):
        assert np.isfinite(value).all()
        assert not (value[:, 1] if t // 3 != 3 else value[1]).any()
    np.testing.assert_allclose(found[0].sum(-1), [[1, 0, 1]] * 2, rtol=1e-14)
    assert np.isneginf(found[15][:, 1]).all() and np.isfinite(found[15][:, [0, 2]]).all()
    assert np.isfinite(found[16]).all() and not found[16][:, 1].any() and found[16][:, 0, :3].all()
    assert all(np.isfinite(g).all() and not g[1].any() for g in found[17:])


def test_rows_that_keep_an_element_are_known_where_constants_say_so():
    """Causal and constant masks, in index notation too, need no look at the data. Mutation-checked: all looked at."""
    i, j = gc.indices("i j")
    P = gc.param("P", (3, 4))
    S = gc.define("S", [i, j], gc.where(j <= i, P[i, j], -INF))
    for tensor in (gc.softmax(S), gc.softmax(P, where=MASK[0]), gc.softmax(P + np.where(MASK[0], 0, -INF), 0),
                   gc.attention(X, X, X, causal=True)):  # fmt: skip
        assert "max" not in str(tensor).replace("softmax", "") and "softmax" in str(tensor)
    hidden = np.where(np.arange(4) < 2, -INF, 0.0)
    for tensor in (gc.softmax(P * 2 + hidden, 0), gc.softmax(gc.where(P > 0, P, -INF)),
                   gc.softmax(-gc.where(P > 0, INF, P)), gc.softmax(gc.where(P > 0, P, -INF).T)):  # fmt: skip
        assert "max" in str(tensor).replace("softmax", "")


def test_labels_as_vectors_and_the_sinusoids_of_places():
    T, t = gc.input("T", ("n", 3), dtype="int64"), np.array([[0, 4, 2], [2, 2, 1]])
    E, e = gc.param("E", (5, 4)), np.random.default_rng(1).normal(size=(5, 4))
    loss = gc.sum(gc.sin(gc.embedding(T, E)) * Y)
    code = gc.positional_encoding(6, 5, 100)
    U = gc.input("U", ("m", 5))
    outputs = [gc.one_hot(T, 5), gc.one_hot([1, 0], 3), gc.grad(loss, E), code, U + gc.positional_encoding("m", 5, 100)]
    found = graphs.reference(outputs, {T: t, E: e, Y: y, U: np.zeros((6, 5))})
    np.testing.assert_array_equal(found[0], jax.nn.one_hot(t, 5))
    np.testing.assert_array_equal(found[1], np.eye(3)[[1, 0]])
    wanted = graphs.in_jax(jax.grad(lambda e: jnp.sum(jnp.sin(e[t]) * y)))(e)
    graphs.assert_near(found[2], wanted, 1e-12, "embedding")
    angle = np.arange(6)[:, None] / 100 ** (np.array([0, 0, 2, 2, 4]) / 5)
    np.testing.assert_allclose(found[3], np.where(np.arange(5) % 2, np.cos(angle), np.sin(angle)), atol=1e-15)
    np.testing.assert_array_equal(found[3], found[4])


def test_attention_layer_norm_and_embeddings_print_as_on_paper():
    Q = gc.param("Q", (4, 4))
    text = str(gc.derive(gc.mean(gc.attention(X @ Q, X, X, causal=True) ** 2)))
    assert "H1[i,j,k] = where([j ≥ k], Z1[i,j,k]/2, −∞)" in text and "softmax(H1)[i,j,k]" in text
    assert "∂J/∂Q[l,k] = Σ_{i,j} X[i,j,l]·δ0[i,j,k]" in text
    text = str(gc.derive(gc.mean(gc.layer_norm(X @ Q) ** 3)))
    assert "H0[i,j,k] = Z0[i,j,k] - 1/4 Σ_l Z0[i,j,l]" in text and "√(1/4 Σ_l H0[i,j,l]² + 10⁻⁵)" in text
    T, E = gc.input("T", ("n",), dtype="int64"), gc.param("E", (5, 4))
    assert "∂J/∂E[i,j] = 1/(2n) Σ_{k: T[k]=i} E[T[k],j]" in str(gc.derive(gc.mean(gc.embedding(T, E) ** 2)))
    assert gc.one_hot(T, 5).equation is (gc.one_hot(T, 5) * 1).equation and "[T[i]=j]" in str(gc.one_hot(T, 5) * 1)


STACKED = {  # printed for every matrix of a stack, as NumPy computes them
    "Z1 Z2ᵀ": lambda v: v["Z1"] @ v["Z2"].mT,
    "H3 Z0": lambda v: v["H3"] @ v["Z0"],
    "softmax(1/2 Z3)": lambda v: np.exp(v["Z3"] / 2) / np.exp(v["Z3"] / 2).sum(-1, keepdims=True),
    "1/2 (G0 ⊙ H3 - ((G0 ⊙ H3) 1 1ᵀ) ⊙ H3)":
        lambda v: (v["G0"] * v["H3"] - (v["G0"] * v["H3"]).sum(-1, keepdims=True) * v["H3"]) / 2,
    "δ3ᵀ Z1": lambda v: v["δ3"].mT @ v["Z1"],
    "H3ᵀ δ4": lambda v: v["H3"].mT @ v["δ4"],
    "1/(12n) ‖Z4‖²": lambda v: (v["Z4"] ** 2).sum() / (12 * len(v["Z4"])),
}  # fmt: skip


def test_attention_reads_as_products_of_matrices_which_have_its_numbers():
    """Mutation-checked: a transposition that is left out, a softmax that is written out though it has a name."""
    W = {name: gc.param(f"W{name}", (4, 4), 0.0) for name in "qkv"}
    page = gc.derive(gc.mean(gc.attention(*(X @ w for w in W.values())) ** 2))
    feed = {X.node: x, **{w.node: np.random.default_rng(t).normal(size=(4, 4)) for t, w in enumerate(W.values())}}
    found = evaluate_all([line.node for line in page.lines], feed)
    shown = {line.matrix: line for line in page.lines if line.matrix}
    values = {line.left.partition("[")[0]: found[line.node] for line in page.lines}
    for text, formula in STACKED.items():
        np.testing.assert_allclose(found[shown[text].node], formula(values), rtol=1e-12, err_msg=text)
    assert "logsumexp" not in str(page) and "= δ3ᵀ Z1 " in str(page)
    assert r"Z_{3} &= Z_{1} {Z_{2}}^{\top} \\" in page.latex("matrix")


A, T = gc.input("A", ("n", 6)), gc.input("T", ("n",), dtype="int64")


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: gc.attention(A[:, 0], A, A),
         "attention: the query the (n,) tensor of test_attention.py:LINE has 1 axes\n"
         "  hint: give the last two axes to places and their vectors: (n, places, width)."),
        (lambda: gc.attention(X, A, A), "attention: the queries are X[n, 3, 4] and the keys A[n, 6]\n"
         "  hint: their last axes have one known extent."),
        (lambda: gc.attention(X, X, Y[:, :2]), "attention: the keys are X[n, 3, 4] and the values the (n, 2, 4) tensor "
         "of test_attention.py:LINE\n  hint: there is one value for each key: the last axes but one have one extent."),
        (lambda: gc.attention(X, X, X, mask=A), "attention: the mask is A[n, 6] for scores of shape (n, 3, 3)\n"
         "  hint: it broadcasts with (.., queries, keys): mask[:, None, :] for a mask (n, keys)."),
        (lambda: gc.layer_norm(A, -1, gc.param("g", (3,))), "layer_norm: the scale is g[3] for axes of shape (6,)\n"
         "  hint: give it the shape (6,)."),
        (lambda: gc.layer_norm(A, 2), "gc.layer_norm: axis 2 does not exist in A[n, 6]\n  hint: its axes are 0 to 1."),
        (lambda: gc.rms_norm(A, eps=-1), "rms_norm: eps is -1\n  hint: give a number of at least 0, such as 1e-5."),
        (lambda: gc.group_norm(A, 4), "group_norm: the 6 channels of axis 1 of A[n, 6] are not 4 groups\n"
         "  hint: the number of groups divides that of the channels."),
        (lambda: gc.one_hot(A, 3), "one_hot: A[n, 6] is no integer data\n"
         '  hint: declare it with gc.input(..., dtype="int64").'),
        (lambda: gc.one_hot([0, 3], 3), "one_hot: the labels run from 0 to 3 but there are 3\n"
         "  hint: number them from 0 to 2."),
        (lambda: gc.one_hot([0.5], 3), "one_hot: the labels [0.5] are no whole numbers\n  hint: number them from 0."),
        (lambda: gc.one_hot(T, 0), "one_hot: there are 0 classes\n  hint: give a whole number of at least 1."),
        (lambda: gc.embedding(T, gc.param("e", ())), "embedding: the table e has no rows\n"
         "  hint: give it the shape (labels, width)."),
        (lambda: gc.positional_encoding(4, 4, 0), "positional_encoding: the base is 0\n"
         "  hint: give a positive number."),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused_by_its_name(make: Any, text: str):
    with pytest.raises(GraphcError) as caught:
        make()
    assert re.sub(r"py:\d+", "py:LINE", text_of(caught)) == text
