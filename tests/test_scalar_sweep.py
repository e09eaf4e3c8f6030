"""Compositions of scalar functions at special points beside mpmath: value and first derivative.

What may differ is what the formula itself forbids: rounding of a value on the way (its size times the derivative behind
it) and of a slope (exact to a unit of 1, since slopes are computed from outputs).  Beyond that nothing is excused but
the lines of ``REASONS``.  ``make fuzz`` goes through all pairs and many triples; of triples it excuses what is lost on
the way, too: a value that underflows, or whose last digit decides.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import mpmath as mp
import numpy as np
import pytest

import graphc as gc
from graphc.emit.reference import evaluate
from graphc.rewrite.normal import normal_form

POINTS = (0.0, 1.0, -1.0, 1e-30, -1e-30, 1e-8, 50.0, -50.0, 800.0, -800.0)
EPS, LARGEST, SMALLEST = 2.0**-52, mp.mpf("1.7e308"), mp.mpf("1e-290")
SEEDS = 40  # compositions of a run of the tests


@dataclass(frozen=True)
class F:
    ours: Callable
    value: Callable
    slope: Callable


def _sigmoid(x: mp.mpf) -> mp.mpf:
    return 1 / (1 + mp.exp(-x))


def _softplus(x: mp.mpf) -> mp.mpf:
    return mp.log1p(mp.exp(x)) if x < 300 else x + mp.log1p(mp.exp(-x))


FUNCTIONS = {
    "exp": F(gc.exp, mp.exp, mp.exp),
    "log": F(gc.log, mp.log, lambda x: 1 / x),
    "sqrt": F(gc.sqrt, mp.sqrt, lambda x: 1 / (2 * mp.sqrt(x))),
    "tanh": F(gc.tanh, mp.tanh, lambda x: 1 / mp.cosh(x) ** 2),
    "sigmoid": F(gc.sigmoid, _sigmoid, lambda x: _sigmoid(x) * _sigmoid(-x)),
    "softplus": F(gc.softplus, _softplus, _sigmoid),
    "log1p": F(gc.log1p, mp.log1p, lambda x: 1 / (1 + x)),
    "expm1": F(gc.expm1, mp.expm1, mp.exp),
    "relu": F(gc.relu, lambda x: max(x, mp.mpf(0)), lambda x: mp.mpf(int(x > 0))),
    "abs": F(gc.abs, abs, lambda x: mp.mpf(mp.sign(x))),
    "square": F(lambda x: x**2, lambda x: x * x, lambda x: 2 * x),
    "inverse": F(lambda x: 1 / x, lambda x: 1 / x, lambda x: -1 / x**2),
    "sin": F(gc.sin, mp.sin, mp.cos),
    "erf": F(gc.erf, mp.erf, lambda x: 2 / mp.sqrt(mp.pi) * mp.exp(-x * x)),
    "negative": F(lambda x: -x, lambda x: -x, lambda x: mp.mpf(-1)),
    "1 + x": F(lambda x: 1 + x, lambda x: 1 + x, lambda x: mp.mpf(1)),
}
KINKS = ("relu", "abs")
LONG = ("exp", "expm1", "sin", "sigmoid", "softplus", "tanh", "erf")  # mpmath takes for ever at huge arguments
REASONS = {
    "the sine of what has no digits behind the point": lambda names, x, steps: any(
        n == "sin" and abs(steps[t - 1][0] if t else x) > 1e6 for t, n in enumerate(names)
    ),
    "the result overflows": lambda names, x, steps: abs(steps[-1][0]) > LARGEST,
    "a kink": lambda names, x, steps: x == 0 and any(n in KINKS for n in names),
}


def exact(names: Sequence[str], x: float) -> list[tuple[mp.mpf, mp.mpf]] | None:
    """Value and slope of every step; None outside the domain, or where it is too large to be known."""
    steps, v = [], mp.mpf(x)
    for name in names:
        f = FUNCTIONS[name]
        try:
            if abs(v) > mp.mpf(10) ** 30 and name in LONG:
                return None
            slope, v = f.slope(v), f.value(v)
        except (ZeroDivisionError, ValueError, OverflowError):
            return None
        if not (isinstance(v, mp.mpf) and isinstance(slope, mp.mpf) and mp.isfinite(v) and mp.isfinite(slope)):
            return None
        steps.append((v, slope))
    return steps


def allowed(steps: Sequence[tuple[mp.mpf, mp.mpf]], x: float) -> tuple[mp.mpf, mp.mpf]:
    """What rounding may change of the value and of the derivative."""
    after = [mp.fprod(s for _, s in steps[t + 1 :]) for t in range(len(steps))]
    value = sum(abs(v * a) for (v, _), a in zip(steps, after, strict=True)) * 8 * EPS
    slopes = [s for _, s in steps]
    others = [abs(mp.fprod(slopes[:t] + slopes[t + 1 :])) * max(1, abs(slopes[t])) for t in range(len(slopes))]
    return value, sum(others) * 1e-6


def is_lost(steps: Sequence[tuple[mp.mpf, mp.mpf]], wanted: Sequence[mp.mpf], rooms: Sequence[mp.mpf]) -> bool:
    """Whether a value on the way underflows, or its rounding changes a result by more than a thousandth."""
    tiny = any(0 < abs(v) < mp.mpf("1e-307") for v, _ in steps[:-1])
    return tiny or any(room > 1e-3 * abs(w) for w, room in zip(wanted, rooms, strict=True))


def off(names: Sequence[str], strict: bool = True) -> list[str]:
    """The points at which a composition is not right, in words."""
    x = gc.param("x", ())
    y = x
    for name in names:
        y = FUNCTIONS[name].ours(y)
    nodes, found = [normal_form(y.node), gc.grad(y, x).node], []
    for point in POINTS:
        with mp.workprec(3000):
            steps = exact(names, point)
            if steps is None or any(says(names, point, steps) for says in REASONS.values()):
                continue
            wanted = steps[-1][0], mp.fprod(s for _, s in steps)
            rooms = allowed(steps, point)
            if not strict and is_lost(steps, wanted, rooms):
                continue
            given = evaluate(nodes, {x.node: np.asarray(point)})
            for what, ours, theirs, room in zip(("value", "slope"), given, wanted, rooms, strict=True):
                if not near(float(ours), theirs, room):
                    place = f"{' of '.join(names[::-1])}: {what} at {point:g}"
                    found.append(f"{place} is {ours:g}, not {mp.nstr(theirs, 6)}")
    return found


def near(ours: float, theirs: mp.mpf, room: mp.mpf) -> bool:
    if abs(theirs) > LARGEST:
        return bool(np.isinf(ours))
    return bool(np.isfinite(ours)) and abs(ours - theirs) <= 1e-6 * abs(theirs) + min(room, 1e-3) + SMALLEST


PAIRS = list(itertools.product(FUNCTIONS, repeat=2))
LISTED = [
    ("exp", "log1p"), ("softplus", "log"), ("softplus", "sqrt"), ("expm1", "log"), ("expm1", "log1p"),
    ("tanh", "log1p"), ("expm1", "sqrt"), ("sigmoid", "sqrt"), ("sigmoid", "abs", "log"), ("exp", "log"),
]  # fmt: skip


@pytest.mark.parametrize("names", [*LISTED, *PAIRS[:: len(PAIRS) // SEEDS]], ids=" then ".join)
def test_compositions_are_right_where_the_formula_lets_them(names: Sequence[str]):
    """The listed ones were infinite, 0 or NaN where they have a finite value."""
    assert off(names) == []


@pytest.mark.fuzz
def test_all_pairs_and_many_triples_are_right_where_the_formula_lets_them():
    rng = np.random.default_rng(1)
    triples = [tuple(rng.choice(list(FUNCTIONS), 3)) for _ in range(1000)]
    assert [line for names in PAIRS for line in off(names)] == []
    assert [line for names in triples for line in off(names, strict=False)] == []
