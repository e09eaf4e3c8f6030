"""Building generated text, the cache of compiled code, and the memory primitives."""

from __future__ import annotations

import ast
import gc
import os
import subprocess
import sys
import threading
import time
import weakref
from pathlib import Path

import numpy as np
import pytest

from graphc.errors import CompileError
from graphc.native import build, cache, loader, target
from graphc.native.build import statistics, undefined_symbols
from graphc.native.cache import CacheWarning
from graphc.native.machine_code import linked, optimize
from graphc.primitives import host

ROOT = Path(__file__).parent.parent
SCALE = """
from numpy import float32 as f
def scale(a, n, factor):
    for i in range(n):
        a[i] = a[i]*f(0.5) + factor
    return n + 1
"""
SCALE_ENTRIES = {"scale": ("float32*", "int64", "float32")}
MEMORY = """
from numpy import float32 as f
from graphc.primitives.memory import atomic_load, atomic_store, copy, fill, noalias, nonfinite, radd, rmax, rmin
def reduce(a, n, out):
    noalias()
    total = f(0)
    high = a[0]
    low = a[0]
    for i in range(n):
        total = radd(total, a[i]*a[i])
    for i in range(n):
        high = rmax(high, a[i])
    for i in range(n):
        low = rmin(low, a[i])
    out[0] = total
    out[1] = high
    out[2] = low
    return nonfinite(a, 1, n - 1)
def move(a, out):
    copy(out, 1, a, 2, 3)
    fill(out, 5, f(2.5), 2)
    return 0
def finite64(a, n):
    return nonfinite(a, 0, n)
def wait(flag):
    turns = 0
    while atomic_load(flag, 0) == 0:
        turns = turns + 1
        atomic_store(flag, 1, turns)
    return 7
def divided(a, n, by, out):
    for i in range(n):
        out[6*i] = a[i]//8
        out[6*i + 1] = a[i] % 8
        out[6*i + 2] = a[i]//7
        out[6*i + 3] = a[i] % 7
        out[6*i + 4] = a[i]//by
        out[6*i + 5] = a[i] % by
    return 0
"""
SUM = """
from numpy import float32 as f
from graphc.primitives.memory import radd
def total(a, n):
    s = f(0)
    for i in range(n):
        s = {}
    a[0] = s
    return 0
"""
MEMORY_ENTRIES = {
    "reduce": ("float32*", "int64", "float32*"),
    "move": ("float32*", "float32*"),
    "finite64": ("float64*", "int64"),
    "wait": ("int64*",),
    "divided": ("int64*", "int64", "int64", "int64*"),
}


@pytest.fixture(scope="module")
def memory(tmp_path_factory: pytest.TempPathFactory) -> build.Program:
    return build.build(MEMORY, MEMORY_ENTRIES, name="memory", folder=tmp_path_factory.mktemp("cache"))


def scaled(program: build.Program) -> np.ndarray:
    a = np.arange(5, dtype=np.float32)
    assert program.call("scale", a.ctypes.data, 5, 2.0) == 6
    return a


def child(folder: Path, text: str) -> subprocess.Popen[str]:
    """Another process that builds the same module in the same folder."""
    program = f"import sys\nfrom graphc.native import build\nsource = {SCALE!r}\nentries = {SCALE_ENTRIES!r}\n{text}"
    env = os.environ | {"PYTHONPATH": str(ROOT), "GRAPHC_CACHE": str(folder)}
    return subprocess.Popen([sys.executable, "-W", "error", "-c", program], env=env, stdout=subprocess.PIPE, text=True)


# ------------------------------------------------------------------------------------------------------------ build


def test_a_program_computes_what_its_text_says_and_returns_its_result(tmp_path):
    program = build.build(SCALE, SCALE_ENTRIES, name="scale", folder=tmp_path)
    assert scaled(program).tolist() == [2.0, 2.5, 3.0, 3.5, 4.0]
    assert program.address("scale") > 0


@pytest.mark.parametrize("by", [1, 2, 5, 1 << 40])
def test_whole_numbers_are_divided_as_python_does_it(memory: build.Program, by: int):
    a = np.array([0, 1, 7, 8, 55, -1, -7, -8, -9, 2**62, -(2**62)])
    out = np.zeros((a.size, 6), np.int64)
    memory.call("divided", a.ctypes.data, a.size, by, out.ctypes.data)
    assert out.tolist() == [[x // d if t == 0 else x % d for d in (8, 7, by) for t in (0, 1)] for x in a.tolist()]


def test_a_divisor_of_zero_ends_nothing(memory: build.Program):
    """A processor's division by zero kills the process."""
    a, out = np.array([5, -5]), np.zeros((2, 6), np.int64)
    memory.call("divided", a.ctypes.data, 2, 0, out.ctypes.data)
    assert out[:, :2].tolist() == [[0, 5], [-1, 3]]


def test_a_module_is_compiled_once_and_then_taken_from_the_cache(tmp_path):
    before, told = dict(statistics), []
    tell = lambda: told.append(statistics["compiled"] - before["compiled"]) or (lambda: told.append("meanwhile"))
    first = build.build(SCALE, SCALE_ENTRIES, name="scale", folder=tmp_path, compiling=tell)
    second = build.build(SCALE, SCALE_ENTRIES, name="scale", folder=tmp_path, compiling=tell)
    assert told == [1, "meanwhile"]
    scaled(first)
    scaled(second)
    change = {name: statistics[name] - before[name] for name in statistics}
    assert change == {"compiled": 1, "loaded_from_cache": 1, "native_calls": 2}
    assert first.address("scale") == second.address("scale"), "the same code lies in memory once"


def test_machine_code_goes_with_the_last_program_that_has_it(tmp_path):
    first, second = (build.build(SCALE, SCALE_ENTRIES, name="scale", folder=tmp_path) for _ in range(2))
    engine = weakref.ref(first._engine)
    del first
    gc.collect()
    assert engine() is not None and scaled(second)[1] == 2.5
    del second
    gc.collect()
    assert engine() is None


def test_a_defect_in_generated_text_is_a_compile_error_in_one_line(tmp_path):
    with pytest.raises(CompileError) as caught:
        build.build("def f(a):\n    return a[0] + undefined\n", {"f": ("float32*",)}, name="broken", folder=tmp_path)
    text = str(caught.value)
    assert text.startswith("internal defect: the generated program 'broken' does not compile: ")
    assert "undefined" in text and "\n" not in text and caught.value.__cause__ is None


def test_machine_code_needs_nobody_but_the_c_library(tmp_path):
    for source, entries in ((SCALE, SCALE_ENTRIES), (MEMORY, MEMORY_ENTRIES)):
        symbols = undefined_symbols(build.compile_image(source, entries, name="symbols"))
        assert symbols <= {"memcpy", "memset", "memmove"}


def test_undefined_symbols_finds_a_call_to_the_outside(tmp_path):
    source = "import math\ndef f(a):\n    a[0] = math.sinh(a[0])\n    return 0\n"
    assert undefined_symbols(build.compile_image(source, {"f": ("float64*",)}, name="outside")) == {"sinh"}


def test_an_unknown_argument_type_is_refused():
    with pytest.raises(ValueError, match=r"unknown argument type 'complex64\*'"):
        loader.argument_ctype("complex64*")


# ------------------------------------------------------------------------------------------------------------ cache


def test_a_cached_program_runs_without_numba_in_the_process(tmp_path):
    build.build(SCALE, SCALE_ENTRIES, name="scale", folder=tmp_path)
    script = "build.build(source, entries, name='scale'); print('numba' in sys.modules, build.statistics['compiled'])"
    process = child(tmp_path, script)
    assert process.communicate(timeout=60)[0].split() == ["False", "0"]


def test_two_processes_at_once_both_get_their_program(tmp_path):
    script = "print(build.build(source, entries, name='scale').address('scale') > 0)"
    processes = [child(tmp_path, script) for _ in range(2)]
    assert [process.communicate(timeout=60)[0].strip() for process in processes] == ["True", "True"]
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize("damage", ["cut", "flip", "empty", "foreign"])
def test_a_damaged_file_is_noticed_and_replaced(tmp_path, damage):
    build.build(SCALE, SCALE_ENTRIES, name="scale", folder=tmp_path)
    [file] = tmp_path.iterdir()
    content = file.read_bytes()
    flipped = content[:-9] + bytes([content[-9] ^ 1]) + content[-8:]
    file.write_bytes({"cut": content[:-1], "flip": flipped, "empty": b"", "foreign": b"#!/bin/sh\n" * 40}[damage])
    before = statistics["compiled"]
    with pytest.warns(CacheWarning, match="is damaged; compiling anew"):
        program = build.build(SCALE, SCALE_ENTRIES, name="scale", folder=tmp_path)
    assert scaled(program)[0] == 2 and statistics["compiled"] == before + 1
    assert file.read_bytes() == content


def test_a_folder_that_others_can_write_to_is_not_used_and_warned_of_once(tmp_path):
    folder = tmp_path / "open"
    folder.mkdir()
    folder.chmod(0o777)
    with pytest.warns(CacheWarning, match="others can write to it"):
        build.build(SCALE, SCALE_ENTRIES, name="scale", folder=folder)
    build.build(SCALE, SCALE_ENTRIES, name="scale", folder=folder)
    assert not list(folder.iterdir())


def test_a_file_in_place_of_the_folder_is_no_cache(tmp_path):
    file = tmp_path / "file"
    file.write_text("")
    with pytest.warns(CacheWarning, match="is not used: File exists"):
        assert cache.open_store(file) is None


def test_another_users_folder_is_not_used(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "getuid", lambda: tmp_path.stat().st_uid + 1)
    with pytest.warns(CacheWarning, match="it belongs to another user"):
        assert cache.open_store(tmp_path) is None


def test_a_read_only_folder_is_not_used(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "access", lambda path, mode: False)  # root may write to any folder
    with pytest.warns(CacheWarning, match="it is read-only"):
        assert cache.open_store(tmp_path) is None


def test_a_new_folder_is_for_its_owner_alone(tmp_path, monkeypatch):
    monkeypatch.setenv("GRAPHC_CACHE", str(tmp_path / "deep" / "cache"))
    store = cache.open_store()
    assert store is not None and store.folder.stat().st_mode & 0o777 == 0o700


def test_the_key_changes_with_everything_the_code_depends_on(monkeypatch):
    base = cache.key_of("text", {"f": ("int64",)})
    others = {cache.key_of("text ", {"f": ("int64",)}), cache.key_of("text", {"f": ("uint64",)})}
    for name in ("_versions", "_primitives"):
        with monkeypatch.context() as patch:
            patch.setattr(cache, name, lambda: "other")
            others.add(cache.key_of("text", {"f": ("int64",)}))
    with monkeypatch.context() as patch:
        patch.setattr(host, "described", lambda: "other")
        others.add(cache.key_of("text", {"f": ("int64",)}))
    assert base not in others and len(others) == 5


def test_the_least_recently_used_files_go_when_the_folder_is_full(tmp_path):
    store = cache.Store(tmp_path, limit=2500)
    for age, key in ((30, "aa"), (20, "bb"), (10, "cc")):
        store.put(key * 32, b"x" * 1000)
        file = tmp_path / f"{key * 32}.obj"
        os.utime(file, (time.time() - age, time.time() - age))
    store.get("aa" * 32)
    store.sweep()
    assert sorted(file.name[:2] for file in tmp_path.iterdir()) == ["aa", "cc"]


# ----------------------------------------------------------------------------------------------------------- memory


def test_reductions_agree_with_numpy(memory):
    for n in (1, 3, 16, 1001):
        a = np.random.default_rng(n).normal(size=n).astype(np.float32)
        out = np.zeros(3, np.float32)
        assert memory.call("reduce", a.ctypes.data, n, out.ctypes.data) == 0
        np.testing.assert_allclose(out, [np.square(a.astype(float)).sum(), a.max(), a.min()], rtol=3e-6)


@pytest.mark.parametrize("place", [1, 40, 100])
def test_nan_reaches_every_reduction_and_the_finiteness_test(memory, place):
    a = np.ones(101, np.float32)
    out = np.zeros(3, np.float32)
    a[place] = np.nan
    assert memory.call("reduce", a.ctypes.data, a.size, out.ctypes.data) == 1
    assert np.isnan(out).all()
    a[place] = -np.inf
    assert memory.call("reduce", a.ctypes.data, a.size, out.ctypes.data) == 1
    assert out.tolist() == [np.inf, 1.0, -np.inf]


def test_the_finiteness_test_reads_only_its_range(memory):
    a = np.array([np.nan, 1.0, 3.4e38, 1e-45], np.float32)
    out = np.zeros(3, np.float32)
    assert memory.call("reduce", a.ctypes.data, 4, out.ctypes.data) == 0
    for last, expected in ((np.finfo(np.float64).max, 0), (np.inf, 1), (np.nan, 1)):
        wide = np.array([0.0, -1.0, last])
        assert memory.call("finite64", wide.ctypes.data, 3) == expected


def test_copy_and_fill_touch_their_elements_only(memory):
    a, out = np.arange(8, dtype=np.float32), np.full(8, 9, np.float32)
    memory.call("move", a.ctypes.data, out.ctypes.data)
    assert out.tolist() == [9, 2, 3, 4, 9, 2.5, 2.5, 9]


def test_another_thread_stops_a_loop_that_waits_on_an_atomic_flag(memory):
    """The call releases the interpreter's lock, and the loads stay inside the loop."""
    flag = np.zeros(2, np.int64)
    results: list[int] = []
    worker = threading.Thread(target=lambda: results.append(memory.call("wait", flag.ctypes.data)), daemon=True)
    worker.start()
    while flag[1] < 1000:
        time.sleep(0.001)
    flag[0] = 1
    worker.join(timeout=10)
    assert results == [7] and flag[1] >= 1000


def test_a_sum_becomes_vector_code_only_through_radd():
    for step, vector in (("radd(s, a[i])", True), ("s + a[i]", False)):
        text = SUM.format(step)
        function = build._execute(text, "sum", target.replace_numbers)["total"]
        for trees in (build.functions_of(ast.parse(text)), {}):
            module = linked(target.lower({"total": (function, ("float32*", "int64"))}, trees=trees)[0])
            optimize(module, *target.target_machines(1))
            assert ("x float> " in str(module)) == vector


def made_by_numba() -> int:
    """How many nodes of Numba's and llvmlite's intermediate code are alive."""
    gc.collect()
    return sum(str(type(x)).startswith(("<class 'numba.core.ir.", "<class 'llvmlite.ir.")) for x in gc.get_objects())


HALVED = """
from numpy import float32 as f
def halve(a, n):
    for i in range(n):
        a[i] = a[i]*f(0.5)
    return 0
def scale(a, n, factor):
    halve(a, n)
    return n + 1
"""


def test_nothing_that_numba_made_of_a_program_outlives_its_compilation():
    """Seen to fail with Numba's record of compiled functions, and with the table of what was looked up."""
    alive = []
    for number in range(3):
        text = HALVED.replace("0.5", f"0.{number + 1}")
        for trees in (build.functions_of(ast.parse(text)), {}):
            functions = build._execute(text, "m", target.replace_numbers)
            shared = target.replace_shared(functions, SCALE_ENTRIES)
            target.lower({"scale": (functions["scale"], SCALE_ENTRIES["scale"])}, shared, trees)
            del functions, shared
        alive.append(made_by_numba())
    assert alive[1] == alive[2]
