"""Laws that hold for every graph: adjoint identity, symmetry, linearity, one canonical form for one meaning."""

from __future__ import annotations

from fractions import Fraction
from types import SimpleNamespace

import jax
import numpy as np
import pytest
import sympy as sp
from hypothesis import given, settings
from hypothesis import strategies as st

import graphc as gc
from graphc.declare.operators import cumsum
from graphc.declare.tensor import Tensor
from graphc.derive.gradient import gradient, tangent
from tests import graphs

ROWS = 5


def adjoint_gap(y: Tensor, wrt: dict[Tensor, np.ndarray], feed: dict, seed: int, rows: int = ROWS) -> float:
    """|<pullback(w), v> - <w, pushforward(v)>| / size of the terms, for random w and v."""
    rng = np.random.default_rng(seed)
    w = gc.input("w_", y.shape)
    values = {w: rng.normal(size=[rows if isinstance(e, str) else e for e in y.shape])}
    moves = {gc.input(f"v{t}_", x.shape): rng.normal(size=np.shape(value)) for t, (x, value) in enumerate(wrt.items())}
    bars = [Tensor(bar) for bar in gradient(y.node, [x.node for x in wrt], w.node)]
    dot = Tensor(tangent(y.node, {x.node: v.node for x, v in zip(wrt, moves)}))
    feed = feed | wrt | moves | values
    ydot = graphs.reference([dot], feed)[0]
    found = graphs.reference(bars, feed)
    left = [np.vdot(bar, move) for bar, move in zip(found, moves.values())]
    size = sum(np.abs(bar * move).sum() for bar, move in zip(found, moves.values())) + np.abs(values[w] * ydot).sum()
    return abs(sum(left) - np.vdot(values[w], ydot)) / max(size, 1e-300)


@settings(max_examples=40)
@given(graphs.plans())
def test_the_pullback_is_the_adjoint_of_the_pushforward_on_random_graphs(plan):
    """Mutation-checked: a logsumexp weight without its exp in the pullback alone is caught."""
    graph = graphs.build(plan)
    data = graphs.feed_of(graph, graphs.draw_data(ROWS, plan.seed))
    wrt = dict(zip(graph.params, graph.values))
    assert adjoint_gap(graph.head, wrt, data, plan.seed) < 1e-14
    assert adjoint_gap(graph.loss, wrt, data, plan.seed) < 1e-14


def one_read_each() -> dict[str, Tensor]:
    """Every way to read a matrix, of X[6, 6]."""
    X, L = gc.param("X", (6, 6), 0.0), gc.input("L", ("n",), dtype="int64")
    i, j, k = gc.indices("i j k")
    m = gc.indices("m", m=3)
    return {
        "max": gc.max(X, axis=1),
        "min": gc.min(X),
        "prod": gc.prod(X, axis=1),
        "prod over two axes": gc.prod(X),
        "logsumexp": gc.logsumexp(X, axis=0),
        "cumsum": cumsum(X, axis=1) * X,
        "gather": X[L] * X[L, 1][:, None],
        "gather of columns": X[:, [5, 0, 0, 2]],
        "gather of pairs": X[[1, 1, 4], [0, 0, 5]],
        "slice": X[1:5, ::-1],
        "stride": X[::2, 1::3] * X[1::2, ::3],
        "diagonal": gc.define("d", [i], X[i, i] ** 2),
        "trace": gc.define("s", [], gc.sum(X[i, i] * X[0, i], over=i)),
        "skew diagonal": gc.define("e", [i], X[i, 5 - i]),
        "strided in notation": gc.define("f", [m], X[2 * m, 2 * m + 1] * X[m, 0]),
        "window": gc.define("g", [i, k], gc.sum(X[i, k + m] * X[m, 0], over=m)),
        "periodic": gc.define("h", [i, j], X[i, j] * X[(i + 1) % 6, (j + 5) % 6]),
        "blocks": gc.define("b", [i, j], X[i // 2, j % 3] * X[j, i]),
        "reshape": gc.reshape(gc.reshape(X, (4, 9)).T, (2, 18)) * 2,
        "concatenate": gc.concatenate([X[:2], X[3:] ** 2], axis=0),
        "stack": gc.stack([X[:, 0], X[1]], axis=1),
        "both sides of a product": X @ X.T @ X,
        "softmax": gc.softmax(X, axis=0),
        "where": gc.where(X > 0, X**2, gc.exp(X)),
    }


@pytest.mark.parametrize("name", list(one_read_each()))
def test_the_adjoint_identity_holds_for_every_kind_of_read_and_reduction(name):
    y = one_read_each()[name]
    leaves = {leaf.name: Tensor(leaf) for leaf in _leaves(y)}
    x = np.random.default_rng(3).normal(size=(6, 6))
    x[2, 3] = x[4, 1] = x[4, 5] = 0.0  # one and two zeros in a row: prod must not divide
    feed = {leaves["L"]: np.array([5, 0, 0, 2, 5])} if "L" in leaves else {}
    assert adjoint_gap(y, {leaves["X"]: x}, feed, 1) < 1e-14


def _leaves(y: Tensor) -> list:
    stack, found = [y.node], []
    while stack:
        node = stack.pop()
        found += [node] if not hasattr(node, "operands") else []
        stack += _sources(node)
    return list(dict.fromkeys(found))


def _sources(node) -> list:
    from_maps = [g.node for op in getattr(node, "operands", ()) for a in getattr(op, "at", ()) for g in _gathers(a)]
    return [op.node for op in getattr(node, "operands", ()) if hasattr(op, "node")] + from_maps


def _gathers(x) -> list:
    return [a for a, _ in x.terms if hasattr(a, "node")]


@settings(max_examples=15)
@given(graphs.plans(steps=tuple(graphs.SMOOTH), losses=("mse", "bce", "soft cross_entropy", "norm")))
def test_hessians_are_symmetric(plan):
    """<u, H v> = <v, H u>, though u and v go through reverse and forward accumulation."""
    graph = graphs.build(plan)
    rng = np.random.default_rng(plan.seed)
    pair = [[gc.input(f"{name}{t}_", v.shape) for t, v in enumerate(graph.values)] for name in "uv"]
    extra = {leaf: rng.normal(size=leaf.shape) for leaves in pair for leaf in leaves}
    products = [gc.hvp(graph.loss, graph.params, leaves) for leaves in pair]
    feed = graphs.feed_of(graph, graphs.draw_data(ROWS, plan.seed), extra)
    Hu, Hv = [graphs.reference(p, feed) for p in products]
    left = sum(np.vdot(extra[u], h) for u, h in zip(pair[0], Hv))
    right = sum(np.vdot(extra[v], h) for v, h in zip(pair[1], Hu))
    size = sum(np.abs(extra[u] * h).sum() for u, h in zip(pair[0], Hv))
    assert abs(left - right) <= 1e-12 * max(size, 1e-300)


def test_pushforwards_of_the_pushforward_are_those_of_jax():
    """Second directional derivatives, forward over forward."""
    for name in ("tanh", "attend", "product", "normalise_batch", "running"):
        graph = graphs.build(SimpleNamespace(steps=(name,), loss="mse", seed=2))
        arrays = graphs.draw_data(ROWS, 2)
        moves = [np.random.default_rng(3).normal(size=v.shape) for v in graph.values]
        leaves = {gc.input(f"m{t}_", v.shape): v for t, v in enumerate(moves)}
        along = {p.node: m.node for p, m in zip(graph.params, leaves)}
        second = Tensor(tangent(tangent(graph.head.node, along), along))
        found = graphs.reference([second], graphs.feed_of(graph, arrays, leaves))[0]
        graphs.assert_near(found, _second_pushforward(graph, arrays, moves), 1e-12, name)


def _second_pushforward(graph: graphs.Graph, arrays, moves: list[np.ndarray]):
    def head(values):
        return graphs.apply_steps(graphs.JAX, graph.plan, graphs.Weights(list(values)), arrays)

    def once(values):
        return jax.jvp(head, (values,), (moves,))[1]

    return graphs.in_jax(lambda v: jax.jvp(once, (v,), (moves,))[1])(graph.values)


@settings(max_examples=20)
@given(graphs.plans())
def test_rewriting_changes_no_gradient(plan):
    """The graph as it was declared, differentiated as it stands, against normal form, stable rules and fusion."""
    graph = graphs.build(plan)
    feed = graphs.feed_of(graph, graphs.draw_data(ROWS, plan.seed))
    plain = [Tensor(g) for g in gradient(graph.loss.node, [p.node for p in graph.params])]
    for a, b in zip(graphs.reference(gc.grad(graph.loss, graph.params), feed), graphs.reference(plain, feed)):
        graphs.assert_near(a, b, 1e-12, plan)


@settings(max_examples=10)
@given(graphs.plans(losses=("mse", "bce")), st.integers(2, 5))
def test_the_gradient_of_a_mean_over_rows_is_the_mean_of_the_gradients_of_the_rows(plan, rows):
    """Unless a step looks across rows."""
    across = {"normalise_batch", "attend_rows", "extremes_of_columns"}
    plan = type(plan)(tuple(s for s in plan.steps if s not in across) or ("tanh",), plan.loss, plan.seed)
    graph, arrays = graphs.build(plan), graphs.draw_data(rows, plan.seed)
    gradients = gc.grad(graph.loss, graph.params)
    whole = graphs.reference(gradients, graphs.feed_of(graph, arrays))
    single = [
        graphs.reference(gradients, graphs.feed_of(graph, row))
        for row in (SimpleNamespace(**{k: v[t : t + 1] for k, v in vars(arrays).items()}) for t in range(rows))
    ]
    for t, g in enumerate(whole):
        graphs.assert_near(np.mean([s[t] for s in single], axis=0), g, 1e-13, plan)


# ---------------------------------------------------------------- canonical form


def layer():
    return gc.input("X", ("n", 4)), gc.param("W", (4, graphs.CLASSES), 0.0), gc.param("b", (graphs.CLASSES,), 0.0)


def test_a_dense_layer_is_one_equation_however_it_is_written():
    X, W, b = layer()
    n, j, k, p, q, r = gc.indices("n j k p q r")
    written = [
        X @ W + b,
        b + X @ W,
        gc.matmul(X, W) + b[None, :],
        gc.define("Z", [n, j], gc.sum(W[k, j] * X[n, k], over=k) + b[j]),
        gc.define("Y", [q, p], b[p] + gc.sum(X[q, r] * W[r, p], over=r)),
        gc.sum(X[:, :, None] * W, axis=1) + b,
        gc.transpose(gc.transpose(X @ W)) + b,
        gc.reshape(gc.reshape(X, ("n", 2, 2)), ("n", 4)) @ W + b,
    ]
    assert all(y.equation is written[0].equation for y in written)
    assert all(gc.tanh(y).equation is gc.tanh(written[0]).equation for y in written)


def test_different_layers_are_different_equations():
    X, W, b = layer()
    V = gc.param("V", (4, graphs.CLASSES), 0.0)
    assert (X @ W + b).equation is not (X @ V + b).equation
    assert (X @ W + b).equation is not (X @ W - b).equation
    assert gc.sum(X, axis=0).equation is not gc.mean(X, axis=0).equation
    assert gc.max(X, axis=1).equation is not gc.min(X, axis=1).equation


def test_names_of_bound_indices_and_the_order_of_operands_do_not_matter():
    A, B, C = (gc.param(name, (3, 3), 0.0) for name in "ABC")
    i, j, k, l, p, q = gc.indices("i j k l p q")
    one = gc.define("T1", [i, j], gc.sum(A[i, k] * B[k, l] * C[l, j], over=(k, l)))
    two = gc.define("T2", [p, q], gc.sum(C[i, q] * A[p, j] * B[j, i], over=(i, j)))
    assert one.equation is two.equation
    trace = gc.define("s1", [], gc.sum(A[i, j] * B[j, i], over=(i, j)))
    assert trace.equation is gc.define("s2", [], gc.sum(B[p, q] * A[q, p], over=(q, p))).equation
    assert trace.equation is not gc.sum(A * B).equation


def test_paper_and_library_formulas_have_one_equation():
    X, W, b = layer()
    Z = X @ W + b
    assert (1 / (1 + gc.exp(-Z))).equation is gc.sigmoid(Z).equation
    assert gc.log(1 + gc.exp(Z)).equation is gc.softplus(Z).equation
    E = gc.exp(Z)
    assert (E / gc.sum(E, axis=1, keepdims=True)).equation is gc.softmax(Z).equation
    assert gc.log(gc.sum(gc.exp(Z), axis=1)).equation is gc.logsumexp(Z, axis=1).equation


def test_numbers_are_exact_whoever_brings_them_and_from_either_side():
    X, _, _ = layer()
    quarter = (X * 0.25).equation
    for number in (sp.Rational(1, 4), np.float32(0.25), Fraction(1, 4), np.array(0.25)):
        assert (number * X).equation is quarter and (X * number).equation is quarter


def test_views_leave_no_trace():
    X, _, _ = layer()
    assert X.T.T.equation is X.equation
    assert X[::-1][::-1].equation is X.equation
    assert gc.reshape(gc.reshape(X, ("n", 2, 2)), ("n", 4)).equation is X.equation
    assert gc.concatenate([X], axis=1).equation is X.equation
    assert X[:, None, :][:, 0].equation is X.equation


@settings(max_examples=30)
@given(graphs.plans())
def test_declaring_a_graph_twice_over_the_same_leaves_gives_the_same_equation(plan):
    graph = graphs.build(plan)
    again = graphs.Weights(values=list(graph.params))
    copy = graphs.apply_steps(graphs.OURS, plan, again, graph.data)
    assert copy.equation is graph.head.equation
