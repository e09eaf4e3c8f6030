"""Arrays shared with other libraries, by DLPack and the CUDA array interface, on memory of the CPU."""

from __future__ import annotations

import gc
import sys

import numpy as np
import pytest

from graphc.cuda import dlpack
from graphc.cuda.arrays import DeviceArray, as_device_array
from graphc.cuda.emulator import Emulator
from graphc.errors import DataError


def on(machine: Emulator, values: np.ndarray) -> DeviceArray:
    array = machine.array(values.size, values.dtype)
    machine.upload(array, values)
    return array.reshape(*values.shape)


def test_numpy_reads_an_array_through_dlpack_without_a_copy_and_gives_it_back():
    machine = Emulator()
    array = on(machine, np.arange(6, dtype=np.float32).reshape(2, 3))
    before = dlpack.lent()
    view = np.from_dlpack(array)
    assert dlpack.lent() == before + 1
    assert view.dtype == np.float32 and np.array_equal(view, [[0, 1, 2], [3, 4, 5]])
    view[1, 2] = 9
    assert array.numpy()[1, 2] == 9
    del array
    gc.collect()
    assert view[1, 2] == 9
    del view
    gc.collect()
    assert dlpack.lent() == before


@pytest.mark.parametrize("version", [None, (0, 8), (1, 0), (1, 2)])
def test_a_capsule_that_nobody_reads_gives_its_array_back(version):
    array = Emulator().array(3, np.int32)
    before = dlpack.lent()
    capsule = array.__dlpack__(max_version=version)
    assert ("versioned" in repr(capsule)) == (version is not None and version >= (1, 0))
    assert dlpack.lent() == before + 1
    del capsule
    assert dlpack.lent() == before


@pytest.mark.parametrize("dtype", ["float32", "float64", "int32", "uint32", "uint64", "int64", "bool"])
def test_arrays_of_every_type_and_shape_pass_through_dlpack_and_back(dtype):
    machine = Emulator()
    for shape in [(), (0,), (4,), (2, 3), (2, 1, 3), (2, 0, 3)]:
        values = np.arange(np.prod(shape, dtype=int)).reshape(shape).astype(dtype)
        array = as_device_array(values, machine)
        assert (array.shape, array.dtype) == (values.shape, values.dtype)
        assert np.array_equal(array.numpy(), values)
        assert np.array_equal(np.from_dlpack(array), values)


def test_a_copy_or_another_device_is_refused():
    array = Emulator().array(3, np.int32)
    for wish in ({"copy": True}, {"dl_device": (2, 0)}):
        with pytest.raises(BufferError, match="without a copy"):
            array.__dlpack__(**wish)
    with pytest.raises(ValueError, match="by a copy only"):
        np.asarray(array, copy=False)


class BeforeVersions:
    """An array of a library that does not know max_version."""

    def __init__(self, array: np.ndarray) -> None:
        self.array = array

    def __dlpack__(self, *, stream=None):
        return self.array.__dlpack__()

    def __dlpack_device__(self):
        return self.array.__dlpack_device__()


@pytest.mark.parametrize("wrap", [np.asarray, BeforeVersions])
def test_an_array_of_another_library_is_taken_without_a_copy_and_kept_alive(wrap):
    values = np.arange(12, dtype=np.int64).reshape(3, 4)
    references = sys.getrefcount(values)
    array = as_device_array(wrap(values), Emulator(), "X")
    values[0, 0] = 7
    assert array.numpy()[0, 0] == 7
    assert sys.getrefcount(values) > references
    del array
    gc.collect()
    assert sys.getrefcount(values) == references


def test_an_array_in_another_order_or_place_is_refused():
    machine = Emulator()
    with pytest.raises(DataError) as order:
        as_device_array(np.ones((3, 4)).T, machine, "X")
    assert str(order.value) == (
        "X does not lie in C order: its strides are (1, 4), not (3, 1)\n"
        "  hint: X.contiguous() in PyTorch, cupy.ascontiguousarray(X) in CuPy."
    )
    with pytest.raises(DataError, match=r"^X is a list, which does not say where it lies\n  hint: np.asarray\(X\)$"):
        as_device_array([1, 2], machine, "X")
    machine.place = (2, 0)
    with pytest.raises(
        DataError, match=r"^X lies on the CPU, the program runs on GPU 0\n  hint: move it there first.$"
    ):
        as_device_array(np.ones(3), machine, "X")


def test_only_an_array_on_a_gpu_has_the_cuda_array_interface():
    machine = Emulator()
    array = machine.array(6, np.float32).reshape(2, 3)
    assert not hasattr(array, "__cuda_array_interface__")
    machine.place, machine.stream = (2, 0), 77
    assert array.__cuda_array_interface__ == {
        "version": 3,
        "shape": (2, 3),
        "typestr": "<f4",
        "data": (array.address, False),
        "strides": None,
        "stream": 77,
    }
    taken = as_device_array(
        type("Foreign", (), {"__cuda_array_interface__": array.__cuda_array_interface__})(), machine
    )
    assert (taken.address, taken.shape, taken.dtype) == (array.address, (2, 3), np.dtype("float32"))
