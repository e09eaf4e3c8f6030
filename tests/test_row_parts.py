"""Many rows in parts that threads share: the bits of one part, no program more, errors told, nothing left over."""

from __future__ import annotations

import threading

import numpy as np
import pytest

import graphc as gc
from graphc.facade.functions import _row_seconds
from graphc.facade.programs import function_text
from graphc.lower.plan import PlanOptions
from graphc.native.build import statistics
from graphc.run import row_parts
from graphc.run.row_parts import RowParts, share_parts

ROWS = 5000  # of which parts of 512 are made, the last of them shorter
X = gc.input("X", ("n", 2))


@pytest.fixture
def model() -> gc.Model:
    X, T = gc.input("X", ("n", 6)), gc.input("T", ("n",), dtype="int64")
    scale = gc.input("scale", (3,))
    Z = gc.tanh(X @ gc.param("W", (6, 3)) + gc.param("B", (3,), 0.1)) * scale
    metrics = {"accuracy": gc.metrics.accuracy(Z, T)}
    return gc.Model(output=[Z, Z.sum(axis=1)], loss=gc.losses.cross_entropy(Z, T), metrics=metrics, dtype="float64")


@pytest.fixture
def data() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(5)
    return {"X": rng.normal(size=(ROWS, 6)), "T": rng.integers(0, 3, ROWS), "scale": np.array([0.5, 2.0, -1.0])}


def expected(model: gc.Model, data: dict[str, np.ndarray]) -> np.ndarray:
    return np.tanh(data["X"] @ model.params["W"] + model.params["B"]) * data["scale"]


def teams(monkeypatch: pytest.MonkeyPatch, cores: int, worth: float = 0.0) -> None:
    monkeypatch.setattr(row_parts, "cores", lambda: cores)
    monkeypatch.setattr(row_parts, "WORTH", worth)


def test_any_number_of_threads_gives_the_same_bits(model: gc.Model, data: dict[str, np.ndarray], monkeypatch):
    inputs = {"X": data["X"], "scale": data["scale"]}
    found, calls = [], []
    for cores, worth in ((1, np.inf), (1, 0.0), (2, 0.0), (5, 0.0)):
        teams(monkeypatch, cores, worth)
        before = statistics["native_calls"]
        outputs = model.predict(inputs)
        calls.append(statistics["native_calls"] - before)
        found.append((outputs, model.evaluate(data)))
    (whole, means), *divided = found
    np.testing.assert_allclose(whole[0], expected(model, data), rtol=1e-13, atol=1e-15)
    np.testing.assert_allclose(whole[1], expected(model, data).sum(1), rtol=1e-12, atol=1e-13)
    assert calls[1:] == [10, 10, 10]
    for outputs, values in divided:
        assert all(np.array_equal(a, b) for a, b in zip(outputs, whole, strict=True))
        assert values == divided[0][1]
        assert values == pytest.approx(means, rel=1e-14)
    assert not [t for t in threading.enumerate() if "take" in t.name]


def test_what_is_divided_once_is_divided_in_the_next_call(model: gc.Model, data: dict[str, np.ndarray], monkeypatch):
    """Calls of arrays that look like the last ones are prepared, but one call would add up in another order."""
    teams(monkeypatch, 2)
    found = [model.evaluate(*data.values())]
    before = statistics["native_calls"]
    found += [model.evaluate(*data.values()) for _ in range(2)]
    assert found[0] == found[1] == found[2] and statistics["native_calls"] - before == 20


@pytest.mark.parametrize("offset", [8, 1])
def test_rows_are_read_in_place_wherever_they_begin(model: gc.Model, data: dict[str, np.ndarray], offset: int):
    """At no cache line, or not even at a number's own alignment."""
    memory = np.zeros(data["X"].nbytes + 64, np.uint8)
    x = memory[offset : offset + data["X"].nbytes].view(np.float64).reshape(ROWS, 6)
    x[:] = data["X"]
    (found, _), (wanted, _) = (model.predict({"X": each, "scale": data["scale"]}) for each in (x, data["X"]))
    assert np.array_equal(found, wanted) and x.ctypes.data % 64


def test_a_function_takes_independent_rows_in_parts(data: dict[str, np.ndarray], monkeypatch):
    X, W = gc.input("X", ("n", 6)), gc.param("W", (6, 3))
    H = gc.tanh(X @ W)
    f = gc.compile(outputs=[H, gc.log1p(H[:, 0] ** 2)], inputs=[X, W])
    W_ = np.random.default_rng(2).normal(size=(6, 3))
    X_ = np.random.default_rng(3).normal(size=(40_000, 6))
    found = []
    for cores, worth in ((1, np.inf), (3, 0.0)):
        teams(monkeypatch, cores, worth)
        found.append(f(X_, W_))
    assert all(np.array_equal(a, b) for a, b in zip(*found, strict=True))
    np.testing.assert_allclose(found[0][0], np.tanh(X_ @ W_), rtol=1e-13, atol=1e-15)
    np.testing.assert_allclose(found[0][1], np.log1p(np.tanh(X_ @ W_)[:, 0] ** 2), rtol=1e-12, atol=1e-16)


def independent(*outputs: gc.Tensor) -> bool:
    text = function_text("f", [y.node for y in outputs], [X.node], PlanOptions())
    return _row_seconds(text) > 0


def test_rows_that_depend_on_others_stay_together():
    """Their text says it; nothing is run."""
    assert independent(X**2) and independent(X * 2, X.sum(axis=1))
    assert not independent(X - X.mean(axis=0))  # of all rows
    assert not independent(X**2, gc.mean(X))  # a result without rows
    assert not independent(X @ X.T)  # rows on two axes
    assert not independent(gc.transpose(X))  # rows on another axis than the first
    assert not independent(gc.cumsum(X, axis=0)) and not independent(X[::-1])


def test_parts_are_whole_chunks_in_order():
    parts = RowParts([True], [True], 256, 1.0)
    for rows in (1, 255, 256, 257, 5000, 123_457):
        found = parts.of(rows)
        assert [s.start for s in found] == [0, *(s.stop for s in found[:-1])] and found[-1].stop == rows
        assert len(found) <= 16 and all(s.start % 256 == 0 for s in found)
    assert RowParts([], [], 256, 1e-9).of(10_000) == [slice(0, 10_000)]


def test_the_error_of_a_part_is_the_callers_and_every_thread_goes_home(monkeypatch: pytest.MonkeyPatch):
    teams(monkeypatch, 3)
    done: list[int] = []

    def work(k: int) -> None:
        done.append(k)
        if k == 4:
            raise ValueError("part 4")

    with pytest.raises(ValueError, match="part 4"):
        share_parts(100, work)
    assert 4 in done and len(done) < 100
    done.clear()
    share_parts(10, done.append)
    assert sorted(done) == list(range(10))


def test_large_arrays_are_filled_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    shares: list[int] = []
    shared = row_parts.share_parts
    monkeypatch.setattr(row_parts, "share_parts", lambda n, work: (shares.append(n), shared(n, work)))
    monkeypatch.setattr(row_parts, "PIECE", 64)
    target, given = np.zeros(37), np.arange(37.0)
    row_parts.assign(target, given)
    assert np.array_equal(target, given) and np.array_equal(row_parts.copied(given), given)
    row_parts.assign(target, np.nan)
    assert np.isnan(target).all()
    row_parts.assign(target[:0], given[:0])
    assert shares == [5, 5, 5, 0]
