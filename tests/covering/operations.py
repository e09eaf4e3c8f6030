"""Operations that are many equations, written twice: scans, convolutions, pooling, linear algebra, sums by group.

What the twin does is spelled out with slices and small products: steps in a loop, one product for every element of a
kernel, elimination without a library.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

import graphc as gc
from tests.covering.libraries import Ours, Twin

Given = Mapping[str, Any]

# ---------------------------------------------------------------- scans: (carried, x, w) -> (carried, y)

CELLS: dict[str, Callable[..., tuple[Any, Any]]] = {
    "leaky": lambda o, c, x: ((new := o.scalar("tanh", 0.6 * c + x)), new * x),
    "recurrent": lambda o, c, x, w: ((new := o.scalar("tanh", x + o.matmul(c, w))), new),
    "largest": lambda o, c, x: ((new := o.where(c > x, c, x)), new - x),
    "product": lambda o, c, x: ((new := c * (1 + 0.3 * x)), new),
    "what was": lambda o, c, x: (0.5 * c + o.scalar("sin", x), c * x),
    "weighted": lambda o, c, x, w: (o.scalar("sigmoid", c * w + x), o.scalar("exp", -c)),
}


def _scan(o: Any, p: Given, x: Any, *others: Any) -> Any:
    """Starts from half of what is given to the first step; the carried values at the end, or what every step gave."""
    axis, cell = p["axis"], CELLS[p["cell"]]
    step = lambda c, now: cell(o, c, now, *others)
    start = 0.5 * o.fixed(x, axis, 0)
    if isinstance(o, Ours):
        last, ys = gc.scan(step, start, x, axis=axis, reverse=p["reverse"])
    else:
        last, ys = _steps(o, step, start, x, axis, p["reverse"])
    return last if p["last"] else ys


def _steps(o: Twin, step: Callable, carried: Any, x: Any, axis: int, reverse: bool) -> tuple[Any, Any]:
    times = range(x.shape[axis])
    found = {}
    for t in reversed(times) if reverse else times:
        carried, found[t] = step(carried, o.fixed(x, axis, t))
    return carried, o.stack([found[t] for t in times], axis=axis)


# ---------------------------------------------------------------- windows over (rows, channels, places)


def _convolution(o: Any, p: Given, x: Any, kernel: Any) -> Any:
    """Over the last axis or the last two; channels stand before them."""
    options = {name: p[name] for name in ("stride", "padding", "dilation", "groups")}
    if isinstance(o, Ours):
        return (gc.conv2d if p["axes"] == 2 else gc.conv1d)(x, kernel, **options)
    found: Any = 0.0
    for place in np.ndindex(*kernel.shape[: p["axes"]]):
        found = found + _in_groups(o, _seen(o, p, x, place, kernel.shape, 0.0), kernel[place], p["groups"])
    return found


def _in_groups(o: Twin, x: Any, w: Any, groups: int) -> Any:
    """sum over the channels of a group: x (n, c, ..), w (c/groups, out) -> (n, out, ..)."""
    size, out = w.shape[0], w.shape[1] // groups
    parts = [o.xp.einsum("nc...,co->no...", o.part(x, 1, (g * size, (g + 1) * size, None)),
                         o.part(w, 1, (g * out, (g + 1) * out, None))) for g in range(groups)]  # fmt: skip
    return o.concatenate(parts, axis=1)


def _seen(o: Twin, p: Given, x: Any, place: tuple[int, ...], window: tuple[int, ...], outside: float) -> Any:
    """What the element of a window at ``place`` sees wherever the window stands."""
    for t, q in enumerate(place):
        axis, reach = x.ndim - len(place) + t, (window[t] - 1) * p["dilation"] + 1
        pads = _pads(p["padding"], reach)
        x = _padded(o, x, axis, pads, outside)
        count = (x.shape[axis] - reach) // p["stride"] + 1
        first = q * p["dilation"]
        x = o.part(x, axis, (first, first + (count - 1) * p["stride"] + 1, p["stride"]))
    return x


def _pads(padding: Any, reach: int) -> tuple[int, int]:
    named = {"valid": (0, 0), "same": ((reach - 1) // 2, reach - 1 - (reach - 1) // 2), "causal": (reach - 1, 0)}
    return named[padding] if isinstance(padding, str) else (padding, padding)


def _padded(o: Twin, x: Any, axis: int, pads: tuple[int, int], value: float) -> Any:
    around = [np.full([n if t == axis else e for t, e in enumerate(x.shape)], value) for n in pads]
    return o.concatenate([around[0], x, around[1]], axis=axis)


def _pooling(o: Any, p: Given, x: Any) -> Any:
    """The largest or the mean of a window over the last axis."""
    if isinstance(o, Ours):
        pool = gc.max_pool if p["f"] == "max" else gc.avg_pool
        return pool(x, p["window"], stride=p["stride"], padding=p["padding"])
    window, p = (p["window"],), {**p, "dilation": 1}
    outside = -1e3 if p["f"] == "max" else 0.0
    seen = [_seen(o, p, x, (q,), window, outside) for q in range(*window)]
    if p["f"] == "max":
        return o.reduce("max", o.stack(seen, axis=0), 0)
    inside = [_seen(o, p, np.ones(x.shape), (q,), window, 0.0) for q in range(*window)]
    return sum(seen[1:], start=seen[0]) / sum(inside[1:], start=inside[0])


# ---------------------------------------------------------------- linear algebra with m m' + 1.5 I


def _algebra(o: Any, p: Given, x: Any, m: Any) -> Any:
    """A quantity of a = 0.3 m m' + 1.5 I, with which x is multiplied where it is a matrix."""
    a = 0.3 * o.matmul(m, o.transpose(m, [1, 0])) + 1.5 * np.eye(m.shape[0])
    return (_ours if isinstance(o, Ours) else _by_hand)(o, p["f"], a, x)


def _ours(o: Any, f: str, a: Any, x: Any) -> Any:
    if f == "solve":
        return gc.linalg.solve(a, x)
    if f in ("inv", "cholesky"):
        return getattr(gc.linalg, f)(a) @ x
    return x * (gc.linalg.det(a) if f == "det" else gc.linalg.slogdet(a)[1])


def _by_hand(o: Any, f: str, a: Any, x: Any) -> Any:
    if f == "cholesky":
        return o.matmul(_cholesky(o, a), x)
    solved, pivots = _eliminated(o, a, x if x.ndim == 2 else o.expand(x, 1))
    if f in ("solve", "inv"):
        return solved if x.ndim == 2 else o.fixed(solved, 1, 0)
    logs = [o.scalar("log", q) for q in pivots]
    return x * (o.scalar("exp", sum(logs[1:], start=logs[0])) if f == "det" else sum(logs[1:], start=logs[0]))


def _eliminated(o: Any, a: Any, b: Any) -> tuple[Any, list[Any]]:
    """a^-1 b by Gauss and Jordan, which needs no exchange of rows here, and the pivots."""
    table, pivots, count = o.concatenate([a, b], axis=1), [], a.shape[0]
    for i, unit in enumerate(np.eye(count)):
        pivots.append(table[i, i])
        row = table[i] / table[i, i]
        table = table - (table[:, i] - unit)[:, None] * row[None, :]
    return table[:, count:], pivots


def _cholesky(o: Any, a: Any) -> Any:
    columns: list[Any] = []
    rest = a
    for i in range(a.shape[0]):
        column = rest[:, i] / o.scalar("sqrt", rest[i, i])
        columns.append(column)
        rest = rest - column[:, None] * column[None, :]
    return o.stack(columns, axis=1) * np.tri(a.shape[0])  # what is above is rounding


# ---------------------------------------------------------------- sums by group


def _segments(o: Any, p: Given, x: Any, ids: Any) -> Any:
    """Sums of the rows of x with the same number."""
    if isinstance(o, Ours):
        return gc.segment_sum(x, ids, p["count"])
    return o.xp.tensordot(np.eye(p["count"])[:, np.asarray(ids, dtype=int)], x, axes=(1, 0))


OPERATIONS: dict[str, Callable[..., Any]] = {
    "scan": _scan, "convolution": _convolution, "pooling": _pooling, "algebra": _algebra, "segments": _segments
}  # fmt: skip
