"""A description under construction, with the values of its steps at hand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from graphc.errors import GraphcError
from tests.covering.build import Leaves, apply
from tests.covering.libraries import Ours, Twin

LARGEST = 1500  # elements of a value: the programs run in Python
BOUND = 12.0  # what is larger is squashed
EXTENTS = (2, 3, 4, 5, 6, 7)
LONG = (17, 33, 65)


class Unfit(Exception):
    """What was drawn does not fit together: draw again."""


class Builder:
    """Appends steps; every value is there as a tensor of graphc (for its shape) and as an array."""

    def __init__(self, rng: np.random.Generator, seed: int, sizes: Mapping[str, int], second: bool = False) -> None:
        self.rng, self.second = rng, second
        self.leaves = Leaves({"seed": seed, **sizes})
        self.names = [name for name, count in self.leaves.extents.items() if count]
        self.steps: list[list[Any]] = []
        self.ours: list[Any] = []
        self.arrays: list[np.ndarray] = []
        self.keys = 0

    # ------------------------------------------------------------------ steps
    def emit(self, operation: str, *args: int, **options: Any) -> int:
        """The number of a new step.

        Raises
        ------
        Unfit
            When the arguments do not go together, or a value is too large or not finite.
        """
        step = [operation, list(args), options]
        try:
            with np.errstate(all="ignore"):
                array = np.asarray(apply(Twin(np), self.leaves, self.arrays, step), dtype=np.float64)
            ours = apply(Ours(), self.leaves, self.ours, step)
        except (GraphcError, ValueError, IndexError) as error:
            raise Unfit(str(error)) from None
        if array.size > LARGEST or array.ndim > 4 or not np.isfinite(array).all():
            raise Unfit("too large")
        self.steps.append(step)
        self.arrays.append(array)
        self.ours.append(ours)
        made = len(self.steps) - 1
        return self.emit("scalar", made, f="tanh") if np.abs(array).max() > BOUND else made

    def back_to(self, count: int) -> None:
        """Forget the steps from that number on."""
        del self.steps[count:], self.arrays[count:], self.ours[count:]

    def leaf(self, shape: Sequence[Any], kind: str | None = None) -> int:
        if any(isinstance(e, str) for e in shape[1:]):
            raise Unfit("rows are the first axis of data")
        self.keys += 1
        kind = kind or ("input" if any(isinstance(e, str) for e in shape) else "param")
        return self.emit("leaf", kind=kind, shape=list(shape), key=self.keys)

    def labels(self, x: int, axis: int, shape: Sequence[Any]) -> int:
        self.keys += 1
        return self.emit("labels", x, axis=axis, shape=list(shape), key=self.keys)

    def name(self) -> str:
        self.keys += 1
        return f"h{self.keys}"

    # ------------------------------------------------------------------ questions and choices
    def shape(self, x: int) -> tuple[Any, ...]:
        return tuple(getattr(self.ours[x], "shape", ()))

    def free(self, x: int) -> list[int]:
        """The axes with rows."""
        return [t for t, e in enumerate(self.shape(x)) if isinstance(e, str)]

    def other(self, x: int) -> str | None:
        """Rows of another kind than those of x, now and then, where there are two."""
        names = [name for name in self.names if name not in self.shape(x)]
        return self.choose(names) if len(self.names) > 1 and self.free(x) and names and self.maybe(0.7) else None

    def lead(self) -> Any:
        """A first axis: rows where there are any, of the kind that fewer leaves have."""
        lead = [step[2]["shape"][0] for step in self.steps if step[2].get("shape")]
        return min(self.names, key=lead.count) if self.names else self.extent()

    def has_data(self, extent: Any) -> bool:
        """Whether some data tells how many rows of that kind there are, or it is a number."""
        data = [step[2] for step in self.steps if step[0] in ("leaf", "labels")]
        return isinstance(extent, int) or any(extent in p["shape"] for p in data)

    def extents_in_use(self) -> bool:
        """Whether there is data with rows of every kind, where there are two kinds."""
        return len(self.names) < 2 or all(map(self.has_data, self.names))

    def choose(self, values: Sequence[Any]) -> Any:
        if not values:
            raise Unfit("nothing to choose from")
        return values[int(self.rng.integers(len(values)))]

    def maybe(self, chance: float) -> bool:
        return bool(self.rng.random() < chance)

    def extent(self) -> int:
        return self.choose(LONG) if self.maybe(0.04) else self.choose(EXTENTS)

    def axis(self, x: int, least: int = 2, free: bool = False) -> int:
        """An axis with at least so many elements; ``free``: the rows may be it."""
        fits = lambda e: free if isinstance(e, str) else e >= least
        return self.choose([t for t, e in enumerate(self.shape(x)) if fits(e)])

    def axes(self, x: int) -> Any:
        """What a reduction reduces: an axis as a rule, now and then two of them, or all."""
        rank = len(self.shape(x))
        if rank == 0:
            raise Unfit("a scalar")
        if self.maybe(0.1):
            return None
        if rank > 2 and self.maybe(0.15):
            return sorted(int(t) for t in self.rng.permutation(rank)[:2])
        return int(self.rng.integers(rank))

    def scalar(self, x: int, *names: str) -> int:
        return self.emit("scalar", x, f=self.choose(names))

    def binary(self, f: str, a: int, b: int) -> int:
        """f of a and b; second derivatives of quotients take SymPy too long."""
        f = "mul" if f == "div" and self.second else f
        return self.emit("binary", a, b, f=f)

    def reduce(self, f: str, x: int, axis: Any, keepdims: bool) -> int:
        if f == "prod":
            x = self.emit("affine", x, times=0.5, plus=1.0)
        return self.emit("reduce", x, f=f, axis=axis, keepdims=keepdims)
