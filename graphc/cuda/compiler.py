"""A program's text -> machine code of a GPU, without a GPU: one image a kernel, kept in the cache of compiled code.

>>> image = compile_program(program, "sm_90")                               # doctest: +SKIP
>>> image["forward"].report.registers                                       # doctest: +SKIP
40
"""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

from graphc import __version__
from graphc.cuda import cubin, dialect, libraries, numba_cuda
from graphc.cuda.cubin import Report
from graphc.emit.cuda.program import CudaKernel, CudaProgram
from graphc.errors import CompileError
from graphc.native import cache
from graphc.native.loader import statistics
from graphc.records import record

_compiling = threading.Lock()  # typing and lowering share tables


@record(frozen=True)
class CompiledKernel:
    """Machine code of one kernel: an ELF file, the name of the kernel in it, and what it takes."""

    entry: str
    code: bytes
    report: Report


Image = Mapping[str, CompiledKernel]


def compile_program(
    program: CudaProgram, arch: str, *, registers: int | None = None, folder: str | Path | None = None
) -> Image:
    """Machine code of all kernels of a program, by name.

    Parameters
    ----------
    program
        Text and kernels.
    arch
        Architecture, such as ``"sm_90"``.
    registers
        The most registers a thread; default: as many as the compiler likes.
    folder
        Where machine code is kept; default: as for programs of the CPU.

    Raises
    ------
    CompileError
        When the text does not compile: a defect of graphc.
    MissingExtraError
        When a package of the extra ``cuda13`` is missing.
    """
    store = cache.open_store(folder)
    return {k.name: _kernel(program, k, arch, registers, store) for k in program.kernels}


def capability_of(arch: str) -> tuple[int, int]:
    """The version of the instruction set: "sm_90" -> (9, 0), "sm_120" -> (12, 0)."""
    number = arch.removeprefix("sm_")
    return int(number[:-1]), int(number[-1])


def _kernel(
    program: CudaProgram, kernel: CudaKernel, arch: str, registers: int | None, store: cache.Store | None
) -> CompiledKernel:
    key = key_of(program, kernel, arch, registers)
    kept = store.get(key) if store else None
    statistics["compiled" if kept is None else "loaded_from_cache"] += 1
    if kept is not None:
        return _unpack(kept)
    libraries.require_compiler()
    with _compiling:
        compiled = _compile(program, kernel, arch, registers)
    if store:
        store.put(key, _pack(compiled))
    return compiled


def key_of(program: CudaProgram, kernel: CudaKernel, arch: str, registers: int | None) -> str:
    """Hash of everything that the machine code of a kernel depends on."""
    here = Path(__file__).parent
    own = [(here / name).read_text() for name in ("numba_cuda.py", "compiler.py", "cubin.py")]
    text = dialect.text_of(program, kernel.name)
    facts = ["cuda", text, asdict(kernel), arch, registers, __version__, numba_cuda.versions(), own]
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()


def _compile(program: CudaProgram, kernel: CudaKernel, arch: str, registers: int | None) -> CompiledKernel:
    """Text -> PTX (numba-cuda) -> machine code (nvJitLink)."""
    from cuda.pathfinder import DynamicLibNotFoundError  # pyright: ignore[reportMissingImports]
    from numba.core.errors import NumbaError

    kinds = [kind for _, kind in kernel.arguments]
    threads = kernel.threads if registers is None else None
    function = dialect.execute(program.text, program.name, numba_cuda.names())[kernel.name]
    try:
        ptx, entry = numba_cuda.assembly(function, kinds, capability_of(arch), threads)
        code, log = _link(ptx, arch, registers)
    except (ImportError, DynamicLibNotFoundError) as error:
        raise libraries.no_library(str(error).strip().splitlines()[0]) from None
    except (NumbaError, RuntimeError) as error:  # RuntimeError: NVVM's or the linker's complaint
        raise _defect(program, kernel, error) from None
    return CompiledKernel(entry, code, cubin.report(log, ptx, code, entry, kernel.shared, capability_of(arch)))


def _link(ptx: str, arch: str, registers: int | None) -> tuple[bytes, str]:
    """Machine code of PTX, and what ptxas says about it."""
    from cuda.core import Linker, LinkerOptions, ObjectCode  # pyright: ignore[reportMissingImports]

    options = LinkerOptions(arch=arch, ptxas_options=["-v"], max_register_count=registers)
    linker = Linker(ObjectCode.from_ptx(ptx.encode()), options=options)
    code = bytes(linker.link("cubin").code)
    return code, linker.get_info_log()


def _defect(program: CudaProgram, kernel: CudaKernel, error: Exception) -> CompileError:
    reason = str(error).strip().splitlines()
    detail = next((line for line in reason if line and not line.startswith("Failed in")), "no reason given")
    return CompileError(
        f"internal defect: kernel {kernel.name!r} of the generated program {program.name!r} does not compile: "
        f"{detail}; please report it with the generated text"
    )


def _pack(compiled: CompiledKernel) -> bytes:
    head = {"entry": compiled.entry, "report": compiled.report.asdict()}
    return json.dumps(head).encode() + b"\n" + compiled.code


def _unpack(content: bytes) -> CompiledKernel:
    line, code = content.split(b"\n", 1)
    head = json.loads(line)
    return CompiledKernel(head["entry"], code, Report(**head["report"]))
