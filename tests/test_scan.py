"""Scan: a step that is done over and over, beside JAX's scan, and the recurrent layers made of it.

Derivatives run on the reference; two programs are compiled, one of functions and one that trains.
"""

from __future__ import annotations

import copy
import re
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import graphc as gc
from graphc.declare.tensor import Tensor
from graphc.derive.gradient import gradient, hessian_vector, tangent
from graphc.emit import reference
from graphc.emit.reference import evaluate
from graphc.ir.build import constant_node
from graphc.ir.lifting import hoisted
from graphc.ir.node import Leaf
from graphc.ir.scan import Carry, unrolled, with_time
from graphc.rewrite.norms import norms_in
from tests import graphs
from tests.text_check import findings_of, recording

pytestmark = pytest.mark.usefixtures("double_precision")

RNG = np.random.default_rng(0)
T, F, U = 6, 3, 4


def arrays(shapes: dict[str, tuple]) -> dict[str, np.ndarray]:
    return {name: RNG.normal(0, 0.7, [5 if e == "n" else e for e in shape]) for name, shape in shapes.items()}


SHAPES = {"X": ("n", T, F), "h0": ("n", U), "W": (F, U), "R": (U, U), "b": (U,), "w": ("n", T)}
VALUES = arrays(SHAPES)


def leaves() -> dict[str, gc.Tensor]:
    return {k: (gc.input if "n" in s else gc.param)(k, s) for k, s in SHAPES.items()}


def rnn(np, scan, a, reverse=False):
    """The carried value and what is given by x alone, by both, and by the state before the step."""

    def step(h, x):
        after = np.tanh(x @ a["W"] + h @ a["R"] + a["b"])
        return after, np.sin(after * x[:, 0:1]) + np.sum(x**2, axis=1)[:, None] * h

    last, ys = scan(step, a["h0"], a["X"], reverse)
    return np.sum(ys**2) + np.sum(last * last) + np.sum(ys[:, 2] * last)


def masked(np, scan, a, reverse=False):
    """Two carried values, lengths of their own by a mask, and a state that nothing reads later but the end."""

    def step(carry, x):
        h, c = carry
        x, keep = x
        z = x @ a["W"] + h @ a["R"]
        new = np.tanh(c) * np.exp(-z * z) + a["b"]
        h, c = np.where(keep[:, None] > 0, new, h), c * 0.9 + z
        return (h, c), np.max(h, axis=1)

    (h, c), ys = scan(step, (a["h0"], a["h0"] * 0.5), (a["X"], a["w"]), reverse)
    return np.sum(h**3) + np.sum(c[:, 0] * ys[:, -1]) + np.sum(np.sqrt(1 + ys**2))


def jax_scan(step, start, xs, reverse):
    swapped = jax.tree.map(lambda x: jnp.swapaxes(x, 0, 1), xs)
    last, ys = jax.lax.scan(step, start, swapped, reverse=reverse)
    return last, jnp.swapaxes(ys, 0, 1)


def own_scan(step, start, xs, reverse):
    return gc.scan(step, start, xs, reverse=reverse)


@pytest.mark.parametrize("make", [rnn, masked])
@pytest.mark.parametrize("reverse", [False, True])
def test_derivatives_are_those_of_jax(make, reverse) -> None:
    """Value, gradient and tangent to 1e-12, products with the Hessian both ways to 1e-9."""
    own = leaves()
    J = make(gc, own_scan, own, reverse).node
    names = [k for k in SHAPES if k != "w"]
    nodes, values = [own[k].node for k in names], {own[k].node: v for k, v in VALUES.items()}
    along = [RNG.normal(size=VALUES[k].shape) for k in names]
    vectors = [gc.input(f"v{k}", SHAPES[k]).node for k in names]
    g, feed = gradient(J, nodes), values | dict(zip(vectors, along, strict=True))
    there = dict(zip(nodes, vectors, strict=True))
    roots = [J, *g, tangent(J, there), *hessian_vector(J, nodes, vectors), *(tangent(x, there) for x in g)]
    found = evaluate(roots, feed)

    def loss(*a):
        return make(jnp, jax_scan, {**VALUES, **dict(zip(names, a, strict=True))}, reverse)

    at = tuple(VALUES[k] for k in names)
    value, grads = jax.value_and_grad(loss, argnums=range(len(at)))(*at)
    slope = jax.jvp(loss, at, tuple(along))[1]
    second = jax.jvp(jax.grad(loss, argnums=range(len(at))), at, tuple(along))[1]
    for x, y in zip(found, [value, *grads, slope], strict=False):
        np.testing.assert_allclose(x, y, rtol=1e-12, atol=1e-12)
    for x, y in zip(found[len(names) + 2 :], [*second, *second], strict=True):
        np.testing.assert_allclose(x, y, rtol=1e-9, atol=1e-9)


def test_the_third_derivative_of_a_scan_that_squares_five_times() -> None:
    """x**32: JAX had a bug here once."""
    x = gc.param("x", ())
    y, _ = gc.scan(lambda c, _: (c * c, None), x, length=5)
    d = y.node
    for order, factor in ((1, 32), (2, 32 * 31), (3, 32 * 31 * 30)):
        (d,) = gradient(d, [x.node])
        found = evaluate([d], {x.node: np.array(1.01)})[0]
        np.testing.assert_allclose(found, factor * 1.01 ** (32 - order), rtol=1e-12)


def test_a_carried_value_that_only_results_read() -> None:
    """y[t] = x[t-1] x[t]: its adjoint is carried from a step to the one before, and no further."""
    X = gc.input("X", ("n", T, F))
    _, ys = gc.scan(lambda c, x: (x * 1.0, gc.sin(c * x)), np.zeros((1, F)), X)
    slope = evaluate(gradient(gc.sum(ys).node, [X.node]), {X.node: VALUES["X"]})[0]

    def total(x):
        return jnp.sum(jnp.sin(x[:, 1:] * x[:, :-1]))

    np.testing.assert_allclose(slope, jax.grad(total)(VALUES["X"]), rtol=1e-12, atol=1e-12)


def test_a_value_of_the_step_may_read_what_the_carried_values_do_not() -> None:
    """The adjoint of a scan waits for all that is read of it: V comes behind the first of the two in the graph."""
    X, V, h = gc.input("X", ("n", T, F)), gc.param("V", (F,)), Leaf("h", ("n", F), "step")
    x = Leaf("x", ("n", F), "step")
    after = gc.tanh(Tensor(x) + Tensor(h) * 0.5)
    start = constant_node(0, ("n", F))
    scan, lifting = hoisted(T, [Carry(h, start, after.node)], {x: with_time(X.node, 1)}, False)
    both = gc.sum(Tensor(lifting.all(after.node))) + gc.sum(Tensor(unrolled(scan, (Tensor(h) * V).node)) ** 2)
    values = {X.node: VALUES["X"], V.node: np.array([0.5, -1.0, 2.0])}

    def total(v):
        h, found = jnp.zeros((5, F)), 0.0
        for t in range(T):
            found, h = found + ((h * v) ** 2).sum(), jnp.tanh(VALUES["X"][:, t] + h * 0.5)
            found = found + h.sum()
        return found

    value, slope = evaluate([both.node, *gradient(both.node, [V.node])], values)
    expected = jax.value_and_grad(total)(values[V.node])
    np.testing.assert_allclose(value, expected[0], rtol=1e-12)
    np.testing.assert_allclose(slope, expected[1], rtol=1e-12)


def test_jacobians_go_through_a_scan() -> None:
    own = leaves()
    last, _ = gc.scan(lambda h, x: (gc.tanh(x @ own["W"] + h @ own["R"]), None), own["h0"], own["X"])
    J = gc.jacobian(last, own["R"])
    values = {own[k].node: VALUES[k] for k in ("X", "h0", "W", "R")}

    def end(R):
        def step(h, x):
            return jnp.tanh(x @ VALUES["W"] + h @ R), None

        return jax.lax.scan(step, VALUES["h0"], jnp.swapaxes(VALUES["X"], 0, 1))[0]

    np.testing.assert_allclose(evaluate([J.node], values)[0], jax.jacobian(end)(VALUES["R"]), rtol=1e-12, atol=1e-12)


def test_words_are_gathered_before_the_steps() -> None:
    """An embedding within the step reads rows at labels of every step, found outside of it."""
    words, E = gc.input("words", ("n", T), dtype="int64"), gc.param("E", (7, U))
    last, _ = gc.scan(lambda h, w: (gc.tanh(h * 0.5 + gc.embedding(w, E)), None), np.zeros((1, U)), words)
    assert words.node.bound == 7  # so that the gradient of the table is scattered, not searched for every row
    labels, table = RNG.integers(0, 7, (5, T)), RNG.normal(size=(7, U))
    J = gc.sum(last**2)
    found, slope = evaluate([J.node, *gradient(J.node, [E.node])], {words.node: labels, E.node: table})

    def loss(E):
        h = jnp.zeros((5, U))
        for t in range(T):
            h = jnp.tanh(h * 0.5 + E[labels[:, t]])
        return (h**2).sum()

    np.testing.assert_allclose(found, loss(table), rtol=1e-12)
    np.testing.assert_allclose(slope, jax.grad(loss)(table), rtol=1e-12, atol=1e-12)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def lstm(x, p, h, c):
    """PyTorch's cell, gates i, f, g, o."""
    i, f, g, o = (x @ p[f"W{k}0"] + h @ p[f"U{k}0"] + p[f"b{k}0"] for k in "ifco")
    c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
    return sigmoid(o) * np.tanh(c), c


def gru(x, p, h, _):
    """PyTorch's cell; Keras' with reset_after."""
    z, r = (sigmoid(x @ p[f"W{k}0"] + h @ p[f"U{k}0"] + p[f"b{k}0"]) for k in "zr")
    return z * h + (1 - z) * np.tanh(x @ p["Wh0"] + p["bh0"] + r * (h @ p["Uh0"] + p["ch0"])), _


def cho(x, p, h, _):
    """The paper's gated unit, Keras' with reset_after=False."""
    z, r = (sigmoid(x @ p[f"W{k}0"] + h @ p[f"U{k}0"] + p[f"b{k}0"]) for k in "zr")
    return z * h + (1 - z) * np.tanh(x @ p["Wh0"] + p["bh0"] + (r * h) @ p["Uh0"]), _


def elman(x, p, h, _):
    return np.tanh(x @ p["W0"] + h @ p["U0"] + p["b0"]), _


CELLS = [(gc.nn.LSTM, lstm), (gc.nn.GRU, gru), (partial(gc.nn.GRU, reset_after=False), cho), (gc.nn.RNN, elman)]


@pytest.mark.parametrize(("layer", "cell"), CELLS)
def test_layers_are_the_formulas_of_pytorch(layer, cell) -> None:
    X = gc.input("X", ("n", T, F))
    for reverse in (False, True):
        net = gc.nn.sequential(X, layer(U, return_sequences=True, reverse=reverse))
        p = {w.name: RNG.normal(0, 0.5, w.shape) for w in net.params}
        found = evaluate([net.node], {X.node: VALUES["X"], **{w.node: p[w.name] for w in net.params}})[0]
        h, c, every = np.zeros((5, U)), np.zeros((5, U)), {}
        for t in range(T)[:: -1 if reverse else 1]:
            h, c = cell(VALUES["X"][:, t], p, h, c)
            every[t] = h
        np.testing.assert_allclose(found, np.stack([every[t] for t in range(T)], axis=1), rtol=1e-12)
    assert gc.nn.sequential((T, F), layer(8, return_sequences=True), layer(U), gc.nn.Dense(1)).shape == ("n", 1)


def test_functions_are_compiled_as_they_are_evaluated() -> None:
    """Both networks, both directions, their gradients and a product with the Hessian, in one program; and two scans of
    one step, as rewriting may leave them."""
    own = leaves()
    names = [k for k in SHAPES if k != "w"]
    roots = []
    for make in (rnn, masked):
        for reverse in (False, True):
            J = make(gc, own_scan, own, reverse)
            roots += [J, *gc.grad(J, [own[k] for k in names])]
    h, x = (Leaf(name, ("n", n), "step") for name, n in (("h", F), ("x", F)))
    after = gc.tanh(Tensor(x) + Tensor(h) * 0.5)
    for given in (own["X"], own["X"] * own["X"]):
        again = [Carry(h, constant_node(0, h.shape), after.node)]
        roots.append(gc.sum(Tensor(hoisted(T, again, {x: with_time(given.node, 1)}, False)[1].all(after.node))))
    v = gc.input("v", (U, U))
    roots.append(gc.hvp(roots[0], own["R"], v))
    f = gc.compile(outputs=roots, inputs=[*own.values(), v], dtype="float64")
    along = RNG.normal(size=(U, U))
    found = f(*VALUES.values(), along)
    feed = {own[k].node: x for k, x in VALUES.items()} | {v.node: along}
    for x, y in zip(found, evaluate([r.node for r in roots], feed), strict=True):
        np.testing.assert_allclose(x, y, rtol=1e-11, atol=1e-11)


def classifier(steps: int) -> gc.Model:
    X, y = gc.input("X", ("n", steps, F)), gc.input("y", ("n",), dtype="int64")
    logits = gc.nn.sequential(X, gc.nn.LSTM(8), gc.nn.Dense(3))
    return gc.Model(output=logits, loss=gc.losses.cross_entropy(logits, y), dtype="float64")


def test_training_is_that_of_jax() -> None:
    """100 steps of SGD on an LSTM to 1e-9, the same bits by two threads, a copy that predicts the same."""
    model = classifier(T)
    X, y = RNG.normal(size=(40, T, F)), RNG.integers(0, 3, 40)
    model.initialize(seed=1)
    p = {k: jnp.asarray(v) for k, v in model.params.items()}

    def loss(p, X, y):
        def step(carry, x):
            h, c = carry
            i, f, g, o = (x @ p[f"W{k}0"] + h @ p[f"U{k}0"] + p[f"b{k}0"] for k in "ifco")
            c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
            return (jax.nn.sigmoid(o) * jnp.tanh(c), c), None

        zero = jnp.zeros((len(X), 8))
        (h, _), _ = jax.lax.scan(step, (zero, zero), jnp.swapaxes(X, 0, 1))
        logits = jax.nn.log_softmax(h @ p["W0"] + p["B0"])
        return -jnp.take_along_axis(logits, y[:, None], 1).mean()

    @jax.jit
    def train(p):
        def one(p, t):
            rows = jax.lax.dynamic_slice_in_dim(X, t % 5 * 8, 8), jax.lax.dynamic_slice_in_dim(y, t % 5 * 8, 8)
            value, g = jax.value_and_grad(loss)(p, *rows)
            return jax.tree.map(lambda w, d: w - 0.3 * d, p, g), value

        return jax.lax.scan(one, p, jnp.arange(100))[1]

    expected = np.asarray(train(p)).reshape(20, 5).mean(axis=1)
    start = {k: v.copy() for k, v in model.params.items()}
    run = model.fit({"X": X, "y": y}, epochs=20, batch_size=8, shuffle=False, optimizer=gc.SGD(0.3), threads=1)
    np.testing.assert_allclose(run.history["loss"], expected, rtol=1e-9)
    ends = {k: v.copy() for k, v in model.params.items()}
    model.params = start
    model.fit({"X": X, "y": y}, epochs=20, batch_size=8, shuffle=False, optimizer=gc.SGD(0.3), threads=2)
    assert all(np.array_equal(ends[k], v) for k, v in model.params.items())
    again = copy.deepcopy(model)
    assert np.array_equal(again.predict({"X": X}), model.predict({"X": X}))


def test_the_program_is_as_long_for_any_number_of_steps() -> None:
    """The same lines, but for small products that threads do not share, and as few in the derivation."""
    short, long = classifier(40), classifier(80)
    assert abs(len(short.source().splitlines()) - len(long.source().splitlines())) < 10
    assert len(str(short.derive()).splitlines()) == len(str(long.derive()).splitlines())


FAULTS = {
    "a state that is read where it is written": ("h0_3 = h0 + now*", "h0_3 = h0 + (now + 1)*", "nothing has written"),
    "a step too many": ("for now in range(6):", "for now in range(7):", "lies outside of h0"),
    "a step too few": ("for now in range(6):", "for now in range(5):", "nothing has written"),
    "the first step first in the adjoint": ("range(5, -1, -1)", "range(6)", "h0_bar_3[0] is read, but"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_planted_fault_of_the_loop_is_found(fault: str) -> None:
    """By the check of texts, which follows every test."""
    old, new, wanted = FAULTS[fault]
    with recording() as cases:
        classifier(T).source(batch_size=7)
    text = cases[0].program.text
    assert old in text, [line for line in text.splitlines() if "now" in line]
    assert any(wanted in finding for finding in findings_of(cases[0], text.replace(old, new, 1)))


def test_the_way_back_computes_no_gate_again() -> None:
    """What it multiplies by is computed beside the gates, where they share their exponentials."""
    text = classifier(T).source(batch_size=7)
    forward, back = re.split(r"# \d+ steps, the last first", text)
    back = back[: back.index("if team > 1")]
    assert forward.count("tanh(") >= 2 and "sigmoid(" in forward
    assert "gemm(" in back and "tanh(" not in back and "sigmoid(" not in back


def test_the_derivation_reads_as_a_recurrence() -> None:
    own = leaves()
    last, _ = gc.scan(lambda h, x: (gc.tanh(x @ own["W"] + h @ own["R"] + own["b"]), None), np.zeros((1, U)), own["X"])
    lines = str(gc.Model(output=last, loss=gc.mean(last**2)).derive())
    assert "h_next[i,j]" in lines
    assert "tanh(Σ_k h_t[i,k]·R[k,j] + Z0_t[i,j] + b[j])" in lines
    assert "h_bar_next[i,j]" in lines


def test_errors_are_in_the_users_words() -> None:
    X, W = gc.input("X", ("n", T, F)), gc.param("W", (F, U))
    zero = np.zeros((1, U))
    with pytest.raises(gc.errors.TypeMismatchError, match="not two values"):
        gc.scan(lambda h, x: gc.tanh(x @ W + h), zero, X)
    with pytest.raises(gc.errors.TypeMismatchError, match="takes 2 carried values and gives 1"):
        gc.scan(lambda c, x: (x @ W, None), (zero, zero), X)
    with pytest.raises(gc.errors.ShapeError, match="a carried value begins as"):
        gc.scan(lambda h, x: (x, None), zero, X)
    with pytest.raises(gc.errors.ShapeError, match="number of steps"):
        gc.scan(lambda h, x: (h, None), zero)
    with pytest.raises(gc.errors.ShapeError, match="number of steps is not the same"):
        gc.scan(lambda h, x: (h, None), zero, (X, gc.input("Z", ("n", T + 1, F))))
    with pytest.raises(gc.errors.TypeMismatchError, match="a scan within the step"):
        gc.scan(lambda h, x: (gc.scan(lambda c, _: (c + h, None), zero, length=2)[0], None), zero, X)
    with pytest.raises(gc.errors.ShapeError, match="no sequence"):
        gc.nn.LSTM(4)(gc.input("v", ("n", 3)))
    with pytest.raises(gc.errors.FormulaError, match=r"steps of gc\.scan"):
        gc.scan(lambda h, x: (gc.tanh(x @ W + h), None), zero, X)[0].to_sympy()
    last, _ = gc.scan(lambda h, x: (gc.tanh(x @ W + h), None), zero, X)
    kept = []
    gc.scan(lambda h, x: (kept.append(x) or gc.tanh(x @ W + h), None), zero, X)
    for declare in (lambda y: gc.Model(output=y), lambda y: gc.compile(y, [X]), lambda y: gc.Model(loss=gc.mean(y))):
        with pytest.raises(gc.errors.TypeMismatchError, match="within the steps of gc.scan alone"):
            declare(last + kept[0] @ W)
    with pytest.raises(gc.errors.TypeMismatchError, match="would update the state"):
        gc.scan(lambda h, x: (gc.nn.BatchNorm()(x @ W + h), None), zero, X)


@pytest.mark.parametrize("steps", [2, 40])
def test_the_interpreter_looks_for_norms_once_in_every_equation_of_a_step(monkeypatch, steps):
    """Seen to fail when it does so at every step."""
    asked = []
    monkeypatch.setattr(reference, "norms_in", lambda y: asked.append(y) or norms_in(y))
    x, w = gc.input("x", ("n", steps, U)), gc.param("w", (U, U))
    last, _ = gc.scan(lambda h, x: (gc.tanh(h @ w + x),) * 2, np.zeros((1, U)), x)
    evaluate([last.node], {x.node: np.ones((3, steps, U)), w.node: np.eye(U)})
    assert asked and len(asked) == len({*asked})


def test_what_is_given_back_has_the_axis_of_the_steps_without_xs_too():
    """`axis` was ignored where nothing is given for every step."""
    X = gc.input("X", ("n", 2))
    step = lambda h, _: (2 * h, h)
    for axis, shape in {None: (3, "n", 2), 0: (3, "n", 2), 1: ("n", 3, 2), -1: ("n", 2, 3)}.items():
        every = gc.scan(step, X, length=3, axis=axis)[1]
        assert every.shape == shape
        x = np.arange(8.0).reshape(4, 2)
        found = graphs.reference([every], {X: x})[0]
        np.testing.assert_array_equal(found, np.stack([x, 2 * x, 4 * x], axis=axis or 0))
