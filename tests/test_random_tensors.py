"""Random tensors: what is drawn, that machine code draws it with the same bits, and what models make of it."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.stats

from graphc.ir.drawing import KINDS, circle, logarithm, normals
from graphc.ir.node import Distribution
from graphc.native import build
from graphc.native.buffers import address, aligned
from graphc.primitives import noise, philox

KEYS = philox.order_keys(5)
LIMIT = Distribution("bernoulli", 0.3).limit


def entry(dtype: str, kind: str) -> str:
    place = "C[0], C[1], C[2], C[3], C[4], C[5], C[6], C[7]"
    return f"def {kind}_{dtype}(A, C):\n    random_{kind}(A, 1, {place})\n    return 0\n"


PAIRS = [(dtype, kind) for dtype in ("float32", "float64") for kind in KINDS]
DRAWING = "from graphc.primitives.names import random_bernoulli, random_normal, random_uniform\n\n\n"
DRAWING += "\n\n".join(entry(*pair) for pair in PAIRS)


@pytest.fixture(scope="module")
def drawing() -> build.Program:
    signatures = {f"{kind}_{dtype}": (f"{dtype}*", "int64*") for dtype, kind in PAIRS}
    return build.build(DRAWING, signatures, name="drawing")


@pytest.mark.parametrize(("dtype", "kind"), PAIRS)
def test_machine_code_draws_any_part_of_a_tensor_with_the_bits_of_numpy(drawing, dtype, kind):
    """Mutation-checked: with `contract` allowed on the additions of the formula, and with the last block left out."""
    for first, n in ((0, 1), (3, 1), (3, 2), (5, 17), (1, 1000), (7, 0)):
        found = aligned(n + 2, dtype)
        found[:] = -7
        place = np.array([first, n, LIMIT, *KEYS, 11, 3, 2], np.int64)
        drawing.call(f"{kind}_{dtype}", address(found), address(place))
        wanted = noise.draw(kind, (first + n,), KEYS, 11, 3, 2, LIMIT, dtype)[first:]
        assert np.array_equal(found[1:-1], wanted) and found[0] == found[-1] == -7


def test_the_numbers_have_their_distributions_and_depend_on_seed_epoch_position_and_number():
    normal = noise.draw("normal", (200_000,), KEYS)
    assert scipy.stats.kstest(normal, "norm").pvalue > 0.01
    assert scipy.stats.kstest(noise.draw("uniform", (200_000,), KEYS), "uniform").pvalue > 0.01
    single = noise.draw("uniform", (200_000,), KEYS, dtype=np.float32)
    assert scipy.stats.kstest(single, "uniform").pvalue > 0.01 and single.max() < 1
    assert abs(noise.draw("bernoulli", (200_000,), KEYS, limit=LIMIT).mean() - 0.3) < 0.004
    others = [noise.draw("normal", (200_000,), *where) for where in
              ((philox.order_keys(6),), (KEYS, 1), (KEYS, 0, 1), (KEYS, 0, 0, 1))]  # fmt: skip
    assert np.abs(np.corrcoef([normal, *others]) - np.eye(5)).max() < 0.01


def test_logarithm_and_circle_are_those_of_numpy_to_rounding():
    u, v = np.random.default_rng(0).random((2, 100_000))
    cosine, sine = circle(noise.NumpyArithmetic(), v)
    eps = np.finfo(float).eps
    assert np.abs(logarithm(noise.NumpyArithmetic(), 1 - u) / np.log(1 - u) - 1).max() < 2 * eps
    assert max(np.abs(cosine - np.cos(2 * np.pi * v)).max(), np.abs(sine - np.sin(2 * np.pi * v)).max()) < 4 * eps
    with np.errstate(all="ignore"):
        ends = normals(noise.NumpyArithmetic(), np.array([0.0, 1 - 2**-53]), np.array([0.0, 0.999999]))
    assert np.isfinite(ends).all()
