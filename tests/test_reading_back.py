"""parse(print(y)) = y: every printed index formula, read by an independent reader, gives the computed numbers.

The derivations of the gallery and of the nets of test_show.py are held to the same law where they stand.
Mutation-checked: an index letter that is the name of a scalar or of an extent, an adjoint called as the user's δ0, a
lost condition of a sum, an inverse whose indices are swapped.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import pytest

import graphc as gc
from graphc.declare.tensor import Tensor
from graphc.errors import GraphcError
from graphc.facade.summary import formula
from graphc.ir.node import Leaf
from graphc.ir.scalar import PUBLIC
from tests.covering.build import build
from tests.covering.search import graphs_of
from tests.gallery import ENTRIES, Entry
from tests.printed import (
    EXAMPLES,
    LAYERS,
    ROWS,
    assert_reads_back,
    derivation_of_layers,
    derivations_of,
    models_of_example,
    small_numbers,
)

COUNT = 300  # covering graphs
SOME = 6  # one model of so many in a plain run, the others in `make fuzz`
WITHOUT_MODEL = {"partial_derivatives", "sklearn_pipeline"}  # examples of other things
POSITIVE = {"special.betaln"}  # of numbers above 0, where its domain is not that of one function


def some(first: int) -> list:
    marks = lambda t: [] if t % SOME == first else [pytest.mark.fuzz]
    return [pytest.param(entry, marks=marks(t), id=entry.name) for t, entry in enumerate(ENTRIES)]


def smallest(entry: Entry) -> Tensor:
    """Its parameter with the fewest elements: the shortest formulas."""
    return min((Tensor(p) for p in entry.params), key=lambda p: np.prod(p.shape))


def numbers_of(entry: Entry) -> Callable[[Leaf], np.ndarray]:
    arrays, others = entry.arrays(), small_numbers()
    return lambda leaf: arrays[str(leaf.name)] if leaf.name in arrays else others(leaf)


@pytest.mark.parametrize("entry", some(0))
def test_a_derivation_of_a_gradients_square_reads_back(entry):
    """What a gradient penalty prints: derivatives of derivatives."""
    slope = gc.grad(entry.loss, smallest(entry))
    assert_reads_back(gc.derive(gc.sum(slope**2)).lines, numbers_of(entry))


def test_a_slope_that_the_loss_is_made_of_is_not_written_as_its_derivative():
    """The penalty on the slopes of what is linear changes no slope: J was written with ∂J/∂W in it."""
    X, W = gc.input("X", ("n", 3)), gc.param("W", (3,), 0.5)
    linear = gc.sum(X @ W)
    d = gc.derive(linear + 0.1 * gc.sum(gc.grad(linear, W) ** 2))
    assert [line.left for line in d.lines] == ["Z0[i]", "S0[i]", "J", ""]
    assert_reads_back(d.lines)


@pytest.mark.parametrize("entry", some(3))
def test_a_hessian_times_a_vector_reads_back(entry):
    p = smallest(entry)
    lines = formula(gc.hvp(entry.loss, p, gc.input("v", p.shape))).lines
    assert lines or entry.name == "elastic_net"  # whose Hessian by its bias is a number
    if lines:
        assert_reads_back(lines, numbers_of(entry))


@pytest.mark.parametrize("order", [1, 2, 3])
def test_a_derivative_by_an_input_reads_back(order):
    x, t = gc.input("x", ("n",)), gc.input("t", ("n",))
    u = gc.nn.sequential(gc.stack([x, t], axis=1), gc.nn.Dense(3, "tanh"), gc.nn.Dense(1))[:, 0]
    residual = u.d(t) + u * u.d(x) - 0.01 * u.d(x, order)
    assert_reads_back(formula(residual).lines)
    assert_reads_back(gc.derive(gc.mean(residual**2)).lines)


@pytest.mark.parametrize("name", LAYERS)
def test_layers_read_back(name):
    assert_reads_back(derivation_of_layers(name).lines)


@pytest.mark.parametrize("name", sorted({f.stem for f in EXAMPLES.glob("*.py")} - WITHOUT_MODEL))
def test_the_models_of_the_examples_read_back(name):
    models = models_of_example(name)
    assert models
    for model in models:
        for derivation in derivations_of(model):
            assert_reads_back(derivation.lines)


@pytest.mark.parametrize("first", [pytest.param(t, marks=[pytest.mark.fuzz] if t else []) for t in range(0, COUNT, 6)])
def test_covering_graphs_read_back(first):
    """Losses of every shape that the search knows, half with second derivatives; models have rows of one kind."""
    graphs = graphs_of(0, COUNT if first else 6)
    for number, graph in enumerate(graphs[first : first + 6], first):
        if "others" in graph:
            continue
        assert_reads_back(gc.derive(build(graph).loss).lines, small_numbers(number))


# ---------------------------------------------------------------- one function alone


def values_for(name: str, seed: int) -> Callable[[Leaf], np.ndarray]:
    """Values inside the domain; those of the second seed on both sides of 0 where it is all numbers."""
    rng, (low, high) = np.random.default_rng(seed), PUBLIC[name].domain
    if seed and np.isinf(low) and np.isinf(high) and name not in POSITIVE:
        return lambda leaf: rng.normal(0, 3, ROWS)
    low = max(low, 0 if name in POSITIVE else -1)
    high = min(high, low + 2.5)
    return lambda leaf: rng.uniform(low + 0.1, high - 0.1, ROWS)


def formulas_of(name: str) -> Iterator[Tensor]:
    """A public function of vectors and its gradient, where it has one."""
    entry, (place, _, own) = PUBLIC[name], name.rpartition(".")
    x = [gc.input(letter, ("n",)) for letter in "XYZW"[: max(entry.arity - len(entry.defaults), 1)]]
    yield getattr(gc.special if place else gc, own)(*([2, x[0]] if own == "polygamma" else x))
    try:
        yield gc.grad(gc.sum(next(formulas_of(name))), x[0])
    except GraphcError:  # a jump, or all of it
        return


@pytest.mark.parametrize("name", {id(entry): name for name, entry in PUBLIC.items()}.values())
def test_a_function_and_its_derivative_read_back(name):
    for y in formulas_of(name):
        lines = formula(y).lines
        for seed in (0, 1) if lines else ():  # an input as it stands has no line
            assert_reads_back(lines, values_for(name, seed))


# ---------------------------------------------------------------- names and numbers


@pytest.mark.parametrize("name", "i k e π max log exp σ Φ softmax det chol mod where J δ0 Z0 H0 G0 S0 U0 é".split())
def test_a_name_of_the_user_is_never_taken_for_something_else(name):
    """Index letters, numbers of adjoints and functions keep clear of it."""
    X, W, s = gc.input("X", ("n", 3)), gc.param("W", (3, 3)), gc.param(name, ())
    derivation = gc.derive(gc.mean((gc.tanh(X * s @ W) * s + gc.exp(s)) ** 2))
    assert_reads_back(derivation.lines)
    assert len({line.left or line.partial for line in derivation.lines}) == len(derivation.lines)
    X, W = gc.input("X", ("n", 3)), gc.param(name, (3, 3))
    assert_reads_back(gc.derive(gc.mean((gc.softmax(X @ W) - gc.log(X)) ** 2)).lines)


def test_numbers_and_powers_read_back():
    x = gc.param("x", (4,))
    powers = x**2.5 * 0.1 + x / 3 + 1e-7 * x + 1e30 * x + x**-3 + x ** (1 / 3) + 2**x + np.pi * x
    highest = gc.max(gc.where(x > 0.2, x, -np.inf))
    assert_reads_back(gc.derive(gc.sum(powers + gc.where(x > 0.3, x, 0) * highest + np.e**x)).lines)


@pytest.mark.parametrize("word", ["det", "inv", "cholesky", "sign", "logabsdet"])
def test_functions_of_matrices_read_back(word):
    A, lone = gc.param("A", (2, 3, 3)), gc.param("B", (3, 3))
    for S in (A @ gc.transpose(A, (0, 2, 1)) + np.eye(3), lone @ lone.T + np.eye(3)):
        y = getattr(gc.linalg.slogdet(S), word) if word in ("sign", "logabsdet") else getattr(gc.linalg, word)(S)
        assert_reads_back(gc.derive(gc.sum(S) * gc.sum(y * gc.tanh(y))).lines)


def test_what_is_printed_wrongly_is_seen():
    d = gc.derive(gc.mean(gc.tanh(gc.input("X", ("n", 3)) @ gc.param("W", (3, 3)))))
    assert_reads_back(d.lines)
    d.lines[-1].shown.expr *= 2
    with pytest.raises(AssertionError, match="Not equal"):
        assert_reads_back(d.lines)
