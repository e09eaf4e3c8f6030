"""``bench``: how long a model takes on this machine, on random data."""

from __future__ import annotations

import math
import time
from typing import Any

import numpy as np
from numpy.typing import NDArray

from graphc.command.files import CommandError
from graphc.facade.inspecting import lowered
from graphc.ir.node import Leaf
from graphc.model import Model
from graphc.records import record
from graphc.show.explain import arena_bytes

MOST_STEPS = 1 << 24
ROUNDS = 3


@record(frozen=True)
class Wanted:
    """What is measured."""

    rows: int = 1024
    batch_size: int = 32
    optimizer: str = "sgd"
    seconds: float = 0.5
    threads: int | None = None


def measure(model: Model, wanted: Wanted) -> str:
    """A table: compiling, a step of training, predicting, memory."""
    count = sum(math.prod(int(e) for e in leaf.shape) for leaf in model._core.param_leaves)
    rows = [("model", f"{model.name}, {count:,} parameters, {model.dtype}")]
    if model._core._loss is not None:
        rows += _training(model, wanted)
    if model.outputs:
        rows += _predicting(model, wanted)
    return "\n".join(f"{name:12}{value}" for name, value in rows)


def _training(model: Model, wanted: Wanted) -> list[tuple[str, str]]:
    core = model._core
    data = random_data(core.training_inputs, wanted.rows, core.label_limits)
    options: dict[str, Any] = {"optimizer": wanted.optimizer, "threads": wanted.threads}
    if data:
        options["batch_size"] = min(wanted.batch_size, wanted.rows)
    first = model.fit(data, steps=1, seed=0, **options)
    steps, best = 16, float("inf")
    while True:
        model.initialize(0)
        run = model.fit(data, steps=steps, **options)
        if run.seconds >= wanted.seconds / ROUNDS or steps >= MOST_STEPS:
            break
        steps = min(MOST_STEPS, int(steps * min(16, max(2, 1.2 * wanted.seconds / ROUNDS / max(run.seconds, 1e-6)))))
    for _ in range(ROUNDS):
        model.initialize(0)
        run = model.fit(data, steps=steps, **options)
        best = min(best, run.seconds / run.steps)
    size = options.get("batch_size", 1)
    compiled = f"{first.compile_seconds:.2f} s" if first.compile_seconds >= 0.005 else "found in the cache"
    threads = f"{run.threads} thread{'' if run.threads == 1 else 's'}"
    arena = arena_bytes(lowered(core).step.plan, model.dtype)
    return [
        ("compile", compiled),
        ("a step", f"{_short(best)}: {size:,} rows, {wanted.optimizer}, {threads}"),
        ("training", f"{size / best:,.0f} rows a second (best of {ROUNDS} runs of {steps:,} steps, random data)"),
        ("memory", f"{arena} bytes for the values of a step, {model.params.flat.nbytes:,} for the parameters"),
    ]


def _predicting(model: Model, wanted: Wanted) -> list[tuple[str, str]]:
    core = model._core
    data = random_data(model.inputs, wanted.rows, core.label_limits)
    model.predict(data)
    times = []
    end = time.perf_counter() + wanted.seconds / 2
    while len(times) < ROUNDS or time.perf_counter() < end:
        started = time.perf_counter()
        model.predict(data)
        times.append(time.perf_counter() - started)
    rate = f"{wanted.rows / min(times):,.0f} rows a second"
    return [("predict", f"{_short(min(times))} for {wanted.rows:,} rows, {rate}")]


def random_data(leaves: list[Leaf], rows: int, limits: Any) -> dict[str, NDArray]:
    """Numbers between 0 and 1, labels below their limit; the same every time."""
    rng = np.random.default_rng(0)
    found = {}
    for leaf in leaves:
        shape = tuple(e if isinstance(e, int) else rows for e in leaf.shape)
        if leaf.dtype == "int":
            fixed = [e for e in limits.get(leaf, ()) if isinstance(e, int)]
            found[str(leaf.name)] = rng.integers(0, min([*fixed, leaf.bound or 2]), shape)
        else:
            found[str(leaf.name)] = rng.random(shape)
    return found


def _short(seconds: float) -> str:
    """With three digits, in the unit that suits."""
    for unit, size in (("s", 1.0), ("ms", 1e-3), ("µs", 1e-6)):
        if seconds >= size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds * 1e9:.3g} ns"


def check(wanted: Wanted) -> None:
    """Refuse what cannot be measured.

    Raises
    ------
    CommandError
    """
    for name, value in (("--rows", wanted.rows), ("--batch-size", wanted.batch_size), ("--seconds", wanted.seconds)):
        if not value > 0:
            raise CommandError(f"{name} is {value}\n  hint: give a number above 0")
