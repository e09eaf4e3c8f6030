"""A small network, its data, and its training written by hand in NumPy: what several test files share."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import graphc as gc
from graphc.optim import Rule, reference_step
from graphc.primitives import philox

ROOT = Path(__file__).parents[1]
# a state, a schedule, the norm of the gradient, weight decay
MOMENTUM = gc.Momentum(gc.schedules.exponential(0.1, 0.9), clip_norm=0.3, decay=1e-3)
SHAPES = {"W0": (3, 4), "B0": (4,), "W1": (4, 2), "B1": (2,)}


def network(dtype: str = "float64") -> gc.Model:
    """Y = tanh(X W0 + B0) W1 + B1 with the mean squared error, and the mean absolute error as a metric."""
    X, T = gc.input("X", ("n", 3)), gc.input("T", ("n", 2))
    W0, B0, W1, B1 = (gc.param(name, shape, gc.normal(0.5)) for name, shape in SHAPES.items())
    Y = gc.tanh(X @ W0 + B0) @ W1 + B1
    return gc.Model(Y, gc.mean((Y - T) ** 2), {"mae": gc.metrics.mae(Y, T)}, dtype=dtype)


def data(rows: int = 23) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(5)
    x = rng.standard_normal((rows, 3))
    return x, np.sin(x @ rng.standard_normal((3, 2)))


def xor() -> gc.Model:
    """The README's network: two inputs, four neurons, the cross-entropy as on paper."""
    X, T = gc.input("X", ("n", 2)), gc.input("T", ("n", 1))
    W0, B0 = gc.param("W0", (2, 4), gc.normal(1.0)), gc.param("B0", (4,), 0.0)
    W1, B1 = gc.param("W1", (4, 1), gc.normal(1.0)), gc.param("B1", (1,), 0.0)
    Y = gc.sigmoid(gc.tanh(X @ W0 + B0) @ W1 + B1)
    return gc.Model(output=Y, loss=gc.mean(-(T * gc.log(Y) + (1 - T) * gc.log(1 - Y))))


def parabola() -> gc.Model:
    """J = (theta0**2 + 10 theta1**2)/2, from (1, 1), without data: k steps of rate eta give (1 - eta*[1, 10])**k."""
    theta = gc.param("theta", (2,), [1.0, 1.0])
    return gc.Model(loss=gc.sum(theta**2 * np.array([1.0, 10.0])) / 2, dtype="float64")


def flat(model: gc.Model) -> np.ndarray:
    """All parameters in one vector, in the order of SHAPES."""
    return np.concatenate([model.params[name].ravel() for name in SHAPES])


def split(theta: np.ndarray) -> list[np.ndarray]:
    ends = np.cumsum([np.prod(shape) for shape in SHAPES.values()])
    return [part.reshape(shape) for part, shape in zip(np.split(theta, ends[:-1]), SHAPES.values())]


def forward(theta: np.ndarray, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    W0, B0, W1, B1 = split(theta)
    H = np.tanh(x @ W0 + B0)
    return H, H @ W1 + B1


def loss_and_gradient(theta: np.ndarray, x: np.ndarray, t: np.ndarray, w: np.ndarray) -> tuple[float, np.ndarray]:
    """J = 1/sum(w) sum_i w_i mean_j (Y - T)**2 and dJ/dtheta, by hand; 0 where all weights are 0."""
    W1 = split(theta)[2]
    H, Y = forward(theta, x)
    share = (w / (w.sum() or 1.0))[:, None]
    J = float(np.sum(share * (Y - t) ** 2) / 2)
    d1 = share * (Y - t)
    d0 = d1 @ W1.T * (1 - H**2)
    return J, np.concatenate([g.ravel() for g in (x.T @ d0, d0.sum(0), H.T @ d1, d1.sum(0))])


def batches(
    rows: int, size: int, steps: int, seed: int, shuffle: bool = True, stream: int = 0
) -> Iterator[np.ndarray]:
    """The rows of every step: each epoch in an order of its own, the last batch of an epoch as short as it is."""
    epoch, at = 0, 0
    for _ in range(steps):
        order = philox.permutation(rows, seed, epoch, stream) if shuffle else np.arange(rows)
        yield order[at : at + size]
        at += size
        if at >= rows:
            epoch, at = epoch + 1, 0


def train(
    theta: np.ndarray,
    rule: Rule,
    x: np.ndarray,
    t: np.ndarray,
    steps: Iterable[np.ndarray],
    w: np.ndarray | None = None,
) -> tuple[np.ndarray, list[float]]:
    """Parameters after the steps, and the loss of each step before its update."""
    losses, state = [], None
    w = np.ones(len(x)) if w is None else w
    for k, rows in enumerate(steps, 1):
        J, g = loss_and_gradient(theta, x[rows], t[rows], w[rows])
        theta, state = reference_step(rule, theta, g, state, k)
        losses.append(J)
    return theta, losses


def text_of(caught: pytest.ExceptionInfo[Exception]) -> str:
    """The message of an error without the line that says where the user stands, which must be there."""
    text = str(caught.value)
    place = re.search(r"\n  at test_\w+\.py:\d+:  \S.*", text)
    assert place is not None, text
    return text.replace(place[0], "", 1)


# A child inherits that SIGINT is ignored (nohup, a script's background job); Python then sets no handler of its own.
_LISTENS = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n"


def interrupted(code: str, *arguments: str) -> tuple[list[Any], float]:
    """Run Python code in a child until it prints ready, and 0.3 s more, then press Ctrl-C: the JSON list it answers
    with, and the seconds that took."""
    command = [sys.executable, "-c", _LISTENS + code, *arguments]
    child = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    timer = threading.Timer(120, child.kill)  # a busy machine may take its time
    timer.start()
    try:
        assert child.stdout.readline() == "ready\n"
        time.sleep(0.3)
        child.send_signal(signal.SIGINT)
        sent = time.perf_counter()
        answer = next(line for line in child.stdout if line.startswith("["))
        return json.loads(answer), time.perf_counter() - sent
    finally:
        timer.cancel()
        child.kill()
        child.wait()
        child.stdout.close()
