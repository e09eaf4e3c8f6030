"""The normal distribution and the error functions beside it, of one exponential.

exp(-x^2/c) takes the square in two numbers: its rounding would cost x^2 units of the last place. The rest is as in
:mod:`graphc.ir.functions.normal`: erfcx(a) = exp(a^2) erfc(a) is 1/(1 + 2a) times a polynomial of q = (a - 4)/(a + 4)
for a >= 0. In float32 that has the terms of its Chebyshev series that count there.
"""

from __future__ import annotations

import math

from llvmlite import ir

from graphc.ir.functions.normal import ERFCX
from graphc.primitives.vector_math.builder import FloatBuilder
from graphc.primitives.vector_math.exponential import exp_of_sum

_ERFCX_SINGLE = (
    1.2329951524734497, -0.13962110877037048, 0.015379768796265125, 0.06809694319963455, -0.10104094445705414,
    0.09373407065868378, -0.066319040954113, 0.037161484360694885, -0.016230391338467598, 0.005047229118645191,
    -0.000709132815245539, -0.00022040450130589306, 0.0001142081746365875, -8.62530305312248e-06,
)  # fmt: skip
_FAR = 1e6  # erfcx of more is that of 1e6 within what exp(-a^2) leaves of it: 0


def gaussian(k: FloatBuilder, x: ir.Value, c: ir.Value) -> ir.Value:
    """exp(-x^2/c), c a power of two or its negative: its quotients are exact."""
    a = k.at_most(k.abs(x), k.pick(1.8e19, 1.3e154))
    square = k.mul(a, a)
    left = k.fma(a, a, k.neg(square))
    high, low = k.div(k.neg(square), c), k.div(k.neg(left), c)
    counts = k.compare(k.abs(high), "<", k.pick(128.0, 1024.0))
    return exp_of_sum(k, high, k.select(counts, low, 0.0))


def _scaled(k: FloatBuilder, a: ir.Value) -> ir.Value:
    """erfcx(a) of 0 <= a <= 1e6; q as 2a/(a + 4) - 1, which is right to half a unit where a is small and P is steep."""
    q = k.sub(k.div(k.add(a, a), k.add(a, 4.0)), 1.0)
    return k.div(k.poly(q, k.pick(_ERFCX_SINGLE, ERFCX), horner=True), k.fma(2.0, a, 1.0))


def erfc(k: FloatBuilder, x: ir.Value) -> ir.Value:
    """exp(-x^2) erfcx(x) for x >= 0, 2 less that of -x below."""
    right = k.mul(gaussian(k, x, k.const(1.0)), _scaled(k, k.at_most(k.abs(x), _FAR)))
    return k.select(k.compare(x, "<", 0.0), k.sub(2.0, right), right)


def ndtr(k: FloatBuilder, x: ir.Value) -> ir.Value:
    """erfc(-x/sqrt(2))/2. Where exp(-x^2/2) is needed beside it, as in the slope of gelu, LLVM finds it here."""
    a = k.mul(k.at_most(k.abs(x), _FAR), math.sqrt(0.5))
    left = k.mul(k.mul(gaussian(k, x, k.const(2.0)), 0.5), _scaled(k, a))
    return k.select(k.compare(x, "<", 0.0), left, k.sub(1.0, left))
