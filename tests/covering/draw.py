"""Graphs drawn from rows of the covering array: what is produced, how it is read, what reads it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tests.covering.array import OF_GRAPH, Coverage, Row, propose
from tests.covering.build import CLOSINGS, Description
from tests.covering.builder import Builder, Unfit
from tests.covering.libraries import OF_TWO, REDUCERS, WITHIN
from tests.covering.operations import CELLS

SMOOTH = ("tanh", "sin", "cos", "sigmoid", "exp", "softplus")
SCALARS = (*SMOOTH, "relu", "abs")

# ---------------------------------------------------------------- what is produced, from a value h


def _product(b: Builder, h: int) -> int:
    """h W, or h**2 W**2."""
    w = b.leaf([b.shape(h)[-1], b.extent()])
    if b.maybe(0.3):
        h, w = b.emit("square", h), b.emit("square", w)
    return b.emit("matmul", h, w)


def _left_product(b: Builder, h: int) -> int:
    """W h over the last but one axis."""
    inner = b.shape(h)[-2] if len(b.shape(h)) > 1 else b.shape(h)[0]
    return b.emit("matmul", b.leaf([b.extent(), inner]), h)


def _gram(b: Builder, h: int) -> int:
    """h' h, h h', or h' g over the rows."""
    if len(b.shape(h)) != 2:
        raise Unfit("no matrix")
    turned = b.emit("transpose", h, axes=[1, 0])
    if b.maybe(0.3) and "n" not in b.shape(h):
        return b.emit("matmul", h, turned)
    other = b.leaf([b.shape(h)[0], b.extent()]) if b.maybe(0.5) else h
    return b.emit("matmul", turned, other)


def _log_softmax(b: Builder, h: int) -> int:
    return b.binary("sub", h, b.emit("reduce", h, f="logsumexp", axis=b.axis(h, 1, free=True), keepdims=True))


def _reduction(name: str) -> Callable[[Builder, int], int]:
    return lambda b, h: b.reduce(name, h, b.axes(h), b.maybe(0.4))


def _elementwise(b: Builder, h: int) -> int:
    way = b.choose(range(5))
    if way == 0:
        return b.scalar(h, *SCALARS)
    if way == 1:
        return b.binary("mul", h, b.scalar(h, *SCALARS))
    if way == 2:
        return b.binary("div" if b.maybe(0.3) else "sub", b.scalar(h, *SCALARS), h)
    if way == 3:
        return b.scalar(b.binary("mul", h, b.leaf([e if isinstance(e, int) else 1 for e in b.shape(h)])), *SCALARS)
    return b.binary("sub", b.emit("square", h), b.scalar(h, *SCALARS))


def _neighbours(b: Builder, h: int) -> int:
    """u[1:]*u[:-1], or u beside u rolled by one."""
    axis = b.axis(h)
    if b.maybe(0.5):
        return b.binary("mul", h, _roll(b, h, axis))
    return b.binary("mul", b.emit("part", h, axis=axis, part=[1, None, None]),
                    b.emit("part", h, axis=axis, part=[None, -1, None]))  # fmt: skip


def _roll(b: Builder, h: int, axis: int) -> int:
    first = b.emit("part", h, axis=axis, part=[1, None, None])
    return b.emit("concatenate", first, b.emit("part", h, axis=axis, part=[None, 1, None]), axis=axis)


def _embedding(b: Builder, h: int) -> int:
    table = b.leaf([b.extent(), b.extent()][: b.choose((1, 2))])
    rows = b.shape(h)[:1] or [b.extent()]
    return b.labels(table, 0, rows)


def _cumsum(b: Builder, h: int) -> int:
    return b.emit("cumsum", h, axis=b.axis(h))


def _last(b: Builder, h: int) -> None:
    """The last axis has a known extent of at least 2."""
    if not isinstance(b.shape(h)[-1], int) or b.shape(h)[-1] < 2:
        raise Unfit("rows are the last axis")


def _indexed(b: Builder, h: int) -> int:
    kind = b.choose(WITHIN)
    _last(b, h)
    others = [b.leaf([2])] if kind == "window" else []
    return b.emit("indexed", h, *others, kind=kind, name=b.name())


def _of_two(b: Builder, h: int) -> int:
    if len(b.shape(h)) != 2:
        raise Unfit("no matrix")
    kind, k = b.choose(OF_TWO), b.shape(h)[1]
    w = b.leaf([k, b.extent()])
    return b.emit("indexed", h, w, kind=kind, name=b.name())


def _normalised(b: Builder, h: int) -> int:
    axis = b.axis(h, 2, free=True)
    mean = b.emit("reduce", h, f="mean", axis=axis, keepdims=True)
    middle = b.binary("sub", h, mean)
    spread = b.emit("reduce", b.emit("square", middle), f="mean", axis=axis, keepdims=True)
    return b.binary("div", middle, b.emit("scalar", b.emit("affine", spread, times=1.0, plus=0.2), f="sqrt"))


def _chosen(b: Builder, h: int) -> int:
    others = [b.leaf([e if isinstance(e, int) else 1 for e in b.shape(h)])] if b.maybe(0.5) else []
    return b.emit("where", h, *others, above=0.1)


def _scan(b: Builder, h: int) -> int:
    """Steps along an axis; a product with w needs another axis behind it."""
    shape, cell = b.shape(h), b.choose(list(CELLS))
    axis = b.axis(h, 1)
    others = []
    if cell == "recurrent":
        if axis == len(shape) - 1 or not isinstance(shape[-1], int):
            raise Unfit("no width")
        others = [b.leaf([shape[-1], shape[-1]])]
    elif cell == "weighted":
        rest = [e for t, e in enumerate(shape) if t != axis]
        others = [b.leaf([e if isinstance(e, int) else 1 for e in rest])]
    return b.emit("scan", h, *others, cell=cell, axis=axis, reverse=b.maybe(0.4), last=b.maybe(0.4))


def _image(b: Builder, h: int, axes: int) -> int:
    """h as (rows, channels, places), or with two axes of places."""
    if "n" in b.shape(h)[1:] or len(b.shape(h)) > axes + 2:
        raise Unfit("rows are not first")
    while len(b.shape(h)) < axes + 2:
        h = b.emit("expand", h, axis=1 if b.shape(h)[:1] == ("n",) else 0)
    return h


def _flatter(b: Builder, y: int) -> int:
    """One channel now and then, for readers that take few axes."""
    return b.emit("fixed", y, axis=1, place=0) if b.maybe(0.5) else y


def _convolution(b: Builder, h: int) -> int:
    axes = 2 if len(b.shape(h)) > 2 and b.maybe(0.4) else 1
    h = _image(b, h, axes)
    channels = b.shape(h)[1]
    groups = channels if b.maybe(0.3) else 1
    window = [b.choose((1, 2, 2, 3)) for _ in range(axes)]
    kernel = b.leaf([*window, channels // groups, groups * b.choose((1, 1, 2, 3))])
    padding = b.choose(("valid", "same", "causal", 1) if axes == 1 else ("valid", "same", 1))
    stride = 1 if padding in ("same", "causal") else b.choose((1, 1, 2, 3))
    dilation = b.choose((1, 1, 1, 2))
    return _flatter(b, b.emit("convolution", h, kernel, axes=axes, stride=stride, padding=padding, dilation=dilation,
                              groups=groups))  # fmt: skip


def _pooling(b: Builder, h: int) -> int:
    h, window = _image(b, h, 1), b.choose((1, 2, 2, 3))
    padding = b.choose(("valid", "valid", 1)) if window > 1 else "valid"
    f, stride = b.choose(("max", "mean")), b.choose((1, 2, 3))
    return _flatter(b, b.emit("pooling", h, f=f, window=window, stride=stride, padding=padding))


def _algebra(b: Builder, h: int) -> int:
    """With a matrix of its own, or with h itself."""
    shape = b.shape(h)
    if "n" in shape or not 1 <= len(shape) <= 2 or shape[0] > 4:
        raise Unfit("no small matrix")
    m = h if len(shape) == 2 and b.maybe(0.3) else b.leaf([shape[0], b.choose((1, 2, 3))])
    return b.emit("algebra", h, m, f=b.choose(("solve", "inv", "cholesky", "det", "logdet")))


def _segments(b: Builder, h: int) -> int:
    b.keys += 1
    return b.emit("segments", h, shape=list(b.shape(h)[:1]), count=b.extent(), key=b.keys)


def _constant(b: Builder, h: int) -> int:
    return b.leaf([b.extent() for _ in range(b.choose((1, 2, 2, 3)))], "constant")


def _parameter(b: Builder, h: int) -> int:
    return b.leaf([b.extent() for _ in range(b.choose((1, 2, 2, 3)))])


PRODUCED: dict[str, Callable[[Builder, int], int]] = {
    "product": _product, "left product": _left_product, "gram": _gram, "elementwise": _elementwise,
    "softmax": lambda b, h: b.emit("softmax", h, axis=b.axis(h, 1, free=True)), "log softmax": _log_softmax,
    "neighbours": _neighbours, "embedding": _embedding, "cumsum": _cumsum, "indexed": _indexed, "of two": _of_two,
    "normalised": _normalised, "chosen": _chosen, "constant": _constant, "parameter": _parameter, "scan": _scan,
    "convolution": _convolution, "pooling": _pooling, "algebra": _algebra, "segments": _segments,
} | {name: _reduction(name) for name in REDUCERS}  # fmt: skip

# ---------------------------------------------------------------- how u is read


def _transposed(b: Builder, u: int) -> int:
    rank = len(b.shape(u))
    axes = [int(t) for t in b.rng.permutation(rank)]
    if rank < 2 or axes == list(range(rank)):
        raise Unfit("nothing to transpose")
    return b.emit("transpose", u, axes=axes)


def _sliced(b: Builder, u: int) -> int:
    part = b.choose(([1, None, None], [None, -1, None], [None, None, 2], [1, None, 2], [0, 2, None], [-2, None, None]))
    return b.emit("part", u, axis=b.axis(u), part=part)


def _backwards(b: Builder, u: int) -> int:
    if b.shape(u)[:1] == ("n",) and b.maybe(0.3):
        return b.emit("part", u, axis=0, part=[None, None, -1])
    return b.emit("part", u, axis=b.axis(u), part=b.choose(([None, None, -1], [None, None, -2], [-2, None, -1])))


def _fixed(b: Builder, u: int) -> int:
    axis = b.axis(u, 1)
    place = int(b.rng.integers(-1, b.shape(u)[axis]))
    found = b.emit("fixed", u, axis=axis, place=place)
    return b.binary("sub", u, b.emit("expand", found, axis=axis)) if b.maybe(0.3) else found


def _gathered(b: Builder, u: int) -> int:
    shape = b.shape(u)
    if len(shape) == 2 and "n" not in shape and b.maybe(0.3):
        count = b.extent()
        places = [[int(q) for q in b.rng.integers(0, e, count)] for e in shape]
        return b.emit("pairs", u, places=places)
    axis = b.axis(u)
    return b.emit("pick", u, axis=axis, places=[int(q) for q in b.rng.integers(0, shape[axis], b.extent())])


def _by_labels(b: Builder, u: int) -> int:
    axis = b.axis(u)
    rows = b.rows > 0 and "n" not in b.shape(u) and axis == 0
    return b.labels(u, axis, ["n"] if rows else [b.extent()])


def _shifted(b: Builder, u: int) -> int:
    """u[1:] beside u[:-1], or beside what lies two places before."""
    axis, step = b.axis(u, 3), b.choose((1, 1, 2))
    first = b.emit("part", u, axis=axis, part=[step, None, None])
    return b.binary(b.choose(("sub", "mul", "add")), first,
                    b.emit("part", u, axis=axis, part=[None, -step, None]))  # fmt: skip


def _rolled(b: Builder, u: int) -> int:
    found = _roll(b, u, b.axis(u))
    return b.binary(b.choose(("sub", "mul", "add")), found, u) if b.maybe(0.5) else found


def _spread(b: Builder, u: int) -> int:
    """Read for every element of another axis."""
    shape = b.shape(u)
    if len(shape) > 2:
        raise Unfit("too many axes")
    if b.maybe(0.5) or "n" in shape:
        found = b.emit("expand", u, axis=len(shape))
        return b.binary(b.choose(("add", "mul")), found, b.leaf([b.extent()]))
    lead = b.extent() if b.rows == 0 or b.maybe(0.3) else "n"
    return b.binary(b.choose(("add", "mul")), u, b.leaf([lead] + [1] * len(shape)))


def _masked(b: Builder, u: int) -> int:
    if b.maybe(0.4):
        _last(b, u)
        return b.emit("indexed", u, kind=b.choose(("triangle", "later")), name=b.name())
    axis = b.axis(u)
    pattern = [int(q) for q in b.rng.integers(0, 2, b.shape(u)[axis])]
    return b.emit("masked", u, axis=axis, pattern=pattern, other=b.choose((0.0, 0.5)))


def _padded(b: Builder, u: int) -> int:
    axis = b.axis(u, 1)
    shape = list(b.shape(u))
    shape[axis] = b.choose((1, 1, 2))
    parts = [u, b.leaf(shape, "constant" if "n" not in shape else None)]
    return b.emit("concatenate", *(parts if b.maybe(0.5) else parts[::-1]), axis=axis)


def _stacked(b: Builder, u: int) -> int:
    rank = len(b.shape(u))
    if rank > 2:
        raise Unfit("too many axes")
    place = int(b.rng.integers(1 if "n" in b.shape(u) else 0, rank + 1))
    return b.emit("stack", u, b.scalar(u, *SMOOTH) if b.maybe(0.7) else u, axis=place)


def _reshaped(b: Builder, u: int) -> int:
    shape = b.shape(u)
    lead = ["n"] if shape[:1] == ("n",) else []
    count = int(np.prod([e for e in shape if e != "n"]))
    first = b.choose([d for d in range(1, count + 1) if count % d == 0])
    wanted = b.choose(([*lead, first, count // first], [*lead, count]))
    if tuple(wanted) == tuple(shape) or "n" in shape[1:]:
        raise Unfit("nothing to reshape")
    return b.emit("reshape", u, shape=wanted)


def _several(b: Builder, u: int) -> int:
    """Two reads of other kinds in one expression."""
    one, two = (READS[b.choose(("straight", "backwards", "rolled", "fixed", "sliced", "transposed"))](b, u)
                for _ in range(2))  # fmt: skip
    return b.binary(b.choose(("add", "mul", "sub")), one, two)


def _doubled(b: Builder, u: int) -> int:
    axis = b.axis(u, 1)
    return b.emit("concatenate", u, u if b.maybe(0.6) else b.emit("affine", u, times=-1.0, plus=0.0), axis=axis)


READS: dict[str, Callable[[Builder, int], int]] = {
    "straight": lambda b, u: u, "transposed": _transposed, "sliced": _sliced, "backwards": _backwards, "fixed": _fixed,
    "gathered": _gathered, "labels": _by_labels, "shifted": _shifted, "rolled": _rolled, "spread": _spread,
    "masked": _masked, "padded": _padded, "stacked": _stacked, "reshaped": _reshaped, "several": _several,
    "doubled": _doubled,
}  # fmt: skip

# ---------------------------------------------------------------- what reads it


def _joined(b: Builder, v: int) -> int:
    """Neighbours that become one loop: functions that share what they compute."""
    one = b.scalar(v, "tanh", "sigmoid", "exp")
    two = b.binary("mul", one, b.scalar(v, *SMOOTH))
    return b.binary("add", two, b.binary("mul", one, v))


def _flattened(b: Builder, v: int) -> int:
    shape = b.shape(v)
    if not shape or "n" in shape[1:]:
        raise Unfit("nothing to flatten")
    lead = ["n"] if shape[0] == "n" else []
    flat = b.emit("reshape", v, shape=[*lead, int(np.prod([e for e in shape if e != "n"]))])
    return b.binary("mul", flat, b.scalar(flat, *SMOOTH))


def _left_factor(b: Builder, v: int) -> int:
    return b.emit("matmul", v, b.leaf([b.shape(v)[-1], b.extent()]))


def _right_factor(b: Builder, v: int) -> int:
    shape = b.shape(v)
    inner = shape[-2] if len(shape) > 1 else shape[0]
    outer = "n" if b.rows and "n" not in shape else b.extent()
    return b.emit("matmul", b.leaf([outer, inner]), v)


def _dot(b: Builder, v: int) -> int:
    """sum_k v[.., k] w[k] for any axis k."""
    shape = b.shape(v)
    axis = b.axis(v, 1, free=True)
    w = b.leaf([e if t == axis else 1 for t, e in enumerate(shape)][axis:])
    return b.emit("reduce", b.binary("mul", v, w), f="sum", axis=axis, keepdims=b.maybe(0.2))


def _bias(b: Builder, v: int) -> int:
    """X W + v."""
    shape = b.shape(v)
    if not isinstance(shape[-1], int):
        raise Unfit("no bias")
    k = b.extent()
    lead = shape[0] if len(shape) > 1 else "n" if b.rows else b.extent()
    return b.binary("add", b.emit("matmul", b.leaf([lead, k]), b.leaf([k, shape[-1]])), v)


def _update(b: Builder, v: int) -> int:
    """w*v, so that v is the gradient of w."""
    return b.binary("mul", v, b.leaf(b.shape(v)))


def _outer(b: Builder, v: int) -> int:
    shape = b.shape(v)
    if len(shape) > 2 or "n" in shape[1:]:
        raise Unfit("too many axes")
    rank = len(shape)
    return b.binary(b.choose(("mul", "sub", "add")), b.emit("expand", v, axis=rank), b.emit("expand", v, axis=rank - 1))


READERS: dict[str, Callable[[Builder, int], int]] = {
    "elementwise": _elementwise, "joined": _joined, "flattened": _flattened, "left factor": _left_factor,
    "softmax": lambda b, v: b.emit("softmax", v, axis=b.axis(v, 1, free=True)), "right factor": _right_factor,
    "dot": _dot, "bias": _bias, "update": _update, "outer": _outer,
} | {name: _reduction(name) for name in REDUCERS}  # fmt: skip

# ---------------------------------------------------------------- graphs


def draw(row: Row, seed: int) -> Description | None:
    """A graph with the strands of a row; None when nothing that was drawn fitted together."""
    rng = np.random.default_rng(seed)
    rows = 0 if row["rows"] == "none" else int(row["rows"])
    for _ in range(6):
        b = Builder(rng, seed, rows, second=row["order"] != "first")
        try:
            terms = _strands(b, row)
        except Unfit:
            continue
        found = {name: row[name] for name in OF_GRAPH} | {"rows": rows, "threads": int(row["threads"]), "seed": seed}
        return {"steps": b.steps, "terms": terms} | found
    return None


def _strands(b: Builder, row: Row) -> list[list[Any]]:
    made: list[int] = []
    terms = []
    for produced, readers in row["strands"]:
        u = _again(b, 12, lambda name=produced: PRODUCED[name](b, _base(b, made)))
        for read, reader in readers:
            y = _again(b, 12, lambda how=read, by=reader, u=u: READERS[by](b, READS[how](b, u)))
            terms.append([y, b.choose(list(CLOSINGS))])
            made.append(y)
        made.append(u)
    if not any(step[0] == "leaf" and step[2]["kind"] == "param" for step in b.steps):
        raise Unfit("no parameter")
    return terms


def _again(b: Builder, tries: int, make: Callable[[], int]) -> int:
    start = len(b.steps)
    for _ in range(tries):
        try:
            return make()
        except (Unfit, IndexError):  # no such axis
            b.back_to(start)
    raise Unfit("drawn too often")


def _base(b: Builder, made: list[int]) -> int:
    """A value to begin with: a new leaf, or what was made before; transposed now and then."""
    old = [t for t in made if b.shape(t)]
    if old and b.maybe(0.5):
        h = b.choose(old)
    else:
        rank = b.choose((1, 2, 2, 3))
        shape: list[Any] = [b.extent() for _ in range(rank)]
        if b.rows and b.maybe(0.8):
            shape[0] = "n"
        h = b.leaf(shape)
        if "n" in shape:
            h = b.binary(b.choose(("add", "mul")), h, b.leaf([1 if e == "n" else e for e in shape]))
    rank = len(b.shape(h))
    return b.emit("transpose", h, axes=list(range(rank))[::-1]) if rank > 1 and b.maybe(0.2) else h


def block(seed: int, count: int, coverage: Coverage) -> list[tuple[Row, Description]]:
    """So many graphs of the covering array of a seed; ``coverage`` gathers what they cover."""
    rng = np.random.default_rng([seed, 1])
    found: list[tuple[Row, Description]] = []
    while len(found) < count:
        row = propose(rng, coverage)
        description = draw(row, int(rng.integers(1 << 31)))
        if description is not None:
            coverage.add(row)
            found.append((row, description))
    return found
