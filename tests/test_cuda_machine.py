"""The machines under the CUDA backend, without a GPU: the emulator, the simulator, products, shared arrays, errors."""

from __future__ import annotations

import gc
import itertools
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from graphc.emit.cuda.program import CudaKernel
from graphc.errors import DataError, DeviceError, DomainError, MissingExtraError
from graphc.run.cuda import dlpack, libraries
from graphc.run.cuda.arrays import as_device_array
from graphc.run.cuda.cublas import alignment
from graphc.run.cuda.emulator import Emulator
from graphc.run.cuda.packing import packed
from graphc.run.cuda.products import MatrixProduct, column_major
from graphc.run.cuda.simulator import simulate
from tests import cuda_programs

X = np.linspace(-3.0, 3.0, 100, dtype=np.float32)


def on(machine: Emulator, values) -> object:
    values = np.asarray(values)
    array = machine.array(values.size, values.dtype)
    machine.upload(array, values)
    return array.reshape(*values.shape)


PACKAGE = Path(libraries.__file__).parents[2]
IMPORTS = re.compile(r"^\s*(?:from numba import .*\bcuda\b|(?:from|import) numba\.cuda)", re.M)


def test_one_file_alone_imports_the_compiler_of_kernels():
    found = [file.name for file in PACKAGE.rglob("*.py") if IMPORTS.search(file.read_text())]
    assert found == ["numba_cuda.py"]


# ------------------------------------------------------------------------------------------------------- emulator


def test_the_emulator_runs_the_text_of_a_kernel_with_one_thread():
    machine = Emulator()
    kernel = machine.load(cuda_programs.saxpy())["saxpy"]
    y, counter = on(machine, np.ones(100, np.float32)), machine.array(1, np.int32)
    machine.launch(kernel, 4, {"x": on(machine, X), "y": y, "counter": counter, "a": 0.5, "n": 100, "other": 3})
    assert np.array_equal(y.numpy(), np.float32(1) + np.float32(0.5) * X)
    assert counter.numpy() == [1]
    assert kernel.resident == 1


def test_a_kernel_on_copies_runs_once_a_copy_from_the_first_one_on():
    machine = Emulator()
    p = np.linspace(-1, 1, 50, dtype=np.float32).reshape(5, 10)
    rate = np.arange(5, dtype=np.float32)
    place = on(machine, p)
    machine.launch(
        machine.load(cuda_programs.turn())["turn"], 3, {"p": place, "rate": on(machine, rate), "first_copy": 1}
    )
    want = p.copy()
    want[1:4] = np.tanh(p * rate[:, None])[1:4, ::-1]
    assert np.allclose(place.numpy(), want, rtol=1e-6)


def test_an_access_out_of_bounds_is_an_error_when_bounds_are_checked():
    machine = Emulator(check_bounds=True)
    kernel = machine.load(cuda_programs.saxpy())["saxpy"]
    values = {"x": on(machine, X), "y": on(machine, X), "counter": machine.array(1, np.int32), "a": 1.0}
    machine.launch(kernel, 1, values | {"n": 100})
    with pytest.raises(IndexError, match="out of bounds"):
        machine.launch(kernel, 1, values | {"n": 101})


def test_shared_memory_that_is_read_before_it_is_written_shows_as_nan():
    text = "def look(out):\n    s = cuda.shared.array(4, float32)\n    out[0] = s[3]\n"
    machine = Emulator()
    out = machine.array(1, np.float32)
    program = cuda_programs.program(text, CudaKernel("look", (("out", "float32*"),), 32))
    machine.launch(machine.load(program)["look"], 1, {"out": out})
    assert np.isnan(out.numpy()[0])


def test_a_graph_does_nothing_while_it_is_recorded_and_everything_when_it_is_replayed():
    machine = Emulator()
    kernel = machine.load(cuda_programs.saxpy())["saxpy"]
    x, y, z = on(machine, X), on(machine, 0 * X), machine.array(100, np.float32)
    product = MatrixProduct(1, 1, 100, a=(100, 1), b=(1, 1), c=(1, 1))
    with machine.capture() as graph:
        machine.launch(kernel, 1, {"x": x, "y": y, "counter": machine.array(1, np.int32), "a": 2.0, "n": 100})
        machine.copy(z, y)
        machine.multiply(product, x, x, y)
        machine.clear(x.part(50, 50))
    assert np.array_equal(x.numpy(), X) and not y.numpy().any()
    graph.replay()
    assert np.array_equal(z.numpy(), 2 * X)
    assert np.isclose(y.numpy()[0], X @ X)
    assert np.array_equal(x.numpy(), np.where(np.arange(100) < 50, X, 0))
    graph.replay()
    assert np.isclose(z.numpy()[0], 2 * X[0] + X @ X)


def test_arguments_and_values_that_do_not_fit_are_refused():
    machine = Emulator()
    kernel = machine.load(cuda_programs.saxpy())["saxpy"]
    with pytest.raises(TypeError, match=r"^argument x is float32\*, got an array of float64$"):
        machine.launch(kernel, 1, {"x": machine.array(3, np.float64)})
    with pytest.raises(ValueError, match=r"^3 values for an array of 4$"):
        machine.upload(machine.array(4, np.float32), [1, 2, 3])
    with pytest.raises(IndexError, match=r"^elements 2 to 5 of an array of 4$"):
        machine.array(4, np.float32).part(2, 3)


# ------------------------------------------------------------------------------------------------------ simulator


def test_the_simulator_agrees_with_the_emulator():
    p, rate = np.linspace(-1, 1, 30, dtype=np.float32), np.arange(3, dtype=np.float32)
    machine = Emulator()
    place = on(machine, p)
    machine.launch(
        machine.load(cuda_programs.turn())["turn"], 3, {"p": place, "rate": on(machine, rate), "first_copy": 0}
    )
    result = simulate(cuda_programs.turn(), "turn", 3, {"p": p, "rate": rate, "first_copy": 0})
    assert np.allclose(result["p"], place.numpy(), rtol=1e-6)
    assert result["p"].dtype == np.float32


def test_integers_wrap_around_in_simulator_and_emulator_as_in_32_bits():
    words = np.random.default_rng(5).integers(0, 2**32, 40, dtype=np.uint64)
    x = [(int(w) * 2654435761 + (int(w) >> 13)) % 2**32 for w in words]
    want = np.array([(v << 7 | v >> 25) % 2**32 for v in x], np.uint64)
    machine = Emulator()
    place = on(machine, words)
    machine.launch(machine.load(cuda_programs.turn())["mix"], 1, {"words": place, "n": 40})
    assert np.array_equal(place.numpy(), want)
    assert np.array_equal(simulate(cuda_programs.turn(), "mix", 1, {"words": words, "n": 40})["words"], want)


def test_an_error_in_the_simulator_is_an_error():
    with pytest.raises(RuntimeError, match="index 100 is out of bounds"):
        simulate(
            cuda_programs.saxpy(), "saxpy", 4, {"x": X, "y": X, "counter": np.zeros(1, np.int32), "a": 1.0, "n": 101}
        )


# ------------------------------------------------------------------------------------------------------- products


def lies_in(array: np.ndarray, order: str, gap: int) -> tuple[np.ndarray, tuple[int, int]]:
    """The elements of a matrix as they lie in memory, rows or columns ``gap`` elements apart, and their strides."""
    rows, columns = array.shape
    turned = array if order == "C" else array.T
    memory = np.full((turned.shape[0], turned.shape[1] + gap), np.nan, array.dtype)
    memory[:, : turned.shape[1]] = turned
    step = turned.shape[1] + gap
    return memory.ravel(), (step, 1) if order == "C" else (1, step)


def column_major_gemm(call, alpha, a, b, c, bias) -> None:
    """C = alpha*op(A)op(B) + bias[row] by the definition of a column-major BLAS; changes c in place."""

    def stored(memory, extents):
        rows, columns, leading = extents
        size = memory.itemsize
        assert leading >= rows and memory.size >= rows + (columns - 1) * leading
        return np.lib.stride_tricks.as_strided(memory, (rows, columns), (size, leading * size))

    left, right = stored(a, call.stored_a), stored(b, call.stored_b)
    left, right = left.T if call.transpose_a else left, right.T if call.transpose_b else right
    assert left.shape == (call.m, call.k) and right.shape == (call.k, call.n)
    stored(c, call.stored_c)[:] = alpha * (left @ right) + (0 if bias is None else bias[:, None])


SIZES = [(5, 7, 3), (1, 7, 3), (5, 1, 3), (5, 7, 1), (1, 1, 3), (1, 1, 1), (4, 4, 4)]


@pytest.mark.parametrize(("m", "n", "k"), SIZES)
def test_a_product_is_the_same_by_the_column_major_call_and_by_numpy(m, n, k):
    """Fails when the factors are not swapped, a leading dimension is that of another matrix, or a bias runs along m."""
    rng = np.random.default_rng(m + 10 * n + 100 * k)
    a, b, bias = rng.normal(size=(m, k)), rng.normal(size=(k, n)), rng.normal(size=n)
    machine = Emulator()
    for order_a, order_b, order_c, gap in itertools.product("CF", "CF", "CF", (0, 2)):
        (memory_a, steps_a), (memory_b, steps_b) = lies_in(a, order_a, gap), lies_in(b, order_b, gap)
        memory_c, steps_c = lies_in(np.zeros((m, n)), order_c, gap)
        row = bias if order_c == "C" else None
        product = MatrixProduct(m, n, k, steps_a, steps_b, steps_c, "float64", scale=0.5, bias=row is not None)
        call = column_major(product)
        first, second = (memory_b, memory_a) if call.swapped else (memory_a, memory_b)
        want = 0.5 * a @ b + (0 if row is None else row)
        by_call = memory_c.copy()
        column_major_gemm(call, 0.5, first, second, by_call, row)
        emulated = on(machine, memory_c)
        machine.multiply(
            product, on(machine, memory_a), on(machine, memory_b), emulated, None if row is None else on(machine, row)
        )
        whole, _ = lies_in(want, order_c, gap)
        assert np.allclose(by_call, whole, rtol=1e-12, equal_nan=True)
        assert np.allclose(emulated.numpy(), whole, rtol=1e-12, equal_nan=True)


def test_a_product_adds_to_what_lies_in_the_result():
    machine = Emulator()
    c = on(machine, np.ones(4, np.float32))
    ones = on(machine, np.ones(4, np.float32))
    machine.multiply(MatrixProduct(2, 2, 2, (2, 1), (2, 1), (2, 1), beta=10.0), ones, ones, c)
    assert np.array_equal(c.numpy(), np.full(4, 12, np.float32))


def test_layouts_that_no_library_takes_are_refused():
    with pytest.raises(
        DomainError, match=r"^a library cannot read a with the strides \(6, 2\): one of them must be 1$"
    ):
        column_major(MatrixProduct(2, 2, 3, (6, 2), (2, 1), (2, 1)))
    with pytest.raises(
        DomainError, match=r"^a library cannot read b with the strides \(0, 1\): one of them must be 1$"
    ):
        column_major(MatrixProduct(2, 2, 3, (3, 1), (0, 1), (2, 1)))
    with pytest.raises(
        DomainError, match=r"^a library cannot write a matrix of 2 rows, 2 columns with the strides \(1, 2\)$"
    ):
        column_major(MatrixProduct(2, 2, 3, (3, 1), (2, 1), (1, 2), bias=True))


def test_the_alignment_of_an_address_is_its_largest_power_of_two_up_to_256():
    assert [alignment(x) for x in (4, 24, 256, 1024, 1028, 0)] == [4, 8, 256, 256, 4, 256]


def test_an_array_is_packed_as_numba_takes_it_and_a_pointer_as_its_address():
    machine = Emulator()
    x, counter = machine.array(3, np.float32), machine.array(5, np.int32)
    parameters = (("x", "float32*"), ("counter", "int32[]"), ("a", "float32"), ("n", "uint32"))
    values, kinds = packed(parameters, {"x": x, "counter": counter, "a": 1, "n": np.uint64(7)})
    assert values == (x.address, 0, 0, 5, 4, counter.address, 5, 4, 1.0, 7)
    assert [kind.__name__ for kind in kinds[-2:]] == ["c_float", "c_uint"]
    with pytest.raises(TypeError, match=r"^argument x is float32\*, got an array of int32$"):
        packed(parameters, {"x": counter})


# -------------------------------------------------------------------------------------------------- shared arrays


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


# --------------------------------------------------------------------------------------------------------- errors

GIB = 2**30
TEXTS = [
    (
        libraries.missing("numba_cuda"),
        'target="cuda" needs the package numba-cuda\n'
        '  hint: install it with: pip install "graphc[cuda13]", or "graphc[cuda12]" for a driver of CUDA 12',
    ),
    (
        libraries.missing("cuda.core", (12, 4)),
        'target="cuda" needs the package cuda-core\n  hint: install it with: pip install "graphc[cuda12]"',
    ),
    (
        libraries.no_driver(),
        'target="cuda": this machine has no NVIDIA driver (libcuda was not found)\n'
        '  hint: install the driver, or use target="auto", which takes the CPU here.',
    ),
    (
        libraries.no_device(100),
        'target="cuda": the NVIDIA driver does not start: it sees no GPU (status 100)\n'
        "  hint: see what nvidia-smi shows; CUDA_VISIBLE_DEVICES may hide it, a container needs --gpus all.",
    ),
    (
        libraries.no_device(3),
        'target="cuda": the NVIDIA driver does not start: this process was forked from one that uses the GPU '
        "(status 3)\n"
        '  hint: start workers with the method "spawn".',
    ),
    (
        libraries.no_device(803),
        'target="cuda": the NVIDIA driver does not start: its kernel module has another version (status 803)\n'
        "  hint: restart the machine after an update of the driver.",
    ),
    (
        libraries.no_device(999),
        'target="cuda": the NVIDIA driver does not start: it gives no reason (status 999)\n'
        "  hint: see whether nvidia-smi runs.",
    ),
    (
        libraries.no_such_device(3, 2),
        'target="cuda": GPU 3 does not exist: there are 2 GPUs\n'
        "  hint: they are counted from 0; CUDA_VISIBLE_DEVICES may hide some.",
    ),
    (
        libraries.no_such_device(0, 0),
        'target="cuda": GPU 0 does not exist: there are 0 GPUs\n'
        "  hint: see what nvidia-smi shows; CUDA_VISIBLE_DEVICES may hide some.",
    ),
    (
        libraries.too_old(0, (6, 1)),
        'target="cuda": GPU 0 has compute capability 6.1, the oldest that works is 7.5 (Turing, 2018)\n'
        '  hint: use target="cpu".',
    ),
    (
        libraries.old_driver((12, 4), 13),
        'target="cuda": the driver runs CUDA 12.4, the installed packages are of CUDA 13\n'
        '  hint: pip install "graphc[cuda12]", or a newer driver.',
    ),
    (
        libraries.out_of_memory(3 * GIB // 2, 700 * 2**20, 8 * GIB, "parameters  1.2 GiB\ndata        0.3 GiB"),
        "the GPU is full: 1.5 GiB asked for, 700 MiB of 8 GiB free\n  parameters  1.2 GiB\n  data        0.3 GiB\n"
        "  hint: a smaller batch_size, dtype float32, or close what else uses the GPU (nvidia-smi shows it).",
    ),
]


@pytest.mark.parametrize(("error", "text"), TEXTS, ids=[text[:40] for _, text in TEXTS])
def test_what_is_missing_is_said_in_the_users_words(error, text):
    assert str(error) == text
    assert isinstance(error, MissingExtraError if "package" in text.split(" hint")[0][:40] else DeviceError)


def test_the_note_on_a_missing_library_of_products_says_how_to_get_it():
    assert libraries.NO_BLAS == (
        "cublasLt was not found, so generated kernels compute the matrix products, large ones more slowly\n"
        '  hint: pip install "graphc[cuda13]" brings it.'
    )


ASKING = """
import ctypes, sys
from graphc.errors import GraphcError
from graphc.run.cuda import libraries
print(libraries.available(), sorted({"numba", "cuda.bindings", "cuda.core"} & set(sys.modules)))
from graphc.run.cuda.driver import Gpu
try:
    ctypes.CDLL("libcuda.so.1")
except OSError:
    try:
        Gpu()
    except GraphcError as error:
        print(error)
"""


def test_a_machine_without_a_driver_is_noticed_without_importing_anything():
    result = subprocess.run([sys.executable, "-c", ASKING], capture_output=True, text=True)
    first, *rest = result.stdout.splitlines()
    assert result.returncode == 0, result.stderr
    if rest:
        assert first == "False []"
        assert "\n".join(rest) == str(libraries.no_driver())
