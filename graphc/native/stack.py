"""Threads and their stacks: a packed product takes 1.7 MB of the one that runs it, and LLVM's passes go deep.

A thread with a small stack (``threading.stack_size(2**19)``, servers with many threads, ``ulimit -s``) would die of it,
and all of the process with it: what needs room runs in a thread of its own there.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import threading
from collections.abc import Callable
from typing import Any, Generic, TypeVar

NEEDED = 4 * 2**20  # bytes; the usual stack has 8 MB
LARGE = 16 * 2**20
_ATTRIBUTES = 128  # bytes, more than a pthread_attr_t of any Linux has

T = TypeVar("T")
_here = threading.local()
_size_of_new_threads = threading.Lock()


def is_roomy() -> bool:
    """Whether the calling thread has a stack on which all programs run; asked once a thread."""
    try:
        return _here.roomy
    except AttributeError:
        size = _size()
        _here.roomy = size is None or size >= NEEDED
        return _here.roomy


def with_room(work: Callable[[], T]) -> T:
    """What ``work`` returns or raises, done on a stack that is large enough."""
    if is_roomy():
        return work()
    elsewhere = Elsewhere(work)
    elsewhere.wait()
    return elsewhere.result()


def cores() -> int:
    """How many cores this process may use."""
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else os.cpu_count() or 1


class Elsewhere(Generic[T]):
    """Work in a thread with a large stack, which has begun."""

    def __init__(self, work: Callable[[], T]) -> None:
        self._work = work
        self._found: list[T] = []
        self._failed: list[BaseException] = []
        self._thread = threading.Thread(target=self._run, name="graphc", daemon=True)
        with _size_of_new_threads:
            before = threading.stack_size(LARGE)
            try:
                self._thread.start()
            finally:
                threading.stack_size(before)

    def _run(self) -> None:
        _here.roomy = True
        try:
            self._found.append(self._work())
        except BaseException as error:  # noqa: BLE001  raised again in the thread that asks
            self._failed.append(error)

    def wait(self) -> None:
        """However often Ctrl-C is pressed: the work writes to memory that its caller owns."""
        interrupted = False
        while self._thread.is_alive():
            try:
                self._thread.join()
            except KeyboardInterrupt:
                interrupted = True
        if interrupted:
            raise KeyboardInterrupt

    def result(self) -> T:
        """What the work returned or raised."""
        if self._failed:
            raise self._failed[0]
        return self._found[0]


def _size() -> int | None:
    """Bytes of the calling thread's stack, where the C library tells."""
    library: Any = ctypes.CDLL(None)
    with contextlib.suppress(AttributeError):  # macOS
        library.pthread_self.restype = ctypes.c_void_p
        library.pthread_get_stacksize_np.restype = ctypes.c_size_t
        return int(library.pthread_get_stacksize_np(ctypes.c_void_p(library.pthread_self())))
    with contextlib.suppress(AttributeError):  # Linux
        return _size_on_linux(library)
    return None


def _size_on_linux(library: Any) -> int | None:
    library.pthread_self.restype = ctypes.c_void_p
    attributes, size = ctypes.create_string_buffer(_ATTRIBUTES), ctypes.c_size_t()
    if library.pthread_getattr_np(ctypes.c_void_p(library.pthread_self()), attributes):
        return None
    library.pthread_attr_getstacksize(attributes, ctypes.byref(size))
    library.pthread_attr_destroy(attributes)
    return size.value
