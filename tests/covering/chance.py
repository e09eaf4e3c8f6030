"""Random tensors: with graphc, and with the numbers that a step draws, or their means.

A step of training draws them; so does a function that is given them as arguments.  All else takes the means.  The twin
takes what :func:`graphc.primitives.noise.draw` gives for the seed and the number of the tensor in the loss.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import jax
import numpy as np

import graphc as gc
from graphc.ir.node import Leaf, Node
from graphc.ir.walk import leaves as leaves_of
from graphc.primitives import noise
from graphc.primitives.philox import order_keys
from tests.covering.libraries import Ours

Given = Mapping[str, Any]
TRAINED = ("training", "sweep")
P = 0.75  # of a Bernoulli variable that is 1; the programs know it exactly
MEANS = {"normal": 0.0, "uniform": 0.5, "bernoulli": P}


@dataclass
class Chance:
    """The random tensors of a graph: as leaves of graphc, with their kinds, and as numbers."""

    seed: int = 0
    mode: str = "training"
    dtype: str = "float64"
    leaves: dict[str, Leaf] = field(default_factory=dict)
    kinds: dict[str, tuple[str, tuple[int, ...]]] = field(default_factory=dict)
    values: dict[str, np.ndarray] = field(default_factory=dict)

    @property
    def trained(self) -> bool:
        """Whether the phase is that of training."""
        return self.mode in TRAINED

    @property
    def given(self) -> bool:
        """Whether a function has them as arguments."""
        return self.mode in ("function", "two extents") and self.seed % 2 == 1

    def declare(self, name: str, kind: str, shape: tuple[int, ...], made: gc.Tensor) -> None:
        """Note the one random leaf of a tensor that is new."""
        new = [leaf for leaf in leaves_of([made.node]) if leaf.kind == "random" and leaf not in self.leaves.values()]
        (self.leaves[name],), self.kinds[name] = new, (kind, shape)

    def draw(self, loss: Node, first: int = 0) -> int:
        """Values for all: those that the loss reads are counted on from ``first`` as they were declared."""
        read = set(leaves_of([loss]))
        used = [name for name, leaf in self.leaves.items() if leaf in read]
        for name, (kind, shape) in self.kinds.items():
            self.values[name] = self.drawn(kind, shape, first + used.index(name) if name in used else 0)
        return first + len(used)

    def drawn(self, kind: str, shape: tuple[int, ...], number: int = 0) -> np.ndarray:
        """What a step draws, or the mean."""
        if not (self.trained or self.given):
            return np.full(shape, MEANS[kind])
        keys, limit = order_keys(self.seed), round(P * 2**32)
        return noise.draw(kind, shape, keys, 0, 0, number, limit, self.dtype).astype(np.float64)

    def value(self, name: str, kind: str, shape: tuple[int, ...]) -> np.ndarray:
        return self.values[name] if name in self.values else self.drawn(kind, shape)

    def feed(self, nodes: Sequence[Node]) -> dict[Leaf, np.ndarray]:
        """What the interpreter is given: the numbers, and the phase."""
        phases = [leaf for leaf in leaves_of(nodes) if leaf.kind == "phase"]
        return {leaf: self.values[name] for name, leaf in self.leaves.items()} | dict.fromkeys(
            phases, np.asarray(float(self.trained))
        )


def drawn(o: Any, leaves: Any, args: Sequence[Any], p: Given) -> Any:
    """A random tensor of a shape."""
    return _random(o, leaves, p["kind"], tuple(p["shape"]), p["key"])


def _random(o: Any, leaves: Any, kind: str, shape: tuple[Any, ...], key: int) -> Any:
    name = f"R{leaves.tag}{key}"
    if not isinstance(o, Ours):
        return leaves.chance.value(name, kind, leaves.sizes(shape))
    options = {"p": P} if kind == "bernoulli" else {}
    return _declared(leaves, name, kind, getattr(gc.random, kind)(shape, **options))


def _declared(leaves: Any, name: str, kind: str, made: gc.Tensor) -> gc.Tensor:
    if name not in leaves.chance.leaves:
        leaves.chance.declare(name, kind, leaves.sizes(made.shape), made)
    return made


@dataclass(frozen=True)
class Noise:
    """What is done to x with random numbers: by graphc, and by the twin with the numbers and the phase."""

    kind: str
    ours: Callable[[Any], gc.Tensor]
    twin: Callable[[Any, Any, Any, bool], Any]


def _fixed(x: Any) -> Any:
    """x, of which nothing is differentiated."""
    return jax.lax.stop_gradient(x) if isinstance(x, jax.Array) else x


NOISES: dict[str, Noise] = {
    "around": Noise("normal", lambda x: gc.random.normal(x.shape, x, 0.3), lambda o, x, eps, on: x + 0.3 * eps),
    "scaled": Noise("normal", lambda x: gc.random.normal(x.shape, 0.5, x), lambda o, x, eps, on: 0.5 + x * eps),
    "between": Noise("uniform", lambda x: gc.random.uniform(x.shape, -1, x), lambda o, x, u, on: u * (x + 1) - 1),
    "dropout": Noise("bernoulli", lambda x: gc.dropout(x, 1 - P), lambda o, x, mask, on: x * mask / P),
    "chance": Noise("uniform", lambda x: gc.random.bernoulli(x.shape, gc.sigmoid(x)) * x,
                    lambda o, x, u, on: x * _fixed(u < o.scalar("sigmoid", x) if on else o.scalar("sigmoid", x))),
    "phase": Noise("normal", lambda x: gc.in_train_phase(x + gc.random.normal(x.shape), gc.sin(x)),
                   lambda o, x, eps, on: x + eps if on else o.scalar("sin", x)),
}  # fmt: skip


def noisy(o: Any, leaves: Any, args: Sequence[Any], p: Given) -> Any:
    """x with random numbers of its shape."""
    (x,), done, name = args, NOISES[p["kind"]], f"R{leaves.tag}{p['key']}"
    if isinstance(o, Ours):
        return _declared(leaves, name, done.kind, done.ours(x))
    return done.twin(o, x, leaves.chance.value(name, done.kind, tuple(x.shape)), leaves.chance.trained)
