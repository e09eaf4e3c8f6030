"""Which parts of CUDA are there, and what to say when one is missing. Imports none of them.

The driver (``libcuda``) comes with the operating system; everything else is a package of the extra ``cuda13`` or
``cuda12``.
"""

from __future__ import annotations

import ctypes
import functools
import importlib.metadata
import importlib.util
import sys

import numpy as np

from graphc.errors import DeviceError, MissingExtraError

OLDEST = (7, 5)
"""The oldest compute capability that the packages of both extras compile for."""

COMPILER = ("numba_cuda", "cuda.core")
BINDINGS = ("cuda.bindings", "cuda.pathfinder")
_MAJOR, _MINOR = 75, 76  # CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR, _MINOR
_WHAT = 'target="cuda"'


@functools.cache
def available() -> bool:
    """Whether programs can run on a GPU of this machine. Raises nothing; without a driver it looks no further."""
    library = driver()
    if library is None or library.cuInit(0) or device_count() == 0 or capability(0) < OLDEST:
        return False
    return not _absent(BINDINGS + COMPILER)


@functools.cache
def driver() -> ctypes.CDLL | None:
    """NVIDIA's driver, or None."""
    try:
        return ctypes.CDLL("nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1")
    except OSError:
        return None


def _number(call: str, *arguments: int) -> int:
    """The number that a function of the driver writes to its first argument; 0 when it refuses."""
    value = ctypes.c_int(0)
    refused = driver() is None or getattr(driver(), call)(ctypes.byref(value), *arguments)
    return 0 if refused else value.value


def device_count() -> int:
    """How many GPUs the driver shows; CUDA_VISIBLE_DEVICES hides some. The driver must be initialised."""
    return _number("cuDeviceGetCount")


def driver_version() -> tuple[int, int]:
    """The newest CUDA that the driver runs, such as (13, 0)."""
    version = _number("cuDriverGetVersion")
    return version // 1000, version % 1000 // 10


def capability(number: int) -> tuple[int, int]:
    """The version of a GPU's instruction set."""
    return _number("cuDeviceGetAttribute", _MAJOR, number), _number("cuDeviceGetAttribute", _MINOR, number)


def require_gpu(number: int) -> None:
    """Raise unless GPU ``number`` can be used.

    Raises
    ------
    DeviceError
        No driver, no such GPU, or one that is too old.
    MissingExtraError
        A package is missing; the text names the extra that fits the driver.
    """
    library = driver()
    if library is None:
        raise no_driver()
    status = library.cuInit(0)
    if status:
        raise no_device(status)
    if not 0 <= number < device_count():
        raise no_such_device(number, device_count())
    if capability(number) < OLDEST:
        raise too_old(number, capability(number))
    require(BINDINGS + COMPILER, driver_version())
    installed = int(importlib.metadata.version("cuda-bindings").split(".")[0])
    if driver_version()[0] < installed:
        raise old_driver(driver_version(), installed)


def require_compiler() -> None:
    """Raise unless kernels can be compiled, which needs no GPU.

    Raises
    ------
    MissingExtraError
        A package is missing, or is of a version that does not go with another.
    """
    require(COMPILER)
    compiler = importlib.metadata.version("numba-cuda")
    if _version(compiler) < (0, 31) and _version(np.__version__) >= (2, 5):
        raise wrong_numpy(compiler, np.__version__)


def _version(text: str) -> tuple[int, ...]:
    """The first two numbers of a version."""
    return tuple(int(part) for part in text.split(".")[:2])


def require(packages: tuple[str, ...], version: tuple[int, int] | None = None) -> None:
    """Raise MissingExtraError for the first package that is not installed."""
    for package in _absent(packages):
        raise missing(package, version)


def _absent(packages: tuple[str, ...]) -> list[str]:
    return [package for package in packages if not _found(package)]


def _found(package: str) -> bool:
    try:
        return importlib.util.find_spec(package) is not None
    except ModuleNotFoundError:  # a package above it
        return False


@functools.cache
def blas_path() -> str | None:
    """Where cublasLt lies, or None: the generated kernels then compute all products."""
    if not _found("cuda.pathfinder"):
        return None
    from cuda import pathfinder  # pyright: ignore[reportMissingImports, reportAttributeAccessIssue]

    try:
        return pathfinder.load_nvidia_dynamic_lib("cublasLt").abs_path
    except pathfinder.DynamicLibNotFoundError:
        return None


def missing(package: str, version: tuple[int, int] | None = None) -> MissingExtraError:
    """A package is not installed; ``version`` is what the driver runs, where it is known."""
    name = package.replace("_", "-").replace(".", "-")
    if version is None:
        hint = 'pip install "graphc[cuda13]", or "graphc[cuda12]" for a driver of CUDA 12'
    else:
        hint = f'pip install "graphc[{"cuda13" if version >= (13, 0) else "cuda12"}]"'
    return MissingExtraError(f"{_WHAT} needs the package {name}\n  hint: install it with: {hint}")


def wrong_numpy(compiler: str, numpy: str) -> MissingExtraError:
    """NumPy is too new for the compiler of kernels."""
    return MissingExtraError(
        f"{_WHAT}: numba-cuda {compiler} does not work with NumPy {numpy}, which has no numpy.row_stack\n"
        '  hint: pip install "numpy<2.5"'
    )


def no_library(reason: str) -> MissingExtraError:
    """A library of NVIDIA's compilers lies neither in a package nor in a toolkit."""
    return MissingExtraError(
        f"{_WHAT}: a library of the compiler of kernels was not found: {reason}\n"
        '  hint: pip install "graphc[cuda13]" brings libnvvm and nvJitLink; those of a toolkit are found by CUDA_HOME.'
    )


def no_driver() -> DeviceError:
    """There is no libcuda."""
    return DeviceError(
        f"{_WHAT}: this machine has no NVIDIA driver (libcuda was not found)\n"
        '  hint: install the driver, or use target="auto", which takes the CPU here.'
    )


def no_device(status: int) -> DeviceError:
    """The driver does not start; ``status`` is what cuInit says (CUresult)."""
    reasons = {
        3: "this process was forked from one that uses the GPU",
        100: "it sees no GPU",
        803: "its kernel module has another version",
    }
    hints = {
        3: 'start workers with the method "spawn".',
        100: "see what nvidia-smi shows; CUDA_VISIBLE_DEVICES may hide it, a container needs --gpus all.",
        803: "restart the machine after an update of the driver.",
    }
    reason = reasons.get(status, "it gives no reason")
    hint = hints.get(status, "see whether nvidia-smi runs.")
    return DeviceError(f"{_WHAT}: the NVIDIA driver does not start: {reason} (status {status})\n  hint: {hint}")


def no_such_device(number: int, count: int) -> DeviceError:
    """There are fewer GPUs."""
    have = "there is 1 GPU" if count == 1 else f"there are {count} GPUs"
    hint = "they are counted from 0" if count else "see what nvidia-smi shows"
    return DeviceError(
        f"{_WHAT}: GPU {number} does not exist: {have}\n  hint: {hint}; CUDA_VISIBLE_DEVICES may hide some."
    )


def too_old(number: int, found: tuple[int, int]) -> DeviceError:
    """The compute capability is below 7.5."""
    return DeviceError(
        f"{_WHAT}: GPU {number} has compute capability {found[0]}.{found[1]}, the oldest that works is "
        f'{OLDEST[0]}.{OLDEST[1]} (Turing, 2018)\n  hint: use target="cpu".'
    )


def old_driver(runs: tuple[int, int], installed: int) -> DeviceError:
    """The packages are of a later CUDA than the driver runs."""
    return DeviceError(
        f"{_WHAT}: the driver runs CUDA {runs[0]}.{runs[1]}, the installed packages are of CUDA {installed}\n"
        f'  hint: pip install "graphc[cuda{runs[0]}]", or a newer driver.'
    )


def out_of_memory(asked: int, free: int, total: int, note: str = "") -> DeviceError:
    """Memory is short; ``note`` says what the bytes are for, one line each."""
    table = "".join(f"\n  {line}" for line in note.splitlines())
    return DeviceError(
        f"the GPU is full: {_size(asked)} asked for, {_size(free)} of {_size(total)} free{table}\n"
        "  hint: a smaller batch_size, dtype float32, or close what else uses the GPU (nvidia-smi shows it)."
    )


def _size(count: int) -> str:
    power = min(3, max(0, (count.bit_length() - 1) // 10))
    return f"{count / 1024**power:.4g} {('B', 'KiB', 'MiB', 'GiB')[power]}"


NO_BLAS = (
    "cublasLt was not found, so generated kernels compute the matrix products, large ones more slowly\n"
    '  hint: pip install "graphc[cuda13]" brings it.'
)
"""A note, no error."""
