"""A lower bound for the time of a training step, from the work it cannot avoid and the limits of the machine.

bound = max(FLOPs of the products / product rate + elementary functions / their rate,  bytes / copy rate)

Products and functions compete for the same vector units, memory traffic can hide behind them. Every rate is the best
that was measured (:mod:`.limits`), every count the least one: each function counts as the cheapest, and what a network
also adds, multiplies and compares is free.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from tests.benchmarks.workloads import Workload

FUNCTIONS = {  # elementary functions of an element, forward and backward together
    "relu": 0, "leaky_relu": 0, "linear": 0, "tanh": 1, "sigmoid": 1, "silu": 1, "softmax": 1, "elu": 1,
    "softplus": 2, "gelu": 2, "custom": 3,
}  # fmt: skip
LOSS_FUNCTIONS = {"mse": 0, "ce": 1, "bce": 2}
STATE = {"sgd": 2, "momentum": 4, "adam": 6}  # reads and writes of a parameter and its moments, once a step


def flops(w: Workload) -> int:
    """Of all products of a step: forward, weight gradient, and input gradient but for the first layer."""
    layers = [a * b for a, b in pairwise(w.sizes)]
    return w.copies * w.batch * (6 * sum(layers) - 2 * layers[0])


def functions(w: Workload) -> int:
    """Evaluations of an elementary function (exp, log, tanh, erf, sin) in a step."""
    hidden, outputs = sum(w.sizes[1:-1]), w.sizes[-1]
    return w.copies * w.batch * (FUNCTIONS[w.act] * hidden + LOSS_FUNCTIONS[w.loss] * outputs)


def parameters(w: Workload) -> int:
    return w.copies * sum((a + 1) * b for a, b in pairwise(w.sizes))


def moved_bytes(w: Workload) -> int:
    """Least traffic of a step: the batch is read once, parameters and moments are read and written once."""
    return np.dtype(w.dtype).itemsize * (w.batch * w.sizes[0] + STATE[w.opt] * parameters(w))


def bound(w: Workload, limits: dict) -> dict[str, float]:
    """The bound in seconds as ``bound_s``, with the counts behind it. ``limits`` are those of :mod:`.limits`.

    Traffic that fits into the caches goes at their rate.
    """
    compute = flops(w) / limits[f"gemm_{w.dtype}"] + functions(w) * limits[f"function_{w.dtype}"]
    far = moved_bytes(w) > limits["cache_bytes"]
    memory = moved_bytes(w) / limits["copy_far" if far else "copy_near"]
    counts = {"flops": flops(w), "functions": functions(w), "moved_bytes": moved_bytes(w)}
    return {"bound_s": max(compute, memory), **counts}
