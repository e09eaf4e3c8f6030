"""The Levenberg-Marquardt method, one step: a function of NumPy arrays; residuals and Jacobian are native calls."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from graphc.optim.curvature import LevenbergMarquardt

TRIES = 40  # of a larger mu within a step
THIRD = 1 / 3


@dataclass
class Residuals:
    """Parameters x, f = Σ r², A = JᵀJ and b = Jᵀr there, so that the gradient is 2 b."""

    x: NDArray
    f: float
    a: NDArray
    b: NDArray
    metrics: list[float]

    @property
    def g(self) -> NDArray:
        """The gradient of f."""
        return 2.0 * self.b


class LeastSquares(Protocol):
    """What is made small."""

    def at(self, x: NDArray) -> Residuals:
        """x is rounded to the precision of the model first."""
        ...


def levenberg_marquardt(
    problem: LeastSquares, here: Residuals, state: NDArray, k: int, how: LevenbergMarquardt
) -> Residuals | None:
    """The next point, None where none lower is found; ``state`` holds mu and its factor nu (Nielsen 1999).

    (A + mu I) d = -b; with rho = (f(x) - f(x + d))/(dᵀ(mu d - b)), mu shrinks by max(1/3, 1 - (2 rho - 1)³) where
    rho > 0, and grows by nu = 2, 4, 8, .. where not.
    """
    from scipy.linalg import LinAlgError, cho_factor, cho_solve

    kept = state.reshape(-1)
    if not kept[0]:
        kept[:2] = how.damping * (float(here.a.diagonal().max()) or 1.0), 2.0
    system = np.empty_like(here.a)
    for _ in range(TRIES):
        mu, nu = float(kept[0]), float(kept[1])
        system[:] = here.a
        system.flat[:: len(system) + 1] += mu
        try:
            d = -cho_solve(
                cho_factor(system, lower=True, overwrite_a=True, check_finite=False), here.b, check_finite=False
            )
        except LinAlgError:
            kept[:2] = mu * nu, 2.0 * nu
            continue
        there = problem.at(here.x + d)
        foretold = float(np.dot(d, mu * d - here.b))
        rho = (here.f - there.f) / foretold if foretold > 0 and np.isfinite(there.f) else -1.0
        if rho > 0:
            kept[:2] = mu * max(THIRD, 1.0 - (2.0 * rho - 1.0) ** 3), 2.0
            return there
        if float(np.linalg.norm(d)) <= 1e-15 * float(np.linalg.norm(here.x)) or not np.isfinite(mu * nu):
            return None
        kept[:2] = mu * nu, 2.0 * nu
    return None
