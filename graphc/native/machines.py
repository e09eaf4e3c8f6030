"""LLVM's machines: the processor that programs are made for, as the code generator sees it."""

from __future__ import annotations

import weakref

import llvmlite.binding as llvm

from graphc.primitives import host

_X86 = ("x86", "i386", "i486", "i586", "i686")
_beside: weakref.WeakKeyDictionary[llvm.TargetMachine, llvm.TargetMachine] = weakref.WeakKeyDictionary()


def machine(flags: str) -> llvm.TargetMachine:
    """One for a thread that compiles, with the instructions that ``flags`` tell of."""
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    model = "static" if host.triple().startswith(_X86) else "default"  # machine code that is loaded where it runs
    options = {"cpu": host.name(), "features": flags, "opt": 3, "reloc": model, "codemodel": "jitdefault"}
    return llvm.Target.from_triple(host.triple()).create_target_machine(**options, jit=True)


def widest(of: llvm.TargetMachine) -> llvm.TargetMachine:
    """The same thread's machine for loops that take the widest vectors there are."""
    if host.flags() == host.wide_flags():
        return of
    if of not in _beside:
        _beside[of] = machine(host.wide_flags())
    return _beside[of]
