"""The operations of a graph, written twice: with the functions of graphc, and with those of NumPy or JAX.

The twin reads along an axis by a product with a matrix of zeros and ones, so it shares no idea of slices, gathers and
shifts with graphc.  Both have the methods of one another; shapes follow NumPy.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

import graphc as gc
from graphc.declare.operators import cumsum

REDUCERS = ("sum", "mean", "max", "min", "prod", "logsumexp")


def positions(extent: int, part: Sequence[int | None]) -> list[int]:
    """The places that the slice start:stop:step selects of an axis."""
    return list(range(extent))[slice(*part)]


class Ours:
    """graphc."""

    where = staticmethod(gc.where)
    reshape = staticmethod(gc.reshape)
    transpose = staticmethod(gc.transpose)
    concatenate = staticmethod(gc.concatenate)
    stack = staticmethod(gc.stack)
    softmax = staticmethod(gc.softmax)
    cumsum = staticmethod(cumsum)

    @staticmethod
    def scalar(name: str, x: Any) -> Any:
        return getattr(gc, name)(x)

    @staticmethod
    def reduce(name: str, x: Any, axis: Any, keepdims: bool = False) -> Any:
        axis = tuple(axis) if isinstance(axis, list) else axis
        return getattr(gc, name)(x, axis=axis, keepdims=keepdims)

    @staticmethod
    def matmul(a: Any, b: Any) -> Any:
        return a @ b

    @staticmethod
    def part(x: Any, axis: int, part: Sequence[int | None]) -> Any:
        return x[(slice(None),) * axis + (slice(*part),)]

    @staticmethod
    def fixed(x: Any, axis: int, place: int) -> Any:
        return x[(slice(None),) * axis + (place,)]

    @staticmethod
    def pick(x: Any, axis: int, places: Any) -> Any:
        """Places: a list of whole numbers, or integer data."""
        return x[(slice(None),) * axis + (places,)]

    @staticmethod
    def pairs(x: Any, rows: list[int], columns: list[int]) -> Any:
        return x[rows, columns]

    @staticmethod
    def expand(x: Any, axis: int) -> Any:
        return x[(slice(None),) * axis + (None,)]

    @staticmethod
    def indexed(kind: str, name: str, *args: Any) -> Any:
        return INDEXED[kind][0](name, *args)


class Twin:
    """NumPy or JAX, whose module is ``xp``."""

    def __init__(self, xp: Any) -> None:
        self.xp = xp
        self.where, self.reshape, self.transpose = xp.where, xp.reshape, xp.transpose
        self.concatenate, self.stack = xp.concatenate, xp.stack

    def scalar(self, name: str, x: Any) -> Any:
        xp = self.xp
        own = {
            "sigmoid": lambda: 1 / (1 + xp.exp(-x)), "softplus": lambda: xp.log(1 + xp.exp(x)),
            "relu": lambda: xp.where(x > 0, x, 0.0), "abs": lambda: xp.sign(x) * x,  # whose derivative at 0 is 0
        }  # fmt: skip
        return own[name]() if name in own else getattr(xp, name)(x)

    def reduce(self, name: str, x: Any, axis: Any, keepdims: bool = False) -> Any:
        axis = tuple(axis) if isinstance(axis, list) else axis
        if name == "logsumexp":
            return self.xp.log(self.xp.sum(self.xp.exp(x), axis=axis, keepdims=keepdims))
        return getattr(self.xp, name)(x, axis=axis, keepdims=keepdims)

    def softmax(self, x: Any, axis: int) -> Any:
        e = self.xp.exp(x)
        return e / self.xp.sum(e, axis=axis, keepdims=True)

    def cumsum(self, x: Any, axis: int) -> Any:
        return self._along(x, axis, np.tri(x.shape[axis]))

    def matmul(self, a: Any, b: Any) -> Any:
        return self.xp.matmul(a, b)

    def _along(self, x: Any, axis: int, m: np.ndarray) -> Any:
        """out[.., p, ..] = sum_q m[p, q] x[.., q, ..] along an axis."""
        return self.xp.moveaxis(self.xp.tensordot(m, x, axes=(1, axis)), 0, axis)

    def pick(self, x: Any, axis: int, places: Any) -> Any:
        return self._along(x, axis, np.eye(x.shape[axis])[np.asarray(places, dtype=int)])

    def part(self, x: Any, axis: int, part: Sequence[int | None]) -> Any:
        return self.pick(x, axis, positions(x.shape[axis], part))

    def fixed(self, x: Any, axis: int, place: int) -> Any:
        return self.xp.sum(self.pick(x, axis, [place]), axis=axis)

    def pairs(self, x: Any, rows: list[int], columns: list[int]) -> Any:
        e = np.eye(x.shape[0])[rows], np.eye(x.shape[1])[columns]
        return self.xp.einsum("pi,pj,ij...->p...", *e, x)

    def expand(self, x: Any, axis: int) -> Any:
        return self.xp.expand_dims(x, axis)

    def indexed(self, kind: str, name: str, *args: Any) -> Any:
        return INDEXED[kind][1](self, *args)


# ---------------------------------------------------------------- index equations, for graphc and for the twin


def _lead(x: Any) -> tuple[Any, ...]:
    """Indices of all axes but the last one."""
    return gc.indices("p q r s")[: len(x.shape) - 1]


def _define(formula: Any) -> Any:
    """graphc's reading of out[.., i] = formula(h[..], i)."""

    def ours(name: str, h: Any, *others: Any) -> Any:
        i, lead = gc.indices("i"), _lead(h)
        return gc.define(name, [*lead, i], formula(lambda k: h[(*lead, k)], i, h.shape[-1], *others))

    return ours


def _window(h: Any, i: Any, d: int, w: Any) -> Any:
    k = gc.indices("k")
    return gc.sum(h(i + k) * w[k], over=k)


def _triangle(h: Any, i: Any, d: int) -> Any:
    k = gc.indices("k")
    return gc.sum(gc.where(k <= i, h(k), 0), over=k)


def _later(h: Any, i: Any, d: int) -> Any:
    k = gc.indices("k")
    return gc.sum(gc.where(k > i, h(k) * h(i), 0.0), over=k)


def _pair(formula: Any) -> Any:
    """graphc's reading of out[i, j] = formula(A[i, k], B[j, k] or B[k, j])."""

    def ours(name: str, a: Any, b: Any) -> Any:
        i, j, k = gc.indices("i j k")
        return gc.define(name, [i, j], formula(a, b, i, j, k))

    return ours


INDEXED: dict[str, tuple[Any, Any]] = {
    "window": (_define(_window), lambda t, h, w: sum(
        t.part(h, len(h.shape) - 1, (q, h.shape[-1] - w.shape[0] + 1 + q, None)) * w[q] for q in range(w.shape[0]))),
    "triangle": (_define(_triangle), lambda t, h: t.cumsum(h, len(h.shape) - 1)),
    "later": (_define(_later), lambda t, h: h * t._along(h, len(h.shape) - 1, np.triu(np.ones((h.shape[-1],) * 2), 1))),
    "periodic": (_define(lambda h, i, d: h((i + 1) % d) * h(i)),
                 lambda t, h: h * t.pick(h, len(h.shape) - 1, [*range(1, h.shape[-1]), 0])),
    "blocks": (_define(lambda h, i, d: h(i // 2) + h(i)),
               lambda t, h: h + t.pick(h, len(h.shape) - 1, [q // 2 for q in range(h.shape[-1])])),
    "skew": (_define(lambda h, i, d: h(d - 1 - i) * gc.sin(h(i))),
             lambda t, h: t.pick(h, len(h.shape) - 1, range(h.shape[-1])[::-1]) * t.xp.sin(h)),
    "numbered": (_define(lambda h, i, d: h(i) * (i + 1) / d),
                 lambda t, h: h * (np.arange(h.shape[-1]) + 1) / h.shape[-1]),
    "contract": (_pair(lambda a, b, i, j, k: gc.sum(a[i, k] * b[k, j], over=k)),
                 lambda t, a, b: t.xp.einsum("ik,kj->ij", a, b)),
    "squares": (_pair(lambda a, b, i, j, k: gc.sum(a[i, k] ** 2 * b[k, j] ** 2, over=k)),
                lambda t, a, b: t.xp.einsum("ik,kj->ij", a**2, b**2)),
    "tropical": (_pair(lambda a, b, i, j, k: gc.max(a[i, k] + b[k, j], over=k)),
                 lambda t, a, b: t.xp.max(a[:, :, None] + b[None], axis=1)),
    "log product": (_pair(lambda a, b, i, j, k: gc.logsumexp(a[i, k] + b[k, j], over=k)),
                    lambda t, a, b: t.reduce("logsumexp", a[:, :, None] + b[None], 1)),
    "distances": (_pair(lambda a, b, i, j, k: gc.sum((a[i, k] - b[k, j]) ** 2, over=k)),
                  lambda t, a, b: t.xp.sum((a[:, :, None] - b[None]) ** 2, axis=1)),
}  # fmt: skip
WITHIN = ("window", "triangle", "later", "periodic", "blocks", "skew", "numbered")
OF_TWO = ("contract", "squares", "tropical", "log product", "distances")
