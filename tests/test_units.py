"""Products and loop nests are compiled one by one, several at a time, and found again by other programs."""

from __future__ import annotations

import re
import resource
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from llvmlite.binding import ffi

from graphc.native import build, cache, loader, machine_code, target
from graphc.native.buffers import trim
from graphc.native.cache import CacheWarning

ENTRIES = {"step": ("float32*", "float32*", "float32*", "int64")}
PROGRAM = """
from numpy import float32 as f
from graphc.primitives.matmul.gemm import gemm
def nest_1(x, at, n):
    for i in range(n):
        x[at + i] = f(0.5)*x[at + i] + x[at + i]*x[at + i]
    return 0
def step(a, b, c, n):
    gemm(a, 0, 48, 1, b, 0, 48, 1, c, 0, 48, n, 48, 48, b, 0, 0)
    nest_1(c, 0, 48*n)
    gemm(c, 0, 48, 1, b, 0, WIDTH, 1, a, 0, WIDTH, n, WIDTH, 48, b, 0, 0)
    return n
"""


def counted(width: int, folder: Path) -> tuple[loader.Program, int]:
    """A program of two products and a nest, and how many units were compiled for it."""
    before = build.unit_statistics["compiled"]
    program = build.build(PROGRAM.replace("WIDTH", str(width)), ENTRIES, name="two layers", folder=folder)
    return program, build.unit_statistics["compiled"] - before


def result(program: loader.Program) -> bytes:
    rng = np.random.default_rng(0)
    a, b, c = (rng.normal(size=48 * 96).astype("f4") / 8 for _ in range(3))
    assert program.call("step", a.ctypes.data, b.ctypes.data, c.ctypes.data, 5) == 5
    return a.tobytes() + c.tobytes()


def test_a_program_that_differs_in_one_layer_compiles_that_alone(tmp_path: Path):
    """Planted faults, seen to fail: units that are not kept; a nest that is named by its number in the program."""
    _, first = counted(64, tmp_path / "one")
    other, second = counted(80, tmp_path / "one")
    alone, whole = counted(80, tmp_path / "another")
    assert (first, second, whole) == (3, 1, 3)
    assert result(other) == result(alone)


def test_a_nest_of_another_program_is_found_under_any_name(tmp_path: Path):
    counted(64, tmp_path)
    renamed = PROGRAM.replace("WIDTH", "64").replace("nest_1", "nest_7").replace("48*n)", "24*n)")
    before = build.unit_statistics["compiled"]
    build.build(renamed, ENTRIES, name="another", folder=tmp_path)
    assert build.unit_statistics["compiled"] == before


def test_a_damaged_body_is_compiled_again(tmp_path: Path):
    program, _ = counted(64, tmp_path)
    for file in tmp_path.glob("*" + cache.UNIT):
        file.write_bytes(file.read_bytes()[:-9] + b"\0" * 9)
    for file in tmp_path.glob("*" + cache.CODE):
        file.unlink()
    with pytest.warns(CacheWarning, match="is damaged; compiling anew"):
        again, compiled = counted(64, tmp_path)
    assert compiled == 3 and result(again) == result(program)
    assert counted(64, tmp_path)[1] == 0


def lowered() -> list[machine_code.Unit]:
    text = PROGRAM.replace("WIDTH", "64")
    functions = build._execute(text, "m", target.replace_numbers)
    shared = target.replace_shared(functions, ENTRIES)
    own, units = target.lower({name: (functions[name], words) for name, words in ENTRIES.items()}, shared)
    return [own, *units.values()]


def test_products_say_that_they_are_written_in_vectors_and_few_passes_run_on_them(monkeypatch: pytest.MonkeyPatch):
    """Loops that LLVM is to make vectors of go through the whole pipeline, and so does a product inside its caller.
    Planted faults, seen to fail: every unit is by hand, none is, all that a unit declares has to be."""
    runs: list[str] = []
    for name in ("tidy", "optimize"):
        kept = getattr(machine_code, name)
        note = lambda module, machine, name=name, kept=kept: (runs.append(name), kept(module, machine))
        monkeypatch.setattr(machine_code, name, note)
    found = {}
    for unit in lowered():
        name = re.findall(r'^define [^@]*@"graphc_([a-z]+)', unit[0], re.MULTILINE)[-1]
        runs.clear()
        machine_code.compiled([unit], target.target_machines(1))
        found.setdefault(name, set()).add(runs[0])
    assert found == {"gemm": {"tidy"}, "nest": {"optimize"}, "step": {"optimize"}}


def test_machine_code_is_the_same_for_any_number_of_threads():
    """What the tree gives is lowered in test_lowering; here through Numba."""
    units = lowered()
    assert len(units) == 4
    images = [machine_code.compiled(units, target.target_machines(count)) for count in (1, 2, 4)]
    assert images[0] == images[1] == images[2]
    assert loader.unpack(loader.pack(images[0])) == images[0]


def test_what_llvm_refuses_in_any_thread_is_told_by_the_one_that_asked():
    units = [*lowered(), ("define i32 @broken( {",)]
    with pytest.raises(RuntimeError, match="parsing error"):
        machine_code.compiled(units, target.target_machines(3))


def test_llvm_works_on_the_first_units_while_others_are_written(monkeypatch: pytest.MonkeyPatch):
    """The longest that waits is the next one, and images come in the order of units; a failure of whoever writes ends
    the threads, and what is not begun is left."""
    kept, begun, there, go = machine_code.object_file, [], threading.Event(), threading.Event()

    def object_file(unit: machine_code.Unit, machine: Any) -> bytes:
        begun.append(unit[0])
        there.set()
        assert go.wait(10)
        return kept(FORMS[unit[0]], machine)

    first, *others = lowered()
    FORMS = {"first": first, "short": others[0], "longer": others[1]}
    monkeypatch.setattr(machine_code, "object_file", object_file)
    machines, before = target.target_machines(2), sys.getswitchinterval()
    with machine_code.Works(machines) as works:
        works.add(("first",))
        assert there.wait(10)
        works.add(("short",))
        works.add(("longer",))
        go.set()
        images = works.images()
    assert begun == ["first", "longer", "short"]
    assert images == [kept(FORMS[name], machines[0]) for name in ("first", "short", "longer")]
    go.clear()
    there.clear()
    begun.clear()
    with pytest.raises(KeyboardInterrupt), machine_code.Works(machines) as works:
        for name in ("first", "short", "longer"):
            works.add((name,))
        assert there.wait(10)
        threading.Timer(0.05, go.set).start()
        raise KeyboardInterrupt
    assert begun == ["first"] and sys.getswitchinterval() == before
    assert not [t for t in threading.enumerate() if t.name == "graphc"]


def test_what_llvm_needed_for_a_unit_is_freed():
    """Planted fault, seen to fail: passes as llvmlite leaves them, 0.1 MB for this unit."""
    [machine] = target.target_machines(1)
    unit = max(lowered(), key=lambda texts: sum(map(len, texts)))
    resident = lambda: int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize() / 2**20
    grown = []
    for _ in range(3):
        for _ in range(12):
            machine_code.object_file(unit, machine)
        trim()
        grown.append(resident())
    assert grown[2] - grown[1] < 0.5


def test_passes_and_code_do_not_wait_for_another_thread_that_is_in_llvm(monkeypatch: pytest.MonkeyPatch):
    """Planted fault, seen to fail: the functions as llvmlite calls them."""
    kept, waited = machine_code._past_the_lock, []

    def beside_another(name: str):
        def call(*arguments: object):
            there, done = threading.Event(), threading.Event()

            def other():
                with ffi.lib._lock:
                    there.set()
                    waited.append(not done.wait(timeout=5))

            thread = threading.Thread(target=other)
            thread.start()
            there.wait()
            try:
                return kept(name)(*arguments)
            finally:
                done.set()
                thread.join()

        return call

    monkeypatch.setattr(machine_code, "_past_the_lock", beside_another)
    own, *_ = lowered()
    assert machine_code.compiled([own], target.target_machines(1)) and waited == [False, False]


def test_llvmlite_is_as_this_needs_it():
    """Functions of the library stand behind a lock; without that they are called as they are."""
    for name in ("LLVMPY_RunNewModulePassManager", "LLVMPY_TargetMachineEmitToMemory"):
        assert getattr(ffi.lib, name)._cfn.argtypes == getattr(ffi.lib, name).argtypes
        assert machine_code._past_the_lock(name) is getattr(ffi.lib, name)._cfn
