"""The lecture's slide on the learning rate: too small, good, too large; 64 networks in one native call."""

import sys

import numpy as np

import graphc as gc


def network() -> gc.Model:
    """Y = f1(f0(X W0 + B0) W1 + B1) with the cross-entropy, for XOR."""
    X, T = gc.input("X", ("n", 2)), gc.input("T", ("n", 1))
    W0, B0 = gc.param("W0", (2, 4), gc.normal(1.0)), gc.param("B0", (4,), 0.0)
    W1, B1 = gc.param("W1", (4, 1), gc.normal(1.0)), gc.param("B1", (1,), 0.0)
    Y = gc.sigmoid(gc.tanh(X @ W0 + B0) @ W1 + B1)
    return gc.Model(output=Y, loss=gc.mean(-(T * gc.log(Y) + (1 - T) * gc.log(1 - Y))))


def main(picture: str | None = None) -> None:
    x = np.array([[0, 0], [0, 1], [1, 0], [1, 1]])
    t = np.array([[0], [1], [1], [0]])
    rates = gc.SGD(np.geomspace(1e-3, 100, 16))
    sweep = network().sweep(x, t, optimizer=rates, seeds=4, epochs=2000, batch_size=4)
    print(sweep)

    good = [row for row in sweep.table if row["verdict"] == "good"]
    print(f"\n{len(good)} of {len(sweep)} networks learnt at a good rate; the best one says")
    for row, y in zip(x, sweep.best.predict(x).ravel(), strict=True):
        print(f"xor {row[0]} {row[1]} = {y:.4f}")

    print("\nTwo hyper-parameters: every combination.")
    grid = gc.Momentum(np.array([0.01, 0.1, 1.0]), mu=np.array([0.0, 0.9]))
    print(network().sweep(x, t, optimizer=grid, epochs=500, batch_size=4))
    if picture:
        sweep.plot(picture)
        print(f"\nsee {picture}")


if __name__ == "__main__":
    main(*sys.argv[1:2])
