"""Compositions, products and ratios of scalar functions, exactly: value, slope and curvature by mpmath, with what
rounding may change of each.

A formula is a chain of names, ``("exp", "log")`` for log(exp(x)), or a product or ratio of two, ``("*", f, g)``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import mpmath as mp
import numpy as np

import graphc as gc
from graphc.emit.reference import evaluate
from graphc.ir.node import Node
from graphc.rewrite.normal import normalise

POINTS = (0.0, 1.0, -1.0, 1e-30, -1e-30, 1e-8, 50.0, -50.0, 800.0, -800.0)
WHAT = ("value", "slope", "curvature")
Formula = tuple
Jet = tuple[mp.mpf, mp.mpf, mp.mpf]


@dataclass(frozen=True)
class F:
    """A function as graphc has it, its value and its two derivatives."""

    ours: Callable
    value: Callable
    slope: Callable
    curvature: Callable


@dataclass(frozen=True)
class Precision:
    """eps is the rounding of a value, loose that of a derivative beside 1, cap the most that may be excused."""

    dtype: type
    eps: float
    loose: float
    cap: float
    largest: mp.mpf
    smallest: mp.mpf
    subnormal: mp.mpf


DOUBLE = Precision(np.float64, 2.0**-52, 1e-6, 1e-3, mp.mpf("1.7e308"), mp.mpf("1e-290"), mp.mpf("1e-307"))
SINGLE = Precision(np.float32, 2.0**-23, 1e-4, 1e-2, mp.mpf("3.4e38"), mp.mpf("1e-36"), mp.mpf("1.2e-38"))


def _sigmoid(x: mp.mpf) -> mp.mpf:
    return 1 / (1 + mp.exp(-x))


def _softplus(x: mp.mpf) -> mp.mpf:
    return mp.log1p(mp.exp(x)) if x < 300 else x + mp.log1p(mp.exp(-x))


def _bell(x: mp.mpf) -> mp.mpf:
    return _sigmoid(x) * _sigmoid(-x)


def _gauss(x: mp.mpf) -> mp.mpf:
    return 2 / mp.sqrt(mp.pi) * mp.exp(-x * x)


def _number(n: int) -> Callable:
    return lambda x: mp.mpf(n)


FUNCTIONS = {
    "exp": F(gc.exp, mp.exp, mp.exp, mp.exp),
    "log": F(gc.log, mp.log, lambda x: 1 / x, lambda x: -1 / x**2),
    "sqrt": F(gc.sqrt, mp.sqrt, lambda x: 1 / (2 * mp.sqrt(x)), lambda x: -1 / (4 * x * mp.sqrt(x))),
    "tanh": F(gc.tanh, mp.tanh, lambda x: mp.sech(x) ** 2, lambda x: -2 * mp.tanh(x) * mp.sech(x) ** 2),
    "sigmoid": F(gc.sigmoid, _sigmoid, _bell, lambda x: -_bell(x) * mp.tanh(x / 2)),
    "softplus": F(gc.softplus, _softplus, _sigmoid, _bell),
    "log1p": F(gc.log1p, mp.log1p, lambda x: 1 / (1 + x), lambda x: -1 / (1 + x) ** 2),
    "expm1": F(gc.expm1, mp.expm1, mp.exp, mp.exp),
    "relu": F(gc.relu, lambda x: max(x, mp.mpf(0)), lambda x: mp.mpf(int(x > 0)), _number(0)),
    "abs": F(gc.abs, abs, lambda x: mp.mpf(mp.sign(x)), _number(0)),
    "square": F(lambda x: x**2, lambda x: x * x, lambda x: 2 * x, _number(2)),
    "inverse": F(lambda x: 1 / x, lambda x: 1 / x, lambda x: -1 / x**2, lambda x: 2 / x**3),
    "sin": F(gc.sin, mp.sin, mp.cos, lambda x: -mp.sin(x)),
    "erf": F(gc.erf, mp.erf, _gauss, lambda x: -2 * x * _gauss(x)),
    "negative": F(lambda x: -x, lambda x: -x, _number(-1), _number(0)),
    "1 + x": F(lambda x: 1 + x, lambda x: 1 + x, _number(1), _number(0)),
}
KINKS = ("relu", "abs")
LONG = ("exp", "expm1", "sin", "sigmoid", "softplus", "tanh", "erf")  # mpmath takes for ever at huge arguments


@dataclass(frozen=True)
class Step:
    """A function on the way: its argument, its value, slope and curvature there."""

    name: str
    u: mp.mpf
    own: Jet


class Unknown(Exception):
    """Outside the domain, or too large to be known."""


class Walk:
    """One evaluation of a formula; the number that is counted ``bent`` is changed by what rounding may change."""

    def __init__(self, precision: Precision, bent: int = -1) -> None:
        self.precision, self.bent, self.count = precision, bent, 0
        self.steps: list[Step] = []

    def jet(self, formula: Formula, x: mp.mpf) -> Jet:
        if formula[0] not in ("*", "/"):
            found = (x, mp.mpf(1), mp.mpf(0))
            for name in formula:
                found = self.after(name, found)
            return found
        a, b = self.jet(formula[1], x), self.jet(formula[2], x)
        return product(a, b if formula[0] == "*" else self.after("inverse", b))

    def after(self, name: str, inner: Jet) -> Jet:
        u, d, c = inner
        f = FUNCTIONS[name]
        if abs(u) > mp.mpf(10) ** 30 and name in LONG:
            raise Unknown
        try:
            v, s, q = f.value(u), f.slope(u), f.curvature(u)
        except (ZeroDivisionError, ValueError, OverflowError) as e:
            raise Unknown from e
        if not all(isinstance(r, mp.mpf) and mp.isfinite(r) for r in (v, s, q)):
            raise Unknown
        self.steps.append(Step(name, u, (v, s, q)))
        v, s, q = self.rounded(v, exact=name in ("negative",)), self.rounded(s, slope=True), self.rounded(q, slope=True)
        return v, s * d, q * d * d + s * c

    def rounded(self, v: mp.mpf, slope: bool = False, exact: bool = False) -> mp.mpf:
        self.count += 1
        if self.count - 1 != self.bent or exact:
            return v
        return v + self.precision.loose * max(1, abs(v)) if slope else v * (1 + 8 * self.precision.eps)


def product(a: Jet, b: Jet) -> Jet:
    return a[0] * b[0], a[1] * b[0] + a[0] * b[1], a[2] * b[0] + 2 * a[1] * b[1] + a[0] * b[2]


@dataclass(frozen=True)
class Exact:
    """The three numbers of a formula at a point, the room of each, and the steps on the way; whether a limit."""

    jet: Jet
    rooms: Jet
    steps: list[Step]
    limit: bool = False


def exact(formula: Formula, x: float, precision: Precision) -> Exact | None:
    """None outside the domain, where it is too large to be known, and where both sides of a point differ."""
    at = mp.mpf(float(precision.dtype(x)))
    try:
        walk = Walk(precision)
        jet = walk.jet(formula, at)
    except Unknown:
        return _limit(formula, at, precision)
    rooms = [mp.mpf(0)] * 3
    for bent in range(walk.count):
        try:
            moved = Walk(precision, bent).jet(formula, at)
        except Unknown:  # rounding may leave the domain
            return None
        rooms = [r + abs(m - v) for r, m, v in zip(rooms, moved, jet, strict=True)]
    return Exact(jet, (rooms[0], rooms[1], rooms[2]), walk.steps)


def _limit(formula: Formula, at: mp.mpf, precision: Precision) -> Exact | None:
    """The limit from both sides, where the steps alone are not finite."""
    near = mp.mpf(2) ** -400 * max(1, abs(at))
    try:
        walk = Walk(precision)
        left, right = Walk(precision).jet(formula, at - near), walk.jet(formula, at + near)
    except Unknown:
        return None
    if any(abs(a - b) > mp.mpf("1e-20") * abs(a) + mp.mpf("1e-80") for a, b in zip(left, right, strict=True)):
        return None
    limit = [mp.mpf(0) if abs(v) < mp.mpf("1e-80") else v for v in right]
    return Exact((limit[0], limit[1], limit[2]), (mp.mpf(0),) * 3, walk.steps, limit=True)


def names_of(formula: Formula) -> list[str]:
    if formula[0] in ("*", "/"):
        return names_of(formula[1]) + names_of(formula[2]) + (["inverse"] if formula[0] == "/" else [])
    return list(formula)


def words(formula: Formula) -> str:
    if formula[0] in ("*", "/"):
        return f"({words(formula[1])}) {formula[0]} ({words(formula[2])})"
    return " of ".join(formula[::-1])


def declared(formula: Formula, x: gc.Tensor) -> gc.Tensor:
    if formula[0] in ("*", "/"):
        a, b = declared(formula[1], x), declared(formula[2], x)
        return a * b if formula[0] == "*" else a / b
    for name in formula:
        x = FUNCTIONS[name].ours(x)
    return x


REASONS: dict[str, Callable[[Formula, Exact, Precision], bool]] = {
    "the sine of what has no digits behind the point": lambda f, e, p: any(
        s.name == "sin" and abs(s.u) > mp.mpf(p.eps) ** -0.375 for s in e.steps
    ),
    "the result overflows": lambda f, e, p: abs(e.jet[0]) > p.largest,
    "a kink": lambda f, e, p: any(s.name in KINKS and s.u == 0 for s in e.steps),
    "0/0 or 0*inf as it is written": lambda f, e, p: (
        f[0] in ("*", "/") and e.limit and any(s.name == "inverse" and abs(s.u) < 1e-100 for s in e.steps)
    ),
    "x*log(x) of x = 1 + u has the digits of 1 + u": lambda f, e, p: (
        f[0] == "*" and {"log1p", "1 + x"} <= set(names_of(f)) and any(0 < abs(s.u) < 1e-7 for s in e.steps)
    ),
}


def is_lost(e: Exact, which: int, precision: Precision) -> bool:
    """Whether a number on the way leaves the range, or its rounding changes a result by a thousandth."""
    out_of_range = any(
        abs(n) > precision.largest or (0 < abs(n) < precision.subnormal and order == 0)
        for step in e.steps
        for order, n in enumerate(step.own[: which + 1])
    )
    return out_of_range or e.rooms[which] > 1e-3 * abs(e.jet[which])


def off(formula: Formula, lost: Sequence[int] = (), precisions: Sequence[Precision] = (DOUBLE, SINGLE)) -> list[str]:
    """The points at which a formula is not right, in words.

    What is lost on the way is excused in the orders ``lost``, and in single precision.
    """
    x = gc.param("x", (len(POINTS),))
    y = declared(formula, x)
    first = gc.grad(gc.sum(y), x)
    nodes = [normalise([n]).roots[0] for n in (y.node, first.node, gc.grad(gc.sum(first), x).node)]
    return [line for p in precisions for line in _off(formula, x, nodes, lost, p)]


def _off(formula: Formula, x: gc.Tensor, nodes: Sequence[Node], lost: Sequence[int], p: Precision) -> list[str]:
    given = evaluate(nodes, {x.node: np.array(POINTS, p.dtype)}, dtype=p.dtype)
    found = []
    for t, point in enumerate(POINTS):
        with mp.workprec(3000):
            known = exact(formula, point, p)
            if known is None or any(says(formula, known, p) for says in REASONS.values()):
                continue
            for which, (ours, theirs, room) in enumerate(zip(given, known.jet, known.rooms, strict=True)):
                excused = (which in lost or p is SINGLE) and is_lost(known, which, p)
                if not excused and not near(float(ours[t]), theirs, room, p):
                    place = f"{words(formula)}: {WHAT[which]} at {point:g} in {p.dtype.__name__}"
                    found.append(f"{place} is {ours[t]:g}, not {mp.nstr(theirs, 6)}")
    return found


def near(ours: float, theirs: mp.mpf, room: mp.mpf, precision: Precision) -> bool:
    if abs(theirs) > precision.largest:
        return bool(np.isinf(ours))
    allowed = precision.loose * abs(theirs) + min(room, precision.cap) + precision.smallest
    return bool(np.isfinite(ours)) and abs(ours - theirs) <= allowed
