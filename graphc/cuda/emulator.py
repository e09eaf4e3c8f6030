"""A machine with one thread, on the CPU: it runs the very text that a GPU runs, to prove everything but speed.

A barrier does nothing, a block has one thread, shared memory is an array. Loops of the text walk in strides of
``blockDim.x``, so one thread does all the work. Blind to races.
"""

from __future__ import annotations

import ctypes
import functools
import math
import time
import types
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from graphc.cuda import dialect
from graphc.cuda.arrays import DeviceArray, as_device_array, values_for
from graphc.cuda.machine import Arguments, Loaded
from graphc.cuda.products import MatrixProduct
from graphc.emit.cuda.program import CudaKernel, CudaProgram
from graphc.lower.device import Device
from graphc.native.buffers import address, aligned

Work = Callable[[], None]


class Emulator:
    """A :class:`~graphc.cuda.machine.Machine` of one thread.

    Parameters
    ----------
    device
        The machine whose programs it runs: a plan for it is the plan for a GPU.
    check_bounds
        Compile every access with a check of its index, which raises IndexError.
    memory
        Bytes that it claims to have free.
    """

    def __init__(self, device: Device | None = None, *, check_bounds: bool = False, memory: int = 1 << 36) -> None:
        self.memory = memory
        self.place: tuple[int, int] = (1, 0)
        self.stream = 0
        self.device = device or Device()
        self.check_bounds = check_bounds
        self._recording: list[Work] | None = None

    def array(self, count: int, dtype: DTypeLike, *, note: str = "") -> DeviceArray:
        memory = aligned(count, dtype)
        return DeviceArray(self, address(memory), (int(count),), memory.dtype, memory)

    def upload(self, target: DeviceArray, values: ArrayLike) -> None:
        host(target)[:] = values_for(target, values)

    def send(self, target: DeviceArray, values: ArrayLike) -> None:
        self.upload(target, values)

    def join(self) -> None:
        """Nothing to wait for: all work is done when a call returns."""

    def room(self) -> int:
        return self.memory

    def adopt(self, values: Any, name: str = "array") -> DeviceArray:
        """See :class:`Machine`."""
        return as_device_array(values, self, name)

    def download(self, source: DeviceArray) -> NDArray:
        return host(source).copy().reshape(source.shape)

    def copy(self, target: DeviceArray, source: DeviceArray) -> None:
        to, values = host(target), host(source)
        self._do(lambda: np.copyto(to, values))

    def clear(self, target: DeviceArray) -> None:
        to = host(target)
        self._do(lambda: to.fill(0))

    def load(self, program: CudaProgram) -> dict[str, Loaded]:
        text, name = program.text, program.name
        return {k.name: Loaded(k, _compiled(text, name, k, self.check_bounds), 1) for k in program.kernels}

    def launch(self, loaded: Loaded, blocks: int, arguments: Arguments) -> None:
        copies = range(blocks if loaded.kernel.grid == "copies" else 1)
        for copy in copies:
            values = [_argument(name, kind, arguments[name], copy) for name, kind in loaded.kernel.arguments]
            self._do(functools.partial(loaded.handle, *values))

    def multiply(
        self, product: MatrixProduct, a: DeviceArray, b: DeviceArray, c: DeviceArray, bias: DeviceArray | None = None
    ) -> None:
        left = _matrix(a, product.m, product.k, product.a)
        right = _matrix(b, product.k, product.n, product.b)
        out = _matrix(c, product.m, product.n, product.c)
        row = None if bias is None else host(bias)[: product.n]
        self._do(functools.partial(_multiply, product, left, right, out, row))

    @contextmanager
    def capture(self) -> Generator[EmulatedGraph, None, None]:
        graph = EmulatedGraph()
        self._recording = graph.work
        try:
            yield graph
        finally:
            self._recording = None

    def mark(self) -> EmulatedMark:
        return EmulatedMark()

    def wait_for_stream(self, stream: int) -> None:
        """Nothing to wait for: all work is done when a call returns."""

    def hold_stream(self, stream: int) -> None:
        """Nothing to wait for: all work is done when a call returns."""

    def synchronize(self) -> None:
        """Nothing to wait for: all work is done when a call returns."""

    def _do(self, work: Work) -> None:
        if self._recording is None:
            work()
        else:
            self._recording.append(work)


class EmulatedGraph:
    """Recorded calls, made again one by one."""

    def __init__(self) -> None:
        self.work: list[Work] = []

    def replay(self) -> None:
        for work in self.work:
            work()


class EmulatedMark:
    """A time."""

    def __init__(self) -> None:
        self.time = time.perf_counter()

    def reached(self) -> bool:
        return True

    def wait(self) -> None:
        """All work before it is done."""

    def seconds_since(self, earlier: EmulatedMark) -> float:
        return self.time - earlier.time


def host(array: DeviceArray) -> NDArray:
    """The memory of an emulated array as a flat NumPy array, which does not keep it alive."""
    memory = (ctypes.c_char * array.nbytes).from_address(array.address)
    return np.frombuffer(memoryview(memory), array.dtype)


def _matrix(array: DeviceArray, rows: int, columns: int, strides: tuple[int, int]) -> NDArray:
    """The elements [r, c] of a matrix: at r*strides[0] + c*strides[1]."""
    size = array.dtype.itemsize
    return np.lib.stride_tricks.as_strided(host(array), (rows, columns), (strides[0] * size, strides[1] * size))


def _multiply(product: MatrixProduct, a: NDArray, b: NDArray, c: NDArray, bias: NDArray | None) -> None:
    value = a.dtype.type(product.scale) * (a @ b)
    if bias is not None:
        value += bias
    if product.beta:
        value += a.dtype.type(product.beta) * c
    c[:] = value


def _argument(name: str, kind: str, value: Any, copy: int) -> Any:
    if not dialect.is_pointer(kind):
        return dialect.dtype_of(kind).type(value + copy if name == dialect.FIRST_COPY else value)
    if value.dtype != dialect.dtype_of(kind):
        raise TypeError(f"argument {name} is {kind}, got an array of {value.dtype}")
    return host(value)


@functools.lru_cache(maxsize=256)
def _compiled(text: str, name: str, kernel: CudaKernel, check_bounds: bool) -> Callable[..., None]:
    """One kernel as a function of NumPy arrays and numbers."""
    import numba

    names = {word: getattr(numba, word) for word in dialect.TYPES}
    names |= {"cuda": _one_thread(kernel.shared), "U": numba.uint32, "math": math} | _words()
    function = dialect.execute(text, name, names)[kernel.name]
    signature = numba.void(*(_numba_type(kind) for _, kind in kernel.arguments))
    with _without_vectors():
        return numba.njit(signature, error_model="numpy", boundscheck=check_bounds, nogil=True)(function)


@contextmanager
def _without_vectors() -> Generator[None, None, None]:
    """LLVM 20 makes wrong vectors of a loop over e that reads x[e//4*4 + e%4] and y[e%4], and overwrites the former."""
    from numba.core import config

    before = config.LOOP_VECTORIZE
    config.LOOP_VECTORIZE = 0
    try:
        yield
    finally:
        config.LOOP_VECTORIZE = before


def _numba_type(kind: str) -> Any:
    import numba

    element = numba.from_dtype(dialect.dtype_of(kind))
    return numba.types.Array(element, 1, "C") if dialect.is_pointer(kind) else element


def _one_thread(shared_bytes: int) -> types.ModuleType:
    """A module in place of ``cuda``: Numba takes the numbers in it as constants and its functions as functions."""
    import numba

    @numba.njit
    def nothing():
        return 0

    @numba.njit
    def shared_array(count, dtype):
        array = np.empty(count, dtype)
        if count == 0:
            array = np.empty(shared_bytes // array.itemsize, dtype)
        array.view(np.uint8)[:] = 255  # NaN, to show what is read before it is written
        return array

    return _module(
        syncthreads=nothing,
        threadIdx=_module(x=0),
        blockIdx=_module(x=0),
        blockDim=_module(x=1),
        gridDim=_module(x=1),
        shared=_module(array=shared_array),
    )


def _words() -> dict[str, Any]:
    """What threads of several blocks tell one another, where there is one thread."""
    import numba

    @numba.njit
    def arrive(array, i):
        array[i] += 1

    @numba.njit
    def acquire(array, i):
        return array[i]

    return {"arrive": arrive, "acquire": acquire}


def _module(**names: Any) -> types.ModuleType:
    module = types.ModuleType("cuda")
    vars(module).update(names)
    return module
