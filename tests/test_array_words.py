"""NumPy's reductions, products and shapes: values are NumPy's, derivatives JAX's, on shapes and axes that are drawn."""

from __future__ import annotations

import doctest
import importlib
import re
from functools import partial
from types import SimpleNamespace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import special

import graphc as gc
from graphc.errors import GraphcError, IndexNotationError, ShapeError
from tests import graphs

MODULES = (
    "statistics counting norms products einsum diagonals repeating shapes cumulative reductions rearrange"
    " remainders places sorting"
)
PLAIN = (
    "sum mean max min prod var std average ptp any all count_nonzero argmax argmin cumsum cumprod diff unwrap trace"
    " diagonal diag tril triu outer inner dot vdot tensordot einsum kron cross squeeze expand_dims swapaxes moveaxis"
    " flip roll repeat tile pad ravel broadcast_to zeros_like ones_like full_like hstack vstack split take meshgrid"
).split()


def _softmax(xp: Any) -> Any:
    def softmax(a: Any, axis: Any) -> Any:
        e = xp.exp(a - xp.max(a, axis=axis, keepdims=True))
        return e / xp.sum(e, axis=axis, keepdims=True)

    return softmax


NUMPY = SimpleNamespace(
    **{name: getattr(np, name) for name in PLAIN}, norm=np.linalg.norm, log_softmax=special.log_softmax,
    softmin=lambda a, axis: special.softmax(-a, axis), logcumsumexp=lambda a, axis: np.logaddexp.accumulate(a, axis),
)  # fmt: skip
JAX = SimpleNamespace(
    **{name: getattr(jnp, name) for name in PLAIN}, norm=jnp.linalg.norm, log_softmax=jax.nn.log_softmax,
    softmin=lambda a, axis: jax.nn.softmax(-a, axis),
    logcumsumexp=lambda a, axis: jax.lax.cumlogsumexp(a, axis % a.ndim),
)  # fmt: skip


class Pick:
    """Choices that a word makes of its arguments, the same for every library."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)

    def axis(self, x: Any) -> int:
        return int(self.rng.integers(-x.ndim, x.ndim))

    def axes(self, x: Any) -> Any:
        some = tuple(t for t in range(x.ndim) if self.rng.random() < 0.6)
        return None if self.rng.random() < 0.3 else some

    def flag(self) -> bool:
        return bool(self.rng.random() < 0.5)

    def whole(self, low: int, high: int) -> int:
        return int(self.rng.integers(low, high))

    def array(self, *shape: int) -> np.ndarray:
        return self.rng.normal(size=shape)


def sizes(x: Any) -> list[int]:
    """The extents, 3 for a free one."""
    return [e if isinstance(e, int) else 3 for e in x.shape]


def reduced(name: str) -> Any:
    def word(o: Any, x: Any, p: Pick) -> Any:
        return getattr(o, name)(x, axis=p.axes(x), keepdims=p.flag())

    return word


def reduced_where(name: str) -> Any:
    def word(o: Any, x: Any, p: Pick) -> Any:
        mask = p.rng.random(sizes(x)[-1:]) < 0.7
        start = {"max": {"initial": -np.inf}, "min": {"initial": np.inf}}.get(name, {}) if o is not gc else {}
        mask[0] = True
        axes = p.axes(x)
        axes = axes if axes and x.ndim - 1 in axes else None  # something is chosen everywhere
        return getattr(o, name)(x, axis=axes, where=mask, **start)

    return word


def along(name: str) -> Any:
    return lambda o, x, p: getattr(o, name)(x, axis=p.axis(x))


def weighted(o: Any, x: Any, p: Pick) -> Any:
    axis = p.axis(x)
    return o.average(x, axis=axis, weights=np.abs(p.array(sizes(x)[axis])))


def deviation(o: Any, x: Any, p: Pick) -> Any:
    return o.std(x, axis=p.axis(x), ddof=0.5, keepdims=p.flag())


def norms(o: Any, x: Any, p: Pick) -> Any:
    order = [None, 1, 2, 3, np.inf, -np.inf, 1.5][p.whole(0, 7)]
    return o.norm(x, order, p.axis(x), keepdims=p.flag())


def norms_of_matrices(o: Any, x: Any, p: Pick) -> Any:
    order = [None, "fro", 1, -1, np.inf, -np.inf][p.whole(0, 6)]
    axes = [(-2, -1), (1, 0)][p.whole(0, 2)]
    return o.norm(x, order, axes, keepdims=p.flag())


def diagonals(name: str) -> Any:
    def word(o: Any, x: Any, p: Pick) -> Any:
        rows, columns = sizes(x)[0], sizes(x)[-1]
        return getattr(o, name)(x, p.whole(1 - rows, columns), 0, -1)

    return word


def triangle(name: str) -> Any:
    return lambda o, x, p: getattr(o, name)(x, p.whole(-2, 3))


def tensordots(o: Any, x: Any, p: Pick) -> Any:
    axes = p.rng.permutation(x.ndim)[: p.whole(0, x.ndim + 1)].tolist()
    other = p.array(*[sizes(x)[t] for t in axes], 2)
    return o.tensordot(x, other, (axes, list(range(len(axes)))))


def einsums(o: Any, x: Any, p: Pick) -> Any:
    a, b = p.array(sizes(x)[-1], 4), p.array(4, 2)
    text = ["...i,ij,jk->...k", "...i,ij,jk->k...j", "...i,ij", "...i,ij,jk"][p.whole(0, 4)]
    return o.einsum(text, x, a, b) if text.count(",") > 1 else o.einsum(text, x, a)


def crosses(o: Any, x: Any, p: Pick) -> Any:
    axis = p.axis(x)
    three = o.take(x, np.array([0, -1, 0]), axis=axis)
    return o.cross(three, o.take(x**2, np.array([-1, -1, 0]), axis=axis), axis=axis)


def rolls(o: Any, x: Any, p: Pick) -> Any:
    if p.flag():
        return o.roll(x, p.whole(-5, 6))
    return o.roll(x, (p.whole(-5, 6), 1), axis=(p.axis(x), -1))


def repeats(o: Any, x: Any, p: Pick) -> Any:
    axis = p.axis(x)
    each = p.rng.integers(0, 3, sizes(x)[axis])
    each[0] = 2
    return o.repeat(x, p.whole(1, 4), axis) if p.flag() else o.repeat(x, each, axis)


def pads(o: Any, x: Any, p: Pick) -> Any:
    mode = ["constant", "edge", "reflect", "symmetric", "wrap"][p.whole(0, 5)]
    widths = [(0, 0), *((p.whole(0, 4), p.whole(0, 4)) for _ in range(x.ndim - 1))]
    return o.pad(x, widths, **({"constant_values": 0.5} if p.flag() and mode == "constant" else {"mode": mode}))


def splits(o: Any, x: Any, p: Pick) -> Any:
    axis = p.axis(x)
    n = sizes(x)[axis]
    parts = o.split(x, n if p.flag() or n == 1 else [1], axis)
    return parts[-1] * 2 + parts[0] * 0 if n == 2 or len(parts) == n else parts[-1]


def differences(o: Any, x: Any, p: Pick) -> Any:
    axis = p.axis(x)
    return o.diff(x, p.whole(0, 2), axis, prepend=x if p.flag() else 0.5, append=x)


def angles(o: Any, x: Any, p: Pick) -> Any:
    return o.unwrap(3 * x, axis=p.axis(x), period=p.whole(1, 6) + 0.5)


def grids(o: Any, x: Any, p: Pick) -> Any:
    u, v = o.meshgrid(o.sum(x, axis=tuple(range(1, x.ndim))), p.array(2), indexing="xy" if p.flag() else "ij")
    return u * v


WORDS: dict[str, tuple[int, Any]] = {
    **{name: (1, reduced(name)) for name in ("var", "std", "ptp", "any", "all")},
    "count_nonzero": (1, lambda o, x, p: o.count_nonzero(x > 0, axis=p.axis(x), keepdims=p.flag())),
    **{f"{name} where": (1, reduced_where(name))
       for name in ("sum", "mean", "max", "min", "prod", "var", "std", "any", "all")},
    **{name: (1, along(name)) for name in
       ("argmax", "argmin", "cumsum", "cumprod", "logcumsumexp", "log_softmax", "softmin", "flip")},
    "cumsum of all": (1, lambda o, x, p: o.cumsum(x)),
    "argmin of all": (1, lambda o, x, p: o.argmin(x, keepdims=p.flag())),
    "average": (1, weighted), "std with ddof": (1, deviation), "diff": (1, differences),
    "unwrap": (1, angles),
    "norm": (1, norms), "norm of matrices": (2, norms_of_matrices), "norm of all": (1, lambda o, x, p: o.norm(x)),
    "trace": (2, diagonals("trace")), "diagonal": (2, diagonals("diagonal")),
    "diag": (1, lambda o, x, p: o.diag(o.max(x, axis=tuple(range(1, x.ndim))), p.whole(-2, 3))),
    "tril": (2, triangle("tril")), "triu": (2, triangle("triu")),
    "outer": (1, lambda o, x, p: o.outer(x, p.array(2, 2))),
    "inner": (1, lambda o, x, p: o.inner(x, p.array(2, sizes(x)[-1]))),
    "dot": (1, lambda o, x, p: o.dot(x, p.array(2, sizes(x)[-1], 3))),
    "dot of vectors": (1, lambda o, x, p: o.dot(x, p.array(sizes(x)[-1]))),
    "vdot": (1, lambda o, x, p: o.vdot(x, x)), "tensordot": (1, tensordots), "einsum": (1, einsums),
    "kron": (1, lambda o, x, p: o.kron(x, p.array(2, 3)) if p.flag() else o.kron(p.array(2), x)),
    "cross": (1, crosses), "squeeze": (1, lambda o, x, p: o.squeeze(x)),
    "expand_dims": (1, lambda o, x, p: o.expand_dims(x, (0, -1)) if p.flag() else o.expand_dims(x, p.axis(x))),
    "swapaxes": (1, lambda o, x, p: o.swapaxes(x, p.axis(x), p.axis(x))),
    "moveaxis": (2, lambda o, x, p: o.moveaxis(x, (0, -1), (1, 0)) if p.flag() else o.moveaxis(x, p.axis(x), 0)),
    "roll": (1, rolls), "repeat": (1, repeats), "pad": (1, pads), "ravel": (1, lambda o, x, p: o.ravel(x)),
    "tile": (1, lambda o, x, p: o.tile(x, 2) if p.flag() else o.tile(x, (2, *(1,) * (x.ndim - 1), p.whole(1, 4)))),
    "broadcast_to": (1, lambda o, x, p: o.broadcast_to(x, (2, *x.shape))),
    "full_like": (1, lambda o, x, p: o.full_like(x, 3) * x + o.zeros_like(x) - o.ones_like(x)),
    "hstack": (1, lambda o, x, p: o.hstack([x, x * 2])), "vstack": (1, lambda o, x, p: o.vstack([x, x * 2])),
    "split": (1, splits), "meshgrid": (1, grids),
    "take": (1, lambda o, x, p: o.take(x, np.array([[0, -1], [0, 0]]), axis=p.axis(x))),
}  # fmt: skip
WITH_ROWS = (
    "var std ptp any all count_nonzero argmax argmin cumsum cumprod logcumsumexp log_softmax softmin flip norm average"
    " diff unwrap tril triu inner dot vdot tensordot einsum kron cross squeeze expand_dims swapaxes moveaxis roll"
    " repeat pad broadcast_to full_like hstack split meshgrid take"
).split()


def declared(shape: tuple[int, ...], seed: int, free: bool = False) -> tuple[gc.Tensor, np.ndarray]:
    """An input of a shape, its first extent free or not, and data in which some elements are equal and some 0."""
    data = np.random.default_rng(seed).normal(size=shape).round(1)
    return gc.input("X", ("n", *shape[1:]) if free else shape), data


def close(found: Any, wanted: Any, label: Any) -> None:
    assert np.shape(found) == np.shape(wanted), (label, np.shape(found), np.shape(wanted))
    np.testing.assert_allclose(found, wanted, rtol=1e-12, atol=1e-12, err_msg=str(label))


shapes = st.lists(st.integers(1, 4), min_size=1, max_size=4).map(tuple)


@settings(max_examples=400)
@given(st.sampled_from(list(WORDS)), shapes, st.integers(0, 999), st.booleans())
def test_values_are_numpys_for_any_shape_and_axis(name, shape, seed, free):
    """What a free extent does not allow is refused by its name; with known extents we accept what NumPy accepts.

    Mutation-checked: a roll to the other side, tril for triu and ddof left out of the divisor are caught.
    """
    least, word = WORDS[name]
    shape = (2,) * (least - len(shape)) + shape
    if free:
        shape = (3, *shape[1:])  # what words that need a number take for n
    x, a = declared(shape, seed, free)
    try:
        wanted = word(NUMPY, a, Pick(seed))
    except ValueError:
        with pytest.raises(GraphcError):
            word(gc, x, Pick(seed))
        return
    try:
        found = word(gc, x, Pick(seed))
    except (ShapeError, IndexNotationError) as error:
        assert (free and re.search(r"[ \[(]n\b", str(error))) or np.size(wanted) == 0, (name, shape, seed, str(error))
        return
    close(graphs.reference([found], {x: a})[0], wanted, (name, shape, seed))
    if free:
        assert [e == "n" for e in found.shape].count(True) <= 2


@pytest.mark.parametrize("name", WITH_ROWS)
def test_words_work_beside_or_along_rows_whose_number_is_free(name):
    least, word = WORDS[name]
    worked = 0
    for seed in range(12):
        x, a = declared((3, 4, 3)[: max(least, 2)], seed, free=True)
        try:
            found = word(gc, x, Pick(seed))
        except (ShapeError, IndexNotationError):
            continue
        close(graphs.reference([found], {x: a})[0], word(NUMPY, a, Pick(seed)), (name, seed))
        worked += 1
    assert worked, name


def test_gradients_are_those_of_jax():
    """Of the weighted sum of all elements of every word, at points without ties, in one program of JAX.

    Mutation-checked: a logsumexp weight without its exp is caught.
    """
    left = ("any", "all", "count_nonzero", "argmax", "argmin", "any where", "all where", "argmin of all")
    chosen = [(name, seed) for name in WORDS if name not in left for seed in range(2)]
    x = gc.input("X", (3, 4))
    a = np.random.default_rng(5).normal(size=(3, 4))

    def loss(o: Any, x: Any, name: str, seed: int) -> Any:
        y = WORDS[name][1](o, x, Pick(seed))
        return o.sum(y * np.random.default_rng(1).normal(size=sizes(y)))

    theirs = graphs.in_jax(lambda a: [jax.grad(partial(loss, JAX))(a, *one) for one in chosen])(a)
    for one, wanted in zip(chosen, theirs, strict=True):
        graphs.assert_near(graphs.reference([gc.grad(loss(gc, x, *one), x)], {x: a})[0], wanted, 1e-12, one)


def test_the_standard_deviation_of_a_constant_column_and_the_norm_at_0_have_gradient_0():
    x, a = gc.input("X", ("n", 3)), np.random.default_rng(0).normal(size=(5, 3))
    a[:, 1] = 0.7
    gradient = graphs.reference([gc.grad(gc.sum(gc.std(x, axis=0, ddof=1)), x)], {x: a})[0]
    assert np.isfinite(gradient).all() and not gradient[:, 1].any() and gradient[:, [0, 2]].all()
    assert not graphs.reference([gc.grad(gc.norm(x), x)], {x: 0 * a})[0].any()
    for order in (1, 2, 3, np.inf):
        assert np.isfinite(graphs.reference([gc.grad(gc.sum(gc.norm(x, order, axis=1)), x)], {x: 0 * a})[0]).all()


def test_a_running_product_is_exact_at_zeros_to_the_second_derivative():
    x, a = gc.input("X", (4,)), np.array([2.0, 0.0, 3.0, 0.0])
    wanted = graphs.in_jax(jax.hessian(lambda a: jnp.sum(jnp.cumprod(a) * jnp.arange(1.0, 5))))(a)
    close(graphs.reference([gc.hessian(gc.sum(gc.cumprod(x) * np.arange(1.0, 5)), x)], {x: a})[0], wanted, "hessian")


def test_angles_that_are_half_a_period_apart_go_on_in_their_direction():
    """As in NumPy, and with a gradient of whole periods; seen to fail with the other direction."""
    x, a = gc.input("X", (2, 6)), np.outer([1, -1], np.pi * np.arange(6))
    for how in ({}, {"discont": 4.0}, {"period": 2.0}):
        y = gc.unwrap(x, **how)
        np.testing.assert_array_equal(graphs.reference([y], {x: a})[0], np.unwrap(a, **how))
        np.testing.assert_array_equal(graphs.reference([gc.grad(gc.sum(y**2) / 2, x)], {x: a})[0], np.unwrap(a, **how))


def test_matrices_of_free_extents_have_their_diagonal_and_triangles():
    x, a = gc.input("X", ("n", "n")), np.random.default_rng(0).normal(size=(3, 3))
    for name, options in [("trace", {}), ("diagonal", {}), ("tril", {"k": 1}), ("triu", {"k": -1}), ("diag", {})]:
        close(graphs.reference([getattr(gc, name)(x, **options)], {x: a})[0], getattr(np, name)(a, **options), name)
    close(graphs.reference([gc.diag(x[0])], {x: a})[0], np.diag(a[0]), "diag of a vector")


def test_arrays_of_booleans_and_places_from_the_end_index_as_in_numpy():
    (x, a), mask = declared((3, 4, 2), 0, free=True), np.array([True, False, True, True])
    square = np.arange(8).reshape(4, 2) % 3 == 0
    keys = [(slice(None), mask), (slice(None), list(mask)), (0, mask), (..., mask, 1), (slice(None), square),
            (..., square), (slice(None), [-1, 0, -4]), (slice(None), np.array([[-1], [2]]), [0, -1]), (-1, None, [0])]
    for key in keys:
        close(graphs.reference([x[key]], {x: a})[0], a[key], key)


WRONG = {
    "roll: axis 0 of X[n, 4] has the free extent n": lambda x, w: gc.roll(x, 1, axis=0),
    "diff: axis 0 of X[n, 4] has the free extent n": lambda x, w: gc.diff(x, axis=0),
    "unwrap: axis 0 of X[n, 4] has the free extent n": lambda x, w: gc.unwrap(x, axis=0),
    "unwrap: period is 0": lambda x, w: gc.unwrap(x, period=0),
    "ravel: X[n, 4] has the free extent n beside other axes, so the number is unknown": lambda x, w: gc.ravel(x),
    "squeeze: axis 1 of X[n, 4] has extent 4, not 1": lambda x, w: gc.squeeze(x, 1),
    "vstack: axis 0 of X[n, 4] has the free extent n": lambda x, w: gc.vstack([x, x]),
    "split: axis 0 of W[4, 3] has 4 elements, which are not 3 equal parts": lambda x, w: gc.split(w, 3),
    "var: ddof=4 leaves nothing of the 4 elements of W[4, 3] that are taken together": lambda x, w: gc.var(w, 0, 4),
    "average: the weights have shape (3,) for X[n, 4]": lambda x, w: gc.average(x, axis=1, weights=[1, 2, 3]),
    "norm: the norm 2 of matrices is not known, it needs singular values": lambda x, w: gc.norm(w, 2),
    "einsum 'ij,kj': index j runs to 4 on axis 1 of X[n, 4] but axis 1 of W[4, 3] has extent 3": lambda x, w: gc.einsum(
        "ij,kj", x, w
    ),
    "einsum: 'ij,jk->ik' has 2 groups of letters for 1 operands": lambda x, w: gc.einsum("ij,jk->ik", x),
    "einsum: 'ij->ii' has the index i twice in the result": lambda x, w: gc.einsum("ij->ii", x),
    "diagonal: diagonal 0 of X[n, 4] has no known number of elements": lambda x, w: gc.diagonal(x),
    "tensordot: axis 1 of X[n, 4] has extent 4 but axis 1 of W[4, 3] has extent 3": lambda x, w: gc.tensordot(
        x, w, (1, 1)
    ),
    "cross: axis -1 of X[n, 4] has extent 4": lambda x, w: gc.cross(x, x),
    "indexing X[n, 4]: an array of booleans for the free extent n": lambda x, w: x[np.array([True, False])],
    "indexing W[4, 3]: an array of booleans has shape (3,)": lambda x, w: w[[True, False, True]],
    "an index below 0 for axis 0 of X[n, 4], whose extent n is free": lambda x, w: x[[0, -1]],
    "gc.max: axis=, keepdims= and where= belong to Tensors, and X[i, j] is an indexed expression": lambda x, w: gc.max(
        x[gc.indices("i j")], where=False
    ),
}


@pytest.mark.parametrize("message", WRONG)
def test_what_cannot_be_is_refused_in_the_names_of_the_user(message):
    with pytest.raises(GraphcError) as caught:
        WRONG[message](gc.input("X", ("n", 4)), gc.param("W", (4, 3)))
    text = str(caught.value).split("\n")
    assert text[0] == message and text[-1].startswith("  hint: ") and text[1].startswith("  at test_array_words.py:")


def test_einsum_multiplies_three_matrices_pair_after_pair():
    """The sum over both inner indices at once would cost the product of all extents."""
    a, b, c = gc.input("A", ("n", 30)), gc.input("B", (30, 40)), gc.input("C", (40, 2))
    assert gc.einsum("ij,jk,kl->il", a, b, c).equation is (a @ (b @ c)).equation
    assert gc.einsum("ij,jk", a, b).equation is (a @ b).equation
    assert gc.dot(a, b).equation is gc.tensordot(a, b, 1).equation is gc.inner(a, b.T).equation is (a @ b).equation


def test_the_equations_read_as_one_would_write_them():
    x, w = gc.input("X", ("n", 3)), gc.param("A", (3, 3))
    lines = [str(gc.trace(w)), str(gc.outer(x[:, 0], w[0])), str(gc.var(x, axis=0, ddof=1)), str(gc.roll(x, 1, axis=1))]
    assert [re.split("  +", line)[-2].split("\n")[-1] for line in lines] == [
        "Y = Σ_i A[i,i]", "Y[i,j] = X[i,0]·A[0,j]", "Y[i] = 1/(n - 1) Σ_j (X[j,i] - 1/n Σ_k X[k,i])²",
        "Y[i,j] = X[i,(j+2 mod 3)]",
    ]  # fmt: skip


@pytest.mark.parametrize("module", MODULES.split())
def test_the_examples_of_the_docstrings_are_right(module):
    found = doctest.testmod(importlib.import_module(f"graphc.declare.{module}"))
    assert found.failed == 0 and found.attempted > 0
