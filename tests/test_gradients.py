"""Derivatives of random dense graphs against JAX in float64, and of tiny nets against SymPy on the expanded scalars."""

from __future__ import annotations

import itertools
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import sympy as sp
from hypothesis import given, settings

import graphc as gc
from graphc.errors import NonDifferentiableError
from tests.graphs import (
    JAX,
    LOSSES,
    STEPS,
    Plan,
    Weights,
    apply_steps,
    assert_near,
    build,
    covering_plans,
    draw_data,
    feed_of,
    in_jax,
    plans,
    reference,
)
from tests.scalar_expansion import expand, same_function

ROWS = 5


@settings(max_examples=25)
@given(plans())
def test_gradients_of_random_graphs_are_those_of_jax_to_1e_12(plan):
    """Mutation-checked: ties of max weighted 1, a logsumexp weight without its exp, tanh' = 1 + h**2 are caught."""
    graph, arrays = build(plan), draw_data(ROWS, plan.seed)
    found = reference([graph.loss, *gc.grad(graph.loss, graph.params)], feed_of(graph, arrays))
    value, wanted = in_jax(jax.value_and_grad(graph.jax_loss(arrays)))(graph.values)
    for t, (ours, theirs) in enumerate(zip(found, [value, *wanted])):
        assert_near(ours, theirs, 1e-12, (plan, t))


def test_every_step_and_every_loss_has_the_gradient_of_jax():
    """The random search may miss one; here each occurs."""
    chosen = covering_plans(3) + [Plan(("tanh",), loss, 7) for loss in LOSSES]
    assert {s for p in chosen for s in p.steps} == set(STEPS) and {p.loss for p in chosen} == set(LOSSES)
    graphs, arrays = [build(p) for p in chosen], draw_data(ROWS, 8)
    theirs = in_jax(lambda values: [jax.grad(g.jax_loss(arrays))(v) for g, v in zip(graphs, values)])
    for graph, wanted in zip(graphs, theirs([g.values for g in graphs])):
        for ours, one in zip(reference(gc.grad(graph.loss, graph.params), feed_of(graph, arrays)), wanted):
            assert_near(ours, one, 1e-12, graph.plan)


def test_hessian_vector_products_are_those_of_jax_to_1e_10():
    graphs, arrays = [build(p) for p in covering_plans(5)], draw_data(ROWS, 5)
    rng = np.random.default_rng(5)
    vectors = [[rng.normal(size=v.shape) for v in g.values] for g in graphs]

    def theirs(values):
        return [jax.jvp(jax.grad(g.jax_loss(arrays)), (v,), (u,))[1] for g, v, u in zip(graphs, values, vectors)]

    for graph, vector, wanted in zip(graphs, vectors, in_jax(theirs)([g.values for g in graphs])):
        declared = [gc.input(f"V{t}", v.shape) for t, v in enumerate(vector)]
        products = gc.hvp(graph.loss, graph.params, declared)
        found = reference(products, feed_of(graph, arrays, dict(zip(declared, vector))))
        for ours, one in zip(found, wanted):
            assert_near(ours, one, 1e-10, graph.plan)


def jax_head(graph, values, arrays, **changed):
    """The head of a graph in JAX; ``changed`` replaces inputs."""
    data = SimpleNamespace(**{k: jnp.asarray(v) for k, v in vars(arrays).items()} | changed)
    return apply_steps(JAX, graph.plan, Weights(list(values)), data)


def test_hessians_and_jacobians_are_those_of_jax():
    steps = ("tanh", "normalise_batch", "product", "embed")
    graphs, arrays = [build(Plan((step,), "cross_entropy", t)) for t, step in enumerate(steps)], draw_data(3, 1)

    def theirs(values):
        found = []
        for g, (first, *rest) in zip(graphs, values):
            loss = lambda w, g=g, rest=rest: g.jax_loss(arrays)([w, *rest])
            head = lambda w, g=g, rest=rest: jax_head(g, [w, *rest], arrays)
            found.append((jax.hessian(loss)(first), jax.jacobian(head)(first)))
        return found

    for graph, (hessian, jacobian) in zip(graphs, in_jax(theirs)([g.values for g in graphs])):
        w = graph.params[0]
        found = reference([gc.hessian(graph.loss, w), gc.jacobian(graph.head, w)], feed_of(graph, arrays))
        assert_near(found[0], hessian, 1e-11, graph.plan)
        assert_near(found[1], jacobian, 1e-12, graph.plan)


@pytest.mark.parametrize("step", ["tanh", "softplus", "attend", "normalise_layer"])
def test_a_gradient_penalty_inside_the_loss_has_the_gradient_of_jax(step):
    graph, arrays = build(Plan((step,), "mse", 4)), draw_data(ROWS, 4)
    slope = gc.grad(gc.sum(graph.head), graph.data.X)
    loss = graph.loss + gc.mean((gc.sqrt(gc.sum(slope**2, axis=1)) - 1) ** 2) / 2
    found = reference([loss, *gc.grad(loss, graph.params)], feed_of(graph, arrays))

    def theirs(values):
        total = lambda x: jnp.sum(jax_head(graph, values, arrays, X=x))
        norms = jnp.sqrt(jnp.sum(jax.grad(total)(jnp.asarray(arrays.X)) ** 2, axis=1))
        return graph.jax_loss(arrays)(values) + jnp.mean((norms - 1) ** 2) / 2

    value, wanted = in_jax(jax.value_and_grad(theirs))(graph.values)
    for ours, one in zip(found, [value, *wanted]):
        assert_near(ours, one, 1e-11, step)


def test_the_gradient_by_an_intermediate_tensor_is_that_of_jax():
    X, W = gc.input("X", ("n", 4)), gc.param("W", (4, 3), 0.0)
    H = gc.tanh(X @ W)
    loss = gc.mean(gc.logsumexp(H * H + H, axis=1))
    x, w = draw_data(ROWS).X, np.random.default_rng(1).normal(size=(4, 3))
    theirs = jax.grad(lambda h: jnp.mean(jax.nn.logsumexp(h * h + h, axis=1)))
    wanted = in_jax(theirs)(np.tanh(x @ w))
    assert_near(reference([gc.grad(loss, H)], {X: x, W: w})[0], wanted, 1e-14)


def test_what_a_loss_does_not_read_has_gradient_zero():
    W, V = gc.param("W", (2, 3), 0.0), gc.param("V", (2,), 0.0)
    found = reference(gc.grad(gc.sum(W**2), [V, W]), {W: np.ones((2, 3)), V: np.ones(2)})
    assert found[0].tolist() == [0, 0] and found[1].tolist() == [[2, 2, 2]] * 2


def test_derivatives_up_to_order_five_are_those_of_sympy():
    x, s = gc.param("x", (), 0.0), sp.Symbol("x")
    ours = gc.exp(gc.sin(x)) * gc.tanh(x) + gc.log(1 + x**2)
    theirs = sp.exp(sp.sin(s)) * sp.tanh(s) + sp.log(1 + s**2)
    for _ in range(5):
        ours, theirs = gc.grad(ours, x), theirs.diff(s)
        wanted = float(theirs.subs(s, sp.Rational(7, 10)))
        assert float(reference([ours], {x: 0.7})[0]) == pytest.approx(wanted, rel=1e-12)


# ---------------------------------------------------------------- SymPy on expanded scalars


def tanh_mse():
    """Two layers with tanh, mean squared error."""
    X, T = gc.input("X", ("n", 2)), gc.input("T", ("n", 1))
    W0, B0 = gc.param("W0", (2, 2), 0.0), gc.param("B0", (2,), 0.0)
    W1, B1 = gc.param("W1", (2, 1), 0.0), gc.param("B1", (1,), 0.0)
    Y = gc.tanh(X @ W0 + B0) @ W1 + B1
    return gc.mean((Y - T) ** 2), [W0, B0, W1, B1]


def sigmoid_bce():
    """Two layers with tanh and sigmoid, binary cross-entropy as on paper."""
    X, T = gc.input("X", ("n", 2)), gc.input("T", ("n", 1))
    W0, W1, B1 = gc.param("W0", (2, 2), 0.0), gc.param("W1", (2, 1), 0.0), gc.param("B1", (1,), 0.0)
    Y = gc.sigmoid(gc.tanh(X @ W0) @ W1 + B1)
    return gc.mean(-(T * gc.log(Y) + (1 - T) * gc.log(1 - Y))), [W0, W1, B1]


def softmax_cross_entropy():
    """One layer, softmax and cross-entropy as on paper, soft labels that sum to whatever they sum to."""
    X, T = gc.input("X", ("n", 2)), gc.input("T", ("n", 3))
    W, B = gc.param("W", (2, 3), 0.0), gc.param("B", (3,), 0.0)
    E = gc.exp(X @ W + B)
    return -gc.mean(gc.sum(T * gc.log(E / gc.sum(E, axis=1, keepdims=True)), axis=1)), [W, B]


@pytest.mark.parametrize("net", [tanh_mse, sigmoid_bce, softmax_cross_entropy])
def test_gradients_of_tiny_nets_are_sympys_derivative_of_the_expanded_scalar(net):
    """Symbolic identity, element by element: no numbers are put in. Mutation-checked: tanh' = 1 + h**2 is caught."""
    loss, params = net()
    sizes = {"n": 2}
    [paper], leaves = expand([loss.node], sizes)
    gradients, _ = expand([g.node for g in gc.grad(loss, params)], sizes)
    for w, gradient in zip(params, gradients):
        for at, found in gradient.items():
            assert same_function(found, paper[()].diff(leaves[w.node][at])), (w.name, at)


def test_the_hessian_of_a_tiny_net_is_sympys():
    X, T, W = gc.input("X", ("n", 2)), gc.input("T", ("n", 1)), gc.param("W", (2, 1), 0.0)
    loss = gc.mean((gc.tanh(X @ W) - T) ** 2)
    [paper], leaves = expand([loss.node], {"n": 2})
    [hessian], _ = expand([gc.hessian(loss, W).node], {"n": 2})
    w = leaves[W.node]
    for p, q in itertools.product(w, w):
        assert same_function(hessian[p + q], paper[()].diff(w[p], w[q]))


# ---------------------------------------------------------------- where a derivative is a convention


def test_ties_kinks_and_zeros_follow_the_conventions_of_jax():
    """Equal maxima share, relu'(0) = 0, |x|' = 0 at 0, a product knows its derivative at one, two and no zeros."""
    values = np.array([[1.0, 2, 2, -3], [0, 0, 0, 0], [0, 5, -2, 3], [0, 4, 0, 1]])
    X = gc.param("X", (4, 4), 0.0)
    pairs = {
        "max": (gc.max(X, axis=1), lambda x: jnp.max(x, axis=1)),
        "min": (gc.min(X, axis=0), lambda x: jnp.min(x, axis=0)),
        "prod": (gc.prod(X, axis=1), lambda x: jnp.prod(x, axis=1)),
        "prod of all": (gc.prod(1 + X / 4), lambda x: jnp.prod(1 + x / 4)),
        "relu": (gc.relu(X), jax.nn.relu),
        "abs": (abs(X), jnp.abs),
        "maximum": (gc.maximum(X, 0), lambda x: jnp.maximum(x, 0)),
        "minimum": (gc.minimum(X, X.T), lambda x: jnp.minimum(x, x.T)),
        "leaky_relu": (gc.leaky_relu(X), jax.nn.leaky_relu),
        "elu": (gc.elu(X), jax.nn.elu),
        "where": (gc.where(X > 0, X**2, 3 * X), lambda x: jnp.where(x > 0, x**2, 3 * x)),
    }
    found = reference([gc.grad(gc.sum(ours * ours), X) for ours, _ in pairs.values()], {X: values})
    wanted = in_jax(lambda x: [jax.grad(lambda x, f=f: jnp.sum(f(x) * f(x)))(x) for _, f in pairs.values()])(values)
    for name, ours, theirs in zip(pairs, found, wanted):
        assert_near(ours, theirs, 1e-14, name)


def test_a_product_over_rows_and_columns_knows_its_derivative_at_zeros():
    X = gc.input("X", ("n", 3))
    ours = gc.grad(gc.prod(X) ** 2 + gc.prod(X), X)
    theirs = in_jax(jax.grad(lambda x: jnp.prod(x) ** 2 + jnp.prod(x)))
    for zeros in ([], [(1, 2)], [(0, 0), (1, 2)]):
        x = np.random.default_rng(2).normal(size=(2, 3))
        for at in zeros:
            x[at] = 0.0
        assert_near(reference([ours], {X: x})[0], theirs(x), 1e-14, zeros)


def test_a_product_over_two_free_extents_has_the_derivatives_of_jax_whatever_is_zero():
    """Mutation-checked: without the factors that differ in the first index, wherever a row is not alone."""
    U, V = gc.input("U", ("n", 2)), gc.input("V", ("m", 2))
    y = gc.sum(gc.prod(gc.sin(U[:, None] * V[None]), axis=(0, 1)))
    slopes = [*gc.grad(y, [U, V]), gc.grad(gc.sum(gc.grad(y, U) ** 2), V)]
    f = lambda u, v: jnp.sum(jnp.prod(jnp.sin(u[:, None] * v[None]), (0, 1)))
    twice = jax.grad(lambda u, v: jnp.sum(jax.grad(f)(u, v) ** 2), 1)
    for zeros in ([], [(1, 0)], [(0, 0), (2, 0), (1, 1)]):
        u, v = np.random.default_rng(2).normal(size=(3, 2)), np.random.default_rng(3).normal(size=(4, 2))
        for at in zeros:
            u[at] = 0.0
        wanted = [in_jax(g)(u, v) for g in (jax.grad(f), jax.grad(f, 1), twice)]
        for found, exact in zip(reference(slopes, {U: u, V: v}), wanted, strict=True):
            assert_near(found, exact, 1e-13, zeros)


def test_a_branch_that_is_not_taken_gives_no_nan():
    x = gc.param("x", (3,), 0.0)
    y = gc.sum(gc.where(x > 0, gc.sqrt(x), x))
    found = reference([y, gc.grad(y, x), gc.hessian(y, x)], {x: [-1.0, 4.0, -9.0]})
    assert found[0] == -8 and found[1].tolist() == [1, 0.25, 1]
    assert found[2].tolist() == [[0, 0, 0], [0, -1 / 32, 0], [0, 0, 0]]


def test_the_second_derivative_of_relu_is_zero_and_no_error():
    x = gc.param("x", (4,), 0.0)
    once = gc.grad(gc.sum(gc.relu(x)), x)
    second = gc.grad(gc.sum(once), x)
    assert reference([once, second], {x: [-1.0, 0.0, 2.0, 3.0]})[1].tolist() == [0, 0, 0, 0]
    penalty = gc.sum(gc.grad(gc.sum(gc.relu(x) ** 2), x) ** 2)
    assert reference([gc.grad(penalty, x)], {x: [-1.0, 0.0, 2.0, 3.0]})[0].tolist() == [0, 0, 16, 24]


FLAT = {
    "round": lambda z: gc.round(z),
    "floor": lambda z: gc.floor(z),
    "sign": lambda z: gc.sign(z),
    "argmax": lambda z: gc.argmax(z, axis=1),
    "<": lambda z: z > 0,
    "<=": lambda z: z <= 1,
    "equal": lambda z: gc.equal(z, 1),
}


@pytest.mark.parametrize("name", FLAT)
def test_an_operation_without_gradient_in_the_loss_is_an_error_that_names_its_line(name):
    X, W = gc.input("X", ("n", 3)), gc.param("W", (3, 2), 0.0)
    flat = FLAT[name](X @ W)
    line = FLAT[name].__code__.co_firstlineno
    with pytest.raises(NonDifferentiableError) as caught:
        gc.grad(gc.mean(flat), W)
    first, *rest = str(caught.value).splitlines()
    assert first == f"{name} has zero gradient everywhere it has one, and it lies between the loss and W"
    assert rest[0].startswith(f"  at test_gradients.py:{line}:  \"{name}\": lambda") and rest[1].startswith("  hint: ")


@pytest.mark.parametrize("name", FLAT)
def test_an_operation_without_gradient_beside_another_way_to_the_loss_is_a_note(name):
    X, W = gc.input("X", ("n", 3)), gc.param("W", (3, 2), 0.3)
    Z = X @ W
    beside = gc.mean(gc.sin(Z)) - gc.mean(FLAT[name](Z))
    model = gc.Model(loss=beside)
    [note] = model.notes
    line = FLAT[name].__code__.co_firstlineno
    assert note == f"{name} (test_gradients.py:{line}) has zero gradient: the gradient of W flows around it only"
    assert str(model.explain("gradient")).endswith(f"note: {note}")
    fed = {X: draw_data(ROWS).X[:, :3], W: np.full((3, 2), 0.3)}
    found, wanted = (reference([gc.grad(loss, W)], fed)[0] for loss in (beside, gc.mean(gc.sin(Z))))
    assert_near(found, wanted, 1e-15)


def test_a_parameter_that_reaches_the_loss_through_zero_gradients_alone_is_an_error_beside_one_that_does_not():
    x, c = gc.param("x", (3,), 0.5), gc.param("c", (3,), 0.5)
    assert gc.Model(loss=gc.sum((x - gc.floor(x)) ** 2)).notes
    with pytest.raises(NonDifferentiableError, match=r"^floor has zero gradient .* between the loss and c\n"):
        gc.Model(loss=gc.sum((x - gc.floor(x + c)) ** 2))
    with pytest.raises(NonDifferentiableError, match=r"^sign has zero gradient .* between the loss and x\n"):
        gc.Model(loss=gc.sum(gc.sign(x) * gc.floor(x)) + gc.sum(c))
    assert not gc.Model(loss=gc.sum(x)).notes


@pytest.mark.parametrize("name", FLAT)
def test_the_same_operation_is_welcome_where_no_gradient_is_meant(name):
    X, W = gc.input("X", ("n", 3)), gc.param("W", (3, 2), 0.0)
    flat = gc.mean(gc.stop_gradient(FLAT[name](X @ W))) + gc.mean(FLAT[name](X))
    x = draw_data(ROWS).X[:, :3]
    assert_near(reference([gc.grad(flat * gc.sum(W), W)], {X: x, W: np.ones((3, 2))})[0].std(), 0.0, 1e-15)
