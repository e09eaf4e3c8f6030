"""Native code counts subnormal numbers as 0, in its own threads and for its own time; one argument keeps them."""

from __future__ import annotations

import copy
import platform

import llvmlite.binding as llvm
import numpy as np
import pytest

import graphc as gc
from graphc.emit.reference import evaluate
from graphc.facade.agreement import PRECISIONS, judge
from graphc.native import subnormals
from graphc.native.buffers import address, aligned
from graphc.native.loader import FLUSHING, SYMBOL_PREFIX, Program, assemble
from graphc.native.subnormals import flushing
from graphc.run.thread_team import call_together
from tests.covering.plain import Plain, in_python

ARM = platform.machine().lower() in ("aarch64", "arm64")
MODE = 1 << 24 if ARM else 1 << 15 | 1 << 6  # FPCR.FZ; MXCSR.FTZ and MXCSR.DAZ
LOOK = "call i64 @llvm.aarch64.get.fpcr()" if ARM else "load i64, ptr %room"
READ = "" if ARM else "%room = alloca i64\n store i64 0, ptr %room\n call void @llvm.x86.sse.stmxcsr(ptr %room)"
ENTRY = f"""
define i32 @graphc_look(ptr %result, ptr %exception, ptr %out, i64 %me, i64 %team) {{
 {READ}
 %word = {LOOK}
 %place = getelementptr i64, ptr %out, i64 %me
 store i64 %word, ptr %place
 ret i32 0
}}
"""
WORDS = ("int64*", "int64", "int64")
TINY = float(np.finfo(np.float32).tiny)


@pytest.fixture(scope="module")
def looking() -> Program:
    """A program whose threads tell the control register as they see it."""
    text = flushing(FLUSHING + "look", SYMBOL_PREFIX + "look", WORDS)
    declared = f"declare i32 @{SYMBOL_PREFIX}look(ptr, ptr, ptr, i64, i64)"
    assert declared in text
    return Program("look", assemble(text.replace(declared, ENTRY)), {"look": WORDS})


def seen(program: Program, team: int, subnormals: bool) -> list[int]:
    out = aligned(team, np.int64)
    program.subnormals = subnormals
    call_together(program, "look", [address(out)], team)
    return [int(word) & MODE for word in out[:team]]


@pytest.mark.parametrize("team", [1, 3])
def test_every_thread_is_in_the_mode_and_the_caller_is_back_in_its_own(looking: Program, team: int):
    before = seen(looking, 1, True)
    assert seen(looking, team, False) == [MODE] * team
    assert seen(looking, 1, True) == before == [0]
    assert seen(looking, team, True) == [0] * team


def test_the_mode_of_another_family_becomes_machine_code_without_an_assembler(monkeypatch: pytest.MonkeyPatch):
    """LLVM has none at run time: instructions as text, which stood here before, stopped the process on AArch64."""
    monkeypatch.setattr(subnormals, "_family", lambda: "arm")
    assert "asm" not in flushing("a", "b", WORDS) and "aarch64.set.fpcr" in flushing("a", "b", WORDS)
    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()
    machine = llvm.Target.from_triple("aarch64-unknown-linux-gnu").create_target_machine()
    found = machine.emit_assembly(llvm.parse_assembly(flushing("a", "b", WORDS)))
    assert [line.split()[0] for line in found.splitlines() if "FPCR" in line] == ["mrs", "msr", "msr"]


def test_numpy_sees_subnormal_numbers_between_native_calls(looking: Program):
    seen(looking, 2, False)
    assert np.all(np.full(5, TINY, np.float32) * np.float32(0.25) > 0)


# ---------------------------------------------------------------- long runs


def switched_off() -> tuple[gc.Model, np.ndarray]:
    """A gradient that is 0 after some steps: what Adam remembers of it falls by a tenth a step, forever."""
    x, w = gc.input("x", ("n", 3)), gc.param("w", (3,), 1.0)
    return (lambda **more: gc.Model(loss=gc.mean(gc.relu(x * w) ** 2), **more)), np.ones((8, 3), np.float32)


def subnormal(*arrays: np.ndarray) -> int:
    return sum(int(np.count_nonzero((x != 0) & (np.abs(x) < TINY))) for x in arrays)


def states_after(model: gc.Model, data: np.ndarray, threads: int) -> np.ndarray:
    model.fit(data, optimizer=gc.Adam(0.2), steps=1000, batch_size=4, threads=threads)
    [state] = model.state.rules.values()
    return np.concatenate([model.params.flat, state.values])


def test_no_subnormal_number_is_left_after_a_long_run_and_threads_change_no_bit():
    make, data = switched_off()
    flushed, kept = states_after(make(), data, 1), states_after(make(subnormals=True), data, 1)
    assert subnormal(flushed) == 0 and subnormal(kept) > 0
    assert np.array_equal(flushed, states_after(make(), data, 2))
    assert np.array_equal(kept, states_after(make(subnormals=True), data, 2))
    assert np.array_equal(flushed, np.where(np.abs(kept) < TINY, 0, kept))
    sweep = make().sweep(data, optimizer=gc.Adam([0.2, 0.1]), steps=1000, batch_size=4)
    assert subnormal(sweep.copies.states) == 0
    sweep = make(subnormals=True).sweep(data, optimizer=gc.Adam([0.2, 0.1]), steps=1000, batch_size=4)
    assert subnormal(sweep.copies.states) > 0


# ---------------------------------------------------------------- what else knows of it


def test_the_argument_reaches_the_program_and_is_saved(tmp_path):
    x = gc.input("x", ("n",))
    with in_python(Plain()):
        for wanted in (False, True):
            model = gc.Model(2 * x, subnormals=wanted)
            again = gc.Model.load(model.save(tmp_path / f"{wanted}") or tmp_path / f"{wanted}")
            f = gc.compile(2 * x, x, subnormals=wanted)
            told = [getattr(p, "subnormals", False) for p in (f._compiled.program, copy.copy(f)._compiled.program)]
            assert told == [wanted] * 2 and again._core.subnormals is wanted


def test_the_check_of_a_program_takes_a_flushed_value_for_none_of_its_faults():
    x = gc.input("x", ("n",))
    feed = {x.node: np.array([3e-38, 2e-38], np.float32)}
    for y, factor in ((x * 1e-3, 1.0), (x * 1e-3 * 1e30, 1e30)):
        exact = evaluate([y.node], feed)[0]
        graphs = [(lambda node=y.node: [node], feed)] * 2
        flushed = (feed[x.node] * np.float64(1e-3) * 0 * factor).astype(np.float32)
        assert judge([flushed], graphs, PRECISIONS["float32"]).difference is None
        assert judge([exact], graphs, PRECISIONS["float32"]).difference is None
    usual = {x.node: np.array([1.0, 2e-38], np.float32)}
    graphs = [(lambda: [(x * 1e-3).node], usual)] * 2
    wrong = np.array([2e-3, 0.0])
    assert judge([wrong], graphs, PRECISIONS["float32"]).difference is not None
