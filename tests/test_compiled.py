"""What is compiled computes what the equations say: against the NumPy interpreter, in both precisions, for any rows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest
from scipy import special

import graphc as gc
from graphc.declare.tensor import Tensor
from graphc.native.build import statistics
from tests.graphs import (
    LOSSES,
    STEPS,
    Graph,
    Plan,
    assert_near,
    build,
    covering_plans,
    declare_data,
    draw_data,
    reference,
)

TOLERANCE = {"float32": 1e-6, "float64": 1e-12}
ROWS = (1, 2, 5, 64, 300)


@dataclass
class Suite:
    """Many graphs over one set of data, their values and gradients compiled into one function."""

    data: object
    graphs: list[Graph]
    outputs: list[Tensor]
    labels: list[str]
    function: object

    def arguments(self, rows: int) -> dict[Tensor, np.ndarray]:
        arrays = draw_data(rows, rows)
        fed = {getattr(self.data, name): value for name, value in vars(arrays).items()}
        return fed | {p: v for g in self.graphs for p, v in zip(g.params, g.values)}


def suite_of(dtype: str, plans: list[Plan]) -> Suite:
    data = declare_data()
    graphs = [build(p, data) for p in plans]
    outputs, labels = [], []
    for graph in graphs:
        outputs += [graph.loss, graph.head, *gc.grad(graph.loss, graph.params)]
        names = ["loss", "head", *(str(p.name) for p in graph.params)]
        labels += [f"{graph.plan.steps}, {graph.plan.loss}: {name}" for name in names]
    inputs = [data.X, data.T, data.U, data.L, *(p for g in graphs for p in g.params)]
    return Suite(data, graphs, outputs, labels, gc.compile(outputs, inputs, dtype=dtype))


@pytest.fixture(scope="module")
def double() -> Suite:
    return suite_of("float64", covering_plans(11))


@pytest.fixture(scope="module")
def single() -> Suite:
    return suite_of("float32", covering_plans(12)[:4])


def agree(suite: Suite, rows: int, dtype: str) -> None:
    arguments = suite.arguments(rows)
    found = suite.function(*arguments.values())
    rounded = {x: v if v.dtype == np.int64 else v.astype(dtype).astype(float) for x, v in arguments.items()}
    wanted = reference(suite.outputs, rounded)
    for label, a, b in zip(suite.labels, found, wanted):
        assert a.dtype == dtype
        assert_near(a, b, TOLERANCE[dtype] * max(1, rows / 64), f"{rows} rows, {label}")


@pytest.mark.parametrize("rows", ROWS)
def test_compiled_graphs_in_float64_are_the_interpreters_to_1e_12(double, rows):
    """One function for 1 to 300 rows. Mutation-checked: a loop that stops one row early is caught."""
    agree(double, rows, "float64")


@pytest.mark.parametrize("rows", ROWS)
def test_compiled_graphs_in_float32_are_the_interpreters_to_1e_6(single, rows):
    agree(single, rows, "float32")


def test_every_step_and_loss_is_among_the_compiled_graphs(double):
    assert {s for g in double.graphs for s in g.plan.steps} == set(STEPS)
    assert {g.plan.loss for g in double.graphs} == set(LOSSES)


def test_a_new_number_of_rows_compiles_nothing(double):
    before = statistics["compiled"]
    for rows in (3, 17, 129):
        agree(double, rows, "float64")
    assert statistics["compiled"] == before


def test_two_calls_give_the_same_bits(double):
    arguments = double.arguments(64).values()
    first, second = double.function(*arguments), double.function(*arguments)
    assert all(np.array_equal(a, b) for a, b in zip(first, second))


def test_derivatives_of_second_order_compile_too():
    """Gradient penalty, Hessian, Jacobian and Hessian-vector product in one function of free rows."""
    data = declare_data()
    graph = build(Plan(("tanh", "attend"), "cross_entropy", 2), data)
    w, b = graph.params[:2]
    v = gc.input("v", w.shape)
    slope = gc.grad(gc.sum(graph.head), data.X)
    penalised = graph.loss + gc.mean((gc.sqrt(gc.sum(slope**2, axis=1)) - 1) ** 2)
    outputs = [gc.grad(penalised, w), gc.hessian(graph.loss, b), gc.jacobian(graph.head, b), gc.hvp(graph.loss, w, v)]
    f = gc.compile(outputs, [data.X, data.L, v, *graph.params])
    for rows in (1, 7):
        arrays = draw_data(rows, rows)
        fed = {data.X: arrays.X, data.L: arrays.L, v: np.ones(w.shape)} | dict(zip(graph.params, graph.values))
        for a, b in zip(f(*fed.values()), reference(outputs, fed)):
            assert_near(a, b, 1e-12, rows)


def reads_and_reductions() -> tuple[list[Tensor], list[Tensor]]:
    """Outputs, and what they read: X[n, 6], labels L[n] of 5 rows, E and P."""
    X, L = gc.input("X", ("n", 6)), gc.input("L", ("n",), dtype="int64")
    E, P = gc.param("E", (5, 6), 0.0), gc.param("P", (6, 6), 0.0)
    i, j, k = gc.indices("i j k")
    Y = X * E[L]
    attention = gc.softmax(X @ P @ X.T) @ X
    outputs = [
        X @ X.T,
        (X @ X.T).T @ X,
        attention,
        gc.grad(gc.sum(attention**2), P),
        gc.sum(X @ X.T, axis=0),
        Y,
        gc.max(Y, axis=0),
        gc.min(Y, axis=1, keepdims=True) * Y,
        gc.prod(Y, axis=1),
        gc.logsumexp(Y, axis=0),
        gc.mean(Y),
        gc.argmax(Y, axis=1),
        gc.sum(gc.round(3 * Y) + gc.floor(Y) + gc.sign(Y)),
        Y[:, ::-2],
        Y[::-1] @ P.T,
        Y[0] + Y[-1],
        gc.reshape(Y, ("n", 2, 3))[:, :, [2, 0]],
        gc.stack([Y[:, 0], X[:, 1]], axis=1),
        gc.concatenate([Y, X[:, :2]], axis=1),
        gc.define("C", [i, j], gc.sum(P[i, k] * P[j, k], over=k) * gc.equal(i, j)),
        gc.define("D", [i], P[i, i] * P[i, 0]),
        gc.where(Y > 0, gc.sqrt(abs(Y)), gc.erf(Y)),
        *gc.grad(gc.sum(gc.max(Y @ P, axis=1)) + gc.sum(gc.prod(Y, axis=1)) + gc.sum(P[[1, 1, 3]]), [E, P, X]),
    ]
    return outputs, [X, L, E, P]


def ways_to_add() -> tuple[dict[str, Tensor], list[Tensor]]:
    """Sums with a matrix product in them, and what they read: A, B, b."""
    A, B, b = gc.param("A", (4, 4), 0.0), gc.param("B", (4, 4), 0.0), gc.param("b", (4,), 0.0)
    P = A @ B
    sums = {
        "P + b": P + b, "P + b'": P + b[:, None], "P' + b": P.T + b, "P' + b'": P.T + b[:, None], "P + b0": P + b[0],
        "2P + b": 2 * P + b, "P + b/2": P + b / 2, "P - b": P - b, "b - P": b - P, "P + b1": P + b[1],
        "P + row": P + A[0], "P + row 1": P + A[1], "P + column": P + A[:, 0], "P + P": P + P, "P + A": P + A,
        "A'B + b": A.T @ B + b, "AB' + b": A @ B.T + b, "A'B' + b": A.T @ B.T + b, "AB + BA": A @ B + B @ A,
        "Ab + b": A @ b + b, "bA + b": b @ A + b, "bb + b0": b @ b + b[0], "(Ab)/3 + b": A @ b / 3 + b,
        "outer + b": A[:, 0][:, None] @ B[0][None] + b, "cube": gc.reshape(P, (4, 2, 2)) + b[:2],
    }  # fmt: skip
    return sums, [A, B, b]


@dataclass
class Whole:
    """Reads, reductions, sums and a logsumexp of rows of 37 in one function, of which a part may be asked for."""

    data: list[Tensor]
    outputs: list[Tensor]
    sums: dict[str, Tensor]
    function: Callable[..., list[np.ndarray]]

    def values(self, *arrays: np.ndarray) -> tuple[list[tuple], dict[str, tuple]]:
        """What is found beside what is wanted: the outputs, and the sums by their names."""
        found = self.function(*arrays, *LOGARITHMS)
        wanted = reference([*self.outputs, *self.sums.values()], dict(zip(self.data, arrays)))
        pairs = list(zip(found, wanted))
        return pairs[: len(self.outputs)], dict(zip(self.sums, pairs[len(self.outputs) :]))


@pytest.fixture(scope="module")
def compiled() -> Whole:
    (outputs, data), (sums, weights) = reads_and_reductions(), ways_to_add()
    A, B = gc.input("inside", ("m", 37)), gc.input("signs", ("m", 37))
    every = [*outputs, *sums.values(), gc.logsumexp(gc.log(A) * B, axis=1)]
    return Whole([*data, *weights], outputs, sums, gc.compile(every, [*data, *weights, A, B]))


def drawn(seed: int, *shapes: tuple[int, ...]) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    return [rng.normal(size=shape) for shape in shapes]


MATRICES = drawn(6, (4, 4), (4, 4), (4,))
DATA = (np.ones((1, 6)), np.zeros(1, int), np.ones((5, 6)), np.ones((6, 6)))
LOGARITHMS = (np.ones((1, 37)), np.ones((1, 37)))


@pytest.mark.parametrize("rows", [1, 4, 9])
def test_all_kinds_of_reads_and_reductions_compile_and_a_free_extent_may_be_any_axis_of_a_matrix(compiled, rows):
    """Rows times rows: the strides of such a matrix are known at run time only, where tiles need literals."""
    x, e, p = drawn(rows, (rows, 6), (5, 6), (6, 6))
    labels = np.random.default_rng(rows).integers(0, 5, rows)
    for t, (a, b) in enumerate(compiled.values(x, labels, e, p, *MATRICES)[0]):
        assert_near(a, b, 1e-13, t)


def test_every_way_to_add_to_a_matrix_product_compiles(compiled):
    """A bias joins the product only where it lies side by side along its columns and nothing scales the product."""
    for name, (a, b) in compiled.values(*DATA, *MATRICES)[1].items():
        assert_near(a, b, 1e-14, name)


def test_a_logsumexp_of_terms_that_are_not_finite_is_that_of_scipy(compiled):
    """NaN, inf and -inf at every place of a row: inside whole vectors, at their edges, in the rest."""
    rng, diagonal = np.random.default_rng(3), np.arange(37)
    for x, sign in ((-1.0, 1.0), (0.0, 1.0), (0.0, -1.0)):
        inside, signs = rng.uniform(0.1, 9, (38, 37)), rng.normal(size=(38, 37))
        inside[diagonal, diagonal], signs[diagonal, diagonal] = x, sign
        inside[37], signs[37] = x, sign
        with np.errstate(invalid="ignore", divide="ignore"):
            expected = special.logsumexp(np.log(inside) * signs, axis=1)
        found = compiled.function(*DATA, *MATRICES, inside, signs)[-1]
        np.testing.assert_allclose(found, expected, rtol=1e-12)
