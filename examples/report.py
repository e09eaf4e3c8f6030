"""Pictures and pages of a model: the graph of a network and of attention, and a report to open in a browser."""

import sys
from pathlib import Path

import numpy as np

import graphc as gc


def network() -> gc.Model:
    """Y = sigmoid(tanh(X W0 + B0) W1 + B1) with the cross-entropy."""
    X, T = gc.input("X", ("n", 2)), gc.input("T", ("n", 1))
    W0, B0 = gc.param("W0", (2, 4), gc.normal(1.0)), gc.param("B0", (4,), 0.0)
    W1, B1 = gc.param("W1", (4, 1), gc.normal(1.0)), gc.param("B1", (1,), 0.0)
    Y = gc.sigmoid(gc.tanh(X @ W0 + B0) @ W1 + B1)
    return gc.Model(output=Y, loss=gc.mean(-(T * gc.log(Y) + (1 - T) * gc.log(1 - Y))))


def attention(words: int = 8, width: int = 16) -> gc.Model:
    """Each word asks all words, and adds what they answer."""
    X, T = gc.input("X", ("n", words, width)), gc.input("T", ("n", words, width))
    Q, K, V = (gc.param(name, (width, width), gc.normal(0.2)) for name in "QKV")
    n, s, t, d, e = gc.indices("n s t d e")
    q = gc.define("q", [n, s, d], gc.sum(X[n, s, e] * Q[e, d], over=e))
    k = gc.define("k", [n, s, d], gc.sum(X[n, s, e] * K[e, d], over=e))
    v = gc.define("v", [n, s, d], gc.sum(X[n, s, e] * V[e, d], over=e))
    z = gc.define("z", [n, s, t], gc.sum(q[n, s, d] * k[n, t, d], over=d) / width**0.5)
    a = gc.define("a", [n, s, t], gc.exp(z[n, s, t]) / gc.sum(gc.exp(z[n, s, t]), over=t))
    y = gc.define("y", [n, s, d], gc.sum(a[n, s, t] * v[n, t, d], over=t))
    return gc.Model(output=y, loss=gc.mean((y - T) ** 2), name="attention")


def main(folder: str = "build") -> None:
    out = Path(folder)
    x = np.array([[0, 0], [0, 1], [1, 0], [1, 1]], dtype=np.float32)
    t = np.array([[0], [1], [1], [0]], dtype=np.float32)
    model = network()
    model.fit(x, t, optimizer=gc.SGD(0.5), epochs=5000, batch_size=4)

    print(model.graph())
    model.graph().save(out / "network.svg")
    attention().graph().save(out / "attention.svg")
    model.report(out / "report.html")
    size = (out / "report.html").stat().st_size
    print(f"\nsee {folder}: network.svg, attention.svg, and report.html ({size / 1000:.0f} kB)")


if __name__ == "__main__":
    main(*sys.argv[1:2])
