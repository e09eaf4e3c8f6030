"""Tensors: the value of every operator and function is NumPy's or SciPy's, and equal declarations are one node."""

from __future__ import annotations

import doctest
import importlib
import math

import numpy as np
import pytest
import sympy
from scipy import special

import graphc as gc
from graphc.declare import activations, functions, losses, metrics, operators
from graphc.declare.origin import caller
from graphc.emit.reference import evaluate
from graphc.ir.affine import constant, index
from graphc.ir.node import Origin
from graphc.ir.verify import verify

N = 5


def value(x, *data):
    """The numbers of a Tensor, given pairs of declared Tensors and arrays."""
    verify([x.node])
    feed = {leaf.node: array for leaf, array in zip(data[::2], data[1::2])}
    return evaluate([x.node], feed, {"n": N})[0]


def declared(*shape, seed=0, name="X"):
    """An input and data for it; the free extent n is 5."""
    rng = np.random.default_rng(seed)
    return gc.input(name, shape), rng.normal(size=[N if e == "n" else e for e in shape])


def close(actual, expected):
    np.testing.assert_allclose(actual, expected, rtol=1e-13, atol=1e-13)
    assert np.shape(actual) == np.shape(expected)


# ---------------------------------------------------------------- operators


BINARY = {
    "+": lambda a, b: a + b,
    "-": lambda a, b: a - b,
    "*": lambda a, b: a * b,
    "/": lambda a, b: a / b,
    "<": lambda a, b: (a < b) * 1.0,
    "<=": lambda a, b: (a <= b) * 1.0,
    ">": lambda a, b: (a > b) * 1.0,
    ">=": lambda a, b: (a >= b) * 1.0,
}


@pytest.mark.parametrize("op", BINARY)
@pytest.mark.parametrize("other", [2, 0.5, np.float32(0.25), np.array([1.0, -2.0, 0.5]), [1, 2, 3], True])
def test_operators_with_numbers_and_arrays_on_either_side_are_numpys(op, other):
    x, a = declared("n", 3)
    b = np.asarray(other, dtype=float)
    close(value(BINARY[op](x, other), x, a), BINARY[op](a, b))
    if not isinstance(other, list) or op in "+-*/":
        close(value(BINARY[op](other, x), x, a), BINARY[op](b, a))


@pytest.mark.parametrize(
    "shapes", [(("n", 3), (3,)), (("n", 1), (1, 3)), (("n", 3), ()), ((4, 1, 3), ("n", 1)), ((1,), (1,))]
)
def test_shapes_broadcast_as_in_numpy(shapes):
    (x, a), (y, b) = declared(*shapes[0]), declared(*shapes[1], seed=1, name="Y")
    for op in "+-*/":
        close(value(BINARY[op](x, y), x, a, y, b), BINARY[op](a, b))


def test_rows_meet_rows_only_where_the_user_wrote_the_axes():
    (x, a), (u, b) = declared("n", 1), declared("n", seed=1, name="U")
    for accident in (lambda: x - u, lambda: u - x, lambda: gc.where(x > 0, u, 0), lambda: u[:, None] - u):
        with pytest.raises(gc.errors.ShapeError, match="each n with each n"):
            accident()
    close(value(x - u[..., None], x, a, u, b), a - b[..., None])
    close(value(u[:, None] - u[None, :], u, b), b[:, None] - b[None, :])
    close(value((x - x.T) * u, x, a, u, b), (a - a.T) * b)
    i, j = gc.indices("i j")
    close(value(gc.define("D", [i, j], x[i, 0] - u[j]), x, a, u, b), a - b)


def test_an_axis_of_extent_1_is_read_at_0():
    x, y = gc.input("X", ("n", 1)), gc.input("Y", (1, 3))
    assert [read.at for read in (x * y).node.reads] == [(index(0), constant(0)), (constant(0), index(1))]


def test_powers_signs_and_absolute_values_are_numpys():
    x, a = declared("n", 3)
    a = np.abs(a) + 0.5
    close(value(x**3, x, a), a**3)
    close(value(x**0.5, x, a), np.sqrt(a))
    close(value(2**x, x, a), 2**a)
    close(value(x**x, x, a), a**a)
    close(value(-x, x, a), -a)
    close(value(abs(-x), x, a), a)


def test_a_decimal_enters_the_body_exactly():
    x = gc.input("x", ())
    assert (0.1 * x).node.body.as_coeff_Mul()[0] == sympy.Rational(1, 10)


@pytest.mark.parametrize(
    "shapes",
    [(("n", 3), (3, 2)), ((3,), (3, 2)), (("n", 3), (3,)), ((3,), (3,)), ((4, "n", 3), (3, 2)), ((4, 2, 3), (4, 3, 2)),
     ((2, 3), (4, 3, 2)), ((1, 2, 3), (4, 3, 2)), ((3, "n"), ("n", 3)), ((1, 1), (1, 1))],
)  # fmt: skip
def test_matrix_products_are_numpys(shapes):
    (x, a), (y, b) = declared(*shapes[0]), declared(*shapes[1], seed=1, name="Y")
    close(value(x @ y, x, a, y, b), a @ b)
    close(value(gc.matmul(x, y), x, a, y, b), a @ b)
    close(value(x @ b, x, a) if "n" not in shapes[1] else a @ b, a @ b)


def test_an_array_before_the_operator_leaves_the_work_to_the_tensor():
    x, a = declared(2, 3)
    b = np.arange(4.0).reshape(2, 2)
    close(value(b @ x, x, a), b @ a)
    close(value(np.float64(2) * x, x, a), 2 * a)
    close(value(np.add(b[:, :1], x), x, a), b[:, :1] + a)


UNARY = {
    "exp": np.exp, "tanh": np.tanh, "sin": np.sin, "cos": np.cos, "erf": special.erf, "expm1": np.expm1,
    "sigmoid": special.expit, "softplus": lambda a: np.logaddexp(a, 0), "relu": lambda a: np.maximum(a, 0),
    "silu": lambda a: a * special.expit(a), "gelu": lambda a: a * special.ndtr(a), "abs": np.abs, "round": np.rint,
    "floor": np.floor, "sign": np.sign, "stop_gradient": lambda a: a,
    "leaky_relu": lambda a: np.where(a > 0, a, 0.01 * a), "elu": lambda a: np.where(a > 0, a, np.expm1(a)),
    "log": np.log, "sqrt": np.sqrt, "log1p": np.log1p,
}  # fmt: skip


@pytest.mark.parametrize("name", UNARY)
def test_functions_of_one_element_are_numpys_and_scipys(name):
    x, a = declared("n", 3)
    a = np.abs(a) + 0.1 if name in ("log", "sqrt", "log1p") else 2 * a
    close(value(getattr(operators, name)(x), x, a), UNARY[name](a))


def test_functions_of_several_elements_are_numpys():
    (x, a), (y, b) = declared("n", 3), declared(3, seed=1, name="Y")
    close(value(gc.maximum(x, y), x, a, y, b), np.maximum(a, b))
    close(value(gc.minimum(x, 0.5), x, a), np.minimum(a, 0.5))
    close(value(gc.where(x > 0, y, -1), x, a, y, b), np.where(a > 0, b, -1))
    close(value(gc.equal(gc.round(x), 0), x, a), np.rint(a) == 0)
    close(value(operators.clip(x, -0.5, 0.5), x, a), np.clip(a, -0.5, 0.5))


def test_a_branch_not_taken_does_not_leak_nan():
    x, a = declared("n")
    close(value(gc.where(x > 0, gc.log(x), 0), x, a), np.where(a > 0, np.log(np.abs(a)), 0))


# ---------------------------------------------------------------- reductions


REDUCTIONS = {"sum": np.sum, "mean": np.mean, "max": np.max, "min": np.min, "prod": np.prod} | {
    "logsumexp": special.logsumexp
}


@pytest.mark.parametrize("name", REDUCTIONS)
@pytest.mark.parametrize("axis", [None, 0, 1, -1, (0, 2), (2, 1), ()])
@pytest.mark.parametrize("keepdims", [False, True])
def test_reductions_are_numpys(name, axis, keepdims):
    x, a = declared("n", 3, 2)
    expected = REDUCTIONS[name](a, axis=axis, keepdims=keepdims)
    close(value(getattr(gc, name)(x, axis=axis, keepdims=keepdims), x, a), expected)


def test_softmax_is_scipys_also_for_large_logits():
    x, a = declared("n", 3)
    for axis in (0, -1, (0, 1)):
        close(value(gc.softmax(300 * x, axis), x, a), special.softmax(300 * a, axis))


def test_argmax_takes_the_first_of_equal_maxima():
    x, a = declared("n", 4)
    a[1] = [2, 7, 7, 1]
    for axis in (0, 1, -1):
        close(value(gc.argmax(x, axis=axis), x, a), np.argmax(a, axis))
    y, b = declared(3, 4)
    close(value(gc.argmax(y), y, b), np.argmax(b))


def test_cumsum_is_numpys():
    x, a = declared(4, 3)
    for axis in (0, 1):
        close(value(operators.cumsum(x, axis), x, a), np.cumsum(a, axis))


# ---------------------------------------------------------------- other places


KEYS = {
    "x[0]": lambda x: x[0],
    "x[-1]": lambda x: x[-1],
    "x[:, 0]": lambda x: x[:, 0],
    "x[..., -1]": lambda x: x[..., -1],
    "x[:, 1:, ::2]": lambda x: x[:, 1:, ::2],
    "x[:, ::-1]": lambda x: x[:, ::-1],
    "x[::-1]": lambda x: x[::-1],
    "x[:, None, 2]": lambda x: x[:, None, 2],
    "x[None, ..., None]": lambda x: x[None, ..., None],
    "x[:, -3:-1]": lambda x: x[:, -3:-1],
    "x[:, [2, 0]]": lambda x: x[:, [2, 0]],
    "x[:, [2, 0], [1, 1]]": lambda x: x[:, [2, 0], [1, 1]],
    "x[:, [[2], [0]], [1, 3]]": lambda x: x[:, [[2], [0]], [1, 3]],
    "x[[0, 1], :, [1, 3]]": lambda x: x[[0, 1], :, [1, 3]],
    "x[np.int64(1)]": lambda x: x[np.int64(1)],
    "x[...]": lambda x: x[...],
}


@pytest.mark.parametrize("key", KEYS)
def test_indexing_and_slicing_are_numpys(key):
    x, a = declared("n", 3, 4)
    close(value(KEYS[key](x), x, a), KEYS[key](a))


def test_integer_labels_gather_rows_and_elements():
    (x, a), labels = declared(4, 3), gc.input("T", ("n",), dtype="int64")
    t = np.array([3, 0, 0, 2, 1])
    close(value(x[labels], x, a, labels, t), a[t])
    close(value(x.T[:, labels], x, a, labels, t), a.T[:, t])
    close(value(x[labels[::-1], 1], x, a, labels, t), a[t[::-1], 1])
    assert labels.node.bound == 4  # labels must fit the shortest axis they select from


@pytest.mark.parametrize(
    ("shape", "new"),
    [(("n", 3, 4), ("n", 12)), (("n", 12), ("n", 2, 6)), (("n", 3, 4), (-1, 12)), (("n", 3, 4), ("n", -1)),
     ((3, 4), (2, 6)), ((3, 4), (-1,)), ((12,), (2, -1, 3)), ((1,), ()), ((), (1, 1)), (("n", 4), ("n", 2, 1, 2))],
)  # fmt: skip
def test_reshape_is_numpys(shape, new):
    x, a = declared(*shape)
    y = gc.reshape(x, new)
    assert -1 not in y.shape
    close(value(y, x, a), a.reshape([N if e == "n" else e for e in new]))


def test_reshaping_back_gives_the_very_same_node():
    x, _ = declared("n", 3, 4)
    assert gc.reshape(gc.reshape(x, ("n", 12)), ("n", 3, 4)).node is x.node
    assert x.T.T.node is x.node
    assert x[:, ::-1][:, ::-1].node is x.node


def test_transposing_concatenating_and_stacking_are_numpys():
    (x, a), (y, b), (z, c) = declared("n", 3), declared("n", 2, seed=1, name="Y"), declared("n", 3, seed=2, name="Z")
    close(value(x.T, x, a), a.T)
    close(value(gc.transpose(x[:, :, None], (2, 0, -2)), x, a), a[:, :, None].transpose(2, 0, 1))
    close(value(gc.concatenate([x, y, x], axis=-1), x, a, y, b), np.concatenate([a, b, a], 1))
    close(value(gc.concatenate([x, np.ones((1, 1)) * x[:, :1]], 1), x, a), np.concatenate([a, a[:, :1]], 1))
    for axis in (0, 1, 2, -1):
        close(value(gc.stack([x, z], axis), x, a, z, c), np.stack([a, c], axis))


# ---------------------------------------------------------------- one way of writing is as good as another


def test_equal_declarations_are_one_node():
    x, w, b = gc.input("X", ("n", 3)), gc.param("W", (3, 2), 0.5), gc.param("b", (2,), 0.0)
    assert (x @ w).node is gc.matmul(x, w).node
    assert (x @ w + b).equation is (b + x @ w).equation
    assert (x * 2 + 1).equation is (1 + 2 * x).equation
    assert gc.mean(x, axis=1).node is gc.mean(x, axis=(-1,), keepdims=True)[:, 0].node
    assert (x + np.array([1.0, 2, 3])).node is (x + [1, 2, 3]).node


def test_two_declarations_of_one_name_are_two_leaves():
    assert gc.input("X", ("n", 3)).node is not gc.input("X", ("n", 3)).node


def test_equality_and_hash_are_identity():
    x = gc.input("X", ("n", 3))
    y = x + 1
    assert (y == x) is False
    assert y in [x, y]
    assert {y: 1}[y] == 1


def test_a_name_stays_with_the_tensor_and_reaches_formulas():
    x = gc.input("X", ("n", 3))
    y = gc.tanh(x).named("H")
    assert (y.name, y.node.name, y.ndim, y.shape, y.dtype) == ("H", "H", 2, ("n", 3), "float")
    assert repr(y) == "<Tensor H[n, 3]>"
    assert repr(x + 1) == "<Tensor of shape (n, 3)>"


def test_a_node_remembers_the_line_that_declared_it():
    here = caller()
    y = gc.tanh(gc.input("X", ("n", 3)) + 1)
    assert isinstance(here, Origin)
    assert y.node.origin == Origin(here.file, here.line + 1)
    assert str(here).startswith("test_declare.py:")


# ---------------------------------------------------------------- declarations


def test_inputs_and_parameters_carry_their_declaration():
    t = gc.input("T", "n", dtype=np.int32)
    w = gc.param("W", (2, 4), gc.normal(0.5))
    assert (t.shape, t.dtype, t.node.kind) == (("n",), "int", "input")
    assert (w.shape, w.dtype, w.node.kind, w.node.value.describe()) == ((2, 4), "float", "param", "normal(0.5)")


def test_initialisers_describe_their_distribution():
    shape = (8, 4)
    assert gc.normal(0.5).parameters(shape) == {"sigma": 0.5}
    assert gc.uniform(-1, 2).parameters(shape) == {"low": -1.0, "high": 2.0}
    assert gc.zeros().parameters(shape) == {"value": 0.0}
    assert gc.init.ones().parameters(shape) == {"value": 1.0}
    limit = math.sqrt(6 / 12)
    assert gc.glorot().parameters(shape) == {"low": -limit, "high": limit}
    assert gc.init.glorot_normal().parameters(shape) == {"sigma": math.sqrt(2 / 12)}
    assert gc.he().parameters(shape) == {"sigma": 0.5}
    assert gc.he().parameters((5, 5, 3, 16)) == {"sigma": math.sqrt(2 / 75)}


def test_initialisers_scale_standard_random_numbers():
    def draw(kind, shape):
        return np.full(shape, {"normal": 1.0, "uniform": 0.25}[kind])

    close(gc.normal(0.5).sample(draw, (2, 3)), np.full((2, 3), 0.5))
    close(gc.uniform(-1, 3).sample(draw, (2,)), np.zeros(2))
    start = np.arange(4.0)
    w = gc.param("W", (4,), start)
    start[0] = 9  # the declaration keeps its own copy
    close(w.node.value.sample(draw, (4,)), np.arange(4.0))


def test_an_omitted_initialiser_is_glorot_for_matrices_and_zero_else():
    assert gc.param("W", (2, 4)).node.value.describe() == "glorot()"
    assert gc.param("B", (4,)).node.value.describe() == "zeros()"


# ---------------------------------------------------------------- scalar functions


def test_a_function_is_the_same_from_text_from_sympy_and_from_python():
    z, beta = sympy.symbols("z beta")
    made = [
        gc.function("swish", "z/(1 + exp(-beta*z))", beta=1.7),
        gc.function("swish", z / (1 + sympy.exp(-beta * z)), beta=1.7),
        gc.function("swish", lambda z, beta: z / (1 + gc.exp(-beta * z)), beta=1.7),
    ]
    x, a = declared("n", 3)
    assert made[0](x).node is made[1](x).node is made[2](x).node
    close(value(made[0](x), x, a), a * special.expit(1.7 * a))
    assert str(made[0]) == "swish(z) = z/(1 + exp(-beta*z)),  beta = 1.7"


def test_derivatives_of_a_function_are_exact_and_print():
    f = gc.function("f", "z**3 + tanh(2*z)")
    x, a = declared("n", 3)
    t = np.tanh(2 * a)
    close(value(f.d()(x), x, a), 3 * a**2 + 2 * (1 - t**2))
    close(value(f.d(2)(x), x, a), 6 * a - 8 * t * (1 - t**2))
    assert f.d(0)(x).node is f(x).node
    assert f.d().d()(x).node is f.d(2)(x).node
    assert str(gc.function("g", "z**3").d(2)) == "g''(z) = 6*z"


def test_functions_compose_and_choose():
    f = gc.function("f", lambda x: gc.where(x > 1, x**2, gc.exp(x)))
    g = gc.function("g", lambda x: f(x) + gc.relu(x))
    x, a = declared("n", 3)
    close(value(g(x), x, a), np.where(a > 1, a**2, np.exp(a)) + np.maximum(a, 0))


def test_a_report_names_kinks_and_stable_forms():
    assert "sigmoid(17*z/10)" in str(gc.function("swish", "z/(1 + exp(-beta*z))", beta=1.7).report())
    assert "kink" in str(gc.function("r", "relu(z)").report())
    assert "overflow" in str(gc.function("e", "exp(z)").report())


# ---------------------------------------------------------------- losses, metrics, layers


def reference_losses(y, t):
    r = y - t
    p = special.expit(y)
    return {
        "mse": r**2,
        "mae": np.abs(r),
        "huber": np.where(np.abs(r) <= 1, r**2 / 2, np.abs(r) - 0.5),
        "bce": -(t * np.log(p) + (1 - t) * np.log(1 - p)),
        "bce_with_logits": -(t * np.log(p) + (1 - t) * np.log(1 - p)),
        "hinge": np.maximum(0, 1 - t * y),
    }


@pytest.mark.parametrize("name", ["mse", "mae", "huber", "bce", "bce_with_logits", "hinge"])
def test_losses_are_their_formulas_for_every_reduction(name):
    (x, a), (t, b) = declared("n", 3), declared("n", 3, seed=1, name="T")
    b = (b > 0) * 1.0
    y = gc.sigmoid(x) if name == "bce" else x
    loss, expected = getattr(losses, name), reference_losses(a, b)[name]
    close(value(loss(y, t), x, a, t, b), expected.mean())
    close(value(loss(y, t, "sum"), x, a, t, b), expected.sum())
    close(value(loss(y, t, None), x, a, t, b), expected.mean(axis=1))


def test_cross_entropy_takes_integer_and_soft_labels():
    (z, a), (s, p) = declared("n", 4), declared("n", 4, seed=1, name="S")
    t, labels = gc.input("T", ("n",), dtype="int64"), np.array([3, 0, 0, 2, 1])
    logp = a - special.logsumexp(a, 1, keepdims=True)
    rows = -logp[np.arange(N), labels]
    close(value(losses.cross_entropy(z, t), z, a, t, labels), rows.mean())
    close(value(losses.cross_entropy(z, t, None), z, a, t, labels), rows)
    close(value(losses.cross_entropy(z, t, "sum"), z, a, t, labels), rows.sum())
    close(value(losses.cross_entropy(z, s), z, a, s, p), -(p * logp).sum(1).mean())


def test_bce_as_on_paper_and_with_logits_is_one_equation():
    z, t = gc.input("Z", ("n", 1)), gc.input("T", ("n", 1))
    assert losses.bce(gc.sigmoid(z), t).equation is losses.bce_with_logits(z, t).equation


def test_accuracy_counts_right_predictions():
    p, a = declared("n", 1)
    a = special.expit(a)
    t, b = declared("n", 1, seed=1, name="T")
    b = (b > 0) * 1.0
    share = (np.rint(a) == b).mean()
    assert 0 < share < 1
    close(value(metrics.accuracy(p, t), p, a, t, b), share)
    flat = gc.input("U", ("n",))
    close(value(metrics.accuracy(p, flat), p, a, flat, b[:, 0]), share)
    z, c = declared("n", 4, name="Z")
    labels, k = gc.input("K", ("n",), dtype="int64"), np.array([3, 0, 0, 2, 1])
    share = (c.argmax(1) == k).mean()
    close(value(metrics.accuracy(z, labels), z, c, labels, k), share)
    hot = gc.input("H", ("n", 4))
    close(value(metrics.accuracy(z, hot), z, c, hot, np.eye(4)[k]), share)


def test_the_other_metrics_are_their_formulas():
    (y, a), (t, b) = declared("n", 2), declared("n", 2, seed=1, name="T")
    close(value(metrics.mse(y, t), y, a, t, b), ((a - b) ** 2).mean())
    close(value(metrics.mae(y, t), y, a, t, b), np.abs(a - b).mean())
    close(value(metrics.r2(y, t), y, a, t, b), 1 - ((b - a) ** 2).sum() / ((b - b.mean(0)) ** 2).sum())


def test_layers_are_sugar_over_the_operators():
    net = gc.nn.sequential(3, gc.nn.Dense(4, "relu"), gc.nn.Dense(2, bias=False), "softmax")
    w0, b0, w1 = net.params
    assert [p.name for p in net.params] == ["W0", "B0", "W1"]
    assert net.node is gc.softmax(gc.relu(net.input @ w0 + b0) @ w1).node
    assert net.output.node is net.node and isinstance(net, gc.Tensor)
    other = gc.input("U", ("n", 3))
    assert net(other).node is gc.softmax(gc.relu(other @ w0 + b0) @ w1).node


def test_a_dense_layer_alone_takes_the_next_free_names():
    x = gc.input("X", ("n", 3))
    y = gc.nn.Dense(1)(gc.nn.Dense(4, gc.tanh)(x))
    assert {f"W{i}" for i in (0, 1)} <= {p.name for p in gc.nn.sequential(y).params}


def test_every_activation_name_is_a_function():
    for name in activations.__all__:
        width = 1 if name == "glu" else 2
        assert gc.nn.Dense(2, name)(gc.input("X", ("n", 3))).shape == ("n", width)


@pytest.mark.parametrize(
    "module",
    "tensor leaves init indexed pointwise reductions rearrange operators losses metrics layers functions convolutions"
    " pooling normalizing embedding attention softmaxes layers_of_places layers_of_norms layers_of_rows".split(),
)
def test_the_examples_of_the_docstrings_run(module):
    found = doctest.testmod(importlib.import_module(f"graphc.declare.{module}"))
    assert found.failed == 0


def test_every_public_function_has_a_docstring_with_a_summary():
    for module in (operators, losses, metrics, functions):
        for name in getattr(module, "__all__", ["function"]):
            assert getattr(module, name).__doc__.strip(), name
