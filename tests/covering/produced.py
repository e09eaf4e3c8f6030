"""What is produced: values of every kind, each from a value h."""

from __future__ import annotations

from collections.abc import Callable

from tests.covering.builder import Builder, Unfit
from tests.covering.libraries import OF_TWO, REDUCERS, WITHIN
from tests.covering.operations import CELLS

SMOOTH = ("tanh", "sin", "cos", "sigmoid", "exp", "softplus")
SCALARS = (*SMOOTH, "relu", "abs")


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
    if b.maybe(0.3) and not b.free(h):
        return b.emit("matmul", h, turned)
    other = b.leaf([b.shape(h)[0], b.extent()]) if b.maybe(0.5) else h
    return b.emit("matmul", turned, other)


def _log_softmax(b: Builder, h: int) -> int:
    return b.binary("sub", h, b.emit("reduce", h, f="logsumexp", axis=b.axis(h, 1, free=True), keepdims=True))


def reduction(name: str) -> Callable[[Builder, int], int]:
    return lambda b, h: b.reduce(name, h, b.axes(h), b.maybe(0.4))


def elementwise(b: Builder, h: int) -> int:
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
        return b.binary("mul", h, roll(b, h, axis))
    return b.binary("mul", b.emit("part", h, axis=axis, part=[1, None, None]),
                    b.emit("part", h, axis=axis, part=[None, -1, None]))  # fmt: skip


def roll(b: Builder, h: int, axis: int) -> int:
    first = b.emit("part", h, axis=axis, part=[1, None, None])
    return b.emit("concatenate", first, b.emit("part", h, axis=axis, part=[None, 1, None]), axis=axis)


def _embedding(b: Builder, h: int) -> int:
    table = b.leaf([b.extent(), b.extent()][: b.choose((1, 2))])
    rows = b.shape(h)[:1] or [b.extent()]
    return b.labels(table, 0, rows)


def _cumsum(b: Builder, h: int) -> int:
    return b.emit("cumsum", h, axis=b.axis(h))


def last(b: Builder, h: int) -> None:
    """The last axis has a known extent of at least 2."""
    if not isinstance(b.shape(h)[-1], int) or b.shape(h)[-1] < 2:
        raise Unfit("rows are the last axis")


def _indexed(b: Builder, h: int) -> int:
    kind = b.choose(WITHIN)
    last(b, h)
    others = [b.leaf([2])] if kind == "window" else []
    return b.emit("indexed", h, *others, kind=kind, name=b.name())


def _of_two(b: Builder, h: int) -> int:
    if len(b.shape(h)) != 2:
        raise Unfit("no matrix")
    kind, k = b.choose(OF_TWO), b.shape(h)[1]
    other = b.other(h)
    w = b.leaf([k, b.extent()]) if other is None else b.emit("transpose", b.leaf([other, k]), axes=[1, 0])
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
    if b.free(h) not in ([], [0]) or len(b.shape(h)) > axes + 2:
        raise Unfit("rows are not first")
    while len(b.shape(h)) < axes + 2:
        h = b.emit("expand", h, axis=1 if b.free(h) else 0)
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
    if b.free(h) or not 1 <= len(shape) <= 2 or shape[0] > 4:
        raise Unfit("no small matrix")
    m = h if len(shape) == 2 and b.maybe(0.3) else b.leaf([shape[0], b.choose((1, 2, 3))])
    return b.emit("algebra", h, m, f=b.choose(("solve", "inv", "cholesky", "det", "logdet")))


def _segments(b: Builder, h: int) -> int:
    b.keys += 1
    return b.emit("segments", h, shape=list(b.shape(h)[:1]), count=b.extent(), key=b.keys)


def _constant(b: Builder, h: int) -> int:
    return b.leaf([b.extent() for _ in range(b.choose((1, 2, 2, 3)))], "constant")


def _drawn(b: Builder, h: int) -> int:
    """Random numbers for every row of some data or for all of them; with data, with a parameter, or alone."""
    shape = [b.extent() for _ in range(b.choose((1, 2, 2, 3)))]
    if b.maybe(0.6):
        shape[0] = b.lead()
    b.keys += 1
    eps = b.emit("drawn", kind=b.choose(("normal", "normal", "uniform", "bernoulli")), shape=shape, key=b.keys)
    if not b.has_data(shape[0]):
        return b.binary("add", eps, b.leaf(shape))
    if b.maybe(0.3):
        return eps
    return b.binary(b.choose(("add", "mul")), eps, b.leaf([e if isinstance(e, int) else 1 for e in shape]))


def _parameter(b: Builder, h: int) -> int:
    return b.leaf([b.extent() for _ in range(b.choose((1, 2, 2, 3)))])


PRODUCED: dict[str, Callable[[Builder, int], int]] = {
    "product": _product, "left product": _left_product, "gram": _gram, "elementwise": elementwise,
    "softmax": lambda b, h: b.emit("softmax", h, axis=b.axis(h, 1, free=True)), "log softmax": _log_softmax,
    "neighbours": _neighbours, "embedding": _embedding, "cumsum": _cumsum, "indexed": _indexed, "of two": _of_two,
    "normalised": _normalised, "chosen": _chosen, "constant": _constant, "parameter": _parameter, "scan": _scan,
    "convolution": _convolution, "pooling": _pooling, "algebra": _algebra, "segments": _segments,
    "drawn": _drawn,
} | {name: reduction(name) for name in REDUCERS}  # fmt: skip
