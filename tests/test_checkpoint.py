"""Saving and loading: bit-exact resumes in another process, damaged files, atomic replacement."""

from __future__ import annotations

import json
import re
import shutil
import struct
import subprocess
import sys
from functools import reduce
from pathlib import Path

import numpy as np
import pytest
import sympy as sp
from safetensors import safe_open
from safetensors.numpy import save_file

import graphc as gc
from graphc.errors import CheckpointError
from tests import nets

ROOT = Path(__file__).parents[1]
X, T = nets.data(601)
ADAM = {"optimizer": gc.Adam(0.01), "batch_size": 8}
PER_EPOCH = 76

RESUME = """
import json, sys
import graphc as gc
from graphc.native.build import statistics
from tests import nets
X, T = nets.data(601)
model = gc.Model.load(sys.argv[1])
options = {"optimizer": gc.Adam(0.01), "batch_size": 8}
first = model.fit(X, T, steps=76 - 45, **options)
rest = model.fit(X, T, epochs=2, **options)
model.save(sys.argv[2])
print(json.dumps([first.history, rest.history, statistics]))
"""


@pytest.fixture
def saved(tmp_path) -> Path:
    """A trained model in a file."""
    model, path = nets.network("float32"), tmp_path / "model.safetensors"
    model.fit(X, T, steps=45, seed=3, **ADAM)
    model.save(path)
    return path


def test_a_run_stopped_within_an_epoch_and_resumed_in_a_new_process_equals_one_that_was_never_stopped(saved, tmp_path):
    """Parameters, optimizer state, place in the data and history; mutation-checked: without the totals, or with a
    restarted sampler, this fails."""
    whole, end = nets.network("float32"), tmp_path / "end.safetensors"
    run = whole.fit(X, T, epochs=3, seed=3, **ADAM)
    command = [sys.executable, "-c", RESUME, str(saved), str(end)]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    first, rest, statistics = json.loads(result.stdout)
    resumed = gc.Model.load(end)
    np.testing.assert_array_equal(resumed.params.flat, whole.params.flat)
    [left], [right] = resumed.state.rules.values(), whole.state.rules.values()
    assert left.step == right.step == 3 * PER_EPOCH and left.values.tobytes() == right.values.tobytes()
    assert resumed.state.sampler == whole.state.sampler
    assert {name: first[name] + rest[name] for name in first} == run.history
    assert statistics["compiled"] == 0, "the loaded model generates the program that the declared one did"


def test_a_loaded_model_predicts_evaluates_and_names_as_the_saved_one(saved):
    model, loaded = nets.network("float32"), gc.Model.load(saved)
    model.fit(X, T, steps=45, seed=3, **ADAM)
    assert repr(loaded) == repr(model) == "<Model model: W0[3, 4], B0[4], W1[4, 2], B1[2], float32>"
    np.testing.assert_array_equal(loaded.predict(X), model.predict(X))
    assert loaded.evaluate({"X": X, "T": T}) == model.evaluate({"X": X, "T": T})
    assert loaded._core.metric_names == ["mae"] and dict(loaded.params).keys() == dict(model.params).keys()


def composite() -> gc.Model:
    """Labels, an embedding, slices, masks, a constant array, max, softmax, a function of one's own, two outputs."""
    swish = gc.function("swish", "z/(1 + exp(-beta*z))", beta=1.7)
    ids, labels = gc.input("ids", ("n",), dtype="int64"), gc.input("labels", ("n",), dtype="int64")
    table, W = gc.param("table", (5, 6), gc.normal(1.0)), gc.param("W", (6, 3), gc.glorot())
    row, i, j = gc.indices("row i j")
    E = gc.define("E", [row, j], table[ids[row], j])
    H = swish(gc.concatenate([E[:, ::2], E[:, 3:]], axis=1)) + np.linspace(-1, 1, 6)
    Z = (gc.maximum(H, 0.1) - gc.max(H, axis=1, keepdims=True)) @ W
    Z = Z.named("Z")
    loss = gc.losses.cross_entropy(Z, labels) + 0.01 * gc.sum(W**2)
    outputs = {"probabilities": gc.softmax(Z), "hidden": gc.where(H > 0, H, 0.5 * H)}
    return gc.Model(outputs, loss, {"accuracy": gc.metrics.accuracy(Z, labels)}, name="composite")


def test_declarations_of_every_kind_come_back_as_they_were(tmp_path):
    rng = np.random.default_rng(0)
    ids, labels = rng.integers(0, 5, 40), rng.integers(0, 3, 40)
    model, first, second = composite(), tmp_path / "first.safetensors", tmp_path / "second.safetensors"
    model.fit(ids, labels, epochs=2, optimizer=gc.Momentum(0.1), batch_size=16)
    model.save(first)
    loaded = gc.Model.load(first)
    loaded.save(second)
    with safe_open(first, "numpy") as one, safe_open(second, "numpy") as other:
        assert one.metadata() == other.metadata(), "declaration, and the checksum over everything"
    expected, found = model.predict({"ids": ids}), loaded.predict({"ids": ids})
    assert expected.keys() == found.keys()
    assert all(np.array_equal(expected[name], found[name]) for name in expected)
    for m in (model, loaded):
        m.fit(ids, labels, epochs=2, optimizer=gc.Momentum(0.1), batch_size=16)
    np.testing.assert_array_equal(model.params.flat, loaded.params.flat)


def test_what_operators_and_python_functions_make_is_read_back_though_nobody_may_write_it(tmp_path):
    """Powers, numbers, depth and length that formula text refuses. They were refused by load too, after save had taken
    them: the checkpoint was lost. Mutation-checked: with the limits of written text this fails."""
    deep = gc.function("deep", lambda z: reduce(lambda e, k: sp.tanh(e + k), range(50), z))
    long = gc.function("long", lambda z: sum(sp.sin(k * z) for k in range(600)))
    large = gc.function("large", lambda z: 2**10000 * z)
    X, W = gc.input("X", ("n", 2)), gc.param("W", (2, 1), 1.0)
    for number, make in enumerate([lambda y: y**100, gc.function("f", "x/(x*x)/x**64"), deep, long, large]):
        path = tmp_path / f"{number}.safetensors"
        model = gc.Model(output=make(X @ W))
        model.save(path)
        loaded = gc.Model.load(path)
        [one], [other] = (m._core._outputs.values() for m in (model, loaded))
        assert one.node.body == other.node.body


def test_checkpoints_appear_after_the_epochs_asked_for_and_continue_the_run(tmp_path):
    model = nets.network("float32")
    model.fit(X, T, epochs=5, seed=3, callbacks=[gc.Checkpoint(tmp_path / "at-{epoch}.safetensors", every=2)], **ADAM)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["at-2.safetensors", "at-4.safetensors"]
    resumed = gc.Model.load(tmp_path / "at-2.safetensors")
    resumed.fit(X, T, epochs=3, **ADAM)
    np.testing.assert_array_equal(resumed.params.flat, model.params.flat)


def test_a_checkpoint_is_replaced_whole_and_leaves_nothing_beside_it(saved):
    before = saved.read_bytes()
    model = gc.Model.load(saved)
    model.fit(X, T, steps=1, **ADAM)
    model.save(saved)
    assert saved.read_bytes() != before and [p.name for p in saved.parent.iterdir()] == [saved.name]
    (saved.parent / "plain").touch()
    assert saved.stat().st_mode == (saved.parent / "plain").stat().st_mode, "as readable as any new file"


WRITES = """
import sys, time
from pathlib import Path
from graphc.facade import atomic_file
def replace(temporary, path):
    print("ready", flush=True)
    time.sleep(60)
atomic_file.os.replace = replace
atomic_file.write_whole(Path(sys.argv[1]), b"half")
"""


def test_what_a_killed_process_left_behind_is_removed_by_the_next_save_and_what_one_is_writing_is_not(saved):
    """Mutation-checked: without the lock the file of the process that still writes is removed too."""
    others = saved.with_name("other.safetensors")
    command = [sys.executable, "-c", WRITES, str(others)]
    with subprocess.Popen(command, cwd=nets.ROOT, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None and child.stdout.readline() == "ready\n"
        model = gc.Model.load(saved)
        model.save(saved)
        kept = [p.read_bytes() for p in saved.parent.glob(".other*")]
        child.kill()
    assert kept == [b"half"] and len(list(saved.parent.iterdir())) == 2
    model.save(saved)
    assert [p.name for p in saved.parent.iterdir()] == [saved.name]


def test_a_save_that_fails_leaves_nothing_behind(tmp_path):
    (tmp_path / "taken").mkdir()
    with pytest.raises(OSError):
        nets.network().save(tmp_path / "taken")
    assert [p.name for p in tmp_path.iterdir()] == ["taken"] and not list((tmp_path / "taken").iterdir())


def test_a_file_is_never_a_pickle_and_a_changed_byte_anywhere_is_noticed(saved):
    content = saved.read_bytes()
    (header,) = struct.unpack("<Q", content[:8])
    assert json.loads(content[8 : 8 + header])["__metadata__"].keys() == {"graphc", "digest"}
    for at in (8 + header + 3, len(content) - 1, content.index(b"tanh")):
        saved.write_bytes(content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :])
        with pytest.raises(CheckpointError) as caught:
            gc.Model.load(saved)
        text = f"{saved}: the file is damaged (its checksum is wrong)\n  hint: use an older checkpoint"
        assert nets.text_of(caught) == text


@pytest.mark.parametrize("kept", [0, 5, 100, 0.5, 0.999], ids=str)
def test_a_file_cut_short_is_a_checkpoint_error(kept, saved):
    content = saved.read_bytes()
    saved.write_bytes(content[: kept if isinstance(kept, int) else int(kept * len(content))])
    with pytest.raises(CheckpointError) as caught:
        gc.Model.load(saved)
    pattern = rf"{re.escape(str(saved))}: the file is damaged \(.+\)\n  hint: use an older checkpoint"
    assert re.fullmatch(pattern, nets.text_of(caught))


def test_files_that_hold_no_model_say_so(tmp_path):
    missing, foreign, folder = tmp_path / "missing.safetensors", tmp_path / "foreign.safetensors", tmp_path
    save_file({"a": np.ones(3)}, foreign)
    hint = "\n  hint: models are written by model.save(path)"
    for path, text in [(missing, "there is no such file"), (folder, "there is no such file"),
                       (foreign, "no model of graphc in this file")]:  # fmt: skip
        with pytest.raises(CheckpointError) as caught:
            gc.Model.load(path)
        assert nets.text_of(caught) == f"{path}: {text}{hint}"


def test_a_copy_of_a_file_is_as_good_as_the_file(saved, tmp_path):
    copy = tmp_path / "copies" / "copy.safetensors"
    copy.parent.mkdir()
    shutil.copy(saved, copy)
    assert gc.Model.load(str(copy)).params.flat.tobytes() == gc.Model.load(saved).params.flat.tobytes()
