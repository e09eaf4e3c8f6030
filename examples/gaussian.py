"""Linear algebra inside a model: a Gaussian with full covariance, and least squares as one formula."""

import numpy as np

import graphc as gc

D = 3


def gaussian() -> gc.Model:
    """The negative log-likelihood of N(m, S), S = B Bᵀ, up to a constant."""
    X = gc.input("X", ("n", D))
    m, B = gc.param("m", (D,), 0.0), gc.param("B", (D, D), gc.init.identity())
    S = (B @ B.T).named("S")
    away = (X - m).named("R")
    squares = gc.sum((away @ gc.linalg.inv(S)) * away, axis=1)
    return gc.Model(loss=(gc.mean(squares) + gc.linalg.slogdet(S).logabsdet) / 2, dtype="float64")


def least_squares(x: np.ndarray, t: np.ndarray) -> np.ndarray:
    """The weights (XᵀX)⁻¹ Xᵀt."""
    X, T = gc.input("X", ("n", D)), gc.input("T", ("n", 1))
    weights = gc.compile(gc.linalg.solve(X.T @ X, X.T @ T), [X, T], dtype="float64")
    return weights(x, t)


def main() -> None:
    random = np.random.default_rng(0)
    x = random.normal(size=(500, D)) @ np.array([[1.0, 0.5, 0.0], [0.0, 0.7, -0.3], [0.2, 0.0, 0.4]]) + [1.0, -2.0, 0.5]
    model = gaussian()
    print(model.derive("B").matrix())
    run = model.fit(x, optimizer=gc.Adam(0.02), steps=2000, batch_size=None)
    b = model.params["B"]
    print(f"after {run.steps} steps the covariance is off by {np.abs(b @ b.T - np.cov(x.T, ddof=0)).max():.1e},")
    print(f"the mean by {np.abs(model.params['m'] - x.mean(axis=0)).max():.1e}")

    t = x @ [[1.0], [2.0], [3.0]] + 0.1 * random.normal(size=(500, 1))
    exact = np.linalg.lstsq(x, t, rcond=None)[0]
    print(f"least squares is off by {np.abs(least_squares(x, t) - exact).max():.1e}")


if __name__ == "__main__":
    main()
