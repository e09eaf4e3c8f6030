"""Handwritten digits on a GPU where there is one, on the CPU where there is none; and what a GPU would do."""

import numpy as np
from sklearn.datasets import load_digits

import graphc as gc


def main() -> None:
    digits = load_digits()
    order = np.random.default_rng(0).permutation(len(digits.target))
    x, t = digits.data[order].astype("float32") / 16, digits.target[order]
    train, test = slice(0, 1437), slice(1437, None)

    X, T = gc.input("X", ("n", 64)), gc.input("T", ("n",), dtype="int64")
    W0, B0 = gc.param("W0", (64, 128), gc.he()), gc.param("B0", (128,), 0.0)
    W1, B1 = gc.param("W1", (128, 10), gc.he()), gc.param("B1", (10,), 0.0)
    Z = gc.relu(X @ W0 + B0) @ W1 + B1
    accuracy = gc.metrics.accuracy(Z, T)
    model = gc.Model(output=gc.softmax(Z), loss=gc.losses.cross_entropy(Z, T), metrics={"accuracy": accuracy})

    print("Stage by stage on a GPU, whether there is one or not:\n")
    print(model.explain("plan", target="cuda"))
    run = model.fit(x[train], t[train], optimizer=gc.Adam(1e-3), epochs=50, batch_size=64, seed=0, target="auto")
    print(f"\non {run.target}: {run}")
    print(f"test accuracy {100 * model.evaluate(x[test], t[test], target='auto')['accuracy']:.1f} %")
    try:
        model.fit(x[train], t[train], target="cuda")
    except (gc.errors.DeviceError, gc.errors.MissingExtraError) as reason:
        print(f"\n{reason}")


if __name__ == "__main__":
    main()
