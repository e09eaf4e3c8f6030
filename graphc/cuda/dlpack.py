"""Capsules of DLPack, by ctypes: arrays given to other libraries and taken from them without a copy.

Layout of the structures: dlpack.h, versions 0.8 (``dltensor``) and 1.0 (``dltensor_versioned``).
"""

from __future__ import annotations

import ctypes
import itertools
import weakref
from ctypes import POINTER, c_int32, c_int64, c_uint8, c_uint16, c_uint32, c_uint64, c_void_p
from typing import Any

import numpy as np

from graphc.records import record

CPU, CUDA, CUDA_HOST, CUDA_MANAGED = 1, 2, 3, 13
VERSION = (1, 0)
READ_ONLY = 1

_CODES = {"i": 0, "u": 1, "f": 2, "b": 6}
_PLAIN, _VERSIONED = b"dltensor", b"dltensor_versioned"
_USED = {_PLAIN: b"used_dltensor", _VERSIONED: b"used_dltensor_versioned"}


class Tensor(ctypes.Structure):
    """DLTensor."""

    _fields_ = (
        ("data", c_void_p),
        ("device_kind", c_int32),
        ("device_number", c_int32),
        ("ndim", c_int32),
        ("code", c_uint8),
        ("bits", c_uint8),
        ("lanes", c_uint16),
        ("shape", POINTER(c_int64)),
        ("strides", POINTER(c_int64)),
        ("byte_offset", c_uint64),
    )


class Managed(ctypes.Structure):
    """DLManagedTensor."""

    _fields_ = (("tensor", Tensor), ("context", c_void_p), ("deleter", c_void_p))


class VersionedManaged(ctypes.Structure):
    """DLManagedTensorVersioned."""

    _fields_ = (
        ("major", c_uint32),
        ("minor", c_uint32),
        ("context", c_void_p),
        ("deleter", c_void_p),
        ("flags", c_uint64),
        ("tensor", Tensor),
    )


_api = ctypes.pythonapi
_new = ctypes.PYFUNCTYPE(ctypes.py_object, c_void_p, ctypes.c_char_p, c_void_p)(("PyCapsule_New", _api))
_pointer = ctypes.PYFUNCTYPE(c_void_p, ctypes.py_object, ctypes.c_char_p)(("PyCapsule_GetPointer", _api))
_pointer_of = ctypes.PYFUNCTYPE(c_void_p, c_void_p, ctypes.c_char_p)(("PyCapsule_GetPointer", _api))
_holds = ctypes.PYFUNCTYPE(ctypes.c_int, ctypes.py_object, ctypes.c_char_p)(("PyCapsule_IsValid", _api))
_still_holds = ctypes.PYFUNCTYPE(ctypes.c_int, c_void_p, ctypes.c_char_p)(("PyCapsule_IsValid", _api))
_rename = ctypes.PYFUNCTYPE(ctypes.c_int, ctypes.py_object, ctypes.c_char_p)(("PyCapsule_SetName", _api))
_Deleter = ctypes.CFUNCTYPE(None, c_void_p)

_lent: dict[int, tuple] = {}  # number of a loan -> what it consists of, until its reader calls the deleter
_numbers = itertools.count(1)


def lent() -> int:
    """How many arrays other libraries hold at the moment."""
    return len(_lent)


@_Deleter
def _end_plain(managed: int) -> None:
    _lent.pop(Managed.from_address(managed).context, None)


@_Deleter
def _end_versioned(managed: int) -> None:
    _lent.pop(VersionedManaged.from_address(managed).context, None)


@_Deleter
def _end_unused(capsule: int) -> None:
    """A capsule went before anybody took its array: then nobody else calls the deleter. No reference is taken to it."""
    for name, end in ((_PLAIN, _end_plain), (_VERSIONED, _end_versioned)):
        if _still_holds(capsule, name):
            end(_pointer_of(capsule, name))


def capsule(
    owner: Any, address: int, shape: tuple[int, ...], dtype: np.dtype, place: tuple[int, int], *, versioned: bool
) -> Any:
    """A capsule with an array in C order; ``owner`` lives until the reader is done with it."""
    extents = (c_int64 * len(shape))(*shape)
    steps = (c_int64 * len(shape))(*_c_order(shape))
    code = _CODES[dtype.kind]
    tensor = Tensor(address, *place, len(shape), code, dtype.itemsize * 8, 1, extents, steps, 0)
    number, deleter = next(_numbers), ctypes.cast(_end_versioned if versioned else _end_plain, c_void_p)
    managed = VersionedManaged(*VERSION, number, deleter, 0, tensor) if versioned else Managed(tensor, number, deleter)
    _lent[number] = owner, extents, steps, managed
    name = _VERSIONED if versioned else _PLAIN
    return _new(ctypes.addressof(managed), name, ctypes.cast(_end_unused, c_void_p))


def _c_order(shape: tuple[int, ...]) -> list[int]:
    steps = [1]
    for extent in shape[:0:-1]:
        steps.append(steps[-1] * extent)
    return steps[len(shape) - 1 :: -1] if shape else []


@record(eq=False)
class Received:
    """An array of another library, which lives at least as long as this; strides in elements, None in C order."""

    address: int
    shape: tuple[int, ...]
    strides: tuple[int, ...] | None
    dtype: np.dtype
    read_only: bool


def receive(values: Any, stream: int | None) -> Received:
    """Take the array out of an object with ``__dlpack__``; ``stream`` is where it will be read.

    Raises
    ------
    TypeError
        When its elements are of a type that NumPy does not have.
    """
    holder = _ask(values, stream)
    name = _VERSIONED if _holds(holder, _VERSIONED) else _PLAIN
    where = _pointer(holder, name)
    managed = (VersionedManaged if name == _VERSIONED else Managed).from_address(where)
    received = _read(managed.tensor, bool(getattr(managed, "flags", 0) & READ_ONLY))
    _rename(holder, _USED[name])
    if managed.deleter:
        weakref.finalize(received, _Deleter(managed.deleter), where)
    return received


def _ask(values: Any, stream: int | None) -> Any:
    """A capsule: of version 1 where the library knows it."""
    try:
        return values.__dlpack__(stream=stream, max_version=VERSION)
    except TypeError:  # a library from before max_version
        return values.__dlpack__(stream=stream)


def _read(tensor: Tensor, read_only: bool) -> Received:
    letters = {code: letter for letter, code in _CODES.items()}
    if tensor.lanes != 1 or tensor.code not in letters:
        raise TypeError(f"elements of DLPack type {tensor.code} with {tensor.bits} bits, {tensor.lanes} lanes")
    shape = tuple(tensor.shape[axis] for axis in range(tensor.ndim))
    strides = tuple(tensor.strides[axis] for axis in range(tensor.ndim)) if tensor.strides else None
    dtype = np.dtype(f"{letters[tensor.code]}{tensor.bits // 8}")
    return Received((tensor.data or 0) + tensor.byte_offset, shape, strides, dtype, read_only)
