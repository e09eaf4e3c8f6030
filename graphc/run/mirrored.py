"""Numbers that a program changes, on the host, while their newest values may lie on a GPU until somebody reads them."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from graphc.errors import DeviceError
from graphc.native.buffers import realigned


class Remote(Protocol):
    """An array in the memory of a machine (:class:`graphc.cuda.arrays.DeviceArray`)."""

    @property
    def machine(self) -> Any:
        """Where it lies."""
        ...

    @property
    def owner(self) -> Any:
        """The memory that it is a part of."""
        ...

    @property
    def size(self) -> int:
        """Number of elements."""
        ...

    def numpy(self) -> NDArray:
        """A copy on the host."""
        ...

    def copied(self, into: Any = None) -> Any:
        """A copy on the machine, in the memory of ``into`` where that fits."""
        ...


class Mirrored:
    """A flat array of the host and the place of its newest values, where that is a machine.

    They are brought down when they are read, once. What was brought down may be changed here: the machine's copy counts
    as long as the two have the same bits, which is looked at when a machine asks.
    """

    what = "the parameters"

    def __init__(self, values: NDArray) -> None:
        self._values = values
        self._newest: Remote | None = None
        self._brought: tuple[Remote, NDArray] | None = None  # from where, and what it was

    @property
    def values(self) -> NDArray:
        """The newest values, in memory of the host that may be written to.

        Raises
        ------
        DeviceError
            Once, when the machine no longer gives them; what the host had before is what there is then.
        """
        if self._newest is not None:
            self._bring(self._newest)
        self.known()
        return self._values

    @values.setter
    def values(self, values: NDArray) -> None:
        self._values = values
        self._newest = self._brought = None

    @property
    def size(self) -> int:
        """Number of elements; nothing is brought down for it."""
        return self._values.size

    @property
    def dtype(self) -> np.dtype:
        """Type of the elements."""
        return self._values.dtype

    @property
    def away(self) -> bool:
        """Whether the host has older values."""
        return self._newest is not None

    def _bring(self, there: Remote) -> None:
        try:
            found = there.numpy()
        except DeviceError as error:
            self._newest = None
            self.lost()
            reason = str(error).splitlines()[0]
            raise DeviceError(
                f"what the last fits made of {self.what} was on the GPU, which no longer gives it: {reason}\n"
                f"  hint: {self.what} are what they were when they were last read; load a checkpoint, or fit again."
            ) from error
        self._values[: there.size] = found
        self._newest, self._brought = None, (there, found)

    def known(self) -> None:
        """Called when the newest values are here."""

    def lost(self) -> None:
        """Called when the newest values are gone."""

    def overwritten(self) -> NDArray:
        """The memory of the host, for values that replace all there are."""
        self._newest = self._brought = None
        return self._values

    def lies(self, there: Remote) -> None:
        """From now on the newest values are those of a machine."""
        self._newest, self._brought = there, None

    def leave(self, owner: Any) -> None:
        """Bring the values down, and forget their place, if it is in this memory, which is about to be written to."""
        if self._newest is not None and self._newest.owner is owner:
            self._bring(self._newest)
        if self._brought is not None and self._brought[0].owner is owner:
            self._brought = None

    def on(self, machine: Any) -> Any:
        """Where the newest values lie on a machine; None where it does not have them."""
        if self._newest is not None:
            return self._newest if self._newest.machine is machine else None
        if self._brought is None or self._brought[0].machine is not machine:
            return None
        there, before = self._brought
        return there if same_bits(self._values[: there.size], before) else None

    def copied(self, into: Any = None) -> Any:
        """A copy where the newest values are: of the host, or of the machine, in the memory of ``into`` if it fits."""
        if self._newest is not None:
            try:
                return self._newest.copied(into)
            except DeviceError:  # no room for it there
                pass
        return self.values.copy()

    def __getstate__(self) -> dict[str, Any]:
        values = self.values
        return {**self.__dict__, "_values": values, "_newest": None, "_brought": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__ = {**state, "_values": realigned(state["_values"])}


def same_bits(a: NDArray, b: NDArray) -> bool:
    """Whether two flat arrays of one type hold the same bits: 0 is not -0, and NaN is itself."""
    kind = f"u{a.dtype.itemsize}"
    return a.dtype == b.dtype and np.array_equal(a.view(kind), b.view(kind))
