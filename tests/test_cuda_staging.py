"""Copies between host and GPU, on a GPU that does what it is asked for as late as it may: when it is waited for."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from graphc.cuda import staging
from graphc.cuda.staging import Staging


class Late:
    """Memory of a GPU as an array of bytes; copies wait in ``queue`` until a mark behind them is waited for."""

    def __init__(self, size: int) -> None:
        self.memory, self.pinned = np.zeros(size, np.uint8), []
        self.queue: list[Callable[[], None]] = []
        self.lines: list[str] = []
        self.driver = SimpleNamespace(
            cuMemHostAlloc=self.allocate, cuMemcpyHtoDAsync=self.up, cuMemcpyDtoHAsync=self.down
        )

    def call(self, function: Callable[..., Any], *arguments: Any) -> Any:
        return function(*arguments)

    def allocate(self, size: int, flags: int) -> int:
        self.pinned.append(np.zeros(size, np.uint8))
        return self.pinned[-1].ctypes.data

    def _bytes(self, address: int, size: int) -> np.ndarray:
        """Of pinned memory; of any other there is no asynchronous copy."""
        [own] = [p for p in self.pinned if p.ctypes.data <= address and address + size <= p.ctypes.data + p.size]
        assert own.size
        return np.frombuffer(memoryview((ctypes.c_ubyte * size).from_address(address)), np.uint8)

    def up(self, target: int, source: int, size: int, queue: Any) -> None:
        self.lines.append(f"ask {target}")
        there, here = self.memory[target : target + size], self._bytes(source, size)
        self.queue.append(lambda: np.copyto(there, here))

    def down(self, target: int, source: int, size: int, queue: Any) -> None:
        self.lines.append(f"ask {source}")
        here, there = self._bytes(target, size), self.memory[source : source + size]
        self.queue.append(lambda: np.copyto(here, there))

    def mark_of(self, queue: Any) -> Any:
        place, name = len(self.queue), self.lines[-1].removeprefix("ask ")

        def wait() -> None:
            self.lines.append(f"wait {name}")
            for k in range(place):
                self.queue[k]()
                self.queue[k] = lambda: None

        return SimpleNamespace(wait=wait)


@pytest.mark.parametrize("count", [1, 16, 40, 64])
def test_values_pass_through_two_buffers_while_one_is_on_its_way_the_other_is_filled(
    count: int, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(staging, "CHUNK", 16)
    values = np.arange(1, 1 + count, dtype=np.uint8)
    gpu = Late(64)
    Staging(gpu, None).send(0, values)
    asked = [f"ask {at}" for at in range(0, count, 16)]
    assert [line for line in gpu.lines if "ask" in line] == asked
    # The first two copies are asked for before anything is waited for, the third when the first is done.
    assert gpu.lines == [*asked[:2], *(line for k, ask in enumerate(asked[2:]) for line in (f"wait {16 * k}", ask))]
    gpu.mark_of(None).wait()
    assert gpu.memory[:count].tolist() == values.tolist()
    out, gpu.lines = np.zeros(count, np.uint8), []
    Staging(gpu, None).fetch(out, 0)
    assert out.tolist() == values.tolist()
    ahead = [gpu.lines.index(ask) for ask in asked[1:]]
    assert all(at < gpu.lines.index(f"wait {16 * k}") for k, at in enumerate(ahead))  # the next is asked for before
