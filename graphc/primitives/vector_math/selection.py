"""Functions that compare, select and round: kinks, masks and integers parts. NaN goes through unless said otherwise."""

from __future__ import annotations

import math

from llvmlite import ir

from graphc.primitives.vector_math.builder import FloatBuilder


def relu(k: FloatBuilder, x: ir.Value) -> ir.Value:
    """max(x, 0)."""
    return k.select(k.compare(x, "<=", 0.0), 0.0, x)


def leaky_relu(k: FloatBuilder, x: ir.Value, alpha: ir.Value) -> ir.Value:
    """x for x > 0, else alpha*x."""
    return k.select(k.compare(x, ">", 0.0), x, k.mul(alpha, x))


def step(k: FloatBuilder, x: ir.Value) -> ir.Value:
    """1 for x > 0, else 0."""
    return k.select(k.compare(x, ">", 0.0), 1.0, k.select(k.is_nan(x), x, 0.0))


def absolute(k: FloatBuilder, x: ir.Value) -> ir.Value:
    """|x|."""
    return k.abs(x)


def sign(k: FloatBuilder, x: ir.Value) -> ir.Value:
    """-1, 0 or 1."""
    below = k.select(k.compare(x, "<", 0.0), -1.0, k.add(x, 0.0))
    return k.select(k.compare(x, ">", 0.0), 1.0, below)


def round_(k: FloatBuilder, x: ir.Value) -> ir.Value:
    """The nearest integer, ties to even."""
    return k.intrinsic("rint", x)


def floor_(k: FloatBuilder, x: ir.Value) -> ir.Value:
    """The largest integer <= x."""
    return k.intrinsic("floor", x)


def maximum(k: FloatBuilder, a: ir.Value, b: ir.Value) -> ir.Value:
    """The larger one; NaN if one is NaN."""
    larger = k.select(k.compare(a, ">", b), a, b)
    return k.select(k.is_nan(a), a, larger)


def minimum(k: FloatBuilder, a: ir.Value, b: ir.Value) -> ir.Value:
    """The smaller one; NaN if one is NaN."""
    smaller = k.select(k.compare(a, "<", b), a, b)
    return k.select(k.is_nan(a), a, smaller)


def where(k: FloatBuilder, condition: ir.Value, a: ir.Value, b: ir.Value) -> ir.Value:
    """a where the condition is not 0 (NaN counts as not 0), else b."""
    return k.select(k.compare(condition, "!=", 0.0), a, b)


def equal(k: FloatBuilder, a: ir.Value, b: ir.Value) -> ir.Value:
    """1 where a = b, else 0."""
    return k.select(k.compare(a, "==", b), 1.0, 0.0)


def less(k: FloatBuilder, a: ir.Value, b: ir.Value) -> ir.Value:
    """1 where a < b, else 0."""
    return k.select(k.compare(a, "<", b), 1.0, 0.0)


def less_equal(k: FloatBuilder, a: ir.Value, b: ir.Value) -> ir.Value:
    """1 where a <= b, else 0."""
    return k.select(k.compare(a, "<=", b), 1.0, 0.0)


def isfinite(k: FloatBuilder, x: ir.Value) -> ir.Value:
    """1 where |x| < inf, else 0, for NaN too."""
    return k.select(k.compare(k.abs(x), "<", math.inf), 1.0, 0.0)
