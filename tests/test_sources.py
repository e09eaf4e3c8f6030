"""Rows that are made dense when they are needed: sparse matrices, files of another type give the bits of arrays."""

from __future__ import annotations

import _thread
import signal
import threading
import time

import numpy as np
import pytest
import scipy.sparse

import graphc as gc
from graphc.errors import DataError, DivergenceError
from graphc.run import data as run_data
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


def test_a_step_that_diverges_is_explained_with_the_rows_it_had():
    texts = []
    for x in (1e200 * DENSE, 1e200 * SPARSE):
        model = nets.network().initialize(0)
        model.params["W1"] = np.full((4, 2), 1e200)
        with pytest.raises(DivergenceError) as caught:
            model.fit(x, T, epochs=2, **ADAM)
        texts.append(str(caught.value))
    assert texts[0] == texts[1]


# ------------------------------------------------------------------ read ahead by a thread


@pytest.fixture
def gathered(monkeypatch):
    """Who gathered each block: its first row as the epoch takes them, how many rows, the name of the thread."""
    found: list[tuple[int, str]] = []
    kept = sources.Rows.__getitem__

    def noted(self, rows):
        block = kept(self, rows)
        found.append((len(block), threading.current_thread().name.partition("_")[0]))
        return block

    monkeypatch.setattr(sources.Rows, "__getitem__", noted)
    yield found
    assert not [t for t in threading.enumerate() if t.name.startswith("graphc-rows")], "no thread is left over"


@pytest.mark.parametrize(
    "options",
    [{}, {"epochs": None, "steps": 100}, {"callbacks": [lambda run: None]}],
    ids=["epochs", "steps", "a callback"],
)
def test_every_block_but_the_first_is_gathered_by_a_thread_and_none_twice(options, gathered):
    """Mutation-checked: the order of the epoch before, a block of another length, are gathered again by the run."""
    trained(SPARSE, verify=False, **options)
    sizes = [56] * 10 + [41]
    wanted = sizes * 3 if options.get("epochs", 3) else sizes + [56] * 3 + [24]
    assert [size for size, _ in gathered] == wanted
    assert [name for _, name in gathered] == ["MainThread"] + ["graphc-rows"] * (len(wanted) - 1)


def test_blocks_to_predict_and_to_evaluate_are_gathered_by_a_thread(gathered, monkeypatch):
    model = trained(DENSE)[0]
    monkeypatch.setattr(sources, "BLOCK", 256 * 24)
    np.testing.assert_array_equal(model.predict(SPARSE), model.predict(DENSE))
    assert gathered[-3:] == [(256, "MainThread"), (256, "graphc-rows"), (89, "graphc-rows")]


def test_an_error_of_the_thread_reaches_the_user_and_the_last_whole_step_is_kept(gathered, monkeypatch):
    kept = sources.Rows.__getitem__

    def broken(self, rows):
        if len(gathered) == 5:
            raise OSError("the disk is gone")
        return kept(self, rows)

    monkeypatch.setattr(sources.Rows, "__getitem__", broken)
    model = nets.network()
    with pytest.raises(OSError, match="the disk is gone"):
        model.fit(SPARSE, T, epochs=3, seed=5, verify=False, **ADAM)
    assert model.last_run.stopped == "interrupted" and model.last_run.steps == 5 * 7
    assert model.params.flat.tobytes() == trained(DENSE, epochs=None, steps=35)[0].params.flat.tobytes()
    with pytest.raises(OSError, match="the disk is gone"):
        monkeypatch.setattr(sources, "BLOCK", 256 * 24)
        model.evaluate(SPARSE, T, verify=False)


def test_ctrl_c_while_the_thread_reads_ends_the_fit_and_the_thread(gathered, monkeypatch):
    kept = sources.Rows.__getitem__

    def slow(self, rows):
        if threading.current_thread() is not threading.main_thread():
            time.sleep(0.4)
        return kept(self, rows)

    monkeypatch.setattr(sources.Rows, "__getitem__", slow)
    model = nets.network()
    model.fit(DENSE, T, epochs=1, **ADAM)  # the program is there
    timer = threading.Timer(0.2, _thread.interrupt_main)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # which nohup had ignored
    try:
        timer.start()
        with pytest.raises(KeyboardInterrupt):
            model.fit(SPARSE, T, epochs=3, verify=False, **ADAM)
        timer.join()
    finally:
        signal.signal(signal.SIGINT, before)
    assert model.last_run.stopped == "interrupted" and model.last_run.steps == 7
    assert model.state.sampler.position == 56


# ------------------------------------------------------------------ data sets of HDF5


def test_a_large_file_is_looked_through_in_parts(monkeypatch):
    """Mutation-checked: without the last part."""
    monkeypatch.setattr(sources, "LARGE", 1)
    monkeypatch.setattr(run_data, "LARGE", 100)
    wrong = DENSE.copy()
    wrong[600, 2] = np.nan
    with pytest.raises(DataError, match="^X holds a value that is no finite float64"):
        trained(DataSet(wrong))


class DataSet:
    """What is asked of a data set of h5py: it is read by slices, and by rows in their order, each once."""

    chunks = (64, 3)

    def __init__(self, array):
        self.array, self.shape, self.dtype, self.nbytes = array, array.shape, array.dtype, array.nbytes

    def __len__(self):
        return len(self.array)

    def __getitem__(self, rows):
        if not isinstance(rows, slice) and (np.diff(rows) <= 0).any():
            raise TypeError("Indexing elements must be in increasing order")
        return self.array[rows].copy()

    def __array__(self, dtype=None, copy=None):
        return np.array(self.array, dtype=dtype)


@pytest.fixture(params=["stand-in", "h5py"])
def stored(request, tmp_path):
    if request.param == "stand-in":
        yield DataSet
        return
    h5py = pytest.importorskip("h5py")
    with h5py.File(tmp_path / "rows.h5", "w") as file:
        yield lambda array: file.create_dataset("x", data=array, chunks=(64, 3))


@pytest.mark.parametrize("large", [True, False])
def test_a_data_set_of_hdf5_is_read_in_blocks_when_it_is_large(stored, large, gathered, monkeypatch):
    """Mutation-checked: rows that are left in the order of the file."""
    monkeypatch.setattr(sources, "LARGE", 1 if large else 2**28)
    data = stored(DENSE)
    for options in ({}, {"shuffle": False}, {"validation": 0.3}):
        (dense, _), (model, _) = trained(DENSE, **options), trained(data, verify=False, **options)
        assert model.params.flat.tobytes() == dense.params.flat.tobytes()
    np.testing.assert_array_equal(model.predict(data), dense.predict(DENSE))
    assert (len(gathered) > 90) == large
