"""Index notation: the values of its definitions, and that it means the same nodes as the operators."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import special

import graphc as gc
from graphc.declare.tensor import index_letters
from graphc.emit.reference import evaluate
from graphc.ir.node import Indicator
from graphc.ir.verify import verify

N = 5
i, j, k, l = gc.indices("i j k l")


def value(x, *data):
    """The numbers of a Tensor, given pairs of declared Tensors and arrays."""
    verify([x.node])
    return evaluate([x.node], {leaf.node: array for leaf, array in zip(data[::2], data[1::2])}, {"n": N})[0]


def declared(name, *shape, seed=0):
    """An input and data for it; the free extent n is 5."""
    rng = np.random.default_rng([seed, *name.encode()])
    return gc.input(name, shape), rng.normal(size=[N if e == "n" else e for e in shape])


def close(actual, expected):
    np.testing.assert_allclose(actual, expected, rtol=1e-13, atol=1e-13)
    assert np.shape(actual) == np.shape(expected)


# ---------------------------------------------------------------- the same nodes


def network():
    x, w0, b0 = gc.input("X", ("n", 3)), gc.param("W0", (3, 4), 0.5), gc.param("B0", (4,), 0.0)
    return x, w0, b0, gc.param("W1", (4, 2), 0.5), gc.param("B1", (2,), 0.0)


def test_a_layer_in_index_notation_is_the_layer_in_matrix_notation():
    x, w, b, _, _ = network()
    z = gc.define("Z", [i, j], gc.sum(w[k, j] * x[i, k], over=k) + b[j])
    assert z.equation is (x @ w + b).equation is (b + x @ w).equation
    h = gc.define("H", [i, j], gc.tanh(gc.sum(x[i, k] * w[k, j], over=k) + b[j]))
    assert h.equation is gc.tanh(x @ w + b).equation


def test_outside_reductions_every_operation_is_the_node_of_the_operator():
    x, w, b, _, _ = network()
    h = gc.define("H", [i, j], gc.tanh(gc.sum(x[i, k] * w[k, j], over=k) + b[j]))
    assert h.node is gc.tanh(x @ w + b).node
    assert gc.define("S", [i], gc.sum(gc.exp(x[i, k]), over=k)).equation is gc.sum(gc.exp(x), axis=1).equation


def test_a_network_with_its_loss_is_one_graph_in_both_notations():
    x, w0, b0, w1, b1 = network()
    t = gc.input("T", ("n", 2))
    y = gc.tanh(x @ w0 + b0) @ w1 + b1
    loss = gc.mean((y - t) ** 2)
    nested = gc.sum(gc.tanh(gc.sum(x[i, k] * w0[k, l], over=k) + b0[l]) * w1[l, j], over=l) + b1[j]
    z = gc.define("Z", [i, j], nested)
    assert z.equation is y.equation
    assert gc.mean((z[i, j] - t[i, j]) ** 2, over=(i, j)).equation is loss.equation


def test_the_order_of_the_letters_is_the_order_of_the_axes():
    (x, a), (w, b) = declared("X", "n", 3), declared("W", 3, 2)
    close(value(gc.define("Z", [j, i], gc.sum(x[i, k] * w[k, j], over=k)), x, a, w, b), (a @ b).T)
    assert gc.define("Z", [j, i], gc.sum(x[i, k] * w[k, j], over=k)).node is (w.T @ x.T).node
    assert gc.define("Y", [j, i], x[i, j]).node is x.T.node
    assert gc.define("Y", [i, j], x[i, j]).node is x.node


def test_the_names_of_the_letters_do_not_matter():
    x, w, *_ = network()
    a, b, c = gc.indices("alpha beta gamma")
    first = gc.define("Z", [i, j], gc.sum(x[i, k] * w[k, j], over=k))
    assert gc.define("Z", [a, b], gc.sum(x[a, c] * w[c, b], over=c)).node is first.node


def test_a_tensor_remembers_its_letters():
    x, w, *_ = network()
    z = gc.define("Z", [i, j], gc.sum(x[i, k] * w[k, j], over=k))
    assert (z.name, z.index_names, index_letters[z.node]) == ("Z", ("i", "j"), ("i", "j"))
    assert x.index_names == ()


# ---------------------------------------------------------------- values


REDUCTIONS = {"sum": np.sum, "mean": np.mean, "max": np.max, "min": np.min, "prod": np.prod} | {
    "logsumexp": special.logsumexp
}


@pytest.mark.parametrize("name", REDUCTIONS)
def test_reductions_over_letters_are_numpys(name):
    x, a = declared("X", "n", 3, 2)
    reduce = getattr(gc, name)
    close(value(gc.define("Y", [j], reduce(x[i, j, k], over=(i, k))), x, a), REDUCTIONS[name](a, axis=(0, 2)))
    close(value(reduce(x[i, j, k] * 2 - 1, over=(i, j, k)), x, a), REDUCTIONS[name](2 * a - 1))


def test_contractions_are_einsums():
    (x, a), (y, b), (z, c) = declared("X", 3, 4), declared("Y", 4, 5), declared("Z", 5, 3)
    close(value(gc.sum(x[i, j] * y[j, k] * z[k, i], over=(i, j, k)), x, a, y, b, z, c), np.trace(a @ b @ c))
    diagonal = gc.define("D", [i], gc.sum(x[i, j] * y[j, k] * z[k, i], over=(j, k)))
    close(value(diagonal, x, a, y, b, z, c), np.diag(a @ b @ c))
    close(value(gc.define("O", [i, j, k], x[i, j] * y[j, k] / 2), x, a, y, b), np.einsum("ij,jk->ijk", a, b) / 2)


def test_sums_of_different_letters_nest():
    (x, a), (y, b) = declared("X", "n", 3), declared("Y", 3)
    softmax = gc.exp(x[i, j] - gc.logsumexp(x[i, k], over=k))
    close(value(gc.define("P", [i, j], softmax), x, a), special.softmax(a, 1))
    entropy = -gc.sum(softmax * gc.log(softmax), over=j)
    p = special.softmax(a, 1)
    close(value(gc.define("E", [i], entropy), x, a), -(p * np.log(p)).sum(1))
    weighted = gc.sum(y[k] * gc.sum(gc.tanh(x[i, k] * y[l]), over=l), over=k)
    close(value(gc.define("S", [i], weighted), x, a, y, b), np.tanh(a[:, :, None] * b).sum(2) @ b)


def test_one_letter_may_be_summed_twice_over_different_extents():
    (x, a), (y, b) = declared("X", 3), declared("Y", 4)
    both = gc.define("S", [i], x[i] * gc.sum(x[k], over=k) + gc.sum(y[k], over=k))
    close(value(both, x, a, y, b), a * a.sum() + b.sum())
    (u, c), (v, d) = declared("U", "n", 3), declared("V", "n", 4)
    rows = gc.define("R", [i], gc.sum(u[i, k], over=k) * gc.sum(v[i, k], over=k))
    close(value(rows, u, c, v, d), c.sum(1) * d.sum(1))


def test_under_a_sum_only_products_are_one_body():
    x, w, *_ = network()
    z = gc.define("Z", [i, j], gc.sum(gc.tanh(x[i, k]) * w[k, j], over=k))
    assert z.node is (gc.tanh(x) @ w).node
    distance = gc.define("D", [i, j], gc.sum((x[i, k] - w[k, j]) ** 2, over=k))
    assert distance.equation is gc.sum((x[:, :, None] - w) ** 2, axis=1).equation
    assert len(distance.equation.reads) == 2


def test_convolutions_run_as_far_as_their_reads_stay_inside():
    (x, a), (w, b) = declared("X", "n", 9), declared("W", 3)
    plain = gc.define("Y", [i, j], gc.sum(x[i, j + k] * w[k], over=k))
    close(value(plain, x, a, w, b), np.array([np.correlate(row, b) for row in a]))
    strided = gc.define("Y", [i, j], gc.sum(x[i, 2 * j + k] * w[k], over=k))
    close(value(strided, x, a, w, b), np.array([np.correlate(row, b)[::2] for row in a]))
    dilated = gc.define("Y", [i, j], gc.sum(x[i, j + 2 * k] * w[k], over=k))
    close(value(dilated, x, a, w, b), a[:, 0:5] * b[0] + a[:, 2:7] * b[1] + a[:, 4:9] * b[2])
    assert plain.shape == ("n", 7) and strided.shape == ("n", 4)


def test_pictures_are_convolved_over_two_axes():
    (x, a), (w, b) = declared("X", "n", 6, 5), declared("W", 3, 2)
    p, q = gc.indices("p q")
    y = gc.define("Y", [i, p, q], gc.sum(x[i, p + k, q + l] * w[k, l], over=(k, l)))
    windows = np.lib.stride_tricks.sliding_window_view(a, (3, 2), axis=(1, 2))
    close(value(y, x, a, w, b), np.einsum("npqkl,kl->npq", windows, b))


def test_an_index_with_a_given_extent_may_run_shorter_or_alone():
    x, a = declared("X", 5)
    s = gc.indices("s", s=4)
    close(value(gc.define("D", [s], x[s + 1] - x[s]), x, a), np.diff(a))
    close(value(gc.define("R", [s], x[4 - s]), x, a), a[:0:-1])
    close(value(gc.define("C", [s, i], x[i]), x, a), np.tile(a, (4, 1)))
    close(value(gc.define("A", [s], 2 * s + 1), x, a), [1, 3, 5, 7])


def test_integer_data_choose_the_place_of_an_index_that_nothing_else_tells():
    """Mutation-checked: a difference of the labels with themselves in ``index_equal`` is seen."""
    (m, a), (u, b) = declared("M", "n", 3), declared("U", "n")
    t, labels = gc.input("T", ("n",), dtype="int64"), np.array([3, 0, 0, 5, 3])
    s, e = gc.indices("s e", s=6)
    one_hot = (labels == np.arange(6)[:, None]) * 1.0
    sums = gc.define("S", [s, j], gc.sum(gc.equal(t[e], s) * m[e, j], over=e))
    close(value(sums, m, a, t, labels), one_hot @ a)
    assert sums.equation is gc.define("R", [s, j], gc.sum(gc.equal(s, t[e]) * m[e, j], over=e)).equation
    assert gc.segment_sum(m, t, 6).equation is sums.equation
    close(value(gc.define("H", [s, e], gc.equal(s, t[e]) * u[e]), u, b, t, labels), one_hot * b)
    largest = gc.max(gc.where(gc.equal(t[e], s), u[e], -9), over=e)
    close(value(gc.define("L", [s], largest), u, b, t, labels), np.where(one_hot > 0, b, -9).max(1))


def test_floors_and_remainders_of_letters_repeat_and_pool():
    x, a = declared("X", 4)
    s = gc.indices("s", s=8)
    close(value(gc.define("U", [s], x[s // 2]), x, a), np.repeat(a, 2))
    close(value(gc.define("P", [s], x[s % 4]), x, a), np.tile(a, 2))
    pool = gc.indices("d", d=2)
    close(value(gc.define("M", [i], gc.max(x[2 * i + pool], over=pool)), x, a), a.reshape(2, 2).max(1))


def test_integer_data_select_in_index_notation():
    (e, a), (z, b) = declared("E", 7, 3), declared("Z", "n", 4)
    t, labels = gc.input("T", ("n",), dtype="int64"), np.array([3, 0, 0, 2, 1])
    close(value(gc.define("Y", [i, j], e[t[i], j]), e, a, t, labels), a[labels])
    loss = gc.mean(gc.logsumexp(z[i, j], over=j) - z[i, t[i]], over=i)
    expected = (special.logsumexp(b, 1) - b[np.arange(N), labels]).mean()
    close(value(loss, z, b, t, labels), expected)
    assert loss.equation is gc.losses.cross_entropy(z, t).equation


def test_letters_compare_and_count():
    x, a = declared("X", 4, 4)
    lower = gc.where(j <= i, x[i, j], 0)
    close(value(gc.define("L", [i, j], lower), x, a), np.tril(a))
    close(value(gc.define("L", [i, j], gc.where(i > j, x[i, j], 7)), x, a), np.where(np.tri(4, k=-1) > 0, a, 7))
    close(value(gc.define("L", [i, j], gc.where(i < j, x[i, j], 7)), x, a), np.where(np.tri(4) > 0, 7, a))
    close(value(gc.define("L", [i, j], gc.where(i >= 2, x[i, j], 7)), x, a), np.vstack([np.full((2, 4), 7), a[2:]]))
    close(value(gc.sum(gc.equal(i, j) * x[i, j], over=(i, j)), x, a), np.trace(a))
    close(value(gc.define("H", [i, j], x[i, j] * (i < 1.5)), x, a), a * (np.arange(4) < 1.5)[:, None])
    close(value(gc.define("K", [i, j], i * x[i, j] - j / 2), x, a), np.arange(4)[:, None] * a - np.arange(4) / 2)
    close(value(gc.define("C", [i], gc.sum(gc.where(k <= i, x[0, k] + 0 * x[i, 0], 0), over=k)), x, a), np.cumsum(a[0]))


def test_a_condition_between_letters_is_an_indicator():
    x = gc.input("X", (4, 4))
    y = gc.define("L", [i, j], gc.where(j <= i, x[i, j], 0))
    assert any(isinstance(op, Indicator) for op in y.node.operands)


def test_scalars_and_negative_places_stand_among_letters():
    (x, a), (s, b) = declared("X", "n", 3), declared("S")
    y = gc.define("Y", [i], s * x[i, -1] + x[i, 0])
    close(value(y, x, a, s, b), b * a[:, -1] + a[:, 0])
    close(value(gc.define("c", [], s + 1), s, b), b + 1)
    close(value(gc.define("Y", [i], gc.sum(x[k, 0], over=k) / x[i, 1]), x, a), a[:, 0].sum() / a[:, 1])


def test_a_user_function_applies_to_an_element():
    x, a = declared("X", "n", 3)
    f = gc.function("f", "z**2 + 1")
    assert gc.define("Y", [i, j], f(x[i, j])).node is f(x).node
    close(value(gc.define("Y", [i], gc.sum(f.d()(x[i, k]), over=k)), x, a), 2 * a.sum(1))


def test_expressions_print_as_they_were_written():
    x, w = gc.input("X", ("n", 3)), gc.param("W", (3, 2), 0.5)
    assert repr(gc.sum(x[i, k + 1] * w[2 * k - 1, j], over=k)) == "sum((X[i, k + 1]*W[2*k - 1, j]), over=k)"
    assert repr(-i + 3) == "-i + 3" and repr(i // 2 + j % 3) == "(i)//2 + ((j) % 3)"
