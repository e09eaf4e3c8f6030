"""Sums of the rows that belong together: values and derivatives beside JAX, interpreted and compiled."""

from __future__ import annotations

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import graphc as gc
from graphc.errors import DataError
from graphc.lower.plan import scatter_target
from tests.graphs import assert_near, in_jax, reference
from tests.nets import text_of

TOLERANCE = 1e-13
segments = jax.ops.segment_sum


def our_loss(values, ids, count):
    return gc.sum(gc.tanh(gc.segment_sum(values**2, ids, count)) * gc.segment_sum(gc.sin(values), ids, count))


def loss_of_jax(values, ids, count):
    return jnp.sum(jnp.tanh(segments(values**2, ids, count)) * segments(jnp.sin(values), ids, count))


def outputs_of_jax(values, move, ids, count):
    """The sums, the loss, its gradient and its second derivative in the direction ``move``."""
    slope = jax.grad(loss_of_jax)
    _, second = jax.jvp(lambda v: slope(v, ids, count), (values,), (move,))
    return segments(values, ids, count), loss_of_jax(values, ids, count), slope(values, ids, count), second


def our_outputs(values, move, ids, count):
    loss = our_loss(values, ids, count)
    return [gc.segment_sum(values, ids, count), loss, gc.grad(loss, values), gc.hvp(loss, values, move)]


@settings(max_examples=10)
@given(st.integers(1, 9), st.integers(1, 6), st.lists(st.integers(1, 3), max_size=2), st.integers(0, 999))
def test_value_gradient_and_second_derivative_are_those_of_jax(rows, count, rest, seed):
    """Mutation-checked: labels that are one too small are seen."""
    rng = np.random.default_rng(seed)
    shape = (rows, *rest)
    values, move = gc.param("V", shape, 0.0), gc.input("D", shape)
    ids = gc.input("ids", (rows,), dtype="int64")
    arrays = [rng.normal(size=shape), rng.normal(size=shape), rng.integers(0, count, rows)]
    found = reference(our_outputs(values, move, ids, count), dict(zip((values, move, ids), arrays)))
    with jax.enable_x64(True):
        wanted = outputs_of_jax(*map(jnp.asarray, arrays), count)
    for y, exact in zip(found, wanted, strict=True):
        assert_near(y, np.asarray(exact), TOLERANCE, (shape, count))


def cases():
    """(values, move, ids, count) of Tensors and their arrays: fixed and free rows, one to three axes, free counts."""
    rng = np.random.default_rng(7)
    free, X = gc.input("free", ("m",), dtype="int64"), gc.input("X", ("n", 2))
    arrays = {free: rng.integers(0, 5, 11), X: rng.normal(size=(5, 2))}
    fixed = rng.integers(0, 4, 7)
    found = []
    for name, shape, ids, count in [
        ("A", (7,), fixed, 4), ("B", (7, 3), fixed, 9), ("C", (7, 2, 3), fixed, 4), ("E", ("m", 3), free, 5),
        ("F", ("m",), free, "n"), ("G", ("m", 2), free, "n"), ("H", (1, 2), [0], 1),
    ]:  # fmt: skip
        sizes = [11 if e == "m" else e for e in shape]
        both = gc.input(name, shape), gc.input(f"{name}_move", shape)
        arrays |= {t: rng.normal(size=sizes) for t in both}
        found.append((*both, ids, count))
    return found, arrays, X, free


def test_compiled_sums_scatter_and_are_those_of_jax():
    """Mutation-checked: an accumulation ``=`` for ``+=`` in the scattering loop is seen."""
    found, arrays, X, free = cases()
    outputs = [y for case in found for y in our_outputs(*case)] + [gc.sum(X**2)]
    f = gc.compile(outputs, list(arrays))
    numbers = iter(f(*arrays.values()))
    for values, move, ids, count in found:
        places = arrays[free] if ids is free else np.asarray(ids)
        many = 5 if count == "n" else count
        wanted = in_jax(lambda v, d, p=places, c=many: outputs_of_jax(v, d, p, c))(arrays[values], arrays[move])
        for exact in wanted:
            assert_near(next(numbers), exact, TOLERANCE, values.name)
    assert_near(next(numbers), (arrays[X] ** 2).sum(), TOLERANCE)
    loops = [line.strip() for line in f.source.splitlines() if " = x0_free[" in line]
    assert loops, "no loop of the program scatters"
    _labels_beyond_the_data_are_refused(f, arrays, free)


def _labels_beyond_the_data_are_refused(f, arrays, free):
    for label, text in [(5, "from 0 to 5"), (-1, "from -1 to 4")]:
        wrong = arrays[free].copy()
        wrong[:2] = label, 0 if label > 0 else 4
        wrong[2:] = np.minimum(wrong[2:], 4)
        with pytest.raises(DataError) as caught:
            f(*(arrays | {free: wrong}).values())
        assert text_of(caught) == (
            f"free holds labels {text} but there are 5 classes, 0 to 4\n"
            f"  hint: number the classes from 0, or widen the last layer"
        )


def test_a_loop_scatters_only_where_the_labels_are_known_to_lie_inside():
    """A label outside would be written elsewhere in memory. Mutation-checked: a target of any gather is seen."""
    values, ids = gc.input("V", (4, 2)), gc.input("ids", (4,), dtype="int64")
    c, e, j = gc.indices("c e j", c=3)
    open_sum = gc.define("S", [c, j], gc.sum(gc.equal(ids[e], c) * values[e, j], over=e))
    assert scatter_target(open_sum.equation) is None
    assert scatter_target(gc.segment_sum(values, ids, "n").equation) is not None
    assert scatter_target(gc.segment_sum(values, ids, 3).equation) is not None
    assert scatter_target(open_sum.equation) is not None, "ids are now checked to lie below 3"


def test_rows_whose_id_is_not_below_a_free_count_belong_nowhere():
    values, ids, X = gc.input("V", (4,)), gc.input("ids", (4,), dtype="int64"), gc.input("X", ("n",))
    sums = X * gc.segment_sum(values, ids, "n")
    feed = {values: np.arange(4.0), ids: np.array([1, 7, 1, 2]), X: np.ones(3)}
    np.testing.assert_array_equal(reference([sums], feed)[0], [0, 2, 3])


def test_the_printed_gradient_hands_every_row_the_one_of_its_sum():
    values, ids = gc.param("V", (5, 2), 0.0), gc.input("ids", (5,), dtype="int64")
    printed = str(gc.derive(gc.sum(gc.segment_sum(values, ids, 3) ** 2), values).index())
    assert [re.sub(r"  +(=|\S+$)", r" \1", line).rpartition(" ")[0] for line in printed.splitlines()] == [
        "S0[i,j] = Σ_{k: ids[k]=i} V[k,j]",
        "J = Σ_{i,j} S0[i,j]²",
        "∂J/∂V[k,j] = 2·S0[ids[k],j]",
    ]


def test_negative_labels_without_a_known_extent_are_refused():
    ids, values, X = gc.input("ids", (3,), dtype="int64"), gc.input("V", (3,)), gc.input("X", ("n",))
    model = gc.Model(loss=gc.sum(gc.param("w", (), 1.0) * X) + gc.sum(gc.segment_sum(values, ids, "n") ** 2 * X))
    with pytest.raises(DataError) as caught:
        model.check({"ids": [0, -2, 1], "V": [1.0, 2.0, 3.0], "X": [1.0, 2.0]})
    assert text_of(caught) == "ids serves as an index but holds -2\n  hint: number the classes from 0"
