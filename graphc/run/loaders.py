"""Iterators of batches, PyTorch's DataLoader among them: read once to their end, as arrays of all rows.

A run takes its batches itself, in an order of its own, in one native call; what an iterator gives is its data, not its
steps.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from graphc.errors import DataError

ARRAYS = "shape", "__array__", "__array_interface__", "__dlpack__", "__arrow_c_stream__"
HINT = "let every batch be a tuple of arrays in the order of declaration, or a dict by name"


def gives_batches(value: Any) -> bool:
    """Whether a value is gone through batch by batch: it is no array, no sequence, no mapping."""
    array = any(hasattr(value, n) for n in ARRAYS)
    return isinstance(value, Iterable) and not isinstance(value, Mapping | Sequence) and not array


def gathered(args: Sequence[Any], what: str, notes: list[str]) -> Sequence[Any]:
    """The arguments of a fit, where a single iterator of batches stands for the arrays of all rows.

    Raises
    ------
    DataError
        When there is no batch, or batches differ in what they hold.
    """
    if len(args) != 1 or not gives_batches(args[0]):
        return args
    batches = [_parts(batch) for batch in args[0]]
    if not batches:
        hint = "a generator can be gone through once; make a new one"
        raise DataError(f"{what}: the iterator gives no batch\n  hint: {hint}")
    names = [*batches[0]]
    differ = next((t for t, batch in enumerate(batches) if [*batch] != names), None)
    if differ is not None:
        found = f"batch {differ} holds {len(batches[differ])} arrays, batch 0 {len(names)}"
        raise DataError(f"{what}: {found}\n  hint: {HINT}")
    arrays = {name: _joined(what, [batch[name] for batch in batches]) for name in names}
    notes.append(f"data: {len(batches)} batches of {type(args[0]).__name__}, read once")
    return [arrays] if isinstance(names[0], str) else list(arrays.values())


def _parts(batch: Any) -> dict[Any, Any]:
    """The arrays of a batch by name, or by place."""
    if isinstance(batch, Mapping):
        return {str(name): value for name, value in batch.items()}
    return dict(enumerate(batch if isinstance(batch, list | tuple) else [batch]))


def _joined(what: str, parts: Sequence[Any]) -> Any:
    try:
        return np.concatenate([np.asarray(part) for part in parts])
    except (ValueError, TypeError) as error:
        raise DataError(f"{what}: the batches cannot be joined: {error}\n  hint: {HINT}") from None
