"""What people watch and steer a run by: logs, learning rates, checkpoints that stay, runs that are taken up again."""

from __future__ import annotations

import csv
import importlib.util
import json
import math
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import graphc as gc
from graphc.errors import CheckpointError, DataError, DomainError, UnknownNameError
from graphc.facade.rate_finding import smoothed, valley
from graphc.optim import reference_step
from graphc.run.event_file import crc32c
from graphc.run.history import Run
from graphc.run.steered import RunningHyper
from tests import nets

X, T = nets.data(101)
HELD_OUT = tuple(a[:40] for a in nets.data(140))
ADAM = {"optimizer": gc.Adam(0.01), "batch_size": 8}
STOP_AFTER = 5


def same_bits(one: gc.Model, other: gc.Model) -> bool:
    rules = one.state.rules.items()
    return one.params.flat.tobytes() == other.params.flat.tobytes() and all(
        state.values.tobytes() == other.state.rules[text].values.tobytes() for text, state in rules
    )


def interrupt(at: int):
    """A callback that ends a run as a fault of its own would."""

    def callback(run):
        if run.epochs == at:
            raise RuntimeError("the machine goes away")

    return callback


# ---------------------------------------------------------------- logs


def test_a_table_and_lines_of_json_hold_the_history_bit_for_bit(tmp_path):
    """Mutation-checked: with ``f"{value:.12g}"`` in the table, the numbers differ."""
    table, lines = tmp_path / "new" / "log.csv", tmp_path / "log.jsonl"
    logs = [gc.callbacks.CSVLogger(table), gc.callbacks.JSONLogger(lines)]
    run = nets.network().fit(X, T, epochs=4, validation=HELD_OUT, callbacks=logs, **ADAM)
    with table.open(newline="") as file:
        rows = list(csv.DictReader(file))
    objects = [json.loads(line) for line in lines.read_text().splitlines()]
    names = ["loss", "mae", "val_loss", "val_mae"]
    assert [*rows[0]] == [*objects[0]] == ["epoch", "step", "seconds", "eta", *names]
    for found in ({n: [float(row[n]) for row in rows] for n in names}, {n: [o[n] for o in objects] for n in names}):
        assert found == run.history
    assert [o["step"] for o in objects] == [13, 26, 39, 52] and {o["eta"] for o in objects} == {0.01}
    assert [int(row["epoch"]) for row in rows] == [1, 2, 3, 4]


def test_a_table_is_appended_to_only_when_its_columns_are_those_of_the_run(tmp_path):
    log = gc.callbacks.CSVLogger(tmp_path / "log.csv", append=True)
    for _ in range(2):
        nets.network().fit(X, T, epochs=2, callbacks=[log], **ADAM)
    assert [line.split(",")[0] for line in log.path.read_text().splitlines()] == ["epoch", "1", "2", "1", "2"]
    with pytest.raises(DataError) as caught:
        nets.network().fit(X, T, epochs=1, validation=HELD_OUT, callbacks=[log], **ADAM)
    columns = "epoch, step, seconds, eta, loss, mae"
    assert nets.text_of(caught) == (
        f"CSVLogger: {log.path} has the columns {columns}, this run {columns}, val_loss, val_mae\n"
        "  hint: write to another file, or leave out append"
    )
    assert len(log.path.read_text().splitlines()) == 5, "what was there stays"


def records(path: Path) -> list[bytes]:
    """The messages of an event file, read by the format that TensorFlow documents."""
    data, at, found = path.read_bytes(), 0, []
    while at < len(data):
        (length,) = struct.unpack_from("<Q", data, at)
        message = data[at + 12 : at + 12 + length]
        for checked, where in ((data[at : at + 8], at + 8), (message, at + 12 + length)):
            crc = crc32c(checked)
            assert struct.unpack_from("<I", data, where)[0] == (((crc >> 15) | (crc << 17)) + 0xA282EAD8) % 2**32
        found.append(message)
        at += 16 + length
    return found


def fields(message: bytes) -> list[tuple[int, object]]:
    """The fields of a message of Protocol Buffers: varints, 8 and 4 bytes, and parts with a length."""

    def varint(at: int) -> tuple[int, int]:
        value = shift = 0
        while True:
            byte = message[at]
            value, shift, at = value | (byte & 0x7F) << shift, shift + 7, at + 1
            if byte < 0x80:
                return value, at

    at, found = 0, []
    while at < len(message):
        key, at = varint(at)
        kind = key & 7
        if kind in (0, 2):
            value, at = varint(at)
            if kind == 2:
                value, at = message[at : at + value], at + value
        else:
            width, letter = {1: (8, "<d"), 5: (4, "<f")}[kind]
            value, at = struct.unpack_from(letter, message, at)[0], at + width
        found.append((key >> 3, value))
    return found


def scalars(folder: Path) -> dict[str, list[tuple[int, float]]]:
    """(step, value) by tag, of all event files in a folder, oldest first."""
    found: dict[str, list[tuple[int, float]]] = {}
    for file in sorted(folder.iterdir()):
        for event in map(dict, map(fields, records(file))):
            for _, value in fields(event.get(5, b"")):
                tag, number = (dict(fields(value))[n] for n in (1, 2))
                found.setdefault(tag.decode(), []).append((event[2], number))
    return found


def test_the_checksum_is_that_of_rfc_3720():
    """Its appendix B.4, and the check value of the catalogue of parametrised CRC algorithms."""
    assert crc32c(b"123456789") == 0xE3069283
    assert crc32c(bytes(32)) == 0x8A9136AA and crc32c(b"\xff" * 32) == 0x62A8AB43
    assert crc32c(bytes(range(32))) == 0x46DD794E


def test_tensorboard_finds_both_curves_of_a_quantity_under_one_tag(tmp_path):
    """Mutation-checked: a checksum without its mask, and a step in the wrong field, are seen."""
    log = gc.callbacks.TensorBoard(tmp_path)
    run = nets.network().fit(X, T, epochs=130, validation=HELD_OUT, callbacks=[log], **ADAM)
    train, held_out = scalars(tmp_path / "train"), scalars(tmp_path / "validation")
    assert [*train] == ["loss", "mae", "eta"] and [*held_out] == ["loss", "mae"]
    for name in ("loss", "mae"):
        for found, values in ((train, run.history[name]), (held_out, run.history[f"val_{name}"])):
            assert [step for step, _ in found[name]] == [*range(1, 131)], "beyond one byte"
            assert [value for _, value in found[name]] == [np.float32(v) for v in values]
    if importlib.util.find_spec("tensorboard"):  # nobody here wrote this reader; it is no package of the tests
        loader = importlib.import_module("tensorboard.backend.event_processing.event_accumulator")
        reader = loader.EventAccumulator(str(tmp_path / "train")).Reload()
        assert [(e.step, e.value) for e in reader.Scalars("loss")] == train["loss"]


# ---------------------------------------------------------------- learning rates


def test_the_rate_falls_where_the_loss_stays_and_training_goes_on_with_it():
    """A loss that never improves by so much: 0.3, then a tenth every two epochs; the same as three fits by hand.

    Mutation-checked: without the wait that begins anew after a change, the third rate comes an epoch early.
    """
    model, by_hand, rates = nets.network(), nets.network(), []
    reduce = gc.callbacks.ReduceLROnPlateau(patience=2, min_delta=10.0, min_lr=0.002)
    model.fit(X, T, epochs=6, optimizer=gc.Adam(0.3), batch_size=8,
              callbacks=[reduce, lambda run: rates.append(run.hyper["eta"])])  # fmt: skip
    assert rates == pytest.approx([0.3, 0.3, 0.03, 0.03, 0.003, 0.003])
    for epochs, rate in ((3, 0.3), (2, 0.03), (1, 0.003)):
        by_hand.fit(X, T, epochs=epochs, optimizer=gc.Adam(rate if rate == 0.3 else rates[2 if rate == 0.03 else 4]),
                    batch_size=8)  # fmt: skip
    assert same_bits(model, by_hand)
    run = model.fit(X, T, epochs=1, optimizer=gc.Adam(0.3), batch_size=8)
    assert run.hyper["eta"] == 0.3, "an optimizer is what it was given"


def test_a_plateau_waits_out_its_cooldown_and_stops_at_the_least_rate():
    rates: list[float] = []
    reduce = gc.callbacks.ReduceLROnPlateau(factor=0.5, patience=1, min_delta=10.0, cooldown=2, min_lr=0.2)
    nets.network().fit(X, T, epochs=9, optimizer=gc.Adam(0.8), batch_size=8,
                       callbacks=[reduce, lambda run: rates.append(run.hyper["eta"])])  # fmt: skip
    assert rates == pytest.approx([0.8, 0.4, 0.4, 0.2, 0.2, 0.2, 0.2, 0.2, 0.2])


def test_a_callback_may_set_any_hyper_parameter_within_its_domain():
    def steer(run):
        run.hyper["b1"] = 0.5
        with pytest.raises(DomainError, match="eta is -1, not at least 0"):
            run.hyper["eta"] = -1.0
        with pytest.raises(UnknownNameError, match=r"^run.hyper: the optimizer has no 'et'\n  hint: did you"):
            run.hyper["et"] = 1.0

    model, by_hand = nets.network(), nets.network()
    run = model.fit(X, T, epochs=2, callbacks=[steer], **ADAM)
    for b1 in (0.9, 0.5):
        by_hand.fit(X, T, epochs=1, optimizer=gc.Adam(0.01, b1=b1), batch_size=8)
    assert same_bits(model, by_hand) and run.hyper["b1"] == 0.5


def test_what_follows_a_schedule_or_does_not_exist_is_not_steered():
    reduce = gc.callbacks.ReduceLROnPlateau()
    with pytest.raises(DomainError) as caught:
        reduce.begin(Run(hyper=RunningHyper(nets.MOMENTUM, np.zeros(9))), None)
    assert nets.text_of(caught) == (
        "ReduceLROnPlateau: eta follows a schedule\n  hint: give the optimizer a number, eta=0.01"
    )
    for name, value, message in [
        ("factor", 1.5, "factor is 1.5\n  hint: give a number between 0 and 1, as 0.1"),
        ("patience", 0, "patience is 0\n  hint: give at least 1 epoch"),
        ("mode", "up", "mode is 'up'\n  hint: choose 'min' or 'max'"),
    ]:
        with pytest.raises(DomainError) as caught:
            gc.callbacks.ReduceLROnPlateau(**{name: value})
        assert nets.text_of(caught) == f"ReduceLROnPlateau: {message}"


def test_the_middle_of_the_longest_way_down_is_suggested():
    """A plateau with ripples, a fall over rates 0.01 to 1, a rise."""
    rates = np.geomspace(1e-5, 10, 61)
    losses = np.where(rates < 0.01, 1 + 0.02 * np.sin(7 * np.log(rates)), np.clip(-np.log10(rates) / 2, 0.05, 1))
    losses[rates > 1] += 3
    assert 0.03 < valley(rates.tolist(), losses.tolist()) < 0.4
    assert math.isnan(valley([0.1, 1.0, 10.0], [1.0, 2.0, 3.0])) and math.isnan(valley([], []))
    assert smoothed([2.0, 2.0, 2.0]) == pytest.approx([2.0, 2.0, 2.0])


def test_the_rates_that_are_tried_are_steps_of_training_and_leave_the_model_alone(tmp_path):
    """The losses of 40 steps by hand in NumPy, each with its rate; an initial rate of the rule plays no part."""
    model = nets.network().initialize(4)
    start = nets.flat(model)
    found = gc.find_learning_rate(
        model,
        X, T, optimizer=gc.Adam(5.0), low=1e-5, high=0.05, steps=40, batch_size=8, seed=3, stop_factor=1e9
    )
    theta, state, losses = start, None, []
    for k, rows in enumerate(nets.batches(101, 8, 40, seed=3), 1):
        J, g = nets.loss_and_gradient(theta, X[rows], T[rows], np.ones(len(rows)))
        theta, state = reference_step(gc.Adam(found.rates[k - 1]), theta, g, state, k)
        losses.append(J)
    np.testing.assert_allclose(found.losses, losses, rtol=1e-9)
    np.testing.assert_allclose(found.rates, np.geomspace(1e-5, 0.05, 40))
    assert nets.flat(model).tobytes() == start.tobytes() and not model.state.rules and model.last_run is None
    assert found.stopped == "finished" and f"suggestion: {found.suggestion:.3g}" in str(found)
    found.plot(tmp_path / "rates.png")
    assert (tmp_path / "rates.png").read_bytes().startswith(b"\x89PNG")


def test_a_rate_too_large_ends_the_search_and_what_it_suggests_trains():
    model = nets.network()
    found = gc.find_learning_rate(model, X, T, optimizer="adam", high=1e4, batch_size=8)
    assert found.stopped == "diverged" and len(found.rates) < 100 and found.suggestion < found.rates[-1]
    run = model.fit(X, T, epochs=20, optimizer=gc.Adam(found.suggestion), batch_size=8)
    assert run.history["loss"][-1] < 0.5 * run.history["loss"][0]
    with pytest.raises(DomainError, match=r"^find_learning_rate: there is nothing from 1 to 0.1 in 100 steps\n"):
        gc.find_learning_rate(model, X, T, low=1, high=0.1)
    with pytest.raises(gc.errors.TypeMismatchError, match="LBFGS has no learning rate eta"):
        gc.find_learning_rate(model, X, T, optimizer=gc.LBFGS())


# ---------------------------------------------------------------- checkpoints that are kept


def test_the_last_checkpoints_and_the_best_one_are_kept_and_no_others_are_touched(tmp_path):
    """Mutation-checked: when the best one counts among the last, one is missing."""
    mine = tmp_path / "e0.safetensors"
    mine.write_text("not yours")
    keep = gc.Checkpoint(tmp_path / "e{epoch}.safetensors", keep=2, monitor="mae", mode="max")
    run = nets.network().fit(X, T, epochs=9, callbacks=[keep], **ADAM)
    best = int(np.argmax(run.history["mae"])) + 1
    assert best < 8, "the error falls, so the first is the best for mode='max'"
    assert sorted(p.name for p in tmp_path.iterdir()) == [f"e{n}.safetensors" for n in sorted({0, best, 8, 9})]
    assert keep.best_path == str(tmp_path / f"e{best}.safetensors") and len(keep.files) == 3
    assert mine.read_text() == "not yours"


def test_the_name_of_a_checkpoint_tells_epoch_and_quantities(tmp_path):
    keep = gc.Checkpoint(tmp_path / "{epoch:03d}-{val_loss:.2f}.safetensors", every=2)
    run = nets.network().fit(X, T, epochs=4, validation=HELD_OUT, callbacks=[keep], **ADAM)
    losses = run.history["val_loss"]
    assert [Path(f).name for f in keep.files] == [f"{n:03d}-{losses[n - 1]:.2f}.safetensors" for n in (2, 4)]
    for path, error, message in [
        ("{val_los}.safetensors", UnknownNameError, "Checkpoint: no 'val_los' for {path}\n  hint: known are"),
        ("{epoch:q}.safetensors", DomainError, "Checkpoint: {path} cannot be filled in: "),
    ]:
        with pytest.raises(error) as caught:
            nets.network().fit(X, T, epochs=2, callbacks=[gc.Checkpoint(tmp_path / path)], **ADAM)
        assert nets.text_of(caught).startswith(message.replace("{path}", str(tmp_path / path)))
    with pytest.raises(DomainError) as caught:
        gc.Checkpoint("model.safetensors", keep=2)
    assert nets.text_of(caught) == (
        "Checkpoint: keep is 2 but all are written to model.safetensors\n"
        "  hint: let the names differ, for example 'model-{epoch}.safetensors'"
    )
    with pytest.raises(DomainError, match=r"^Checkpoint: keep is 0\n(.*\n)?  hint: keep at least the last 1"):
        gc.Checkpoint("{epoch}", keep=0)


# ---------------------------------------------------------------- runs that are taken up again


def watchers(folder: Path) -> list:
    """Callbacks that all remember something; the rate falls twice and the run stops before its 40 epochs."""
    return [
        gc.Checkpoint(folder / "{epoch}.safetensors", every=2, keep=2),
        gc.callbacks.ReduceLROnPlateau(patience=2, min_delta=0.05, factor=0.5),
        gc.EarlyStopping(monitor="mae", patience=STOP_AFTER, min_delta=0.01),
        gc.callbacks.CSVLogger(folder / "log.csv"),
        gc.callbacks.JSONLogger(folder / "log.jsonl"),
        gc.callbacks.TensorBoard(folder / "events"),
    ]


def train(folder: Path, *more, **options) -> tuple[gc.Model, Run]:
    model = nets.network()
    options = {"seed": 3, "validation": 0.2, "epochs": 40, **ADAM, **options}
    run = model.fit(X, T, callbacks=[*more, *watchers(folder)], **options)
    return model, run


def without_seconds(folder: Path) -> list[dict]:
    return [{**json.loads(line), "seconds": 0} for line in (folder / "log.jsonl").read_text().splitlines()]


@pytest.mark.parametrize("at", [5, 10, 13])
def test_a_run_that_is_taken_up_again_ends_as_if_it_had_not_been_interrupted(at, tmp_path):
    """The same parameters, states, best epoch, rate, files and logs; damaged files are passed over.

    Mutation-checked: without what the callbacks remember the run stops elsewhere, without the rate the bits differ.
    """
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    model, run = train(whole)
    assert run.stopped == "early stopping" and at < run.epochs < 40 and run.hyper["eta"] < 0.01
    with pytest.raises(RuntimeError, match="the machine goes away"):
        train(broken, interrupt(at), resume=True)
    (broken / "99.safetensors").write_bytes(b"cut off")
    newest = max(broken.glob("*.safetensors"), key=lambda p: int(p.stem) if p.stem != "99" else 0)
    again, resumed = train(broken, resume=True)
    done = int(newest.stem)
    assert f"resume: {newest}, after {done} epochs" in resumed.notes
    assert any(note.startswith(f"passed over: {broken / '99.safetensors'} is damaged") for note in resumed.notes)
    assert same_bits(model, again)
    for name in ("epochs", "steps", "best", "stopped", "seed"):
        assert getattr(resumed, name) == getattr(run, name)
    assert resumed.resumed == done * 11 and resumed.history == {n: v[done:] for n, v in run.history.items()}
    assert resumed.hyper["eta"] == run.hyper["eta"]
    assert without_seconds(whole) == without_seconds(broken)
    (broken / "99.safetensors").unlink()
    assert {p.name for p in whole.glob("*.safetensors")} == {p.name for p in broken.glob("*.safetensors")}
    lines = [(folder / "log.csv").read_text().splitlines() for folder in (whole, broken)]
    tables = [[row[:2] + row[3:] for row in csv.reader(text)] for text in lines]
    assert tables[0] == tables[1]


def test_a_run_that_was_over_stays_over(tmp_path):
    model, run = train(tmp_path)
    last = max(int(p.stem) for p in tmp_path.glob("*.safetensors"))
    if last < run.epochs:  # stopped between two checkpoints: the epochs after the last are done again
        assert train(tmp_path, resume=True)[1].epochs == run.epochs
    again, resumed = train(tmp_path, resume=True, epochs=last)
    assert resumed.steps == resumed.resumed == last * 11 and resumed.history["loss"] == []


def test_resume_begins_at_the_start_where_there_is_no_checkpoint_yet_and_says_so(tmp_path):
    run = train(tmp_path, resume=True, epochs=2)[1]
    place = tmp_path / "{epoch}.safetensors"
    assert run.notes[0] == f"resume: no checkpoint in {place} yet, begun at the start" and run.resumed == 0
    model = nets.network()
    run = model.fit(X, T, epochs=3, resume=tmp_path, **ADAM)
    assert (run.steps, run.resumed) == (3 * 13, 22), "a folder; steps count, however long an epoch is"
    run = nets.network().fit(X, T, steps=25, resume=tmp_path / "2.safetensors", **ADAM)
    assert run.steps == 25 and run.resumed == 22, "a file, and steps from the start of the run"


def refused(error: type[Exception], **options) -> str:
    with pytest.raises(error) as caught:
        nets.network(options.pop("dtype", "float64")).fit(X, T, **ADAM, **options)
    return nets.text_of(caught)


def test_resume_refuses_what_is_no_run_of_this_model(tmp_path):
    model = nets.network()
    model.fit(X, T, epochs=2, callbacks=[gc.Checkpoint(tmp_path / "run.safetensors")], **ADAM)
    model.save(tmp_path / "after.safetensors")
    made_by = "\n  hint: runs are kept by callbacks=[gc.Checkpoint(path)] of model.fit"
    missing, after = tmp_path / "none.safetensors", tmp_path / "after.safetensors"
    assert refused(CheckpointError, resume=missing) == f"fit: no good checkpoint in {missing}: there is none{made_by}"
    assert refused(CheckpointError, resume=after) == (
        f"fit: no good checkpoint in {after}: passed over: {after} tells of no run that was going on{made_by}"
    )
    assert refused(DomainError, resume=True) == (
        "fit: resume=True but no Checkpoint is among the callbacks\n"
        "  hint: callbacks=[gc.Checkpoint('model-{epoch}.safetensors')], or name a file: resume='model.safetensors'"
    )
    run = tmp_path / "run.safetensors"
    assert refused(CheckpointError, resume=run, dtype="float32") == (
        f"{run}: the run is in float64, model in float32\n  hint: declare the model with dtype='float64'"
    )
    with pytest.raises(CheckpointError) as caught:
        nets.xor().fit(np.zeros((4, 2)), np.zeros((4, 1)), dtype="float64", resume=run)
    assert nets.text_of(caught) == (
        f"{run}: the run is of another model (W0 (3, 4) in the file, (2, 4) declared, W1 (4, 2) in the file, "
        "(4, 1) declared, B1 (2,) in the file, (1,) declared)\n  hint: resume the model that it is of"
    )
    assert gc.Model.load(run).params.keys() == model.params.keys(), "a checkpoint of a run is a model like any other"


KILLED = """
import os, signal, sys
import graphc as gc
from tests import nets
from tests.test_callbacks import train
from pathlib import Path
def kill(run):
    if run.epochs == 9:
        os.kill(os.getpid(), signal.SIGKILL)
train(Path(sys.argv[1]), kill)
"""


def test_a_killed_process_is_taken_up_by_another(tmp_path):
    killed = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path / "killed")], cwd=nets.ROOT, check=False)
    assert killed.returncode == -9
    again, resumed = train(tmp_path / "killed", resume=True)
    model, run = train(tmp_path / "whole")
    assert resumed.resumed == 8 * 11 and same_bits(model, again) and resumed.best == run.best
    assert without_seconds(tmp_path / "whole") == without_seconds(tmp_path / "killed")
    assert [s for s, _ in scalars(tmp_path / "killed" / "events" / "train")["loss"]][8:10] == [9, 10]
