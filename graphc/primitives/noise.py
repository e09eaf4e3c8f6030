"""Random tensors of a training step: element e of tensor number ``number`` is a function of
(seed, epoch, position, number, e) alone, so any thread can make any part of it, and NumPy makes it with the same bits.

Block b of a tensor is Philox4x32-10 of the counter (b, position, epoch, number) under the keys that order the rows of
the seed; ``position`` is the first row of the batch in its epoch. A block gives four Bernoulli variables, a word each,
or two numbers in [0, 1), of 53 bits each, or from these two normal ones by Box and Muller. Logarithm, sine and cosine
are polynomials of their own (fdlibm's), in operations that IEEE 754 rounds in one way only: NumPy here and machine code
(:mod:`graphc.primitives.draws`) give the same bits, in the same formula.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from graphc.ir.drawing import KINDS, normals
from graphc.primitives.philox import philox


class NumpyArithmetic:
    """The operations of the formulas above on float64 arrays."""

    const = staticmethod(float)
    add, sub, mul, div, neg, sqrt = np.add, np.subtract, np.multiply, np.divide, np.negative, np.sqrt
    select = staticmethod(np.where)

    @staticmethod
    def split(x: NDArray) -> tuple[NDArray, NDArray]:
        """x = m*2**k with 1 <= m < 2."""
        m, k = np.frexp(x)
        return 2.0 * m, k - 1.0

    @staticmethod
    def compare(x: NDArray, relation: str, y: float) -> NDArray:
        """x > y."""
        assert relation == ">"
        return x > y

    @staticmethod
    def whole(x: NDArray) -> NDArray:
        """The whole part of a positive number."""
        return x.astype(np.int64)

    @staticmethod
    def from_whole(k: NDArray) -> NDArray:
        """A whole number as float64."""
        return k.astype(np.float64)

    @staticmethod
    def next_whole(k: NDArray) -> NDArray:
        """k + 1."""
        return k + 1

    @staticmethod
    def bit(k: NDArray, value: int) -> NDArray:
        """Whether k has this power of two."""
        return (k & value) != 0


def blocks(first: int, count: int, keys: tuple[int, int], position: int, epoch: int, number: int) -> NDArray[np.uint32]:
    """The words of ``count`` blocks from block ``first`` on, shape (count, 4)."""
    block = np.arange(first, first + count, dtype=np.uint64) & np.uint64(0xFFFFFFFF)
    rest = [np.full_like(block, word & 0xFFFFFFFF) for word in (position, epoch, number)]
    return philox(np.stack([block, *rest], axis=-1), keys)


def draw(
    kind: str, shape: tuple[int, ...], keys: tuple[int, int], position: int = 0, epoch: int = 0, number: int = 0,
    limit: int = 1 << 31, dtype: DTypeLike = np.float64,
) -> NDArray[Any]:  # fmt: skip
    """A whole random tensor of one step; Bernoulli variables are 1 where their word is below ``limit``."""
    size, each = int(np.prod(shape, dtype=np.int64)), KINDS[kind]
    words = blocks(0, -(-size // each), keys, position, epoch, number).astype(np.uint64)
    if kind == "bernoulli":
        values = (words < np.uint64(limit)).astype(np.float64)
    else:
        values = _units(words, np.dtype(dtype)) if kind == "uniform" else _normals(words)
    return values.reshape(-1)[:size].reshape(shape).astype(dtype)


def _units(words: NDArray[np.uint64], dtype: np.dtype) -> NDArray[np.float64]:
    """Two numbers in [0, 1) a block; float32 takes the first 24 bits, so that none is rounded to 1."""
    high, low = words[:, ::2], words[:, 1::2]
    if dtype == np.float32:
        return (high >> np.uint64(8)).astype(np.float64) * 2.0**-24
    return ((high >> np.uint64(5) << np.uint64(26)) + (low >> np.uint64(6))).astype(np.float64) * 2.0**-53


def _normals(words: NDArray[np.uint64]) -> NDArray[np.float64]:
    units = _units(words, np.dtype(np.float64))
    return np.stack(normals(NumpyArithmetic(), units[:, 0], units[:, 1]), axis=-1)
