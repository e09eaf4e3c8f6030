"""What NumPy references share.

A reference follows the dtype of its argument (float32 stays float32) and accepts complex arguments whose imaginary part
is an infinitesimal: every decision looks at the real part only, so a complex step differentiates through all of them.
"""

from __future__ import annotations

from typing import Any

import numpy as np

Array = Any


def positive(x: Array) -> Array:
    """x > 0."""
    return np.real(x) > 0


def flag(condition: Array, like: Array) -> Array:
    """0/1 in the real or complex dtype of `like`; bool and integers give float64."""
    dtype = np.result_type(like)
    return np.asarray(condition).astype(dtype if dtype.kind in "fc" else np.float64)[()]


def magnitude(x: Array) -> Array:
    """|x|."""
    return np.where(np.real(x) < 0, -x, x)[()]


def decay(x: Array) -> Array:
    """exp(-|x|): never overflows."""
    return np.exp(-magnitude(x))


def part(x: Array) -> Array:
    """max(x, 0); a NaN stays a NaN."""
    return np.where(np.real(x) <= 0, np.zeros_like(x), x)[()]


def logistic(x: Array) -> Array:
    """1/(1 + exp(-x)), accurate relative to its own size in both tails."""
    e = decay(x)
    one = np.ones_like(e)
    return np.where(positive(x), one, e)[()] / (one + e)
