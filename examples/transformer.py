"""A transformer that writes Python: characters of the source of argparse, a module of Python's own library.

Blocks of causal attention see the last 48 characters. How many nats a character costs on the end of the file, which was
not trained on, is compared with a table of pairs of characters.
"""

import argparse
import sys
from pathlib import Path

import numpy as np

import graphc as gc

STEPS, WIDTH, HEADS = 48, 64, 4


def main(epochs: str = "6", sample: str = "400", apart: str = "12", blocks: str = "2") -> None:
    """Train on pieces that begin so many characters apart; few epochs, far apart, and one block are a quick look."""
    text = Path(argparse.__file__).read_text(encoding="utf-8")
    alphabet = sorted(set(text))
    codes = np.searchsorted(alphabet, list(text))
    cut = len(codes) * 9 // 10
    train, test = windows(codes[:cut], int(apart)), windows(codes[cut:], STEPS)
    pairs = bigram(codes[:cut], codes[cut:], len(alphabet))

    X = gc.input("X", ("n", STEPS), dtype="int64")
    T = gc.input("T", ("n", STEPS), dtype="int64")
    logits = transformer(X, len(alphabet), int(blocks))
    model = gc.Model(output=logits, loss=gc.losses.cross_entropy(logits, T), name="writer")
    print(f"{len(text):,} characters, {len(alphabet)} of them different; {len(train[0]):,} pieces of {STEPS}")
    print(f"{sum(model.params[name].size for name in model.params):,} parameters")

    steps = int(epochs) * -(-len(train[0]) // 32)
    eta = gc.schedules.one_cycle(4e-3, steps)
    run = model.fit(*train, optimizer=gc.AdamW(eta, decay=0.05), epochs=int(epochs), batch_size=32, seed=0)
    print(f"{run}")
    loss = cross_entropy(model.predict(test[0]), test[1])
    print(f"the end of the file: {loss:.3f} nats a character; by a table of pairs {pairs:.3f}")
    print(f"\n{''.join(alphabet[c] for c in written(model, codes[cut : cut + STEPS], int(sample)))}")


def transformer(x: gc.Tensor, classes: int, blocks: int) -> gc.Tensor:
    """The scores of the next character at every place, from those up to it."""
    h = gc.embedding(x, gc.param("E", (classes, WIDTH), gc.normal(0.1))) + gc.param("P", (STEPS, WIDTH), gc.normal(0.1))
    for _ in range(blocks):
        h = gc.nn.TransformerBlock(HEADS, 4 * WIDTH, causal=True)(h)
    return gc.nn.Dense(classes)(gc.layer_norm(h))


def windows(codes: np.ndarray, apart: int) -> tuple[np.ndarray, np.ndarray]:
    """Pieces of the text, and the same a character later."""
    every = np.lib.stride_tricks.sliding_window_view(codes, STEPS + 1)[::apart]
    return every[:, :-1].copy(), every[:, 1:].copy()


def cross_entropy(scores: np.ndarray, codes: np.ndarray) -> float:
    """What model.evaluate gives too; these scores are those that the text is written by."""
    right = np.take_along_axis(scores, codes[..., None], axis=-1)[..., 0]
    return float((np.log(np.exp(scores).sum(axis=-1)) - right).mean())


def bigram(train: np.ndarray, test: np.ndarray, size: int) -> float:
    """The cross-entropy of a table of pairs, each counted once more than it was seen."""
    counts = np.ones((size, size))
    np.add.at(counts, (train[:-1], train[1:]), 1)
    return float(-np.log((counts / counts.sum(axis=1, keepdims=True))[test[:-1], test[1:]]).mean())


def written(model: gc.Model, start: np.ndarray, count: int, temperature: float = 0.6) -> list[int]:
    """A start, and so many characters more, each drawn by the scores at the last place."""
    rng, found = np.random.default_rng(0), list(start)
    for _ in range(count):
        scores = model.predict(np.array([found[-STEPS:]]))[0, -1].astype(float) / temperature
        p = np.exp(scores - scores.max())
        found.append(rng.choice(len(p), p=p / p.sum()))
    return found


if __name__ == "__main__":
    main(*sys.argv[1:])
