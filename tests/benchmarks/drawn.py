"""Networks drawn at random, so that no list of shapes can be tuned for: ``find("R7.3")`` is network 3 of seed 7.

Of the ten networks of a seed each has another activation of the library, and the depths 1 to 6 all occur. Widths are
3 to 700 (inputs and outputs too) and batches 1 to 2000: uniform in the even networks, in the odd ones uniform in the
logarithm, so that small networks occur as well.
"""

from __future__ import annotations

import math
from functools import lru_cache
from itertools import pairwise

import numpy as np

from tests.benchmarks.workloads import WORKLOADS, Workload

ACTIVATIONS = ("elu", "gelu", "leaky_relu", "linear", "relu", "sigmoid", "silu", "softmax", "softplus", "tanh")
COUNT = len(ACTIVATIONS)
WIDTHS, BATCHES, DEPTHS = (3, 700), (1, 2000), (1, 6)
PARITY = (0, 5, 20)  # a network may take 50 ms a step
RATES = {"adam": 1e-3, "momentum": 1e-2, "sgd": 1e-2}
CALL_SECONDS, NOMINAL = 0.05, 100e9  # of a call of many steps; FLOP/s, a guess that only sets their number


def find(name: str) -> Workload:
    """A workload of the list, or one drawn at random.

    Raises
    ------
    KeyError
        When there is none of that name.
    """
    seed, _, number = name.removeprefix("R").partition(".")
    if not (name.startswith("R") and seed.isdigit() and number.isdigit()):
        return WORKLOADS[name]
    networks = {w.name: w for w in draw(int(seed))}
    return networks[name]


@lru_cache
def draw(seed: int) -> tuple[Workload, ...]:
    """The ten networks of a seed. The only one of a single layer has the activation ``linear``: none is idle."""
    rng = np.random.default_rng(seed)
    first, last = DEPTHS
    depths = [*range(first + 1, last + 1), *rng.integers(first + 1, last + 1, COUNT - last)]
    depths = iter(rng.permutation(depths).tolist())
    acts = [str(name) for name in rng.permutation(ACTIVATIONS)]
    return tuple(_network(rng, seed, k, act, first if act == "linear" else next(depths)) for k, act in enumerate(acts))


def _network(rng: np.random.Generator, seed: int, number: int, act: str, depth: int) -> Workload:
    pick = _log_uniform if number % 2 else _uniform
    sizes = tuple(pick(rng, *WIDTHS) for _ in range(depth + 1))
    batch = pick(rng, *BATCHES)
    loss = str(rng.choice(["mse", "bce", "ce"]))
    opt = str(rng.choice(list(RATES)))
    seconds = 6 * batch * sum(a * b for a, b in pairwise(sizes)) / NOMINAL + 2e-6
    scan = max(2, min(1000, round(CALL_SECONDS / seconds)))
    title = f"{'-'.join(map(str, sizes))} {act}, {loss}, batch {batch}, {opt}"
    return Workload(
        f"R{seed}.{number}", title, sizes, act, loss, batch, max(4, min(64, 4096 // batch)), opt, RATES[opt], scan,
        momentum=0.9 if opt == "momentum" else 0.0, parity=PARITY,
    )  # fmt: skip


def _uniform(rng: np.random.Generator, low: int, high: int) -> int:
    return int(rng.integers(low, high + 1))


def _log_uniform(rng: np.random.Generator, low: int, high: int) -> int:
    return min(high, int(math.exp(rng.uniform(math.log(low), math.log(high + 1)))))


