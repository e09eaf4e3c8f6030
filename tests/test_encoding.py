"""Words in tables as numbers: scikit-learn's codes, kept with the model; what was not there when it was fitted."""

from __future__ import annotations

from importlib.util import find_spec
from operator import setitem
from types import SimpleNamespace

import numpy as np
import pytest
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder

import graphc as gc
from graphc.errors import DataError, DomainError, GraphcError, TypeMismatchError, UnknownNameError
from graphc.run.frames import as_array
from tests import nets
from tests.interpreted import interpreted

RNG = np.random.default_rng(8)
COLOURS = RNG.choice(["red", "green", "blue"], 30)
SIZES = RNG.choice(["small", "large", "medium"], 30)
AGES = RNG.standard_normal(30)
TARGET = (COLOURS == "red") + AGES
NEW = {"age": [0.5, -1.0], "colour": ["green", "mauve"], "size": ["small", "large"]}


class ArrowColumn(SimpleNamespace):
    """What is asked of a column of Arrow, which is not installed with the tests."""

    def to_numpy(self, zero_copy_only=True):
        if zero_copy_only and self.array.dtype == object:
            raise ValueError("needs copy")
        return self.array

    def to_pylist(self):
        return self.array.tolist()


class ArrowTable:
    """What is asked of a table of Arrow."""

    def __init__(self, columns):
        self.column_names = [*columns]
        self.kept = [np.asarray(values) for values in columns.values()]
        self.kept = [a.astype(object) if a.dtype.kind == "U" else a for a in self.kept]

    def column(self, t):
        return ArrowColumn(array=self.kept[t], type="string" if self.kept[t].dtype == object else "double")


def tables() -> dict[str, object]:
    """What makes a table of a dict, by library."""
    made = {"stand-in for Arrow": ArrowTable}
    for library, make in {"pandas": "DataFrame", "polars": "DataFrame", "pyarrow": "table"}.items():
        if find_spec(library):
            made[library] = getattr(pytest.importorskip(library), make)
    return made


@pytest.fixture(params=tables())
def table(request):
    return tables()[request.param]


@pytest.fixture(autouse=True)
def nothing_compiled():
    with interpreted():
        yield


def flowers(table, names=("age", "colour", "size"), rows=slice(None)):
    columns = {"age": AGES, "colour": COLOURS, "size": SIZES}
    return table({name: columns[name][rows] for name in names})


def linear(width: int) -> gc.Model:
    x, t = gc.input("X", ("n", width)), gc.input("T", ("n",))
    y = x @ gc.param("W", (width,), gc.normal(1.0))
    return gc.Model(y, gc.losses.mse(y, t), dtype="float64")


def test_codes_and_columns_are_those_of_scikit_learn(table):
    words = np.column_stack([COLOURS, SIZES])
    encoder = gc.Encoder().fit(flowers(table, ("colour", "size")))
    np.testing.assert_array_equal(encoder.codes(flowers(table)), OrdinalEncoder().fit_transform(words))
    np.testing.assert_array_equal(encoder.onehot(flowers(table)), OneHotEncoder().fit_transform(words).toarray())
    assert encoder.width == 6 and encoder.sizes == {"colour": 3, "size": 3}
    known = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=3).fit(words)
    new = np.column_stack([NEW["colour"], NEW["size"]])
    lenient = gc.Encoder(unknown="code").fit(words)
    np.testing.assert_array_equal(lenient.codes(new), known.transform(new))
    ignored = OneHotEncoder(handle_unknown="ignore").fit(words)
    np.testing.assert_array_equal(lenient.onehot(new), ignored.transform(new).toarray())
    assert lenient.sizes == {"0": 4, "1": 4} and lenient.words([2, 3], "0") == ["red", None]


def test_a_model_keeps_its_words_takes_frames_of_them_and_is_saved_with_them(table, tmp_path):
    """Mutation-checked: columns in the order of the frame, words in the order of appearance."""
    frame = flowers(table)
    encoder = gc.Encoder(categories={"size": ["small", "medium", "large"]}, unknown="code").fit(frame)
    model = linear(encoder.width)
    model.encoders["X"] = encoder
    model.fit(frame, TARGET, optimizer=gc.SGD(0.1), epochs=3, seed=0)
    colours, sizes = ("blue", "green", "red"), ("small", "medium", "large")
    places = [AGES, *(c == COLOURS for c in colours), *(s == SIZES for s in sizes)]
    by_hand = linear(7)
    by_hand.fit(np.column_stack(places), TARGET, optimizer=gc.SGD(0.1), epochs=3, seed=0)
    np.testing.assert_array_equal(model.params["W"], by_hand.params["W"])
    np.testing.assert_array_equal(model.predict(flowers(table, ("size", "age", "colour"))), model.predict(frame))
    assert model.evaluate(frame, TARGET) == by_hand.evaluate(np.column_stack(places), TARGET)
    model.fit(frame, TARGET, validation=(flowers(table, rows=slice(9)), TARGET[:9]), optimizer=gc.SGD(0.0))
    model.save(tmp_path / "words.safetensors")
    loaded = gc.Model.load(tmp_path / "words.safetensors")
    np.testing.assert_array_equal(loaded.predict(table(NEW)), model.predict(table(NEW)))
    W = model.params["W"]
    np.testing.assert_allclose(loaded.predict(table(NEW)), [0.5 * W[0] + W[2] + W[4], -W[0] + W[6]])
    assert loaded.encoders["X"].categories == encoder.categories and [*loaded.encoders] == ["X"]


def test_codes_are_what_an_embedding_and_classes_read(table):
    colour, kind = gc.Encoder(unknown="code").fit(flowers(table, ("colour",))), gc.Encoder().fit(SIZES)
    C, T = gc.input("C", ("n",), dtype="int64"), gc.input("T", ("n",), dtype="int64")
    z = gc.nn.Embedding(colour.sizes["colour"], 3)(C)
    model = gc.Model(gc.softmax(z), gc.losses.cross_entropy(z, T), dtype="float64")
    model.encoders["C"], model.encoders["T"] = colour, kind
    model.fit(flowers(table, ("colour",)), SIZES, optimizer=gc.SGD(5.0), epochs=30, batch_size=None)
    shares = model.predict(np.array(["red", "mauve"]))
    reds = SIZES[COLOURS == "red"]
    np.testing.assert_allclose(shares[0], [(reds == s).mean() for s in sorted(set(SIZES))], atol=0.05)
    np.testing.assert_array_equal(model.predict([2, 3]), shares)
    assert kind.words(shares[:1].argmax(axis=1)) == [max(set(SIZES), key=[*reds].count)]


def test_words_without_an_encoder_name_one(table):
    with pytest.raises(DataError, match=r"^X: the column 'colour' holds \w+, not numbers\n") as caught:
        linear(3).fit(flowers(table), TARGET)
    assert 'let the model keep their numbers: model.encoders["X"] = gc.Encoder().fit(frame), or' in str(caught.value)
    with pytest.raises(DataError) as caught:
        linear(1).fit(SIZES[:, None], TARGET)
    assert nets.text_of(caught) == (
        "X holds values of type <U6, not numbers\n"
        "  hint: convert it to floats first; words: let the model keep their numbers: "
        'model.encoders["X"] = gc.Encoder().fit(frame)'
    )


def test_unknown_and_missing_words_are_told_by_column_and_row(table):
    model = linear(7)
    model.encoders["X"] = gc.Encoder().fit(flowers(table))
    with pytest.raises(DataError) as caught:
        model.predict(table(NEW))
    assert nets.text_of(caught) == (
        "X: the column 'colour' holds the word 'mauve', which was not there when it was fitted, in row 1\n"
        "  hint: its words are 'blue', 'green', 'red'; unknown=\"code\" gives all others a code of their own"
    )
    with pytest.raises(DataError, match=r"^X: the column 'size' holds no word, in row 1\n"):
        model.predict(table({"age": [0.0, 1.0], "colour": ["red", "red"], "size": np.array(["small", None])}))
    with pytest.raises(DataError) as caught:
        model.predict(flowers(table, ("age", "size")))
    assert nets.text_of(caught) == (
        "X: Encoder.onehot: the table has no column 'colour'\n  hint: it was fitted to 'age', 'colour', 'size'"
    )


@pytest.mark.parametrize(
    ("wrong", "error", "text"),
    [
        (lambda m: gc.Encoder(unknown="drop"), DomainError, 'unknown is \'drop\'\n  hint: choose "error" or "code"'),
        (lambda m: gc.Encoder({"color": ["red"]}).fit({"colour": 1}), DataError, "the words have shape ()"),
        (lambda m: gc.Encoder({"a": ["red"]}).fit(["red"]), UnknownNameError, "the table has no column 'a'"),
        (lambda m: gc.Encoder().fit(["red", None]), DataError, "the column 'words' holds no word in row 1"),
        (lambda m: gc.Encoder().fit(np.array(["a", 1], object)), DataError, "holds words and numbers"),
        (lambda m: gc.Encoder().fit(np.array([b"a"], object)), TypeMismatchError, "b'a' is a bytes, no word"),
        (lambda m: gc.Encoder().codes(["red"]), DataError, "it knows no words yet"),
        (lambda m: gc.Encoder().fit(AGES).words([1]), UnknownNameError, "words of which column is asked, None?"),
        (lambda m: setitem(m.encoders, "Y", gc.Encoder()), UnknownNameError, "no input is named 'Y'"),
        (lambda m: setitem(m.encoders, "X", OneHotEncoder()), TypeMismatchError, "OneHotEncoder() is no Encoder"),
    ],
)
def test_what_makes_no_sense_is_named(wrong, error, text):
    with pytest.raises(error) as caught:
        wrong(linear(2))
    assert isinstance(caught.value, GraphcError) and text in nets.text_of(caught)


class Stream:
    """What is asked of a result of DuckDB: nothing but a stream of Arrow."""

    def __init__(self, table):
        self.table = table

    def __arrow_c_stream__(self, requested_schema=None):
        return self.table.__arrow_c_stream__(requested_schema)


def test_a_stream_of_arrow_is_read_by_pyarrow_which_an_error_names(monkeypatch):
    if find_spec("pyarrow"):
        table = tables()["pyarrow"]
        model = linear(7)
        model.encoders["X"] = gc.Encoder().fit(Stream(flowers(table)))
        np.testing.assert_array_equal(model.predict(Stream(flowers(table))), model.predict(flowers(table)))
        column = flowers(table, ("age",)).column(0)
        assert np.shares_memory(as_array(linear(1).inputs[0], column), column.to_numpy()), "no copy of a column"
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(DataError) as caught:
        linear(1).predict(Stream(None))
    assert nets.text_of(caught) == (
        "a Stream is a stream of Arrow, which pyarrow reads\n  hint: pip install pyarrow, or pass arrays"
    )
