"""Who takes part: the peers, their modes, and the process in which one of them lives."""

from __future__ import annotations

import compileall
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
MODES = {  # each is explained at the top of its <peer>_peer.py
    "graphc": ("fit", "auto"),
    "jax": ("jit", "scan", "jit_flat", "scan_flat"),
    "torch": ("eager", "eager_fused", "compile", "compile_step", "compile_cpp"),
    "pytensor": ("numba", "c"),
    "sklearn": ("fit",),
}

AVX2 = {
    "NUMBA_CPU_NAME": "haswell", "NUMBA_CPU_FEATURES": "+avx,+avx2,+fma,+f16c,+bmi,+bmi2,+popcnt,+sse4.2",
    "XLA_FLAGS": "--xla_cpu_max_isa=AVX2", "ATEN_CPU_CAPABILITY": "avx2", "ONEDNN_MAX_CPU_ISA": "AVX2",
    "MKL_ENABLE_INSTRUCTIONS": "AVX2", "OPENBLAS_CORETYPE": "Haswell",
}  # fmt: skip
"""What keeps everybody to AVX2 on a processor with AVX-512."""


@dataclass(frozen=True)
class Contestant:
    """A peer in one of its modes, with a thread count, run by an interpreter."""

    peer: str
    mode: str
    threads: int
    python: str

    def __str__(self) -> str:
        return f"{self.peer} {self.mode} ({self.threads} threads)"


class Dropped(Exception):
    """A contestant cannot go on; the text is the reason."""


def is_installed(peer: str, python: str) -> bool:
    """Whether ``python`` finds the peer's package."""
    probe = "import importlib.util, sys; sys.exit(importlib.util.find_spec(sys.argv[1]) is None)"
    return subprocess.run([python, "-c", probe, peer], cwd=ROOT, capture_output=True).returncode == 0


def installed() -> dict[str, str]:
    """This environment, with byte code as every installation has it: that of a checkout is made here."""
    compileall.compile_dir(str(ROOT / "graphc"), quiet=2)
    return {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}


def answer_of(module: str, arguments: Sequence[str], cache: str) -> tuple[Any, float]:
    """What ``python -m tests.benchmarks.<module> --child ..`` prints as JSON, in a fresh process with that code cache,
    and the seconds that the process took."""
    env = installed() | {"GRAPHC_CACHE": cache, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", f"tests.benchmarks.{module}", "--child", *arguments]
    started = time.perf_counter()
    result = subprocess.run(command, env=env, cwd=ROOT, capture_output=True, text=True, check=True)
    return json.loads(result.stdout), time.perf_counter() - started


def environment(c: Contestant, caches: str | None) -> dict[str, str]:
    """The child's environment: its thread count for every library, and compile caches in the folder ``caches``."""
    env = installed() | {"PYTHONPATH": str(ROOT), "JAX_PLATFORMS": "cpu"}
    for library in ("OMP", "MKL", "OPENBLAS", "NUMBA"):
        env[f"{library}_NUM_THREADS"] = str(c.threads)
    env["NPROC"] = str(c.threads)  # the size of XLA's thread pool
    if c.threads == 1:
        env["XLA_FLAGS"] = f"{env.get('XLA_FLAGS', '')} --xla_cpu_multi_thread_eigen=false".strip()
    if caches is not None:
        env |= {
            "GRAPHC_CACHE": f"{caches}/graphc",
            "NUMBA_CACHE_DIR": f"{caches}/numba",
            "PYTENSOR_FLAGS": f"base_compiledir={caches}/pytensor",
            "TORCHINDUCTOR_CACHE_DIR": f"{caches}/inductor",
            "JAX_COMPILATION_CACHE_DIR": f"{caches}/jax",
            "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        }
    return env


def since(began: float, about: dict) -> float:
    """Seconds from ``began`` to the end of a first step, imports included, less those of making the data."""
    return about["at_s"] - began - about["data_s"]


class Child:
    """The process of one contestant (:mod:`tests.benchmarks.child`); ``about`` is what it reports when it is ready."""

    def __init__(self, c: Contestant, workload: str, *, keep_caches: bool = False, timeout: float = 600.0) -> None:
        self.contestant, self.workload, self.timeout = c, workload, timeout
        self._folder = tempfile.TemporaryDirectory(prefix="graphc-bench-")
        self._environment = environment(c, None if keep_caches else self._folder.name)
        self._errors = Path(self._folder.name, "errors.txt")
        began = time.monotonic()
        with self._errors.open("w") as errors:
            self._process = subprocess.Popen(
                self._command(), cwd=ROOT, env=self._environment, text=True,
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors,
            )  # fmt: skip
        try:
            self.about = self._answer()
        except Dropped:
            self.close()
            raise
        self.about["start_s"] = since(began, self.about)

    def _command(self) -> list[str]:
        c = self.contestant
        return [c.python, "-m", "tests.benchmarks.child", c.peer, c.mode, self.workload, str(c.threads)]

    def start_again(self) -> None:
        """Note what the first step takes in a second process, which finds the caches of the first one."""
        began = time.monotonic()
        done = subprocess.run(
            [*self._command(), "first"], cwd=ROOT, env=self._environment, text=True, capture_output=True,
            timeout=self.timeout,
        )  # fmt: skip
        if done.returncode:
            raise Dropped(f"its second start ended with status {done.returncode}")
        again = json.loads(done.stdout)
        self.about |= {"cached_first_step_s": again["first_step_s"], "cached_start_s": since(began, again)}
        self.about["cached_first_step_peak_mb"] = again["first_step_peak_mb"]

    def measure(self, seconds: float) -> dict:
        """Step times of about ``seconds`` of training, with ``steps_per_call`` and ``peak_rss_mb``."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(f"{seconds}\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            raise Dropped(self._last_words()) from None
        return self._answer()

    def close(self) -> None:
        """End the process and remove its caches."""
        self._process.kill()
        self._process.communicate()
        self._folder.cleanup()

    def _answer(self) -> dict:
        assert self._process.stdout is not None
        alarm = threading.Timer(self.timeout, self._process.kill)
        alarm.start()
        line = self._process.stdout.readline()
        alarm.cancel()
        message = json.loads(line) if line else {"skipped": self._last_words()}
        if "skipped" in message:
            raise Dropped(message["skipped"])
        return message

    def _last_words(self) -> str:
        self._process.wait()
        lines = [line.strip() for line in self._errors.read_text().splitlines() if line.strip()]
        return f"it ended with status {self._process.returncode}: {lines[-1] if lines else 'no message'}"
