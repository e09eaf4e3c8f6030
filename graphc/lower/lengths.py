"""Numbers of rows: of the one free extent that a program has, or of each of several."""

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
    """The rows of arrays by free extent, in the order of the arrays."""
    return {str(leaf.shape[0]): len(array) for leaf, array in arrays.items() if has_rows(leaf)}


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
    """The free extents that inputs begin with, in their order.

    Raises
    ------
    DataError
        When an input has a free extent elsewhere.
    """
    leaves = list(inputs)
    for leaf in leaves:
        for extent in leaf.shape[1:]:
            if isinstance(extent, str):
                raise DataError(
                    f"{leaf.name} has the free extent {extent!r} on an axis that is not its first\n"
                    f"  hint: give that axis a number, or move it to the front"
                )
    return tuple(dict.fromkeys(str(leaf.shape[0]) for leaf in leaves if has_rows(leaf)))
