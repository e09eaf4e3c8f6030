"""The machines under the CUDA backend, without a GPU: the emulator, the simulator, products."""

from __future__ import annotations

import itertools
import re
from pathlib import Path

import numpy as np
import pytest

from graphc.cuda import libraries
from graphc.cuda.cublas import alignment
from graphc.cuda.emulator import Emulator
from graphc.cuda.kernel_arguments import packed
from graphc.cuda.products import MatrixProduct, column_major
from graphc.cuda.simulator import simulate
from graphc.emit.cuda.program import CudaKernel
from graphc.errors import DomainError
from tests import cuda_programs

X = np.linspace(-3.0, 3.0, 100, dtype=np.float32)


def on(machine: Emulator, values) -> object:
    values = np.asarray(values)
    array = machine.array(values.size, values.dtype)
    machine.upload(array, values)
    return array.reshape(*values.shape)


PACKAGE = Path(libraries.__file__).parents[1]
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


WRAP = """
def wrap(out):
    out[0] = int32(U(3000000000))
    out[1] = int32(U(2 - 3))
    out[2] = int32(uint64(2**40 + 5))
"""


def test_conversions_wrap_around_in_simulator_and_emulator():
    program = cuda_programs.program(WRAP, CudaKernel("wrap", (("out", "int32*"),), 1))
    machine = Emulator()
    out = machine.array(3, np.int32)
    machine.launch(machine.load(program)["wrap"], 1, {"out": out})
    assert out.numpy().tolist() == [3000000000 - 2**32, -1, 5]
    assert simulate(program, "wrap", 1, {"out": np.zeros(3, np.int32)})["out"].tolist() == out.numpy().tolist()


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
