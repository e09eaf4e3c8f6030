"""How many rows a step takes, of the one free extent of the data or of each of several."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from graphc.errors import DataError, UnknownNameError
from graphc.facade.options import Options
from graphc.ir.letters import close_name
from graphc.ir.node import Leaf
from graphc.lower.lengths import Lengths, each, has_rows, inner_extents, row_extents
from graphc.records import record
from graphc.run.data import Bound


@record(frozen=True)
class Batches:
    """The rows of an epoch and of a step, and those that a program has room for.

    With several free extents ``rows`` counts the steps of an epoch, which is one pass of the extent that takes the
    most, and ``size`` is 1; ``extents`` has the rows and the batch size of each.
    """

    rows: int
    size: int
    capacity: Lengths
    extents: tuple[tuple[int, int], ...] = ()
    last: Lengths = 1

    @property
    def per_epoch(self) -> int:
        """Steps of an epoch."""
        return -(-self.rows // self.size)


def with_batch_sizes(options: Options, inputs: Sequence[Leaf]) -> Options:
    """The options with a batch size for each extent, where there are several, by the extents' names.

    Raises
    ------
    UnknownNameError
        When a batch size is given for a name of nothing.
    DataError
        When two inputs of one extent are given different ones.
    """
    extents, given, inner = row_extents(inputs), options.batch_size, inner_extents(inputs)
    if len(extents) - len(inner) > 1 and options.sample_weight is not None:
        raise DataError(
            f"sample_weight weighs the rows of one free extent, but the data have {', '.join(map(repr, extents))}\n"
            f"  hint: declare the weights as an input, and multiply the terms of the loss by it"
        )
    if isinstance(given, Mapping):
        sizes = _by_extent(given, inputs, extents)
        return replace(options, batch_size=sizes if len(extents) > 1 else next(iter(sizes.values()), None))
    if len(extents) < 2:
        return options
    return replace(options, batch_size={e: None if e in inner else given for e in extents})


def _by_extent(given: Mapping[str, Any], inputs: Sequence[Leaf], extents: Sequence[str]) -> dict[str, int | None]:
    """The batch size of every extent: None, all rows, of those that are not named."""
    known = {str(leaf.name): str(leaf.shape[0]) for leaf in inputs if has_rows(leaf)} | {e: e for e in extents}
    found: dict[str, int | None] = {}
    for name, size in given.items():
        if name not in known:
            raise UnknownNameError(
                f"batch_size names {name!r}, which is no free extent and no input that has one\n"
                f"  hint: {close_name(str(name), known)}"
            )
        if found.setdefault(known[name], size) != size:
            raise DataError(
                f"batch_size gives {found[known[name]]} and {size} for the extent {known[name]!r}\n"
                f"  hint: give one number for each extent"
            )
    return {e: found.get(e) for e in extents}


def batches_of(options: Options, data: Bound) -> Batches:
    """What a run with these options takes of these data.

    Raises
    ------
    DataError
        When an inner extent is longer than the room it was given.
    """
    size: Any = options.batch_size
    lengths = data.lengths
    if isinstance(lengths, int):
        full = lengths if size is None else int(size)
        return Batches(lengths, full, _room(full) if size is None else full, last=lengths % full or full)
    sizes = dict.fromkeys(dict(lengths), size) if not isinstance(size, Mapping) else size
    capacity = tuple((e, _room(n) if sizes[e] is None else int(sizes[e] or 1)) for e, n in lengths)
    inner = inner_extents(data.arrays)
    for e, n in lengths:
        if e in inner and n > dict(capacity)[e]:
            raise DataError(
                f"batch_size gives {e!r} room for {dict(capacity)[e]}, but the data have {n}; "
                f"a step takes all of them\n"
                f"  hint: leave {e!r} out of batch_size, or give it the longest that there will be"
            )
    extents = tuple((n, min(n, room)) for (_, n), (_, room) in zip(lengths, capacity, strict=True))
    last = tuple((e, n % batch or batch) for (e, _), (n, batch) in zip(lengths, extents, strict=True))
    return Batches(max(-(-n // batch) for n, batch in extents), 1, capacity, extents, last)


def _room(rows: int) -> int:
    """The rows that a program of whole batches has room for: a power of two, so that few are compiled."""
    return 1 << (rows - 1).bit_length()


def whole(lengths: Lengths, fewest: int) -> Lengths:
    """Room for all rows at once, and at least so many."""
    return each(lengths, lambda n: max(fewest, _room(n)))
