"""CUDA programs as machine code, without a GPU: what kernels take, the cache, the layout of their arguments."""

from __future__ import annotations

import ctypes
import importlib
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from graphc.cuda import cubin, dialect, libraries, numba_cuda
from graphc.cuda.compiler import capability_of, compile_program
from graphc.cuda.emulator import Emulator
from graphc.cuda.kernel_arguments import packed
from graphc.emit.cuda.program import CudaKernel
from graphc.errors import CompileError, MissingExtraError
from graphc.native.loader import statistics
from tests import cuda_programs

pytestmark = pytest.mark.cuda


@pytest.mark.parametrize("arch", ["sm_75", "sm_80", "sm_90", "sm_120"])
def test_kernels_compile_for_every_generation_and_say_what_they_take(arch):
    image = compile_program(cuda_programs.saxpy(), arch) | compile_program(cuda_programs.turn(), arch)
    assert list(image) == ["saxpy", "turn", "mix"]
    for kernel in image.values():
        assert kernel.code[:4] == b"\x7fELF"
        assert f".text.{kernel.entry}" in cubin.sections(kernel.code)
        assert 8 <= kernel.report.registers <= 40
        assert (kernel.report.spilled, kernel.report.doubles, kernel.report.divisions) == (0, 0, 0)
    assert [image[name].report.shared for name in image] == [0, 40, 0]
    assert image["turn"].report.dynamic == 40


CARELESS = """
def careless(x, n):
    s = cuda.shared.array(100, float64)
    t = cuda.threadIdx.x
    s[t] = x[t]*0.3
    cuda.syncthreads()
    x[t] = s[99 - t] + (t*n)//(n + 1)
"""


@pytest.mark.parametrize("arch", ["sm_80", "sm_90"])
def test_a_report_counts_double_precision_divisions_and_shared_memory(arch):
    """The kernel breaks the rules of the dialect on purpose: bare literals, bare integers."""
    program = cuda_programs.program(CARELESS, CudaKernel("careless", (("x", "float32*"), ("n", "uint32")), 100))
    report = compile_program(program, arch)["careless"].report
    assert report.doubles >= 3
    assert report.divisions >= 1
    assert report.shared == 800


def test_a_limit_of_registers_is_kept_by_spilling():
    terms = " + ".join(f"x[U(U({k}) + t)]*x[U(U({k + 1}) + U(t*t))]" for k in range(0, 80, 2))
    text = f"def wide(x):\n    t = U(cuda.threadIdx.x)\n    a = {terms}\n    cuda.syncthreads()\n    x[t] = a\n"
    program = cuda_programs.program(text, CudaKernel("wide", (("x", "float32*"),), 128))
    free = compile_program(program, "sm_90")["wide"].report
    bound = compile_program(program, "sm_90", registers=24)["wide"].report
    assert free.registers > 24 >= bound.registers


def compiled_anew(folder: Path, program, arch: str = "sm_90") -> int:
    before = statistics["compiled"]
    compile_program(program, arch, folder=folder)
    return statistics["compiled"] - before


def test_machine_code_is_compiled_once_and_anew_when_its_text_or_its_machine_changes(tmp_path):
    program = cuda_programs.turn()
    assert compiled_anew(tmp_path, program) == 2
    assert compiled_anew(tmp_path, program) == 0
    assert compiled_anew(tmp_path, replace(program, text=f"# a comment\n\n{program.text}")) == 0
    assert compiled_anew(tmp_path, replace(program, text=program.text.replace("U(13)", "U(14)"))) == 1
    assert compiled_anew(tmp_path, program, "sm_80") == 2
    first = compile_program(program, "sm_90", folder=tmp_path)["mix"]
    for file in tmp_path.glob("*.obj"):
        file.unlink()
    again = compile_program(program, "sm_90", folder=tmp_path)["mix"]
    assert first.report == again.report


def test_a_text_that_does_not_compile_is_a_defect_with_its_names():
    program = cuda_programs.program("def broken(x):\n    x[0] = y\n", CudaKernel("broken", (("x", "float32*"),), 32))
    with pytest.raises(CompileError) as error:
        compile_program(program, "sm_90")
    text = str(error.value)
    assert text.startswith("internal defect: kernel 'broken' of the generated program 'test' does not compile: ")
    assert "name 'y'" in text and text.endswith("please report it with the generated text")
    assert "\n" not in text


KINDS = ["numba.cuda.cudadrv.error.NvvmSupportError", "cuda.pathfinder.DynamicLibNotFoundError"]


@pytest.mark.parametrize("kind", KINDS)
def test_a_library_of_the_compilers_that_is_nowhere_is_named(kind, monkeypatch, tmp_path):
    module, _, name = kind.rpartition(".")
    error = getattr(importlib.import_module(module), name)

    def nowhere(*_):
        raise error("libNVVM is not available")

    monkeypatch.setattr(numba_cuda, "assembly", nowhere)
    with pytest.raises(MissingExtraError) as caught:
        compile_program(cuda_programs.saxpy(), "sm_90", folder=tmp_path)
    assert str(caught.value) == str(libraries.no_library("libNVVM is not available"))


def test_libraries_of_a_toolkit_need_no_package(monkeypatch, tmp_path):
    """Where they lie is the compilers' business: the packages of NVIDIA's libraries are not asked for."""
    found = libraries._found
    monkeypatch.setattr(libraries, "_found", lambda package: "nvidia" not in package and found(package))
    assert compile_program(cuda_programs.saxpy(), "sm_90", folder=tmp_path)["saxpy"].code[:4] == b"\x7fELF"


def test_arguments_are_packed_as_the_machine_code_reads_them():
    """PTX declares every parameter of an entry with its size."""
    program = cuda_programs.saxpy()
    function = dialect.execute(program.text, program.name, numba_cuda.names())["saxpy"]
    kinds = [kind for _, kind in cuda_programs.SAXPY_ARGUMENTS]
    ptx, _ = numba_cuda.assembly(function, kinds, (9, 0), 32)
    declared = re.findall(r"\.param \.(?:\w)(\d+)(?: \.ptr[\w .]*)? \w+_param_\d+", ptx)
    machine = Emulator()
    arrays = {"x": machine.array(3, "f4"), "y": machine.array(3, "f4"), "counter": machine.array(1, "i4")}
    _, types = packed(cuda_programs.SAXPY_ARGUMENTS, arrays | {"a": 1.0, "n": 3})
    assert [int(bits) // 8 for bits in declared] == [ctypes.sizeof(kind) for kind in types]
    assert ".maxntid 32" in ptx and ".minnctapersm 1" in ptx


def test_the_name_of_an_architecture_says_its_capability():
    assert [capability_of(arch) for arch in ("sm_75", "sm_90", "sm_100", "sm_120")] == [
        (7, 5),
        (9, 0),
        (10, 0),
        (12, 0),
    ]


def test_the_emulator_runs_beside_numba_cuda():
    machine = Emulator()
    words = machine.array(4, np.uint64)
    machine.upload(words, [1, 2, 3, 4])
    machine.launch(machine.load(cuda_programs.turn())["mix"], 1, {"words": words, "n": 4})
    assert words.numpy()[0] == (2654435761 << 7 | 2654435761 >> 25) % 2**32
