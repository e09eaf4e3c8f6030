"""Arrays in the memory of a machine, and arrays of other libraries there, without a copy."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any, Protocol

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from graphc.cuda import dlpack
from graphc.errors import DataError
from graphc.records import record

GPU_KINDS = (dlpack.CUDA, dlpack.CUDA_HOST, dlpack.CUDA_MANAGED)


class Machine(Protocol):
    """What an array asks of the machine that it lies on (:mod:`graphc.cuda.machine`)."""

    device: Any
    place: tuple[int, int]
    stream: int

    def array(self, count: int, dtype: DTypeLike) -> DeviceArray:
        """New memory."""
        ...

    def copy(self, target: DeviceArray, source: DeviceArray) -> None:
        """target[:] = source."""
        ...

    def download(self, source: DeviceArray) -> NDArray:
        """A copy on the host."""
        ...

    def hold_stream(self, stream: int) -> None:
        """A stream of another library waits for ours."""
        ...

    def wait_for_stream(self, stream: int) -> None:
        """Our stream waits for one of another library."""
        ...


@record(frozen=True, eq=False)
class DeviceArray:
    """An array in C order that lies in the memory of a machine.

    Other libraries read it without a copy: ``torch.from_dlpack(a)``, ``cupy.asarray(a)``.

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

    def copied(self, into: Any = None) -> DeviceArray:
        """A copy on the same machine, in the memory of ``into`` where that is as large."""
        kind = lambda a: (a.machine, a.shape, a.dtype)
        fits = isinstance(into, DeviceArray) and kind(into) == kind(self)
        target = into if fits else self.machine.array(self.size, self.dtype).reshape(*self.shape)
        self.machine.copy(target, self)
        return target

    def __reduce__(self) -> Any:
        """It travels to other processes, and is copied by ``copy``, as the array of the host that it is."""
        return np.asarray, (self.numpy(),)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray:
        if copy is False:
            raise ValueError("an array on a device becomes a NumPy array by a copy only")
        return self.numpy() if dtype is None else self.numpy().astype(dtype)

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        """Version 3 of the interface; the reader waits for our stream. Only an array on a GPU has it."""
        if self.machine.place[0] not in GPU_KINDS:
            raise AttributeError("__cuda_array_interface__")
        return {
            "version": 3,
            "shape": self.shape,
            "typestr": self.dtype.str,
            "data": (self.address if self.size else 0, False),
            "strides": None,
            "stream": self.machine.stream,
        }

    def __dlpack_device__(self) -> tuple[int, int]:
        return self.machine.place

    def __dlpack__(
        self,
        *,
        stream: int | None = None,
        max_version: tuple[int, int] | None = None,
        dl_device: tuple[int, int] | None = None,
        copy: bool | None = None,
    ) -> Any:
        """A capsule of the array API standard (2023.12): the elements themselves, never a copy."""
        if copy or (dl_device is not None and tuple(dl_device) != self.machine.place):
            raise BufferError("this array is handed on without a copy, on its own device")
        if stream != -1:
            self.machine.hold_stream(1 if stream is None else stream)
        versioned = max_version is not None and max_version[0] >= 1
        return dlpack.capsule(self, self.address, self.shape, self.dtype, self.machine.place, versioned=versioned)

    def __repr__(self) -> str:
        return f"DeviceArray(shape={self.shape}, dtype={self.dtype}, machine={self.machine.device.name})"


def values_for(target: DeviceArray, values: ArrayLike) -> NDArray:
    """Values as a flat contiguous array of the target's type and size."""
    flat = np.ascontiguousarray(values, target.dtype).reshape(-1)
    if flat.size != target.size:
        raise ValueError(f"{flat.size} values for an array of {target.size}")
    return flat


def as_device_array(values: Any, machine: Machine, name: str = "array") -> DeviceArray:
    """An array of another library that lies on the machine, without a copy.

    Parameters
    ----------
    values
        Has ``__dlpack__`` or ``__cuda_array_interface__``.
    machine
        Where it has to lie.
    name
        What to call it in errors.

    Raises
    ------
    DataError
        When it lies elsewhere, or its elements do not lie side by side in C order.
    """
    if isinstance(values, DeviceArray) and values.machine is machine:
        return values
    if hasattr(values, "__dlpack__") and hasattr(values, "__dlpack_device__"):
        return _from_dlpack(values, machine, name)
    if hasattr(values, "__cuda_array_interface__") and machine.place[0] == dlpack.CUDA:
        return _from_interface(values, machine, name)
    raise DataError(
        f"{name} is a {type(values).__name__}, which does not say where it lies\n  hint: np.asarray({name})"
    )


def _from_dlpack(values: Any, machine: Machine, name: str) -> DeviceArray:
    kind, number = (int(word) for word in values.__dlpack_device__())
    here = kind == machine.place[0] or (kind in GPU_KINDS and machine.place[0] == dlpack.CUDA)
    if not here or number != machine.place[1]:
        raise _elsewhere(name, (kind, number), machine.place)
    received = dlpack.receive(values, machine.stream or None)
    return _checked(machine, received.address, received.shape, received.dtype, received.strides, received, name)


def _from_interface(values: Any, machine: Machine, name: str) -> DeviceArray:
    facts = values.__cuda_array_interface__
    dtype, stream, strides = np.dtype(facts["typestr"]), facts.get("stream"), facts.get("strides")
    if stream:
        machine.wait_for_stream(stream)
    steps = None if strides is None else tuple(s // dtype.itemsize for s in strides)
    return _checked(machine, facts["data"][0], tuple(facts["shape"]), dtype, steps, values, name)


def _checked(
    machine: Machine, address: int, shape: tuple[int, ...], dtype: np.dtype, strides: Any, owner: Any, name: str
) -> DeviceArray:
    """The array, unless its elements lie in another order; strides in elements."""
    array = DeviceArray(machine, address, shape, dtype, owner)
    steps = [math.prod(shape[axis + 1 :]) for axis in range(len(shape))]
    own = steps if strides is None else strides
    if array.size and any(have != want and extent > 1 for have, want, extent in zip(own, steps, shape)):
        raise DataError(
            f"{name} does not lie in C order: its strides are {tuple(own)}, not {tuple(steps)}\n"
            f"  hint: {name}.contiguous() in PyTorch, cupy.ascontiguousarray({name}) in CuPy."
        )
    return array


def _elsewhere(name: str, found: tuple[int, int], wanted: tuple[int, int]) -> DataError:
    def words(place: tuple[int, int]) -> str:
        return (
            "the CPU" if place[0] == dlpack.CPU else f"GPU {place[1]}" if place[0] in GPU_KINDS else f"device {place}"
        )

    return DataError(
        f"{name} lies on {words(found)}, the program runs on {words(wanted)}\n  hint: move it there first."
    )
