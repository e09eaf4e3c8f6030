"""Random numbers that depend on (seed, stream, name) alone: the same on every machine, thread and target.

Counter-based: word number k of a stream is a function of k, so nothing is stored and any part can be made anywhere.
Bits come from Philox4x32-10 (Salmon, Moraes, Dror, Shaw: Parallel random numbers: as easy as 1, 2, 3; SC 2011). The
order of an epoch is a Feistel bijection with cycle walking (Black, Rogaway: Ciphers with arbitrary finite domains;
CT-RSA 2002), computed index by index; graphc.primitives.shuffle is its twin inside compiled code.
"""

from __future__ import annotations

import functools
import zlib
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from graphc.ir.drawing import MULTIPLIERS, WEYL

ROUNDS, SMALL_ROUNDS, SMALL_BITS = 8, 12, 4
"""Rounds of the order's network; domains of at most SMALL_BITS bits, whose halves hold a bit or two, need more."""
GOLDEN, MIX_1, MIX_2 = 0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB
_LOW, _HALF = np.uint64(0xFFFFFFFF), np.uint64(32)
_ALL = (1 << 64) - 1


def philox(counter: ArrayLike, key: tuple[int, int]) -> NDArray[np.uint32]:
    """Philox4x32-10 of counters (..., 4) under a key of two 32-bit words: random words (..., 4)."""
    c0, c1, c2, c3 = np.moveaxis(np.asarray(counter, dtype=np.uint64), -1, 0)
    first, second = (np.uint64(multiplier) for multiplier in MULTIPLIERS)
    for step in range(10):
        k0, k1 = (np.uint64((word + step * weyl) & 0xFFFFFFFF) for word, weyl in zip(key, WEYL))
        p0, p1 = first * c0, second * c2
        c0, c1, c2, c3 = (p1 >> _HALF) ^ c1 ^ k0, p1 & _LOW, (p0 >> _HALF) ^ c3 ^ k1, p0 & _LOW
    return np.stack([c0, c1, c2, c3], axis=-1).astype(np.uint32)


def words(seed: int, stream: int, name: str, count: int) -> NDArray[np.uint32]:
    """The first ``count`` 32-bit words of a stream, shape (count,).

    The key is the 64-bit seed; the counter is (block, block >> 32, stream, CRC-32 of the name).
    """
    block = np.arange(-(-count // 4), dtype=np.uint64)
    place = np.full_like(block, stream & 0xFFFFFFFF)
    label = np.full_like(block, zlib.crc32(name.encode()))
    counter = np.stack([block & _LOW, block >> _HALF, place, label], axis=-1)
    return philox(counter, (seed & 0xFFFFFFFF, seed >> 32 & 0xFFFFFFFF)).reshape(-1)[:count]


def _units(seed: int, stream: int, name: str, count: int) -> NDArray[np.float64]:
    """``count`` numbers in [0, 1) with 53 random bits, from two words each."""
    high, low = words(seed, stream, name, 2 * count).reshape(count, 2).astype(np.uint64).T
    whole = (high >> np.uint64(5)) * np.uint64(1 << 26) + (low >> np.uint64(6))
    return whole.astype(np.float64) * 2.0**-53


def uniform(
    seed: int, stream: int, name: str, shape: tuple[int, ...], dtype: DTypeLike = np.float64,
    low: float = 0.0, high: float = 1.0,
) -> NDArray[Any]:  # fmt: skip
    """Uniform numbers in [low, high), rounded to ``dtype`` (so that float32 may reach ``high``)."""
    units = _units(seed, stream, name, int(np.prod(shape, dtype=np.int64)))
    return (low + (high - low) * units).reshape(shape).astype(dtype)


def normal(
    seed: int, stream: int, name: str, shape: tuple[int, ...], dtype: DTypeLike = np.float64,
    mean: float = 0.0, deviation: float = 1.0,
) -> NDArray[Any]:  # fmt: skip
    """Normal numbers by Box-Muller: (u, v) -> sqrt(-2 log(1 - u)) (cos 2 pi v, sin 2 pi v), rounded to ``dtype``."""
    count = int(np.prod(shape, dtype=np.int64))
    u, v = _units(seed, stream, name, count + count % 2).reshape(-1, 2).T
    radius, angle = np.sqrt(-2.0 * np.log1p(-u)), 2.0 * np.pi * v
    pairs = np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=-1)
    return (mean + deviation * pairs.reshape(-1)[:count]).reshape(shape).astype(dtype)


def truncated(seed: int, stream: int, name: str, shape: tuple[int, ...]) -> NDArray[np.float64]:
    """Standard normal numbers in [-2, 2]: those outside are drawn again."""
    values, again = normal(seed, stream, name, shape), 0
    while np.any(outside := np.abs(values) > 2):
        again += 1
        values[outside] = normal(seed, stream, f"{name}, {again}", (int(np.sum(outside)),))
    return values


@functools.cache
def order_keys(seed: int, stream: int = 0) -> tuple[int, int]:
    """The two 32-bit keys under which a training run orders its data."""
    key0, key1 = words(seed, stream, "order", 2)
    return int(key0), int(key1)


def permuted(n: int, index: ArrayLike, key0: int, key1: int, epoch: int) -> NDArray[np.int64]:
    """Where the bijection of {0, ..., n - 1} chosen by (key0, key1, epoch) sends each index.

    The index is cut into two halves of as many bits as n - 1 needs together; each round mixes a keyed function of one
    half into the other. A result of n or more is sent through again: the rounds are a bijection, so this ends below n.
    """
    start = np.asarray(index, dtype=np.uint64)
    keys = round_keys(key0, key1, epoch)[0].tolist()
    result = _network(start.reshape(-1), n, keys)
    while np.any(outside := result >= n):
        result = np.where(outside, _network(result, n, keys), result)
    return result.astype(np.int64).reshape(start.shape)


def _finalised(z: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """The finaliser of SplitMix64 (Steele, Lea, Flood: Fast splittable pseudorandom number generators; OOPSLA 2014)."""
    z = (z ^ z >> np.uint64(30)) * np.uint64(MIX_1)
    z = (z ^ z >> np.uint64(27)) * np.uint64(MIX_2)
    return z ^ z >> np.uint64(31)


def round_keys(key0: int, key1: int, epochs: ArrayLike) -> NDArray[np.uint64]:
    """One 64-bit key a round for each epoch, shape (epochs, SMALL_ROUNDS)."""
    return round_keys_of(np.uint64(key1 << 32 | key0), np.atleast_1d(np.asarray(epochs, dtype=np.uint64)))


def round_keys_of(keys: NDArray[np.uint64] | np.uint64, epochs: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """The same for many pairs of keys, key1*2**32 + key0, broadcast against the epochs; rounds are the last axis."""
    state = _finalised(keys + (epochs + np.uint64(1)) * np.uint64(GOLDEN))
    steps = np.arange(1, SMALL_ROUNDS + 1, dtype=np.uint64) * np.uint64(GOLDEN)
    return _finalised(state[..., None] + steps)


def _network(x: NDArray[np.uint64], n: int, keys: list[int]) -> NDArray[np.uint64]:
    """The Feistel network on the least power of two that is not below n, and at least 4: no half is empty."""
    bits = max((n - 1).bit_length(), 2)
    low_bits, high_bits = bits // 2, bits - bits // 2
    shift = np.uint64(low_bits)
    high, low = x >> shift, x & np.uint64((1 << low_bits) - 1)
    rounds = SMALL_ROUNDS if bits <= SMALL_BITS else ROUNDS
    for r in range(0, rounds, 2):
        high = high ^ _hashed(low, keys[r], high_bits)
        low = low ^ _hashed(high, keys[r + 1], low_bits)
    return high << shift | low


def _hashed(x: NDArray[np.uint64], key: int, bits: int) -> NDArray[np.uint64]:
    """The top ``bits`` bits of key + x*m, where the odd m is the key with its halves swapped."""
    odd = (key << 32 & _ALL | key >> 32) | 1
    return np.uint64(key) + x * np.uint64(odd) >> np.uint64(64 - bits)


def permutation(n: int, seed: int, epoch: int, stream: int = 0) -> NDArray[np.int64]:
    """The order in which epoch ``epoch`` visits n rows, shape (n,)."""
    key0, key1 = order_keys(seed, stream)
    return permuted(n, np.arange(n), key0, key1, epoch)
