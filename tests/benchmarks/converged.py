"""Does a step cost in the end what it cost in the beginning?  ``python -m tests.benchmarks.converged``.

The network of W2 on few of its rows, until gradients and states are as small as they get: many processors take a
hundred times as long for a subnormal number. ``--subnormals`` keeps them, to see what that costs.
"""

from __future__ import annotations

import argparse
import time
from statistics import median

import numpy as np

import graphc as gc
from tests.benchmarks.graphc_peer import loss, network, optimizer
from tests.benchmarks.workloads import WORKLOADS, data

ROWS, CALLS = 8, 100


def seconds_per_step(steps: int, subnormals: bool) -> tuple[list[float], gc.Model]:
    """Of each of so many calls that together make ``steps`` steps, and the model as they leave it."""
    w = WORKLOADS["W2"]
    X, Y = (values[:ROWS] for values in data(w))
    output = network(w, gc.input("X", ("n", w.sizes[0])))
    model = gc.Model(output=output, loss=loss(w, output), dtype=w.dtype, subnormals=subnormals)
    options = {"optimizer": optimizer(w), "batch_size": ROWS, "shuffle": False, "threads": 1}
    found, count = [], max(1, steps // CALLS)
    model.fit({"X": X, "T": Y}, steps=1, **options)
    for _ in range(CALLS):
        begun = time.perf_counter()
        model.fit({"X": X, "T": Y}, steps=count, **options)
        found.append((time.perf_counter() - begun) / count)
    return found, model


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=100_000)
    parser.add_argument("--subnormals", action="store_true")
    chosen = parser.parse_args()
    found, model = seconds_per_step(chosen.steps, chosen.subnormals)
    first, last = median(found[: CALLS // 10]), median(found[-CALLS // 10 :])
    [state] = model.state.rules.values()
    small = np.abs(state.values[state.values != 0]) < np.finfo(model.dtype).tiny
    print(f"first {first * 1e6:.1f} us a step, last {last * 1e6:.1f}, ratio {last / first:.3f}")
    print(f"{np.count_nonzero(small):,} of {state.values.size:,} numbers of the state are subnormal")


if __name__ == "__main__":
    main()
