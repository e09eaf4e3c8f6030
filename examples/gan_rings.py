"""Two networks against each other (Goodfellow et al., 2014): one writes points, one tells them from eight rings.

The discriminator D learns to tell real points from those of the generator G, which learns to write points that D takes
for real. Both losses are terms of one; ``stop_gradient(.., wrt=..)`` says whom each is for, and the optimizer names
whose turn it is. The whole game is one native call.
"""

import sys

import numpy as np

import graphc as gc

RINGS, RADIUS = 8, 0.15
ANGLES = 2 * np.pi * np.arange(RINGS) / RINGS
CENTRES = np.stack([np.cos(ANGLES), np.sin(ANGLES)], axis=1)


def points(rng: np.random.Generator, n: int) -> np.ndarray:
    """Points on eight small rings, whose centres lie on a circle."""
    angle = rng.uniform(0, 2 * np.pi, n)
    ring = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    return CENTRES[rng.integers(RINGS, size=n)] + RADIUS * ring + 0.01 * rng.normal(size=(n, 2))


def declared(width: int) -> tuple[gc.Model, gc.nn.Network]:
    """Both losses in one model, and the generator."""
    real = gc.input("real", ("n", 2))
    noise = gc.random.normal(("n", 2), 0.0, 1.0)
    g = gc.nn.sequential(noise, *[gc.nn.Dense(width, "leaky_relu")] * 2, gc.nn.Dense(2), name="g")
    d = gc.nn.sequential(real, *[gc.nn.Dense(width, "leaky_relu")] * 3, gc.nn.Dense(1), name="d")
    written = d(g)
    tells = gc.mean(gc.softplus(-d)) + gc.mean(gc.softplus(written))  # -log D(real) - log(1 - D(written))
    fools = gc.mean(gc.softplus(-written))  # -log D(written)
    loss = gc.stop_gradient(tells, wrt=g.params) + gc.stop_gradient(fools, wrt=d.params)
    return gc.Model(output=d.output, loss=loss, metrics={"tells": tells, "fools": fools}, name="rings"), g


def quality(found: np.ndarray) -> tuple[float, int]:
    """How many points lie within 0.05 of a ring, in percent, and how many rings have their share of them."""
    apart = np.linalg.norm(found[:, None] - CENTRES, axis=2)
    nearest, off = apart.argmin(axis=1), np.abs(apart.min(axis=1) - RADIUS)
    counts = np.bincount(nearest[off < 0.05], minlength=RINGS)
    return 100 * float(np.mean(off < 0.05)), int(np.sum(counts > len(found) / RINGS / 4))


def main(steps: str = "16000", width: str = "64") -> None:
    model, g = declared(int(width))
    x = points(np.random.default_rng(0), 20000)
    turns = {
        "d_*": gc.Adam(2e-3, b1=0.5).in_turn(1, of=2),
        "g_*": gc.Adam(1e-3, b1=0.5).averaged(0.998).in_turn(2, of=2),
    }
    for rule in turns.values():
        print(rule)
    run = model.fit(x, optimizer=turns, steps=int(steps), batch_size=256, seed=0)
    print(f"\n{run}")

    code = gc.input("code", ("n", 2))
    write = gc.compile(g(code), [code], dtype="float32")
    noise = np.random.default_rng(1).normal(size=(4000, 2)).astype("float32")
    for name, of in (("the last weights", model), ("their running mean", gc.averaged(model))):
        found = write(noise, **{p.name: of.params[p.name] for p in g.params})
        near, rings = quality(found)
        print(f"{name}: {near:.0f} % of the points within 0.05 of a ring, {rings} of {RINGS} rings")
    picture, _, _ = np.histogram2d(found[:, 1], found[:, 0], bins=(24, 48), range=[[-1.3, 1.3]] * 2)
    print("\n".join("".join(" .:*#"[min(4, int(v))] for v in row) for row in picture[::-1]))


if __name__ == "__main__":
    main(*sys.argv[1:])
