"""Burgers' equation by a network: u_t + u u_x = nu u_xx on [-1, 1] with a shock, Adam first and L-BFGS after.

The residual of the equation is the loss; ``u.d(x, 2)`` reads as the equation does. The start u(x, 0) = -sin(pi x) and
u = 0 at both ends are built into u. The exact solution is that of Cole and Hopf, by quadrature (Basdevant et al. 1986).
"""

import sys

import numpy as np

import graphc as gc

NU = 0.01 / np.pi


def exact(x: np.ndarray, t: np.ndarray) -> np.ndarray:
    """u(x, t) for t > 0."""
    z, weight = np.polynomial.hermite.hermgauss(100)
    y = x[:, None] - np.sqrt(4 * NU * t)[:, None] * z
    f = weight * np.exp(-np.cos(np.pi * y) / (2 * np.pi * NU))
    return -(f * np.sin(np.pi * y)).sum(axis=1) / f.sum(axis=1)


def declared(width: int) -> gc.Model:
    """A network of four layers, and the residual of the equation as its loss."""
    x, t = gc.input("x", ("n", 1)), gc.input("t", ("n", 1))
    network = gc.nn.sequential(2, *[gc.nn.Dense(width, "tanh")] * 4, gc.nn.Dense(1))
    inside = network(gc.concatenate([x, 2 * t - 1], axis=1))
    u = (-gc.sin(np.pi * x) + t * (1 - x**2) * inside).named("u")
    residual = u.d(t) + u * u.d(x) - NU * u.d(x, 2)
    return gc.Model(output=u, loss=gc.mean(residual**2), dtype="float64")


def main(points: str = "4000", width: str = "24", adam: str = "1500", lbfgs: str = "3000") -> None:
    model, n = declared(int(width)), int(points)
    rng = np.random.default_rng(0)
    x = np.concatenate([rng.uniform(-1, 1, n - n // 3), rng.uniform(-0.1, 0.1, n // 3)])  # more where the shock is
    data = {"x": x[:, None], "t": rng.uniform(0, 1, (n, 1))}
    rate = gc.Adam(gc.schedules.cosine(5e-3, int(adam)))
    print("Adam:  ", model.fit(data, optimizer=rate, steps=int(adam), batch_size=None, seed=1))
    print("L-BFGS:", model.fit(data, optimizer=gc.LBFGS(memory=50), steps=int(lbfgs)))

    grid = np.stack(np.meshgrid(np.linspace(-1, 1, 201), np.linspace(0.01, 1, 100)), axis=-1).reshape(-1, 2)
    true = exact(grid[:, 0], grid[:, 1])
    found = model.predict(grid[:, :1], grid[:, 1:])[:, 0]
    print(f"relative L2 error beside the exact solution: {np.linalg.norm(found - true) / np.linalg.norm(true):.2e}")


if __name__ == "__main__":
    main(*sys.argv[1:])
