"""Copies between host and GPU through two buffers of pinned memory: one is filled while the other is on its way."""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

CHUNK = 4 * 2**20


class Gpu(Protocol):
    """What is asked of a GPU (:mod:`graphc.cuda.driver`)."""

    driver: Any

    def call(self, function: Callable[..., tuple], *arguments: Any) -> Any:
        """Call the driver."""
        ...

    def mark_of(self, queue: Any) -> Any:
        """What tells when all that a queue was given is done."""
        ...


class Staging:
    """The two buffers of a GPU; made when they are first needed, kept to the end of the process."""

    def __init__(self, gpu: Gpu, queue: Any) -> None:
        self._gpu, self._queue = gpu, queue
        self._lock = threading.Lock()
        self._buffers: list[_Pinned] = []

    def send(self, address: int, values: NDArray) -> None:
        """Contiguous values -> GPU memory. They may be changed when this returns; the copy may still be on its way."""
        driver, queue = self._gpu.driver, self._queue
        with self._lock:
            for i, part in enumerate(self._parts(values)):
                buffer = self._buffer(i % 2)
                buffer.wait()
                buffer.bytes[: part.size] = part
                self._gpu.call(driver.cuMemcpyHtoDAsync, address + i * CHUNK, buffer.address, part.size, queue)
                buffer.used()

    def fetch(self, out: NDArray, address: int) -> None:
        """GPU memory -> a contiguous array, once all work asked for before is done."""
        driver, queue = self._gpu.driver, self._queue
        before: tuple[_Pinned, NDArray] | None = None
        with self._lock:
            for i, part in enumerate(self._parts(out)):
                buffer = self._buffer(i % 2)
                buffer.wait()
                self._gpu.call(driver.cuMemcpyDtoHAsync, buffer.address, address + i * CHUNK, part.size, queue)
                buffer.used()
                _take(before)
                before = buffer, part
            _take(before)

    def _parts(self, array: NDArray) -> list[NDArray]:
        """Views of at most one buffer each, as bytes."""
        flat = array.view(np.uint8)
        return [flat[start : start + CHUNK] for start in range(0, flat.size, CHUNK)]

    def _buffer(self, k: int) -> _Pinned:
        while len(self._buffers) <= k:
            self._buffers.append(_Pinned(self._gpu, self._queue))
        return self._buffers[k]


def _take(pair: tuple[_Pinned, NDArray] | None) -> None:
    """Copy what has arrived in a buffer to where it belongs."""
    if pair is not None:
        buffer, part = pair
        buffer.wait()
        part[:] = buffer.bytes[: part.size]


class _Pinned:
    """Memory of the host that does not move, and the last use of it."""

    def __init__(self, gpu: Gpu, queue: Any) -> None:
        self._gpu, self._queue = gpu, queue
        self.address = int(gpu.call(gpu.driver.cuMemHostAlloc, CHUNK, 0))
        self.bytes = np.frombuffer(memoryview((ctypes.c_ubyte * CHUNK).from_address(self.address)), np.uint8)
        self._mark: Any = None

    def used(self) -> None:
        """A copy from or to it was asked for."""
        self._mark = self._gpu.mark_of(self._queue)

    def wait(self) -> None:
        """Return when that copy is done."""
        if self._mark is not None:
            self._mark.wait()
