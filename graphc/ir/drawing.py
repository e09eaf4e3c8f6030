"""What random words become, in operations that every machine rounds in one way: formulas over any arithmetic.

An arithmetic ``a`` has const, add, sub, mul, div, neg, sqrt, select, compare, split, whole, from_whole, next_whole and
bit: NumPy's (:mod:`graphc.primitives.noise`), machine code's (:mod:`graphc.primitives.draws`), or text
(:mod:`graphc.emit.cuda.draws`).
"""

from __future__ import annotations

import math
from typing import Any

MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)
WEYL = (0x9E3779B9, 0xBB67AE85)
"""The constants of Philox4x32-10 (:mod:`graphc.primitives.philox`)."""
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
HALF_PI, ROOT_2 = math.pi / 2, math.sqrt(2.0)
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
