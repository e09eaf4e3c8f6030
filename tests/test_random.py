"""Random numbers: published vectors, golden values, distribution tests, and the twin inside compiled code."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from graphc.native import build
from graphc.primitives import philox

# Random123, file kat_vectors: philox4x32-10 counter, key, result.
KNOWN = [
    ("00000000 00000000 00000000 00000000", "00000000 00000000", "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
    ("ffffffff ffffffff ffffffff ffffffff", "ffffffff ffffffff", "408f276d 41c83b0e a20bc7c6 6d5451fd"),
    ("243f6a88 85a308d3 13198a2e 03707344", "a4093822 299f31d0", "d16cfe09 94fdcceb 5001e420 24126ea1"),
]
GOLDEN_KEYS = (725766649, 1546601870)
GOLDEN_ORDER = [5, 2, 1, 8, 7, 6, 9, 0, 4, 3]
GOLDEN_NEXT = [1, 7, 8, 5, 9, 6, 0, 2, 3, 4]
GOLDEN_DIGITS = [1371, 686, 804, 1440, 992]


def hexadecimal(text: str) -> list[int]:
    return [int(word, 16) for word in text.split()]


@pytest.mark.parametrize("counter, key, result", KNOWN)
def test_philox_gives_the_published_vectors(counter, key, result):
    first, second = hexadecimal(key)
    assert philox.philox(hexadecimal(counter), (first, second)).tolist() == hexadecimal(result)


def test_golden_values_stay():
    assert philox.words(1, 2, "W", 3).tolist() == [1666026290, 2418352875, 1515937314]
    assert philox.uniform(0, 0, "W0", (3,)).round(8).tolist() == [0.6381404, 0.89104299, 0.33568439]
    assert philox.normal(0, 0, "W0", (3,)).round(5).tolist() == [1.10456, -0.90164, -0.8524]
    assert philox.order_keys(7) == GOLDEN_KEYS
    assert philox.permutation(10, seed=7, epoch=0).tolist() == GOLDEN_ORDER
    assert philox.permutation(10, seed=7, epoch=1).tolist() == GOLDEN_NEXT
    assert philox.permutation(1797, seed=0, epoch=3)[:5].tolist() == GOLDEN_DIGITS


def test_seed_stream_and_name_each_choose_other_numbers():
    base = philox.words(1, 2, "W", 8)
    for other in (philox.words(2, 2, "W", 8), philox.words(1, 3, "W", 8), philox.words(1, 2, "V", 8)):
        assert not np.any(base == other)
    assert not np.any(base == philox.words(1 + 2**32, 2, "W", 8))


def test_a_longer_draw_begins_with_the_shorter_one():
    assert np.array_equal(philox.words(5, 0, "x", 1000)[:7], philox.words(5, 0, "x", 7))
    assert np.array_equal(philox.normal(5, 0, "x", (10, 3)).reshape(-1)[:9], philox.normal(5, 0, "x", (9,)))


def test_uniform_and_normal_numbers_have_their_distributions():
    u = philox.uniform(3, 0, "u", (20_000,), low=-1.0, high=3.0)
    z = philox.normal(3, 0, "z", (20_000,), mean=2.0, deviation=0.5)
    assert u.min() >= -1 and u.max() < 3
    assert stats.kstest(u, stats.uniform(-1, 4).cdf).pvalue > 1e-3
    assert stats.kstest(z, stats.norm(2, 0.5).cdf).pvalue > 1e-3
    assert abs(np.corrcoef(z[::2], z[1::2])[0, 1]) < 0.03


def test_single_precision_rounds_the_double_numbers():
    single = philox.normal(0, 1, "W", (4, 5), np.float32)
    assert single.dtype == np.float32
    assert np.array_equal(single, philox.normal(0, 1, "W", (4, 5)).astype(np.float32))


@pytest.mark.parametrize("n", [1, 2, 3, 5, 16, 17, 100, 1023, 1024, 1025])
def test_every_epoch_visits_each_row_once(n):
    for epoch in range(3):
        assert np.array_equal(np.sort(philox.permutation(n, 11, epoch)), np.arange(n))


@pytest.mark.parametrize("n", [2, 3, 4, 5, 7, 8, 11, 16, 33])
def test_rows_and_places_are_independent(n):
    """Chi-square over (place, row), and over the distance of the first two rows.

    Planted fault, seen to fail: 6 rounds for small domains as well.
    """
    draws = 1500
    orders = np.array([philox.permuted(n, np.arange(n), 77, 99, epoch) for epoch in range(draws)])
    table = np.array([np.bincount(column, minlength=n) for column in orders.T])
    assert chi_square(table, draws / n, (n - 1) ** 2) > 1e-4
    if n > 2:
        steps = np.bincount((orders[:, 1] - orders[:, 0]) % n, minlength=n)[1:]
        assert chi_square(steps, draws / (n - 1), n - 2) > 1e-4


def chi_square(found: np.ndarray, expected: float, degrees: int) -> float:
    return float(stats.chi2.sf(((found - expected) ** 2).sum() / expected, degrees))


def test_all_orders_of_three_rows_are_equally_likely():
    orders = random_orders(3, 3000)
    counts = np.unique(orders @ [9, 3, 1], return_counts=True)[1]
    assert len(counts) == 6 and stats.chisquare(counts).pvalue > 1e-4


def random_orders(n: int, count: int) -> np.ndarray:
    keys = philox.order_keys(123)
    return np.array([philox.permuted(n, np.arange(n), *keys, epoch) for epoch in range(count)])


def test_large_domains_are_permuted_index_by_index():
    index = np.array([0, 1, 2**40 - 1, 12345678901])
    found = philox.permuted(2**40, index, 5, 6, 0)
    assert len(set(found.tolist())) == 4 and found.max() < 2**40 and found.min() >= 0
    assert philox.permuted(2**40, 12345678901, 5, 6, 0) == found[3]


def test_compiled_code_gives_the_same_order(tmp_path):
    source = """
from graphc.primitives.shuffle import permuted
def order(out, n, first, count, key0, key1, epoch):
    for i in range(count):
        out[i] = permuted(n, first + i, key0, key1, epoch)
    return 0
"""
    words = ("int64*", "int64", "int64", "int64", "uint32", "uint32", "int64")
    program = build.build(source, {"order": words}, name="order", folder=tmp_path)
    key0, key1 = philox.order_keys(2**63 + 5, stream=3)
    for n, first in ((1, 0), (2, 0), (3, 0), (4, 0), (16, 0), (17, 0), (1797, 0), (2**40, 2**39), (2**33 + 1, 5)):
        count = min(n - first, 2000)
        out = np.empty(count, np.int64)
        for epoch in (0, 1, 1000):
            program.call("order", out.ctypes.data, n, first, count, key0, key1, epoch)
            assert np.array_equal(out, philox.permuted(n, np.arange(first, first + count), key0, key1, epoch))
