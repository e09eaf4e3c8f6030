"""Blocks that wait for one another do wait, in the machine code that runs: seen without a GPU.

An H100 trained wrongly because the load in the waiting loop had no side effects and the loop was emptied by the
compiler; that fault is planted here.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import replace

import pytest

from graphc.cuda import dialect, numba_cuda
from graphc.cuda.compiler import compile_program
from graphc.emit.cuda.program import CudaProgram
from tests import cuda_programs
from tests import cuda_table as table
from tests.cuda_lint import lint
from tests.cuda_machine_code import arrivals_without_wait, careless_assembly, disassembled

pytestmark = pytest.mark.cuda
WAITING = table.waiting()


@pytest.mark.parametrize("arch", table.ARCHITECTURES)
@pytest.mark.parametrize(("name", "tier"), WAITING, ids=str)
def test_every_arrival_is_followed_by_a_loop_that_reads_what_other_blocks_write(name, tier, arch, tmp_path):
    program = table.program(name, tier)
    lines = disassembled(table.images(name, tier)[arch]["train"].code, tmp_path)
    barriers = program.text.count("arrive(S")
    assert sum("RED" in line for line in lines) >= barriers > 2
    assert arrivals_without_wait(lines) == []


@pytest.mark.parametrize(("name", "tier"), [c for c in table.CASES if c not in WAITING], ids=str)
def test_no_other_kernel_waits_for_another_block(name, tier):
    program = table.program(name, tier)
    assert "arrive(" not in program.text and not any(k.cooperative for k in program.kernels)


OLD = {"arrive(counter, U(0))": "cuda.atomic.add(counter, 0, 1)", "acquire(counter, U(0))": "cuda.ldcv(counter, 0)"}


def with_the_old_fault(program: CudaProgram) -> CudaProgram:
    text = program.text
    for today, before in OLD.items():
        assert today in text
        text = text.replace(today, before)
    return replace(program, text=text)


def test_a_loop_that_the_compiler_has_emptied_is_found(tmp_path):
    right, wrong = cuda_programs.saxpy(), with_the_old_fault(cuda_programs.saxpy())
    for program, expected in ((right, 0), (wrong, 1)):
        lines = disassembled(compile_program(program, "sm_90")["saxpy"].code, tmp_path)
        assert len(arrivals_without_wait(lines)) == expected
    assert lint(right.text) == [] and len(lint(wrong.text)) == 2


def llvm_of(program: CudaProgram, monkeypatch: pytest.MonkeyPatch) -> str:
    nvvm = importlib.import_module("numba.cuda.cudadrv.nvvm")
    seen: list[str] = []
    compile_ir: Callable = nvvm.compile_ir

    def note(llvmir, **options):
        seen.extend([llvmir] if isinstance(llvmir, str) else llvmir)
        return compile_ir(llvmir, **options)

    monkeypatch.setattr(nvvm, "compile_ir", note)
    function = dialect.execute(program.text, program.name, numba_cuda.names())["saxpy"]
    numba_cuda.assembly(function, [kind for _, kind in cuda_programs.SAXPY_ARGUMENTS], (9, 0), 32)
    return "\n".join(seen)


def test_assembly_that_touches_memory_has_side_effects(monkeypatch):
    right, wrong = cuda_programs.saxpy(), with_the_old_fault(cuda_programs.saxpy())
    text = llvm_of(right, monkeypatch)
    assert "ld.acquire.gpu" in text and "red.release.gpu" in text and careless_assembly(text) == []
    assert careless_assembly(llvm_of(wrong, monkeypatch)) != []
