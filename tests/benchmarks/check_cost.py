"""What the check of a new program adds to a first step: ``python -m tests.benchmarks.check_cost``.

Processes of their own with an empty code cache make one step, with the check and without it in turns. What it adds is
the difference of the medians; the time inside it is longer for large networks, since it touches memory for the first
time that training then finds touched (gradients, working memory, the copy that a run keeps).
"""

from __future__ import annotations

import argparse
import importlib
import json
import tempfile
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tests.benchmarks.contestants import answer_of
from tests.benchmarks.startup import workload

BLOCKS = {"a block": 1, "four blocks": 4}  # of a transformer: the bias of the keys has the gradient 0
NETWORKS = ("W1", "W2", "W3", "W5", "W4", *BLOCKS)
Made = Callable[[Any], tuple[Any, dict[str, Any]]]


def network(name: str) -> tuple[Made, NDArray, NDArray]:
    """What makes a model and the options of a step, and its data."""
    if name not in BLOCKS:
        wl = importlib.import_module("tests.benchmarks.workloads")
        return workload(name), *wl.data(wl.WORKLOADS[name])

    def made(gc: Any) -> tuple[Any, dict[str, Any]]:
        X, T = (gc.input(word, ("n", 32, 64)) for word in "XT")
        H = X
        for _ in range(BLOCKS[name]):
            H = gc.nn.TransformerBlock(4, 256)(H)
        options = {"optimizer": gc.Adam(1e-3), "batch_size": 16, "shuffle": False, "steps": 1}
        return gc.Model(H, gc.losses.mse(H, T)), options

    x, t = np.random.default_rng(0).normal(size=(2, 16, 32, 64)).astype(np.float32)
    return made, x, t


def child(name: str, verify: bool) -> dict[str, float]:
    """One step; ``check`` are the seconds inside the check."""
    gc = importlib.import_module("graphc")
    fitting = importlib.import_module("graphc.facade.fitting")
    importlib.import_module("sympy")
    inside, checked = [0.0], fitting.verify_training

    def timed(*arguments: object, **options: object) -> object:
        started = time.perf_counter()
        try:
            return checked(*arguments, **options)
        finally:
            inside[0] += time.perf_counter() - started

    fitting.verify_training = timed
    made, x, y = network(name)
    clock, processor = time.perf_counter(), time.process_time()
    model, options = made(gc)
    model.fit(x, y, verify=verify, **options)
    wall, processor = time.perf_counter() - clock, time.process_time() - processor
    return {"first step": wall, "processor": processor, "check": inside[0]}


def measure(name: str, verify: bool) -> dict[str, float]:
    """The same in a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        return answer_of("check_cost", [name, json.dumps(verify)], folder)[0]


def row(name: str, repeats: int) -> str:
    pairs = []
    for turn in range(repeats):
        found = {verify: measure(name, verify) for verify in ((False, True) if turn % 2 else (True, False))}
        pairs.append((found[False], found[True]))
    middle = lambda which, what: float(np.median([pair[which][what] for pair in pairs]))
    cells = [f"{middle(0, 'first step'):.2f}"]
    for what in ("first step", "processor"):
        without, adds = middle(0, what), middle(1, what) - middle(0, what)
        cells += [f"{1e3 * adds:.0f}", f"{100 * adds / without:.1f} %"]
    return " | ".join([name, *cells, f"{1e3 * middle(1, 'check'):.0f}"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--child", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        print(json.dumps(child(options.child[0], json.loads(options.child[1]))))
        return
    print("| network | first step without it, s | it adds, ms | share | processor, ms | share | inside it, ms |")
    print("|---" * 7 + "|")
    for name in NETWORKS:
        print(f"| {row(name, options.repeats)} |", flush=True)


if __name__ == "__main__":
    main()
