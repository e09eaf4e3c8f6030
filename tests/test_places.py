"""Elements at places along an axis, and in order: NumPy's values, JAX's derivatives, and the same compiled."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import graphc as gc
from graphc.errors import DomainError, GraphcError, IndexNotationError, ShapeError, TypeMismatchError
from tests import graphs
from tests.covering.plain import Plain, in_python
from tests.nets import text_of

RNG = np.random.default_rng(5)
x, u = RNG.normal(size=(3, 5)), RNG.normal(size=(3, 4))
TIED = np.array([[2.0, -1.0, 2.0, 0.0, -1.0], [1.0, 1.0, 1.0, 1.0, 1.0], [0.0, 3.0, 1.0, 2.0, 3.0]])
APART = np.array([[4, 0, 2, 1], [3, 1, 0, 2], [0, 1, 2, 4]])  # each place once
TWICE = np.array([[4, 0, 4, 1], [3, 3, 3, 3], [0, 1, 2, 0]])

X, V = gc.input("X", ("n", 5)), gc.input("V", ("n", 4))
P = gc.input("P", ("n", 4), dtype="int64")


def put(reduce: str | None) -> Any:
    """NumPy's and JAX's: elements of x and u, one after the other, at the places p along the last axis."""
    how = {None: "set", "sum": "add", "prod": "multiply", "max": "max", "min": "min"}[reduce]

    def run(a: Any, b: Any, p: Any) -> Any:
        for k in range(b.shape[1]):
            a = getattr(a.at[jnp.arange(a.shape[0]), p[:, k]], how)(b[:, k], unique_indices=True)
        return a

    return run


WORDS: dict[str, tuple[Any, Any, np.ndarray]] = {
    "take": (lambda a, b, p: gc.take_along_axis(a, p, 1) * b, lambda a, b, p: jnp.take_along_axis(a, p, 1) * b, TWICE),
    "take of the end": (lambda a, b, p: gc.take_along_axis(a, [[-1, 0]], -1) * b[:, :1],
                        lambda a, b, p: a[:, jnp.array([-1, 0])] * b[:, :1], APART),
    **{f"put_along_axis, {reduce}": (lambda a, b, p, r=reduce: gc.put_along_axis(a, p, b, 1, r), put(reduce), TWICE)
       for reduce in (None, "sum", "prod", "max", "min")},
    **{f"put at one place a row, {reduce}": (
        lambda a, b, p, r=reduce: gc.put_along_axis(a, p[:, :1], b[:, :1] * b[:, 1:2], 1, r),
        lambda a, b, p, r=reduce: put(r)(a, b[:, :1] * b[:, 1:2], p[:, :1]), TWICE)
       for reduce in (None, "prod", "max", "min")},
    "put once": (lambda a, b, p: gc.put_along_axis(a, p, b, -1), put(None), APART),
    "put the same everywhere": (lambda a, b, p: gc.put_along_axis(a, p[:, :1], b[:, :1] + b[:, 1:2], 1, "sum"),
                                lambda a, b, p: put("sum")(a, b[:, :1] + b[:, 1:2], p[:, :1]), APART),
    "sort": (lambda a, b, p: gc.sort(a) * b[:, :1], lambda a, b, p: jnp.sort(a) * b[:, :1], APART),
    "top_k": (lambda a, b, p: gc.top_k(a, 3)[0] * b[:, :3], lambda a, b, p: jax.lax.top_k(a, 3)[0] * b[:, :3], APART),
}  # fmt: skip


def total(o: Any, y: Any) -> Any:
    return o.sum(o.sin(y) * y)


def derivatives(f: Any) -> Any:
    """The value, both gradients, and the second derivative, of JAX."""
    loss = lambda a, b: total(jnp, f(a, b))
    slope = lambda a, b: jnp.sum(jax.grad(loss)(a, b) ** 2)
    return graphs.in_jax(lambda a, b: (f(a, b), *jax.grad(loss, (0, 1))(a, b), jax.grad(slope)(a, b)))(x, u)


def test_values_and_derivatives_are_those_of_jax():
    """The value, both gradients, and the derivative of (gradient by x)² by x. Mutation-checked: the first of several
    values put at a place, a masked product of one factor that is 0 where the mask fails."""
    for name, (ours, theirs, places) in WORDS.items():
        y = ours(X, V, P)
        slopes = gc.grad(total(gc, y), [X, V])
        second = gc.grad(gc.sum(slopes[0] ** 2), X)
        found = graphs.reference([y, *slopes, second], {X: x, V: u, P: places})
        wanted = derivatives(lambda a, b, f=theirs, p=places: f(a, b, p))
        for a, b in zip(found, wanted, strict=True):
            graphs.assert_near(a, b, 1e-12, name)


def test_equal_elements_keep_their_order_and_no_gradient_is_lost():
    S = gc.input("S", (3, 5))
    values, places = gc.top_k(S, 3)
    least, where = gc.top_k(S, 2, axis=0, largest=False)
    slope = gc.grad(gc.sum(gc.sort(S) * np.arange(1.0, 6.0)), S)
    found = graphs.reference([gc.sort(S), gc.argsort(S), values, places, least, where, slope], {S: TIED})
    order = np.argsort(TIED, axis=1, kind="stable")
    top = np.argsort(-TIED, axis=1, kind="stable")[:, :3]
    low = np.argsort(TIED, axis=0, kind="stable")[:2]
    ranks = np.argsort(order, axis=1) + 1.0
    wanted = [np.sort(TIED), order, np.take_along_axis(TIED, top, 1), top, np.take_along_axis(TIED, low, 0), low, ranks]
    for a, b in zip(found, wanted, strict=True):
        np.testing.assert_array_equal(a, b)


def test_nan_has_the_place_that_numpy_gives_it():
    """It was left out of an order, with 0 in its stead, and argmax gave the extent."""
    S = gc.input("S", (3, 5))
    holes = TIED.copy()
    holes[0, 1] = holes[2, 0] = holes[2, 3] = np.nan
    outputs = [gc.sort(S), gc.argsort(S), gc.argmax(S, axis=1), gc.argmin(S, axis=0), *gc.top_k(S, 3)]
    found = gc.compile(outputs, [S])(holes)
    first = np.argsort(-np.nan_to_num(holes, nan=np.inf), axis=1, kind="stable")[:, :3]  # NaN is the largest
    wanted = [
        np.sort(holes), np.argsort(holes, axis=1, kind="stable"), holes.argmax(1), holes.argmin(0),
        np.take_along_axis(holes, first, 1), first,
    ]  # fmt: skip
    for a, b in zip(found, wanted, strict=True):
        np.testing.assert_array_equal(a, b)


PLACES: dict[str, Any] = {
    "largest": lambda o, a, c, p: c[o.argmax(a, axis=1)],
    "smallest, all rows": lambda o, a, c, p: a[o.argmin(a, axis=0)],
    "in order": lambda o, a, c, p: o.take_along_axis(a * c[:, 0], o.argsort(a, axis=1), axis=1) * np.arange(5),
    "ranks": lambda o, a, c, p: o.argsort(o.argsort(a, axis=1), axis=1) * a,
    "taken": lambda o, a, c, p: o.take(c, o.argsort(a, axis=1)[:, :2], axis=0),
    "two at once": lambda o, a, c, p: (c @ c.T)[o.argmax(a, axis=1), o.argsort(a, axis=1)[:, 1]],
    "beside labels": lambda o, a, c, p: (c[:, None, :] * c[:, :, None])[p[:, 0], :, o.argmax(a[:, :3], axis=1)],
    "one-hot": lambda o, a, c, p: (gc if o is gc else jax.nn).one_hot(o.argmax(a, axis=1), 5) @ c,
}


def test_computed_places_are_an_index():
    """Values and gradients by what is read, in one program, are those of JAX."""
    C, table = gc.param("C", (5, 3)), RNG.normal(size=(5, 3))
    ours = [total(gc, f(gc, X, C, P)) for f in PLACES.values()]
    f = gc.compile([*ours, *(gc.grad(J, C if k != 1 else X) for k, J in enumerate(ours) if k != 3)], [X, C, P])
    wanted, slopes = [], []
    for k, g in enumerate(PLACES.values()):
        loss = lambda a, c, g=g: total(jnp, g(jnp, a, c, jnp.asarray(APART)))
        value, slope = graphs.in_jax(jax.value_and_grad(loss, (0, 1)))(x, table)
        wanted.append(value)
        slopes += [slope[int(k != 1)]] if k != 3 else []
    for name, a, b in zip([*PLACES, *PLACES], f(x, table, APART), [*wanted, *slopes], strict=False):
        graphs.assert_near(a, b, 1e-12, name)


LABELLED: dict[str, Any] = {
    "cross_entropy": lambda z, t: gc.losses.cross_entropy(z, t),
    "weights": lambda z, t: gc.losses.cross_entropy(z, t, class_weight=np.arange(1.0, 4), label_smoothing=0.1),
    "one that counts for nothing": lambda z, t: gc.losses.cross_entropy(z, t, class_weight=[1, 2, 3], ignore_index=2),
    "the one after the last": lambda z, t: gc.losses.nll(z, t, class_weight=[1, 2, 3], ignore_index=3),
    "margin": lambda z, t: gc.losses.multi_margin(z, t),
}


@pytest.mark.parametrize("loss", LABELLED.values(), ids=LABELLED)
def test_computed_places_are_the_labels_of_losses(loss: Any):
    """Pseudo-labels: values and gradients are those of the same labels as data."""
    C, S = gc.param("C", (5, 3)), gc.param("S", (5, 3))
    T, rng = gc.input("T", ("n",), dtype="int64"), np.random.default_rng(1)
    rows, table, other = (rng.normal(size=size) for size in ((12, 5), (5, 3), (5, 3)))
    labels = np.argmax(rows @ other, axis=1)
    assert len({*labels}) == 3
    found = [loss(X @ C, gc.argmax(X @ S, axis=1)), loss(X @ C, T)]
    data = {X: rows, C: table, S: other, T: labels}
    ours, wanted, slope, known = graphs.reference([*found, *(gc.grad(J, C) for J in found)], data)
    graphs.assert_near(ours, wanted, 1e-14)
    graphs.assert_near(slope, known, 1e-14)
    assert np.abs(known).max() > 1e-3


def test_a_program_gives_what_the_interpreter_gives():
    """Its text, as Python: derivatives of places that are put, of places that are read, of elements in order."""
    K = gc.input("K", ("n", 2, 5, 5))
    put = {r: gc.put_along_axis(X, P, V, 1, r) for r in (None, "sum", "prod", "max")}
    outputs = [
        gc.take_along_axis(X, P, 1), gc.sort(X), gc.max_pool(K, 2, 1, dilation=(2, 1), ceil_mode=True),
        gc.avg_pool(K, (3, 2), 2, padding=(1, 0), count_include_pad=True, ceil_mode=True),
        *(gc.grad(total(gc, y), V if r == "sum" else X) for r, y in put.items()),
        gc.losses.cross_entropy(X, P[:, 2], ignore_index=5),
        *(gc.put_along_axis(X, P[:, :1], V[:, :1], 1, r) for r in (None, "prod", "min")),
    ]  # fmt: skip
    data = {X: x, P: TWICE, V: u, K: RNG.normal(size=(3, 2, 5, 5))}
    wanted = graphs.reference(outputs, data)
    with in_python(Plain()):
        f = gc.compile(outputs, [*data], dtype="float64", verify=False)
        found = f(*data.values())
    for a, b in zip(found, wanted, strict=True):
        graphs.assert_near(a, b, 1e-13)


@pytest.mark.parametrize(
    ("make", "error", "text"),
    [
        (lambda: gc.take_along_axis(X, V, 1), TypeMismatchError,
         "V[n, 4] is used as an index of X[n, 5] but is not integer data"),
        (lambda: gc.take_along_axis(X, P[:, 0], 1), ShapeError,
         "take_along_axis: the indices have shape (n,) for axis 1 of X[n, 5]\n"),
        (lambda: gc.take_along_axis(X, [[5]], 1), ShapeError, "an index is out of range for axis 1 of X[n, 5]"),
        (lambda: gc.put_along_axis(gc.param("Q", (3, 5)), TWICE[:2], 0, 1), ShapeError,
         "put_along_axis: the indices have shape (2, 4) for axis 1 of Q[3, 5]\n"),
        (lambda: gc.put_along_axis(X, P, V, 1, "mean"), DomainError, "put_along_axis: reduce is 'mean'\n"),
        (lambda: gc.put_along_axis(X, P, X, 1), ShapeError,
         "put_along_axis: the values are X[n, 5] for indices of shape (n, 4)\n"),
        (lambda: gc.param("C", (4, 2))[gc.argmax(X, axis=1)], ShapeError,
         "an index of axis 0 of C[4, 2]: the places are those of 5 elements, not of 4\n"),
        (lambda: gc.one_hot(gc.argmax(X, axis=0), 5), ShapeError,
         "the labels of one_hot: the places are those of n elements, not of 5\n"),
        (lambda: gc.put_along_axis(X, gc.argsort(X), 1.0, 1), TypeMismatchError, "put_along_axis: the places "),
        (lambda: gc.sort(X, 0), ShapeError, "sort: axis 0 of X[n, 5] has the free extent n\n"),
        (lambda: gc.top_k(X, 6), DomainError, "top_k: k is 6 for 5 elements\n  hint: give a whole number from 1 to 5."),
        (lambda: gc.argsort(X[gc.indices("i"), 0]), IndexNotationError, "gc.argsort works on whole axes"),
        (lambda: gc.losses.cross_entropy(X[:, :4], gc.argmax(X, axis=1)), ShapeError,
         "the labels of cross_entropy: the places are those of 5 elements, not of 4\n"),
        (lambda: gc.losses.cross_entropy(X, P[:, 0], ignore_index=-100), DomainError,
         "cross_entropy: ignore_index is -100\n"),
        (lambda: gc.losses.cross_entropy(X, X, ignore_index=1), TypeMismatchError,
         "ignore_index is for integer labels"),
        (lambda: gc.metrics.top_k_accuracy(X, P[:, 0], 6), DomainError, "top_k_accuracy: k is 6 for 5 classes\n"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused_by_its_name(make: Any, error: type[GraphcError], text: str):
    with pytest.raises(error) as caught:
        make()
    assert text in text_of(caught)


def test_a_function_of_numpy_that_would_change_a_tensor_says_so():
    with pytest.raises(TypeMismatchError) as caught:
        np.put_along_axis(X, TWICE, 0.0, 1)
    assert text_of(caught) == (
        "NumPy cannot compute np.put_along_axis of a Tensor: it changes its first argument, and a Tensor never "
        "changes\n  hint: write y = gc.put_along_axis(x, indices, values, axis)."
    )
