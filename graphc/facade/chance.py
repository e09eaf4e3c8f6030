"""What a training step draws, for the interpreter: the same bits as in compiled code."""

from __future__ import annotations

from numpy.typing import DTypeLike, NDArray

from graphc.facade.core import Core
from graphc.ir.node import Leaf
from graphc.lower.lengths import Lengths, shape_of
from graphc.primitives import noise
from graphc.run.sampler import Sampler


def drawn(model: Core, sampler: Sampler, rows: Lengths, dtype: DTypeLike) -> dict[Leaf, NDArray]:
    """The random tensors of the step of ``rows`` rows that comes next."""
    return {leaf: _drawn(leaf, number, sampler, rows, dtype) for leaf, number in model.random_numbers.items()}


def _drawn(leaf: Leaf, number: int, sampler: Sampler, rows: Lengths, dtype: DTypeLike) -> NDArray:
    kind, limit = leaf.value.kind, leaf.value.limit
    shape = shape_of(leaf.shape, rows)
    return noise.draw(kind, shape, sampler.keys, sampler.position, sampler.epoch, number, limit, dtype)
