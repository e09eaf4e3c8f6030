"""Data: what is accepted, what is refused, and in which words."""

from __future__ import annotations

import statistics
import time

import numpy as np
import pytest

import graphc as gc
from graphc.errors import DataError, UnknownNameError
from graphc.native.build import statistics as native
from graphc.run.data import convert
from tests import nets

X, T = nets.data(40)


@pytest.fixture(scope="module")
def model() -> gc.Model:
    """X (n, 3), T (n, 2)."""
    return nets.network("float32")


@pytest.fixture(scope="module")
def classifier() -> gc.Model:
    """x (n, 3), a column c (n, 1) and labels (n,) of three classes."""
    x, c, labels = gc.input("x", ("n", 3)), gc.input("c", ("n", 1)), gc.input("labels", ("n",), dtype="int64")
    Z = x @ gc.param("W", (3, 3), gc.normal(1.0)) + c
    return gc.Model(output=Z, loss=gc.losses.cross_entropy(Z, labels), name="classifier")


def with_value(array, at, value):
    array = array.copy()
    array[at] = value
    return array


LABELS = np.arange(40) % 3
C = np.ones((40, 1))


@pytest.mark.parametrize(
    ("data", "error", "text"),
    [
        ((X, T[:, :1]), DataError, "T (n, 2) was declared but the data have shape (40, 1)\n"
         "  hint: reshape the data or declare the input with their shape"),
        ((X[0], T), DataError, "X (n, 3) was declared but the data have shape (3,)\n"
         "  hint: reshape the data or declare the input with their shape"),
        ((X,), DataError, "fit: the model reads 2 inputs (X (n, 3), T (n, 2)) but 1 arrays were given\n"
         "  hint: pass one array for each, in this order, or a dict by name"),
        ((X, T, T), DataError, "fit: the model reads 2 inputs (X (n, 3), T (n, 2)) but 3 arrays were given\n"
         "  hint: pass one array for each, in this order, or a dict by name"),
        ((T, X), DataError, "fit: the model reads X (n, 3), T (n, 2), in the order of declaration, but the arrays have "
         "shapes (40, 2), (40, 3): they fit in another order\n"
         "  hint: pass them in that order, or by name: {'X': .., 'T': ..}"),
        (({},), DataError, "fit: data for X (n, 3), T (n, 2) are missing\n  hint: add 'X' to the dict"),
        (({"X": X},), DataError, "fit: data for T (n, 2) are missing\n  hint: add 'T' to the dict"),
        (({"X": X, "t": T},), UnknownNameError, "fit: no input is named 't'; the model reads X, T\n"
         "  hint: known are T, X"),
        ((with_value(X, (7, 2), np.nan), T), DataError, "X holds nan at [7, 2]\n"
         "  hint: remove or fill such values, for example with np.nan_to_num"),
        ((X, with_value(T, (0, 1), -np.inf)), DataError, "T holds -inf at [0, 1]\n"
         "  hint: remove or fill such values, for example with np.nan_to_num"),
        ((with_value(X, (1, 0), 1e39), T), DataError, "X holds 1e+39 at [1, 0]\n"
         "  hint: that is too large for float32: scale the data, or use dtype=\"float64\""),
        ((X[:0], T[:0]), DataError, "X (n, 3) got data of shape (0, 3): no rows\n  hint: pass at least one row"),
        ((X, T[:39]), DataError, "X has 40 rows but T has 39; both count the extent 'n'\n"
         "  hint: pass the same number of rows"),
        ((X.astype(str), T), DataError, "X holds values of type <U32, not numbers\n"
         "  hint: convert it to floats first; words: let the model keep their numbers: "
         'model.encoders["X"] = gc.Encoder().fit(frame)'),
        ((X.astype(object), T), DataError, "X holds values of type object, not numbers\n"
         "  hint: convert it to floats first; words: let the model keep their numbers: "
         'model.encoders["X"] = gc.Encoder().fit(frame)'),
        ((X + 1j, T), DataError, "X holds values of type complex128, not numbers\n"
         "  hint: convert it to floats first"),
        (([[1.0, 2.0, 3.0], [1.0]], T), DataError, "X: a list is no array: setting an array element with a sequence. "
         "The requested array has an inhomogeneous shape after 1 dimensions. The detected shape was (2,) + "
         "inhomogeneous part.\n  hint: pass a NumPy array"),
    ],
    ids=lambda x: x.split("\n")[0][:50] if isinstance(x, str) else "",
)  # fmt: skip
def test_data_that_do_not_fit_are_refused_in_the_users_names(data, error, text, model):
    with pytest.raises(error) as caught:
        model.fit(*data)
    assert nets.text_of(caught) == text


@pytest.mark.parametrize(
    ("data", "text"),
    [
        ((X, np.ones(40), LABELS), "c (n, 1) was declared but the data have shape (40,)\n"
         "  hint: pass c as a column: data.reshape(-1, 1)"),
        ((X, C, LABELS + 1), "labels holds labels from 1 to 3 but there are 3 classes, 0 to 2\n"
         "  hint: number the classes from 0, or widen the last layer"),
        ((X, C, LABELS - 1), "labels holds labels from -1 to 1 but there are 3 classes, 0 to 2\n"
         "  hint: number the classes from 0, or widen the last layer"),
        ((X, C, LABELS + 0.5), "labels (n,) of integers got values of type float64 that are not whole numbers\n"
         "  hint: pass class numbers 0, 1, 2, .. as integers"),
        ((X, C, with_value(LABELS.astype(float), 3, np.inf)),
         "labels (n,) of integers got values of type float64 that are not whole numbers\n"
         "  hint: pass class numbers 0, 1, 2, .. as integers"),
        ((X, C, np.eye(3)[LABELS]), "labels (n,) of integers was declared but the data have shape (40, 3)\n"
         "  hint: reshape the data or declare the input with their shape"),
        ((X, C, LABELS.astype(str)), "labels (n,) of integers got values of type <U21 that are not whole numbers\n"
         "  hint: pass class numbers 0, 1, 2, .. as integers"),
    ],
    ids=lambda x: x.split("\n")[0][:50] if isinstance(x, str) else "",
)  # fmt: skip
def test_labels_and_columns_that_do_not_fit_are_refused_with_what_to_do(data, text, classifier):
    with pytest.raises(DataError) as caught:
        classifier.fit(*data)
    assert nets.text_of(caught) == text


@pytest.mark.parametrize(
    ("weights", "text"),
    [
        (np.ones(39), "sample_weight has shape (39,) but there are 40 rows\n  hint: one weight a row"),
        (np.ones((40, 1)), "sample_weight has shape (40, 1) but there are 40 rows\n  hint: one weight a row"),
        (-np.ones(40), "sample_weight holds negative, NaN or only zero weights\n  hint: give weights of at least 0"),
        (np.zeros(40), "sample_weight holds negative, NaN or only zero weights\n  hint: give weights of at least 0"),
        (np.full(40, np.nan), "sample_weight holds negative, NaN or only zero weights\n"
         "  hint: give weights of at least 0"),
        (["a"] * 40, "sample_weight holds values of type <U1, not numbers\n  hint: one weight a row"),
    ],
    ids=["too few", "column", "negative", "zero", "nan", "strings"],
)  # fmt: skip
def test_sample_weights_that_do_not_fit_are_refused(weights, text, model):
    with pytest.raises(DataError) as caught:
        model.fit(X, T, sample_weight=weights)
    assert nets.text_of(caught) == text


def test_sample_weights_need_a_loss_that_is_made_of_rows():
    x, theta = gc.input("x", ("n",)), gc.param("theta", (), 1.0)
    model = gc.Model(loss=gc.max(x * theta), name="extreme")
    with pytest.raises(DataError) as caught:
        model.fit(X[:, 0], sample_weight=np.ones(40))
    assert nets.text_of(caught) == (
        "sample_weight: the loss takes the max over 'n', which weights do not fit\n"
        "  hint: make the loss a sum or mean of one value a row"
    )


def test_nothing_is_compiled_and_no_parameter_is_drawn_for_data_that_do_not_fit():
    refused, fresh, before = nets.network("float32"), nets.network("float32"), dict(native)
    with pytest.raises(DataError):
        refused.fit(X, T[:1], seed=1)
    assert native == before
    for model in (refused, fresh):
        model.fit(X, T, seed=5, batch_size=8, optimizer="sgd")
    np.testing.assert_array_equal(refused.params.flat, fresh.params.flat)


def bits_after(*data):
    model = nets.network("float32")
    run = model.fit(*data, optimizer=gc.SGD(0.1), batch_size=8, epochs=2)
    return model.params.flat.tobytes(), run.notes


def test_the_same_numbers_give_the_same_bits_in_whatever_form_they_come(tmp_path):
    x, t = X.astype("float32"), T.astype("float32")
    expected, notes = bits_after(x, t)
    assert notes == []
    mapped = np.memmap(tmp_path / "x.bin", dtype="float32", mode="w+", shape=x.shape)
    mapped[:] = x
    mapped.flush()
    on_disk = np.memmap(tmp_path / "x.bin", dtype="float32", mode="r", shape=x.shape)
    wide = np.zeros((40, 6), "float32")
    wide[:, ::2] = x
    for form in (on_disk, wide[:, ::2], np.asfortranarray(x), x[::-1][::-1], x.tolist(), [tuple(row) for row in x]):
        assert bits_after(form, t)[0] == expected
    assert bits_after({"T": t, "X": x}) == (expected, [])
    assert bits_after(x.astype("float64"), t) == (expected, ["X: float64 cast to float32"])
    swapped = x.astype(">f4")
    assert bits_after(swapped, t)[0] == expected


def test_integers_and_booleans_are_numbers_and_labels_may_be_of_any_whole_type(classifier):
    x = np.arange(120).reshape(40, 3) % 5
    found = set()
    for labels in (LABELS, LABELS.astype("uint8"), LABELS.astype(float), LABELS.astype("int16").tolist()):
        run = classifier.initialize(1).fit(x, np.ones((40, 1), bool), labels, batch_size=8, seed=1)
        assert run.notes == []
        found.add(classifier.params.flat.tobytes())
    assert len(found) == 1
    classifier.fit(x, C.astype("float32"), LABELS > 0, batch_size=8)


def test_data_are_neither_changed_nor_copied_when_they_fit():
    x, t = X.astype("float32"), T.astype("float32")
    x.flags.writeable = t.flags.writeable = False
    nets.network("float32").fit(x, t, optimizer=gc.SGD(0.1), batch_size=8)
    np.testing.assert_array_equal(x, X.astype("float32"))


def test_predict_and_evaluate_speak_of_themselves(model):
    with pytest.raises(DataError) as caught:
        model.predict(X, T)
    assert nets.text_of(caught).startswith("predict: the model reads 1 inputs (X (n, 3)) but 2 arrays were given\n")
    with pytest.raises(DataError) as caught:
        model.evaluate(X)
    begin = "evaluate: the model reads 2 inputs (X (n, 3), T (n, 2)) but 1 arrays were given\n"
    assert nets.text_of(caught).startswith(begin)


@pytest.mark.parametrize(
    ("name", "value", "error", "text"),
    [
        ("W00", np.ones(3), UnknownNameError, "no parameter is named 'W00'\n  hint: did you mean 'W0'?"),
        ("W0", np.ones(3), DataError, "W0 has shape (3, 4) but the array has (3,)\n  hint: reshape the array"),
        ("W0", np.full((3, 4), np.nan), DataError,
         "W0: the array holds NaN, infinity or no numbers\n  hint: assign finite numbers"),
    ],
    ids=["unknown", "shape", "nan"],
)
def test_parameters_are_assigned_with_the_same_care(name, value, error, text, model):
    with pytest.raises(error) as caught:
        model.params[name] = value
    assert nets.text_of(caught) == text


def test_parameters_are_copied_out_and_copied_in(model):
    given = np.arange(12.0).reshape(3, 4)
    model.params["W0"] = given
    given[:] = 0
    np.testing.assert_array_equal(model.params["W0"], np.arange(12.0).reshape(3, 4))
    assert list(model.params) == ["W0", "B0", "W1", "B1"] and len(model.params) == 4


def test_a_repeated_fit_costs_little_beyond_its_steps():
    """The promise is 300 microseconds; the bound leaves room for a busy machine."""
    model, rule = nets.network("float32"), gc.SGD(0.1)
    x, t = X.astype("float32"), T.astype("float32")
    seconds = []
    for _ in range(200):
        begin = time.perf_counter()
        model.fit(x, t, optimizer=rule, batch_size=8, steps=1)
        seconds.append(time.perf_counter() - begin)
    print(f"a fit of one step takes {1e6 * statistics.median(seconds):.0f} us")
    assert statistics.median(seconds) < 1e-3


@pytest.mark.parametrize("value", [1.5, np.float32(1.5), np.array(1.5), np.array(1.5)[()]])
def test_a_number_stays_without_axes(value):
    """Compiled functions compare the axes of arguments with those declared."""
    found = convert(gc.param("v", (), 0.0).node, value, "float64")
    assert (found.shape, found.dtype, float(found)) == ((), np.float64, 1.5)
