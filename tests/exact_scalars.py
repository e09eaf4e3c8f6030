"""Scalar functions in mpmath, by the names of the table, and expressions of them."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import mpmath as mp
import numpy as np
import sympy as sp

from graphc.ir.scalar import guarded, scalar_of


def logistic(x: mp.mpf) -> mp.mpf:
    return 1 / (1 + mp.exp(-x))


def scaled_erfc(x: mp.mpf) -> mp.mpf:
    """exp(x^2) erfc(x), by its asymptotic series far out."""
    if x < 50:
        return mp.exp(x * x) * mp.erfc(x)
    terms = [(-1) ** k * mp.fac2(2 * k - 1) / (2 * x * x) ** k for k in range(30)]
    return mp.fsum(terms) / (x * mp.sqrt(mp.pi))


def log_ndtr(x: mp.mpf) -> mp.mpf:
    tail = mp.erfc(abs(x) / mp.sqrt(2)) / 2
    return mp.log(tail) if x < 0 else mp.log1p(-tail)


def erfcinv(p: mp.mpf) -> mp.mpf:
    """By Newton's method on log(erfc(x)), which is nearly a parabola."""
    if p > 0.5:
        return mp.erfinv(1 - p)
    x = mp.sqrt(-mp.log(p))
    for _ in range(60):
        slope = -2 / mp.sqrt(mp.pi) / scaled_erfc(x)
        x, before = x - (mp.log(mp.erfc(x)) - mp.log(p)) / slope, x
        if abs(x - before) <= mp.eps * abs(x):
            break
    return x


def softplus(x: mp.mpf) -> mp.mpf:
    return mp.log1p(mp.exp(x)) if x < 300 else x + mp.exp(-x)


EXACT: dict[str, Callable[..., mp.mpf]] = {
    "exp": mp.exp, "log": mp.log, "sqrt": mp.sqrt, "tanh": mp.tanh, "sin": mp.sin, "cos": mp.cos, "erf": mp.erf,
    "tan": mp.tan, "sinh": mp.sinh, "cosh": mp.cosh, "asin": mp.asin, "acos": mp.acos, "atan": mp.atan,
    "sigmoid": logistic,
    "softplus": softplus,
    "relu": lambda x: max(x, mp.mpf(0)),
    "leaky_relu": lambda x, a: x if x > 0 else a * x,
    "elu": lambda x, a: x if x > 0 else a * (mp.exp(x) - 1),
    "step": lambda x: mp.mpf(x > 0),
    "absolute": abs,
    "sign": mp.sign,
    "round_": mp.nint,
    "floor_": mp.floor,
    "maximum": max,
    "minimum": min,
    "where": lambda c, a, b: a if c != 0 else b,
    "equal": lambda a, b: mp.mpf(a == b),
    "less": lambda a, b: mp.mpf(a < b),
    "less_equal": lambda a, b: mp.mpf(a <= b),
    "isfinite": lambda x: mp.mpf(1),
    "log1p": lambda x: mp.log(1 + x),
    "expm1": mp.expm1,
    "logcosh": lambda x: mp.log(mp.cosh(x)),
    "i0e": lambda x: mp.exp(-abs(x)) * mp.besseli(0, x), "i1e": lambda x: mp.exp(-abs(x)) * mp.besseli(1, x),
    "i0": lambda x: mp.besseli(0, x), "i1": lambda x: mp.besseli(1, x),
    "mantissa": lambda x: mp.frexp(x)[0], "exponent": lambda x: mp.mpf(mp.frexp(x)[1]),
    "spacing": lambda x: mp.mpf(float(np.spacing(float(x)))),
    "nextafter": lambda a, b: a + (mp.mpf(math.nextafter(float(a), float(b))) - mp.mpf(float(a))),
    "bessel_drop": lambda x: mp.exp(-x) * (mp.besseli(0, x) - mp.besseli(1, x)),
    "bessel_slope": lambda x: mp.besseli(0, x) - mp.besseli(1, x) / x if x else mp.mpf(0.5),
    "bessel_grown": lambda a, s: s * mp.exp(a),
    "bessel_share": lambda x: mp.exp(-abs(x)) * mp.besseli(1, x) / x if x else mp.mpf(0.5),
    "xlogx1p": lambda x: (1 + x) * mp.log1p(x) if x != -1 else mp.mpf(0),
    "xlogx": lambda x: x * mp.log(x) if x else mp.mpf(0),
    "bce": lambda z, t: softplus(z) - t * z,
    "sigmoid_minus": lambda z, t: logistic(z) - t,
    "stop_gradient": lambda x: x,
    "arcsinh": mp.asinh, "arccosh": mp.acosh, "arctanh": mp.atanh, "arctan2": mp.atan2,
    "sinc": mp.sincpi,
    "cbrt": lambda x: mp.sign(x) * mp.cbrt(abs(x)),
    "mod": lambda a, b: a - b * mp.floor(a / b),
    "logaddexp": lambda a, b: max(a, b) + mp.log1p(mp.exp(-abs(a - b))),
    "gaussian": lambda x, c: mp.exp(-x * x / c),
    "erfc": mp.erfc, "erfcx": scaled_erfc, "erfinv": mp.erfinv, "erfcinv": erfcinv,
    "ndtr": lambda x: mp.erfc(-x / mp.sqrt(2)) / 2,
    "log_ndtr": log_ndtr,
    **{f"polygamma{n}": lambda x, n=n: mp.polygamma(n, x) for n in range(5)},
    "gammaln": mp.loggamma, "gamma_function": mp.gamma,
    "ndtri": lambda p: -mp.sqrt(2) * erfcinv(2 * p) if p < 0.5 else mp.sqrt(2) * erfcinv(2 * (1 - p)),
}  # fmt: skip


def exact(e: sp.Expr, values: Mapping[sp.Expr, Any]) -> mp.mpf:
    """The value of an expression; of a case distinction of the compiler's own that of the plain formula."""
    if e in values:
        return values[e]
    if e.is_number and not e.args:
        return mp.mpf(e.p) / e.q if e.is_Rational else mp.mpf(sp.N(e, mp.mp.dps + 5))
    if isinstance(e, guarded):
        return exact(e.args[2], values) if e.args[2] != 0 else exact(e.args[1], values)
    entry = scalar_of(e)
    if entry is not None and entry.name == "where":
        return exact(e.args[1] if exact(e.args[0], values) != 0 else e.args[2], values)
    if entry is not None and not e.is_Pow:
        return EXACT[entry.name](*(exact(a, values) for a in e.args))
    args = [exact(a, values) for a in e.args]
    if e.is_Pow:
        return args[0] ** args[1]
    return mp.fsum(args) if e.is_Add else mp.fprod(args)
