"""A lecture on gradient descent: partial derivatives, the chain rule, optimizers and the learning rate."""

import numpy as np

import graphc as gc


def partial_derivatives() -> None:
    """f(theta) = 2 theta0 + theta1 has the partial derivatives 2 and 1."""
    theta0, theta1 = gc.param("theta0", (), 3.0), gc.param("theta1", (), 1.0)
    f = (2 * theta0 + theta1).named("f")
    print(gc.derive(f))
    slopes = gc.compile(gc.grad(f, [theta0, theta1]))
    print("partial derivatives:", *map(float, slopes()))


def two_layers() -> gc.Model:
    """Y = f1(f0(X theta0) theta1) with the mean squared error."""
    X, T = gc.input("X", ("n", 2)), gc.input("T", ("n", 1))
    theta0, theta1 = gc.param("theta0", (2, 3), gc.normal(1.0)), gc.param("theta1", (3, 1), gc.normal(1.0))
    Y = (gc.tanh(X @ theta0) @ theta1).named("Y")
    return gc.Model(output=Y, loss=gc.mean((Y - T) ** 2))


def chain_rule(model: gc.Model, x: np.ndarray, t: np.ndarray) -> None:
    """The same derivation in three notations, and with the numbers of one row."""
    for name in ("theta1", "theta0"):
        derivation = model.derive(name)
        print(f"\n{name}, element by element and as matrices:")
        print(derivation)
        print("\nthe product of partial derivatives:")
        print(derivation.lecture())
    print("\nwith the numbers of the first row:")
    print(model.derive("theta0").numbers({"X": x, "T": t}, row=0))


def until_convergence(model: gc.Model, x: np.ndarray, t: np.ndarray) -> None:
    """Gradient descent until the largest gradient is small."""
    run = model.initialize(0).fit(x, t, optimizer=gc.SGD(0.2), tol=1e-3, batch_size=None)
    print(f"\n{run.stopped} after {run.steps} steps: loss {run.history['loss'][-1]:.2e}")


def optimizers(model: gc.Model, x: np.ndarray, t: np.ndarray) -> None:
    """One problem, 200 epochs each: batches, momentum, adaptive rates."""
    print(f"\n{'optimizer':45s}  batch   loss after 200 epochs")
    whole, one, some = None, 1, 8
    choices = [
        (gc.SGD(0.1), whole), (gc.SGD(0.1), one), (gc.SGD(0.1), some), (gc.Momentum(0.02), some),
        (gc.Nesterov(0.02), some), (gc.RMSProp(0.01), some), (gc.Adagrad(0.1), some), (gc.Adam(0.01), some),
    ]  # fmt: skip
    for rule, batch in choices:
        run = model.initialize(0).fit(x, t, optimizer=rule, epochs=200, batch_size=batch)
        print(f"{rule!r:45s}  {batch or 'all':>5}   {run.history['loss'][-1]:.2e}")


def learning_rates(model: gc.Model, x: np.ndarray, t: np.ndarray) -> None:
    """Too small: hardly any progress.  Good.  Too large: the loss grows without bound."""
    print()
    for eta in (1e-4, 0.2, 20.0):
        try:
            run = model.initialize(0).fit(x, t, optimizer=gc.SGD(eta), epochs=500, batch_size=None)
            print(f"eta = {eta:<6g} loss {run.history['loss'][0]:.3f} -> {run.history['loss'][-1]:.5f}")
        except gc.errors.DivergenceError as error:
            print(f"eta = {eta:<6g} {str(error).splitlines()[0]}")


def main() -> None:
    partial_derivatives()
    x = np.stack([np.ones(64), np.linspace(-1, 1, 64)], axis=1)  # the first column stands for the bias
    t = np.sin(2 * x[:, 1:])
    model = two_layers()
    chain_rule(model, x, t)
    until_convergence(model, x, t)
    optimizers(model, x, t)
    learning_rates(model, x, t)


if __name__ == "__main__":
    main()
