"""Handwritten digits: 1,797 real images of 8x8 pixels, a 64-128-10 network, trained in one native call."""

import time

import numpy as np
from sklearn.datasets import load_digits

import graphc as gc


def main() -> None:
    digits = load_digits()
    order = np.random.default_rng(0).permutation(len(digits.target))
    x, t = digits.data[order].astype("float32") / 16, digits.target[order]
    train, test = slice(0, 1437), slice(1437, None)  # 80 % and 20 %

    started = time.perf_counter()
    X, T = gc.input("X", ("n", 64)), gc.input("T", ("n",), dtype="int64")
    W0, B0 = gc.param("W0", (64, 128), gc.he()), gc.param("B0", (128,), 0.0)
    W1, B1 = gc.param("W1", (128, 10), gc.he()), gc.param("B1", (10,), 0.0)
    Z = gc.relu(X @ W0 + B0) @ W1 + B1
    model = gc.Model(
        output=gc.softmax(Z),
        loss=gc.losses.cross_entropy(Z, T),
        metrics={"accuracy": gc.metrics.accuracy(Z, T)},
    )
    print("The gradient, as it is compiled:\n")
    print(model.derive())

    run = model.fit(x[train], t[train], optimizer=gc.Adam(1e-3), epochs=50, batch_size=64, seed=0)
    seconds = time.perf_counter() - started
    print("\nThe loss, epoch by epoch:\n")
    print(run.curve())
    print(f"\n{run}")
    print(f"declared, derived, compiled and trained in {seconds:.2f} s, {run.compile_seconds:.2f} s of it compiling")

    result = model.evaluate(x[test], t[test])
    print(f"test accuracy {100 * result['accuracy']:.1f} %, test loss {result['loss']:.4f}")
    image = model.predict(x[test][:1])[0]
    print(f"first test image: a {t[test][0]}, recognised as {image.argmax()} with probability {image.max():.3f}")
    try:
        run.plot("build/loss.png")
        print("the curves: build/loss.png")
    except gc.errors.MissingExtraError as missing:
        print(missing)


if __name__ == "__main__":
    main()
