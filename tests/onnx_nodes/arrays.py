"""Operators of whole arrays: products, reductions, other shapes, reads and writes at places, in graphc's words."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

import graphc as gc
from tests.onnx_nodes.case import Case
from tests.onnx_nodes.elementwise import Operator


def axes_of(case: Case, i: int | None) -> Any:
    """The axes that an input, or an attribute, names; None for all."""
    named = case.value(i) if i is not None else None
    found = case.option("axes") if named is None else named
    if found is None or len(found) == 0:
        return () if case.option("noop_with_empty_axes", 0) else None
    return tuple(int(a) for a in found)


# ---------------------------------------------------------------- products


def gemm(case: Case) -> Any:
    a, b, c = case.x(0), case.x(1), case.x(2)
    a = a.T if case.option("transA", 0) else a
    b = b.T if case.option("transB", 0) else b
    y = case.option("alpha", 1.0) * (a @ b)
    return y if c is None else y + gc.broadcast_to(case.option("beta", 1.0) * c, y.shape)


def einsum(case: Case) -> Any:
    return gc.einsum(case.option("equation"), *case.all())


# ---------------------------------------------------------------- reductions


def reduced(function: Callable[..., Any]) -> Operator:
    def operator(case: Case) -> Any:
        axes = axes_of(case, 1)
        if axes == ():
            return function(case.x()[None], 0, False) if function is not gc.sum else case.x()
        return function(case.x(), axes, bool(case.option("keepdims", 1)))

    return operator


def l1(x: Any, axes: Any, keepdims: bool) -> Any:
    return gc.sum(gc.abs(x), axes, keepdims)


def l2(x: Any, axes: Any, keepdims: bool) -> Any:
    return gc.sqrt(gc.sum(x**2, axes, keepdims))


def log_sum(x: Any, axes: Any, keepdims: bool) -> Any:
    return gc.log(gc.sum(x, axes, keepdims))


def sum_square(x: Any, axes: Any, keepdims: bool) -> Any:
    return gc.sum(x**2, axes, keepdims)


def place(function: Callable[..., Any]) -> Operator:
    """argmax or argmin; the last of equal ones is the first from the other end."""

    def operator(case: Case) -> Any:
        x, axis, keep = case.x(), case.option("axis", 0), bool(case.option("keepdims", 1))
        if not case.option("select_last_index", 0):
            return function(x, axis, keep)
        return x.shape[axis] - 1 - function(gc.flip(x, axis), axis, keep)

    return operator


def running(function: Callable[..., Any], neutral: float) -> Operator:
    def operator(case: Case) -> Any:
        x, axis = case.x(), int(case.value(1))
        turn = (lambda v: gc.flip(v, axis)) if case.option("reverse", 0) else (lambda v: v)
        y = function(turn(x), axis)
        if case.option("exclusive", 0):
            whole = [slice(None)] * x.ndim
            whole[axis] = slice(0, -1)
            width = [(0, 0)] * x.ndim
            width[axis] = (1, 0)
            y = gc.pad(y[tuple(whole)], width, constant_values=neutral)
        return turn(y)

    return operator


def hardmax(case: Case) -> Any:
    axis = case.option("axis", -1)
    x = gc.moveaxis(case.x(), axis, -1)
    return gc.moveaxis(gc.equal(gc.argmax(x, -1, keepdims=True), np.arange(x.shape[-1])), -1, axis)


# ---------------------------------------------------------------- shapes


def reshape(case: Case) -> Any:
    x, shape = case.x(), [int(e) for e in case.value(1)]
    if not case.option("allowzero", 0):
        shape = [x.shape[t] if e == 0 else e for t, e in enumerate(shape)]
    return gc.reshape(x, shape)


def flatten(case: Case) -> Any:
    x, axis = case.x(), case.option("axis", 1)
    return gc.reshape(x, (math.prod(x.shape[:axis]), -1))


def expand(case: Case) -> Any:
    x = case.x()
    return gc.broadcast_to(x, np.broadcast_shapes(x.shape, tuple(case.value(1))))


def unsqueeze(case: Case) -> Any:
    return gc.expand_dims(case.x(), axes_of(case, 1))


def squeeze(case: Case) -> Any:
    return gc.squeeze(case.x(), axes_of(case, 1))


def split(case: Case) -> Any:
    x, axis = case.x(), case.option("axis", 0)
    sizes, extent = case.value(1), case.x().shape[axis]
    if sizes is None:
        each = -(-extent // case.option("num_outputs", len(case.wanted)))
        return gc.split(x, list(range(each, extent, each)), axis)
    return gc.split(x, [int(p) for p in np.cumsum(sizes)[:-1]], axis)


def sliced(case: Case) -> Any:
    starts, ends, axes, steps = (case.value(i) for i in range(1, 5))
    x = case.x()
    axes = range(len(starts)) if axes is None else axes
    steps = [1] * len(starts) if steps is None else steps
    key: list[Any] = [slice(None)] * x.ndim
    for a, start, end, step in zip(axes, starts, ends, steps):
        key[int(a)] = slice(int(start), int(end), int(step))
    return x[tuple(key)]


def pad(case: Case) -> Any:
    pads, value, axes = case.value(1), case.value(2), case.value(3)
    x = case.x()
    pairs = np.asarray(pads).reshape(2, -1).T
    widths = np.zeros((x.ndim, 2), dtype=int)
    widths[[int(a) for a in range(x.ndim)] if axes is None else [int(a) for a in axes]] = pairs
    mode = case.option("mode", "constant")
    return gc.pad(x, widths, mode, **({} if mode != "constant" else {"constant_values": float(value or 0)}))


def trilu(case: Case) -> Any:
    k = case.value(1)
    return (gc.triu if case.option("upper", 1) else gc.tril)(case.x(), 0 if k is None else int(k))


def depth_to_space(case: Case) -> Any:
    x, b = case.x(), case.option("blocksize")
    n, c, h, w = x.shape
    columns = case.option("mode", "DCR") == "DCR"
    x = gc.reshape(x, (n, b, b, c // b**2, h, w) if columns else (n, c // b**2, b, b, h, w))
    x = gc.transpose(x, (0, 3, 4, 1, 5, 2) if columns else (0, 1, 4, 2, 5, 3))
    return gc.reshape(x, (n, c // b**2, h * b, w * b))


def space_to_depth(case: Case) -> Any:
    x, b = case.x(), case.option("blocksize")
    n, c, h, w = x.shape
    columns = case.option("mode", "DCR") == "DCR"
    x = gc.reshape(x, (n, c, h // b, b, w // b, b))
    x = gc.transpose(x, (0, 3, 5, 1, 2, 4) if columns else (0, 1, 3, 5, 2, 4))
    return gc.reshape(x, (n, c * b * b, h // b, w // b))


# ---------------------------------------------------------------- places


def gather(case: Case) -> Any:
    places = case.value(1)
    if (places < 0).any():  # counted from the end: known when it is declared
        return gc.take(case.x(), places, case.option("axis", 0))
    return gc.take(case.x(), case.labels(1), case.option("axis", 0))


def gather_elements(case: Case) -> Any:
    negative = (case.value(1) < 0).any()
    places = case.value(1) if negative else case.labels(1)
    return gc.take_along_axis(case.x(), places, case.option("axis", 0))


def gather_nd(case: Case) -> Any:
    x, places, batch = case.x(), case.labels(1), case.option("batch_dims", 0)
    rows = [np.arange(e).reshape([-1] + [1] * (places.ndim - 2 - t)) for t, e in enumerate(x.shape[:batch])]
    return x[(*rows, *(places[..., t] for t in range(places.shape[-1])))]


def scatter_elements(case: Case) -> Any:
    negative = (case.value(1) < 0).any()
    places = case.value(1) if negative else case.labels(1)
    reduce = {"none": None, "add": "sum", "mul": "prod", "max": "max", "min": "min"}[case.option("reduction", "none")]
    return gc.put_along_axis(case.x(0), places, case.x(2), case.option("axis", 0), reduce)


def one_hot(case: Case) -> Any:
    labels, (off, on), count = case.value(0), case.value(2), int(np.ravel(case.value(1))[0])
    if (labels < 0).any():  # counted from the end
        numbers = np.arange(count)
        hot = gc.equal(case.labels(0)[..., None], numbers) + gc.equal(case.labels(0)[..., None], numbers - count)
    else:
        hot = gc.one_hot(case.labels(0), count)
    return gc.moveaxis(float(off) + (float(on) - float(off)) * hot, -1, case.option("axis", -1))


def top_k(case: Case) -> Any:
    axis, count = case.option("axis", -1), int(case.value(1)[0])
    return gc.top_k(case.x(), count, axis, largest=bool(case.option("largest", 1)))


def compress(case: Case) -> Any:
    axis, chosen = case.option("axis"), np.flatnonzero(case.value(1))
    return gc.take(case.x(), chosen, axis)


ARRAYS: dict[str, Operator] = {
    "ArgMax": place(gc.argmax), "ArgMin": place(gc.argmin), "Compress": compress,
    "Concat": lambda case: gc.concatenate(case.all(), case.option("axis")),
    "CumProd": running(gc.cumprod, 1.0), "CumSum": running(gc.cumsum, 0.0), "DepthToSpace": depth_to_space,
    "Det": lambda case: gc.linalg.det(case.x()), "Einsum": einsum, "Expand": expand, "Flatten": flatten,
    "Gather": gather, "GatherElements": gather_elements, "GatherND": gather_nd, "Gemm": gemm, "Hardmax": hardmax,
    "MatMul": lambda case: case.x(0) @ case.x(1), "OneHot": one_hot, "Pad": pad, "ReduceL1": reduced(l1),
    "ReduceL2": reduced(l2), "ReduceLogSum": reduced(log_sum), "ReduceLogSumExp": reduced(gc.logsumexp),
    "ReduceMax": reduced(gc.max), "ReduceMean": reduced(gc.mean), "ReduceMin": reduced(gc.min),
    "ReduceProd": reduced(gc.prod), "ReduceSum": reduced(gc.sum), "ReduceSumSquare": reduced(sum_square),
    "Reshape": reshape, "Scatter": scatter_elements, "ScatterElements": scatter_elements, "Slice": sliced,
    "SpaceToDepth": space_to_depth, "Split": split, "Squeeze": squeeze,
    "Tile": lambda case: gc.tile(case.x(), [int(r) for r in case.value(1)]), "TopK": top_k,
    "Transpose": lambda case: gc.transpose(case.x(), case.option("perm")), "Trilu": trilu, "Unsqueeze": unsqueeze,
}  # fmt: skip
