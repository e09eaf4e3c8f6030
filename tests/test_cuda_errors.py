"""What a user reads when CUDA, a package or a GPU is missing."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

from graphc.cuda import libraries
from graphc.errors import DeviceError, MissingExtraError

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
        libraries.no_library("libNVVM is not available"),
        'target="cuda": a library of the compiler of kernels was not found: libNVVM is not available\n'
        '  hint: pip install "graphc[cuda13]" brings libnvvm and nvJitLink; those of a toolkit are found by CUDA_HOME.',
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
    absent = re.search("needs the package|library of the compiler", text)
    assert isinstance(error, MissingExtraError if absent else DeviceError)


def test_the_note_on_a_missing_library_of_products_says_how_to_get_it():
    assert libraries.NO_BLAS == (
        "cublasLt was not found, so generated kernels compute the matrix products, large ones more slowly\n"
        '  hint: pip install "graphc[cuda13]" brings it.'
    )


@pytest.mark.parametrize(("compiler", "numpy", "refused"), [
    ("0.30.4", "2.5.0", True), ("0.30.4", "2.4.6", False), ("0.31.0", "2.5.1", False), ("0.30.4", "3.0.0", True),
])  # fmt: skip
def test_a_numpy_that_the_compiler_does_not_bear_is_refused_with_both_versions(monkeypatch, compiler, numpy, refused):
    monkeypatch.setattr(libraries, "require", lambda packages, version=None: None)
    monkeypatch.setattr("importlib.metadata.version", lambda package: compiler)
    monkeypatch.setattr("numpy.__version__", numpy)
    if not refused:
        libraries.require_compiler()
        return
    with pytest.raises(MissingExtraError) as caught:
        libraries.require_compiler()
    assert str(caught.value) == (
        f'target="cuda": numba-cuda {compiler} does not work with NumPy {numpy}, which has no numpy.row_stack\n'
        '  hint: pip install "numpy<2.5"'
    )


ASKING = """
import ctypes, sys
from graphc.errors import GraphcError
from graphc.cuda import libraries
print(libraries.available(), sorted({"numba", "cuda.bindings", "cuda.core"} & set(sys.modules)))
from graphc.cuda.driver import Gpu
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
