"""Breast cancer, 569 real cases with 30 measurements: logistic regression and a small network."""

import numpy as np
from sklearn.datasets import load_breast_cancer

import graphc as gc


def data() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Standardised measurements and labels in columns: training rows, then test rows."""
    x, t = load_breast_cancer(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(t))
    x, t = x[order], t[order].reshape(-1, 1)
    mean, deviation = x[:455].mean(axis=0), x[:455].std(axis=0)
    x = (x - mean) / deviation
    return x[:455], t[:455], x[455:], t[455:]


def logistic_regression() -> gc.Model:
    X, T = gc.input("X", ("n", 30)), gc.input("T", ("n", 1))
    w, b = gc.param("w", (30, 1), 0.0), gc.param("b", (1,), 0.0)
    Y = gc.sigmoid(X @ w + b)
    return gc.Model(output=Y, loss=gc.losses.bce(Y, T), metrics={"accuracy": gc.metrics.accuracy(Y, T)})


def network() -> gc.Model:
    Y = gc.nn.sequential(30, gc.nn.Dense(16, "tanh"), gc.nn.Dense(1, "sigmoid"))
    T = gc.input("T", ("n", 1))
    return gc.Model(output=Y, loss=gc.losses.bce(Y, T), metrics={"accuracy": gc.metrics.accuracy(Y, T)})


def main() -> None:
    x, t, x_test, t_test = data()
    for title, model in (("logistic regression", logistic_regression()), ("30-16-1 network", network())):
        print(f"\n{title}")
        print(model.derive())
        stop = gc.EarlyStopping("val_loss", patience=20)
        run = model.fit(
            x, t, optimizer=gc.Adam(0.01), epochs=500, batch_size=32, seed=0, validation=0.2, callbacks=[stop]
        )
        print(run)
        print(f"best epoch {run.best['epoch']}, test accuracy {100 * model.evaluate(x_test, t_test)['accuracy']:.1f} %")


if __name__ == "__main__":
    main()
