"""What second derivatives and the optimizers that use them take: ``python -m tests.benchmarks.curvature``.

A sine by Levenberg-Marquardt; Hessian-vector products beside gradients; a whole Hessian; L-BFGS beside SciPy's, which
drives the gradient of ``gc.compile``; and the first step of an LSTM of some lengths, in processes of their own with an
empty code cache. All in float64 but the LSTM; times of calls are medians over a second.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
import scipy.optimize
from numpy.typing import NDArray
from sklearn.datasets import load_digits

import graphc as gc
from tests.benchmarks import graphc_peer, networks
from tests.benchmarks import workloads as wl
from tests.benchmarks.contestants import answer_of

LENGTHS = (8, 32, 128)
SECONDS = 1.0  # that a median is taken over
PENALTY = 1e-3  # of the weights of the digits, so that there is a minimum


@dataclass(frozen=True)
class Problem:
    """A loss with its data and where its parameters begin."""

    loss: gc.Tensor
    inputs: list[gc.Tensor]
    data: list[NDArray]
    params: list[gc.Tensor]
    start: list[NDArray]

    def named(self, values: list[NDArray]) -> dict[str, NDArray]:
        return {str(p.name): value for p, value in zip(self.params, values, strict=True)}


def w1() -> Problem:
    """W1 with all its 513 parameters in one vector, and a batch."""
    w = wl.WORKLOADS["W1"]
    theta, X, T = gc.param("theta", (513,)), gc.input("X", ("n", 30)), gc.input("T", ("n", 1))
    W0, W1 = gc.reshape(theta[:480], (30, 16)), gc.reshape(theta[496:512], (16, 1))
    J = gc.losses.bce_with_logits(gc.tanh(X @ W0 + theta[480:496]) @ W1 + theta[512:], T)
    start = np.concatenate([a.ravel() for a in wl.init(w).values()]).astype("float64")
    return Problem(J, [X, T], [a[: w.batch].astype("float64") for a in wl.data(w)], [theta], [start])


def layers(name: str, sizes: list[int], loss: Callable, X: gc.Tensor, T: gc.Tensor, data: list[NDArray]) -> Problem:
    """Layers of tanh, and one without."""
    rng, params, start, H = np.random.default_rng(0), [], [], X
    for k, (a, b) in enumerate(zip(sizes, sizes[1:])):
        start += [rng.normal(size=(a, b)) / np.sqrt(a), np.zeros(b)]
        W, B = own = [gc.param(f"{word}{k}_{name}", v.shape) for word, v in zip("Wb", start[-2:], strict=True)]
        H = (gc.tanh(H) if params else H) @ W + B
        params += own
    return Problem(loss(H, T, params[::2]), [X, T], data, params, start)


def tabular() -> Problem:
    """W1 as users write it."""
    w = wl.WORKLOADS["W1"]
    X, T = gc.input("X", ("n", 30)), gc.input("T", ("n", 1))
    data = [a[: w.batch].astype("float64") for a in wl.data(w)]
    return layers("tabular", [30, 16, 1], lambda z, t, _: gc.losses.bce_with_logits(z, t), X, T, data)


def digits(*hidden: int) -> Problem:
    """The digits, by logistic regression or with hidden layers."""
    x, t = map(np.asarray, load_digits(return_X_y=True))
    X, T = gc.input("X", ("n", 64)), gc.input("T", ("n",), dtype="int64")
    loss = lambda z, t, weights: gc.losses.cross_entropy(z, t) + gc.l2(weights, PENALTY)
    return layers(f"digits{len(hidden)}", [64, *hidden, 10], loss, X, T, [x / 16, t])


def rosenbrock() -> Problem:
    x = gc.param("x", (20,))
    J = gc.sum((10 * (x[1:] - x[:-1] ** 2)) ** 2 + (1 - x[:-1]) ** 2)
    return Problem(J, [], [], [x], [np.tile([-1.2, 1.0], 10)])


def median_time(call: Callable[[], object]) -> float:
    """Seconds of a call, after two that do not count; five are timed at least."""
    taken: list[float] = []
    for _ in range(2):
        call()
    while sum(taken) < SECONDS or len(taken) < 5:
        started = time.perf_counter()
        call()
        taken.append(time.perf_counter() - started)
    return float(np.median(taken))


def row(*cells: object) -> None:
    print(f"| {' | '.join(map(str, cells))} |", flush=True)


def table(*columns: str) -> None:
    print()
    row(*columns)
    print(f"|{'---|' * len(columns)}")


def sine() -> None:
    """1-20-1 by Levenberg-Marquardt, where units begin as Nguyen and Widrow (1990) place them, and at random."""
    table("sine, 1-20-1, 100 points", "iterations to 1e-8", "their seconds", "compiling, s", "square after 100")
    x = np.linspace(-1, 1, 100)[:, None]
    X, T = gc.input("X", ("n", 1)), gc.input("T", ("n", 1))
    for placed in (True, False):
        first = gc.param(f"W0{placed}", (1, 20), 14.0 if placed else None)
        B = gc.param(f"B0{placed}", (20,), 14 * np.linspace(-1, 1, 20) if placed else 0.0)
        Y = gc.tanh(X @ first + B) @ gc.param(f"W1{placed}", (20, 1)) + gc.param(f"B1{placed}", (1,), 0.0)
        model = gc.Model(Y, gc.losses.mse(Y, T), dtype="float64")
        for seed in range(3):
            run = model.initialize(seed).fit(x, np.sin(np.pi * x), optimizer=gc.LevenbergMarquardt(), steps=100)
            losses = np.array(run.history["loss"])
            below = np.flatnonzero(losses <= 1e-8)
            count = int(below[0]) if len(below) else len(losses)
            took = [f"{run.seconds * count / len(losses):.4f}", f"{run.compile_seconds:.2f}", f"{losses[-1]:.1e}"]
            start = f"{'placed evenly' if placed else 'drawn at random'}, seed {seed}"
            row(start, count if len(below) else "not within 100", *took)


def products() -> None:
    table("all parameters at once", "gradient, µs", "Hessian-vector product, µs", "ratio")
    for name, p in {"W1, 32 rows": tabular(), "digits 64-64-10, 1797 rows": digits(64)}.items():
        v = [gc.input(f"v{k}", w.shape) for k, w in enumerate(p.params)]
        given, values = p.named(p.start), [np.random.default_rng(1).normal(size=w.shape) for w in p.start]
        one = gc.compile(outputs=gc.grad(p.loss, p.params), inputs=p.inputs, dtype="float64")
        two = gc.compile(outputs=gc.hvp(p.loss, p.params, v), inputs=[*p.inputs, *v], dtype="float64")
        slope = median_time(partial(one, *p.data, **given))
        product = median_time(partial(two, *p.data, *values, **given))
        row(name, f"{1e6 * slope:.0f}", f"{1e6 * product:.0f}", f"{product / slope:.2f}")


def hessian() -> None:
    table("Hessian of W1, 513 x 513", "first call, s", "call, ms", "largest element", "largest of H - H'")
    p = w1()
    f = gc.compile(outputs=gc.hessian(p.loss, p.params[0]), inputs=p.inputs, dtype="float64")
    started = time.perf_counter()
    H = f(*p.data, theta=p.start[0])
    first = time.perf_counter() - started
    taken = median_time(partial(f, *p.data, theta=p.start[0]))
    row("32 rows", f"{first:.2f}", f"{1e3 * taken:.2f}", f"{np.abs(H).max():.3f}", f"{np.abs(H - H.T).max():.1e}")


def of_scipy(p: Problem, tol: float, most: int) -> tuple[int, float, float]:
    """Iterations, seconds and the last loss of L-BFGS-B."""
    f = gc.compile(outputs=[p.loss, *gc.grad(p.loss, p.params)], inputs=p.inputs, dtype="float64")
    cuts = np.cumsum([a.size for a in p.start])[:-1]

    def value(theta: NDArray) -> tuple[float, NDArray]:
        parts = [a.reshape(b.shape) for a, b in zip(np.split(theta, cuts), p.start, strict=True)]
        loss, *slopes = f(*p.data, **p.named(parts))
        return float(loss), np.concatenate([np.ravel(g) for g in slopes])

    begin = np.concatenate([a.ravel() for a in p.start])
    value(begin)
    options = {"maxcor": 10, "gtol": tol, "ftol": 0.0, "maxiter": most, "maxfun": 10 * most}
    started = time.perf_counter()
    found = scipy.optimize.minimize(value, begin, jac=True, method="L-BFGS-B", options=options)
    return found.nit, time.perf_counter() - started, float(found.fun)


def own(p: Problem, tol: float, most: int) -> tuple[int, float, float]:
    """The same of ``gc.LBFGS``; a run before it has compiled."""
    model = gc.Model(loss=p.loss, dtype="float64")
    for steps in (1, most):
        model.initialize(0)
        for name, value in p.named(p.start).items():
            model.params[name] = value
        data = {x.name: a for x, a in zip(p.inputs, p.data, strict=True)}
        run = model.fit(data, optimizer=gc.LBFGS(), tol=tol, steps=steps, threads=1)
    return run.steps, run.seconds, float(run.history["loss"][-1])


def descents() -> None:
    table("L-BFGS, 10 pairs, one thread", "iterations", "SciPy's", "seconds", "SciPy's", "loss", "SciPy's")
    cases = {
        "Rosenbrock, 20 dimensions": (rosenbrock, 1e-6),
        "digits, logistic regression": (digits, 1e-5),
        "digits, 64-64-10": (lambda: digits(64), 1e-4),
    }
    for name, (make, tol) in cases.items():
        p = make()
        (n, s, loss), (m, t, other) = own(p, tol, 1000), of_scipy(p, tol, 1000)
        row(f"{name}, slopes to {tol:.0e}", n, m, f"{s:.4f}", f"{t:.4f}", f"{loss:.8g}", f"{other:.8g}")


def child(length: int) -> tuple[float, float]:
    """Seconds of a first step of the LSTM (W13) of some length, and of the processor."""
    networks.STEPS = length
    w = wl.WORKLOADS["W13"]
    wl.data(w)
    clock, processor = time.perf_counter(), time.process_time()
    graphc_peer.Peer(w, "fit", 1).run(1)
    return time.perf_counter() - clock, time.process_time() - processor


def lengths(repeats: int) -> None:
    table("LSTM (W13), first step, cold", "s", "processor, s")
    for length in LENGTHS:
        found = []
        for _ in range(repeats):
            with tempfile.TemporaryDirectory() as folder:
                found.append(answer_of("curvature", [str(length)], folder)[0])
        row(f"{length} steps", *(f"{s:.2f}" for s in np.median(found, 0)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=3, help="processes for each length of the LSTM")
    parser.add_argument("--child", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        print(json.dumps(child(options.child)))
        return
    for measured in (sine, products, hessian, descents):
        measured()
    lengths(options.repeats)


if __name__ == "__main__":
    main()
