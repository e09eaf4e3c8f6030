"""Burgers' equation by a network: u_t + u u_x = nu u_xx on [-1, 1] with a shock, Adam first and L-BFGS after.

Three sets of points make one loss, each of its own number: inside, where ``u.d(x, 2)`` reads as the equation does, at
both ends, where u = 0, and at the start, u(x, 0) = -sin(pi x) (Raissi, Perdikaris and Karniadakis 2019). The exact
solution is that of Cole and Hopf, by quadrature (Basdevant et al. 1986).

Run longer, L-BFGS goes on from round to round with new points, more of them at the shock:
``python examples/burgers.py 5000 20 3000 1500 16`` (0.04 % in eight minutes).
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
    """A network of four layers; the equation, both ends and the start are its loss."""
    x, t = gc.input("x", ("n", 1)), gc.input("t", ("n", 1))
    end, when, start = gc.input("end", ("m", 1)), gc.input("when", ("m", 1)), gc.input("start", ("k", 1))
    network = gc.nn.sequential(2, *[gc.nn.Dense(width, "tanh")] * 4, gc.nn.Dense(1))
    of = lambda x, t: network(gc.concatenate([x, 2 * t - 1], axis=1))
    u = of(x, t).named("u")
    inside = gc.mean((u.d(t) + u * u.d(x) - NU * u.d(x, 2)) ** 2)
    ends = gc.mean(of(end, when) ** 2)
    begin = gc.mean((of(start, 0 * start) + gc.sin(np.pi * start)) ** 2)
    metrics = {"inside": inside, "ends": ends, "start": begin}
    return gc.Model(output=u, loss=inside + 10 * (ends + begin), metrics=metrics, dtype="float64")


def points(n: int, rng: np.random.Generator, shock: int = 0) -> dict[str, np.ndarray]:
    """Points inside, a third near the shock, some within it; a tenth of as many at the ends and at the start."""
    within = ((1, n - n // 3), (0.1, n // 3 - shock), (0.02, shock))
    x = np.concatenate([rng.uniform(-at, at, k) for at, k in within])
    m = n // 10
    column = lambda values: np.reshape(values, (-1, 1))
    return {
        "x": column(x), "t": rng.uniform(0, 1, (n, 1)),
        "end": column(rng.choice([-1.0, 1.0], m)), "when": rng.uniform(0, 1, (m, 1)),
        "start": column(np.linspace(-1, 1, m)),
    }  # fmt: skip


def main(
    count: str = "4000", width: str = "24", adam: str = "1500", lbfgs: str = "3000", rounds: str = "1"
) -> None:
    rng = np.random.default_rng(0)
    model, data = declared(int(width)), points(int(count), rng)
    plan = [gc.Adam(gc.schedules.cosine(5e-3, int(adam))), gc.LBFGS(memory=100)]
    run = model.fit(data, optimizer=plan, steps=[int(adam), int(lbfgs)], batch_size=None, seed=1)
    print(f"loss after Adam {run.history['loss'][int(adam) - 1]:.2e}, after L-BFGS {run.history['loss'][-1]:.2e}")
    print(run)
    for number in range(1, int(rounds)):
        data = points(int(count), rng, int(count) // 4)
        run = model.fit(data, optimizer=plan[1], steps=int(lbfgs), batch_size=None, seed=1)
        print(f"round {number + 1}: loss {run.history['loss'][-1]:.2e}")

    grid = np.stack(np.meshgrid(np.linspace(-1, 1, 201), np.linspace(0.01, 1, 100)), axis=-1).reshape(-1, 2)
    true = exact(grid[:, 0], grid[:, 1])
    found = model.predict(grid[:, :1], grid[:, 1:])[:, 0]
    print(f"relative L2 error beside the exact solution: {np.linalg.norm(found - true) / np.linalg.norm(true):.2e}")


if __name__ == "__main__":
    main(*sys.argv[1:])
