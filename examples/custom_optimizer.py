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
    Y = gc.nn.sequential(X, gc.nn.Dense(8, "tanh"), gc.nn.Dense(1, "sigmoid"))
    return gc.Model(output=Y, loss=gc.losses.bce(Y, T))


def main() -> None:
    x = np.array([[0, 0], [0, 1], [1, 0], [1, 1]])
    t = np.array([[0], [1], [1], [0]])
    lion = gc.rule("lion", LION, eta=0.01, b1=0.9, b2=0.99)
    print(lion)
    print(lion.latex())

    model = network()
    decaying = lion(eta=gc.schedules.cosine(0.01, steps=1000))  # any hyper-parameter may follow a schedule
    for title, rule in (("Adam", gc.Adam(0.01)), ("Lion", lion), ("Lion, cosine decay", decaying)):
        run = model.initialize(0).fit(x, t, optimizer=rule, steps=1000, batch_size=4)
        print(f"{title:20s} {run.microseconds_per_step:.2f} us a step, loss {run.history['loss'][-1]:.2e}")


if __name__ == "__main__":
    main()
