"""What the check of large networks leaves out: whole products, threads, most of an update; and what it still sees."""

from __future__ import annotations

import tracemalloc
from typing import Any, ClassVar

import numpy as np
import pytest
import sympy

import graphc as gc
from graphc.emit.reference import SERIAL, SHORT, Product, evaluate, evaluate_in_parts
from graphc.facade import agreement
from graphc.facade.agreement import LARGE, PIECE, PRECISIONS, judge, near
from graphc.facade.updating import LEAST, RUN, SAMPLE, Updated, sample_of
from graphc.ir import scalar_value
from graphc.ir.affine import identity
from graphc.ir.build import equation
from graphc.ir.node import Read
from graphc.ir.scalar import numpy_function, placeholder
from graphc.optim.rules import reference_step
from graphc.run.mirrored import Mirrored
from graphc.run.sampler import Sampler
from graphc.run.training import Moving, RuleState, Totals

RNG = np.random.default_rng(3)


class Noted(np.ndarray):
    """An array whose products are noted: multiplications of one matrix of a stack."""

    sizes: ClassVar[list[int]] = []

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **options: Any) -> Any:
        plain = [x.view(np.ndarray) if isinstance(x, Noted) else x for x in inputs]
        if ufunc is np.matmul and plain[0].size and plain[1].size:
            self.sizes.append(plain[0].shape[-2] * plain[0].shape[-1] * plain[1].shape[-1])
        found = getattr(ufunc, method)(*plain, **options)
        return found.view(Noted) if isinstance(found, np.ndarray) else found


@pytest.mark.parametrize("sides", ["CC", "CF", "FC", "FF"])
@pytest.mark.parametrize("shape", [(4, 600, 700), (700, 4, 600), (600, 700, 4), (128, 64, 256), (40, 50, 60)])
def test_a_product_in_parts_is_the_product(shape: tuple[int, int, int], sides: str):
    """Parts so small that BLAS begins no threads cover every term once, in two calls; rows alone are those of the
    whole. Where no side is short, a product of a moderate size goes part by part, too."""
    n, k, m = shape
    assert n * k * m <= SHORT
    left, right = (np.array(RNG.normal(size=s), order=order) for s, order in zip(((n, k), (k, m)), sides, strict=True))
    Noted.sizes.clear()
    product = Product(left.view(Noted), right.view(Noted))
    np.testing.assert_allclose(product.rows().view(np.ndarray), left @ right, rtol=0, atol=1e-11)
    assert len(Noted.sizes) <= 2 and max(Noted.sizes) <= SERIAL
    np.testing.assert_allclose(product.rows(1, 3).view(np.ndarray), (left @ right)[1:3], rtol=0, atol=1e-11)


CONTRACTIONS = [
    "nij,jk->nik", "nij,nik->jk", "nij,nkj->nik", "abij,abkj->abik", "bija,abkj->kbai", "ni,n->i", "ij,ij->", "ij,ji->",
    "ij,jik->k", "ijk,jl->lki", "i,ij->j",
]  # fmt: skip


@pytest.mark.parametrize("words", CONTRACTIONS)
def test_a_contraction_of_two_factors_is_products_of_matrices(words: str, monkeypatch: pytest.MonkeyPatch):
    """Indices in any order, in both factors or in one: the numbers of einsum, which is not asked."""
    sides = dict(zip("nijkabl", (2, 3, 4, 5, 3, 2, 6), strict=True))
    shapes = [tuple(sides[letter] for letter in factor) for factor in words.partition("->")[0].split(",")]
    x, y = (gc.input(name, shape) for name, shape in zip("xy", shapes, strict=True))
    feed = {leaf.node: RNG.normal(size=shape) for leaf, shape in zip((x, y), shapes, strict=True)}
    exact = np.einsum(words, *feed.values())
    node = gc.einsum(words, x, y).node
    monkeypatch.setattr(np, "einsum", None)
    [found], [waiting] = evaluate([node], feed), evaluate_in_parts([node], feed)
    waiting = waiting.rows() if isinstance(waiting, Product) else waiting
    np.testing.assert_allclose(found, exact, rtol=0, atol=1e-13)
    assert waiting.tobytes() == found.tobytes() and found.shape == exact.shape and found.flags.c_contiguous


def test_a_long_formula_of_one_array_is_computed_in_pieces(monkeypatch: pytest.MonkeyPatch):
    """The distribution function of the normal distribution has 113 parts, most of them a polynomial: what is held at a
    time are those of a piece and the result, which is that of the whole."""
    x = gc.input("x", ("n", 5))
    node, feed = gc.special.ndtr(x).node, {x.node: RNG.normal(size=(20_001, 5))}
    evaluate([node], feed)
    tracemalloc.start()
    [found] = evaluate([node], feed)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 4 * 8 * 100_005
    monkeypatch.setattr(scalar_value, "PIECE", found.size)
    assert evaluate([node], feed)[0].tobytes() == found.tobytes() and found.shape == (20_001, 5)


def test_what_one_part_of_a_formula_reads_is_given_up_at_once():
    """Formulas of two arrays are computed as a whole: the memory of the next part is that of the last."""
    a, b = placeholder(0), placeholder(1)
    horner, arrays = a, RNG.normal(size=(2, 100_000))
    for k in range(60):
        horner = horner * b + 1 / sympy.Integer(k + 2)
    f = numpy_function(horner, 2)
    f(*arrays)
    tracemalloc.start()
    f(*arrays)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 8 * 8 * 100_000


READS = {
    "a part": (lambda X: X[1:4], lambda x: x[1:4]),
    "every second": (lambda X: X[1::2], lambda x: x[1::2]),
    "a fixed place": (lambda X: X[:, 2], lambda x: x[:, 2]),
    "an axis of 1": (lambda X: X[:, :, :1] + X[:, 3:4], lambda x: x[:, :, :1] + x[:, 3:4]),
    "transposed": (lambda X: gc.transpose(X, (2, 0, 1))[1:], lambda x: x.transpose(2, 0, 1)[1:]),
}


@pytest.mark.parametrize("name", READS)
def test_what_lies_in_one_run_is_read_as_it_lies(name: str, monkeypatch: pytest.MonkeyPatch):
    """Slices and fixed places are views of an array, which no index of a place is made for."""
    X = gc.input("X", (5, 4, 3))
    part, of = READS[name]
    feed = {X.node: RNG.normal(size=(5, 4, 3))}
    monkeypatch.setattr(np, "clip", None)
    np.testing.assert_array_equal(evaluate([gc.exp(part(X)).node], feed)[0], np.exp(of(feed[X.node])))


@pytest.mark.parametrize("at", [(0, 0), (150, 299), (299, 17)])
def test_one_wrong_element_of_a_large_gradient_is_found(at: tuple[int, int]):
    """The gradient is compared part by part, and is never there as a whole."""
    X, D, W = gc.input("X", ("n", 300)), gc.input("D", ("n", 300)), gc.param("W", (300, 300), gc.normal(1.0))
    slope = gc.grad(gc.sum((X @ W) * D), W).node
    feed = {X.node: RNG.normal(size=(4, 300)), D.node: RNG.normal(size=(4, 300))}
    [waiting], [exact] = evaluate_in_parts([slope], feed), evaluate([slope], feed)
    assert isinstance(waiting, Product) and exact.size > PIECE
    assert near(exact, waiting, 1e-9)
    wrong = exact.copy()
    wrong[at] += 1e-4 * np.abs(exact).max()
    assert not near(wrong, waiting, 1e-9)
    wrong[at] = np.nan
    assert not near(wrong, waiting, 1e-9)
    graphs = [(lambda: [slope], feed)] * 2
    found = judge([wrong], graphs, PRECISIONS["float64"]).difference
    assert found is not None and found.at == at


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_sums_of_rows_confirm_a_large_product_and_let_no_wrong_element_pass(
    dtype: str, monkeypatch: pytest.MonkeyPatch
):
    """What they confirm is not made a second time; elements, pairs that cancel in a sum, rows and columns that changed
    places, NaN and infinity are seen."""
    left, right = RNG.normal(size=(1100, 4)).astype(dtype), RNG.normal(size=(4, 1000)).astype(dtype)
    waiting, tolerance = Product(left, right), PRECISIONS[dtype].close
    found = waiting.rows()
    assert found.size >= LARGE
    wrongs, off = [found.copy() for _ in range(6)], 2 * tolerance * np.abs(found).max()
    wrongs[0][700, 31] += off
    wrongs[1][[7, 7], [5, 6]] += [50 * off, -50 * off]
    wrongs[2][[3, 4]] = wrongs[2][[4, 3]]
    wrongs[3][:, [3, 4]] = wrongs[3][:, [4, 3]]
    wrongs[4][-1, -1], wrongs[5][0, 0] = np.nan, np.inf
    assert not any(near(wrong, waiting, tolerance) for wrong in wrongs)
    monkeypatch.setattr(agreement, "_pieces", None)
    assert near(found, waiting, tolerance)


def test_a_product_that_something_reads_is_there_as_a_whole():
    X, W = gc.input("X", ("n", 3)), gc.param("W", (3, 3), gc.normal(1.0))
    Z = (X @ W).node
    feed = {X.node: np.ones((2, 3)), W.node: np.eye(3)}
    both = evaluate_in_parts([Z, gc.sum(X @ W).node], feed)
    assert [type(value) for value in both] == [np.ndarray, np.ndarray]
    assert isinstance(evaluate_in_parts([Z], feed)[0], Product)


def test_an_infinity_of_a_product_is_near_itself_alone():
    left, right = np.array([[1e200], [1.0]]), np.array([[1e200, 1.0]])
    with np.errstate(over="ignore"):
        product, exact = Product(left, right), left @ right
        assert near(exact, product, 1e-9)
        exact[0, 0] = 1.0
        assert not near(exact, product, 1e-9)


@pytest.mark.parametrize("most", [LEAST, 1111, SAMPLE])
@pytest.mark.parametrize("size", [1, 100, 513, SAMPLE, SAMPLE + 1, SAMPLE + 77, 1_000_003])
def test_the_update_is_looked_at_in_places_that_include_both_ends(size: int, most: int):
    some = sample_of(size, most)
    assert some[0] == 0 and some[-1] == size - 1 and np.all(np.diff(some) > 0)
    assert min(size, most - RUN) <= some.size <= most
    assert np.max(np.diff(some), initial=1) <= max(1, 28 * size // most)


def test_one_wrong_update_is_found_and_named_by_its_parameter():
    """Several parameters are compared at once; the first that is wrong is told, at its place."""
    V, W = gc.param("V", (3, 700)), gc.param("W", (700, 2))
    leaves = V.node, W.node
    rule = gc.Momentum(0.1).with_rate(0.1)
    feed = {leaf: RNG.normal(size=leaf.shape).astype("f4") for leaf in leaves}
    slopes = {leaf: RNG.normal(size=leaf.shape).astype("f4") for leaf in leaves}
    flat, g = (np.concatenate([x[leaf].ravel() for leaf in leaves]) for x in (feed, slopes))
    theta, states = reference_step(rule, flat.astype("f8"), g.astype("f8"))
    places = {leaves[0]: slice(0, 2100), leaves[1]: slice(2100, 3500)}

    def wrong(at: int | None, state: int | None = None):
        left, kept = theta.astype("f4"), np.concatenate(list(states.values())).astype("f4")
        if at is not None:
            left[at] += 1e-2
        if state is not None:
            kept[state] = np.nan
        after = Moving(Mirrored(left), RuleState(kept), Sampler(), Totals())
        updated = Updated(after, places, False, PRECISIONS["float32"], 7)
        return updated.wrong(feed, rule, slopes, dict.fromkeys(leaves, 0.0))

    assert wrong(None) is None
    name, difference = wrong(2100 + 700)
    assert "W" in name and difference.at == (350, 0) and difference.place == 7
    name, difference = wrong(700, 2100)
    assert "theta" in name and "V" in name and difference.at == (1, 0)
    name, difference = wrong(None, 701)
    assert "V" in name and "theta" not in name and difference.at == (1, 1) and np.isnan(difference.found)


def test_a_gradient_that_is_rounding_alone_is_judged_by_one_evaluation(monkeypatch: pytest.MonkeyPatch):
    """The bias of the keys before a softmax has the gradient 0: of every transformer's check that was most, seven
    evaluations of the whole graph where one does: it is as near as the terms of its sum let it be."""
    Q, K, C = (gc.input(name, (8, 16)) for name in "QKC")
    b = gc.param("b", (16,), gc.normal(1.0))
    slope = gc.grad(gc.sum(gc.softmax(Q @ gc.transpose(K + b)) * (C @ gc.transpose(C))), b).node
    feed = {leaf.node: RNG.normal(size=(8, 16)).astype("f4") for leaf in (Q, K, C)}
    feed[b.node] = RNG.normal(size=16).astype("f4")
    [exact], [rounded] = evaluate([slope], feed), evaluate([slope], feed, dtype="float32")
    assert np.abs(exact).max() < 1e-12 < np.abs(rounded).max()
    graphs = [(lambda: [slope], feed)] * 2
    asked = []
    note = lambda *a, **k: asked.append(a) or evaluate(*a, **k)
    monkeypatch.setattr(agreement, "evaluate", note)
    judged = judge([-rounded], graphs, PRECISIONS["float32"])
    assert judged.difference is None and not judged.unclear and not asked
    terms = evaluate_in_parts([slope], feed, dtype="float32").terms(0)
    assert terms is not None and terms.shape == (16,) and (np.abs(rounded) < 16 * 2.0**-23 * terms).all()
    judge([rounded + np.float32(1e-4) * terms], graphs, PRECISIONS["float32"])
    assert asked  # farther away than terms round: noise has to decide
    for wrong in (rounded + np.float32(0.1) * terms, rounded * np.nan):
        assert judge([wrong], graphs, PRECISIONS["float32"]).difference is not None


def test_the_terms_of_sums_are_told_by_their_sizes():
    """Of products those of their factors; an equation that adds up nothing has none."""
    X, Y = gc.input("X", (4, 6)), gc.input("Y", (6, 3))
    body = sympy.sin(placeholder(0)) - 1
    total = equation((4, 6), 1, "sum", body, [Read(X.node, identity(2))])
    nodes = [(X @ Y).node, total, gc.exp(X).node, gc.max(X, axis=0).node]
    x, y = RNG.normal(size=(4, 6)), RNG.normal(size=(6, 3))
    values = evaluate_in_parts(nodes, {X.node: x, Y.node: y})
    np.testing.assert_allclose(values.terms(0), np.abs(x) @ np.abs(y) / np.sqrt(6), rtol=1e-14)
    np.testing.assert_allclose(values.terms(1), np.abs(np.sin(x) - 1).sum(axis=1) / np.sqrt(6), rtol=1e-14)
    assert values.terms(2) is None and values.terms(3) is None
