"""What an entry of the gallery is: a model of the literature declared with graphc, and the same mathematics in JAX.

A declaration takes nothing and returns the loss.  Its twin takes the arrays of all inputs and parameters by name and
returns the loss too; it is written on its own, in the idiom of JAX, and shares nothing with the declaration.
"""

from __future__ import annotations

import inspect
import textwrap
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import jax
import numpy as np

import graphc as gc
from graphc.declare.tensor import Tensor
from graphc.ir.node import Leaf
from graphc.ir.walk import leaves
from graphc.show.derivation import Derivation

ROWS = 6  # of the free extent n
Draw = Callable[[np.random.Generator, tuple[int, ...]], np.ndarray]


@dataclass(eq=False)
class Entry:
    """One model; ``draws`` says how the data of some leaves are drawn."""

    title: str
    citation: str
    about: str
    declare: Callable[[], Tensor]
    draws: dict[str, Draw]
    twin: Callable[..., Any] | None = None

    @property
    def name(self) -> str:
        return self.declare.__name__

    @cached_property
    def loss(self) -> Tensor:
        """The declared loss."""
        return self.declare()

    @cached_property
    def slopes(self) -> list[Tensor]:
        """Its gradient by every parameter."""
        return gc.grad(self.loss, [Tensor(p) for p in self.params])

    @cached_property
    def derivation(self) -> Derivation:
        return gc.derive(self.loss)

    @property
    def source(self) -> str:
        """The lines of the declaration."""
        lines = inspect.getsource(self.declare).splitlines()
        first = next(t for t, line in enumerate(lines) if line.startswith("def "))
        return textwrap.dedent("\n".join(lines[first + 1 :])).rstrip()

    @property
    def leaves(self) -> list[Leaf]:
        """Inputs and parameters."""
        return [leaf for leaf in leaves([self.loss.node]) if leaf.kind != "constant"]

    @property
    def params(self) -> list[Leaf]:
        return [leaf for leaf in self.leaves if leaf.kind == "param"]

    def arrays(self) -> dict[str, np.ndarray]:
        """Numbers for every leaf by name; the same in every process."""
        return {str(leaf.name): self._draw(leaf) for leaf in self.leaves}

    def _draw(self, leaf: Leaf) -> np.ndarray:
        rng = np.random.default_rng([zlib.crc32(self.name.encode()), zlib.crc32(str(leaf.name).encode())])
        shape = tuple(ROWS if isinstance(e, str) else e for e in leaf.shape)
        if leaf.name in self.draws:
            return self.draws[str(leaf.name)](rng, shape)
        if leaf.dtype == "int":
            return rng.integers(0, leaf.bound, shape)
        return rng.normal(0, 0.6 if leaf.kind == "param" else 1, shape)

    @cached_property
    def exact(self) -> list[np.ndarray]:
        """The loss and its gradients, in the order of ``params``, as JAX gives them in float64."""
        assert self.twin is not None, f"{self.name} has no twin"
        twin, arrays = self.twin, self.arrays()
        names = [str(p.name) for p in self.params]
        data = {name: a for name, a in arrays.items() if name not in names}
        with jax.enable_x64(True):
            f = jax.jit(jax.value_and_grad(lambda p, d: twin(**p, **d)), compiler_options=QUICK)
            value, slopes = f({name: arrays[name] for name in names}, data)
            return [np.asarray(value), *(np.asarray(slopes[name]) for name in names)]


QUICK = {"xla_backend_optimization_level": 0, "xla_llvm_disable_expensive_passes": True}  # each program runs once


class Room:
    """The entries of one subject, in the order of the page."""

    def __init__(self, title: str) -> None:
        self.title = title
        self.entries: list[Entry] = []

    def model(self, title: str, citation: str, about: str, **draws: Draw) -> Callable[[Any], Entry]:
        """Decorates a declaration."""

        def hang(declare: Callable[[], Tensor]) -> Entry:
            self.entries.append(Entry(title, citation, about, declare, draws))
            return self.entries[-1]

        return hang

    @staticmethod
    def twin(entry: Entry) -> Callable[[Any], Any]:
        """Decorates the same mathematics in JAX."""

        def hang(function: Callable[..., Any]) -> Callable[..., Any]:
            assert entry.twin is None, f"{entry.name} has two twins"
            entry.twin = function
            return function

        return hang


# ---------------------------------------------------------------- numbers of some kinds


def binary(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    return rng.integers(0, 2, shape).astype(float)


def counts(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    return rng.poisson(2.0, shape).astype(float)


def positive(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    return rng.uniform(0.2, 2.0, shape)


def unit(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    return rng.uniform(0.05, 0.95, shape)


def shares(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Rows that sum to one."""
    return rng.dirichlet(np.ones(shape[-1]), shape[:-1])


def labels(count: int) -> Draw:
    return lambda rng, shape: rng.integers(0, count, shape)


def like(array: Any) -> Draw:
    """Given numbers."""
    return lambda rng, shape: np.asarray(array)
