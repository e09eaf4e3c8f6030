"""What holds of every equation of a graph for inputs in given ranges: smooth or not, defined or not, in range or not.

Closed intervals are carried from the leaves through the equations; see :mod:`graphc.derive.differentiability` for one
expression. They ignore that two occurrences of a value move together, so a finding may be a false alarm; "smooth" and
"no overflow" are none.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import field

import numpy as np
from sympy import Expr, Symbol

from graphc.derive.differentiability import Hazard, Quiet, hazards
from graphc.ir.affine import Extent, Gather
from graphc.ir.node import Distribution, Equation, Indicator, Leaf, Node, Operand, Read, extent_symbol
from graphc.ir.scalar import placeholder, scalar_of
from graphc.ir.scalar_table import REALS, Interval
from graphc.ir.scan import Unrolled
from graphc.ir.walk import topological
from graphc.records import record

LARGEST = {"float32": float(np.finfo(np.float32).max), "float64": float(np.finfo(np.float64).max)}
ORDER = ("smooth", "kinked", "jumps", "domain")  # from best to worst
_KIND = {"kink": "kinked", "infinite slope": "kinked", "jump": "jumps", "zero gradient": "jumps", "pole": "domain",
         "domain": "domain"}  # fmt: skip
Ranges = Mapping[Leaf, Interval]


@record(frozen=True)
class Finding:
    """Of one equation: its interval, its hazards, and the parts of its body that may leave a precision."""

    node: Equation
    bounds: Interval
    hazards: tuple[Hazard, ...]
    overflows: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def verdict(self) -> str:
        """The worst of "smooth", "kinked", "jumps", "domain"."""
        return max((_KIND[h.kind] for h in self.hazards), key=ORDER.index, default="smooth")


def examine(roots: Sequence[Node], ranges: Ranges, rows: int) -> list[Finding]:
    """A finding for every equation, in order of evaluation; free extents are any from 1 to ``rows``."""
    found: list[Finding] = []
    known: list[dict[Node, Interval]] = [{}, {}]  # for one row and for all of them
    for node in topological(roots):
        if isinstance(node, Leaf):
            for bounds in known:
                bounds[node] = ranges.get(node) or _of_constant(node)
            continue
        if isinstance(node, Unrolled):
            for bounds in known:
                bounds[node] = bounds[node.of]
            continue
        assert isinstance(node, Equation)
        grown = [_Body(node, bounds, n) for bounds, n in zip(known, (1, rows), strict=True)]
        for bounds, body in zip(known, grown, strict=True):
            bounds[node] = body.result
        low, high = (f(body.result[t] for body in grown) for t, f in ((0, min), (1, max)))
        lost = {name: tuple(dict.fromkeys(p for body in grown for p in body.lost[name])) for name in LARGEST}
        found.append(Finding(node, (low, high), tuple(_hazards(node, known)), lost))
    return found


def _of_constant(leaf: Leaf) -> Interval:
    value = leaf.value
    if isinstance(value, Distribution):
        return value.interval
    if leaf.kind != "constant" or not isinstance(value, np.ndarray) or not value.size:
        return REALS
    return float(value.min()), float(value.max())


def _hazards(y: Equation, known: Sequence[dict[Node, Interval]]) -> Iterator[Hazard]:
    """Where the body is not smooth or not defined, and the ties of a maximum."""
    at = {placeholder(j): _operand(op, known) for j, op in enumerate(y.operands)}
    for hazard in hazards(y.body, at)[1]:
        if hazard.kind in _KIND:
            yield hazard
    if y.reducer in ("max", "min") and not y.elementwise and y.body.free_symbols:
        yield Hazard("kink", y.body, f"ties of the {y.reducer} share the gradient equally")
    for op in y.operands:
        maps = op.at if isinstance(op, Read) else ()
        if any(isinstance(atom, Gather) and isinstance(atom.node, Equation) for a in maps for atom, _ in a.terms):
            yield Hazard("jump", y.body, "what is read depends on a computed place")


def _operand(op: Operand, known: Sequence[dict[Node, Interval]]) -> Interval:
    if isinstance(op, Read):
        both = [bounds[op.node] for bounds in known]
        return min(b[0] for b in both), max(b[1] for b in both)
    return (0.0, 1.0) if isinstance(op, Indicator) else REALS


class _Body(Quiet):
    """The interval of one equation for a number of rows, and what of it leaves the range of a precision."""

    def __init__(self, y: Equation, bounds: Mapping[Node, Interval], rows: int) -> None:
        self.rows = rows
        sizes = {extent_symbol(e): (float(rows), float(rows)) for e in _names(y)}
        reads = {placeholder(j): self._read(op, bounds, y) for j, op in enumerate(y.operands)}
        super().__init__({**sizes, **reads})
        self.lost: dict[str, list[str]] = {name: [] for name in LARGEST}
        self.below = _below(y)
        self.intervals: dict[Expr, Interval] = {}
        low, high = self.interval(y.body)
        if math.isnan(low) or math.isnan(high):
            low, high = REALS
        if y.masks:
            low, high = min(low, 0.0), max(high, 0.0)
        self.result = self._reduced(y, low, high)
        self._note(f"the {y.reducer}", self.result, [(low, high)])

    def _read(self, op: Operand, bounds: Mapping[Node, Interval], y: Equation) -> Interval:
        if isinstance(op, Read):
            return bounds[op.node]
        if isinstance(op, Indicator):
            return 0.0, 1.0
        return 0.0, float(max([self.rows, *(e for e in y.extents if isinstance(e, int))]))

    def interval(self, expr: Expr) -> Interval:
        found = self._shifted(expr) or super().interval(expr)
        if not expr.is_Atom:
            self._look(expr, found)
        self.intervals[expr] = found
        return found

    def _shifted(self, expr: Expr) -> Interval | None:
        """a - b where b is the logarithm of the sum of the exponentials of a, or its maximum: never above 0."""
        if not expr.is_Add:
            return None
        for a, b in self.below:
            if a in expr.args and -b in expr.args:
                low, rest = super().interval(a - b)[0], super().interval(expr - a + b)
                return low + rest[0], rest[1]
        return None

    def _look(self, expr: Expr, found: Interval) -> None:
        whole = Quiet(dict(self.known))
        parts = [self.intervals[a] if a in self.intervals else whole.interval(a) for a in expr.args]
        if expr.is_Pow and expr.exp.is_negative and parts[0][0] <= 0 <= parts[0][1]:
            return  # a pole: it is told as one
        entry = None if expr.is_Pow or expr.is_Add or expr.is_Mul else scalar_of(expr)
        if entry is not None and (entry.pole(parts[0]) or entry.open_domain and parts[0][0] <= entry.domain[0]):
            return
        self._note(str(expr), found, [p for p, a in zip(parts, expr.args, strict=True) if not a.is_number])

    def _note(self, text: str, found: Interval, parts: Sequence[Interval]) -> None:
        """What leaves the range although what it is made of does not: it begins here."""
        for name, largest in LARGEST.items():
            if max(map(abs, found)) > largest and all(max(map(abs, p)) <= largest for p in parts):
                self.lost[name].append(text)

    def _reduced(self, y: Equation, low: float, high: float) -> Interval:
        if y.elementwise or y.reducer in ("max", "min"):
            return low, high
        count = float(math.prod(e if isinstance(e, int) else self.rows for e in y.extents[y.n_free :]))
        if y.reducer == "sum":
            whole = (low * count if low else 0.0), (high * count if high else 0.0)
            return (min(whole[0], low), max(whole[1], high)) if y.masks else whole
        if y.reducer == "logsumexp":
            return low, high + math.log(max(count, 1.0))
        size = max(abs(low), abs(high))
        try:
            size = max(size**count, size) if size > 1 else 1.0
        except OverflowError:
            size = math.inf
        return (0.0 if low >= 0 else -size), size


def _names(y: Equation) -> list[str]:
    used = {str(s) for s in y.body.free_symbols}
    every: list[Extent] = [*y.extents, *(e for r in y.reads for e in r.node.shape)]
    return sorted(
        {e for e in every if isinstance(e, str)} | {u for u in used if u.isidentifier() and not u.startswith("a")}
    )


def _below(y: Equation) -> list[tuple[Symbol, Symbol]]:
    """Pairs of placeholders (a, b), where b reads the logsumexp or the maximum of what a reads, over an axis of it."""
    pairs = []
    for j, a in enumerate(y.operands):
        for k, b in enumerate(y.operands):
            if not (isinstance(a, Read) and isinstance(b, Read) and isinstance(b.node, Equation)):
                continue
            top = b.node
            plain = top.reducer in ("logsumexp", "max") and top.body == placeholder(0) and not top.masks
            if plain and [r.node for r in top.reads] == [a.node] and _within(b.at, a.at):
                pairs.append((placeholder(j), placeholder(k)))
    return pairs


def _within(few: Sequence[object], many: Sequence[object]) -> bool:
    """Whether the one is the other with some left out."""
    left = iter(many)
    return all(any(x == y for y in left) for x in few)
