"""A GPU, through the driver's own interface (``cuda.bindings.driver``) and nothing else.

Everything happens on one stream, in the order of the calls. The context is the primary one, which PyTorch, JAX and
CuPy use too, so their arrays can be read without a copy.
"""

from __future__ import annotations

import os
import weakref
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from graphc.cuda import libraries
from graphc.cuda.arrays import DeviceArray, as_device_array, values_for
from graphc.cuda.compiler import CompiledKernel, compile_program
from graphc.cuda.cublas import WORKSPACE, Library
from graphc.cuda.kernel_arguments import packed
from graphc.cuda.machine import Arguments, Loaded
from graphc.cuda.products import MatrixProduct
from graphc.cuda.staging import Staging
from graphc.emit.cuda.program import CudaProgram
from graphc.errors import DeviceError
from graphc.lower.device import Device

STATIC_LIMIT = 48 * 1024  # bytes of shared memory a block that need no permission


class Gpu:
    """A :class:`~graphc.cuda.machine.Machine`: GPU ``number`` as the driver counts.

    Raises
    ------
    DeviceError
        No driver, no such GPU, or one that is too old.
    MissingExtraError
        A package is missing.
    """

    def __init__(self, number: int = 0) -> None:
        libraries.require_gpu(number)
        from cuda.bindings import driver  # pyright: ignore[reportMissingImports, reportAttributeAccessIssue]

        self.driver = driver
        checked(driver, driver.cuInit(0))
        handle = checked(driver, driver.cuDeviceGet(number))
        self.context = checked(driver, driver.cuDevicePrimaryCtxRetain(handle))
        self.current = Current(driver, self.context)
        self.queue = self.call(driver.cuStreamCreate, int(driver.CUstream_flags.CU_STREAM_NON_BLOCKING))
        self.stream = int(self.queue)
        self.place: tuple[int, int] = (2, number)
        self.device = _describe(driver, handle)
        self._staging = Staging(self, self.queue)
        self._aside: tuple[Any, Staging] | None = None
        self._blas: Library | None = None
        self._loaded: dict[bytes, Any] = {}
        self._capturing: list[Any] | None = None

    def call(self, function: Callable[..., tuple], *arguments: Any) -> Any:
        """Call the driver with this GPU's context, and leave the thread's own context as it was.

        Raises
        ------
        DeviceError
            When the driver refuses.
        """
        with self.current:
            return checked(self.driver, function(*arguments))

    def array(self, count: int, dtype: DTypeLike, *, note: str = "") -> DeviceArray:
        kind = np.dtype(dtype)
        memory = self._memory(max(int(count), 1) * kind.itemsize, note)
        array = DeviceArray(self, memory.address, (int(count),), kind, memory)
        self.clear(array)
        return array

    def _memory(self, size: int, note: str) -> Memory:
        with self.current:
            result = self.driver.cuMemAlloc(size)
        if result[0] == self.driver.CUresult.CUDA_ERROR_OUT_OF_MEMORY:
            free, total = self.call(self.driver.cuMemGetInfo)
            raise libraries.out_of_memory(size, free, total, note)
        return Memory(self, int(checked(self.driver, result)))

    def upload(self, target: DeviceArray, values: ArrayLike) -> None:
        self._refuse_while_capturing("upload")
        self._staging.send(target.address, values_for(target, values))

    def adopt(self, values: Any, name: str = "array") -> DeviceArray:
        """See :class:`Machine`."""
        return as_device_array(values, self, name)

    def download(self, source: DeviceArray) -> NDArray:
        self._refuse_while_capturing("download")
        out = np.empty(source.shape, source.dtype)
        self._staging.fetch(out.reshape(-1), source.address)
        return out

    def _refuse_while_capturing(self, what: str) -> None:
        if self._capturing is not None:
            raise RuntimeError(f"{what} cannot be part of a graph")

    def copy(self, target: DeviceArray, source: DeviceArray) -> None:
        self._keep(target, source)
        self.call(self.driver.cuMemcpyDtoDAsync, target.address, source.address, target.nbytes, self.queue)

    def clear(self, target: DeviceArray) -> None:
        self._keep(target)
        if target.nbytes:
            self.call(self.driver.cuMemsetD8Async, target.address, 0, target.nbytes, self.queue)

    def load(self, program: CudaProgram) -> dict[str, Loaded]:
        major, minor = self.device.capability
        image = compile_program(program, f"sm_{major}{minor}")
        return {kernel.name: self._load(kernel, image[kernel.name]) for kernel in program.kernels}

    def _load(self, kernel: Any, compiled: CompiledKernel) -> Loaded:
        driver = self.driver
        module = self._loaded.get(compiled.code)
        if module is None:
            module = self._loaded[compiled.code] = self.call(driver.cuModuleLoadData, compiled.code)
        function = self.call(driver.cuModuleGetFunction, module, compiled.entry.encode())
        if kernel.shared > STATIC_LIMIT:
            size = driver.CUfunction_attribute.CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES
            self.call(driver.cuFuncSetAttribute, function, size, kernel.shared)
        fitting = self.call(driver.cuOccupancyMaxActiveBlocksPerMultiprocessor, function, kernel.threads, kernel.shared)
        return Loaded(kernel, function, fitting * self.device.blocks)

    def launch(self, loaded: Loaded, blocks: int, arguments: Arguments) -> None:
        kernel = loaded.kernel
        if kernel.cooperative and blocks > loaded.resident:
            raise DeviceError(
                f"kernel {kernel.name}: its blocks wait for one another, and {blocks} of them are more than the "
                f"{loaded.resident} that run at a time"
            )
        self._keep(*(arguments[name] for name, _ in kernel.arguments))
        values = packed(kernel.arguments, arguments)
        shape = (blocks, 1, 1, kernel.threads, 1, 1, kernel.shared, self.queue)
        if kernel.cooperative:
            self.call(self.driver.cuLaunchCooperativeKernel, loaded.handle, *shape, values)
        else:
            self.call(self.driver.cuLaunchKernel, loaded.handle, *shape, values, 0)

    def multiply(
        self, product: MatrixProduct, a: DeviceArray, b: DeviceArray, c: DeviceArray, bias: DeviceArray | None = None
    ) -> None:
        if self._blas is None:
            self._blas = self._open_blas()
        self._keep(a, b, c, bias)
        row = 0 if bias is None else bias.address
        with self.current:
            self._blas.multiply(product, a.address, b.address, c.address, row)

    def _open_blas(self) -> Library:
        path = libraries.blas_path()
        if path is None:
            raise DeviceError(libraries.NO_BLAS)
        workspace = self.array(WORKSPACE, np.uint8)
        with self.current:
            return Library(path, workspace, self.stream)

    @contextmanager
    def capture(self) -> Generator[GpuGraph, None, None]:
        """Record. A kernel or product should have run once before, so that nothing is loaded while recording."""
        driver = self.driver
        graph = GpuGraph(self)
        # Relaxed: memory that the garbage collector frees meanwhile must not spoil the recording.
        mode = driver.CUstreamCaptureMode.CU_STREAM_CAPTURE_MODE_RELAXED
        self.call(driver.cuStreamBeginCapture, self.queue, mode)
        self._capturing = graph.kept
        try:
            yield graph
        except BaseException:
            self._capturing = None
            self._abandon()
            raise
        self._capturing = None
        graph.finish(self.call(driver.cuStreamEndCapture, self.queue))

    def _abandon(self) -> None:
        with self.current:
            _, recorded = self.driver.cuStreamEndCapture(self.queue)
            if recorded:
                self.driver.cuGraphDestroy(recorded)

    def _keep(self, *arrays: Any) -> None:
        """What a graph uses lives as long as the graph."""
        if self._capturing is not None:
            self._capturing.extend(arrays)

    def mark(self) -> GpuMark:
        return GpuMark(self, self.queue)

    def mark_of(self, queue: Any) -> GpuMark:
        """A mark behind everything asked for on one of this GPU's streams."""
        return GpuMark(self, queue)

    def send(self, target: DeviceArray, values: ArrayLike) -> None:
        self._refuse_while_capturing("send")
        if self._aside is None:
            queue = self.call(self.driver.cuStreamCreate, int(self.driver.CUstream_flags.CU_STREAM_NON_BLOCKING))
            self._aside = queue, Staging(self, queue)
        self._aside[1].send(target.address, values_for(target, values))

    def join(self) -> None:
        if self._aside is not None:
            self._wait(self.queue, self.mark_of(self._aside[0]))

    def room(self) -> int:
        return int(self.call(self.driver.cuMemGetInfo)[0])

    def wait_for_stream(self, stream: int) -> None:
        self._wait(self.queue, GpuMark(self, self.driver.CUstream(stream)))

    def hold_stream(self, stream: int) -> None:
        self._wait(self.driver.CUstream(stream), self.mark())

    def _wait(self, queue: Any, mark: GpuMark) -> None:
        """Later work on a stream waits for a mark, whose event lives until the driver has noted it."""
        self.call(self.driver.cuStreamWaitEvent, queue, mark.event, 0)

    def synchronize(self) -> None:
        self.call(self.driver.cuStreamSynchronize, self.queue)


class Current:
    """While inside, the driver's calls of this thread go to one context; after it, to the one before."""

    def __init__(self, driver: Any, context: Any) -> None:
        self.driver = driver
        self.context = context

    def __enter__(self) -> None:
        checked(self.driver, self.driver.cuCtxPushCurrent(self.context))

    def __exit__(self, *_: object) -> None:
        self.driver.cuCtxPopCurrent()


class Memory:
    """Memory on a GPU, freed when nothing refers to it any more."""

    def __init__(self, gpu: Gpu, address: int) -> None:
        self.address = address
        release_with(self, gpu, gpu.driver.cuMemFree, address)


class GpuGraph:
    """Recorded work as the driver keeps it, and what it uses."""

    def __init__(self, gpu: Gpu) -> None:
        self.gpu = gpu
        self.kept: list[Any] = []
        self._ready: Any = None

    def finish(self, recorded: Any) -> None:
        """Make the recorded work ready to run."""
        driver = self.gpu.driver
        try:
            self._ready = self.gpu.call(driver.cuGraphInstantiate, recorded, 0)
        finally:
            self.gpu.call(driver.cuGraphDestroy, recorded)
        release_with(self, self.gpu, driver.cuGraphExecDestroy, self._ready)

    def replay(self) -> None:
        self.gpu.call(self.gpu.driver.cuGraphLaunch, self._ready, self.gpu.queue)


class GpuMark:
    """An event of the driver."""

    def __init__(self, gpu: Gpu, queue: Any) -> None:
        self.gpu = gpu
        self.event = gpu.call(gpu.driver.cuEventCreate, 0)
        release_with(self, gpu, gpu.driver.cuEventDestroy, self.event)
        gpu.call(gpu.driver.cuEventRecord, self.event, queue)

    def reached(self) -> bool:
        status = self.gpu.driver.cuEventQuery(self.event)
        if status[0] == self.gpu.driver.CUresult.CUDA_ERROR_NOT_READY:
            return False
        checked(self.gpu.driver, status)
        return True

    def wait(self) -> None:
        self.gpu.call(self.gpu.driver.cuEventSynchronize, self.event)

    def seconds_since(self, earlier: GpuMark) -> float:
        return self.gpu.call(self.gpu.driver.cuEventElapsedTime, earlier.event, self.event) / 1000


def release_with(owner: object, gpu: Gpu, function: Callable[..., tuple], handle: Any) -> None:
    """Call ``function(handle)`` when the owner goes; not at the end of the process, when the driver goes first."""
    weakref.finalize(owner, _release, os.getpid(), gpu.current, function, handle).atexit = False


def _release(pid: int, current: Current, function: Callable[..., tuple], handle: Any) -> None:
    """Its status is ignored: who lets go of memory did not cause it. A forked child owns nothing on the GPU."""
    if os.getpid() == pid:
        with current:
            function(handle)


def checked(driver: Any, result: tuple) -> Any:
    """The values of a call that succeeded.

    Raises
    ------
    DeviceError
        When it did not.
    """
    status, *values = result
    if status != driver.CUresult.CUDA_SUCCESS:
        _, text = driver.cuGetErrorString(status)
        reason = text.decode() if text else "no reason given"
        name = getattr(status, "name", str(status)).removeprefix("CUDA_ERROR_").lower()
        raise DeviceError(f"the GPU refused a call: {reason} ({name})")
    return values[0] if len(values) == 1 else tuple(values)


def _describe(driver: Any, handle: Any) -> Device:
    kinds = driver.CUdevice_attribute

    def ask(name: str) -> int:
        return checked(driver, driver.cuDeviceGetAttribute(getattr(kinds, f"CU_DEVICE_ATTRIBUTE_{name}"), handle))

    name = checked(driver, driver.cuDeviceGetName(100, handle)).split(b"\0")[0].decode()
    return Device(
        name=name,
        blocks=ask("MULTIPROCESSOR_COUNT"),
        threads=ask("MAX_THREADS_PER_BLOCK"),
        shared=ask("MAX_SHARED_MEMORY_PER_BLOCK_OPTIN"),
        blas=libraries.blas_path() is not None,
        capability=(ask("COMPUTE_CAPABILITY_MAJOR"), ask("COMPUTE_CAPABILITY_MINOR")),
    )
