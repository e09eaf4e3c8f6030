"""Norms, distances, deviations and unit vectors at any size: as large and as small as numbers are, and mixed.

The oracle is their homogeneity: ‖s·v‖ = s·‖v‖, whose gradient does not depend on s; at s = 1 the numbers are known.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest

import graphc as gc
from graphc.cuda import selection
from graphc.emit.reference import evaluate
from graphc.lower.norms import SCALES
from graphc.rewrite.normal import normalise
from tests.covering.plain import Plain, in_python
from tests.cuda_races import Watched

V = np.array([3.0, -4.0, 12.0])
D = V - V.mean()
R = np.hypot(V, V[::-1])
SIZES = {"float64": (1e300, 1e200, 1.0, 1e-200, 1e-290), "float32": (1e30, 1e15, 1.0, 1e-15, 1e-30)}
SUBNORMAL = {"float64": 1e-310, "float32": 1e-39}


def norm(x: gc.Tensor, **how) -> gc.Tensor:
    return gc.sqrt(gc.sum(x**2, **how))


def deviation(x: gc.Tensor) -> gc.Tensor:
    return gc.sqrt(gc.mean((x - gc.mean(x)) ** 2))


@dataclass(frozen=True)
class Case:
    """A function of degree 1, its value and gradient at V."""

    build: Callable[[gc.Tensor], gc.Tensor]
    value: float
    gradient: np.ndarray


CASES = {
    "a norm": Case(norm, 13.0, V / 13),
    "of a difference": Case(lambda x: norm(2 * x - x[::-1] * 0), 26.0, V / 6.5),
    "of two terms": Case(lambda x: gc.sqrt(x[0] * x[0] + x[1] * x[1]), 5.0, np.array([0.6, -0.8, 0])),
    "of each": Case(lambda x: gc.sum(gc.sqrt((2 * x) ** 2 + (2 * x[::-1]) ** 2)), 2 * R.sum(), 4 * V / R),
    "the larger": Case(lambda x: gc.maximum(norm(x), norm(x / 2)), 13.0, V / 13),
    "a mean square": Case(lambda x: gc.sqrt(gc.mean(x**2)), 13 / 3**0.5, V / 13 / 3**0.5),
    "a deviation": Case(deviation, (D @ D / 3) ** 0.5, D / (3 * D @ D) ** 0.5),
    "a named norm": Case(lambda x: 3 * norm(x).named("N"), 39.0, V * 3 / 13),
    "of columns": Case(lambda x: gc.sum(norm(gc.stack([x, x]), axis=0)), 19 * 2**0.5, np.sign(V) * 2**0.5),
    "of rows": Case(lambda x: gc.sum(norm(gc.stack([x, 0 * x, x]), axis=1)), 26.0, V / 6.5),
}


def nodes_of(case: Case, x: gc.Tensor) -> list:
    y = case.build(x)
    return [normalise([n]).roots[0] for n in (y.node, gc.grad(y, x).node)]


def assert_right(found: list, case: Case, dtype: str, size: float) -> None:
    room = 8 * np.finfo(dtype).eps
    np.testing.assert_allclose(np.float64(found[0]), case.value * size, rtol=room)
    np.testing.assert_allclose(np.float64(found[1]), case.gradient, rtol=room, atol=room)


@pytest.mark.parametrize("dtype", SIZES)
@pytest.mark.parametrize("name", CASES)
def test_norms_neither_overflow_nor_underflow(name: str, dtype: str):
    """Without scaling all but those of size 1 are 0, infinite or NaN."""
    x = gc.param("x", (3,))
    nodes = nodes_of(CASES[name], x)
    for size in SIZES[dtype]:
        values = evaluate(nodes, {x.node: (V * size).astype(dtype)}, dtype=dtype)
        assert_right(values, CASES[name], dtype, float(np.dtype(dtype).type(size)))


@pytest.mark.parametrize("name", ["a norm", "of two terms", "a named norm", "a deviation"])
@pytest.mark.parametrize("dtype", SIZES)
def test_subnormal_numbers_have_a_norm_and_a_gradient(name: str, dtype: str):
    x = gc.param("x", (3,))
    at = (V * SUBNORMAL[dtype]).astype(dtype)
    value, slope = evaluate(nodes_of(CASES[name], x), {x.node: at}, dtype=dtype)
    np.testing.assert_allclose(np.float64(value), CASES[name].value * SUBNORMAL[dtype], rtol=1e-4)
    np.testing.assert_allclose(slope, CASES[name].gradient, rtol=1e-4, atol=1e-4)


def test_numbers_of_all_sizes_have_the_norm_of_the_largest():
    x = gc.param("x", (3,))
    nodes = nodes_of(CASES["a norm"], x)
    value, slope = evaluate(nodes, {x.node: np.array([1e-300, -1e200, 1.0])})
    assert value == 1e200
    np.testing.assert_array_equal(slope, [0.0, -1.0, 1e-200])
    for odd, wanted in ((np.inf, np.inf), (np.nan, np.nan), (0.0, 0.0)):
        np.testing.assert_array_equal(evaluate(nodes[:1], {x.node: np.array([odd, 0, 0])})[0], wanted)


@pytest.mark.parametrize("dtype", SIZES)
def test_unit_vectors_and_their_gradients_are_right_at_every_size(dtype: str):
    """The gradient (t - v̂(v̂·t))/‖v‖ has ‖v‖² and ‖v‖³ in it when it is written as one fraction."""
    x, t = gc.param("x", (3,)), np.array([1.0, 2, 3])
    y = gc.sum(x / norm(x) * t)
    nodes, unit = [normalise([n]).roots[0] for n in (y.node, gc.grad(y, x).node)], V / 13
    for size in SIZES[dtype]:
        value, slope = evaluate(nodes, {x.node: (V * size).astype(dtype)}, dtype=dtype)
        room = 32 * np.finfo(dtype).eps
        np.testing.assert_allclose(value, unit @ t, rtol=room)
        np.testing.assert_allclose(np.float64(slope) * size, (t - unit * (unit @ t)) / 13, rtol=room * 4)


@pytest.mark.parametrize("dtype", SIZES)
@pytest.mark.parametrize("eps", [1e-12, 1e-5])
def test_a_small_number_under_the_root_changes_nothing_beside_large_squares(dtype: str, eps: float):
    """sqrt(S + eps) and x/sqrt(S + eps) with their gradients: wrong without scaling where S overflows."""
    x, t, unit = gc.param("x", (3,)), np.array([1.0, 2, 3]), V / 13
    root = gc.sqrt(gc.sum(x**2) + eps)
    y = gc.sum(x / root * t)
    nodes = [normalise([n.node]).roots[0] for n in (root, gc.grad(root, x), y, gc.grad(y, x))]
    for size in (s for s in SIZES[dtype] if s > 1):
        found = evaluate(nodes, {x.node: (V * size).astype(dtype)}, dtype=dtype)
        wanted = (13 * size, unit, unit @ t, (t - unit * (unit @ t)) / 13 / size)
        for value, exact in zip(found, wanted, strict=True):
            np.testing.assert_allclose(np.float64(value), exact, rtol=128 * np.finfo(dtype).eps)
    for size in (s for s in SIZES[dtype] if s < 1e-12):
        found = evaluate(nodes, {x.node: (V * size).astype(dtype)}, dtype=dtype)
        for value, exact in zip(found, (eps**0.5, V * size / eps**0.5, V @ t * size / eps**0.5, t / eps**0.5)):
            np.testing.assert_allclose(np.float64(value), exact, rtol=128 * np.finfo(dtype).eps, atol=1e-37)


def rows_over_their_norms(x: gc.Tensor) -> dict[str, gc.Tensor]:
    """Rows as normalisation layers write them."""
    away = x - gc.mean(x, axis=1, keepdims=True)
    r, s = (gc.sqrt(gc.mean(z**2, axis=1, keepdims=True) + 1e-5) for z in (x, away))
    named = gc.sqrt(gc.mean(x**2, axis=1, keepdims=True) + 1e-6).named("R")
    return {"rms": x / r, "named": x / named, "times": x * (1 / named), "both": x * (1 / named).named("v"),
            "inverse": x * (1 / r).named("u"), "layer": away / s,
            "power": x * (gc.mean(x**2, axis=1, keepdims=True) + 1e-5) ** -0.5}  # fmt: skip


@pytest.mark.parametrize("dtype", SIZES)
def test_gradients_of_rows_over_their_norms_do_not_depend_on_the_size_of_the_rows(dtype: str):
    """Seen red: beside squares that overflow, half of the gradient was 0, or all of it NaN."""
    x, rows = gc.input("x", (2, 3)), np.array([V, [1, 2, -2]])
    weights = np.array([[1, -2, 0.5], [0.3, 0.1, 0.7]])
    nodes = [gc.grad(gc.sum(y * weights), x).node for y in rows_over_their_norms(x).values()]
    usual = evaluate(nodes, {x.node: 1e4 * rows})
    for size in (s for s in SIZES[dtype] if s > 1e12):
        found = evaluate(nodes, {x.node: (rows * size).astype(dtype)}, dtype=dtype)
        for name, value, wanted in zip(rows_over_their_norms(x), found, usual, strict=True):
            room = 1e3 * np.finfo(dtype).eps + 1e-11
            np.testing.assert_allclose(np.float64(value) * size, 1e4 * wanted, rtol=room, atol=room, err_msg=name)


@pytest.mark.parametrize("dtype", SIZES)
def test_vectors_times_a_power_of_their_squares_are_unit_vectors(dtype: str):
    x, t, unit = gc.param("x", (3,)), np.array([1.0, 2, 3]), V / 13
    y = gc.sum(x * gc.sum(x**2) ** -0.5 * t)
    nodes = [normalise([n.node]).roots[0] for n in (y, gc.grad(y, x))]
    for size in SIZES[dtype]:
        value, slope = evaluate(nodes, {x.node: (V * size).astype(dtype)}, dtype=dtype)
        np.testing.assert_allclose(value, unit @ t, rtol=64 * np.finfo(dtype).eps)
        wanted = (t - unit * (unit @ t)) / 13
        np.testing.assert_allclose(np.float64(slope) * size, wanted, rtol=128 * np.finfo(dtype).eps)


def unit(x: gc.Tensor) -> gc.Tensor:
    return x / norm(x, axis=1, keepdims=True)


COSINES = {
    "unit rows": lambda x, y: gc.sum(unit(x) * unit(y) * np.array([[1.0], [3.0]])),
    "named": lambda x, y: gc.sum(unit(x).named("U") * unit(y).named("V")),
    "loss": lambda x, y: gc.losses.cosine_similarity(x, y, eps=1e-12),
    "small eps": lambda x, y: gc.losses.cosine_similarity(x, y, eps=1e-35, reduce="sum"),
}


@pytest.mark.parametrize("dtype", SIZES)
@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("name", COSINES)
def test_the_cosine_of_rows_does_not_depend_on_their_sizes(name: str, shared: bool, dtype: str):
    """Seen red: x*y was infinite or 0, and x/(r*s) where only the quotients x/r are numbers."""
    rows, others = np.array([V, [1, 2, -2]]), np.array([[1.0, 2, 3], [-2, 0.5, 1]])
    x, y = gc.param("x", (2, 3)), gc.param("y", (2, 3))
    J = COSINES[name](x, y)
    beside = [norm(x, axis=1, keepdims=True), norm(y, axis=1, keepdims=True)]  # which J then reads
    nodes = normalise([n.node for n in (J, *gc.grad(J, [x, y]), *(beside if shared else []))]).roots
    usual = evaluate(nodes, {x.node: rows, y.node: others})
    for one, other in itertools.product(SIZES[dtype][:-1], repeat=2):
        if name == "loss" and min(one, other) < 1 or name == "small eps" and min(one, other) < 1e-20:
            continue  # shorter than eps
        at = {x.node: (rows * one).astype(dtype), y.node: (others * other).astype(dtype)}
        found = evaluate(nodes, at, dtype=dtype)
        room = 100 * np.finfo(dtype).eps
        for value, size, wanted in zip(found, (1, one, other, 1 / one, 1 / other), usual):
            np.testing.assert_allclose(np.float64(value) * size, wanted, rtol=room, atol=room, err_msg=f"{one} {other}")


@pytest.mark.parametrize("dtype", SIZES)
def test_the_text_of_a_program_says_the_same(dtype: str):
    """All cases in one function, which plain Python runs, and NumPy scalars of the precision."""
    x = gc.input("x", (3,))
    outputs = [n for case in CASES.values() for n in (case.build(x), gc.grad(case.build(x), x))]
    with in_python(Plain(divides=True)):
        function = gc.compile(outputs=outputs, inputs=[x], dtype=dtype)
        for size in SIZES[dtype]:
            found = function((V * size).astype(dtype))
            for t, case in enumerate(CASES.values()):
                assert_right(found[2 * t : 2 * t + 2], case, dtype, float(np.dtype(dtype).type(size)))


@pytest.mark.parametrize("dtype", SIZES)
def test_the_norm_of_one_row_of_a_matrix_is_a_number(dtype: str):
    """Its equations read an index that no loop has: the program was refused."""
    x, other = gc.input("x", (3,)), np.array([[1.0, -2.0, 3.0]])
    J = gc.losses.cosine_similarity(x[None], other, eps=1e-300 if dtype == "float64" else 1e-35)
    with in_python(Plain(divides=True)):
        function = gc.compile([J, gc.grad(J, x)], [x], dtype=dtype)
        usual = function(V.astype(dtype))
        for size in SIZES[dtype][:-1]:
            value, slope = function((V * size).astype(dtype))
            np.testing.assert_allclose(value, usual[0], rtol=100 * np.finfo(dtype).eps)
            np.testing.assert_allclose(np.float64(slope) * size, usual[1], rtol=1e3 * np.finfo(dtype).eps)
    np.testing.assert_allclose(usual[0], -(V @ other[0]) / np.linalg.norm(V) / np.linalg.norm(other), rtol=1e-6)


def test_both_targets_train_on_rows_with_tiny_norms():
    """(‖z‖ - 1)² at rows of 1e-200: the gradient has the direction of z, not 0."""
    X, T = gc.input("X", ("n", 3)), gc.input("T", ("n",))
    model = gc.Model(loss=gc.mean((norm(X @ gc.param("W", (3, 2), gc.normal(0.5)), axis=1) - T) ** 2), dtype="float64")
    x, t = np.array([[0.0, 0, 0], [1e-200, 2e-200, 3e-200], [0, 1e-190, 0]]), np.array([1.0, 2, 3])
    started = np.array(model.initialize(1).params["W"])
    with in_python(Plain(divides=True)):
        model.fit(x, t, optimizer=gc.SGD(1e199), steps=1, batch_size=3, shuffle=False)
    z = x @ started
    units = np.array([row / (np.hypot(*row) or 1) for row in z])
    on_cpu = np.array(model.params["W"])
    np.testing.assert_allclose(on_cpu, started - 1e199 * x.T @ (-2 / 3 * t[:, None] * units), rtol=1e-12)
    with selection.use(Watched(threads=4), "A"):
        model.initialize(1).fit(x, t, optimizer=gc.SGD(1e199), steps=1, batch_size=3, shuffle=False, target="cuda")
    np.testing.assert_allclose(model.params["W"], on_cpu, rtol=1e-12)


def test_scales_are_powers_of_2_that_bring_all_squares_into_range():
    for dtype, s in SCALES.items():
        info = np.finfo(dtype)
        largest, least, normal = info.maxexp, np.log2(info.smallest_subnormal), info.minexp
        tiny, huge, up, down = (int(np.log2(float(v))) for v in (s.tiny, s.huge, s.up, s.down))
        assert [2.0**n for n in (tiny, huge, up, down)] == [float(v) for v in (s.tiny, s.huge, s.up, s.down)]
        many = 24  # the sum of so many times 2 squares is a number too
        assert 2 * (largest + down) + many < largest
        assert 2 * (least + up) > normal
        assert tiny + 2 * up < largest
        assert normal + many < tiny
        assert huge - many + 2 * down - info.nmant > normal


def test_the_formulas_stay_those_of_paper():
    x = gc.param("x", (3,))
    assert str(gc.Model(loss=norm(x)).derive()).splitlines()[1].startswith("∂J/∂x[i] = x[i] / J")
    assert "√((x[0]² + x[1]²)" not in str(gc.Model(loss=gc.sqrt(x[0] ** 2 + x[1] ** 2)).derive())
    page = str(gc.Model(loss=deviation(x)).derive())
    assert "∂J/∂x[i] = 1/9 Σ_j (S0 - x[j])/J + (x[i] - S0)/(3·J)" in page and "where" not in page
