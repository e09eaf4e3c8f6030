"""Units of a program -> object files: LLVM's passes and machine code, for several units at a time.

llvmlite lets one thread at a time into LLVM. The two calls that take nearly all of the time are safe beside others when
each works on a module of a context of its own; they are made past llvmlite's lock.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from typing import Any

import llvmlite.binding as llvm
from llvmlite.binding import ffi

from graphc.native.stack import together
from graphc.primitives.vector_math import vector_abi
from graphc.primitives.vector_math.functions import ABI_FUNCTIONS

Unit = tuple[str, ...]
"""Texts of LLVM modules that are linked and optimised as one."""


def compiled(units: Sequence[Unit], machines: Sequence[llvm.TargetMachine]) -> list[bytes]:
    """The object file of every unit, by one thread for each machine.

    Raises
    ------
    RuntimeError
        When LLVM refuses a text.
    """
    waiting = sorted(range(len(units)), key=lambda t: sum(map(len, units[t])))  # the longest comes first
    free, found = list(machines), {}

    def work() -> None:
        machine = free.pop()
        while waiting:
            at = _taken(waiting)
            if at is not None:
                found[at] = object_file(units[at], machine)

    together(work, len(machines))
    return [found[t] for t in range(len(units))]


def _taken(waiting: list[int]) -> int | None:
    try:
        return waiting.pop()
    except IndexError:  # another thread was faster
        return None


def object_file(unit: Unit, machine: llvm.TargetMachine) -> bytes:
    """Machine code of one unit, made in a context of its own."""
    with llvm.create_context() as context, linked(unit, context) as module:
        optimize(module, machine)
        return _emitted(module, machine)


def linked(texts: Sequence[str], context: llvm.ContextRef | None = None) -> llvm.ModuleRef:
    """One verified module of several."""
    whole, *others = [llvm.parse_assembly(text, context) for text in texts]
    for module in others:
        whole.link_in(module)
    whole.verify()
    return whole


def optimize(module: llvm.ModuleRef, machine: llvm.TargetMachine) -> None:
    """Run LLVM's pipeline in place, once.

    No unrolling: a short inner loop unrolled before the vectoriser sees it is lost for vector code (8 times slower on
    a bias over rows of 16), and unrolled copies are what most of LLVM's time goes to.
    """
    tuning = llvm.create_pipeline_tuning_options(speed_level=2)
    tuning.loop_vectorization = True
    tuning.loop_interleaving = False
    tuning.loop_unrolling = False
    tuning.slp_vectorization = False
    builder = llvm.create_pass_builder(machine, tuning)
    _past_the_lock("LLVMPY_RunNewModulePassManager")(builder.getModulePassManager(), module, builder)
    vector_abi.complete(module, ABI_FUNCTIONS, lambda library: optimize(library, machine))


def _emitted(module: llvm.ModuleRef, machine: llvm.TargetMachine) -> bytes:
    """What ``machine.emit_object(module)`` gives."""
    with ffi.OutputString() as reason:
        buffer = _past_the_lock("LLVMPY_TargetMachineEmitToMemory")(machine, module, 1, reason)
        if not buffer:
            raise RuntimeError(str(reason))
    try:
        return ctypes.string_at(ffi.lib.LLVMPY_GetBufferStart(buffer), ffi.lib.LLVMPY_GetBufferSize(buffer))
    finally:
        ffi.lib.LLVMPY_DisposeMemoryBuffer(buffer)


def _past_the_lock(name: str) -> Any:
    """A function of LLVM's library as ctypes calls it; with the lock where llvmlite keeps no other."""
    function = getattr(ffi.lib, name)
    return getattr(function, "_cfn", function)
