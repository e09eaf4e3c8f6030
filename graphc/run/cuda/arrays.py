"""Arrays in the memory of a machine."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from graphc.run.cuda.machine import Machine


@dataclass(frozen=True, eq=False)
class DeviceArray:
    """An array in C order that lies in the memory of a machine.

    Attributes
    ----------
    machine : Machine
        Where it lies.
    address : int
        Where it starts.
    shape : tuple of int
        Its extents.
    dtype : numpy.dtype
        Type of its elements.
    owner : object
        What keeps the memory alive.
    """

    machine: Machine
    address: int
    shape: tuple[int, ...]
    dtype: np.dtype
    owner: Any

    @property
    def size(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)

    @property
    def nbytes(self) -> int:
        """Number of bytes."""
        return self.size * self.dtype.itemsize

    def __len__(self) -> int:
        return self.shape[0]

    def part(self, start: int, count: int) -> DeviceArray:
        """``count`` elements from ``start`` on, as they lie in memory; no copy."""
        if not 0 <= start <= start + count <= self.size:
            raise IndexError(f"elements {start} to {start + count} of an array of {self.size}")
        return replace(self, address=self.address + start * self.dtype.itemsize, shape=(count,))

    def reshape(self, *shape: int) -> DeviceArray:
        """The same elements with other extents; no copy."""
        if math.prod(shape) != self.size:
            raise ValueError(f"{self.size} elements do not fill the shape {shape}")
        return replace(self, shape=shape)

    def numpy(self) -> NDArray:
        """A copy on the host, once all work on the machine is done."""
        return self.machine.download(self)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray:
        if copy is False:
            raise ValueError("an array on a device becomes a NumPy array by a copy only")
        return self.numpy() if dtype is None else self.numpy().astype(dtype)

    def __repr__(self) -> str:
        return f"DeviceArray(shape={self.shape}, dtype={self.dtype}, machine={self.machine.device.name})"
