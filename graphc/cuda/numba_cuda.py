"""The compiler of kernels: the only file that imports ``numba.cuda``, and programs use nothing but its ``compile``.

numba-cuda is in maintenance mode (NVIDIA/numba-cuda#902); what takes its place has to offer :func:`names`,
:func:`assembly` and :func:`versions`. Tests use its simulator too (:func:`launch_simulated`).
"""

from __future__ import annotations

import functools
import importlib.metadata
import math
import re
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

from graphc.cuda import dialect

PACKAGES = ("numba", "llvmlite", "numba-cuda", "cuda-core", "nvidia-nvvm", "nvidia-nvjitlink")
_ENTRY = re.compile(r"\.visible \.entry (\w+)\(")


def names() -> dict[str, Any]:
    """What the text of a program may name."""
    import numba
    from numba import cuda

    numbers = {word: getattr(numba, word) for word in dialect.TYPES}
    return numbers | {"cuda": cuda, "U": numba.uint32, "math": math} | words()


@functools.cache
def words() -> dict[str, Any]:
    """``arrive`` and ``acquire``: assembly that the compiler neither moves nor drops, for it has side effects and
    clobbers memory. ``cuda.ldcv`` of numba-cuda has neither: loops that wait by it are emptied."""
    return {
        "arrive": _instruction("red.release.gpu.global.add.u32 [$0], 1;", "l,~{memory}", gives=False),
        "acquire": _instruction("ld.acquire.gpu.global.u32 $0, [$1];", "=r,l,~{memory}", gives=True),
    }


def _instruction(text: str, constraints: str, gives: bool) -> Any:
    """A function of (array of int32, place): one instruction on the word there, which gives a number or nothing."""
    from llvmlite import ir
    from numba import types
    from numba.extending import intrinsic

    def generate(context: Any, builder: Any, signature: Any, values: Sequence[Any]) -> Any:
        array = context.make_array(signature.args[0])(context, builder, value=values[0])
        word = builder.gep(array.data, [values[1]])
        returned = ir.IntType(32) if gives else ir.VoidType()
        instruction = ir.InlineAsm(ir.FunctionType(returned, [word.type]), text, constraints, side_effect=True)
        value = builder.call(instruction, [word])
        return value if gives else context.get_dummy_value()

    @intrinsic
    def one_instruction(typing, array, place):  # noqa: ANN001, ANN202, ARG001  the signature that Numba asks for
        return (types.int32 if gives else types.void)(array, place), generate

    return one_instruction


def assembly(
    function: Callable, kinds: Sequence[str], capability: tuple[int, int], threads: int | None
) -> tuple[str, str]:
    """A kernel as PTX, and the name of its entry there.

    Parameters
    ----------
    function
        The kernel as a Python function.
    kinds
        Kinds of its arguments.
    capability
        Version of the instruction set, such as (9, 0).
    threads
        The most threads of a block, by which the compiler divides the registers; None to leave it open, since a limit
        of registers is ignored beside it.
    """
    from numba import cuda, void

    signature = void(*map(_type, kinds))
    bounds = None if threads is None else (threads, 1)
    with _device_of(capability):
        ptx, _ = cuda.compile(
            function, signature, cc=capability, device=False, abi="numba", fastmath=False, launch_bounds=bounds
        )
    found = _ENTRY.search(ptx)
    if found is None:
        raise RuntimeError("no kernel in the compiler's output")
    return ptx, found.group(1)


def launch_simulated(function: Callable, shape: tuple[int, int, int, int], arguments: Sequence[Any]) -> None:
    """Run a kernel in the simulator, which the process must have chosen: (blocks, threads, stream, shared bytes)."""
    from numba import cuda

    kernel: Any = cuda.jit(function)
    kernel[shape](*arguments)


@contextmanager
def _device_of(capability: tuple[int, int]) -> Generator[None, None, None]:
    """Answer the compiler's question for the current device, which it asks when a kernel calls a function of its own
    library. The driver would answer with the GPU that is there, and not at all where there is none."""
    from numba.cuda import dispatcher

    before = dispatcher.get_current_device
    dispatcher.get_current_device = lambda: SimpleNamespace(compute_capability=capability, id=0)
    try:
        yield
    finally:
        dispatcher.get_current_device = before


def _type(kind: str) -> Any:
    from numba import types

    element = getattr(types, dialect.dtype_of(kind).name)
    if kind.endswith("[]"):
        return types.Array(element, 1, "C")
    return types.CPointer(element) if kind.endswith("*") else element


@functools.cache
def versions() -> list[str]:
    """Versions of the packages that the machine code depends on."""
    return [f"{package} {_version(package)}" for package in PACKAGES]


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None
