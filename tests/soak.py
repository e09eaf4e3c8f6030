"""Long runs: `make soak`, or ``python -m tests.soak --only kills``. Each part prints figures and fails on bad ones.

kills      100 runs that keep checkpoints are killed at random instants; every file left is whole, every run goes on to
           the bits of one that was never interrupted
caches     the code cache is damaged in 26 ways; each time a new process trains to the same bits
steps      10^7 steps in one fit: resident memory before and after
fits       10^4 fits of one model, then 200 models that are dropped: memory, files, threads
threads    four threads with models of their own, and one model that all want, for a minute
memory     fits in processes whose address space is limited: a model, a MemoryError or an error of graphc, never a crash
"""

from __future__ import annotations

import argparse
import gc as collector
import os
import resource
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from unittest import mock

import numpy as np

import graphc as gc
from tests import kills, nets

XOR_X = np.array([[0, 0], [0, 1], [1, 0], [1, 1]], np.float32)
XOR_T = np.array([[0], [1], [1], [0]], np.float32)
MB = 2**20
TRAINS = """
import sys, warnings
warnings.simplefilter("ignore")
import tests.soak
print(tests.soak.trained().hex())
"""
LIMITED = """
import resource, sys
import graphc as gc
import llvmlite.binding
from tests import soak
used = int(open("/proc/self/statm").read().split()[0])*resource.getpagesize()
limit = used + int(sys.argv[1])*2**20
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
try:
    soak.large()
    print("trained")
except MemoryError:
    print("MemoryError")
except gc.errors.GraphcError as error:
    print(type(error).__name__)
except (OSError, RuntimeError, ImportError) as error:
    print(type(error).__name__, str(error)[:60].replace(chr(10), " "))
"""


def trained() -> bytes:
    model = nets.xor()
    model.fit(XOR_X, XOR_T, optimizer=gc.SGD(0.5), epochs=200, batch_size=4, seed=1)
    return model.params.flat.tobytes() + np.asarray(model.predict(XOR_X)).tobytes()


def large() -> None:
    """A network of 9 million parameters and 64 MB of data."""
    X, T = gc.input("X", ("n", 1024)), gc.input("T", ("n", 8))
    W, V = gc.param("W", (1024, 8192), gc.normal(0.03)), gc.param("V", (8192, 8), gc.normal(0.03))
    model = gc.Model(gc.tanh(X @ W) @ V, gc.mean((gc.tanh(X @ W) @ V - T) ** 2), dtype="float32")
    rng = np.random.default_rng(0)
    x = rng.normal(size=(16384, 1024)).astype(np.float32)
    model.fit(x, x[:, :8].copy(), steps=2, batch_size=64, optimizer=gc.Adam(1e-3))


def resident() -> float:
    """Megabytes of memory that the process holds."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / MB


def handles() -> tuple[int, int]:
    """Open files, threads."""
    return len(os.listdir("/proc/self/fd")), len(os.listdir("/proc/self/task"))


def kill_many() -> str:
    with tempfile.TemporaryDirectory() as folder:
        seen = kills.campaign(Path(folder), 100, seed=int(time.time()))
    assert not seen.faults, seen.faults
    when = f"{seen.begun_anew} before the first checkpoint, {seen.unfinished} within a write, {seen.over} too late"
    found = f"{len(seen.steps)} checkpoints loaded, all whole; all runs end with the same bits"
    return f"{seen.kills} kills ({when}); {found}"


def damage_caches() -> str:
    from tests.test_cache_damage import DAMAGES  # noqa: PLC0415  a test file, which needs pytest

    with tempfile.TemporaryDirectory() as folder:
        cache = Path(folder) / "cache"
        environment = os.environ | {"GRAPHC_CACHE": str(cache), "PYTHONPATH": str(nets.ROOT)}
        command = [sys.executable, "-c", TRAINS]
        once = lambda: subprocess.run(command, env=environment, capture_output=True, check=True).stdout
        expected, done = once(), 0
        key, other = "a" * 64, "b" * 64 + ".obj"  # names that the damages know
        for name, damage in DAMAGES.items():
            for kind in ("obj", "facts", "checked"):
                files = [p for p in sorted(cache.glob(f"*.{kind}")) if p.is_file() and p.stem not in (key, "b" * 64)]
                (cache / other).write_bytes(files[0].read_bytes())
                for sibling in (".facts", ".checked"):
                    (cache / (key + sibling)).touch()
                damage(files[0])
            assert once() == expected, name
            done += 1
            for p in cache.iterdir():
                if p.is_dir():
                    subprocess.run(["rm", "-r", p], check=True)
        assert once() == expected
    return f"{done} damages of code, facts and verdicts: the same bits each time"


def many_steps(steps: int = 10**7) -> str:
    """A thousand steps an epoch, so that the history is short."""
    model, x, t = nets.xor(), np.tile(XOR_X, (1000, 1)), np.tile(XOR_T, (1000, 1))
    model.fit(x, t, optimizer=gc.SGD(0.5), steps=100_000, batch_size=4)
    before, files = resident(), handles()
    begun = time.perf_counter()
    model.fit(x, t, optimizer=gc.SGD(0.5), steps=steps, batch_size=4)
    seconds, after = time.perf_counter() - begun, resident()
    assert handles() == files, (files, handles())
    assert after - before < 10 and np.isfinite(model.params.flat).all(), (before, after)
    return f"{steps} steps in {seconds:.1f} s: {before:.0f} MB + {after - before:.1f}; handles {files}"


def _of_width(width: int) -> None:
    """A model that no other program is like, trained and dropped."""
    X, T = gc.input("X", ("n", 32)), gc.input("T", ("n", 8))
    Y = gc.nn.Dense(8)(gc.nn.Dense(width, activation="tanh")(gc.nn.Dense(width + 3, activation="tanh")(X)))
    x = np.zeros((64, 32), np.float32)
    gc.Model(Y, gc.losses.mse(Y, T)).fit(x, x[:, :8].copy(), optimizer=gc.Adam(1e-3), steps=1, batch_size=64)


def many_fits(fits: int = 10**4, models: int = 200, widths: int = 48) -> str:
    model = nets.xor()
    once = lambda m: m.fit(XOR_X, XOR_T, optimizer=gc.SGD(0.5), steps=4, batch_size=4)
    for _ in range(300):
        once(model)
    before, files, seen = resident(), handles(), []
    for number in range(fits):
        once(model)
        if number % (fits // 10) == 0:
            seen.append(resident())
    growth = resident() - before
    assert handles() == files, (files, handles())
    assert growth < 20, seen
    mid = resident()
    for _ in range(models):
        once(nets.xor())
    dropped = (resident() - mid) / models
    assert handles() == files, (files, handles())
    assert dropped < 1.0, dropped
    told = f"{models} models dropped: {dropped:.2f} MB each; handles {files}"
    with tempfile.TemporaryDirectory() as folder, mock.patch.dict(os.environ, GRAPHC_CACHE=folder):
        for width in range(40, 48):
            _of_width(width)
        collector.collect()
        mid = resident()
        for width in range(50, 50 + widths):
            _of_width(width)
        collector.collect()
        compiled = (resident() - mid) / widths
    assert compiled < 0.5, compiled
    told += f"; {widths} compiled and dropped: {compiled:.2f} MB each"
    return f"{fits} fits: {before:.0f} MB + {growth:.1f}; {told}"


def many_threads(seconds: float = 60.0) -> str:
    shared, until = nets.network("float32"), time.monotonic() + seconds
    x, t = nets.data(101)
    fit = lambda m, seed: m.fit(x, t, optimizer=gc.Adam(0.01), batch_size=8, epochs=20, seed=seed)
    expected = [_bits(fit, seed) for seed in range(4)]
    counts, faults = {"own": 0, "shared": 0, "told": 0}, []

    def work(seed: int) -> None:
        while time.monotonic() < until:
            if _bits(fit, seed) != expected[seed]:
                faults.append(f"seed {seed}")
            counts["own"] += 1
            try:
                fit(shared, seed)
                counts["shared"] += 1
            except gc.errors.BusyError:
                counts["told"] += 1

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not faults, faults
    told = f"{counts['shared']} of one for all, {counts['told']} were told"
    return f"{counts['own']} fits of models of their own, all right; {told}"


def _bits(fit: Callable[[gc.Model, int], object], seed: int) -> bytes:
    model = nets.network("float32")
    fit(model, seed)
    return model.params.flat.tobytes()


def little_memory() -> str:
    large()  # compiled, so that what is short is memory for the data and the arena
    found: dict[str, list[int]] = {}
    for megabytes in (4, 16, 32, 64, 100, 150, 200, 250, 300, 400, 600, 1000, 2000):
        command = [sys.executable, "-c", LIMITED, str(megabytes)]
        result = subprocess.run(command, cwd=nets.ROOT, capture_output=True, text=True, check=False)
        assert result.returncode == 0, f"{megabytes} MB: {result.returncode} {result.stderr[-300:]}"
        found.setdefault(result.stdout.strip(), []).append(megabytes)
    return "; ".join(f"{said}: {', '.join(map(str, at))} MB" for said, at in found.items())


PARTS: dict[str, Callable[[], str]] = {
    "kills": kill_many, "caches": damage_caches, "steps": many_steps, "fits": many_fits, "threads": many_threads,
    "memory": little_memory,
}  # fmt: skip


def main(only: str) -> None:
    for name, part in PARTS.items():
        if only in name:
            begun = time.perf_counter()
            print(f"{name:8s}", part(), f"({time.perf_counter() - begun:.0f} s)", flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="", help=f"one of {', '.join(PARTS)}")
    main(parser.parse_args().only)
