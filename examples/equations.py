"""Four equations of physics by networks, beside their known solutions: Poisson, Helmholtz, waves, Allen and Cahn.

Each loss is a sum of means over sets of points of its own number: inside, where the equation holds; on the boundary,
where the solution is known; and for waves at the start, where nothing moves yet. A fourth set is a grid on which the
error is followed: a metric, which no gradient sees.

    python examples/equations.py                 all four
    python examples/equations.py wave 800 12     one of them, with fewer points and units
"""

import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

import graphc as gc

K, WAVES, SPEED = 4.0, 2.0, 3 / np.sqrt(2)  # Helmholtz's number, the speed of waves, that of the front


@dataclass(frozen=True)
class Problem:
    """An equation in x and y (or the time t) over the unit square: what is 0 inside, and the solution.

    ``open`` is the side on which nothing is prescribed, the end of time.
    """

    title: str
    residual: Callable[[Any, Any, Any], Any]
    solution: Callable[[Any, Any], Any]
    open: str = ""
    at_rest: bool = False


def wells(x: Any, y: Any) -> Any:
    """Zero on the boundary."""
    return np.sin(np.pi * x) * np.sin(2 * np.pi * y)


def front(x: Any, t: Any) -> Any:
    """From 1 to 0, on its way to the right."""
    return 0.5 * (1 - np.tanh((8 * x - 2 - SPEED * t) / (2 * np.sqrt(2))))


PROBLEMS = {
    "poisson": Problem(
        "u_xx + u_yy = -5 pi**2 sin(pi x) sin(2 pi y)",
        lambda u, x, y: u.d(x, 2) + u.d(y, 2) + 5 * np.pi**2 * wells(x, y), wells,
    ),
    "helmholtz": Problem(
        f"u_xx + u_yy + {K:g}**2 u = ({K:g}**2 - 5 pi**2) sin(pi x) sin(2 pi y)",
        lambda u, x, y: u.d(x, 2) + u.d(y, 2) + K**2 * u - (K**2 - 5 * np.pi**2) * wells(x, y), wells,
    ),
    "wave": Problem(
        f"u_tt = {WAVES:g}**2 u_xx",
        lambda u, x, t: u.d(t, 2) - WAVES**2 * u.d(x, 2),
        lambda x, t: np.sin(np.pi * x) * np.cos(WAVES * np.pi * t), "late", at_rest=True,
    ),
    "allen_cahn": Problem(
        "u_t = u_xx/64 + u - u**3",
        lambda u, x, t: u.d(t) - u.d(x, 2) / 64 - u + u**3, front, "late",
    ),
}  # fmt: skip


def declared(problem: Problem, width: int) -> gc.Model:
    """Three layers; residuals inside, misfits on the boundary and at the start, the error on a grid."""
    column = lambda name, extent: gc.input(name, (extent, 1))
    x, y = column("x", "inside"), column("y", "inside")
    network = gc.nn.sequential(2, *[gc.nn.Dense(width, "tanh")] * 3, gc.nn.Dense(1))
    of = lambda x, y: network(gc.concatenate([2 * x - 1, 2 * y - 1], axis=1))
    u = of(x, y).named("u")
    inside = gc.mean(problem.residual(u, x, y) ** 2)
    bx, by = column("bx", "boundary"), column("by", "boundary")
    boundary = gc.mean((of(bx, by) - problem.solution(bx, by)) ** 2)
    loss = inside + 100 * boundary
    if problem.at_rest:
        sx, s0 = column("sx", "start"), column("s0", "start")
        loss = loss + gc.mean(of(sx, s0).d(s0) ** 2)
    gx, gy, exact = column("gx", "grid"), column("gy", "grid"), column("exact", "grid")
    error = gc.sqrt(gc.mean((of(gx, gy) - exact) ** 2) / gc.mean(exact**2))
    metrics = {"inside": inside, "boundary": boundary, "error": error}
    return gc.Model(output=u, loss=loss, metrics=metrics, dtype="float64")


def points(problem: Problem, n: int, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """So many points inside, a fifth of that on the boundary, a tenth at the start, and a grid of 21 x 21."""
    x, y = rng.uniform(0, 1, (2, n, 1))
    along, side = rng.uniform(0, 1, (n // 5, 1)), rng.integers(0, 3 if problem.open else 4, (n // 5, 1))
    bx = np.where(side == 0, 0.0, np.where(side == 1, 1.0, along))
    by = np.where(side == 2, 0.0, np.where(side == 3, 1.0, along))
    gx, gy = (a.reshape(-1, 1) for a in np.meshgrid(*[np.linspace(0, 1, 21)] * 2))
    found = {"x": x, "y": y, "bx": bx, "by": by, "gx": gx, "gy": gy, "exact": problem.solution(gx, gy)}
    start = {"sx": rng.uniform(0, 1, (n // 10, 1)), "s0": np.zeros((n // 10, 1))}
    return found | (start if problem.at_rest else {})


def main(name: str = "all", count: str = "1500", width: str = "16", adam: str = "1000", lbfgs: str = "1500") -> None:
    for problem in PROBLEMS.values() if name == "all" else [PROBLEMS[name]]:
        model, data = declared(problem, int(width)), points(problem, int(count), np.random.default_rng(0))
        plan = [(gc.Adam(5e-3), int(adam)), (gc.LBFGS(memory=50), int(lbfgs))]
        optimizers, steps = zip(*[(rule, n) for rule, n in plan if n], strict=True)
        run = model.fit(data, optimizer=optimizers, steps=steps, batch_size=None, seed=0)
        errors = run.history["error"]
        print(f"{problem.title}\n  {run}")
        print(f"  relative L2 error: {errors[0]:.2e} at first, {errors[-1]:.2e} in the end")


if __name__ == "__main__":
    main(*sys.argv[1:])
