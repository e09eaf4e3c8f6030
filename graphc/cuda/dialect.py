"""The language of kernels: the names that a program's text uses, and the kinds of a kernel's arguments.

The text is a Python module without imports. Whoever executes it gives it

- ``cuda`` with ``syncthreads``, ``threadIdx.x``, ``blockIdx.x``, ``blockDim.x``, ``gridDim.x`` and
  ``shared.array(literal, dtype)``;
- ``arrive(array, i)``, which adds 1 to a word that all blocks see and publishes what this thread has seen and written
  before, and ``acquire(array, i)``, which reads such a word and sees what was published with it;
- ``float32``, ``float64``, ``int32``, ``uint32``, ``uint64``, and ``U`` for ``uint32``;
- ``math``.

A kernel that runs on a grid of copies has an argument ``first_copy`` of kind ``uint32`` and works on the copy
``first_copy + blockIdx.x``.
"""

from __future__ import annotations

import ast
import linecache
from collections.abc import Mapping
from typing import Any

import numpy as np

from graphc.emit.cuda.program import CudaProgram

FIRST_COPY = "first_copy"
TYPES = ("float32", "float64", "int32", "uint32", "uint64")


def is_pointer(kind: str) -> bool:
    """Whether an argument of this kind is an array on the device, not a number."""
    return kind.endswith(("*", "[]"))


def dtype_of(kind: str) -> np.dtype:
    """The type of the number, or of the elements of the array."""
    word = kind.removesuffix("[]").removesuffix("*")
    if word not in TYPES:
        raise ValueError(f"unknown argument kind {kind!r}")
    return np.dtype(word)


def execute(text: str, name: str, names: Mapping[str, Any]) -> dict[str, Any]:
    """Run a program's text with the given names; its lines show in tracebacks. Returns its namespace."""
    filename = f"<graphc {name}>"
    linecache.cache[filename] = (len(text), None, text.splitlines(keepends=True), filename)
    namespace = {"__name__": f"graphc.generated.{name}", **names}
    exec(compile(text, filename, "exec"), namespace)  # noqa: S102  text of our own emitter, never a user's
    return namespace


def text_of(program: CudaProgram, kernel: str) -> str:
    """The text that one kernel depends on: itself and the module's constants, without comments."""
    tree = ast.parse(program.text)
    tree.body = [s for s in tree.body if not isinstance(s, ast.FunctionDef) or s.name == kernel]
    return ast.unparse(tree)
