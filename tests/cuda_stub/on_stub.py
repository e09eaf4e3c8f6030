"""Tests of the GPU machine on the driver of this folder; run by test_cuda_driver.py in a process of their own."""

from __future__ import annotations

import ctypes
import gc
import itertools
import pickle

import numpy as np
import pytest

import graphc
from graphc.cuda import libraries, selection
from graphc.cuda.arrays import DeviceArray, as_device_array
from graphc.cuda.driver import Gpu
from graphc.cuda.products import MatrixProduct
from graphc.cuda.staging import CHUNK
from graphc.errors import DataError, DeviceError
from graphc.lower.device import Device
from graphc.run.mirrored import Mirrored
from tests import cuda_programs

STUB = ctypes.CDLL("libcuda.so.1")
BLAS = ctypes.CDLL("libcublasLt.so.13")
X = np.random.default_rng(1).normal(size=1000).astype(np.float32)


def seen(name: str, kind=ctypes.c_int, library=STUB):
    """A number that the stub keeps."""
    return kind.in_dll(library, name).value


@pytest.fixture(scope="module")
def gpu() -> Gpu:
    return Gpu()


def up(gpu: Gpu, values: np.ndarray) -> DeviceArray:
    array = gpu.array(values.size, values.dtype)
    gpu.upload(array, values)
    return array


def arguments(gpu: Gpu, **changes) -> dict:
    own = {"x": up(gpu, X), "y": gpu.array(1000, "f4"), "counter": gpu.array(1, "i4"), "a": 0.5, "n": 1000}
    return own | changes


def test_a_gpu_describes_itself(gpu):
    assert libraries.available()
    assert gpu.device == Device("Stub", blocks=4, threads=1024, shared=232448, blas=True, capability=(9, 0))
    assert gpu.place == (2, 0)
    assert gpu.stream > 2


def test_memory_is_zeroed_and_freed_when_nothing_refers_to_it(gpu):
    before = STUB.stub_blocks()
    array = gpu.array(1000, np.float64)
    assert not array.numpy().any()
    part = array.part(10, 5).reshape(5, 1)
    del array
    gc.collect()
    assert STUB.stub_blocks() == before + 1
    del part
    gc.collect()
    assert STUB.stub_blocks() == before
    assert STUB.stub_depth() == 0


@pytest.mark.parametrize("count", [0, 1, 1000, CHUNK // 4, CHUNK // 4 + 1, CHUNK])
def test_values_of_every_size_go_up_and_come_down(gpu, count):
    values = np.random.default_rng(count).normal(size=count).astype(np.float32)
    array = gpu.array(count, np.float32)
    gpu.upload(array, values)
    assert np.array_equal(array.numpy(), values)
    with pytest.raises(ValueError, match="values for an array of"):
        gpu.upload(array, np.zeros(count + 1))


def test_a_launch_passes_every_argument_to_its_place(gpu):
    kernel = gpu.load(cuda_programs.saxpy())["saxpy"]
    assert kernel.resident == 2 * 4
    given = arguments(gpu)
    gpu.launch(kernel, 7, given)
    assert np.allclose(given["y"].numpy(), 0.5 * X)
    assert given["counter"].numpy() == [1]
    assert [seen(f"stub_{word}", ctypes.c_uint) for word in ("grid", "threads", "shared")] == [7, 32, 0]
    assert seen("stub_cooperative") == 0


def test_blocks_that_wait_for_one_another_are_launched_together_or_not_at_all(gpu):
    kernel = gpu.load(cuda_programs.saxpy(cooperative=True, shared=100_000))["saxpy"]
    gpu.launch(kernel, 8, arguments(gpu))
    assert seen("stub_cooperative") == 1
    assert seen("stub_shared", ctypes.c_uint) == 100_000
    with pytest.raises(DeviceError) as error:
        gpu.launch(kernel, 9, arguments(gpu))
    assert str(error.value) == (
        "kernel saxpy: its blocks wait for one another, and 9 of them are more than the 8 that run at a time"
    )


def test_a_graph_does_its_work_when_it_is_replayed_and_keeps_what_it_uses(gpu):
    kernel = gpu.load(cuda_programs.saxpy())["saxpy"]
    given, z = arguments(gpu), gpu.array(1000, np.float32)
    y = given["y"]
    before = seen("stub_graphs", ctypes.c_long)
    with gpu.capture() as graph:
        gpu.launch(kernel, 1, given)
        gpu.launch(kernel, 1, given)
        gpu.copy(z, y)
        gpu.clear(y)
        with pytest.raises(RuntimeError, match="^upload cannot be part of a graph$"):
            gpu.upload(z, X)
    assert not z.numpy().any()
    gc.collect()
    blocks = STUB.stub_blocks()
    del given
    gc.collect()
    assert STUB.stub_blocks() == blocks
    graph.replay()
    assert np.allclose(z.numpy(), X)
    assert not y.numpy().any()
    assert seen("stub_graphs", ctypes.c_long) == before + 1
    del graph
    gc.collect()
    assert seen("stub_graphs", ctypes.c_long) == before
    assert STUB.stub_blocks() == blocks - 2  # x and the counter


def test_an_error_while_recording_ends_the_recording(gpu):
    before = seen("stub_graphs", ctypes.c_long)
    with pytest.raises(KeyError), gpu.capture():
        raise KeyError("a")
    assert seen("stub_graphs", ctypes.c_long) == before
    gpu.upload(gpu.array(1000, np.float32), X)


def test_marks_tell_time_and_order(gpu):
    before = seen("stub_events", ctypes.c_long)
    first, second = gpu.mark(), gpu.mark()
    second.wait()
    assert second.reached()
    assert second.seconds_since(first) == 1.5
    gpu.wait_for_stream(1)
    gpu.hold_stream(1)
    gpu.synchronize()
    del first, second
    gc.collect()
    assert seen("stub_events", ctypes.c_long) == before


@pytest.mark.parametrize("call", ["join", "hold_stream", "wait_for_stream"])
def test_what_waits_names_an_event_that_still_lives(gpu, call):
    """On an H100 the first two ended with "context is destroyed"."""
    array = gpu.array(10, np.float32)
    gpu.send(array, np.ones(10))
    getattr(gpu, call)(*([] if call == "join" else [1]))
    assert array.numpy().sum() == 10
    gone = gpu.mark().event
    gc.collect()
    with pytest.raises(DeviceError, match=r"\(context_is_destroyed\)$"):
        gpu.call(gpu.driver.cuStreamWaitEvent, gpu.queue, gone, 0)
    stream = gpu.call(gpu.driver.cuStreamCreate, 1)
    gpu.call(gpu.driver.cuStreamDestroy, stream)
    with pytest.raises(DeviceError, match=r"\(context_is_destroyed\)$"):
        gpu.call(gpu.driver.cuStreamSynchronize, stream)


def passed() -> tuple[int, int, int]:
    """Bytes that went up, down, and from place to place since the beginning."""
    up, down, across = (seen(f"stub_{word}", ctypes.c_long) for word in ("up", "down", "across"))
    return up, down, across


def test_values_that_lie_on_a_gpu_come_down_once_and_a_lost_gpu_is_told_once(gpu):
    held, lost = Mirrored(np.zeros_like(X)), ctypes.c_int.in_dll(STUB, "stub_lost")
    start = passed()
    held.lies(up(gpu, X))
    kept = held.copied()
    assert held.on(gpu) is not None and passed() == (start[0] + X.nbytes, start[1], start[2] + X.nbytes)
    assert kept is held.copied(kept) and passed()[1] == start[1]
    assert np.array_equal(held.values, X) and np.array_equal(held.values, X)
    assert passed()[1] == start[1] + X.nbytes
    assert np.array_equal(pickle.loads(pickle.dumps(kept)), X)  # noqa: S301
    held.lies(kept)
    lost.value = 1
    try:
        with pytest.raises(DeviceError, match="which no longer gives it: .* unspecified launch failure"):
            print(held.values)
        assert np.array_equal(held.values, X) and held.on(gpu) is None
    finally:
        lost.value = 0
    assert STUB.stub_depth() == 0


def test_a_full_gpu_says_what_was_asked_for_and_why(gpu):
    with pytest.raises(DeviceError) as error:
        gpu.array(2**31, np.float32, note="data  8 GiB")
    assert str(error.value).startswith("the GPU is full: 8 GiB asked for, ")
    assert " of 1 GiB free\n  data  8 GiB\n  hint: a smaller batch_size" in str(error.value)


def test_a_refused_call_is_an_error_in_words(gpu):
    kernel = gpu.load(cuda_programs.saxpy())["saxpy"]
    with pytest.raises(DeviceError, match=r"^the GPU refused a call: illegal address \(illegal_address\)$"):
        gpu.launch(kernel, 1, arguments(gpu, n=1001))
    assert STUB.stub_depth() == 0


@pytest.mark.parametrize(("precision", "number"), [("float32", 68), ("tf32", 77), ("bf16", 75), ("float64", 70)])
def test_the_library_of_products_is_called_as_its_documentation_has_it(gpu, precision, number):
    rng, dtype = np.random.default_rng(number), "f8" if precision == "float64" else "f4"
    m, n, k = 5, 7, 3
    for turn_a, turn_b, has_bias in itertools.product((False, True), repeat=3):
        a, b, bias, c = (rng.normal(size=size).astype(dtype) for size in ((m, k), (k, n), n, (m, n)))
        on_a, on_b = up(gpu, a.T if turn_a else a), up(gpu, b.T if turn_b else b)
        steps_a, steps_b = (1, m) if turn_a else (k, 1), (1, k) if turn_b else (n, 1)
        product = MatrixProduct(m, n, k, steps_a, steps_b, (n, 1), precision, scale=0.5, beta=2.0, bias=has_bias)
        out = up(gpu, c)
        gpu.multiply(product, on_a, on_b, out, up(gpu, bias) if has_bias else None)
        want = 0.5 * a @ b + (bias if has_bias else 0) + 2 * c
        assert np.allclose(out.numpy().reshape(m, n), want, rtol=1e-4, atol=1e-5)
    assert seen("stub_compute", library=BLAS) == number


def test_a_product_is_planned_for_the_alignment_of_its_matrices_and_can_be_recorded(gpu):
    product = MatrixProduct(2, 2, 2, (2, 1), (2, 1), (2, 1))
    memory = up(gpu, np.ones(64, np.float32))
    gpu.multiply(product, memory.part(1, 4), memory.part(4, 4), memory.part(32, 4))
    assert list((ctypes.c_uint * 4).in_dll(BLAS, "stub_alignment")) == [16, 4, 128, 128]
    with gpu.capture() as graph:
        gpu.multiply(product, memory.part(1, 4), memory.part(4, 4), memory.part(40, 4))
    assert memory.numpy()[40] == 1
    graph.replay()
    assert memory.numpy()[40] == 2


def test_arrays_are_shared_between_libraries_on_one_gpu(gpu):
    array = up(gpu, X).reshape(10, 100)
    other = Gpu()
    taken = as_device_array(array, other, "X")
    assert (taken.address, taken.shape, taken.machine) == (array.address, (10, 100), other)
    assert array.__dlpack_device__() == (2, 0)
    foreign = type("Foreign", (), {"__cuda_array_interface__": array.__cuda_array_interface__})()
    assert as_device_array(foreign, gpu, "X").address == array.address
    with pytest.raises(DataError, match="^X lies on the CPU, the program runs on GPU 0\n  hint: move it there first.$"):
        as_device_array(X, gpu, "X")


@pytest.mark.parametrize(("tier", "replays"), [("A", 0), ("B", 0), ("C", 2), ("D", 3)])
def test_a_run_loads_uploads_and_launches_in_every_tier(gpu, tier, replays):
    """Kernels do nothing on the stub, so the trainer must notice that no step was made."""
    X, T = graphc.input("X", ("n", 64)), graphc.input("T", ("n", 64))
    W = graphc.param("W", (64, 64), graphc.normal(0.1))
    model = graphc.Model(output=graphc.tanh(X @ W), loss=graphc.mean((graphc.tanh(X @ W) - T) ** 2))
    before = seen("stub_replays", ctypes.c_long)
    with selection.use(gpu, tier), pytest.raises(DeviceError, match="^the GPU made no step and tells of no error"):
        model.fit(np.zeros((150, 64)), np.zeros((150, 64)), steps=3, batch_size=64, target="cuda", verify=False)
    assert seen("stub_replays", ctypes.c_long) - before == replays
