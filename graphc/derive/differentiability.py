"""Where one scalar expression is not smooth, not defined, or overflows: a structural walk with closed intervals.

The table of :mod:`graphc.ir.scalar` says where each function has kinks and jumps and how it maps intervals. SymPy's
`singularities` misses sign, floor, abs, max and sqrt, so it is not used. Intervals ignore that two occurrences of a
symbol move together: a hazard reported may be a false alarm, a smooth report is not.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

import numpy as np
import sympy as sp
from sympy import Expr, S, Symbol

from graphc.ir.scalar import (
    Break,
    Interval,
    Scalar,
    absolute,
    canonical,
    guarded,
    less,
    less_equal,
    numpy_function,
    scalar_of,
    step,
    where,
)
from graphc.records import record

REALS: Interval = (-math.inf, math.inf)


@record(frozen=True)
class Hazard:
    """One finding: kind is pole, domain, infinite slope, kink, jump, zero gradient or overflow."""

    kind: str
    subexpr: Expr
    text: str

    def __str__(self) -> str:
        return f"{self.kind} at {self.subexpr}: {self.text}"


def hazards(expr: Expr, intervals: Mapping[Symbol, Interval] | None = None) -> tuple[Interval, list[Hazard]]:
    """The closed interval of `expr`, and its hazards in order of evaluation.

    Parameters
    ----------
    expr : Expr
        A scalar expression over any real symbols.
    intervals : mapping of Symbol to (low, high), optional
        What is known of the symbols; others range over all reals, positive ones (extents) from 0 (1).
    """
    walk = _Walk(dict(intervals or {}))
    found = walk.interval(canonical(expr))
    return found, list(dict.fromkeys(walk.found))


def interval(expr: Expr, known: Mapping[Symbol, Interval]) -> Interval:
    """The closed interval of `expr` where its symbols lie in theirs; see :func:`hazards`."""
    return Quiet(dict(known)).interval(canonical(expr))


def _show(x: Interval) -> str:
    return f"[{x[0]:g}, {x[1]:g}]"


class _Walk:
    """One pass over an expression; `found` collects the hazards."""

    def __init__(self, known: dict[Expr, Interval]) -> None:
        self.known = known
        self.found: list[Hazard] = []

    def add(self, kind: str, expr: Expr, text: str, *of: object) -> None:
        self.found.append(Hazard(kind, expr, text.format(*of) if of else text))

    def interval(self, expr: Expr) -> Interval:
        if expr in self.known:
            return self.known[expr]
        if expr.is_Symbol:
            return _default(expr)
        if expr.is_number and not expr.has(sp.Function):
            return (float(expr), float(expr)) if expr.is_comparable else REALS
        if expr.is_Add:
            return _sum([self.interval(t) for t in expr.args])
        if expr.is_Mul:
            return self.product(expr)
        if isinstance(expr, where):
            return self.branches(expr)
        return self.power(expr) if expr.is_Pow else self.function(expr)

    # ------------------------------------------------------------ operations

    def product(self, expr: Expr) -> Interval:
        found: Interval = (1.0, 1.0)
        for factor in expr.args:
            found = _product(found, self.interval(factor))
        return found

    def power(self, expr: Expr) -> Interval:
        base, n = self.interval(expr.base), expr.exp
        if not n.is_comparable:
            return self.general_power(expr, base)
        if n < 0 and base[0] <= 0 <= base[1]:
            self.add("pole", expr, "{} in {} can be 0", expr.base, _show(base))
        if not n.is_Integer and base[0] < 0:
            self.add("domain", expr, "{} in {} can be negative", expr.base, _show(base))
        if not n.is_Integer and 0 < n < 1 and base[0] <= 0 <= base[1]:
            if base[0] == 0 and not expr.base.is_Symbol:  # 0 is its minimum: see graphc.derive.zero_times_infinity
                self.add("kink", expr, "subgradient 0 where {} is 0", expr.base)
            else:
                self.add("infinite slope", expr, "the derivative is infinite where {} is 0", expr.base)
        if n < 0 and base[0] == 0 and _counts(expr.base):
            return _power((base[1], base[1]), float(n))[0], math.inf
        return _power(base, float(n))

    def general_power(self, expr: Expr, base: Interval) -> Interval:
        power = self.interval(expr.exp)
        if base[0] > 0 and base[1] < math.inf and max(map(abs, power)) < math.inf:
            with np.errstate(all="ignore"):
                ends = [float(np.float64(b) ** p) for b in base for p in power]
            return min(ends), max(ends)
        if base[0] < 0:
            self.add("domain", expr, "{} in {} can be negative under a variable power", expr.base, _show(base))
        elif base[0] == 0:
            self.add("pole", expr, "{} can be 0 under a variable power", expr.base)
        return (0.0, math.inf) if base[0] >= 0 else REALS

    def function(self, expr: Expr) -> Interval:
        entry = scalar_of(expr)
        if entry is None:
            self.add("domain", expr, "{} is not in the table of scalar functions", expr.func)
            return REALS
        args = [self.interval(a) for a in expr.args]
        self.domain(expr, entry, args[0])
        self.breaks(expr, entry, args)
        if args[0][0] < entry.finite[0] or args[0][1] > entry.finite[1]:
            self.add("overflow", expr, "argument in {}; above {:g} it is infinite", _show(args[0]), entry.finite[1])
        return entry.interval(*args)

    def domain(self, expr: Expr, entry: Scalar, x: Interval) -> None:
        argument, (low, high) = expr.args[0], entry.domain
        pole = entry.pole(x)
        if pole:
            self.add("pole", expr, "{} in {} can be {}", argument, _show(x), pole)
        if x[0] < low or x[1] > high:
            self.add("domain", expr, "{} in {} can leave {}", argument, _show(x), _show(entry.domain))
        if entry.open_domain and x[0] <= low <= x[1]:
            self.add("pole", expr, "{} in {} can be {:g}", argument, _show(x), low)
        if entry.slope_at_ends and (x[0] <= low <= x[1] or x[0] <= high <= x[1]):
            ends = f"{low:g}" if high == math.inf else f"{low:g} or {high:g}"
            self.add("infinite slope", expr, "the derivative is infinite where {} is {}", argument, ends)

    def breaks(self, expr: Expr, entry: Scalar, args: list[Interval]) -> None:
        smooth = entry.smooth(*expr.args)
        for kink in entry.kinks:
            if _meets(kink, args) and not smooth:
                self.add("kink", expr, kink.text)
        for jump in entry.jumps:
            if _meets(jump, args):
                self.add("jump", expr, jump.text)
        if entry.zero_gradient:
            self.add("zero gradient", expr, "constant between its jumps: no gradient flows through it")

    # ------------------------------------------------------------ where(c, a, b)

    def branches(self, expr: Expr) -> Interval:
        condition, a, b = expr.args
        boundary = _boundary(condition)
        self.condition(condition.args if boundary is not None else (condition,))
        yes, no = self.under(condition, a, True), self.under(condition, b, False)
        self.seam(expr, boundary)
        return min(yes[0], no[0]), max(yes[1], no[1])

    def condition(self, parts: tuple[Expr, ...]) -> None:
        """What a condition is made of has to be defined; its own kinks never reach the gradient."""
        start = len(self.found)
        for part in parts:
            self.interval(part)
        self.found[start:] = [h for h in self.found[start:] if h.kind in ("pole", "domain", "overflow")]

    def under(self, condition: Expr, branch: Expr, holds: bool) -> Interval:
        """The interval of a branch, with what the condition bounds narrowed to where the branch is taken."""
        before, bound = self.known, _bound(condition, holds)
        if bound is not None:
            part, (low, high) = bound
            old = Quiet(dict(before)).interval(part)
            low, high = max(low, old[0]), min(high, old[1])
            if low > high:
                return math.inf, -math.inf
            self.known = {**before, part: (low, high)}
        found = self.interval(branch)
        self.known = before
        return found

    def seam(self, expr: Expr, boundary: Expr | None) -> None:
        """Compare the branches, and then their derivatives, where the condition changes."""
        roots = [] if boundary is None else list(_roots(boundary))
        if not roots and not isinstance(expr, guarded):  # what the compiler chose between is continuous
            self.unsolved(expr, boundary)
        for symbol, point in roots:
            low, high = self.known.get(symbol, _default(symbol))
            if point.is_comparable and not low <= float(point) <= high:
                continue
            gap = expr.args[1] - expr.args[2]
            if not _vanishes(gap.xreplace({symbol: point})):
                self.add("jump", expr, "the branches differ at {} = {}", symbol, point)
            elif not _vanishes(canonical(gap.diff(symbol)).xreplace({symbol: point})):
                self.add("kink", expr, "the slopes differ at {} = {}; the branch taken there decides", symbol, point)


    def unsolved(self, expr: Expr, boundary: Expr | None) -> None:
        """A condition whose change cannot be solved for: the branches may differ there."""
        condition, a, b = expr.args
        low, high = Quiet(dict(self.known)).interval(condition if boundary is None else boundary)
        decided = low == high if boundary is None else low > 0 or high < 0
        if not decided and condition.free_symbols and a != b:
            self.add("jump", expr, "the branches may differ where {} changes", condition)


class Quiet(_Walk):
    """Intervals alone: nothing is looked for."""

    def add(self, kind: str, expr: Expr, text: str, *of: object) -> None:
        pass

    def breaks(self, expr: Expr, entry: Scalar, args: list[Interval]) -> None:
        pass

    def seam(self, expr: Expr, boundary: Expr | None) -> None:
        pass


def _counts(expr: Expr) -> bool:
    """Whether an expression is made of extents alone, whose 0 has no sign: 1/(n - 1) is never negative."""
    return all(s.is_positive and s.is_integer for s in expr.free_symbols)


def _default(symbol: Symbol) -> Interval:
    if symbol.is_positive:
        return (1.0, math.inf) if symbol.is_integer else (0.0, math.inf)
    return (0.0, math.inf) if symbol.is_nonnegative else REALS


def _sum(parts: list[Interval]) -> Interval:
    low, high = sum(p[0] for p in parts), sum(p[1] for p in parts)
    return (-math.inf if math.isnan(low) else low), (math.inf if math.isnan(high) else high)


def _product(a: Interval, b: Interval) -> Interval:
    ends = [0.0 if x == 0 or y == 0 else x * y for x in a for y in b]
    return min(ends), max(ends)


def _power(base: Interval, n: float) -> Interval:
    whole = n == int(n)
    if whole and base[0] <= 0 <= base[1] and n < 0:
        return (0.0, math.inf) if int(n) % 2 == 0 else REALS
    with np.errstate(all="ignore"):
        ends = [float(np.float64(v if whole else max(v, 0.0)) ** n) for v in base]
    ends += [0.0] if whole and n % 2 == 0 and base[0] <= 0 <= base[1] else []
    return min(ends), max(ends)


def _meets(point: Break, args: list[Interval]) -> bool:
    low, high = args[0]
    if point.difference:
        low, high = low - args[1][1], high - args[1][0]
    return math.isnan(point.at) or not (high < point.at or low > point.at)


def _boundary(condition: Expr) -> Expr | None:
    """The expression whose sign the condition tests."""
    if isinstance(condition, (less, less_equal)):
        return condition.args[0] - condition.args[1]
    return condition.args[0] if isinstance(condition, step) else None


def _bound(condition: Expr, holds: bool) -> tuple[Expr, Interval] | None:
    """What a comparison with a number bounds, and its interval where the condition holds (or fails)."""
    if isinstance(condition, step):
        small, large = S.Zero, condition.args[0]
    elif isinstance(condition, (less, less_equal)):
        small, large = condition.args
    else:
        return None
    if large.is_comparable:
        return small, ((-math.inf, float(large)) if holds else (float(large), math.inf))
    if small.is_comparable:
        return large, ((float(small), math.inf) if holds else (-math.inf, float(small)))
    return None


def _roots(boundary: Expr) -> Iterator[tuple[Symbol, Expr]]:
    """(symbol, value) where the boundary is 0, for a boundary linear in a symbol, or in |a linear expression|."""
    for magnitude in boundary.atoms(absolute):
        for sign in (1, -1):
            yield from _roots(boundary.xreplace({magnitude: sign * magnitude.args[0]}))
        return
    for symbol in sorted(boundary.free_symbols, key=str):
        slope = boundary.diff(symbol)
        if symbol not in slope.free_symbols and slope is not S.Zero:
            yield symbol, sp.expand(symbol - boundary / slope)
            return


def _vanishes(gap: Expr) -> bool:
    """Whether `gap` is 0 at sample points of its symbols (to 1e-9 of its size)."""
    symbols = tuple(sorted(gap.free_symbols, key=str))
    if not symbols:
        return bool(abs(numpy_function(gap, 0)()) < 1e-9) if gap.is_finite is not False else False
    samples = np.random.default_rng(0).uniform(0.5, 2.0, (len(symbols), 7))
    values = numpy_function(gap, 0, symbols)(*samples)
    return bool(np.all(np.abs(values) < 1e-9))
