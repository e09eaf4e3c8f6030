"""Graphs drawn from rows of the covering array: what is produced, how it is read, what reads it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tests.covering.array import OF_GRAPH, Coverage, Row, propose
from tests.covering.build import CLOSINGS, Description
from tests.covering.builder import Builder, Unfit
from tests.covering.chance import NOISES
from tests.covering.libraries import REDUCERS
from tests.covering.produced import PRODUCED, SMOOTH, elementwise, last, reduction, roll

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
    if b.free(u)[:1] == [0] and b.maybe(0.3):
        return b.emit("part", u, axis=0, part=[None, None, -1])
    return b.emit("part", u, axis=b.axis(u), part=b.choose(([None, None, -1], [None, None, -2], [-2, None, -1])))


def _fixed(b: Builder, u: int) -> int:
    axis = b.axis(u, 1)
    place = int(b.rng.integers(-1, b.shape(u)[axis]))
    found = b.emit("fixed", u, axis=axis, place=place)
    return b.binary("sub", u, b.emit("expand", found, axis=axis)) if b.maybe(0.3) else found


def _gathered(b: Builder, u: int) -> int:
    shape = b.shape(u)
    if len(shape) == 2 and not b.free(u) and b.maybe(0.3):
        count = b.extent()
        places = [[int(q) for q in b.rng.integers(0, e, count)] for e in shape]
        return b.emit("pairs", u, places=places)
    axis = b.axis(u)
    return b.emit("pick", u, axis=axis, places=[int(q) for q in b.rng.integers(0, shape[axis], b.extent())])


def _by_labels(b: Builder, u: int) -> int:
    if b.free(u)[:1] == [0] and len(b.names) == 2 and b.maybe(0.5):
        return b.labels(u, 0, [b.choose([*b.names, b.extent()])])  # rows of one kind that lie beside those of another
    axis = b.axis(u)
    return b.labels(u, axis, [b.lead() if not b.free(u) and axis == 0 else b.extent()])


def _shifted(b: Builder, u: int) -> int:
    """u[1:] beside u[:-1], or beside what lies two places before."""
    axis, step = b.axis(u, 3), b.choose((1, 1, 2))
    first = b.emit("part", u, axis=axis, part=[step, None, None])
    return b.binary(b.choose(("sub", "mul", "add")), first,
                    b.emit("part", u, axis=axis, part=[None, -step, None]))  # fmt: skip


def _rolled(b: Builder, u: int) -> int:
    found = roll(b, u, b.axis(u))
    return b.binary(b.choose(("sub", "mul", "add")), found, u) if b.maybe(0.5) else found


def _spread(b: Builder, u: int) -> int:
    """Read for every element of another axis."""
    shape = b.shape(u)
    if len(shape) > 2:
        raise Unfit("too many axes")
    if b.maybe(0.5) or b.free(u):
        found = b.emit("expand", u, axis=len(shape))
        return b.binary(b.choose(("add", "mul")), found, b.leaf([b.other(u) or b.extent()]))
    lead = b.extent() if b.maybe(0.3) else b.lead()
    return b.binary(b.choose(("add", "mul")), u, b.leaf([lead] + [1] * len(shape)))


def _masked(b: Builder, u: int) -> int:
    if b.maybe(0.4):
        last(b, u)
        return b.emit("indexed", u, kind=b.choose(("triangle", "later")), name=b.name())
    axis = b.axis(u)
    pattern = [int(q) for q in b.rng.integers(0, 2, b.shape(u)[axis])]
    return b.emit("masked", u, axis=axis, pattern=pattern, other=b.choose((0.0, 0.5)))


def _padded(b: Builder, u: int) -> int:
    axis = b.axis(u, 1)
    shape = list(b.shape(u))
    shape[axis] = b.choose((1, 1, 2))
    parts = [u, b.leaf(shape, None if b.free(u) else "constant")]
    return b.emit("concatenate", *(parts if b.maybe(0.5) else parts[::-1]), axis=axis)


def _stacked(b: Builder, u: int) -> int:
    rank = len(b.shape(u))
    if rank > 2:
        raise Unfit("too many axes")
    place = int(b.rng.integers(1 if b.free(u) else 0, rank + 1))
    return b.emit("stack", u, b.scalar(u, *SMOOTH) if b.maybe(0.7) else u, axis=place)


def _reshaped(b: Builder, u: int) -> int:
    shape = b.shape(u)
    lead = [shape[0]] if b.free(u)[:1] == [0] else []
    count = int(np.prod([e for e in shape if isinstance(e, int)]))
    first = b.choose([d for d in range(1, count + 1) if count % d == 0])
    wanted = b.choose(([*lead, first, count // first], [*lead, count]))
    if tuple(wanted) == tuple(shape) or any(t > 0 for t in b.free(u)):
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


def _noisy(b: Builder, u: int) -> int:
    """With random numbers of its shape, whose rows are first."""
    b.keys += 1
    return b.emit("noisy", u, kind=b.choose(list(NOISES)), key=b.keys)


READS: dict[str, Callable[[Builder, int], int]] = {
    "straight": lambda b, u: u, "transposed": _transposed, "sliced": _sliced, "backwards": _backwards, "fixed": _fixed,
    "gathered": _gathered, "labels": _by_labels, "shifted": _shifted, "rolled": _rolled, "spread": _spread,
    "masked": _masked, "padded": _padded, "stacked": _stacked, "reshaped": _reshaped, "several": _several,
    "doubled": _doubled, "noisy": _noisy,
}  # fmt: skip

# ---------------------------------------------------------------- what reads it


def _joined(b: Builder, v: int) -> int:
    """Neighbours that become one loop: functions that share what they compute."""
    one = b.scalar(v, "tanh", "sigmoid", "exp")
    two = b.binary("mul", one, b.scalar(v, *SMOOTH))
    return b.binary("add", two, b.binary("mul", one, v))


def _flattened(b: Builder, v: int) -> int:
    shape = b.shape(v)
    if not shape or b.free(v) not in ([], [0]):
        raise Unfit("nothing to flatten")
    lead = [shape[0]] if b.free(v) else []
    flat = b.emit("reshape", v, shape=[*lead, int(np.prod([e for e in shape if isinstance(e, int)]))])
    return b.binary("mul", flat, b.scalar(flat, *SMOOTH))


def _left_factor(b: Builder, v: int) -> int:
    return b.emit("matmul", v, b.leaf([b.shape(v)[-1], b.extent()]))


def _right_factor(b: Builder, v: int) -> int:
    shape = b.shape(v)
    inner = shape[-2] if len(shape) > 1 else shape[0]
    outer = b.extent() if b.free(v) else b.lead()
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
    lead = shape[0] if len(shape) > 1 else b.lead()
    return b.binary("add", b.emit("matmul", b.leaf([lead, k]), b.leaf([k, shape[-1]])), v)


def _update(b: Builder, v: int) -> int:
    """w*v, so that v is the gradient of w."""
    return b.binary("mul", v, b.leaf(b.shape(v)))


def _outer(b: Builder, v: int) -> int:
    shape = b.shape(v)
    if len(shape) > 2 or b.free(v) not in ([], [0]):
        raise Unfit("too many axes")
    rank, other = len(shape), b.other(v)
    beside = v if other is None or rank > 1 else b.leaf([other])
    return b.binary(b.choose(("mul", "sub", "add")), b.emit("expand", v, axis=rank),
                    b.emit("expand", beside, axis=rank - 1))  # fmt: skip


READERS: dict[str, Callable[[Builder, int], int]] = {
    "elementwise": elementwise, "joined": _joined, "flattened": _flattened, "left factor": _left_factor,
    "softmax": lambda b, v: b.emit("softmax", v, axis=b.axis(v, 1, free=True)), "right factor": _right_factor,
    "dot": _dot, "bias": _bias, "update": _update, "outer": _outer,
} | {name: reduction(name) for name in REDUCERS}  # fmt: skip

# ---------------------------------------------------------------- graphs

OTHERS = (1, 2, 4, 7)  # rows of "m"


def draw(row: Row, seed: int) -> Description | None:
    """A graph with the strands of a row; None when nothing that was drawn fitted together."""
    rng = np.random.default_rng(seed)
    rows = 0 if row["rows"] == "none" else int(row["rows"])
    sizes = {"rows": rows} | ({"others": OTHERS[seed % len(OTHERS)]} if row["mode"] == "two extents" else {})
    for tries in range(12):
        b = Builder(rng, seed, sizes, second=row["order"] != "first")
        try:
            terms = _strands(b, row)
        except Unfit:
            continue
        if tries < 6 and not b.extents_in_use():
            continue
        found = {name: row[name] for name in OF_GRAPH} | {"threads": int(row["threads"]), "seed": seed} | sizes
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
        if b.names and b.maybe(0.8):
            shape[0] = b.lead()
        h = b.leaf(shape)
        if b.free(h):
            h = b.binary(b.choose(("add", "mul")), h, b.leaf([e if isinstance(e, int) else 1 for e in shape]))
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
