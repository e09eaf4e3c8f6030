"""The worst errors of declared functions of one argument over their domains, for the page of functions."""

from __future__ import annotations

import mpmath as mp
import numpy as np

from graphc.ir.scalar import Scalar, derivative, number, numpy_function, placeholder
from tests.exact_scalars import exact

SIZES = 10.0 ** np.linspace(-8, 1.3, 24)


def worst_errors(entry: Scalar) -> tuple[float, float, float, float]:
    """Of value and derivative, in float64 and float32, in units of the last place of the exact result."""
    body = entry(placeholder(0), *map(number, entry.defaults))
    forms = [body, derivative(body, 0, False)]
    found = []
    for dtype in (np.float64, np.float32):
        points = _points(entry).astype(dtype)
        points = points[(points != 0) & ~np.isin(points, entry.domain)]
        for order, form in enumerate(forms):
            values = np.broadcast_to(numpy_function(form, 1)(points), points.shape)
            found.append(max(_error(body, order, x, v) for x, v in zip(points, values)))
    return found[0], found[1], found[2], found[3]


def _points(entry: Scalar) -> np.ndarray:
    low, high = (0.0, np.inf) if entry.name in ("digamma", "psi") else entry.domain  # poles at 0, -1, ..
    if np.isfinite(high):
        return low + (high - low) * np.linspace(0.003, 0.997, 41)
    return low + SIZES if np.isfinite(low) else np.concatenate([-SIZES[::-1], SIZES])


def _error(body, order: int, x: np.floating, found: np.floating) -> float:
    with mp.workdps(60):
        at = mp.mpf(float(x))

        def f(v: mp.mpf) -> mp.mpf:
            return exact(body, {placeholder(0): v})

        h = mp.mpf(10) ** -16 * abs(at)
        wanted = f(at) if order == 0 else (f(at - 2 * h) - 8 * f(at - h) + 8 * f(at + h) - f(at + 2 * h)) / (12 * h)
        info = np.finfo(x.dtype)
        if not isinstance(wanted, mp.mpf) or not float(info.tiny) < abs(wanted) < float(info.max):
            return 0.0
        if order and abs(wanted) < mp.mpf(10) ** -12 * abs(f(at)):
            return 0.0  # a slope of 0, but for the rounding of the difference
        unit = np.spacing(x.dtype.type(float(abs(wanted))))
        return float(abs(mp.mpf(float(found)) - wanted) / mp.mpf(float(unit)))
