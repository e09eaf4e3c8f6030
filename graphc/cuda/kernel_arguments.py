"""Arguments of a kernel -> the values and types that the driver passes on."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from typing import Any

from graphc.cuda import dialect
from graphc.cuda.arrays import DeviceArray
from graphc.cuda.machine import Arguments

Packed = tuple[tuple[Any, ...], tuple[type, ...]]

_NUMBERS = {
    "float32": ctypes.c_float,
    "float64": ctypes.c_double,
    "int32": ctypes.c_int32,
    "uint32": ctypes.c_uint32,
    "uint64": ctypes.c_uint64,
}
_ADDRESS = ctypes.c_void_p
_ARRAY = (_ADDRESS, _ADDRESS, ctypes.c_int64, ctypes.c_int64, _ADDRESS, ctypes.c_int64, ctypes.c_int64)


def packed(parameters: Sequence[tuple[str, str]], arguments: Arguments) -> Packed:
    """Values and ctypes of all parameters, in order.

    A pointer is an address. An array (``int32[]``) is what Numba makes of one: the addresses of its book-keeping and
    its parent (none), number and size of its elements, the address of the first, its shape and its stride in bytes.

    Raises
    ------
    TypeError
        When an array has elements of another type: a defect of graphc.
    """
    pairs = [pair for name, kind in parameters for pair in _pack(name, kind, arguments[name])]
    return tuple(value for value, _ in pairs), tuple(kind for _, kind in pairs)


def _pack(name: str, kind: str, value: Any) -> list[tuple[Any, type]]:
    if not dialect.is_pointer(kind):
        number = _NUMBERS[kind]
        return [(float(value) if kind.startswith("float") else int(value), number)]
    if value.dtype != dialect.dtype_of(kind):
        raise TypeError(f"argument {name} is {kind}, got an array of {value.dtype}")
    return list(zip(_array(value), _ARRAY)) if kind.endswith("[]") else [(value.address, _ADDRESS)]


def _array(array: DeviceArray) -> tuple[int, ...]:
    size = array.dtype.itemsize
    return 0, 0, array.size, size, array.address, array.size, size
