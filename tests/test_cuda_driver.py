"""The GPU machine without a GPU: on a driver and a library of products that keep everything on the host."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from graphc.cuda import libraries

pytestmark = pytest.mark.cuda
SOURCES = Path(__file__).parent / "cuda_stub"
ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def stubs(tmp_path_factory) -> Path:
    """The folder with the two shared libraries."""
    folder = tmp_path_factory.mktemp("stub")
    common = ["cc", "-shared", "-fPIC", "-O1"]
    driver, blas = "libcuda.so.1", "libcublasLt.so.13"
    subprocess.run(
        [*common, f"-Wl,-soname,{driver}", "-o", driver, SOURCES / "libcuda.c", "-ldl"], cwd=folder, check=True
    )
    command = [*common, f"-Wl,-soname,{blas}", "-o", blas, SOURCES / "libcublasLt.c", "-L.", f"-l:{driver}"]
    subprocess.run(command, cwd=folder, check=True)
    return folder


def on_stub(stubs: Path, *arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"LD_LIBRARY_PATH": str(stubs), "PYTHONPATH": str(ROOT)} | settings
    return subprocess.run([sys.executable, *arguments], cwd=ROOT, env=environment, capture_output=True, text=True)


def test_the_machine_works_on_the_stub(stubs):
    """Every test of cuda_stub/on_stub.py."""
    result = on_stub(stubs, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(SOURCES / "on_stub.py"))
    assert result.returncode == 0, result.stdout
    assert " passed" in result.stdout and "skipped" not in result.stdout


OPEN = """
from graphc.errors import GraphcError
from graphc.cuda import libraries
from graphc.cuda.driver import Gpu
print(libraries.available())
try:
    Gpu(NUMBER)
except GraphcError as error:
    print(error)
"""


@pytest.mark.parametrize(
    ("settings", "number", "available", "error"),
    [
        ({"STUB_INIT": "100"}, 0, False, libraries.no_device(100)),
        ({"STUB_COUNT": "0"}, 0, False, libraries.no_such_device(0, 0)),
        ({"STUB_COUNT": "2"}, 2, True, libraries.no_such_device(2, 2)),
        ({"STUB_CAPABILITY": "61"}, 0, False, libraries.too_old(0, (6, 1))),
        ({"STUB_VERSION": "12040"}, 0, True, libraries.old_driver((12, 4), 13)),
    ],
)
def test_a_gpu_that_cannot_be_used_is_refused_in_words(stubs, settings, number, available, error):
    result = on_stub(stubs, "-c", OPEN.replace("NUMBER", str(number)), **settings)
    assert result.stdout == f"{available}\n{error}\n", result.stderr
