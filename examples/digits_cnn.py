"""A convolutional network on handwritten digits: 1,797 real images of 8x8 pixels, which scikit-learn brings along."""

import sys

import numpy as np
from sklearn.datasets import load_digits

import graphc as gc


def network(filters: int) -> gc.nn.Network:
    """Two convolutions, each followed by a maximum over windows of 2x2, and a dense layer: ten logits."""
    return gc.nn.sequential(
        (1, 8, 8),
        gc.nn.Conv2D(filters, 3, "relu", padding="same", init=gc.he()),
        gc.nn.MaxPool2D(2),
        gc.nn.Conv2D(2 * filters, 3, "relu", padding="same", init=gc.he()),
        gc.nn.MaxPool2D(2),
        gc.nn.Flatten(),
        gc.nn.Dense(10),
    )


def main(filters: str = "16", epochs: str = "30") -> None:
    """Train on 80 % of the images, test on the others; few filters and epochs are a quick look."""
    digits = load_digits()
    order = np.random.default_rng(0).permutation(len(digits.target))
    x, t = digits.images[order, None].astype("float32") / 16, digits.target[order]
    train, test = slice(0, 1437), slice(1437, None)

    Z = network(int(filters))
    T = gc.input("T", ("n",), dtype="int64")
    model = gc.Model(
        output=gc.softmax(Z),
        loss=gc.losses.cross_entropy(Z, T),
        metrics={"accuracy": gc.metrics.accuracy(Z, T)},
    )
    print(model)
    print("\nThe gradient of the second kernel:\n")
    print(model.derive("K1"))

    eta = gc.schedules.cosine(5e-3, int(epochs) * 45)
    run = model.fit(x[train], t[train], optimizer=gc.Adam(eta), epochs=int(epochs), batch_size=32, seed=0)
    print(f"\n{run}")
    result = model.evaluate(x[test], t[test])
    print(f"test accuracy {100 * result['accuracy']:.2f} %, test loss {result['loss']:.4f}")


if __name__ == "__main__":
    main(*sys.argv[1:])
