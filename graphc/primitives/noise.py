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

from graphc.primitives.philox import philox

LN2_HIGH, LN2_LOW = 6.93147180369123816490e-01, 1.90821492927058770002e-10
LOGARITHM = (
    6.666666666666735130e-01, 3.999999999940941908e-01, 2.857142874366239149e-01, 2.222219843214978396e-01,
    1.818357216161805012e-01, 1.531383769920937332e-01, 1.479819860511658591e-01,
)  # fmt: skip
SINE = (
    -1.66666666666666324348e-01, 8.33333333332248946124e-03, -1.98412698298579493134e-04, 2.75573137070700676789e-06,
    -2.50507602534068634195e-08, 1.58969099521155010221e-10,
)  # fmt: skip
COSINE = (
    4.16666666666666019037e-02, -1.38888888888741095749e-03, 2.48015872894767294178e-05, -2.75573143513906633035e-07,
    2.08757232129817482790e-09, -1.13596475577881948265e-11,
)  # fmt: skip
HALF_PI, ROOT_2 = float(np.pi / 2), float(np.sqrt(2.0))
KINDS = {"bernoulli": 4, "uniform": 2, "normal": 2}
"""What can be drawn, with the elements that a block gives."""


def polynomial(a: Any, x: Any, coefficients: tuple[float, ...]) -> Any:
    """c0 + x*(c1 + x*(c2 + ..)), every operation rounded."""
    total = a.const(coefficients[-1])
    for c in reversed(coefficients[:-1]):
        total = a.add(a.mul(total, x), c)
    return total


def logarithm(a: Any, x: Any) -> Any:
    """log x for 0 < x <= 1, as in fdlibm's e_log.c: x = 2**k (1 + f), s = f/(2 + f)."""
    m, k = a.split(x)
    large = a.compare(m, ">", ROOT_2)
    m, k = a.select(large, a.mul(m, 0.5), m), a.select(large, a.add(k, 1.0), k)
    f = a.sub(m, 1.0)
    s = a.div(f, a.add(f, 2.0))
    z, half = a.mul(s, s), a.mul(a.mul(f, f), 0.5)
    rest = a.mul(s, a.add(half, a.mul(z, polynomial(a, z, LOGARITHM))))
    return a.sub(a.mul(k, LN2_HIGH), a.sub(a.sub(half, a.add(rest, a.mul(k, LN2_LOW))), f))


def circle(a: Any, v: Any) -> tuple[Any, Any]:
    """cos 2πv and sin 2πv for 0 <= v < 1: the nearest quarter, and fdlibm's polynomials for the rest."""
    quarters = a.mul(v, 4.0)
    k = a.whole(a.add(quarters, 0.5))
    t = a.mul(a.sub(quarters, a.from_whole(k)), HALF_PI)
    z = a.mul(t, t)
    s = a.add(t, a.mul(a.mul(t, z), polynomial(a, z, SINE)))
    c = a.sub(1.0, a.sub(a.mul(z, 0.5), a.mul(a.mul(z, z), polynomial(a, z, COSINE))))
    cosine, sine = a.select(a.bit(k, 1), s, c), a.select(a.bit(k, 1), c, s)
    return a.select(a.bit(a.next_whole(k), 2), a.neg(cosine), cosine), a.select(a.bit(k, 2), a.neg(sine), sine)


def normals(a: Any, u: Any, v: Any) -> tuple[Any, Any]:
    """sqrt(-2 log(1 - u)) (cos 2πv, sin 2πv) of Box and Muller (1958)."""
    radius = a.sqrt(a.mul(logarithm(a, a.sub(1.0, u)), -2.0))
    cosine, sine = circle(a, v)
    return a.mul(radius, cosine), a.mul(radius, sine)


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
