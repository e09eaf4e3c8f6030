"""Units of a program -> object files: LLVM's passes and machine code, for several units at a time.

llvmlite lets one thread at a time into LLVM. The two calls that take nearly all of the time are safe beside others when
each works on a module of a context of its own; they are made past llvmlite's lock.
"""

from __future__ import annotations

import contextlib
import ctypes
import math
import sys
from collections.abc import Sequence
from queue import Empty, PriorityQueue
from types import TracebackType
from typing import Any

import llvmlite.binding as llvm
from llvmlite.binding import ffi

from graphc.native.machines import widest
from graphc.native.stack import Elsewhere
from graphc.native.units import BY_HAND_MARK
from graphc.primitives.vector_math import vector_abi
from graphc.primitives.vector_math.functions import ABI_FUNCTIONS

Unit = tuple[str, ...]
"""Texts of LLVM modules that are linked and optimised as one."""

MOST = 16
"""Threads: a program has few units that take long, and to prepare one takes 0.2 ms."""

SUM = "fadd reassoc"
"""A sum in a text, whose terms vectors add in an order of theirs. Loops of wide vectors end in narrower ones, and how
narrow depends on whether their length is known; so units with sums keep to vectors that LLVM prefers."""

SOON = 2e-4
"""Seconds after which Python's lock is passed on while units are written and compiled."""


class Works:
    """LLVM at work on units that are given to it one after the other, by a thread for each machine but one; the caller
    takes that one when it has no more to give. The longest unit that waits is the next.

    Used as a context, whose end is that of all threads. Whoever gives units holds Python's lock, for which the others
    would wait five milliseconds whenever LLVM returns: it is passed on sooner meanwhile.
    """

    def __init__(self, machines: Sequence[llvm.TargetMachine]) -> None:
        self._machines, self._others = [*machines], list[Elsewhere[None]]()
        self._waiting: PriorityQueue[tuple[float, int, Unit]] = PriorityQueue()
        self._found: dict[int, bytes] = {}
        self._given = 0

    def __enter__(self) -> Works:
        self._interval = sys.getswitchinterval()
        sys.setswitchinterval(min(SOON, self._interval))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        sys.setswitchinterval(self._interval)
        if kind is not None:
            with contextlib.suppress(Empty):
                while True:
                    self._waiting.get_nowait()
        self._close()
        for other in self._others:
            other.wait()

    def add(self, unit: Unit) -> None:
        """One more unit."""
        self._waiting.put((-sum(map(len, unit)), self._given, unit))
        self._given += 1
        if len(self._others) + 1 < len(self._machines):
            machine = self._machines[len(self._others)]
            self._others.append(Elsewhere(lambda: self._work(machine)))

    def images(self) -> list[bytes]:
        """The object files of all units, in the order in which they were given.

        Raises
        ------
        RuntimeError
            When LLVM refuses a text.
        """
        self._close()
        self._work(self._machines[-1])
        for other in self._others:
            other.wait()
        for other in self._others:
            other.result()
        return [self._found[t] for t in range(self._given)]

    def _work(self, machine: llvm.TargetMachine) -> None:
        while (waiting := self._waiting.get())[2]:
            self._found[waiting[1]] = object_file(waiting[2], machine)

    def _close(self) -> None:
        """Nobody waits for units any longer."""
        for t in range(len(self._machines)):
            self._waiting.put((math.inf, t, ()))


def compiled(units: Sequence[Unit], machines: Sequence[llvm.TargetMachine]) -> list[bytes]:
    """The object file of every unit, by one thread for each machine.

    Raises
    ------
    RuntimeError
        When LLVM refuses a text.
    """
    with Works(machines) as works:
        for unit in units:
            works.add(unit)
        return works.images()


def object_file(unit: Unit, machine: llvm.TargetMachine) -> bytes:
    """Machine code of one unit, made in a context of its own."""
    machine = machine if any(SUM in text for text in unit) else widest(machine)
    with llvm.create_context() as context, linked(unit, context) as module:
        (tidy if unit[0].startswith(BY_HAND_MARK) else optimize)(module, machine)
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
    _run(builder.getModulePassManager(), module, builder)
    vector_abi.complete(module, ABI_FUNCTIONS, lambda library: optimize(library, machine))


def tidy(module: llvm.ModuleRef, machine: llvm.TargetMachine) -> None:
    """The pass that finds something to do in functions that are written in vectors, whose loops stay as they are: the
    whole pipeline takes 27 ms for a product of 64 columns, whose inner loops it makes an instruction shorter of 24."""
    builder = llvm.create_pass_builder(machine, llvm.create_pipeline_tuning_options(speed_level=2))
    passes = llvm.create_new_module_pass_manager()
    passes.add_simplify_cfg_pass()
    _run(passes, module, builder)


def _run(passes: llvm.ModulePassManager, module: llvm.ModuleRef, builder: llvm.PassBuilder) -> None:
    try:
        _past_the_lock("LLVMPY_RunNewModulePassManager")(passes, module, builder)
    finally:  # llvmlite keeps them for ever: the class that would free them is not asked first
        ffi.lib.LLVMPY_DisposeNewModulePassManger(passes)
        passes.detach()


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
