"""A recurrent network that writes: characters of Python's own documentation, one after the other.

The step is declared once, as a function of the state and a character; `gc.scan` does it 32 times to train, and compiled
alone it writes new text, a character at a time.
"""

import sys
from pydoc_data.topics import topics

import numpy as np

import graphc as gc

STEPS, UNITS, WIDTH = 32, 128, 32


def main(epochs: str = "8", characters: str = "200000", sample: str = "300") -> None:
    text = "".join(topics[name] for name in sorted(topics))[: int(characters)].lower()
    alphabet = sorted(set(text))
    place = {c: i for i, c in enumerate(alphabet)}
    codes = np.array([place[c] for c in text])
    cut = len(codes) * 9 // 10
    train, test = windows(codes[:cut]), windows(codes[cut:])
    floor = bigram(codes[:cut], codes[cut:], len(alphabet))

    X = gc.input("X", ("n", STEPS), dtype="int64")
    T = gc.input("T", ("n", STEPS), dtype="int64")
    E = gc.param("E", (len(alphabet), WIDTH), gc.normal(0.1))
    gates = [(gc.param(f"W{g}", (WIDTH, UNITS)), gc.param(f"U{g}", (UNITS, UNITS)), gc.param(f"b{g}", (UNITS,), 0.0))
             for g in ("z", "r", "n")]  # fmt: skip
    V, c = gc.param("V", (UNITS, len(alphabet))), gc.param("c", (len(alphabet),), 0.0)

    def step(h: gc.Tensor, x: gc.Tensor) -> tuple[gc.Tensor, gc.Tensor]:
        (Wz, Uz, bz), (Wr, Ur, br), (Wn, Un, bn) = gates
        x = gc.embedding(x, E)
        z, r = gc.sigmoid(x @ Wz + h @ Uz + bz), gc.sigmoid(x @ Wr + h @ Ur + br)
        h = z * h + (1 - z) * gc.tanh(x @ Wn + r * (h @ Un) + bn)
        return h, h @ V + c

    _, logits = gc.scan(step, np.zeros((1, UNITS)), X)
    model = gc.Model(output=logits, loss=gc.losses.cross_entropy(logits, T), name="writer")
    print(model)

    run = model.fit(*train, optimizer=gc.Adam(3e-3), epochs=int(epochs), batch_size=32, seed=0)
    loss = model.evaluate(*test)["loss"]
    print(f"\n{run}")
    print(f"other pages: {loss:.3f} nats a character; by a table of pairs {floor:.3f}")

    h, x = gc.input("h", ("n", UNITS)), gc.input("x", ("n",), dtype="int64")
    write = gc.compile(list(step(h, x)), [h, x], dtype="float32")
    rng, state, now = np.random.default_rng(1), np.zeros((1, UNITS), "float32"), np.array([place["t"]])
    written = "t"
    for _ in range(int(sample)):
        state, scores = write(state, now, **model.params)
        p = np.exp((scores[0] - scores[0].max()) / 0.7).astype(float)
        now = rng.choice(len(alphabet), 1, p=p / p.sum())
        written += alphabet[now[0]]
    print(f"\n{written}")


def windows(codes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Pieces of the text, and the same a character later."""
    n = (len(codes) - 1) // STEPS
    return codes[: n * STEPS].reshape(n, STEPS), codes[1 : n * STEPS + 1].reshape(n, STEPS)


def bigram(train: np.ndarray, test: np.ndarray, size: int) -> float:
    """The cross-entropy of a table of pairs, each counted once more than it was seen."""
    counts = np.ones((size, size))
    np.add.at(counts, (train[:-1], train[1:]), 1)
    return float(-np.log((counts / counts.sum(axis=1, keepdims=True))[test[:-1], test[1:]]).mean())


if __name__ == "__main__":
    main(*sys.argv[1:])
