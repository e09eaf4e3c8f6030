"""The processor that programs are made for: this host's, or what NUMBA_CPU_NAME and NUMBA_CPU_FEATURES say.

Numba makes machine code by these two variables; vectors, tables in registers and the key of the code cache follow them,
too, so that programs for an older processor can be made, and tried, on a newer one.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Mapping

import llvmlite.binding as llvm

NAME, FEATURES = "NUMBA_CPU_NAME", "NUMBA_CPU_FEATURES"

WIDE, NARROW = "avx512f", "prefer-256-bit"
"""Where there are vectors of 64 bytes, LLVM prefers those of 32 for Intel's processors, which were slower for a while
after an instruction of the others. Products take whole vectors anyway, so that loops gain what theirs do."""


def name() -> str:
    """The processor's name, such as znver4."""
    return os.environ.get(NAME) or _own_name()


@functools.cache
def _own_name() -> str:
    """LLVM is asked once: it answers one thread at a time, and another one may be long."""
    return llvm.get_host_cpu_name()


@functools.cache
def features() -> Mapping[str, bool]:
    """Which instructions it has."""
    asked = os.environ.get(FEATURES)
    if asked is None:
        return {} if os.environ.get(NAME) == "generic" else dict(llvm.get_host_cpu_features())
    return {word[1:]: word[0] == "+" for word in asked.split(",") if word[:1] in ("+", "-")}


def flags() -> str:
    """The instructions, as LLVM is told."""
    return _told(features())


def wide_flags() -> str:
    """The instructions, and that loops may take the widest vectors."""
    return _told({**features(), NARROW: False} if features().get(WIDE) else features())


def _told(features: Mapping[str, bool]) -> str:
    return ",".join(f"{'+' if there else '-'}{word}" for word, there in sorted(features.items()))


def described() -> str:
    """Triple, name and instructions, as the code generator sees them."""
    return f"{triple()} {name()} {wide_flags()}"


@functools.cache
def triple() -> str:
    """Architecture and system, such as x86_64-unknown-linux-gnu."""
    return llvm.get_process_triple()
