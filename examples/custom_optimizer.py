"""An optimizer of your own: Lion (Chen et al., 2023) in three lines, beside Adam, on XOR."""

import numpy as np

import graphc as gc

LION = """
    u     <- sign(b1*m + (1 - b1)*g)
    m     <- b2*m + (1 - b2)*g
    theta <- theta - eta*u
"""


def network() -> gc.Model:
    X, T = gc.input("X", ("n", 2)), gc.input("T", ("n", 1))
    W0, B0 = gc.param("W0", (2, 4), gc.normal(1.0)), gc.param("B0", (4,), 0.0)
    W1, B1 = gc.param("W1", (4, 1), gc.normal(1.0)), gc.param("B1", (1,), 0.0)
    Y = gc.sigmoid(gc.tanh(X @ W0 + B0) @ W1 + B1)
    return gc.Model(output=Y, loss=gc.mean(-(T * gc.log(Y) + (1 - T) * gc.log(1 - Y))))


def main() -> None:
    x = np.array([[0, 0], [0, 1], [1, 0], [1, 1]])
    t = np.array([[0], [1], [1], [0]])
    lion = gc.rule("lion", LION, eta=0.01, b1=0.9, b2=0.99)
    print(lion)
    print(lion.latex())

    model = network()
    falling = gc.schedules.cosine(0.03, steps=1000)  # any hyper-parameter may follow a schedule
    rules = {"Adam, cosine decay": gc.Adam(falling), "Lion": lion, "Lion, larger steps": lion(eta=0.02)}
    for title, rule in rules.items():
        run = model.initialize(0).fit(x, t, optimizer=rule, steps=1000)
        print(f"{title:20s} {run.microseconds_per_step:.2f} us a step, loss {run.history['loss'][-1]:.2e}")


if __name__ == "__main__":
    main()
