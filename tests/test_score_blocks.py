"""Attention over long sequences in blocks of queries: bits of the whole arrays, JAX's values, and memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import sympy

import graphc as gc
from graphc.declare.tensor import as_node
from graphc.emit import score_blocks as printed
from graphc.emit.reference import evaluate
from graphc.facade.inspecting import lowered
from graphc.facade.pipeline import read_graph
from graphc.facade.programs import FunctionText, function_text
from graphc.ir.affine import identity, index
from graphc.ir.build import equation
from graphc.ir.node import Indicator, Leaf, Mask, Read
from graphc.ir.scalar import placeholder, where
from graphc.lower import row_loops, score_blocks
from graphc.lower.plan import PlanOptions

jax.config.update("jax_enable_x64", True)
RNG = np.random.default_rng(11)
ROWS, QUERIES, KEYS, HEADS, WIDTH = 3, 20, 72, 2, 8  # blocks of 8 queries: the last of 4
q = RNG.normal(size=(ROWS, HEADS, QUERIES, WIDTH))
k, v = RNG.normal(size=(2, ROWS, HEADS, KEYS, WIDTH))
seen = (RNG.random((ROWS, 1, QUERIES, KEYS)) < 0.7).astype(float)
seen[1, 0, 5] = 0  # a query that sees nothing
POWERS = {"": 3, "causal": 2, "mask": 3, "mask and causal": 2}  # of squares, a product has the factor 2


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[int], None]]:
    """Blocks for scores that any cache would hold; called with the bytes that a cache holds, another limit."""

    def limit(held: int) -> None:
        monkeypatch.setattr(score_blocks, "HELD", held)

    monkeypatch.setattr(row_loops, "HELD", 0)
    monkeypatch.setattr(score_blocks, "BLOCK_BYTES", 1)
    limit(0)
    yield limit


def attention_of(how: str) -> tuple[list[gc.Tensor], list[gc.Tensor], list[np.ndarray], Any]:
    """Inputs, the output with the gradients of a sum over it, data, and JAX's function of these."""
    inputs = [gc.input(name, a.shape) for name, a in (("Q", q), ("K", k), ("V", v))]
    M = gc.input("M", (ROWS, 1, QUERIES, KEYS))
    masked, causal = "mask" in how, "causal" in how
    out = gc.attention(*inputs, mask=M if masked else None, causal=causal)
    total = gc.sum(out ** POWERS[how])
    outputs = [out, *(gc.grad(total, leaf) for leaf in inputs)]
    data = [q, k, v, *([seen] if masked else [])]
    where = np.ones((ROWS, 1, QUERIES, KEYS), bool)
    where = where & (seen > 0) if masked else where
    where = where & (np.arange(QUERIES)[:, None] >= np.arange(KEYS)) if causal else where

    def theirs(q: Any, k: Any, v: Any, *_: Any) -> Any:
        weights = jax.nn.softmax(jnp.einsum("nhqd,nhkd->nhqk", q, k) / np.sqrt(WIDTH), where=where)
        return jnp.einsum("nhqk,nhkv->nhqv", weights, v)

    return [*inputs, *([M] if masked else [])], outputs, data, theirs


def plan_of(outputs: list[gc.Tensor], inputs: list[gc.Tensor]) -> FunctionText:
    roots = read_graph({f"y{t}": y.node for t, y in enumerate(outputs)}).roots
    leaves = [a.node for a in inputs if isinstance(a.node, Leaf)]
    return function_text("call", [*roots.values()], leaves, PlanOptions("float64"))


@pytest.mark.parametrize("how", POWERS)
def test_blocks_have_the_values_and_gradients_of_jax(
    small: Callable[[int], None], monkeypatch: pytest.MonkeyPatch, how: str
):
    """Planted faults, seen to fail: sums over queries that begin anew with every block; a last block of eight (by the
    check of texts); a factor of a product that is left out; keys that end one too early."""
    monkeypatch.setattr(printed, "KEYS_AT_ONCE", 1)
    inputs, outputs, data, theirs = attention_of(how)
    text = plan_of(outputs, inputs).text.text
    assert "for block in range(0, 20, 8):" in text
    assert ("in range(keys_end):" in text) is ("causal" in how)
    found = gc.compile(outputs=outputs, inputs=inputs, dtype="float64")(*data)
    total = lambda *a: jnp.sum(theirs(*a) ** POWERS[how])
    exact = [theirs(*data), *jax.grad(total, (0, 1, 2))(*data[:3])]
    for ours, wanted in zip(found, map(np.asarray, exact), strict=True):
        wanted = np.nan_to_num(wanted)
        np.testing.assert_allclose(ours, wanted, rtol=1e-12, atol=1e-12 * max(1.0, np.abs(wanted).max()))


def model(length: int = QUERIES) -> gc.Model:
    """Attention with heads of four, each place of a row seeing those before it that a mask leaves."""
    X, T, M = gc.input("X", ("n", length, 8)), gc.input("T", ("n", length, 8)), gc.input("M", ("n", length))
    mixed = gc.nn.MultiHeadAttention(2, causal=True)(X, mask=M)
    return gc.Model(output=mixed, loss=gc.losses.mse(mixed, T), dtype="float32")


def elements_of(length: int) -> int:
    """The arena of a step of three rows."""
    return lowered(model(length)._core, batch_size=3).step.plan.arena.at({"n": 3})


def test_a_step_in_blocks_has_the_bits_of_whole_arrays_whatever_the_threads(
    small: Callable[[int], None], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    """Also where every element is checked to be there before it is touched. Planted faults, seen to fail: one block for
    all rows of the batch, which threads then share; loops of that check which say what vectors they make."""
    length = 70
    data = RNG.normal(size=(2, 5, length, 8)).astype("float32")
    words = (np.arange(length) < np.array([[70], [3], [41], [0], [64]])).astype("float32")
    found = []
    for held, threads, checks in ((1 << 40, 1, False), (0, 1, False), (0, 2, False), (0, 2, True)):
        small(held)
        monkeypatch.setenv("GRAPHC_CACHE", str(tmp_path / str(held)))  # a program is found by what is declared
        net = model(length)
        assert ("for block in" in net.source(batch_size=3)) is (held == 0)
        given = {"X": data[0], "T": data[1], "M": words}
        run = net.fit(given, epochs=2, batch_size=3, threads=threads, check_bounds=checks)
        outputs = net.predict({"X": data[0], "M": words})
        loss = np.asarray(run.history["loss"])
        found.append([outputs, *(net.params[name] for name in net.params), *([] if checks else [loss])])
    for other in found[1:]:
        for first, second in zip(found[0], other, strict=False):
            np.testing.assert_array_equal(first, second)


def test_memory_grows_with_the_length_and_not_with_its_square(small: Callable[[int], None]):
    """Where a cache does not hold the scores of a row. Planted fault, seen to fail: a mask that is kept whole."""
    scores = 2 * 80**2
    assert elements_of(160) < 2.1 * elements_of(80) < 2.1 * 3 * scores
    small(4 * scores)
    assert elements_of(80) > 3 * scores > elements_of(81)


def seen_by(behind: int) -> gc.Tensor:
    """Query t sees the keys up to so many behind t."""
    seen = Indicator(Mask("ge", index(0) - index(1) + behind))
    return gc.Tensor(equation((QUERIES, KEYS), 2, "sum", placeholder(0), [seen]))


def and_one(s: gc.Tensor, place: int) -> gc.Tensor:
    """Scores of the keys up to the place of a query, 0 at one key that is not among them; one equation."""
    after, one = Indicator(Mask("ge", index(2) - index(3))), Indicator(Mask("eq", index(3) - place))
    a, b, c, d = map(placeholder, range(4))
    operands = [after, Read(s.node, identity(4)), one, Read(as_node(-np.inf, "where"), ())]
    return gc.Tensor(equation(s.shape, 4, "sum", where(a, b, where(c, sympy.S.Zero, d)), operands))


def high(s: gc.Tensor) -> gc.Tensor:
    return gc.stop_gradient(gc.less(0, s))


def greatest(s: gc.Tensor) -> gc.Tensor:
    """-1 or -2 of the keys up to the place of a query, 0 of others: the greatest."""
    return gc.max(gc.where(seen_by(0), gc.where(high(s), -1, -2), 0), axis=-1, keepdims=True)


UNSEEN: dict[str, tuple[Callable[[gc.Tensor], gc.Tensor], bool]] = {
    "those up to its own": (lambda s: gc.softmax(s, where=seen_by(0)), True),
    "three behind": (lambda s: gc.softmax(s, where=seen_by(3)), True),
    "two masks": (lambda s: gc.softmax(s, where=seen_by(0)) + gc.softmax(s, where=seen_by(5)), True),
    "the first one too": (lambda s: gc.softmax(and_one(s, 0)), True),
    "the second one too": (lambda s: gc.softmax(and_one(s, 1)), False),
    "those before it": (lambda s: gc.softmax(s, where=seen_by(-1)), False),  # the first query sees none
    "a number that is no infinity": (lambda s: gc.softmax(gc.where(seen_by(0), s, -1e4)), False),
    "whether any is left": (lambda s: gc.softmax(s, where=gc.where(high(s), seen_by(0), 0)), True),
    "a maximum below what is chosen behind": (lambda s: gc.softmax(s, where=seen_by(0)) * greatest(s), False),
    "what is not 0 for a share of 0": (lambda s: gc.cos(gc.softmax(s, where=seen_by(0))), False),
}


@pytest.mark.parametrize("how", UNSEEN)
def test_keys_that_no_query_of_a_block_sees_are_left_out_where_they_count_for_nothing(
    small: Callable[[int], None], monkeypatch: pytest.MonkeyPatch, how: str
):
    """Planted faults, seen to fail: the smaller of two masks; a cosine of 0 taken for 0; keys that end too early;
    any one key taken for the first; a maximum of 0 and less that ends with the keys; one of 0 and 1 that does not."""
    monkeypatch.setattr(printed, "KEYS_AT_ONCE", 1)
    inputs, *_ = attention_of("")
    weights, some = UNSEEN[how]
    out = gc.matmul(weights(gc.matmul(inputs[0], gc.swapaxes(inputs[1], -1, -2))), inputs[2])
    assert ("in range(keys_end):" in plan_of([out], inputs).text.text) is some
    if how in ("three behind", "two masks", "whether any is left"):
        outputs = [out, *(gc.grad(gc.sum(out**2), leaf) for leaf in inputs)]
        found = gc.compile(outputs=outputs, inputs=inputs, dtype="float64", verify=False)(q, k, v)
        feed = {a.node: x for a, x in zip(inputs, (q, k, v), strict=True) if isinstance(a.node, Leaf)}
        exact = evaluate([y.node for y in outputs], feed)
        for ours, wanted in zip(found, exact, strict=True):
            np.testing.assert_allclose(ours, wanted, rtol=1e-12, atol=1e-13 * np.abs(wanted).max())


def test_scores_that_another_query_reads_stay_whole(small: Callable[[int], None]):
    """Planted fault, seen to fail: every order of the kernels will do."""
    inputs, *_ = attention_of("")
    scores = gc.matmul(inputs[0], gc.swapaxes(inputs[1], -1, -2))
    for read, blocks in ((scores, True), (scores + gc.roll(scores, 1, axis=2), False)):
        text = plan_of([gc.matmul(gc.softmax(read), inputs[2])], inputs).text.text
        assert ("for block in" in text) is blocks


def test_a_language_model_has_no_blocks_of_words(small: Callable[[int], None]):
    """Scores of words are a product with a parameter, which blocks would read anew."""
    X, w = gc.input("X", ("n", QUERIES, WIDTH)), gc.param("w", (WIDTH, KEYS), gc.normal(1.0))
    assert "for block in" not in plan_of([gc.softmax(X @ w) @ w.T], [X, w]).text.text
