"""A variational autoencoder (Kingma and Welling, 2014) on images of digits: random numbers inside the formula.

The code of an image is z = mu + sigma*ε with ε drawn anew in every step, so the gradient flows through mu and sigma.
"""

import sys

import numpy as np
from sklearn.datasets import load_digits

import graphc as gc

LATENT = 8


def main(epochs: str = "60") -> None:
    x = (load_digits().data / 16).astype("float32")
    train, test = x[:1500], x[1500:]

    X = gc.input("X", ("n", 64))
    mu, log_variance = gc.split(gc.nn.sequential(X, gc.nn.Dense(128, "relu"), gc.nn.Dense(2 * LATENT)), 2, axis=1)
    z = gc.random.normal(mu.shape, mu, gc.exp(log_variance / 2))
    decoder = gc.nn.sequential(z, gc.nn.Dense(128, "relu"), gc.nn.Dense(64))

    pixels = 64 * gc.losses.bce_with_logits(decoder.output, X, reduce=None)  # the mean over the pixels of an image
    divergence = 0.5 * gc.sum(mu**2 + gc.exp(log_variance) - 1 - log_variance, axis=1)
    model = gc.Model(
        output=gc.sigmoid(decoder.output),
        loss=gc.mean(pixels + divergence),
        metrics={"divergence": gc.mean(divergence)},
        name="vae",
    )
    print(model)

    run = model.fit(train, optimizer=gc.Adam(2e-3), epochs=int(epochs), batch_size=50, seed=0)
    print(f"\n{run}")
    first, *_, last = run.history["loss"]
    print(f"bound on -log p of a training image: {first:.2f} at first, {last:.2f} now")
    print(f"test images, coded by their mean: {model.evaluate(test)['loss']:.2f}")

    code = gc.input("code", ("n", LATENT))
    draw = gc.compile(gc.sigmoid(decoder(code)), [code], dtype="float32")
    images = draw(np.random.default_rng(1).normal(size=(6, LATENT)).astype("float32"), **model.params)
    print("\nsix images that nobody wrote:\n")
    for row in images.reshape(6, 8, 8).transpose(1, 0, 2):
        print("   ".join("".join(" .:*#"[min(4, int(5 * v))] * 2 for v in image) for image in row))


if __name__ == "__main__":
    main(*sys.argv[1:])
