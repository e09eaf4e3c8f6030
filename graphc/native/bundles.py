"""Calls between native programs: an entry that takes its arguments from a bundle, a row of eight bytes each.

Programs have as many arguments as they have inputs. A program that calls others by their addresses, and is compiled
once for all of them, can write no such call; so every entry has a twin that takes the address of its arguments.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from graphc.native import stack
from graphc.native.buffers import address
from graphc.native.loader import Program, statistics
from graphc.native.subnormals import llvm_type

_PROTOTYPE = ctypes.CFUNCTYPE(ctypes.c_int32, ctypes.c_void_p)


def bundled(name: str, entry: str, words: Sequence[str]) -> str:
    """LLVM text of a function ``name`` that calls ``entry`` with the arguments that lie where its own one points.

    ``words`` are the types of the arguments. The call is not inlined: the machine code is there once.
    """
    kinds = ["ptr", "ptr", *map(llvm_type, words)]
    loads = "".join(
        f"  %p{t} = getelementptr i64, ptr %bundle, i64 {t}\n  %a{t} = load {kind}, ptr %p{t}\n"
        for t, kind in enumerate(kinds[2:])
    )
    given = ", ".join(["ptr %result", "ptr %exception", *(f"{kind} %a{t}" for t, kind in enumerate(kinds[2:]))])
    return f"""declare i32 @{entry}({", ".join(kinds)})
define i32 @{name}(ptr %bundle) {{
  %result = alloca i64
  %exception = alloca ptr
{loads}  %status = call i32 @{entry}({given}) noinline
  ret i32 %status
}}
"""


class Bundled:
    """An entry of a program with its bundle: ``values`` are the arguments of the next call, pointers and whole numbers,
    in memory that stays where it is."""

    def __init__(self, program: Program, entry: str, arguments: Sequence[int]) -> None:
        self.values, self._name = np.array(arguments, np.int64), f"{program.name}.{entry}"
        self._native, self._place = _PROTOTYPE(program.bundled(entry)), address(self.values)
        self._program = program

    def __call__(self) -> None:
        """Run it."""
        statistics["native_calls"] += 1
        call, place = self._native, self._place
        status = call(place) if stack.is_roomy() else stack.with_room(lambda: call(place))
        if status:
            raise RuntimeError(f"{self._name} returned status {status}")


def bundle(program: Program, entry: str, arguments: Sequence[int]) -> NDArray:
    """What :func:`graphc.primitives.calls.invoke` takes: where the twin is, and the arguments behind it."""
    return np.array([program.bundled(entry), *arguments], np.int64)
