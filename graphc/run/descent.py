"""Descent with curvature: L-BFGS, nonlinear conjugate gradients, Newton-CG. One step each, a function of NumPy arrays.

The loss, its gradient and Hessian-vector products are native calls (:class:`Problem`); what is here runs once an
iteration. Parameters and states are rounded to the precision of the model, sums are made in float64.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from graphc.optim.curvature import LBFGS, ConjugateGradient, NewtonCG, Searching
from graphc.run.line_search import strong_wolfe

EPS = 2.2e-16
PIECE = 8192  # elements of a product of vectors; from 10,000 on OpenBLAS takes threads


@dataclass
class Point:
    """Parameters x, the loss f there, its gradient g in float64, and what else was computed."""

    x: NDArray
    f: float
    g: NDArray
    metrics: list[float] = field(default_factory=list)


class Problem(Protocol):
    """What is made small."""

    def at(self, x: NDArray) -> Point:
        """Loss and gradient; x is rounded to the precision of the model first."""
        ...

    def hessian_times(self, x: NDArray, v: NDArray) -> NDArray:
        """The Hessian at x times v."""
        ...


def lbfgs(problem: Problem, here: Point, state: NDArray, k: int, how: LBFGS) -> Point | None:
    """The next point, None where none lower is found. ``state`` holds the pairs s and y of the last steps, of which
    step k replaces the oldest.

    The two-loop recursion (Nocedal, Wright, algorithm 7.4); the first step has length 1, as in L-BFGS-B.
    """
    m = how.memory
    steps, changes = state[:m], state[m:]
    for pairs in ("kept", "none"):
        d = _two_loop(here.g, steps, changes, k) if pairs == "kept" else None
        if pairs == "kept" and d is None:
            continue
        first, d = (1.0, d) if d is not None else (_unit(here.g), -here.g)
        there = _search(problem, here, d, first, how)
        if there is not None:
            break
        steps[:] = changes[:] = 0.0
    else:
        return None
    s, y = there.x.astype(np.float64) - here.x, there.g - here.g
    if _dot(s, y) > EPS * _dot(y, y):
        steps[k % m], changes[k % m] = s, y
    else:
        steps[k % m] = changes[k % m] = 0.0
    return there


def _two_loop(g: NDArray, steps: NDArray, changes: NDArray, k: int) -> NDArray | None:
    """-H g; None without pairs.

    The two-loop recursion (Nocedal, Wright, algorithm 7.4), pair after pair. Products of matrices (Chen, Wang, Zhou
    2014) ask Python for less, but take m times the operations, and BLAS shares them among threads: on busy cores these
    wait for one another longer than the gradient takes, and their number decides the bits.
    """
    m = len(steps)
    s, y = (pairs.astype(np.float64, copy=False) for pairs in (steps, changes))
    products = np.einsum("ij,ij->i", s, y).tolist()
    order = [(k + t) % m for t in range(m) if products[(k + t) % m]]  # the oldest first
    if not order:
        return None
    kept = [(s[i], y[i], products[i]) for i in order]
    d, alpha = -g, []
    for s_i, y_i, product in reversed(kept):
        alpha.append(_dot(s_i, d) / product)
        d -= alpha[-1] * y_i
    _, y_last, product = kept[-1]
    d *= product / _dot(y_last, y_last)
    for (s_i, y_i, product), a in zip(kept, reversed(alpha), strict=True):
        d += (a - _dot(y_i, d) / product) * s_i
    return d


def _dot(a: NDArray, b: NDArray) -> float:
    """aᵀ b, in pieces that BLAS does not share among threads: their number would decide the bits."""
    if a.size <= PIECE:
        return float(np.dot(a, b))
    return sum(float(np.dot(a[at : at + PIECE], b[at : at + PIECE])) for at in range(0, a.size, PIECE))


def _norm(a: NDArray) -> float:
    return math.sqrt(_dot(a, a))


def conjugate_gradient(problem: Problem, here: Point, state: NDArray, k: int, how: ConjugateGradient) -> Point | None:
    """The next point; ``state`` holds the last gradient, the last direction, and what it promised (first element)."""
    g, old, last = here.g, state[0].astype(np.float64), state[1].astype(np.float64)
    beta = max(0.0, _dot(g, g - old) / (_dot(old, old) or 1.0))
    d = beta * last - g
    slope = _dot(d, g)
    first = float(state[2, 0]) / slope if state[2, 0] and slope < 0 else _unit(d)
    there = _search(problem, here, d, first, how) if slope < 0 else None
    if there is None:
        d = -g
        there = _search(problem, here, d, _unit(d), how)
    if there is None:
        return None
    t = _dot(there.x.astype(np.float64) - here.x, d) / _dot(d, d)
    state[0], state[1], state[2, 0] = g, d, t * _dot(d, g)
    return there


def newton_cg(problem: Problem, here: Point, state: NDArray, k: int, how: NewtonCG) -> Point | None:
    """The next point."""
    d = _newton_direction(lambda v: problem.hessian_times(here.x, v), here.g, how.products)
    there = _search(problem, here, d, 1.0, how)
    return there if there is not None else _search(problem, here, -here.g, _unit(here.g), how)


def _newton_direction(times: Callable[[NDArray], NDArray], g: NDArray, most: int) -> NDArray:
    """d with H d = -g, to min(1/2, sqrt norm g) of the norm of g, before a direction of negative curvature."""
    norm = _norm(g)
    enough = min(0.5, math.sqrt(norm)) * norm
    z, r, d = np.zeros_like(g), g.copy(), -g
    rr = _dot(r, r)
    for j in range(min(most, 2 * g.size + 10)):
        product = times(d)
        curvature = _dot(d, product)
        if not curvature > EPS * _dot(d, d):
            return z if j else -g
        alpha = rr / curvature
        z += alpha * d
        r += alpha * product
        rr, before = _dot(r, r), rr
        if math.sqrt(rr) <= enough:
            break
        d = (rr / before) * d - r
    return z


def _unit(d: NDArray) -> float:
    return 1.0 / (_norm(d) or 1.0)


def _search(problem: Problem, here: Point, d: NDArray, first: float, how: Searching) -> Point | None:
    slope = _dot(d, here.g)
    if not slope < 0:
        return None
    found: list[Point] = []

    def evaluate(t: float) -> tuple[float, float]:
        there = problem.at(here.x + t * d)
        found[:] = [there]
        return there.f, _dot(d, there.g)

    t = strong_wolfe(evaluate, here.f, slope, first, *how.wolfe)
    return None if t is None else found[0]
