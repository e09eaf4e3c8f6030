"""LeNet on Fashion-MNIST: 70,000 real pictures of clothes, 28x28 pixels, in ten classes.

The files are those of Debian's package dataset-fashion-mnist, or of github.com/zalandoresearch/fashion-mnist, in a
folder that is the first argument. Where there are none, scikit-learn's digits stand in for them.
"""

import gzip
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.datasets import load_digits

import graphc as gc

FOLDER = "/usr/share/datasets/fashion-mnist"
Pictures = tuple[np.ndarray, np.ndarray]


def main(folder: str = FOLDER, epochs: str = "5", filters: str = "8") -> None:
    """Train on all pictures but the test's, and print the accuracy on these after every epoch."""
    train, test = pictures(Path(folder))
    Z = lenet(int(filters))
    T = gc.input("T", ("n",), dtype="int64")
    model = gc.Model(output=Z, loss=gc.losses.cross_entropy(Z, T), metrics=[gc.metrics.accuracy(Z, T)], name="lenet")
    print(model)

    steps = int(epochs) * -(-len(train[1]) // 64)
    run = model.fit(
        *train, optimizer=gc.Adam(gc.schedules.one_cycle(4e-3, steps)), epochs=int(epochs), batch_size=64, seed=0,
        validation=test, callbacks=[clock()],
    )  # fmt: skip
    print(f"\n{run}")
    print(f"test accuracy {100 * run.history['val_accuracy'][-1]:.2f} %")


def lenet(filters: int) -> gc.nn.Network:
    """Two convolutions with maxima, three dense layers (LeCun et al. 1998), with rectifiers for its sigmoids."""
    return gc.nn.sequential(
        (1, 28, 28),
        gc.nn.Conv2D(filters, 5, "relu", padding="same", init=gc.he()),
        gc.nn.MaxPool2D(2),
        gc.nn.Conv2D(2 * filters, 5, "relu", init=gc.he()),
        gc.nn.MaxPool2D(2),
        gc.nn.Flatten(),
        gc.nn.Dense(120, "relu", init=gc.he()),
        gc.nn.Dense(84, "relu", init=gc.he()),
        gc.nn.Dense(10),
    )


def clock() -> Callable[[Any], None]:
    """What prints how long an epoch took, and how well the network does after it."""
    times = [time.perf_counter()]

    def tell(run: Any) -> None:
        times.append(time.perf_counter())
        loss, right = run.history["loss"][-1], 100 * run.history["val_accuracy"][-1]
        print(f"epoch {len(times) - 1}: {times[-1] - times[-2]:.2f} s, loss {loss:.4f}, test accuracy {right:.2f} %")

    return tell


def pictures(folder: Path) -> tuple[Pictures, Pictures]:
    """The pictures of training and test with their classes."""
    if (folder / "train-images-idx3-ubyte.gz").exists():
        return read(folder, "train"), read(folder, "t10k")
    print(f"There is no Fashion-MNIST in {folder}: install dataset-fashion-mnist, or give its folder as an argument.")
    print("scikit-learn's 1,797 digits stand in, each pixel three times wide and high: the accuracy is theirs.\n")
    digits = load_digits()
    wide = np.pad(digits.images.repeat(3, axis=1).repeat(3, axis=2), [(0, 0), (2, 2), (2, 2)])
    x, t = wide[:, None].astype("float32") / 16, digits.target
    return (x[:1437], t[:1437]), (x[1437:], t[1437:])


def read(folder: Path, part: str) -> Pictures:
    """Pixels from 0 to 1 and classes, of files in the format of MNIST."""
    with gzip.open(folder / f"{part}-images-idx3-ubyte.gz") as file:
        pixels = np.frombuffer(file.read(), np.uint8, offset=16).reshape(-1, 1, 28, 28)
    with gzip.open(folder / f"{part}-labels-idx1-ubyte.gz") as file:
        classes = np.frombuffer(file.read(), np.uint8, offset=8)
    return pixels.astype("float32") / 255, classes.astype("int64")


if __name__ == "__main__":
    main(*sys.argv[1:])
