"""Subnormal numbers: native code flushes them to zero, in its own threads and for its own time only.

On many processors an operation on a subnormal number takes a hundred times as long as another one, and a run that has
converged is full of them: gradients, and squares of gradients in the states of Adam.  They are below 1.2e-38 in float32
(2.2e-308 in float64), far below what rounding leaves of any parameter.  So a native call sets the processor's mode
before its first instruction and puts the caller's back behind its last: a few lines of machine code around the call,
which no signal and no Python exception can part from it.
"""

from __future__ import annotations

import functools
import platform
from collections.abc import Sequence

_FTZ, _DAZ = 1 << 15, 1 << 6  # bits of MXCSR (Intel 64 and IA-32 manual, volume 1, 10.2.3)
_FZ = 1 << 24  # bit of FPCR (Arm ARM, C5.2.8): results and operands
_TYPES = {"int32": "i32", "uint32": "i32", "int64": "i64", "uint64": "i64", "float32": "float", "float64": "double"}


@functools.cache
def _family() -> str:
    machine = platform.machine().lower()
    return {"x86_64": "x86", "amd64": "x86", "aarch64": "arm", "arm64": "arm"}.get(machine, "")


_DECLARATIONS = {
    "x86": "declare void @llvm.x86.sse.stmxcsr(ptr)\ndeclare void @llvm.x86.sse.ldmxcsr(ptr)",
    "arm": "declare i64 @llvm.aarch64.get.fpcr()\ndeclare void @llvm.aarch64.set.fpcr(i64)",
}


def _entering() -> str:
    """LLVM text that keeps the caller's mode and sets that of native code; nothing for an unknown processor."""
    if _family() == "x86":
        return f"""
  %kept = alloca i32
  %set = alloca i32
  call void @llvm.x86.sse.stmxcsr(ptr %kept)
  %before = load i32, ptr %kept
  %flushing = or i32 %before, {_FTZ | _DAZ}
  store i32 %flushing, ptr %set
  call void @llvm.x86.sse.ldmxcsr(ptr %set)
"""
    if _family() == "arm":
        return f"""
  %before = call i64 @llvm.aarch64.get.fpcr()
  %flushing = or i64 %before, {_FZ}
  call void @llvm.aarch64.set.fpcr(i64 %flushing)
"""
    return ""


def _leaving() -> str:
    """LLVM text that puts the caller's mode back, as it was before."""
    if _family() == "x86":
        return "  call void @llvm.x86.sse.ldmxcsr(ptr %kept)\n"
    if _family() == "arm":
        return "  call void @llvm.aarch64.set.fpcr(i64 %before)\n"
    return ""


def llvm_type(word: str) -> str:
    """The type of an argument in LLVM's text: every pointer is one."""
    return "ptr" if word.endswith("*") else _TYPES[word]


def flushing(name: str, entry: str, words: Sequence[str]) -> str:
    """LLVM text of a function ``name`` that calls ``entry`` with the same arguments in the mode of native code.

    ``words`` are the types of the arguments. The call is not inlined: arithmetic must not move out of it.
    """
    kinds = ["ptr", "ptr", *map(llvm_type, words)]
    arguments = ", ".join(f"{kind} %a{t}" for t, kind in enumerate(kinds))
    return f"""{_DECLARATIONS.get(_family(), "")}
declare i32 @{entry}({", ".join(kinds)})
define i32 @{name}({arguments}) {{
{_entering()}
  %status = call i32 @{entry}({arguments}) noinline
{_leaving()}
  ret i32 %status
}}
"""
