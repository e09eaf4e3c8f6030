"""What a training step draws, for the interpreter: the same bits as in compiled code."""

from __future__ import annotations

from numpy.typing import DTypeLike, NDArray

from graphc.facade.core import Core
from graphc.ir.node import Leaf
from graphc.primitives import noise
from graphc.run.sampler import Sampler


def drawn(model: Core, sampler: Sampler, rows: int, dtype: DTypeLike) -> dict[Leaf, NDArray]:
    """The random tensors of the step of ``rows`` rows that comes next."""
    return {leaf: _drawn(leaf, number, sampler, rows, dtype) for leaf, number in model.random_numbers.items()}


def _drawn(leaf: Leaf, number: int, sampler: Sampler, rows: int, dtype: DTypeLike) -> NDArray:
    kind, limit = leaf.value.kind, leaf.value.limit
    shape = tuple(rows if isinstance(e, str) else e for e in leaf.shape)
    return noise.draw(kind, shape, sampler.keys, sampler.position, sampler.epoch, number, limit, dtype)
