"""A child process that answers lines with lines of JSON; what becomes of it is the parent's to decide."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
QUIET = {"PYTHONPATH": str(ROOT), "XLA_PYTHON_CLIENT_PREALLOCATE": "false", "JAX_DEFAULT_MATMUL_PRECISION": "highest"}
"""JAX would take three quarters of the memory of the GPU, and multiply in TF32."""


class Gone(Exception):
    """The process has ended, or was ended because it took too long; the text is its last words."""


class Process:
    """The child; its standard error goes to a file, of which the last line is kept for :class:`Gone`."""

    def __init__(self, command: Sequence[str], environment: Mapping[str, str] | None = None) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="graphc-gpu-")
        self._errors = Path(self._folder.name, "errors.txt")
        with self._errors.open("w") as errors:
            self._process = subprocess.Popen(
                list(command), cwd=ROOT, env=os.environ | QUIET | dict(environment or {}), text=True,
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors,
            )  # fmt: skip

    def tell(self, line: str) -> None:
        """Send a line.

        Raises
        ------
        Gone
            When nobody reads.
        """
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(f"{line}\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            raise Gone(self._last_words()) from None

    def answer(self, timeout: float) -> dict[str, Any]:
        """The next answer; the child is killed after ``timeout`` seconds without one.

        Raises
        ------
        Gone
            When none comes.
        """
        assert self._process.stdout is not None
        late = threading.Event()
        alarm = threading.Timer(timeout, lambda: (late.set(), self._process.kill()))
        alarm.start()
        line = self._process.stdout.readline()
        alarm.cancel()
        if line:
            return json.loads(line)
        raise Gone(f"no answer within {timeout:.0f} s" if late.is_set() else self._last_words())

    def close(self) -> None:
        """End the child."""
        self._process.kill()
        self._process.communicate()
        self._folder.cleanup()

    def _last_words(self) -> str:
        self._process.wait()
        lines = [line.strip() for line in self._errors.read_text().splitlines() if line.strip()]
        return f"it ended with status {self._process.returncode}: {lines[-1] if lines else 'no message'}"
