"""A kernel in Numba's CUDA simulator: every thread of a block for itself, so a missing barrier shows.

The simulator has to be chosen before Numba is imported, so it runs in a process of its own. It is slow (about half a
millisecond a thread a barrier) and knows one block at a time: kernels whose blocks wait for one another take one block.
Used by tests.
"""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import tempfile
import types
import warnings
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from graphc.cuda import dialect, numba_cuda
from graphc.emit.cuda.program import CudaKernel, CudaProgram

SWITCH = "NUMBA_ENABLE_CUDASIM"
Values = Mapping[str, NDArray | int | float]


def simulate(program: CudaProgram, kernel: str, blocks: int, arguments: Values) -> dict[str, NDArray]:
    """Run one kernel on a grid of blocks.

    Parameters
    ----------
    program, kernel
        Text, and the name of a kernel in it.
    blocks
        Blocks of ``CudaKernel.threads`` threads each; keep both small.
    arguments
        Arrays and numbers by name.

    Returns
    -------
    dict of str to array
        The arrays as the kernel left them.

    Raises
    ------
    RuntimeError
        When the kernel raises, with the simulator's text.
    """
    entry = program.kernel(kernel)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        facts = {"text": program.text, "name": program.name, "kernel": asdict(entry), "blocks": blocks}
        (folder / "task.json").write_text(json.dumps(facts))
        for position, (argument, _) in enumerate(entry.arguments):
            np.save(folder / f"{position}.npy", np.asarray(arguments[argument]), allow_pickle=False)
        _run_apart(folder)
        return {
            argument: np.load(folder / f"{position}.npy", allow_pickle=False)
            for position, (argument, kind) in enumerate(entry.arguments)
            if dialect.is_pointer(kind)
        }


def _run_apart(folder: Path) -> None:
    environment = os.environ | {SWITCH: "1", "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    command = [sys.executable, "-m", __name__, str(folder)]
    finished = subprocess.run(command, env=environment, capture_output=True, text=True)
    if finished.returncode:
        raise RuntimeError(finished.stderr)


def main(folder: Path) -> None:
    """What the process of its own does."""
    task = json.loads((folder / "task.json").read_text())
    kernel = CudaKernel(**task["kernel"])
    files = [folder / f"{position}.npy" for position in range(len(kernel.arguments))]
    arguments = [_argument(kind, np.load(file)) for file, (_, kind) in zip(files, kernel.arguments)]
    numbers = {word: _Type(word) for word in dialect.TYPES} | {"U": _Type("uint32"), "math": _math()}
    names = numba_cuda.names() | numbers | _words()
    function = dialect.execute(task["text"], task["name"], names)[kernel.name]
    # Integers wrap around as on a GPU, where NumPy would warn.
    warnings.filterwarnings("ignore", message="overflow encountered")
    warnings.filterwarnings("ignore", message="divide by zero encountered")
    warnings.filterwarnings("ignore", message="invalid value encountered")
    numba_cuda.launch_simulated(function, (task["blocks"], kernel.threads, 0, kernel.shared), arguments)
    for file, value in zip(files, arguments):
        np.save(file, value, allow_pickle=False)


def _argument(kind: str, value: NDArray) -> Any:
    dtype = dialect.dtype_of(kind)
    return np.ascontiguousarray(value, dtype) if dialect.is_pointer(kind) else dtype.type(value)


def _words() -> dict[str, Callable]:
    """One block runs at a time, and one thread of it arrives."""

    def arrive(array: NDArray, i: Any) -> None:
        array[i] += 1

    return {"arrive": arrive, "acquire": lambda array, i: array[i]}


class _Type:
    """A type of numbers: called, it converts, and integers wrap around; given to an array, it is the element type."""

    def __init__(self, word: str) -> None:
        self.dtype = np.dtype(word)
        self.itemsize = self.dtype.itemsize

    def __call__(self, value: Any) -> Any:
        if self.dtype.kind == "f":
            return self.dtype.type(value)
        bits = 8 * self.itemsize
        wrapped = int(value) & (1 << bits) - 1
        negative = self.dtype.kind == "i" and wrapped >> (bits - 1)
        return self.dtype.type(wrapped - (1 << bits) if negative else wrapped)


_ARC = {name: f"arc{name[1:]}" for name in ("asin", "acos", "atan", "asinh", "acosh", "atanh", "atan2")}
_TO_INTEGER = ("floor", "ceil", "trunc")


def _math() -> types.SimpleNamespace:
    """The module ``math`` in the precision of its arguments and with infinities in place of exceptions."""
    found = {name: getattr(np, _ARC.get(name, name), None) for name in dir(math) if not name.startswith("_")}
    functions = {name: f for name, f in found.items() if f is not None}
    functions |= {name: _in_precision(getattr(math, name)) for name in ("erf", "erfc", "gamma", "lgamma")}
    functions |= {name: _to_integer(getattr(np, name)) for name in _TO_INTEGER}
    return types.SimpleNamespace(**functions)


def _in_precision(function: Callable[[float], float]) -> Callable[[Any], Any]:
    return lambda value: np.asarray(value).dtype.type(function(float(value)))


def _to_integer(function: Callable[[Any], Any]) -> Callable[[Any], int]:
    return lambda value: int(function(value))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
