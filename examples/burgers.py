"""Burgers' equation by a network: u_t + u u_x = nu u_xx on [-1, 1] with a shock, Adam first and L-BFGS after.

The residual of the equation is the loss; ``u.d(x, 2)`` reads as the equation does. The start u(x, 0) = -sin(pi x) and
u = 0 at both ends are built into u. The exact solution is that of Cole and Hopf, by quadrature (Basdevant et al. 1986).
"""

import numpy as np

import graphc as gc

NU = 0.01 / np.pi
POINTS, WIDTH, ADAM, LBFGS = 4000, 24, 1500, 3000


def exact(x: np.ndarray, t: np.ndarray) -> np.ndarray:
    """u(x, t) for t > 0."""
    z, weight = np.polynomial.hermite.hermgauss(100)
    y = x[:, None] - np.sqrt(4 * NU * t)[:, None] * z
    f = weight * np.exp(-np.cos(np.pi * y) / (2 * np.pi * NU))
    return -(f * np.sin(np.pi * y)).sum(axis=1) / f.sum(axis=1)


x, t = gc.input("x", ("n", 1)), gc.input("t", ("n", 1))
network = gc.nn.sequential(2, *[gc.nn.Dense(WIDTH, "tanh")] * 4, gc.nn.Dense(1))
inside = network(gc.concatenate([x, 2 * t - 1], axis=1))
u = (-gc.sin(np.pi * x) + t * (1 - x**2) * inside).named("u")
residual = u.d(t) + u * u.d(x) - NU * u.d(x, 2)
model = gc.Model(output=u, loss=gc.mean(residual**2), dtype="float64")

rng = np.random.default_rng(0)
wide, near = rng.uniform(-1, 1, POINTS - POINTS // 3), rng.uniform(-0.1, 0.1, POINTS // 3)  # more where the shock is
data = {"x": np.concatenate([wide, near])[:, None], "t": rng.uniform(0, 1, (POINTS, 1))}

first = model.fit(data, optimizer=gc.Adam(gc.schedules.cosine(5e-3, ADAM)), steps=ADAM, batch_size=None, seed=1)
then = model.fit(data, optimizer=gc.LBFGS(memory=50), steps=LBFGS)

grid = np.stack(np.meshgrid(np.linspace(-1, 1, 201), np.linspace(0.01, 1, 100)), axis=-1).reshape(-1, 2)
true = exact(grid[:, 0], grid[:, 1])
found = model.predict(grid[:, :1], grid[:, 1:])[:, 0]
error = np.linalg.norm(found - true) / np.linalg.norm(true)
print("Adam:  ", first)
print("L-BFGS:", then)
print(f"relative L2 error beside the exact solution: {error:.2e}")
assert error < 1e-2
