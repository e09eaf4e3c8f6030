"""Partial derivatives of a function of two variables, an own loss by formula, and SymPy in and out."""

import sys

import numpy as np
import sympy as sp

import graphc as gc


def lecture(picture: str | None) -> None:
    f = gc.function("f", "2*a + b**2", variables=["a", "b"])
    print(f, f.gradient(), "", f.hessian(), sep="\n")
    print("\nWhat to know of another one:")
    print(gc.function("m", "max(a, b)*log(a)", variables="a b").report())
    if picture:
        f.plot(picture, low=-2, high=2)


def own_loss() -> None:
    """Overestimating costs three times as much: the fit lies below the mean."""
    loss = gc.function("loss", "where(y > t, 3*(y - t)**2, (y - t)**2)", variables=["y", "t"])
    X, T = gc.input("X", ("n", 1)), gc.input("T", ("n", 1))
    Y = X @ gc.param("W", (1, 1), 0.0) + gc.param("B", (1,), 0.0)
    model = gc.Model(output=Y, loss=gc.mean(loss(Y, T)))
    x = np.linspace(-1, 1, 200)[:, None]
    t = 2 * x + np.where(np.arange(200) % 2, 0.5, -0.5)[:, None]
    run = model.fit(x, t, optimizer=gc.SGD(0.1), epochs=200, batch_size=None)
    print(f"loss {run.history['loss'][0]:.3f} -> {run.history['loss'][-1]:.3f}, offset {model.params['B'][0]:+.3f}")


def with_sympy() -> None:
    X, W = gc.input("X", ("n", 2)), gc.param("W", (2, 1))
    J = gc.mean(gc.tanh(X @ W) ** 2).named("J")
    print(J.to_sympy())

    print("\nBoth derive the same, here for one row:")
    ours = gc.grad(J, W).to_sympy(explicit={"n": 1})[0, 0]
    theirs = sp.diff(J.to_sympy(explicit={"n": 1}), W.to_sympy(explicit={})[0, 0])
    print(ours, theirs, sep="\n")

    x, w = sp.IndexedBase("x"), sp.IndexedBase("w")
    i, k, n = sp.symbols("i k n", integer=True)
    error = sp.Sum(sp.tanh(sp.Sum(x[i, k] * w[k, 0], (k, 0, 1))) ** 2, (i, 0, n - 1)) / n
    print("\nRead from SymPy, and derived:")
    print(gc.derive(gc.from_sympy(error, {x: X, w: W}), W).index())


def main(picture: str | None = None) -> None:
    lecture(picture)
    print("\nAn own loss:")
    own_loss()
    print("\nA loss in SymPy's words:")
    with_sympy()


if __name__ == "__main__":
    main(*sys.argv[1:2])
