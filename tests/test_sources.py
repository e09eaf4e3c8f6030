"""Rows that are made dense when they are needed: sparse matrices, files of another type give the bits of arrays."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse

import graphc as gc
from graphc.errors import DataError, DivergenceError
from graphc.run import sources
from graphc.run.history import Run
from tests import nets

RNG = np.random.default_rng(9)
ROWS = 601
DENSE = np.where(RNG.uniform(size=(ROWS, 3)) < 0.4, RNG.standard_normal((ROWS, 3)), 0.0)
T = nets.data(ROWS)[1]
SPARSE = scipy.sparse.csr_array(DENSE)
ADAM = {"optimizer": gc.Adam(0.01), "batch_size": 8}


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    """Some seven batches a block, so that an epoch has eleven."""
    monkeypatch.setattr(sources, "BLOCK", 7 * 8 * 24)


def trained(x, **options) -> tuple[gc.Model, Run]:
    model = nets.network()
    run = model.fit(x, T, **{"epochs": 3, "seed": 5, **ADAM, **options})
    return model, run


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"threads": 3},
        {"shuffle": False},
        {"epochs": None, "steps": 100},
        {"validation": 0.3},
        {"record": "step", "callbacks": [lambda run: None]},
    ],
    ids=lambda options: " ".join(options) or "as it is",
)
def test_sparse_rows_train_with_the_bits_of_dense_ones(options):
    """Mutation-checked: a block that begins a row later, an order of the epoch before, are seen."""
    (dense, whole), (sparse, parts) = trained(DENSE, **options), trained(SPARSE, **options)
    assert dense.params.flat.tobytes() == sparse.params.flat.tobytes()
    assert whole.steps == parts.steps and whole.stopped == parts.stopped
    for name, values in whole.history.items():
        np.testing.assert_allclose(parts.history[name], values, rtol=0 if "val" not in name else 1e-13)
    assert "X: csr_array of float64, made dense in blocks of rows" in parts.notes


@pytest.mark.parametrize("kind", ["csr_matrix", "csc_array", "coo_array"])
def test_every_sparse_matrix_predicts_and_evaluates_in_blocks(kind):
    model = trained(DENSE)[0]
    x = getattr(scipy.sparse, kind)(DENSE)
    np.testing.assert_array_equal(model.predict(x), model.predict(DENSE))
    found, expected = model.evaluate(x, T), model.evaluate(DENSE, T)
    assert found == pytest.approx(expected, rel=1e-13)


def test_a_large_file_of_another_type_is_read_in_blocks(tmp_path, monkeypatch):
    bytes_ = (RNG.uniform(size=(ROWS, 3)) * 255).astype("uint8")
    path = tmp_path / "pixels.bin"
    bytes_.tofile(path)
    on_disk = np.memmap(path, dtype="uint8", mode="r", shape=bytes_.shape)
    expected = trained(bytes_)[0].params.flat
    read: list[int] = []
    kept = sources.Rows.__getitem__
    monkeypatch.setattr(sources.Rows, "__getitem__", lambda self, rows: read.append(1) or kept(self, rows))
    monkeypatch.setattr(sources, "LARGE", 1)
    model, run = trained(on_disk)
    assert model.params.flat.tobytes() == expected.tobytes() and len(read) > 30
    assert "X: memmap of uint8, made dense in blocks of rows" in run.notes
    np.testing.assert_array_equal(model.predict(on_disk), model.predict(bytes_))


def test_an_npz_file_gives_its_arrays_by_name(tmp_path):
    np.savez(tmp_path / "data.npz", X=DENSE, T=T)
    model = nets.network()
    with np.load(tmp_path / "data.npz") as data:
        model.fit(data, epochs=3, seed=5, **ADAM)
    assert model.params.flat.tobytes() == trained(DENSE)[0].params.flat.tobytes()


def test_what_cannot_be_read_in_blocks_says_so():
    bad = SPARSE.copy()
    bad.data[5] = np.nan
    with pytest.raises(DataError) as caught:
        nets.network().fit(bad, T, **ADAM)
    assert nets.text_of(caught) == (
        "X holds a value that is no finite float64\n"
        '  hint: remove or fill such values, or use dtype="float64" if they are only large'
    )
    with pytest.raises(DataError, match=r"^X \(n, 3\) was declared but the data have shape \(601, 2\)"):
        nets.network().fit(SPARSE[:, :2], T, **ADAM)
    with pytest.raises(DataError) as caught:
        nets.network().sweep(SPARSE, T, optimizer=gc.Adam([0.1, 0.2]))
    assert nets.text_of(caught) == (
        "X: the data are a sparse matrix (csr_array of shape (601, 3)); here dense arrays are needed\n"
        "  hint: pass data.toarray(); fit, predict and evaluate on CPUs take it"
    )


def test_a_step_that_diverges_is_explained_with_the_rows_it_had():
    texts = []
    for x in (1e200 * DENSE, 1e200 * SPARSE):
        model = nets.network().initialize(0)
        model.params["W1"] = np.full((4, 2), 1e200)
        with pytest.raises(DivergenceError) as caught:
            model.fit(x, T, epochs=2, **ADAM)
        texts.append(str(caught.value))
    assert texts[0] == texts[1]
