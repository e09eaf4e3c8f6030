"""Values that were once wrong without a word, on every path: interpreter, functions, training by teams, CUDA.

Each case is written twice, for graphc and for JAX, whose float64 gradients are the right ones. The faults were a
product that forgets an index, a logsumexp of which one part is read, a maximum that is compared with a value computed
another way, and masks that the extents decide; each of them failed here before it was mended.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import sympy

import graphc as gc
from graphc.cuda import selection
from graphc.declare.origin import located
from graphc.emit.expressions import Printer
from graphc.emit.reference import evaluate
from graphc.errors import CompilerError
from graphc.ir.affine import constant, index
from graphc.ir.build import equation, inline, is_view
from graphc.ir.node import Equation, Indicator, Mask, Read
from graphc.ir.scalar import placeholder, where
from graphc.ir.verify import verify
from graphc.ir.walk import topological
from graphc.lower.products import as_product
from graphc.rewrite.weights import depends_across_rows, is_row_mean
from tests.cpu_races import Machine, watching
from tests.cuda_races import Watched
from tests.graphs import OURS, assert_near, in_jax

RNG = np.random.default_rng(12)
A, B = RNG.normal(size=(5, 4)), RNG.normal(size=5)
JAX_FUNCTIONS = jnp.__dict__ | {"softmax": jax.nn.softmax, "logsumexp": jax.nn.logsumexp}


class _Jax:
    """The functions of JAX under the names that the cases use."""

    def __getattr__(self, name: str) -> Any:
        return JAX_FUNCTIONS[name]


@dataclass(frozen=True)
class Case:
    """A loss of parameters of some shapes, for either library."""

    loss: Callable[..., Any]
    shapes: tuple[tuple[int, ...], ...]


def turned(o, u):
    return o.concatenate([u[1:], u[:1]], axis=0) * u


def turned_twice(o, D):
    return o.sum(o.concatenate([D, D], axis=0) ** 2) + o.max(turned(o, turned(o, D)), axis=0)


def forgotten_index(o, V):
    return o.sum(o.sum(A**2 @ V**2, axis=1) * B)


def forgotten_row(o, V):
    return o.sum(o.sum(V**2 @ A.T**2, axis=0) * B) + o.sum(V)


def log_partition_of_slices(o, Z):
    return o.sum(o.exp(o.logsumexp(Z, axis=1)[0:2] - o.logsumexp(Z, axis=1)[1:3] ** 2))


def softmax_of_slices(o, Z):
    h = o.softmax(Z, axis=1)
    return o.sum(o.exp(h[:, 0:2] - h[:, 1:3] ** 2))


def chain_of_states(o, e, T):
    alpha = e[0]
    for step in (1, 2):
        alpha = o.logsumexp(alpha[:, None] + T, axis=0) + e[step]
    return o.logsumexp(alpha, axis=0)


def joined_partitions(o, Z):
    L = o.logsumexp(Z, axis=1)
    both = o.concatenate([L, 2 * L], axis=0)
    return o.sum(both[::2] * both[1::2]) + L[3]


def weighted_partition(o, Z, w):
    return o.sum(o.logsumexp(Z, axis=1) * w)


def partition_times_matrix(o, Z, M):
    return o.sum((o.logsumexp(Z, axis=1) @ M) ** 2)


def matrix_plus_partition(o, Z, M):
    return o.sum(o.tanh(M.T @ Z + o.logsumexp(Z, axis=0)))


def partition_of_partitions(o, P):
    return o.sum(o.sin(o.logsumexp(o.logsumexp(P, axis=2) * o.logsumexp(P, axis=1)[:, :3], axis=1)))


def flattened_partition(o, P):
    L = o.logsumexp(o.transpose(P, (1, 2, 0)), axis=0, keepdims=True)
    return o.mean(o.tanh(L) * (1 + 0.3 * o.sin(L)))


def smallest_of_products(o, D):
    return o.min(turned(o, turned(o, D)) * 0.3, axis=0) + o.max(turned(o, D) - 3 * D, axis=0) ** 2


def mask_of_padding(o, D):
    pair = o.concatenate([D, D[1:2]], axis=0)
    return o.sum(o.concatenate([pair, pair], axis=0)[1:6] ** 2 * pair)


CASES = {
    f.__name__: Case(f, shapes)
    for f, shapes in (
        (forgotten_index, ((4, 3),)), (forgotten_row, ((3, 4),)), (log_partition_of_slices, ((4, 3),)),
        (softmax_of_slices, ((5, 4),)), (chain_of_states, ((3, 4), (4, 4))), (joined_partitions, ((4, 3),)),
        (weighted_partition, ((5, 4), (5,))), (partition_times_matrix, ((5, 4), (5, 3))),
        (matrix_plus_partition, ((5, 4), (5, 3))), (partition_of_partitions, ((2, 3, 4),)),
        (flattened_partition, ((2, 3, 4),)), (turned_twice, ((3,),)), (smallest_of_products, ((5,),)),
        (mask_of_padding, ((4,),)),
    )
}  # fmt: skip


@dataclass
class Built:
    """A case in graphc, its numbers, and what JAX says: the loss, then the gradients."""

    params: list[gc.Tensor]
    values: list[np.ndarray]
    loss: gc.Tensor
    exact: list[np.ndarray]


@cache
def built(name: str) -> Built:
    case, rng = CASES[name], np.random.default_rng(len(name))
    params = [gc.param(f"{name}_{t}", shape, 0.0) for t, shape in enumerate(case.shapes)]
    values = [rng.normal(size=shape) for shape in case.shapes]
    f = lambda *p: case.loss(_Jax(), *p)
    loss, gradients = in_jax(jax.value_and_grad(f, argnums=tuple(range(len(values)))))(*values)
    ours = case.loss(type("Ours", (), {n: staticmethod(x) for n, x in vars(OURS).items()}), *params)
    return Built(params, values, ours, [loss, *gradients])


@pytest.mark.parametrize("name", CASES)
def test_the_interpreter_agrees_with_jax(name: str):
    b = built(name)
    feed = {p.node: v for p, v in zip(b.params, b.values)}
    for found, exact in zip(evaluate([b.loss.node, *(g.node for g in gc.grad(b.loss, b.params))], feed), b.exact):
        assert_near(found, exact, 1e-12, name)


def test_compiled_functions_agree_with_jax():
    """All cases in one program: values, gradients, and the derivative of the squared norm of the gradients."""
    every = [built(name) for name in CASES]
    outputs, wanted = [], []
    for name, b in zip(CASES, every):
        gradients = gc.grad(b.loss, b.params)
        norm = sum((gc.sum(g**2) for g in gradients[1:]), gc.sum(gradients[0] ** 2))
        outputs += [b.loss, *gradients, *gc.grad(norm, b.params)]
        wanted += [*b.exact, *_second(CASES[name], b.values)]
    f = gc.compile(outputs=outputs, inputs=[p for b in every for p in b.params])
    for t, (found, exact) in enumerate(zip(f(*(v for b in every for v in b.values)), wanted, strict=True)):
        assert_near(found, exact, 1e-11, t)


def _second(case: Case, values: list[np.ndarray]) -> Any:
    at = tuple(range(len(values)))

    def norm(*p: Any) -> Any:
        return sum(jnp.sum(g**2) for g in jax.grad(lambda *q: case.loss(_Jax(), *q), argnums=at)(*p))

    return in_jax(jax.grad(norm, argnums=at))(*values)


def model_of(b: Built) -> gc.Model:
    """A model with the case as its loss and, twice, as a metric: evaluated beside it."""
    model = gc.Model(loss=b.loss, metrics={"twice": 2 * b.loss}, dtype="float64")
    for p, value in zip(b.params, b.values):
        model.params[p.name] = value
    return model


def assert_one_step(model: gc.Model, run: Any, b: Built, eta: float) -> None:
    np.testing.assert_allclose(run.history["loss"], [b.exact[0]], rtol=1e-11)
    np.testing.assert_allclose(run.history["twice"], [2 * b.exact[0]], rtol=1e-11)
    for p, value, gradient in zip(b.params, b.values, b.exact[1:]):
        assert_near(model.params[p.name], value - eta * gradient, 1e-11, p.name)


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("team", [1, 2])
def test_a_training_step_agrees_with_jax(name: str, team: int):
    """The text of the program runs in Python; its arena holds random numbers before."""
    model = model_of(built(name))
    with watching(Machine(seed=team)) as machine:
        run = model.fit({}, optimizer=gc.SGD(0.1), steps=1, threads=team)
    assert machine.found == [] and machine.texts
    assert_one_step(model, run, built(name), 0.1)


@pytest.mark.parametrize(("number", "name"), list(enumerate(CASES)))
def test_a_step_on_cuda_agrees_with_jax(number: int, name: str):
    model, tier = model_of(built(name)), "ABC"[number % 3]
    machine = Watched(threads=6, blocks=1 if tier == "A" else 2)
    with selection.use(machine, tier):
        run = model.fit({}, optimizer=gc.SGD(0.1), steps=1, target="cuda")
    assert machine.found == []
    assert_one_step(model, run, built(name), 0.1)


# ---------------------------------------------------------------- the causes


def test_a_free_index_that_nothing_reads_is_broadcast_where_the_node_is_read():
    u, g = gc.param("u", (4, 5), 0.0).node, gc.param("g", (5,), 0.0).node
    reads = [Read(u, (index(0), index(2))), Read(g, (index(2),))]
    made = equation((4, 3, 5), 2, "sum", placeholder(0) * placeholder(1), reads)
    assert made.shape == (4, 3) and is_view(made)
    inner = made.operands[0].node
    assert inner.shape == (4,) and as_product(inner) is not None


def test_no_equation_of_a_gradient_has_a_free_index_that_nothing_reads():
    for name in CASES:
        b = built(name)
        verify([g.node for g in gc.grad(b.loss, b.params)])


def test_the_verifier_refuses_an_equation_with_an_idle_index():
    """Made behind the back of the constructor, as before it dropped such indices."""
    read = Read(gc.param("v", (5,), 0.0).node, (index(1),))
    bad = Equation((4, 5), 1, "sum", placeholder(0) ** 2, (read,), ())
    with pytest.raises(CompilerError, match=r"nothing reads its free indices \[0\]"):
        verify([bad])
    assert as_product(bad) is None


@pytest.mark.parametrize(("const", "left"), [(0, "D[i]"), (-5, "0")])
def test_masks_that_the_extents_decide_are_gone(const: int, left: str):
    D = gc.param("D", (4,), 0.0).node
    mask = Indicator(Mask("ge", index(0) + const))
    made = equation((4,), 1, "sum", where(placeholder(0), placeholder(1), 0), [mask, Read(D, (index(0),))])
    assert made is (D if left == "D[i]" else equation((4,), 1, "sum", placeholder(0) * 0, [Read(D, (index(0),))]))
    assert not any(isinstance(op, Indicator) for node in topological([made]) for op in getattr(node, "operands", ()))


def test_a_mask_that_never_holds_reads_nothing():
    D = gc.param("D", (4,), 0.0).node
    made = equation((3,), 1, "sum", placeholder(0), [Read(D, (constant(9),))], [Mask("ge", index(0) + -3)])
    assert made.operands == () and made.body == 0


def test_no_two_values_of_a_body_have_one_name():
    """A fourth power names its square, which had a name already: once the next value got that name, too."""
    x, y = placeholder(0), placeholder(1)
    u = (x - y) ** 2
    bodies = [(x * u**2 - y * u + x * (u - 1) * (x - y)) * sympy.exp(-u), y * u * sympy.exp(-u)]
    printer = Printer({x: "x", y: "y"}, cast="")
    printer.count(bodies)
    values = [printer.text(body)[0] for body in bodies]
    names = [line.partition(" = ")[0] for line in printer.lines]
    assert len(names) == len(set(names))
    known = {"exp": np.exp, "sin": np.sin, "x": 0.7, "y": -0.4}
    for line in printer.lines:
        name, _, text = line.partition(" = ")
        known[name] = _value(text, known)
    exact = [float(body.subs({x: 0.7, y: -0.4})) for body in bodies]
    np.testing.assert_allclose([_value(v, known) for v in values], exact, rtol=1e-14)


def _value(text: str, known: dict[str, Any]) -> float:
    return eval(text, {}, known)  # noqa: S307  text of our own printer


def test_training_goes_on_when_a_formula_cannot_be_printed(monkeypatch: pytest.MonkeyPatch):
    b = built("turned_twice")
    model = model_of(b)
    monkeypatch.setattr("graphc.facade.deriving.show_derivation", lambda *_: [][0])
    with watching(Machine()), pytest.warns(gc.errors.DefectWarning, match="the derivation of model cannot be printed"):
        run = model.fit({}, optimizer=gc.SGD(0.1), steps=1, threads=1)
    assert_one_step(model, run, b, 0.1)


def test_an_assertion_of_graphc_leaves_it_as_an_error_with_its_place():
    mask = Indicator(Mask("ge", index(0)))
    with pytest.raises(CompilerError, match=r"internal defect: an assumption failed at graphc\.ir\.build:\d+"):
        located(inline)(placeholder(0), [mask], 0, (4,))


def test_an_assertion_of_the_user_passes_as_it_is():
    def callback() -> None:
        raise AssertionError("mine")

    with pytest.raises(AssertionError, match="^mine$"):
        located(callback)()


def test_rows_that_see_other_rows_are_not_evaluated_in_chunks():
    X, S = gc.input("X", ("n",)), gc.input("S", ("n",), dtype="int64")
    apart = [X * 2, gc.tanh(X)[:, None] * gc.param("w", (3,), 0.0)]
    i = gc.indices("i")
    across = [X[:, None] + X[None, :], X[S] + 1, X - gc.mean(X), gc.sum(X[:, None] * X[None, :], axis=1), X[::-1] * 2]
    across.append(gc.define("Y", [i], X[i] * i))
    assert [depends_across_rows([y.node], "n") for y in apart + across] == [False] * 2 + [True] * 6
    assert is_row_mean(gc.mean(X * X).node, "n") and not is_row_mean(gc.mean(X[S] * X).node, "n")


def test_outputs_whose_free_axis_is_not_the_first_are_whole():
    """Three chunks of rows; planted: rows copied as if they lay side by side."""
    X, W = gc.input("X", ("n", 2)), gc.param("W", (2, 2), np.array([[0.5, 0.7], [0.2, 0.3]]))
    model = gc.Model({"Y": 3 * (W @ X.T), "Z": X[None]}, dtype="float64")
    x = RNG.normal(size=(600, 2))
    found = model.predict(x)
    np.testing.assert_allclose(found["Y"], 3 * model.params["W"] @ x.T, rtol=1e-12)
    np.testing.assert_array_equal(found["Z"], x[None])
