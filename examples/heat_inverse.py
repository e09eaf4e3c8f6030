"""How well does the rod conduct? The coefficient of the heat equation from noisy temperatures: an inverse problem.

u_t = kappa u_xx on [0, 1]. A network u(x, t) follows the measurements, and the equation holds at the same points;
kappa is a parameter like the weights (Raissi, Perdikaris and Karniadakis 2019). The solution is known: two sines.
"""

import sys

import numpy as np

import graphc as gc

KAPPA, NOISE = 0.07, 0.01


def exact(x: np.ndarray, t: np.ndarray) -> np.ndarray:
    """The temperature of a rod whose ends are kept at 0."""
    decay = np.exp(-KAPPA * np.pi**2 * t)
    return decay * np.sin(np.pi * x) + 0.5 * decay**9 * np.sin(3 * np.pi * x)


def declared(width: int) -> gc.Model:
    """A network of three layers; misfit and residual of the equation are its loss."""
    x, t, measured = (gc.input(name, ("n", 1)) for name in ("x", "t", "measured"))
    kappa = gc.exp(gc.param("log_kappa", (), 0.0))  # above 0; at first 1
    network = gc.nn.sequential(2, *[gc.nn.Dense(width, "tanh")] * 3, gc.nn.Dense(1))
    u = network(gc.concatenate([2 * x - 1, 2 * t - 1], axis=1)).named("u")
    misfit, residual = gc.losses.mse(u, measured), gc.mean((u.d(t) - kappa * u.d(x, 2)) ** 2)
    metrics = {"misfit": misfit, "residual": residual, "kappa": kappa}
    return gc.Model(output=u, loss=misfit + 0.1 * residual, metrics=metrics, dtype="float64")


def main(points: str = "1000", width: str = "16", adam: str = "1000", lbfgs: str = "1500") -> None:
    model = declared(int(width))
    rng = np.random.default_rng(0)
    x, t = rng.uniform(0, 1, (2, int(points), 1))
    data = {"x": x, "t": t, "measured": exact(x, t) + NOISE * rng.normal(size=x.shape)}
    print("Adam:  ", model.fit(data, optimizer=gc.Adam(5e-3), steps=int(adam), batch_size=None, seed=0))
    print("L-BFGS:", model.fit(data, optimizer=gc.LBFGS(memory=50), steps=int(lbfgs)))

    found = float(np.exp(model.params["log_kappa"]))
    print(f"\nkappa = {found:.5f}, {100 * abs(found / KAPPA - 1):.2f} % from {KAPPA}; it began at 1")
    grid = np.stack(np.meshgrid(np.linspace(0, 1, 101), np.linspace(0, 1, 101)), axis=-1).reshape(-1, 2, 1)
    true = exact(grid[:, 0], grid[:, 1])
    apart = np.linalg.norm(model.predict(grid[:, 0], grid[:, 1]) - true) / np.linalg.norm(true)
    print(f"relative L2 error beside the exact temperatures: {apart:.2e} ({100 * NOISE:g} % noise was measured)")


if __name__ == "__main__":
    main(*sys.argv[1:])
