"""Nests over the same rows in one loop: of more rows than a cache holds, each comes from memory once.

    mean[i] = Σ_k x[i, k]/m;   d[i, j] = x[i, j] - mean[i];   v[i] = Σ_k d[i, k]²/m;   y[i, j] = d[i, j]/√(v[i] + ε)

A run begins at a sum (maximum, ..) of long rows, or at the elementwise nest before it that it reads; what follows
belongs to it as long as it has the same rows, and reads of the run its own row alone.  Rows that a cache holds go
through one nest after the other: inside a row every sum waits for the one before, among rows they overlap.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from itertools import groupby, product

from graphc.ir.affine import Affine, Extent, index
from graphc.ir.letters import index_letters
from graphc.ir.node import Node
from graphc.lower.kernels import Kernel, Nest, results_of, sources_of
from graphc.lower.layout import Buffer, Count
from graphc.lower.phases import ROWS_AT_ONCE, rows_along
from graphc.lower.stages import reads_of

LONG_ROW = 64  # elements: what is computed once a row costs more than it saves in shorter ones
HELD = 1 << 18  # bytes of a value: a part of a level-2 cache

Rows = tuple[tuple[int, Extent, str], ...]  # index, extent and letter of every loop
Access = tuple[Buffer, Sequence[Affine]]


def run_by_rows(
    kernels: Sequence[Kernel],
    buffers: Mapping[Node, Buffer],
    same: Callable[[Buffer, Buffer], bool],
    capacity: Mapping[str, int],
    itemsize: int,
    team: bool,
) -> list[list[Nest]]:
    """Put nests over the same rows into one loop where caches do not hold all rows, or all of a block of them that a
    thread of a ``team`` computes at once; the runs of a plan that one thread computes."""
    large = lambda nest: is_large(nest, capacity, ROWS_AT_ONCE if team else sys.maxsize, itemsize)
    if team:
        divided = (k for k in kernels if k.share == "rows")
        count = 0
        for _, own in groupby(divided, lambda k: (k.phase, rows_along(k))):
            count += len(mark_runs([*own], buffers, same, large, count))
        return []
    join_phases(runs := mark_runs(kernels, buffers, same, large))
    return runs


def mark_runs(
    kernels: Sequence[Kernel],
    buffers: Mapping[Node, Buffer],
    same: Callable[[Buffer, Buffer], bool],
    large: Callable[[Nest], bool],
    before: int = 0,
) -> list[list[Nest]]:
    """Mark the nests of every run with a number of its own and the loops they share, and return the runs.

    ``same`` tells whether two buffers have one memory, ``large`` whether a value is more than a cache holds; so many
    runs were found ``before``.
    """
    found: list[list[Nest]] = []
    at = 0
    while at < len(kernels):
        run = _run(kernels[at:], buffers, same, large)
        if len(run) > 1:
            found.append(run)
            for nest in run:
                nest.run, nest.around = before + len(found), len(_around(run))
        at += max(len(run), 1)
    return found


def join_phases(runs: Sequence[Sequence[Nest]]) -> None:
    """Give the nests of every run one phase, in a plan that one thread computes: phases tell how long buffers live."""
    for run in runs:
        for nest in run:
            nest.phase = run[0].phase


def keep_one_row(
    runs: Sequence[Sequence[Nest]], kernels: Sequence[Kernel], buffers: Mapping[Node, Buffer], kept: Collection[Buffer]
) -> None:
    """Give what no other kernel reads room for one row, in a plan that one thread computes; all of ``kept`` stays.

    Runs inside of blocks, whose kernels are not among these, keep theirs.
    """
    alone = {id(kernel) for kernel in kernels}
    for run in (run for run in runs if id(run[0]) in alone):
        rows = _around(run)
        others = {id(buffers[s]) for k in kernels if k not in run for s in sources_of(k)} | {id(b) for b in kept}
        for b in (b for nest in run for b in results_of(nest)):
            leading = [i for i, _, _ in rows] == [i for i, e in enumerate(b.extents[: rows[-1][0] + 1]) if e != 1]
            if b.region == "A" and id(b) not in others and leading:
                around = rows[-1][0] + 1
                b.room = (*[1] * around, *b.extents[around:])


def rows_of(nest: Kernel) -> Rows | None:
    """The loops around a reduction of long rows, None for anything else."""
    if not isinstance(nest, Nest) or nest.how != "register":
        return None
    y = nest.equation
    bound = [y.extents[i] for i in nest.order if i >= y.n_free]
    free = len(nest.order) - len(bound)
    short = all(isinstance(e, int) for e in bound) and math.prod(map(int, bound)) < LONG_ROW
    return None if not free or short else _loops(nest, free)


def is_large(nest: Nest, capacity: Mapping[str, int], most_rows: int, itemsize: int) -> bool:
    """Whether a value with an element for every turn of a nest is more than a cache holds."""
    rows, *rest = nest.equation.extents
    if any(isinstance(e, str) and e not in capacity for e in (rows, *rest)):
        return True
    count = Count.of((rows,)).at(capacity)
    return min(count, most_rows) * Count.of(rest).at(capacity) * itemsize > HELD


def _around(run: Sequence[Nest]) -> Rows:
    return next(rows for nest in run if (rows := rows_of(nest)) is not None)


def _run(kernels: Sequence[Kernel], buffers: Mapping[Node, Buffer], same: Callable, large: Callable) -> list[Nest]:
    """The run that begins with the first of some kernels, as far as it goes."""
    for first in kernels[:2]:
        rows = rows_of(first)
        if rows is None or not isinstance(first, Nest) or not large(first):
            continue
        run: list[Nest] = []
        for kernel in kernels:
            if not (isinstance(kernel, Nest) and _fits(kernel, rows) and _continues(run, kernel, rows, buffers, same)):
                break
            run.append(kernel)
        if len(run) > 1:
            return run
    return []


def _loops(nest: Nest, count: int) -> Rows:
    y = nest.equation
    letters = index_letters(y.extents)
    return tuple((i, y.extents[i], letters[i]) for i in nest.order[:count])


def _fits(nest: Nest, rows: Rows) -> bool:
    """Whether the loops of a nest begin with those of the rows, and a sum has no other ones around it."""
    around, inside = nest.order[: len(rows)], nest.order[len(rows) :]
    if nest.how not in ("map", "register") or _loops(nest, len(rows)) != rows:
        return False
    bound = nest.equation.n_free
    return all(i < bound for i in around) and (nest.how == "map" or all(i >= bound for i in inside))


def _continues(
    run: Sequence[Nest], nest: Nest, rows: Rows, buffers: Mapping[Node, Buffer], same: Callable
) -> bool:
    """Whether a nest may follow a run: it reads what the run computes, and nothing of another row."""
    if not run:
        return True
    results = [w for a in run for w in results_of(a)]
    if nest.share != run[0].share or not any(b is w for b, _ in _reads(nest, buffers) for w in results):
        return False
    own = [i for i, _, _ in rows]
    return all(
        _at_rows(at, own) and _at_rows(other, own)
        for a in run
        for (mine, at), (theirs, other) in _conflicts(a, nest, buffers)
        if same(mine, theirs)
    )


def _conflicts(a: Nest, b: Nest, buffers: Mapping[Node, Buffer]) -> Iterator[tuple[Access, Access]]:
    """What one writes beside all that the other touches."""
    yield from product(_writes(a), (*_reads(b, buffers), *_writes(b)))
    yield from product(_reads(a, buffers), _writes(b))


def _at_rows(at: Sequence[Affine], rows: Sequence[int]) -> bool:
    return all(i < len(at) and at[i] == index(i) for i in rows)


def _reads(nest: Nest, buffers: Mapping[Node, Buffer]) -> list[Access]:
    """The buffers that a nest reads, and at which indices."""
    return [(buffers[read.node], read.at) for read in reads_of(nest.equation)]


def _writes(nest: Nest) -> list[Access]:
    straight = tuple(map(index, range(nest.equation.n_free)))
    terms = nest.terms
    return [(b, terms.at if terms is not None and b is terms.out else straight) for b in results_of(nest)]
