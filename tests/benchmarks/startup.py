"""Where the time from the start of a process to a trained network goes: ``python -m tests.benchmarks.startup``.

Every number is a median over fresh processes, cold (an empty code cache) and cached. Byte code is there in both cases,
as after any installation: it is written by one process before. Prints the tables of ``docs/startup.md``.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any

RUNS = ("xor", "digits")
FIRST_STEPS = ("W1", "W2", "W3", "W4", "W5")
REPEATED = ("W1", "W2", "W3")
IMPORTS = ("interpreter", "import numpy", "import sympy", "import graphc")
COMPILE = ("import the compiler", "front end", "LLVM")
STAGES = (*IMPORTS, "declare", "look up", "derive, rewrite", "plan", "print", *COMPILE, "load", "run", "rest")

# Names that a fit looks up when it calls them. Those of the front end are there once the compiler is imported; of LLVM
# it is the time for which everything else waits.
TIMED = [
    ("look up", "graphc.facade.preparing", "declared"),
    ("look up", "graphc.facade.programs", "recall"),
    ("derive, rewrite", "graphc.facade.core", "read_graph"),
    ("derive, rewrite", "graphc.facade.core", "differentiate"),
    ("derive, rewrite", "graphc.facade.deriving", "captions"),
    ("plan", "graphc.facade.programs", "plan_step"),
    ("print", "graphc.facade.programs", "training_program"),
    ("import the compiler", "graphc.native.build", "compile_image"),
    ("load", "graphc.native.build", "Program"),
]
COMPILER = [
    ("front end", "graphc.native.build", "_execute"),
    ("front end", "graphc.native.target", "lower"),
    ("LLVM", "graphc.native.machine_code", "Works.images"),
]


class Watch:
    """Seconds by stage; a stage inside another is taken out of it."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = defaultdict(float)
        self.inner = [0.0]

    @contextmanager
    def stage(self, name: str):
        self.inner.append(0.0)
        started = time.perf_counter()
        try:
            yield
        finally:
            took = time.perf_counter() - started
            self.seconds[name] += took - self.inner.pop()
            self.inner[-1] += took

    def replace(self, stage: str, module: str, name: str) -> None:
        """Time every call of a function under the name by which its caller knows it."""
        place: Any = importlib.import_module(module)
        *owner, name = name.split(".")
        for part in owner:
            place = getattr(place, part)
        function = getattr(place, name)

        def timed(*args: Any, **options: Any) -> Any:
            with self.stage(stage):
                return function(*args, **options)

        setattr(place, name, timed)

    def replace_all(self) -> None:
        for entry in TIMED:
            self.replace(*entry)
        build = importlib.import_module("graphc.native.build")
        execute = build._execute

        def first(*args: Any) -> Any:
            build._execute = execute
            for entry in COMPILER:
                self.replace(*entry)
            return build._execute(*args)

        build._execute = first


# ---------------------------------------------------------------- in the child


def child(case: str, data: str, born: float) -> None:
    """Train once and print the seconds of every stage as JSON; ``born`` is when this process was asked for."""
    watch = Watch()
    watch.seconds["interpreter"] = time.time() - born
    for package in ("numpy", "sympy"):
        with watch.stage(f"import {package}"):
            importlib.import_module(package)
    with watch.stage("import graphc"):
        gc = importlib.import_module("graphc")
        gc.Model  # noqa: B018  loads it
    watch.replace_all()
    arrays = importlib.import_module("numpy").load(data)
    made = {"xor": xor, "digits": digits}.get(case) or workload(case)
    ready = time.time()
    with watch.stage("declare"):
        model, options = made(gc)
    with watch.stage("rest"):
        run = model.fit(dict(arrays), **options)
    watch.seconds["run"] = run.seconds
    watch.seconds["rest"] -= run.seconds
    print(json.dumps({**watch.seconds, "total": time.time() - born, "first step": time.time() - ready}))


def xor(gc: Any) -> tuple[Any, dict[str, Any]]:
    """2-4-1, all four rows a step, 5000 epochs."""
    X, T = gc.input("X", ("n", 2)), gc.input("T", ("n", 1))
    W0, B0 = gc.param("W0", (2, 4), gc.normal(1.0)), gc.param("B0", (4,), 0.0)
    W1, B1 = gc.param("W1", (4, 1), gc.normal(1.0)), gc.param("B1", (1,), 0.0)
    Y = gc.sigmoid(gc.tanh(X @ W0 + B0) @ W1 + B1)
    J = gc.mean(-(T * gc.log(Y) + (1 - T) * gc.log(1 - Y)))
    return gc.Model(output=Y, loss=J), {"optimizer": gc.SGD(0.5), "epochs": 5000, "batch_size": 4}


def digits(gc: Any) -> tuple[Any, dict[str, Any]]:
    """64-128-10, batch 64, Adam, 50 epochs."""
    X, T = gc.input("X", ("n", 64)), gc.input("T", ("n",), dtype="int64")
    W0, B0 = gc.param("W0", (64, 128), gc.he()), gc.param("B0", (128,), 0.0)
    W1, B1 = gc.param("W1", (128, 10), gc.glorot()), gc.param("B1", (10,), 0.0)
    Z = gc.relu(X @ W0 + B0) @ W1 + B1
    model = gc.Model(output=Z, loss=gc.losses.cross_entropy(Z, T), metrics={"accuracy": gc.metrics.accuracy(Z, T)})
    return model, {"optimizer": gc.Adam(1e-3), "epochs": 50, "batch_size": 64}


def workload(name: str) -> Callable[[Any], tuple[Any, dict[str, Any]]]:
    """One step of a workload, whose initial weights are drawn beforehand."""
    peer = importlib.import_module("tests.benchmarks.graphc_peer")
    w = peer.wl.WORKLOADS[name]
    weights = peer.wl.init(w)
    peer.wl.init = lambda _: weights
    options = {"optimizer": peer.optimizer(w), "batch_size": w.batch, "shuffle": False, "steps": 1}

    def made(gc: Any) -> tuple[Any, dict[str, Any]]:
        output = peer.network(w, gc.input("X", ("n", w.sizes[0])))
        return gc.Model(output=output, loss=peer.loss(w, output), dtype=w.dtype), options

    return made


def repeated(name: str, data: str, calls: int = 200, steps: int = 2000) -> None:
    """Print the microseconds of a fit of one step beyond that step, and of the step."""
    gc, np = importlib.import_module("graphc"), importlib.import_module("numpy")
    model, options = workload(name)(gc)
    arrays = dict(np.load(data))
    options |= {"threads": 1}
    model.fit(arrays, **options)
    run = model.fit(arrays, **options | {"steps": max(1, steps if name == "W1" else steps // 20)})
    step, times = run.seconds / run.steps, []
    for _ in range(calls):
        started = time.perf_counter()
        model.fit(arrays, **options)
        times.append(time.perf_counter() - started)
    print(json.dumps({"beyond": 1e6 * (median(times) - step), "step": 1e6 * step}))


# ---------------------------------------------------------------- in the parent


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--cases", nargs="+", default=[*RUNS, *FIRST_STEPS], choices=[*RUNS, *FIRST_STEPS])
    parser.add_argument("--child", nargs=2, help=argparse.SUPPRESS)
    parser.add_argument("--born", type=float, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        case, data = options.child
        child(case, data, options.born) if options.born else repeated(case, data)
        return
    with tempfile.TemporaryDirectory() as folder:
        tables(Path(folder), options.cases, options.repeats)


def tables(folder: Path, cases: list[str], repeats: int) -> None:
    write_data(folder, cases)
    found = {}
    for case in cases:
        start(case, folder, folder / "bytecode")
        for t in range(repeats):
            for kind in ("cold", "cached"):
                found.setdefault((case, kind), []).append(start(case, folder, folder / f"cache_{case}_{t}"))
    print_table(found)
    for case in (c for c in REPEATED if c in cases):
        again = start(case, folder, folder / f"cache_{case}_0", born=False)
        print(f"{case}: a fit of one step takes {again['beyond']:.0f} µs beyond the step of {again['step']:.1f} µs")


def write_data(folder: Path, cases: list[str]) -> None:
    """One .npz file a case, under the names of the inputs. The imports are here, since children import this file."""
    np, wl = importlib.import_module("numpy"), importlib.import_module("tests.benchmarks.workloads")
    x, t = importlib.import_module("sklearn.datasets").load_digits(return_X_y=True)
    arrays = {"digits": (x.astype("f4") / 16, t), "xor": ([[0, 0], [0, 1], [1, 0], [1, 1]], [[0], [1], [1], [0]])}
    for case in cases:
        X, T = arrays[case] if case in arrays else wl.data(wl.WORKLOADS[case])
        np.savez(folder / f"{case}.npz", X=np.asarray(X, "f4"), T=np.asarray(T))


def start(case: str, folder: Path, cache: Path, born: bool = True) -> dict[str, float]:
    """What a fresh process says; it starts the interpreter, loads what it needs, trains."""
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    environment |= {"GRAPHC_CACHE": str(cache), "PYTHONPYCACHEPREFIX": str(folder / "pycache")}
    command = [sys.executable, "-m", "tests.benchmarks.startup", "--child", case, str(folder / f"{case}.npz")]
    command += ["--born", repr(time.time())] if born else []
    result = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    return json.loads(result.stdout)


def print_table(found: dict[tuple[str, str], list[dict[str, float]]]) -> None:
    """Milliseconds, medians; a column a case."""
    print("| ms | " + " | ".join(f"{case} {kind}" for case, kind in found) + " |")
    print("|---|" + "---|" * len(found))
    for stage in (*STAGES, "total", "first step"):
        values = [median(1e3 * one.get(stage, 0.0) for one in runs) for runs in found.values()]
        print(f"| {stage} | " + " | ".join(f"{v:.0f}" if v >= 0.5 else "" for v in values) + " |")


if __name__ == "__main__":
    main()
