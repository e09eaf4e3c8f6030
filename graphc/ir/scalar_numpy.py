"""Numerically stable NumPy references of the scalar functions.

Each follows the dtype of its argument (float32 stays float32) and accepts complex arguments whose imaginary part is an
infinitesimal: every decision looks at the real part only, so a complex step differentiates through all of them.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

Array = Any
_erf = np.frompyfunc(math.erf, 1, 1)  # scipy.special has it too, but takes 0.15 s to import


def _positive(x: Array) -> Array:
    return np.real(x) > 0


def _flag(condition: Array, like: Array) -> Array:
    """0/1 in the real or complex dtype of `like`; bool and integers give float64."""
    dtype = np.result_type(like)
    return np.asarray(condition).astype(dtype if dtype.kind in "fc" else np.float64)[()]


def absolute(x: Array) -> Array:
    """|x|."""
    return np.where(np.real(x) < 0, -x, x)[()]


def _decay(x: Array) -> Array:
    """exp(-|x|): never overflows."""
    return np.exp(-absolute(x))


def sigmoid(x: Array) -> Array:
    """1/(1 + exp(-x)), accurate relative to its own size in both tails."""
    e = _decay(x)
    one = np.ones_like(e)
    return np.where(_positive(x), one, e)[()] / (one + e)


def softplus(x: Array) -> Array:
    """log(1 + exp(x)) = max(x, 0) + log1p(exp(-|x|))."""
    return relu(x) + np.log1p(_decay(x))


def relu(x: Array) -> Array:
    """max(x, 0); a NaN stays a NaN."""
    return np.where(np.real(x) <= 0, np.zeros_like(x), x)[()]


def leaky_relu(x: Array, alpha: Array) -> Array:
    """x for x > 0, else alpha*x."""
    return np.where(_positive(x), x, alpha * x)[()]


def elu(x: Array, alpha: Array) -> Array:
    """x for x > 0, else alpha*(exp(x) - 1)."""
    return np.where(_positive(x), x, alpha * np.expm1(np.where(_positive(x), -x, x)))[()]


def step(x: Array) -> Array:
    """1 for x > 0, else 0."""
    return _flag(_positive(x), x)


def sign(x: Array) -> Array:
    """-1, 0 or 1; a NaN stays a NaN."""
    return np.where(np.isnan(x), x, np.sign(np.real(x)))[()]


def round_(x: Array) -> Array:
    """The nearest integer, halves to the even one."""
    return np.rint(np.real(x))


def floor_(x: Array) -> Array:
    """The largest integer not above x."""
    return np.floor(np.real(x))


def maximum(a: Array, b: Array) -> Array:
    """The larger of a and b; a NaN of either is kept."""
    return np.where((np.real(a) >= np.real(b)) | np.isnan(a), a, b)[()]


def minimum(a: Array, b: Array) -> Array:
    """The smaller of a and b; a NaN of either is kept."""
    return np.where((np.real(a) <= np.real(b)) | np.isnan(a), a, b)[()]


def where(c: Array, a: Array, b: Array) -> Array:
    """a where c is not 0, else b; nothing of the branch not taken gets through."""
    return np.where(np.real(c) != 0, a, b)[()]


def equal(a: Array, b: Array) -> Array:
    """1 where a = b, else 0."""
    return _flag(np.real(a) == np.real(b), a)


def less(a: Array, b: Array) -> Array:
    """1 where a < b, else 0."""
    return _flag(np.real(a) < np.real(b), a)


def less_equal(a: Array, b: Array) -> Array:
    """1 where a <= b, else 0."""
    return _flag(np.real(a) <= np.real(b), a)


def logcosh(x: Array) -> Array:
    """log(cosh(x)): log1p(2*sinh(x/2)**2) near 0, |x| + log1p(exp(-2|x|)) - log(2) elsewhere."""
    y = absolute(x)
    inner = np.sinh(np.where(np.real(y) < 1, y, np.zeros_like(y)) / 2)
    far = y + np.log1p(np.exp(-2 * y)) - np.log(np.ones_like(y) * 2)
    return np.where(np.real(y) < 1, np.log1p(2 * inner * inner), far)[()]


def xlogx(x: Array) -> Array:
    """x*log(x), and its limit 0 at x = 0."""
    safe = np.where(np.real(x) == 0, np.ones_like(x), x)
    return (x * np.log(safe))[()]


def bce(z: Array, t: Array) -> Array:
    """softplus(z) - t*z without cancellation: ((1 - t)*z for z > 0, else -t*z) + log1p(exp(-|z|))."""
    return np.where(_positive(z), (1 - t) * z, -t * z)[()] + np.log1p(_decay(z))


def sigmoid_minus(z: Array, t: Array) -> Array:
    """sigmoid(z) - t, accurate relative to its own size for t = 0 and t = 1."""
    return np.where(_positive(z), (1 - t) - sigmoid(-z), sigmoid(z) - t)[()]


def erf(x: Array) -> Array:
    """The error function."""
    dtype = np.result_type(x)
    dtype = dtype if dtype.kind in "fc" else np.dtype(np.float64)
    value = np.asarray(_erf(np.real(x)), dtype=dtype)[()]
    if dtype.kind != "c":
        return value
    return value + 2 / math.sqrt(math.pi) * np.exp(-(np.real(x) ** 2)) * (x - np.real(x))
