"""What a machine has of all that the sections need, and what follows where something is missing. Needs no GPU."""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from graphc.cuda import libraries
from tests.gpu.process import QUIET, ROOT

PACKAGES = ("numba", "llvmlite", "numba-cuda", "cuda-bindings", "cuda-core", "cuda-pathfinder",
            "nvidia-nvvm", "nvidia-nvjitlink", "nvidia-cublas")  # fmt: skip
LIBRARIES = {"nvidia-nvvm": "nvvm", "nvidia-nvjitlink": "nvJitLink", "nvidia-cublas": "cublasLt"}
SANITIZER = "compute-sanitizer"
PROBES = {
    "torch": "import torch; print(torch.__version__, torch.cuda.is_available() and torch.version.cuda or '')",
    "jax": "import jax; print(jax.__version__, 'gpu' if jax.default_backend() == 'gpu' else '')",
}
Line = dict[str, Any]


def line(name: str, found: str, follows: str = "") -> Line:
    """A thing that was looked for: found, or missing with what follows."""
    status = "ok" if found else "missing"
    return {"section": "libraries", "name": name, "status": status, "text": found or follows}


def driver() -> Line:
    """NVIDIA's driver and the newest CUDA that it runs."""
    library = libraries.driver()
    started = library is not None and library.cuInit(0) == 0
    found = "CUDA {}.{}".format(*libraries.driver_version()) if started else ""
    return line("driver", found, "no libcuda, or it does not start: nothing runs on a GPU here")


def gpu() -> Line:
    """Every GPU with its instruction set."""
    count = libraries.device_count() if libraries.driver() is not None else 0
    found = [f"{n}: {_smi(n)} sm_{''.join(map(str, libraries.capability(n)))}" for n in range(count)]
    return line("GPU", "; ".join(found), "no GPU: only --emulated is possible")


def _smi(number: int) -> str:
    """Name, memory, clocks and whether other processes may use it, as nvidia-smi says."""
    if shutil.which("nvidia-smi") is None:
        return "(no nvidia-smi)"
    fields = "name,memory.total,driver_version,clocks.max.sm,compute_mode"
    command = ["nvidia-smi", f"--query-gpu={fields}", "--format=csv,noheader", "-i", str(number)]
    done = subprocess.run(command, capture_output=True, text=True)
    return done.stdout.strip() or "(nvidia-smi fails)"


def packages() -> Line:
    """Versions of what makes and launches kernels."""
    found = {p: _version(p) or _library(p) for p in PACKAGES}
    absent = [p for p in PACKAGES[:-1] if not found[p]]
    versions = ", ".join(f"{p} {found[p] or 'missing'}" for p in PACKAGES)
    if absent:
        hint = 'pip install "graphc[cuda13]"'
        return line("packages", "", f"{', '.join(absent)} missing: kernels cannot be compiled; {hint}")
    return line("packages", versions)


def _library(package: str) -> str:
    """Where the library of a package lies that a toolkit of the system brings instead."""
    name = LIBRARIES.get(package)
    if name is None or importlib.util.find_spec("cuda") is None:
        return ""
    pathfinder = importlib.import_module("cuda.pathfinder")
    try:
        return f"of a toolkit ({pathfinder.load_nvidia_dynamic_lib(name).abs_path})"
    except pathfinder.DynamicLibNotFoundError:
        return ""


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return ""


def blas() -> Line:
    """cublasLt."""
    return line("cublasLt", libraries.blas_path() or "", libraries.NO_BLAS.splitlines()[0])


def sanitizer_path() -> str:
    """Where compute-sanitizer is, or an empty text."""
    places = [Path(os.environ.get("CUDA_HOME", "/usr/local/cuda")) / "bin"]
    places += [p for base in sys.path for p in Path(base).glob("nvidia/*/bin") if base]
    found = shutil.which(SANITIZER) or shutil.which(SANITIZER, path=os.pathsep.join(map(str, places)))
    return found or ""


def sanitizer() -> Line:
    """NVIDIA's checker of memory accesses, races and barriers."""
    return line(SANITIZER, sanitizer_path(), "the section sanitizer is left out; it comes with the CUDA toolkit")


def peer(name: str, python: str) -> Line:
    """Whether a framework in some environment sees the GPU."""
    found = probe(name, python)
    version, _, cuda = found.partition(" ")
    where = f"in {python}"
    if not version:
        return line(f"{name} with CUDA", "", f"not installed {where}: no comparison with it; name one by GPU_PEERS")
    missing = f"{name} {version} {where} sees no GPU: no comparison with it"
    return line(f"{name} with CUDA", f"{version} ({cuda}) {where}" if cuda else "", missing)


def probe(name: str, python: str) -> str:
    """Version and CUDA of a framework, as its own interpreter says; empty where it cannot be imported."""
    try:
        done = subprocess.run(
            [python, "-c", PROBES[name]], cwd=ROOT, env=os.environ | QUIET, capture_output=True, text=True, timeout=120
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip().splitlines()[-1] if done.returncode == 0 and done.stdout.strip() else ""


def look(peers: str, isolated: Callable[[str, Callable[[], Line]], Line]) -> list[Line]:
    """Everything, each on its own."""
    steps: dict[str, Callable[[], Line]] = {
        "driver": driver, "GPU": gpu, "packages": packages, "cublasLt": blas, SANITIZER: sanitizer,
        "torch": lambda: peer("torch", peers), "jax": lambda: peer("jax", peers),
    }  # fmt: skip
    return [isolated(name, step) for name, step in steps.items()]


if __name__ == "__main__":
    print(json.dumps(look(sys.executable, lambda name, step: step()), indent=1))
