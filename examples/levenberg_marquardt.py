"""A sine by a network of 20 units to a mean square error of 1e-8: Levenberg and Marquardt's method beside Adam.

A step of the method solves a system with the Jacobian of all residuals, which is one compiled function of the
declaration. The units start as Nguyen and Widrow (1990) place them, spread evenly over the data: from weights drawn at
random a hundred iterations come to some 3e-7, with SciPy's method too.
"""

import sys

import numpy as np

import graphc as gc

GOAL = 1e-8


def declared(units: int) -> gc.Model:
    """1-20-1: Y = tanh(x W0 + B0) W1 + B1 for x between -1 and 1."""
    x, t = gc.input("x", ("n", 1)), gc.input("t", ("n", 1))
    steep = 0.7 * units
    W0 = gc.param("W0", (1, units), steep)
    B0 = gc.param("B0", (units,), steep * np.linspace(-1, 1, units))
    W1, B1 = gc.param("W1", (units, 1), gc.uniform(-0.5, 0.5)), gc.param("B1", (1,), 0.0)
    Y = (gc.tanh(x @ W0 + B0) @ W1 + B1).named("Y")
    return gc.Model(output=Y, loss=gc.losses.mse(Y, t), dtype="float64")


def train(optimizer: object, steps: int, model: gc.Model, x: np.ndarray, t: np.ndarray) -> None:
    """One optimizer from the same start, and when it reached the goal."""
    run = model.initialize(0).fit(x, t, optimizer=optimizer, steps=steps, batch_size=None)
    at = next((k for k, loss in enumerate(run.history["loss"]) if loss < GOAL), None)
    reached = "not reached" if at is None else f"reached after {at} iterations, {run.seconds / run.steps * at:.2g} s"
    print(f"{run}\n  mean square error {GOAL:g}: {reached}")


def main(units: str = "20", steps: str = "60", adam: str = "100000") -> None:
    x = np.linspace(-1, 1, 100)[:, None]
    t, model = np.sin(np.pi * x), declared(int(units))
    print("Levenberg-Marquardt: ", end="")
    train(gc.LevenbergMarquardt(), int(steps), model, x, t)
    between = np.linspace(-1, 1, 1999)[:, None]
    error = np.abs(model.predict(between) - np.sin(np.pi * between)).max()
    print(f"  largest error, also between the data: {error:.1e}")
    if int(adam):
        print("Adam: ", end="")
        train(gc.Adam(gc.schedules.cosine(1e-2, int(adam))), int(adam), model, x, t)


if __name__ == "__main__":
    main(*sys.argv[1:])
