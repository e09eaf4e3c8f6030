"""XOR: declare a network, read its gradient, train it in one native call."""

import numpy as np

import graphc as gc


def main() -> None:
    X, T = gc.input("X", ("n", 2)), gc.input("T", ("n", 1))
    W0, B0 = gc.param("W0", (2, 4), gc.normal(1.0)), gc.param("B0", (4,), 0.0)
    W1, B1 = gc.param("W1", (4, 1), gc.normal(1.0)), gc.param("B1", (1,), 0.0)

    Y = gc.sigmoid(gc.tanh(X @ W0 + B0) @ W1 + B1)
    J = gc.mean(-(T * gc.log(Y) + (1 - T) * gc.log(1 - Y)))  # as on paper; compiled in its stable form
    model = gc.Model(output=Y, loss=J)
    print(model.derive(W0))

    x = np.array([[0, 0], [0, 1], [1, 0], [1, 1]])
    t = np.array([[0], [1], [1], [0]])
    run = model.fit(x, t, optimizer=gc.SGD(0.5), epochs=5000, batch_size=4)
    print(run)
    for row, y in zip(x, model.predict(x), strict=True):
        print(f"{row[0]} xor {row[1]} = {y[0]:.3f}")


if __name__ == "__main__":
    main()
