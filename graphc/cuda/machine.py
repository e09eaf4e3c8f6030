"""What the trainer asks of a machine, be it a GPU or the emulator.

>>> machine = Emulator()                                                    # doctest: +SKIP
>>> kernels = machine.load(program)                                         # doctest: +SKIP
>>> with machine.capture() as graph:                                        # doctest: +SKIP
...     machine.launch(kernels["forward"], 4, {"x": x, "n": 100})
>>> graph.replay()                                                          # doctest: +SKIP
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import Any, Protocol

from numpy.typing import ArrayLike, DTypeLike, NDArray

from graphc.cuda.arrays import DeviceArray
from graphc.cuda.products import MatrixProduct
from graphc.emit.cuda.program import CudaKernel, CudaProgram
from graphc.lower.device import Device
from graphc.records import record

Arguments = Mapping[str, DeviceArray | int | float]


@record(frozen=True)
class Loaded:
    """A kernel that a machine can launch.

    Attributes
    ----------
    kernel : CudaKernel
        What the emitter says of it.
    handle : object
        What the machine knows it by.
    resident : int
        The most blocks of it that run at a time.
    """

    kernel: CudaKernel
    handle: Any
    resident: int


class Graph(Protocol):
    """Recorded work, to be done any number of times with the same arguments."""

    def replay(self) -> None:
        """Do the recorded work once more; does not wait for it."""
        ...


class Mark(Protocol):
    """A place in the order of a machine's work."""

    def reached(self) -> bool:
        """Whether all work before it is done."""
        ...

    def wait(self) -> None:
        """Return when all work before it is done."""
        ...

    def seconds_since(self, earlier: Any) -> float:
        """Time on the machine between two marks that were reached, in seconds."""
        ...


class Machine(Protocol):
    """Memory, kernels and an order of work: everything asked of a machine happens in the order of the calls.

    Attributes
    ----------
    device : Device
        What a plan needs to know of it.
    place : (int, int)
        Kind and number of the device as DLPack counts them: (1, 0) is the CPU, (2, i) is GPU i.
    stream : int
        The stream on which everything happens, as ``__cuda_array_interface__`` names it; 0 on the CPU.
    """

    device: Device
    place: tuple[int, int]
    stream: int

    def array(self, count: int, dtype: DTypeLike, *, note: str = "") -> DeviceArray:
        """Zeroed memory of ``count`` elements; it lives as long as something refers to it.

        ``note`` says what the bytes are for, one line each; the error shows it when there is no room.
        """
        ...

    def upload(self, target: DeviceArray, values: ArrayLike) -> None:
        """Values of the host -> memory of the machine. The values may be changed as soon as this returns."""
        ...

    def send(self, target: DeviceArray, values: ArrayLike) -> None:
        """As ``upload``, beside the machine's other work: only what follows ``join`` may read the values."""
        ...

    def join(self) -> None:
        """Let later work wait for everything that was sent."""
        ...

    def room(self) -> int:
        """Bytes of memory that are free."""
        ...

    def adopt(self, values: Any, name: str = "array") -> DeviceArray:
        """An array of another library that lies here, without a copy (:func:`graphc.cuda.arrays.as_device_array`)."""
        ...

    def download(self, source: DeviceArray) -> NDArray:
        """A copy on the host, of the same shape, once all work asked for before is done."""
        ...

    def copy(self, target: DeviceArray, source: DeviceArray) -> None:
        """target[:] = source, both on the machine."""
        ...

    def clear(self, target: DeviceArray) -> None:
        """target[:] = 0."""
        ...

    def load(self, program: CudaProgram) -> dict[str, Loaded]:
        """Kernels by name, compiled or taken from the cache."""
        ...

    def launch(self, loaded: Loaded, blocks: int, arguments: Arguments) -> None:
        """Run a kernel on a grid of blocks. Arguments by name; names that the kernel does not have are ignored."""
        ...

    def multiply(
        self, product: MatrixProduct, a: DeviceArray, b: DeviceArray, c: DeviceArray, bias: DeviceArray | None = None
    ) -> None:
        """c = scale*a@b (+ bias) (+ beta*c), by a library; only where ``device.blas``."""
        ...

    def capture(self) -> AbstractContextManager[Graph]:
        """Record launches, products, copies and clears instead of doing them."""
        ...

    def mark(self) -> Mark:
        """A mark behind everything asked for so far."""
        ...

    def wait_for_stream(self, stream: int) -> None:
        """Let later work wait for what another library has put on a stream of its own."""
        ...

    def hold_stream(self, stream: int) -> None:
        """Let later work on another library's stream wait for what was asked for so far."""
        ...

    def synchronize(self) -> None:
        """Return when everything asked for is done."""
        ...
