"""Functions that choose: signs, roundings, extremes, comparisons.

SymPy's own `Abs`, `Max`, `sign`, `Piecewise`, ... are not used in bodies: their derivatives bring in distributions, and
their automatic rewriting depends on assumptions. Conventions: the derivative of a kink is the subgradient named in its
declaration; the derivative of a jump is 0.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import sympy as sp
from sympy import Expr, Function, S

from graphc.ir.functions.arrays import flag, magnitude, part, positive
from graphc.ir.functions.declaring import function, hull, within
from graphc.ir.scalar_table import BY_CLASS, FUNCTIONS, WORDS, Break, Interval

ZERO, ONE, HALF = S.Zero, S.One, S.Half
KINK = (Break(0.0, "subgradient 0 at 0"),)
_TIE = (Break(0.0, "ties share the gradient equally", difference=True),)
_WHOLE = (Break(math.nan, "jumps between whole numbers"),)
_FLAT: dict[str, Any] = {"jumps": (Break(0.0, "jumps at 0"),), "zero_gradient": True}
_ROUNDED: dict[str, Any] = {"jumps": _WHOLE, "zero_gradient": True}
_CROSSING = (Break(0.0, "jumps where both sides are equal", difference=True),)
_TEST: dict[str, Any] = {
    "arguments": "a b", "jumps": _CROSSING, "zero_gradient": True, "chooses": True, "interval": within(0.0, 1.0)
}  # fmt: skip
_RINT = "({0} if abs({0}) >= f(BIG) else math.copysign((abs({0}) + f(BIG)) - f(BIG), {0}))"


def numbers(*args: Any) -> bool:
    """Whether all are numbers that can be compared."""
    return all(a.is_Number and a is not S.NaN for a in args)


@function(
    "step",
    plain=lambda x: sp.Piecewise((1, x > 0), (0, True)),
    numpy=lambda x: flag(positive(x), x),
    interval="increasing",
    unicode="[{0} > 0]",
    latex=r"\left[{0} > 0\right]",
    cuda="(f(1.0) if {0} > f(0.0) else f(0.0))",
    chooses=True,
    aliases=("heaviside",),
    **_FLAT,
)
class step(Function):
    """1 for x > 0, else 0. Derivative 0."""

    is_real = True
    is_nonnegative = True
    nargs = 1

    @classmethod
    def eval(cls, x: Expr) -> Expr | None:
        return (ONE if x > 0 else ZERO) if numbers(x) else None

    def fdiff(self, argindex: int = 1) -> Expr:
        return ZERO


@function(
    "sign",
    numpy=lambda x: np.where(np.isnan(x), x, np.sign(np.real(x)))[()],
    interval="increasing",
    cuda="(f(1.0) if {0} > f(0.0) else f(-1.0) if {0} < f(0.0) else {0})",
    public="sign",
    doc="-1, 0 or 1; its gradient is 0.",
    means=(sp.sign,),
    chooses=True,
    **_FLAT,
)
class sign(Function):
    """-1, 0, 1. Derivative 0."""

    is_real = True
    nargs = 1

    @classmethod
    def eval(cls, x: Expr) -> Expr | None:
        return sp.sign(x) if numbers(x) else None

    def fdiff(self, argindex: int = 1) -> Expr:
        return ZERO


@function(
    "absolute",
    numpy=magnitude,
    interval="even",
    unicode="|{0}|",
    latex=r"\left|{0}\right|",
    cuda="abs({0})",
    public="abs",
    doc="|x|, with derivative sign(x), 0 at 0; the same as ``abs(x)`` of Python.",
    also=("absolute", "fabs"),
    means=(sp.Abs,),
    kinks=KINK,
)
class absolute(Function):
    """|x|. Derivative sign(x), which is 0 at 0."""

    is_real = True
    is_nonnegative = True
    nargs = 1

    @classmethod
    def eval(cls, x: Expr) -> Expr | None:
        if numbers(x):
            return abs(x)
        return x if x.is_nonnegative else None

    def fdiff(self, argindex: int = 1) -> Expr:
        return sign(self.args[0])


@function(
    "round_",
    numpy=lambda x: np.rint(np.real(x)),
    interval="increasing",
    cuda=_RINT,
    public="round",
    also=("rint", "around"),
    doc="The nearest whole number, halves to the even one; its gradient is 0.",
    **_ROUNDED,
)
class round_(Function):
    """The nearest integer, halves to the even one. Derivative 0."""

    is_real = True
    is_integer = True
    nargs = 1

    @classmethod
    def eval(cls, x: Expr) -> Expr | None:
        return sp.Integer(round(x)) if numbers(x) and x.is_finite else None

    def fdiff(self, argindex: int = 1) -> Expr:
        return ZERO


@function(
    "floor_",
    numpy=lambda x: np.floor(np.real(x)),
    interval="increasing",
    unicode="⌊{0}⌋",
    latex=r"\left\lfloor {0}\right\rfloor",
    cuda=f"({_RINT} - (f(1.0) if {_RINT} > {{0}} else f(0.0)))",
    public="floor",
    doc="The largest whole number not above x; its gradient is 0.",
    means=(sp.floor,),
    **_ROUNDED,
)
class floor_(Function):
    """The largest integer not above x. Derivative 0."""

    is_real = True
    is_integer = True
    nargs = 1

    @classmethod
    def eval(cls, x: Expr) -> Expr | None:
        return sp.floor(x) if numbers(x) and x.is_finite else None

    def fdiff(self, argindex: int = 1) -> Expr:
        return ZERO


@function(
    "equal",
    plain=lambda a, b: sp.Piecewise((1, sp.Eq(a, b)), (0, True)),
    numpy=lambda a, b: flag(np.real(a) == np.real(b), a),
    unicode="[{0} = {1}]",
    latex=r"\left[{0} = {1}\right]",
    cuda="(f(1.0) if {0} == {1} else f(0.0))",
    **_TEST,
)
class equal(Function):
    """1 where a = b, else 0. Derivative 0."""

    is_real = True
    is_nonnegative = True
    nargs = 2

    @classmethod
    def eval(cls, a: Expr, b: Expr) -> Expr | None:
        return (ONE if (a - b).is_zero else ZERO) if numbers(a, b) else None

    def fdiff(self, argindex: int = 1) -> Expr:
        return ZERO


@function(
    "less",
    plain=lambda a, b: sp.Piecewise((1, a < b), (0, True)),
    numpy=lambda a, b: flag(np.real(a) < np.real(b), a),
    unicode="[{0} < {1}]",
    latex=r"\left[{0} < {1}\right]",
    cuda="(f(1.0) if {0} < {1} else f(0.0))",
    public="less",
    doc="1 where a < b, else 0.",
    aliases=("lt",),
    **_TEST,
)
class less(Function):
    """1 where a < b, else 0. Derivative 0."""

    is_real = True
    is_nonnegative = True
    nargs = 2

    @classmethod
    def eval(cls, a: Expr, b: Expr) -> Expr | None:
        return (ONE if a < b else ZERO) if numbers(a, b) else None

    def fdiff(self, argindex: int = 1) -> Expr:
        return ZERO


@function(
    "less_equal",
    plain=lambda a, b: sp.Piecewise((1, a <= b), (0, True)),
    numpy=lambda a, b: flag(np.real(a) <= np.real(b), a),
    unicode="[{0} ≤ {1}]",
    latex=r"\left[{0} \le {1}\right]",
    cuda="(f(1.0) if {0} <= {1} else f(0.0))",
    public="less_equal",
    doc="1 where a <= b, else 0.",
    aliases=("le",),
    **_TEST,
)
class less_equal(Function):
    """1 where a <= b, else 0. Derivative 0."""

    is_real = True
    is_nonnegative = True
    nargs = 2

    @classmethod
    def eval(cls, a: Expr, b: Expr) -> Expr | None:
        return (ONE if a <= b else ZERO) if numbers(a, b) else None

    def fdiff(self, argindex: int = 1) -> Expr:
        return ZERO


@function(
    "isfinite",
    numpy=lambda x: flag(np.isfinite(np.real(x)), x),
    interval=within(0.0, 1.0),
    cuda="(f(1.0) if abs({0}) < INF else f(0.0))",
    public="isfinite",
    doc="1 where x is neither infinite nor NaN, else 0.",
    zero_gradient=True,
    chooses=True,
)
class isfinite(Function):
    """1 where x is neither infinite nor NaN, else 0. Derivative 0."""

    is_real = True
    is_nonnegative = True
    nargs = 1

    @classmethod
    def eval(cls, x: Expr) -> Expr | None:
        return ONE if numbers(x) and x.is_finite else None

    def fdiff(self, argindex: int = 1) -> Expr:
        return ZERO


@function(
    "relu",
    plain=lambda x: sp.Piecewise((x, x > 0), (0, True)),
    numpy=part,
    interval="increasing",
    cuda="(f(0.0) if {0} <= f(0.0) else {0})",
    public="relu",
    activation=True,
    doc="max(x, 0); its derivative at 0 is 0.",
    kinks=KINK,
)
class relu(Function):
    """max(x, 0). Derivative step(x)."""

    is_real = True
    is_nonnegative = True
    nargs = 1

    @classmethod
    def eval(cls, x: Expr) -> Expr | None:
        return (x if x > 0 else ZERO) if numbers(x) else None

    def fdiff(self, argindex: int = 1) -> Expr:
        return step(self.args[0])


def _larger(a: Interval, b: Interval) -> Interval:
    return max(a[0], b[0]), max(a[1], b[1])


def _smaller(a: Interval, b: Interval) -> Interval:
    return min(a[0], b[0]), min(a[1], b[1])


@function(
    "maximum",
    plain=lambda a, b: sp.Max(a, b),
    numpy=lambda a, b: np.where((np.real(a) >= np.real(b)) | np.isnan(a), a, b)[()],
    interval=_larger,
    shown="max",
    cuda="({0} if {0} > {1} or {0} != {0} else {1})",
    arguments="a b",
    public="maximum",
    doc="The larger of a and b, element by element; at a tie each side takes half of the gradient.",
    aliases=("max",),
    folds=True,
    kinks=_TIE,
)
class maximum(Function):
    """The larger of a and b. At a tie both derivatives are 1/2."""

    is_real = True
    nargs = 2

    @classmethod
    def eval(cls, a: Expr, b: Expr) -> Expr | None:
        return sp.Max(a, b) if numbers(a, b) else None

    def fdiff(self, argindex: int = 1) -> Expr:
        mine, other = self.args if argindex == 1 else self.args[::-1]
        return (less(other, mine) + less_equal(other, mine)) / 2


@function(
    "minimum",
    plain=lambda a, b: sp.Min(a, b),
    numpy=lambda a, b: np.where((np.real(a) <= np.real(b)) | np.isnan(a), a, b)[()],
    interval=_smaller,
    shown="min",
    cuda="({0} if {0} < {1} or {0} != {0} else {1})",
    arguments="a b",
    public="minimum",
    doc="The smaller of a and b, element by element; at a tie each side takes half of the gradient.",
    aliases=("min",),
    folds=True,
    kinks=_TIE,
)
class minimum(Function):
    """The smaller of a and b. At a tie both derivatives are 1/2."""

    is_real = True
    nargs = 2

    @classmethod
    def eval(cls, a: Expr, b: Expr) -> Expr | None:
        return sp.Min(a, b) if numbers(a, b) else None

    def fdiff(self, argindex: int = 1) -> Expr:
        mine, other = self.args if argindex == 1 else self.args[::-1]
        return (less(mine, other) + less_equal(mine, other)) / 2


@function(
    "where",
    plain=lambda c, a, b: sp.Piecewise((b, sp.Eq(c, 0)), (a, True)),
    numpy=lambda c, a, b: np.where(np.real(c) != 0, a, b)[()],
    interval=lambda c, a, b: hull(a, b),
    cuda="({1} if {0} != f(0.0) else {2})",
    arguments="c a b",
    chooses=True,
)
class where(Function):
    """a where c is not 0, else b. Differentiates branchwise: a NaN of the branch not taken must not leak."""

    is_real = True
    nargs = 3

    @classmethod
    def eval(cls, c: Expr, a: Expr, b: Expr) -> Expr | None:
        if numbers(c):
            return b if c.is_zero else a
        return a if a == b else None

    def _eval_derivative(self, s: sp.Symbol) -> Expr:
        c, a, b = self.args
        return self.func(c, a.diff(s), b.diff(s))

    def fdiff(self, argindex: int = 1) -> Expr:
        c = self.args[0]
        return (ZERO, where(c, ONE, ZERO), where(c, ZERO, ONE))[argindex - 1]


class guarded(where):
    """A ``where`` of the compiler's own, of which formulas show one branch alone.

    ``guarded(r, r*s, 0)`` is shown as r*s (:mod:`graphc.derive.zero_times_infinity`), and ``guarded(u < t, far,
    plain)`` as ``plain``, which leaves the range of numbers where u < t (:mod:`graphc.rewrite.range_rules`).
    """

    def _eval_derivative(self, s: sp.Symbol) -> Expr:
        """Where r is 0, r*s is not flat: its derivative is that of the product, and 0 where that is no number."""
        c, a, b = self.args
        if b != 0:
            return super()._eval_derivative(s)
        masks, slope = masks_apart(a.diff(s))
        return sp.Mul(*masks, guarded(maximum(absolute(c), isfinite(slope)), slope, ZERO))


def masks_apart(e: Expr) -> tuple[list[Expr], Expr]:
    """The factors that the constructor of equations makes masks of, and what is left: they have to stay factors.

    A factor of all terms of a sum is one of the sum.
    """
    masks: list[Expr] = []
    rest: list[Expr] = []
    for f in sp.Mul.make_args(e):
        if isinstance(f, where) and f.args[1:] == (ONE, ZERO):
            masks.append(f)
        elif f.is_Add:
            terms = [masks_apart(term) for term in f.args]
            common = [m for m in terms[0][0] if all(m in found for found, _ in terms)]
            masks += [m for m in common if m not in masks]
            rest.append(sp.Add(*(sp.Mul(left, *(m for m in found if m not in common)) for found, left in terms)))
        else:
            rest.append(f)
    return masks, sp.Mul(*rest)


BY_CLASS[guarded] = FUNCTIONS["where"]
WORDS["guarded"] = replace(FUNCTIONS["where"], name="guarded", cls=guarded)  # formula text keeps it apart


@function(
    "stop_gradient",
    numpy=lambda x: x,
    interval=lambda x: x,
    public="stop_gradient",
    doc="x itself, which counts as a constant when derivatives are taken.",
    cost=0,
)
class stop_gradient(Function):
    """x itself, with derivative 0 by declaration."""

    is_real = True
    nargs = 1

    @classmethod
    def eval(cls, x: Expr) -> Expr | None:
        return x if numbers(x) else None

    def fdiff(self, argindex: int = 1) -> Expr:
        return ZERO
