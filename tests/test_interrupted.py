"""Runs that are killed, disks that are full, folders that vanish, two who write one file: no checkpoint is lost."""

from __future__ import annotations

import errno
import os
import resource
import signal
import subprocess
import sys

import pytest

import graphc as gc
from graphc.facade import atomic_file
from tests import nets
from tests.kills import OPTIONS, T, X, campaign, fitted, state_of

pytestmark = [
    pytest.mark.skipif(not hasattr(os, "fork"), reason="needs POSIX"),
    pytest.mark.filterwarnings("ignore:os.fork:RuntimeWarning"),  # JAX's, where another test has imported it
]


def test_a_run_killed_at_any_instant_goes_on_from_a_whole_checkpoint_to_the_same_bits(tmp_path):
    """`make soak` kills a hundred. Mutation-checked: files written in place, not beside it, are found damaged."""
    seen = campaign(tmp_path, kills=8, seed=1)
    assert not seen.faults, seen.faults
    assert seen.kills == 8


@pytest.fixture
def kept(tmp_path):
    """A model, and the file of what it was before its last steps."""
    model, path = nets.network("float32"), tmp_path / "run" / "model.safetensors"
    model.fit(X, T, steps=20, **OPTIONS)
    model.save(path)
    return model, path


def _full(number):
    def fail(*args, **kwargs):
        raise OSError(number, os.strerror(number))

    return fail


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS])
@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_a_disk_that_is_full_leaves_the_old_checkpoint_and_a_run_that_can_go_on(call, number, kept, monkeypatch):
    model, path = kept
    before, bits = path.read_bytes(), state_of(model)
    monkeypatch.setattr(atomic_file.os, call, _full(number))
    with pytest.raises(OSError, match="model.safetensors") as caught:
        model.save(path)
    monkeypatch.undo()
    assert caught.value.errno == number and path.read_bytes() == before and os.listdir(path.parent) == [path.name]
    assert state_of(model) == bits == state_of(gc.Model.load(path))


def test_a_file_that_outgrows_its_limit_leaves_the_old_one(kept):
    """The kernel's own answer, not one that the test made up."""
    model, path = kept
    before = path.read_bytes()
    limits, handler = resource.getrlimit(resource.RLIMIT_FSIZE), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
    try:
        with pytest.raises(OSError, match="model.safetensors"):
            model.save(path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
    assert path.read_bytes() == before and os.listdir(path.parent) == [path.name]


def test_a_run_whose_checkpoints_fail_stops_with_good_parameters_and_goes_on_elsewhere(tmp_path, monkeypatch):
    calls, replace = [], os.replace

    def fail_later(source, target):
        calls.append(target)
        if len(calls) > 4:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        replace(source, target)

    model, path = nets.network("float32"), tmp_path / "model.safetensors"
    monkeypatch.setattr(atomic_file.os, "replace", fail_later)
    with pytest.raises(OSError, match="No space left on device: .*model.safetensors"):
        model.fit(X, T, epochs=40, callbacks=[gc.Checkpoint(path)], **OPTIONS)
    monkeypatch.undo()
    steps = [r.step for r in model.state.rules.values()]
    assert steps == [5 * 76], "the epoch whose checkpoint failed is in the model"
    assert [r.step for r in gc.Model.load(path).state.rules.values()] == [4 * 76]
    assert state_of(fitted(path)) == state_of(fitted(None)), "taken up where there is room again"


def test_a_folder_that_vanishes_is_made_again(kept):
    model, path = kept
    path.unlink()
    path.parent.rmdir()
    model.save(path)
    assert state_of(gc.Model.load(path)) == state_of(model)
    blocked = path / "below" / "model.safetensors"
    with pytest.raises(OSError, match="below"):
        model.save(blocked)


SAVES = """
import sys
import graphc as gc
from tests import nets
model = nets.network("float32")
model.params.initialize(int(sys.argv[2]))
for _ in range(20):
    model.save(sys.argv[1])
"""


def test_two_processes_that_write_one_checkpoint_leave_one_of_theirs(tmp_path):
    path, found = tmp_path / "model.safetensors", set()
    command = [sys.executable, "-c", SAVES, str(path)]
    children = [subprocess.Popen([*command, str(seed)], cwd=nets.ROOT) for seed in (1, 2)]
    while any(child.poll() is None for child in children):
        if path.exists():
            found.add(gc.Model.load(path).params.flat.tobytes())
    expected = set()
    for seed in (1, 2):
        model = nets.network("float32")
        model.params.initialize(seed)
        expected.add(model.params.flat.tobytes())
    assert [child.returncode for child in children] == [0, 0]
    assert found and found <= expected and os.listdir(tmp_path) == [path.name]
