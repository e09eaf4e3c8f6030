"""The lecture's pictures: a loss surface, the paths of five optimizers over it, a decision boundary, a certificate."""

import sys
from pathlib import Path

import numpy as np

import graphc as gc


def network() -> gc.Model:
    """Y = sigmoid(tanh(X W0 + B0) W1 + B1) with the cross-entropy, for points inside and outside a circle."""
    X, T = gc.input("X", ("n", 2)), gc.input("T", ("n", 1))
    W0, B0 = gc.param("W0", (2, 4), gc.normal(1.0)), gc.param("B0", (4,), 0.0)
    W1, B1 = gc.param("W1", (4, 1), gc.normal(1.0)), gc.param("B1", (1,), 0.0)
    Y = gc.sigmoid(gc.tanh(X @ W0 + B0) @ W1 + B1)
    return gc.Model(output=Y, loss=gc.mean(-(T * gc.log(Y) + (1 - T) * gc.log(1 - Y))))


def main(folder: str = "build", points: str = "51", optimizers: str = "5", epochs: str = "40") -> None:
    size, out, long = int(points), Path(folder), int(epochs)
    x = np.random.default_rng(0).uniform(-1, 1, (200, 2))
    t = (np.sum(x**2, axis=1, keepdims=True) < 0.5).astype(float)

    rules = [gc.SGD(0.5), gc.Momentum(0.1), gc.RMSProp(0.01), gc.Adagrad(0.1), gc.Adam(0.02)]
    compared = gc.compare(network(), x, t, rules[-int(optimizers) :], epochs=long, size=size)
    print(compared)
    compared.plot(out / "optimizers.png")

    model = network()
    run = model.fit(x, t, optimizer=gc.Adam(0.02), epochs=long, seed=0, callbacks=[gc.Trajectory()])
    for along in ("path", "random", "hessian"):
        plane = model.landscape(x, t, along=along, runs=run, size=size)
        print(f"\n{along}: {plane}")
        plane.plot(out / f"{along}.png")
    gc.plot_decision(model, x, t, out / "boundary.png")
    run.animate(out / "fit.gif")
    print(f"\nsee {folder}: optimizers.png, path.png, random.png, hessian.png, boundary.png, fit.gif\n")
    print(model.certificate(ranges={"X": (-1, 1), "T": (0, 1)}))


if __name__ == "__main__":
    main(*sys.argv[1:5])
