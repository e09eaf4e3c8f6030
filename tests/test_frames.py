"""Data frames: columns by name, as arrays; what they may not hold. With pandas, and polars where it is installed."""

from __future__ import annotations

from importlib.util import find_spec

import numpy as np
import pytest

import graphc as gc
from graphc.errors import DataError
from tests import nets
from tests.interpreted import interpreted

X, T = nets.data(40)
NAMES = ["age", "height", "weight"]
LIBRARIES = [name for name in ("pandas", "polars") if name == "pandas" or find_spec(name)]


@pytest.fixture(params=LIBRARIES)
def library(request):
    return pytest.importorskip(request.param)


@pytest.fixture(autouse=True)
def nothing_compiled():
    with interpreted():
        yield


def frame(library, names=NAMES, x=X):
    return library.DataFrame({name: x[:, NAMES.index(name)] for name in names})


def targets(library):
    return library.DataFrame({"u": T[:, 0], "v": T[:, 1]})


def fitted(*data) -> gc.Model:
    model = nets.network()
    model.fit(*data, epochs=2, seed=1, optimizer=gc.SGD(0.1))
    return model


def test_a_frame_trains_as_its_array_does_and_its_columns_are_taken_by_name_later(library, tmp_path):
    """Mutation-checked: with the columns in the order of the frame, the predictions differ."""
    model = fitted(frame(library), targets(library))
    np.testing.assert_array_equal(model.params.flat, fitted(X, T).params.flat)
    expected = model.predict(X)
    shuffled = frame(library, ["weight", "age", "height"])
    np.testing.assert_array_equal(model.predict(frame(library)), expected)
    np.testing.assert_array_equal(model.predict(shuffled), expected)
    assert model.evaluate(shuffled, targets(library)) == model.evaluate(X, T)
    model.save(tmp_path / "framed.safetensors")
    np.testing.assert_array_equal(gc.Model.load(tmp_path / "framed.safetensors").predict(shuffled), expected)
    run = model.fit(shuffled, targets(library), validation=(frame(library), T), optimizer=gc.SGD(0.0))
    apart = nets.network()
    apart.fit(frame(library), T, validation=0.2, optimizer=gc.SGD(0.1), seed=1)
    np.testing.assert_array_equal(apart.predict(shuffled), apart.predict(X))
    assert run.history["val_loss"] == [pytest.approx(model.evaluate(X, T)["loss"], rel=1e-12)]


def test_columns_that_are_missing_or_new_are_refused_by_name(library):
    model = fitted(frame(library), T)
    other = frame(library, ["age", "height"])
    other = library.DataFrame({**{name: other[name] for name in ("age", "height")}, "mass": X[:, 2]})
    with pytest.raises(DataError) as caught:
        model.predict(other)
    assert nets.text_of(caught) == (
        "X: the columns of the frame are not those of the training (missing: 'weight'; not known: 'mass')\n"
        "  hint: the model was trained with 'age', 'height', 'weight'; pass frame[[..]] with these, or an array"
    )
    with pytest.raises(DataError):
        model.fit(other, T, epochs=1)
    assert model.predict(X).shape == (40, 2), "an array has no names"


def test_text_and_missing_values_are_told_by_column_and_row(library):
    words = library.DataFrame({"age": X[:, 0], "height": X[:, 1], "weight": ["light"] * 40})
    with pytest.raises(DataError, match=r"^X: the column 'weight' holds \w+, not numbers\n") as caught:
        fitted(words, T)
    assert "dummies" in str(caught.value) and "encoder of scikit-learn" in str(caught.value)
    gaps = library.DataFrame({"age": X[:, 0], "height": X[:, 1], "weight": [*range(7), None, *range(32)]})
    with pytest.raises(DataError, match=r"^X: the column 'weight' holds no number in row 7\n") as caught:
        fitted(gaps, T)
    assert {"pandas": "frame.dropna()", "polars": "frame.drop_nulls()"}[library.__name__] in str(caught.value)


def test_a_series_is_a_column_or_labels_as_the_input_was_declared(library):
    x, c = gc.input("x", ("n", 1)), gc.input("c", ("n",), dtype="int64")
    Z = x @ gc.param("W", (1, 3), gc.normal(1.0))
    model = gc.Model(Z, gc.losses.cross_entropy(Z, c), dtype="float64")
    table = library.DataFrame({"x": X[:, 0], "c": np.arange(40) % 3})
    found = model.evaluate(table["x"], table["c"])
    assert found == model.evaluate(X[:, :1], np.arange(40) % 3) == model.evaluate(table[["x"]], table[["c"]])


class Loader:
    """What is asked of PyTorch's DataLoader: it is gone through, and its tensors are arrays on request."""

    class Tensor:
        def __init__(self, values):
            self.values = values

        def __array__(self, dtype=None, copy=None):
            return np.asarray(self.values, dtype=dtype)

    def __init__(self, rows: int, by_name: bool) -> None:
        self.dataset, self.rows, self.by_name = (X, T), rows, by_name

    def __iter__(self):
        for first in range(0, 40, self.rows):
            batch = [self.Tensor(a[first : first + self.rows]) for a in self.dataset]
            yield dict(zip("XT", batch)) if self.by_name else batch


@pytest.mark.parametrize("by_name", [False, True])
def test_a_loader_of_batches_is_read_once_and_trains_as_its_rows_do(by_name):
    """Mutation-checked: without the last, shorter batch."""
    model, expected = nets.network(), fitted(X, T)
    run = model.fit(Loader(16, by_name), epochs=2, seed=1, optimizer=gc.SGD(0.1), validation=Loader(7, by_name))
    np.testing.assert_array_equal(model.params.flat, expected.params.flat)
    assert "data: 3 batches of Loader, read once" in run.notes
    assert run.history["val_loss"][-1] == expected.evaluate(X, T)["loss"]
    np.testing.assert_array_equal(model.predict(X[t : t + 10] for t in range(0, 40, 10)), expected.predict(X))


def test_batches_that_are_none_or_differ_are_refused():
    model, used = nets.network(), iter([(X, T)])
    next(used)
    hint = "let every batch be a tuple of arrays in the order of declaration, or a dict by name"
    for batches, text in [
        (used, "fit: the iterator gives no batch\n  hint: a generator can be gone through once; make a new one"),
        (iter([(X, T), (X,)]), f"fit: batch 1 holds 1 arrays, batch 0 2\n  hint: {hint}"),
    ]:
        with pytest.raises(DataError) as caught:
            model.fit(batches)
        assert nets.text_of(caught) == text
    with pytest.raises(DataError, match="^fit: the batches cannot be joined: "):
        model.fit(iter([(X, T), (X[:, :2], T)]))


def test_nullable_numbers_of_pandas_are_numbers():
    pandas = pytest.importorskip("pandas")
    model = fitted(X, T)
    whole = np.arange(120).reshape(40, 3)
    nullable = pandas.DataFrame(whole, columns=NAMES).astype("Int64")
    np.testing.assert_array_equal(model.predict(nullable), model.predict(whole))
