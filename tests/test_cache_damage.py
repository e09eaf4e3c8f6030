"""The folder of compiled code, damaged in many ways: found is what was kept, or nothing; and it is kept again."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path

import pytest

from graphc.facade import lookup
from graphc.native import cache
from graphc.native.cache import CODE, FACTS, VERDICT, CacheWarning, Store
from tests import nets

KEY, OTHER = "a" * 64, "b" * 64
IMAGE = bytes(range(256)) * 64
Damage = Callable[[Path], object]


def cut(share: float) -> Damage:
    return lambda file: file.write_bytes(file.read_bytes()[: int(share * file.stat().st_size)])


def flip(at: int) -> Damage:
    def damage(file: Path) -> None:
        content = bytearray(file.read_bytes())
        content[at % len(content)] ^= 0x10
        file.write_bytes(content)

    return damage


def instead(make: Callable[[Path], object]) -> Damage:
    """Something else in the place of the file."""

    def damage(file: Path) -> None:
        file.unlink()
        make(file)

    return damage


def taken_from(name: str) -> Damage:
    return lambda file: file.write_bytes(file.with_name(name).read_bytes())


def closed(file: Path) -> None:
    file.chmod(0)


DAMAGES: dict[str, Damage] = {
    "empty": cut(0),
    "cut in the magic": lambda file: file.write_bytes(file.read_bytes()[:7]),
    "cut in the checksum": lambda file: file.write_bytes(file.read_bytes()[:30]),
    "cut in half": cut(0.5),
    "the last byte": lambda file: file.write_bytes(file.read_bytes()[:-1]),
    "a byte more": lambda file: file.write_bytes(file.read_bytes() + b"\0"),
    "a bit of the magic": flip(3),
    "a bit of the checksum": flip(20),
    "a bit of the content": flip(1000),
    "the last bit": flip(-1),
    "another format": lambda file: file.write_bytes(file.read_bytes().replace(b"object 3", b"object 2", 1)),
    "zeros": lambda file: file.write_bytes(bytes(file.stat().st_size)),
    "a script": lambda file: file.write_bytes(b"#!/bin/sh\necho\n" * 40),
    "the content alone": lambda file: file.write_bytes(IMAGE),
    "twice": lambda file: file.write_bytes(file.read_bytes() * 2),
    "the code of another program": taken_from(OTHER + CODE),
    "what is known of a declaration": taken_from(KEY + FACTS),
    "a verdict": taken_from(KEY + VERDICT),
    "a folder": instead(lambda file: file.mkdir()),
    "a folder with something in it": instead(lambda file: (file / "x").mkdir(parents=True)),
    "a link to nothing": instead(lambda file: file.symlink_to("nothing")),
    "a link to itself": instead(lambda file: file.symlink_to(file.name)),
    "a link to another program": instead(lambda file: file.symlink_to(OTHER + CODE)),
    "a device without end": instead(lambda file: file.symlink_to("/dev/zero")),
    "a pipe": instead(lambda file: os.mkfifo(file)),
    "nobody may read it": closed,
}


@pytest.fixture
def store(tmp_path: Path) -> Store:
    tmp_path.chmod(0o700)
    found = Store(tmp_path)
    for key, kind, image in [(KEY, CODE, IMAGE), (OTHER, CODE, IMAGE[::-1]), (KEY, FACTS, b"{}"), (KEY, VERDICT, b"")]:
        found.put(key, image, kind)
    return found


@pytest.mark.parametrize("name", DAMAGES)
@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs POSIX")
def test_what_is_damaged_is_never_found_and_is_kept_anew(name, store):
    """Mutation-checked: with a checksum over the content alone the code of another program is found."""
    DAMAGES[name](store.folder / (KEY + CODE))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        assert store.get(KEY) in ((None, IMAGE) if name == "nobody may read it" else (None,))
        store.put(KEY, IMAGE)
        again = store.get(KEY)
    assert again == IMAGE or (again is None and (store.folder / (KEY + CODE)).is_dir())
    assert {w.category for w in caught} <= {CacheWarning}
    assert store.get(OTHER) == IMAGE[::-1] and store.get(KEY, FACTS) == b"{}" and store.get(KEY, VERDICT) == b""
    assert not list(store.folder.glob(".new-*"))


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS])
@pytest.mark.parametrize("call", ["write", "replace"])
def test_a_full_or_broken_disk_costs_the_cache_and_nothing_else(call, number, store, monkeypatch):
    def fail(*args: object) -> None:
        raise OSError(number, os.strerror(number))

    class Full:
        """A file on a disk that is full."""

        def __init__(self, handle: int) -> None:
            self.handle = handle

        def __enter__(self) -> Full:
            return self

        def __exit__(self, *args: object) -> None:
            os.close(self.handle)

        write = fail

    if call == "replace":
        monkeypatch.setattr(cache.os, "replace", fail)
    else:
        monkeypatch.setattr(cache.os, "fdopen", lambda handle, mode: Full(handle))
    with pytest.warns(CacheWarning, match="this program is not kept"):
        store.put("c" * 64, IMAGE)
    monkeypatch.undo()
    assert not list(store.folder.glob(".new-*")) and store.get("c" * 64) is None and store.get(KEY) == IMAGE


def test_a_folder_that_vanished_is_no_cache(store):
    for file in store.folder.iterdir():
        file.unlink()
    store.folder.rmdir()
    assert store.get(KEY) is None
    with pytest.warns(CacheWarning, match="No such file or directory; this program is not kept"):
        store.put(KEY, IMAGE)


@pytest.mark.parametrize("kept", ["", "{", "null", "[]", "5", '"x"', "{}", '{"machine_code": 5}', "[" * 50 + "]" * 50])
def test_facts_of_another_form_are_derived_anew(kept, store, monkeypatch):
    monkeypatch.setattr(cache, "open_store", lambda: store)
    store.put(KEY, kept.encode(), FACTS)
    assert lookup.recall(lookup.Declared(KEY, ())) is None
    assert lookup.remembered(lookup.Declared(OTHER, ()), lambda: [1, 2]) == [1, 2]
    assert json.loads(store.get(OTHER, FACTS) or b"") == [1, 2]


WRITES = """
import sys
from pathlib import Path
from graphc.native.cache import Store
store, images = Store(Path(sys.argv[1])), [bytes([t]) * 50_000 for t in range(8)]
for turn in range(300):
    key = "01234567"[turn % 8] * 64
    found = store.get(key)
    assert found is None or found == images[turn % 8], "another program, or half of one"
    store.put(key, images[turn % 8])
print("good")
"""


def test_processes_that_write_the_same_files_at_once_see_whole_ones_of_the_right_program(tmp_path):
    command = [sys.executable, "-W", "error", "-c", WRITES, str(tmp_path)]
    children = [subprocess.Popen(command, cwd=nets.ROOT, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    assert [child.communicate(timeout=60)[0] for child in children] == ["good\n"] * 3
    assert len(list(tmp_path.iterdir())) == 8
