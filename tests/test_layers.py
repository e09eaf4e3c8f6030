"""Layers of pictures and of words in networks: their parameters, and the losses and gradients of JAX."""

from __future__ import annotations

import re
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import graphc as gc
from graphc.errors import GraphcError
from tests import graphs
from tests.nets import text_of
from tests.printed import LAYERS, derivation_of_layers

nn = gc.nn


def drawn(net: nn.Network) -> dict[str, np.ndarray]:
    """Numbers for the parameters, none of which is 0 or 1 as some of them start."""
    rng = np.random.default_rng(1)
    return {str(p.name): rng.normal(size=p.shape) * 0.5 for p in net.params}


def assert_gradients(net: nn.Network, loss: gc.Tensor, data: dict[gc.Tensor, np.ndarray], theirs: Any) -> None:
    """The loss and the gradients of all parameters beside a function of JAX of the parameters by name."""
    values = drawn(net)
    feed = data | {p: values[str(p.name)] for p in net.params}
    value, *found = graphs.reference([loss, *gc.grad(loss, net.params)], feed)
    wanted, gradients = graphs.in_jax(jax.value_and_grad(theirs))(values)
    graphs.assert_near(value, wanted, 1e-13, "loss")
    for p, gradient in zip(net.params, found):
        graphs.assert_near(gradient, gradients[str(p.name)], 1e-12, p.name)


def convolved(x: Any, k: Any, b: Any, stride: int = 1, padding: str = "SAME", groups: int = 1) -> Any:
    layout = ("NCHW", "HWIO", "NCHW")
    y = jax.lax.conv_general_dilated(
        x, k, (stride, stride), padding, dimension_numbers=layout, feature_group_count=groups
    )
    return y + b[:, None, None]


def test_a_residual_network_of_pictures_has_the_gradients_of_jax():
    """Mutation-checked: a residual without its shortcut, a bias along another axis."""
    net = nn.sequential(
        (2, 6, 6), nn.Conv2D(4, 3, "tanh", padding="same"), nn.MaxPool2D(2),
        nn.Residual(nn.Conv2D(6, 3, stride=2, padding="same", groups=2), nn.GroupNorm(3), "tanh", nn.Conv2D(6, 1),
                    shortcut=nn.Conv2D(6, 1, stride=2)),
        nn.AvgPool2D(2, 1), nn.Flatten(), nn.LayerNorm(), nn.Reshape((6, 1, 1)), nn.Conv2DTranspose(2, 2, stride=2),
        nn.GlobalAvgPool2D(), nn.Dense(3),
    )  # fmt: skip
    assert [(p.name, p.shape) for p in net.params if str(p.name)[0] in "KW"] == [
        ("K0", (3, 3, 2, 4)), ("K1", (3, 3, 2, 6)), ("K2", (1, 1, 6, 6)), ("K3", (1, 1, 4, 6)), ("K4", (2, 2, 6, 2)),
        ("W5", (2, 3)),
    ]  # fmt: skip
    x = np.random.default_rng(0).normal(size=(2, 2, 6, 6))

    def theirs(p: Any) -> Any:
        h = jnp.tanh(convolved(x, p["K0"], p["B0"]))
        h = jnp.max(h.reshape(2, 4, 3, 2, 3, 2), axis=(3, 5))
        z = convolved(h, p["K1"], p["B1"], 2, "SAME", 2)
        z = jax.nn.standardize(z.reshape(2, 3, -1), axis=2, epsilon=1e-5).reshape(z.shape)
        z = jnp.tanh(z * p["gamma0"][:, None, None] + p["beta0"][:, None, None])
        h = convolved(z, p["K2"], p["B2"]) + convolved(h, p["K3"], p["B3"], 2)
        h = jnp.mean(h, axis=(2, 3))
        h = jax.nn.standardize(h, axis=1, epsilon=1e-5) * p["gamma1"] + p["beta1"]
        h = jnp.einsum("nc,pqco->nopq", h, p["K4"]) + p["B4"][:, None, None]
        return jnp.mean((jnp.mean(h, axis=(2, 3)) @ p["W5"] + p["B5"]) ** 2)

    assert_gradients(net, gc.mean(net**2), {net.input: x}, theirs)


def normed(x: Any, p: Any, t: int) -> Any:
    return jax.nn.standardize(x, axis=-1, epsilon=1e-5) * p[f"gamma{t}"] + p[f"beta{t}"]


def attended(x: Any, source: Any, p: Any, t: int, mask: Any) -> Any:
    inputs = zip("QKV", (x, source, source))
    q, k, v = (jnp.einsum("nte,ehd->nhtd", y, p[f"W{c}{t}"]) + p[f"B{c}{t}"][:, None] for c, y in inputs)
    a = jax.nn.softmax(jnp.einsum("nhqd,nhkd->nhqk", q, k) / np.sqrt(q.shape[-1]), where=mask)
    return jnp.einsum("nhqk,nhkd,hde->nqe", a, v, p[f"WO{t}"]) + p[f"BO{t}"]


def test_two_transformer_blocks_have_the_gradients_of_jax():
    """Mutation-checked: norms at the other place, heads that share their keys, a mask that is not handed on."""
    words, t = gc.input("words", ("n", 3), dtype="int64"), np.array([[0, 3, 3], [4, 1, 0]])
    mask, m = gc.input("mask", ("n", 3)), np.array([[1, 1, 0], [1, 1, 1.0]])
    masked = nn.TransformerBlock(2, 5, "tanh", norm_first=False)
    net = nn.sequential(words, nn.Embedding(5, 4), lambda x: x + gc.positional_encoding(3, 4),
                        nn.TransformerBlock(2, 6, causal=True), lambda x: masked(x, mask), nn.RMSNorm(),
                        nn.Dense(2))  # fmt: skip
    code = np.array(graphs.reference([gc.positional_encoding(3, 4)], {})[0])

    def theirs(p: Any) -> Any:
        h = p["E0"][t] + code
        z = normed(h, p, 0)
        h = h + attended(z, z, p, 0, np.tri(3) > 0)
        h = h + jax.nn.gelu(normed(h, p, 1) @ p["W0"] + p["B0"], approximate=False) @ p["W1"] + p["B1"]
        h = normed(h + attended(h, h, p, 1, m[:, None, None] > 0), p, 2)
        h = normed(h + jnp.tanh(h @ p["W2"] + p["B2"]) @ p["W3"] + p["B3"], p, 3)
        h = h / jnp.sqrt(jnp.mean(h**2, axis=-1, keepdims=True) + 1e-6) * p["gamma4"]
        return jnp.mean((h @ p["W4"] + p["B4"]) ** 2)

    assert_gradients(net, gc.mean(net**2), {words: t, mask: m}, theirs)


def test_attention_to_a_context_and_channels_at_the_end():
    x, c = gc.input("x", ("n", 3, 4)), gc.input("c", ("n", 2, 5))
    a, b = np.random.default_rng(0).normal(size=(2, 3, 4)), np.random.default_rng(1).normal(size=(2, 2, 5))
    m, mask = gc.input("m", ("n", 2)), np.array([[1, 0], [1, 1.0]])
    y = nn.MultiHeadAttention(2, width=3)(x, c, m)
    net = nn.sequential(x, lambda _: y)
    assert_gradients(net, gc.mean(y**2), {x: a, c: b, m: mask},
                     lambda p: jnp.mean(attended(a, b, p, 0, mask[:, None, None] > 0) ** 2))  # fmt: skip
    first = nn.sequential((2, 7), nn.Conv1D(3, 3, "tanh", dilation=2), nn.MaxPool1D(2, 1), nn.GlobalAvgPool1D())
    last = nn.sequential((7, 2), nn.Conv1D(3, 3, "tanh", dilation=2, channels="last"),
                         nn.MaxPool1D(2, 1, channels="last"), nn.GlobalAvgPool1D("last"))  # fmt: skip
    values, data = drawn(first), np.random.default_rng(2).normal(size=(2, 2, 7))
    found = [graphs.reference([net], {net.input: d} | {p: values[str(p.name)] for p in net.params})[0]
             for net, d in ((first, data), (last, data.swapaxes(1, 2)))]  # fmt: skip
    np.testing.assert_allclose(found[0], found[1], atol=1e-15)
    again = first(gc.input("Z", ("m", 2, 9)))
    assert again.shape == ("m", 3) and {leaf.name for leaf in first.params} == {"K0", "B0"}


@pytest.mark.parametrize("name", LAYERS)
def test_no_derivation_of_layers_has_a_kronecker_delta(name: str):
    """That it reads back to its numbers: test_reading_back.py."""
    assert not re.search(r"\[[a-z]=[a-z]\]", derivation_of_layers(name).index())


X = gc.input("X", ("n", 6))


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: nn.sequential(64, nn.Conv2D(4, 3)), "nn.Conv2D: X[n, 64] has 2 axes\n"
         "  hint: give (n, channels, height, width); x[:, None] adds an axis of one channel."),
        (lambda: nn.Conv2D(0, 3), "nn.Conv2D: the number of filters is 0\n"
         "  hint: it is a whole number of at least 1."),
        (lambda: nn.Conv2D(4, (3, 3, 3)), "nn.Conv2D: the size of the window is (3, 3, 3)\n"
         "  hint: give a whole number or 2 of them, at least 1."),
        (lambda: nn.Conv1D(4, 3, padding="full"), "nn.Conv1D: the padding is 'full'\n"
         '  hint: give "valid", "same", "causal", a number, or a pair (before, after).'),
        (lambda: nn.Conv2D(4, 3, groups=3), "nn.Conv2D: 4 filters are not 3 equal groups\n"
         "  hint: the number of groups divides that of the filters."),
        (lambda: nn.sequential((4, 8, 8), nn.Conv2D(3, 3, groups=3)),
         "nn.Conv2D: axis 1 of X[n, 4, 8, 8] has 4 channels, "
         "which are not 3 equal groups\n"
         '  hint: channels="last" says that the channels are the last axis.'),
        (lambda: nn.sequential((1, 4, 4), nn.Conv2D(4, 5)), "conv2d: a window of 5 does not fit axis 2 of X[n, 1, 4, 4]"
         ' with extent 4\n  hint: take a smaller window, or padding="same".'),
        (lambda: nn.sequential(8, nn.MaxPool2D(2)), "nn.MaxPool2D: X[n, 8] has 2 axes\n"
         "  hint: give (n, channels, height, width); x[:, None] adds an axis of one channel."),
        (lambda: nn.sequential((1, 8), nn.GlobalAvgPool2D()), "nn.GlobalAvgPool2D: X[n, 1, 8] has 3 axes\n"
         "  hint: give (n, channels, height, width); x[:, None] adds an axis of one channel."),
        (lambda: nn.sequential(6, nn.Embedding(10, 4)), "embedding: X[n, 6] is no integer data\n"
         '  hint: declare it with gc.input(..., dtype="int64").'),
        (lambda: nn.Embedding(10, 0.5), "nn.Embedding: the number of columns is 0.5\n"
         "  hint: it is a whole number of at least 1."),
        (lambda: nn.sequential(64, nn.TransformerBlock(4, 8)),
         "nn.MultiHeadAttention: the (n, 64) tensor of test_layers.py:LINE has no places with vectors of known extent\n"
         '  hint: give (n, places, width), such as gc.input("X", ("n", 32, 64)).'),
        (lambda: nn.sequential((3, 6), nn.MultiHeadAttention(4)),
         "nn.MultiHeadAttention: the last axis of X[n, 3, 6] is not divided by 4 heads\n"
         "  hint: give the width of a head, width=16, or another number of heads."),
        (lambda: nn.MultiHeadAttention(2)(gc.input("I", ("n", "m"))),
         "nn.MultiHeadAttention: I[n, m] has no places with vectors of known extent\n"
         '  hint: give (n, places, width), such as gc.input("X", ("n", 32, 64)).'),
        (lambda: nn.MultiHeadAttention(2)(gc.input("I", ("n", 3, 4)), mask=np.ones(3)),
         "nn.MultiHeadAttention: the mask has shape (3,)\n  hint: give (n, keys) or (n, queries, keys)."),
        (lambda: nn.sequential(6, nn.Residual(nn.Dense(4))), "nn.Residual: the layers make (n, 4) of (n, 6)\n"
         "  hint: both are added: keep the shape, or give shortcut= a layer such as gc.nn.Dense(32)."),
        (lambda: nn.Residual(), "nn.Residual: there are no layers\n  hint: give at least one."),
        (lambda: nn.sequential(6, nn.GroupNorm(4)), "group_norm: the 6 channels of axis 1 of X[n, 6] are not 4 groups\n"
         "  hint: the number of groups divides that of the channels."),
        (lambda: nn.LayerNorm()(gc.input("I", ("n",))), "nn.LayerNorm: axis 0 of I[n] has the free extent n\n"
         "  hint: parameters stand along axes of known extent."),
        (lambda: nn.sequential(6, nn.Reshape((4, 2))),
         "reshape: X[n, 6] does not have the elements of shape (n, 4, 2)\n"
         "  hint: the extents of (n, 6) must multiply to the same number of elements."),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused_by_its_name(make: Any, text: str):
    with pytest.raises(GraphcError) as caught:
        make()
    assert re.sub(r"py:\d+", "py:LINE", text_of(caught)) == text
