"""The benchmark networks as CUDA programs, and the table of what their kernels take: ``python -m tests.cuda_table``."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache

import pytest

import graphc as gc
from graphc.cuda import selection
from graphc.cuda.compiler import Image, compile_program
from graphc.cuda.emulator import Emulator
from graphc.emit.cuda.program import CudaProgram
from graphc.facade.devices import cuda_plan
from graphc.lower.tiers import Tier
from tests.benchmarks import graphc_peer as peer
from tests.benchmarks.workloads import WORKLOADS, Workload

CASES: tuple[tuple[str, Tier | None], ...] = (
    ("W1", None), ("W1", "B"), ("W2", None), ("W2", "B"), ("W3", None), ("W3", "B"), ("W4", None),
    ("W5", None), ("W5", "B"), ("W9", None), ("W10", None),
)  # fmt: skip
ARCHITECTURES = ("sm_80", "sm_90")
PAGE = "docs/cuda_kernels.md"


@dataclass(frozen=True)
class Line:
    """One kernel for one architecture."""

    workload: str
    tier: str
    kernel: str
    arch: str
    registers: int
    shared: int
    spilled: int
    doubles: int
    divisions: int


def declared(w: Workload) -> gc.Model:
    """The network of a workload with its loss, at its initial weights."""
    output = peer.network(w, gc.input("X", ("n", w.sizes[0])))
    return gc.Model(output=output, loss=peer.loss(w, output), dtype=w.dtype)


@lru_cache
def program(name: str, tier: Tier | None) -> CudaProgram:
    """The training program of a workload, in the tier that is chosen for it on a GPU like an H100, or in another."""
    w = WORKLOADS[name]
    with selection.use(Emulator(), tier or ("A" if w.copies > 1 else None)):
        return cuda_plan(declared(w)._core, gc.Adam() if w.opt == "adam" else peer.optimizer(w), w.batch).program


def waiting() -> list[tuple[str, Tier | None]]:
    """The cases whose blocks wait for one another."""
    return [case for case in CASES if program(*case).tier == "B"]


@contextmanager
def typed_once() -> Iterator[None]:
    """Numba types and lowers each kernel of one program once for all architectures: nine tenths of the time, and the
    same for each, which :mod:`tests.test_cuda_kernels` shows."""
    compiler = importlib.import_module("numba.cuda.compiler")
    everything, found = compiler._compile_pyfunc_with_fixup, {}

    def once(function: Callable, *args: object, **options: object) -> object:
        if function.__name__ not in found:
            found[function.__name__] = everything(function, *args, **options)
        return found[function.__name__]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(compiler, "_compile_pyfunc_with_fixup", once)
        yield


@lru_cache
def images(name: str, tier: Tier | None) -> dict[str, Image]:
    """The machine code of a workload's kernels for each architecture, made by NVIDIA's compilers."""
    with typed_once():
        return {arch: compile_program(program(name, tier), arch) for arch in ARCHITECTURES}


def lines(name: str, tier: Tier | None) -> list[Line]:
    """What the kernels of a workload take."""
    found, used = [], program(name, tier).tier
    for arch, image in images(name, tier).items():
        for kernel, compiled in image.items():
            r = compiled.report
            shared = r.shared + r.dynamic
            found.append(Line(name, used, kernel, arch, r.registers, shared, r.spilled, r.doubles, r.divisions))
    return found


def table() -> str:
    """The table of the page: the most of all kernels of a program; registers and bytes for both architectures."""
    rows = ["| network | tier | kernels | registers sm_80, sm_90 | shared memory | spills | f64 | 64-bit divisions |",
            "|---|---|---|---|---|---|---|---|"]  # fmt: skip
    for name, tier in CASES:
        found = lines(name, tier)
        registers = [max(x.registers for x in found if x.arch == arch) for arch in ARCHITECTURES]
        total = [sum(getattr(x, word) for x in found) for word in ("spilled", "doubles", "divisions")]
        shared = max(x.shared for x in found)
        title = f"{name} ({WORKLOADS[name].title})"
        count = len(found) // len(ARCHITECTURES)
        cells = (title, found[0].tier, count, ", ".join(map(str, registers)), f"{shared:,} B", *total)
        rows.append(f"| {' | '.join(map(str, cells))} |")
    return "\n".join(rows)


if __name__ == "__main__":
    print(table())
