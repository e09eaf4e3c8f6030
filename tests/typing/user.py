"""What a user's type checker sees of the public names in strict mode: `make types` reads it, `make wheel` runs it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

import graphc as gc


def declared() -> gc.Model:
    X, T = gc.input("X", ("n", 2)), gc.input("T", ("n", 1))
    W0, B0 = gc.param("W0", (2, 4), gc.normal(1.0)), gc.param("B0", (4,), 0.0)
    W1, B1 = gc.param("W1", (4, 1), gc.normal(1.0)), gc.param("B1", (1,), 0.0)
    Y = gc.sigmoid(gc.tanh(X @ W0 + B0) @ W1 + B1)
    J = gc.mean(-(T * gc.log(Y) + (1 - T) * gc.log(1 - Y)))
    return gc.Model(output=Y, loss=J, metrics={"accuracy": gc.metrics.accuracy(Y, T)})


def layers() -> gc.Tensor:
    net = gc.nn.sequential(64, gc.nn.Dense(128, "relu"), gc.nn.Dense(10))
    labels = gc.input("labels", ("n",), dtype="int64")
    return gc.losses.cross_entropy(net, labels)


def indexed(X: gc.Tensor, W: gc.Tensor) -> gc.Tensor:
    i, j, k = gc.indices("i j k")
    return gc.define("H", [i, j], gc.tanh(gc.sum(X[i, k] * W[k, j], over=k)))


def trained(model: gc.Model, x: NDArray[np.float64], t: NDArray[np.float64], path: Path) -> list[float]:
    callbacks = [gc.EarlyStopping(patience=50, monitor="loss"), gc.Checkpoint(path, every=500)]
    run = model.fit(x, t, optimizer=gc.Adam(0.05), epochs=1000, batch_size=4, callbacks=callbacks)
    losses: list[float] = run.history["loss"]
    assert losses[-1] < losses[0]
    print(run)
    return losses


def functions() -> list[float]:
    swish = gc.function("swish", "z/(1 + exp(-beta*z))", beta=1.7)
    x = gc.input("x", ("n",))
    f = gc.compile(swish(x), [x])
    slope = gc.compile(gc.grad(gc.sum(swish(x)), x), [x])
    points = np.linspace(-1.0, 1.0, 3)
    found: list[float] = [float(f(points)[1]), float(slope(points)[1])]
    return found


LION = """
    u     <- sign(b1*m + (1 - b1)*g)
    m     <- b2*m + (1 - b2)*g
    theta <- theta - eta*u
"""


def main(folder: Path) -> None:
    x = np.array([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
    t = np.array([[0.0], [1.0], [1.0], [0.0]])
    model = declared()
    print(model.derive("W0"))
    trained(model, x, t, folder / "xor.safetensors")
    assert ((np.asarray(model.predict(x)) > 0.5) == t).all()
    values: dict[str, float] = model.evaluate(x, t)
    model.save(folder / "xor.safetensors")
    loaded = gc.Model.load(folder / "xor.safetensors")
    assert np.array_equal(np.asarray(loaded.predict(x)), np.asarray(model.predict(x)))
    assert np.allclose(functions(), [0.0, 0.5]) and values["accuracy"] == 1.0
    model.fit(x, t, optimizer=gc.rule("lion", LION, eta=1e-3, b1=0.9, b2=0.99), epochs=2, batch_size=4)
    try:
        gc.param("W0", (0,), 1.0)
    except gc.errors.GraphcError as error:
        print(error)


if __name__ == "__main__":
    main(Path())
