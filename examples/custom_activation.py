"""An activation of your own: its derivatives, what is special about it, and a network that uses it."""

import sys
from collections.abc import Callable

import numpy as np

import graphc as gc


def network(activation: Callable[[gc.Tensor], gc.Tensor]) -> gc.Model:
    X, T = gc.input("X", ("n", 2)), gc.input("T", ("n", 1))
    W0, B0 = gc.param("W0", (2, 16), gc.normal(1.0)), gc.param("B0", (16,), gc.normal(1.0))
    W1, B1 = gc.param("W1", (16, 1), gc.normal(0.3)), gc.param("B1", (1,), 0.0)
    Z = (X @ W0 + B0).named("Z")
    Y = (activation(Z) @ W1 + B1).named("Y")
    return gc.Model(output=Y, loss=gc.losses.mse(Y, T))


def main(picture: str | None = None) -> None:
    swish = gc.function("swish", "z/(1 + exp(-beta*z))", beta=1.7)  # text,
    bump = gc.function("bump", lambda z: gc.exp(-(z**2)))  # or Python, called once with a symbol
    print(swish, swish.d(), bump.d(2), sep="\n")

    print("\nWhat to know before training with it:")
    print(swish.report())
    print(gc.function("clipped", "min(max(z, -1), 1)").report())  # kinks, and the subgradient used there

    print("\nThe derivative of bump in the gradient of a network:")
    print(network(bump).derive("W0").index())

    points = np.linspace(-1.5, 1.5, 20)
    x = np.stack(np.meshgrid(points, points), axis=-1).reshape(-1, 2)
    t = np.sin(2 * x[:, :1]) * np.cos(x[:, 1:])
    print("\nFitting sin(2 x0) cos(x1):")
    for name, activation in (("swish", swish), ("bump", bump)):
        model = network(activation)
        run = model.fit(x, t, optimizer=gc.Adam(0.01), epochs=500, batch_size=40, seed=0)
        error = np.sqrt(run.history["loss"][-1])
        print(f"{name:5s}  {run.microseconds_per_step:.2f} us a step, root mean square error {error:.4f}")
    if picture:
        swish.plot(picture, order=2)
        print(f"\nsee {picture}")


if __name__ == "__main__":
    main(*sys.argv[1:2])
