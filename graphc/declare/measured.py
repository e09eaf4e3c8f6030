"""Worst errors of functions that miss 4 units of the last place in float64 or 2 in float32:

of value and slope in float64, then in float32.  Printed by docs/generate.py; all: docs/functions.md.
"""

MEASURED: dict[str, tuple[float, float, float, float]] = {
    "tanh": (0.9, 118819.3, 0.6, 94708.0),
    "erf": (0.5, 4.8, 0.5, 1.8),
    "sigmoid": (1.4, 2.4, 1.5, 2.7),
    "cbrt": (0.5, 1.8, 1.1, 3.7),
    "special.erfcx": (2.8, 3.9, 3.0, 3.9),
    "special.erfc": (3.4, 2.2, 2.7, 3.0),
    "special.ndtr": (3.0, 2.5, 3.1, 2.2),
    "special.log_ndtr": (3.4, 3.8, 3.5, 3.2),
    "special.ndtri": (1.8, 17.1, 2.5, 14.1),
    "special.erfinv": (2.3, 10.1, 2.2, 8.7),
    "special.erfcinv": (2.2, 10.1, 3.1, 10.8),
    "silu": (1.9, 2.4, 1.9, 13.1),
    "gelu": (2.9, 2.8, 2.8, 3.3),
    "mish": (1.4, 8.5, 1.1, 25.5),
    "softsign": (1.3, 9.2, 1.0, 10.5),
    "tanh_shrink": (3.6, 1.7, 4.1, 1.6),
    "squareplus": (2.0, 3.6, 2.2, 2.5),
    "snake": (1.0, 2.5, 0.5, 2.5),
    "special.i0e": (1.6, 4.8, 2.0, 4.3),
    "special.i1e": (1.5, 10.9, 1.3, 7.7),
    "special.gammaln": (19.1, 6.8, 58.0, 3.4),
    "special.gamma": (26.0, 19.9, 45.3, 44.0),
    "special.digamma": (6.8, 2.4, 3.4, 1.6),
    "special.expit": (1.4, 2.4, 1.5, 2.7),
    "special.erf": (0.5, 4.8, 0.5, 1.8),
}
