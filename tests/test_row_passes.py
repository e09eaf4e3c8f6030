"""Rows in few passes: every exponential of a softmax once, and nests over the same rows in one loop."""

from __future__ import annotations

from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import special

import graphc as gc
from graphc.facade.pipeline import read_graph
from graphc.facade.programs import function_text
from graphc.lower import row_loops
from graphc.lower.plan import PlanOptions
from tests.text_check import Case, findings_of, recording

jax.config.update("jax_enable_x64", True)
RNG = np.random.default_rng(5)
ROWS, LONG = 40, 1024  # 320 kB in float64: more than a row loop leaves to a cache
x, u = RNG.normal(size=(2, ROWS, LONG)) * 3
x[3], x[4, ::2], x[5, 7] = 1e4, -np.inf, 700.0


def source(y: gc.Tensor, *inputs: gc.Tensor, apart: bool = False) -> str:
    """The text of a function, which is not compiled."""
    roots, options = read_graph({"y": y.node}).roots, PlanOptions("float64", apart=apart)
    return function_text("call", [*roots.values()], [a.node for a in inputs], options).text.text


def exponentials(text: str) -> int:
    """How often a program computes one, comments left out."""
    return sum(line.count("exp(") for line in text.split("\n") if not line.lstrip().startswith("#"))


def test_a_softmax_computes_every_exponential_once():
    """Planted fault, seen to fail: no logsumexp that may store its exponentials."""
    a, b, t = gc.input("a", ("n", 9)), gc.input("b", ("n", 9)), gc.input("t", ("n",), dtype="int64")
    p = gc.softmax(a, axis=1)
    assert exponentials(source(p, a)) == exponentials(source(gc.grad(gc.sum(p * b), a), a, b)) == 1
    twice = gc.grad(gc.sum(gc.grad(gc.losses.cross_entropy(a, t), a) * b), a)
    assert exponentials(source(twice, a, b, t)) == 1
    squares = gc.sum(gc.softmax(a / 3, axis=1) ** 2, axis=1)
    assert exponentials(source(squares, a)) == 1
    assert exponentials(source(gc.softmax(gc.softmax(a, axis=1), axis=1), a)) == 2
    q = gc.input("q", ("n", 5, 4))
    assert exponentials(source(gc.attention(q, q, q, causal=True), q)) == 1
    assert exponentials(source(gc.softmax(q, axis=(1, 2)), q)) == 1


def test_the_logarithm_stays_a_logarithm():
    """Of a loss and of a log-softmax nothing is a quotient: exp(z - top) may have underflowed."""
    a, b = gc.input("a", ("n", 9)), gc.input("b", ("n", 9))
    text = source(gc.log_softmax(a, axis=1), a)
    assert exponentials(text) == 1 and "_exp" not in text and "log(s)" in text
    other = source(gc.exp(gc.log_softmax(a, axis=1) + b), a, b)
    assert exponentials(other) == 2 and "_exp" not in other  # exp(b) may be infinite where the product is not


def test_a_training_step_computes_the_exponentials_of_its_loss_once():
    X, T = gc.input("X", ("n", 6)), gc.input("T", ("n",), dtype="int64")
    w = gc.param("w", (6, 5), gc.normal(1.0))
    text = gc.Model(loss=gc.losses.cross_entropy(X @ w, T)).source(batch_size=8)
    assert exponentials(text) == 1 and text.count("log(s)") == 1


def rows_of_all() -> list[gc.Tensor]:
    """Functions of a long row, and their derivatives."""
    a, b = gc.input("a", (ROWS, LONG)), gc.input("b", (ROWS, LONG))
    words = [gc.softmax(a, axis=1), gc.layer_norm(b), gc.rms_norm(b)]
    first = [gc.grad(gc.sum(word * b**2), of) for word, of in zip(words, (a, b, b), strict=True)]
    second = gc.grad(gc.sum(first[1] * a**2 / 1e4), b)
    neighbours = gc.rms_norm(b + a**2)
    total = gc.mean(gc.logsumexp(a - b, axis=1) ** 2)  # a sum over the rows themselves
    return [a, b, *words, *first, second, neighbours + gc.roll(neighbours, 1, axis=0), total]


def theirs(a: jax.Array, b: jax.Array) -> list[jax.Array]:
    def norm(v):
        return jax.nn.standardize(v, axis=1, epsilon=1e-5)

    def rms(v):
        return v / jnp.sqrt(jnp.mean(v**2, axis=1, keepdims=True) + 1e-6)

    words = [lambda v: jax.nn.softmax(v, axis=1), norm, rms]
    of = (a, b, b)
    first = [jax.grad(lambda v, f=f, w=w: jnp.sum(f(v) * w))(v) for f, v, w in zip(words, of, [b**2] * 3, strict=True)]
    by_norm = lambda v: jnp.sum(jax.grad(lambda z: jnp.sum(norm(z) * z**2))(v) * a**2 / 1e4)
    first[1:] = [jax.grad(lambda v, f=f: jnp.sum(f(v) * v**2))(b) for f in words[1:]]
    near = rms(b + a**2)
    last = [near + jnp.roll(near, 1, axis=0), jnp.mean(jax.nn.logsumexp(a - b, axis=1) ** 2)]
    return [*(f(v) for f, v in zip(words, of, strict=True)), *first, jax.grad(by_norm)(b), *last]


def test_long_rows_have_the_values_and_derivatives_of_jax():
    """Planted fault, seen to fail: one row kept of what others read."""
    a, b, *values = rows_of_all()
    finite = np.where(np.isfinite(x), x, -300.0)
    parts = (values[:-2], values[-2:])
    found = [y for part in parts for y in gc.compile(outputs=part, inputs=[a, b], dtype="float64")(finite, u)]
    for ours, exact in zip(found, theirs(finite, u), strict=True):
        exact = np.asarray(exact)
        np.testing.assert_allclose(ours, exact, rtol=1e-12, atol=1e-12 * max(1.0, np.abs(exact).max()))


def wrong(found: np.ndarray, z: np.ndarray) -> float:
    """The largest relative error in units of the last place, beside what rounding z - max z makes of its exponential;
    what underflows is left out."""
    exact, below = special.softmax(z.astype("float64"), axis=1), z - z.max(axis=1, keepdims=True)
    unit = np.finfo(found.dtype).eps * (1 + np.where(np.isfinite(below), -below, 0) / 2)
    seen = exact > 1e-36
    assert (found[~seen] < 2e-36).all()
    return float((np.abs(found - exact)[seen] / (exact * unit)[seen]).max())


def test_rows_with_masked_elements_in_single_precision():
    """A few units of every element, also of small ones; -inf has the share 0, a row that is all masked is 0."""
    a = gc.input("a", (ROWS, 2 * LONG))
    m = gc.input("m", (ROWS, 2 * LONG))
    words = [gc.softmax(a, axis=1), gc.softmax(a, axis=1, where=m > 0)]
    both = gc.compile(outputs=words, inputs=[a, m], dtype="float32")
    keep = RNG.random((ROWS, 2 * LONG)) < 0.7
    keep[7] = False
    z = np.concatenate([x, u * 5], axis=1).astype("float32")
    plain, masked = both(z, keep.astype("float32"))
    assert wrong(plain, z) < 4
    assert (plain[4, :LONG:2] == 0).all()
    rest = np.delete(np.arange(ROWS), 7)
    assert wrong(masked[rest], np.where(keep, z, -np.inf)[rest]) < 4
    assert (masked[7] == 0).all()


@cache
def runs() -> tuple[Case, str]:
    """A short row that is read by its neighbour too, so that it is no part of the run."""
    a = gc.input("a", (5, 6))
    p = gc.softmax(gc.layer_norm(a), axis=1)
    with recording() as cases:
        text = source(p + gc.roll(p, 1, axis=0), a, apart=True)
    return cases[0], text


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs of rows that any cache would hold."""
    monkeypatch.setattr(row_loops, "LONG_ROW", 2)
    monkeypatch.setattr(row_loops, "HELD", 0)


def test_a_run_reads_its_own_row_alone(short: None, monkeypatch: pytest.MonkeyPatch):
    """The text is run, and every read is of what was written; with the fault, rows are read that come later."""
    case, text = runs()
    assert text.count("for i in range(5):") == 2 and not findings_of(case)
    monkeypatch.setattr(row_loops, "_at_rows", lambda at, rows: True)
    runs.cache_clear()
    assert any("is written later" in finding for finding in findings_of(runs()[0]))
    runs.cache_clear()


def test_what_a_run_alone_reads_takes_one_row(short: None):
    """The normalised rows of a softmax, its exponentials and all that is one number a row."""
    a = gc.input("a", (5, 6))
    kept = function_text("call", [gc.softmax(gc.layer_norm(a), axis=1).node], [a.node], PlanOptions("float64"))
    assert max(r.buffer.size.at({}) for r in kept.plan.requests) == 6
    apart = PlanOptions("float64", apart=True)
    whole = function_text("call", [gc.softmax(gc.layer_norm(a), axis=1).node], [a.node], apart)
    assert max(r.buffer.size.at({}) for r in whole.plan.requests) == 30


def test_threads_that_compute_a_step_together_have_runs_of_their_own_rows_alone(short: None):
    """Without rows of data, nests are divided among threads, which meet between them; a run, whose sums are marked,
    would be every thread's. Planted fault, seen to fail: runs for a step as for a function."""
    w, X = gc.param("w", (6, 8), gc.normal(1.0)), gc.input("X", ("n", 8))
    norm = lambda a: gc.sum(gc.rms_norm(a) ** 3)
    texts = []
    with recording() as cases:
        for loss in (norm(w), norm(X @ gc.param("v", (8, 8), gc.normal(1.0)))):
            texts.append(gc.Model(loss=loss).source(batch_size=4))
    assert ["chains()" in text for text in texts] == [False, True]
    assert not [finding for case in cases for finding in findings_of(case)]
