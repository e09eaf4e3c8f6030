"""The kernels of the benchmark networks as machine code, within their budgets; needs no GPU."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import graphc as gc
from graphc.cuda import selection
from graphc.cuda.compiler import compile_program
from graphc.cuda.emulator import Emulator
from graphc.emit.cuda.functions import TEMPLATES
from graphc.emit.cuda.module import module_text
from graphc.emit.cuda.program import CudaKernel, CudaProgram
from graphc.facade.devices import cuda_plan
from tests import cuda_table as table
from tests.benchmarks.workloads import WORKLOADS
from tests.cuda_lint import lint
from tests.cuda_machine_code import disassembled

pytestmark = pytest.mark.cuda
BUDGET = {"A": 80, "B": 96, "C": 96, "D": 96}  # registers a thread
BOOKS = {"train": 4, "update": 4}  # double-precision instructions of one thread: it adds up weight and loss of an epoch

# Another process begins to compile what waits (test_cuda_barriers) while this one compiles what does not: each then
# finds in the cache what the other has compiled, for this one takes what waits last, and the last of it first.
ORDER = [case for case in table.CASES if case not in table.waiting()] + table.waiting()[::-1]


@pytest.mark.parametrize(("name", "tier"), ORDER, ids=str)
def test_kernels_stay_within_their_budgets(name, tier):
    for line in table.lines(name, tier):
        assert (line.spilled, line.divisions) == (0, 0), line
        most = BOOKS.get(line.kernel, 0)
        assert line.doubles <= most or reduces_angles(name, tier, line.kernel), line
        assert line.registers <= BUDGET[line.tier], line
        assert line.shared <= (227 if line.tier == "A" else 48) * 1024, line


def reduces_angles(name: str, tier: str | None, kernel: str) -> bool:
    """NVIDIA's sine reduces arguments beyond 10^5 with a few doubles, which no ordinary argument meets."""
    body = table.program(name, tier).text.split(f"def {kernel}(")[1].split("\ndef ")[0]
    return "math.sin(" in body or "math.cos(" in body


def test_the_whole_training_of_w1_is_one_small_kernel():
    found = table.lines("W1", None)
    assert [line.kernel for line in found] == ["train", "train"]
    assert all(line.registers <= 80 and line.shared <= 17 * 1024 for line in found)


@pytest.mark.parametrize("arch", table.ARCHITECTURES)
def test_an_architecture_changes_nothing_but_what_nvidia_s_compilers_do(arch, tmp_path):
    """So a kernel may be typed and lowered once for all: compiled alone it is the same instructions."""
    alone = compile_program(table.program("W1", None), arch, folder=tmp_path)["train"]
    shared = table.images("W1", None)[arch]["train"]
    assert alone.report == shared.report
    without_names = [re.sub(r"_ZN\w+", "", "\n".join(disassembled(c.code, tmp_path))) for c in (alone, shared)]
    assert without_names[0] == without_names[1]


@pytest.mark.parametrize("tier", ["A", "B", "C"])
def test_matrix_products_of_a_rule_are_machine_code_in_single_precision(tier):
    with selection.use(Emulator(), tier):
        program = cuda_plan(table.declared(WORKLOADS["W1"])._core, gc.Muon(), 32).program
    assert lint(program.text) == []
    (kernel,) = [k for k in program.kernels if "of W0" in program.text.split(f"def {k.name}(")[1].split("\ndef ")[0]]
    report = compile_program(program, "sm_90")[kernel.name].report
    assert (report.spilled, report.divisions) == (0, 0) and report.registers <= 128
    assert report.doubles <= BOOKS.get(kernel.name, 0)


def test_the_published_table_is_what_the_compilers_say():
    page = (Path(__file__).parent.parent / table.PAGE).read_text()
    assert table.table() in page, "python -m tests.cuda_table gives the table of today"


def test_every_scalar_function_stays_in_single_precision():
    """All but the trigonometric ones, whose reduction of arguments beyond 10^5 takes a few doubles."""
    body, kernels = [], []
    for name, template in TEMPLATES.items():
        names = [x for t, x in enumerate("xyz") if f"{{{t}}}" in template]
        reads = [f"    {x} = M[U(e + U({32 * t}))]" for t, x in enumerate(names)]
        value = template.format(*names)
        body += [f"def k_{name}(M):", "    e = U(cuda.threadIdx.x)", *reads, f"    M[U(e + U(96))] = {value}", "", ""]
        kernels.append(CudaKernel(f"k_{name}", (("M", "float32*"),), 32))
    text = module_text("functions", "float32", {}, body)
    compiled = compile_program(CudaProgram("functions", text, "float32", "A", tuple(kernels)), "sm_90")
    doubles = {name.removeprefix("k_") for name, kernel in compiled.items() if kernel.report.doubles}
    assert doubles == {"sin", "cos", "tan"}
    assert not any(kernel.report.divisions or kernel.report.spilled for kernel in compiled.values())
