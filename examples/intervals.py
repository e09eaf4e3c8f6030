"""Prediction intervals on real data: NumPy's functions on Tensors, a constraint, NAdam with one cycle."""

import numpy as np
from sklearn.datasets import load_diabetes

import graphc as gc

QUANTILES = np.array([0.05, 0.5, 0.95])


def data() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """442 patients: ten standardised measurements, and how far their diabetes went in a year, in units of 100."""
    x, t = load_diabetes(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(t))
    x, t = (x / x.std(axis=0))[order], t[order].reshape(-1, 1) / 100
    return x[:342], t[:342], x[342:], t[342:]


def network() -> gc.Model:
    X, T = gc.input("X", ("n", 10)), gc.input("T", ("n", 1))
    W0, b0 = gc.param("W0", (10, 8), gc.init.glorot_uniform()), gc.param("b0", (8,), 0.0)
    W1, b1 = gc.param("W1", (8, 1), gc.init.glorot_uniform()), gc.param("b1", (1,), 1.5)
    s = gc.param("s", (2,), 1.0, constraint=gc.constraints.nonnegative)  # how far the outer quantiles lie
    H = np.tanh(X @ W0 + b0)  # NumPy's functions of Tensors are Tensors
    middle = H @ W1 + b1
    Y = np.concatenate([middle - s[0], middle, middle + s[1]], axis=1)
    missed = T - Y
    J = np.mean(np.maximum(QUANTILES * missed, (QUANTILES - 1) * missed)) + gc.l2(W0, 1e-3)
    inside = ((Y[:, 0] < T[:, 0]) & (T[:, 0] < Y[:, 2])).mean()
    return gc.Model(output=Y, loss=J, metrics={"inside": inside})


def main() -> None:
    x, t, x_test, t_test = data()
    model = network()
    print(model.derive("s", "W1"))
    rate = gc.schedules.one_cycle(0.03, steps=2000)
    print(model.fit(x, t, optimizer=gc.NAdam(rate), steps=2000, batch_size=38, seed=1))
    low, middle, high = model.predict(x_test).T
    error, width = np.median(np.abs(middle - t_test[:, 0])), np.mean(high - low)
    print(f"median error {100 * error:.0f}, mean width {100 * width:.0f}")
    print(f"inside the interval: {100 * model.evaluate(x_test, t_test)['inside']:.0f} % of the test rows (90 % wanted)")


if __name__ == "__main__":
    main()
