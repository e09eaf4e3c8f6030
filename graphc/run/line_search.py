"""The line search of Moré and Thuente (1994, ACM TOMS 20, 286-307): a step that fulfils the strong Wolfe conditions.

Along x + t d, with phi(t) the loss and phi'(t) its slope there,

    phi(t) <= phi(0) + c1 t phi'(0)   and   abs(phi'(t)) <= c2 abs(phi'(0)).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

MOST = 30  # evaluations
LARGEST = 1e10  # step
NARROW = 1e-14  # relative width of an interval in which no better step can be told


class Sample(NamedTuple):
    """t, phi(t), phi'(t)."""

    t: float
    f: float
    slope: float


@dataclass
class _Interval:
    """Its best end, its other end, and whether a minimum is known to lie between."""

    best: Sample
    other: Sample
    bracketed: bool = False


def strong_wolfe(
    evaluate: Callable[[float], tuple[float, float]], f0: float, slope0: float, first: float, c1: float, c2: float
) -> float | None:
    """A step t that fulfils the conditions; else the best that lowers phi enough, None where there is none.

    Parameters
    ----------
    evaluate
        phi and phi' at t; infinity or NaN where the loss has no value.
    f0, slope0
        phi(0) and phi'(0) < 0.
    first
        The step that is tried first.

    The last t that was evaluated is the one returned.
    """
    test = c1 * slope0
    interval = _Interval(Sample(0.0, f0, slope0), Sample(0.0, f0, slope0))
    low, high, t = 0.0, 5.0 * first, first
    width, before = LARGEST, 2 * LARGEST
    auxiliary = True  # until phi(t) - f0 - c1 t phi'(0) is at most 0 with a slope of at least 0: the paper's psi
    for _ in range(MOST):
        f, slope = evaluate(t)
        if not (math.isfinite(f) and math.isfinite(slope)):
            if t <= NARROW * first:
                break
            high = t = interval.best.t + 0.1 * (t - interval.best.t)
            continue
        if f <= f0 + t * test and abs(slope) <= -c2 * slope0:
            return t
        auxiliary = auxiliary and not (f <= f0 + t * test and slope >= 0)
        shift = test if auxiliary and f <= interval.best.f and f > f0 + t * test else 0.0
        t = _next(interval, Sample(t, f, slope), low, high, shift)
        if interval.bracketed:
            ends = interval.best.t, interval.other.t
            if abs(ends[1] - ends[0]) >= 0.66 * before:
                t = ends[0] + 0.5 * (ends[1] - ends[0])
            before, width = width, abs(ends[1] - ends[0])
            low, high = min(ends), max(ends)
            if high - low <= NARROW * high:
                break
        else:
            low, high = t + 1.1 * (t - interval.best.t), t + 4.0 * (t - interval.best.t)
        t = min(max(t, 0.0), LARGEST)
    t, f, _ = interval.best
    if not t or not f < f0 + t * test:
        return None
    evaluate(t)
    return t


def _next(interval: _Interval, now: Sample, low: float, high: float, shift: float) -> float:
    """The next trial; the interval is moved to hold the minimum (of phi - shift t)."""
    moved = lambda s: Sample(s.t, s.f - shift * s.t, s.slope - shift)
    best, other = moved(interval.best), moved(interval.other)
    trial = moved(now)
    bracketed, t = _trial(best, other, trial, interval.bracketed, low, high)
    interval.bracketed = bracketed
    if trial.f > best.f:
        interval.other = now
    else:
        if math.copysign(1.0, trial.slope) != math.copysign(1.0, best.slope):
            interval.other = interval.best
        interval.best = now
    return t


def _trial(a: Sample, b: Sample, c: Sample, bracketed: bool, low: float, high: float) -> tuple[bool, float]:
    """Section 4 of the paper: a is the best end, b the other, c the trial.

    Returns whether a minimum is bracketed, and the next trial by cubic and quadratic interpolation.
    """
    opposite = c.slope * math.copysign(1.0, a.slope) < 0
    if c.f > a.f:  # case 1: a minimum lies between
        cubic, quadratic = _cubic(a, c), a.t + (a.slope / ((a.f - c.f) / (c.t - a.t) + a.slope)) / 2 * (c.t - a.t)
        return True, cubic if abs(cubic - a.t) < abs(quadratic - a.t) else cubic + (quadratic - cubic) / 2
    secant = c.t + c.slope / (c.slope - a.slope) * (a.t - c.t) if c.slope != a.slope else high
    if opposite:  # case 2: the slopes differ in sign
        cubic = _cubic(c, a)
        return True, cubic if abs(cubic - c.t) > abs(secant - c.t) else secant
    if abs(c.slope) < abs(a.slope):  # case 3: the slope becomes less steep
        cubic = _cubic_beyond(a, c, low, high)
        if bracketed:
            t = cubic if abs(cubic - c.t) < abs(secant - c.t) else secant
            bound = c.t + 0.66 * (b.t - c.t)
            return True, min(bound, t) if c.t > a.t else max(bound, t)
        t = cubic if abs(cubic - c.t) > abs(secant - c.t) else secant
        return False, max(low, min(high, t))
    if bracketed:  # case 4: it does not
        return True, _cubic(c, b)
    return False, high if c.t > a.t else low


def _theta_gamma(a: Sample, b: Sample) -> tuple[float, float]:
    """Of the cubic that takes values and slopes of two samples."""
    theta = 3 * (a.f - b.f) / (b.t - a.t) + a.slope + b.slope
    s = max(abs(theta), abs(a.slope), abs(b.slope)) or 1.0
    gamma = s * math.sqrt(max(0.0, (theta / s) ** 2 - (a.slope / s) * (b.slope / s)))
    return theta, gamma


def _cubic(a: Sample, b: Sample) -> float:
    """Where the cubic through two samples has its minimum."""
    theta, gamma = _theta_gamma(a, b)
    gamma = -gamma if b.t < a.t else gamma
    q = gamma - a.slope + gamma + b.slope
    return a.t + (gamma - a.slope + theta) / q * (b.t - a.t) if q else (a.t + b.t) / 2


def _cubic_beyond(a: Sample, c: Sample, low: float, high: float) -> float:
    """The minimum of the cubic where it lies beyond c as seen from a; else the end of the range in that direction."""
    theta, gamma = _theta_gamma(a, c)
    gamma = -gamma if c.t > a.t else gamma
    q = gamma + (a.slope - c.slope) + gamma
    r = (gamma - c.slope + theta) / q if q else 0.0
    if r < 0 and gamma != 0:
        return c.t + r * (a.t - c.t)
    return high if c.t > a.t else low
