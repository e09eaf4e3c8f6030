"""Numbers of rows: of the one free extent that a program has, or of each of several.

A free extent on an axis behind the first, as the steps of sequences ("n", "t", 3), is of the second kind, and inner: no
batch divides it, a step takes all of it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from graphc.errors import DataError
from graphc.ir.affine import Extent
from graphc.ir.node import Leaf

Lengths = int | tuple[tuple[str, int], ...]
"""Rows of the one free extent, or of each of several by its name."""


def length(lengths: Lengths, extent: Extent) -> int:
    """What an extent of an array is."""
    if isinstance(extent, int):
        return extent
    return lengths if isinstance(lengths, int) else dict(lengths)[extent]


def shape_of(extents: Sequence[Extent], lengths: Lengths) -> tuple[int, ...]:
    """The shape of an array."""
    return tuple(length(lengths, e) for e in extents)


def has_rows(leaf: Leaf) -> bool:
    """Whether a leaf begins with a free extent."""
    return bool(leaf.shape) and isinstance(leaf.shape[0], str)


def by_extent(arrays: Mapping[Leaf, Any]) -> dict[str, int]:
    """The rows of arrays by free extent, in the order of the arrays, then how long the inner ones are."""
    found = rows_by_extent(arrays)
    inner = inner_extents(arrays)
    if inner:
        pairs = [pair for leaf, array in arrays.items() for pair in zip(leaf.shape, array.shape, strict=True)]
        found |= {str(e): n for e, n in pairs if e in inner}
    return found


def rows_by_extent(arrays: Mapping[Leaf, Any]) -> dict[str, int]:
    """The rows of arrays by free extent, of those that batches divide."""
    inner = inner_extents(arrays)
    return {str(leaf.shape[0]): len(a) for leaf, a in arrays.items() if has_rows(leaf) and leaf.shape[0] not in inner}


def lengths_of(arrays: Mapping[Leaf, Any]) -> Lengths:
    """The rows of arrays; 1 where none has a free extent."""
    found = by_extent(arrays)
    return next(iter(found.values()), 1) if len(found) < 2 else tuple(found.items())


def most(lengths: Lengths) -> int:
    """The rows of the longest extent."""
    return lengths if isinstance(lengths, int) else max(n for _, n in lengths)


def each(lengths: Lengths, change: Any) -> Lengths:
    """``change`` of every number."""
    return change(lengths) if isinstance(lengths, int) else tuple((e, change(n)) for e, n in lengths)


def row_extents(inputs: Iterable[Leaf]) -> tuple[str, ...]:
    """The free extents of inputs: those that they begin with, in their order, then the inner ones.

    Raises
    ------
    DataError
        When an input has a free extent behind a first axis of known extent.
    """
    leaves = list(inputs)
    for leaf in leaves:
        free = [e for e in leaf.shape[1:] if isinstance(e, str)]
        if free and not has_rows(leaf):
            raise DataError(
                f"{leaf.name} has the free extent {free[0]!r} behind a first axis of {leaf.shape[0]}\n"
                f"  hint: give that axis a number, or move it to the front"
            )
    inner = inner_extents(leaves)
    first = dict.fromkeys(str(leaf.shape[0]) for leaf in leaves if has_rows(leaf))
    return (*(e for e in first if e not in inner), *inner)


def inner_extents(inputs: Iterable[Leaf]) -> tuple[str, ...]:
    """The free extents that stand behind the first axis of some input: a step takes all of them."""
    return tuple(dict.fromkeys(e for leaf in inputs for e in leaf.shape[1:] if isinstance(e, str)))
