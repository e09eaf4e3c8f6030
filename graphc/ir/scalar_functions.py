"""The scalar functions SymPy lacks, as SymPy classes: a value on numbers, a derivative, real-valued.

SymPy's own `Abs`, `Max`, `sign`, `Piecewise`, ... are not used in bodies: their derivatives bring in distributions, and
their automatic rewriting depends on assumptions. Conventions: the derivative of a kink is the subgradient named in the
table of :mod:`graphc.ir.scalar`; the derivative of a jump is 0.
"""

from __future__ import annotations

from typing import Any

import sympy as sp
from sympy import Expr, Function, S

ZERO, ONE, HALF = S.Zero, S.One, S.Half


def _numbers(*args: Any) -> bool:
    return all(a.is_Number and a is not S.NaN for a in args)


class step(Function):
    """1 for x > 0, else 0. Derivative 0."""

    is_real = True
    is_nonnegative = True
    nargs = 1

    @classmethod
    def eval(cls, x: Expr) -> Expr | None:
        return (ONE if x > 0 else ZERO) if _numbers(x) else None

    def fdiff(self, argindex: int = 1) -> Expr:
        return ZERO


class sign(Function):
    """-1, 0, 1. Derivative 0."""

    is_real = True
    nargs = 1

    @classmethod
    def eval(cls, x: Expr) -> Expr | None:
        return sp.sign(x) if _numbers(x) else None

    def fdiff(self, argindex: int = 1) -> Expr:
        return ZERO


class absolute(Function):
    """|x|. Derivative sign(x), which is 0 at 0."""

    is_real = True
    is_nonnegative = True
    nargs = 1

    @classmethod
    def eval(cls, x: Expr) -> Expr | None:
        if _numbers(x):
            return abs(x)
        return x if x.is_nonnegative else None

    def fdiff(self, argindex: int = 1) -> Expr:
        return sign(self.args[0])


class round_(Function):
    """The nearest integer, halves to the even one. Derivative 0."""

    is_real = True
    is_integer = True
    nargs = 1

    @classmethod
    def eval(cls, x: Expr) -> Expr | None:
        return sp.Integer(round(x)) if _numbers(x) and x.is_finite else None

    def fdiff(self, argindex: int = 1) -> Expr:
        return ZERO


class floor_(Function):
    """The largest integer not above x. Derivative 0."""

    is_real = True
    is_integer = True
    nargs = 1

    @classmethod
    def eval(cls, x: Expr) -> Expr | None:
        return sp.floor(x) if _numbers(x) and x.is_finite else None

    def fdiff(self, argindex: int = 1) -> Expr:
        return ZERO


class relu(Function):
    """max(x, 0). Derivative step(x)."""

    is_real = True
    is_nonnegative = True
    nargs = 1

    @classmethod
    def eval(cls, x: Expr) -> Expr | None:
        return (x if x > 0 else ZERO) if _numbers(x) else None

    def fdiff(self, argindex: int = 1) -> Expr:
        return step(self.args[0])


class leaky_relu(Function):
    """x for x > 0, else alpha*x."""

    is_real = True
    nargs = 2

    @classmethod
    def eval(cls, x: Expr, alpha: Expr) -> Expr | None:
        return (x if x > 0 else alpha * x) if _numbers(x) else None

    def fdiff(self, argindex: int = 1) -> Expr:
        x, alpha = self.args
        return where(step(x), ONE, alpha) if argindex == 1 else -relu(-x)


class elu(Function):
    """x for x > 0, else alpha*(exp(x) - 1)."""

    is_real = True
    nargs = 2

    @classmethod
    def eval(cls, x: Expr, alpha: Expr) -> Expr | None:
        return x if _numbers(x) and x > 0 else ZERO if x is ZERO else None

    def fdiff(self, argindex: int = 1) -> Expr:
        x, alpha = self.args
        return where(step(x), ONE, alpha * sp.exp(x)) if argindex == 1 else expm1(-relu(-x))


class maximum(Function):
    """The larger of a and b. At a tie both derivatives are 1/2."""

    is_real = True
    nargs = 2

    @classmethod
    def eval(cls, a: Expr, b: Expr) -> Expr | None:
        return sp.Max(a, b) if _numbers(a, b) else None

    def fdiff(self, argindex: int = 1) -> Expr:
        mine, other = self.args if argindex == 1 else self.args[::-1]
        return (less(other, mine) + less_equal(other, mine)) / 2


class minimum(Function):
    """The smaller of a and b. At a tie both derivatives are 1/2."""

    is_real = True
    nargs = 2

    @classmethod
    def eval(cls, a: Expr, b: Expr) -> Expr | None:
        return sp.Min(a, b) if _numbers(a, b) else None

    def fdiff(self, argindex: int = 1) -> Expr:
        mine, other = self.args if argindex == 1 else self.args[::-1]
        return (less(mine, other) + less_equal(mine, other)) / 2


class where(Function):
    """a where c is not 0, else b. Differentiates branchwise: a NaN of the branch not taken must not leak."""

    is_real = True
    nargs = 3

    @classmethod
    def eval(cls, c: Expr, a: Expr, b: Expr) -> Expr | None:
        if _numbers(c):
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

    ``guarded(r, r*s, 0)`` is shown as r*s (:mod:`graphc.derive.care`), and ``guarded(u < t, far, plain)`` as ``plain``,
    which leaves the range of numbers where u < t (:mod:`graphc.rewrite.range_rules`).
    """


class equal(Function):
    """1 where a = b, else 0. Derivative 0."""

    is_real = True
    is_nonnegative = True
    nargs = 2

    @classmethod
    def eval(cls, a: Expr, b: Expr) -> Expr | None:
        return (ONE if (a - b).is_zero else ZERO) if _numbers(a, b) else None

    def fdiff(self, argindex: int = 1) -> Expr:
        return ZERO


class less(Function):
    """1 where a < b, else 0. Derivative 0."""

    is_real = True
    is_nonnegative = True
    nargs = 2

    @classmethod
    def eval(cls, a: Expr, b: Expr) -> Expr | None:
        return (ONE if a < b else ZERO) if _numbers(a, b) else None

    def fdiff(self, argindex: int = 1) -> Expr:
        return ZERO


class less_equal(Function):
    """1 where a <= b, else 0. Derivative 0."""

    is_real = True
    is_nonnegative = True
    nargs = 2

    @classmethod
    def eval(cls, a: Expr, b: Expr) -> Expr | None:
        return (ONE if a <= b else ZERO) if _numbers(a, b) else None

    def fdiff(self, argindex: int = 1) -> Expr:
        return ZERO


class sigmoid(Function):
    """1/(1 + exp(-x)). Derivative sigmoid(x)*sigmoid(-x): 1 - sigmoid(x) would cancel in the right tail."""

    is_real = True
    is_positive = True
    nargs = 1

    @classmethod
    def eval(cls, x: Expr) -> Expr | None:
        return HALF if x is ZERO else None

    def fdiff(self, argindex: int = 1) -> Expr:
        return self * sigmoid(-self.args[0])


class softplus(Function):
    """log(1 + exp(x)). Derivative sigmoid(x)."""

    is_real = True
    is_positive = True
    nargs = 1

    @classmethod
    def eval(cls, x: Expr) -> Expr | None:
        return sp.log(2) if x is ZERO else None

    def fdiff(self, argindex: int = 1) -> Expr:
        return sigmoid(self.args[0])


class log1p(Function):
    """log(1 + x), accurate near x = 0."""

    is_real = True
    nargs = 1

    @classmethod
    def eval(cls, x: Expr) -> Expr | None:
        return ZERO if x is ZERO else None

    def fdiff(self, argindex: int = 1) -> Expr:
        return 1 / (1 + self.args[0])


class expm1(Function):
    """exp(x) - 1, accurate near x = 0."""

    is_real = True
    nargs = 1

    @classmethod
    def eval(cls, x: Expr) -> Expr | None:
        return ZERO if x is ZERO else None

    def fdiff(self, argindex: int = 1) -> Expr:
        return sp.exp(self.args[0])


class logcosh(Function):
    """log(cosh(x)) without overflow. Derivative tanh(x)."""

    is_real = True
    is_nonnegative = True
    nargs = 1

    @classmethod
    def eval(cls, x: Expr) -> Expr | None:
        return ZERO if x is ZERO else None

    def fdiff(self, argindex: int = 1) -> Expr:
        return sp.tanh(self.args[0])


class xlogx(Function):
    """x*log(x) with its limit 0 at x = 0. Derivative log(x) + 1."""

    is_real = True
    nargs = 1

    @classmethod
    def eval(cls, x: Expr) -> Expr | None:
        return ZERO if x in (ZERO, ONE) else None

    def fdiff(self, argindex: int = 1) -> Expr:
        return sp.log(self.args[0]) + 1


class bce(Function):
    """softplus(z) - t*z: the cross-entropy of sigmoid(z) and t, with an evaluation order of its own."""

    is_real = True
    nargs = 2

    @classmethod
    def eval(cls, z: Expr, t: Expr) -> Expr | None:
        return sp.log(2) if z is ZERO else None

    def fdiff(self, argindex: int = 1) -> Expr:
        z, t = self.args
        return sigmoid_minus(z, t) if argindex == 1 else -z


class sigmoid_minus(Function):
    """sigmoid(z) - t, accurate for t = 1 where the difference cancels."""

    is_real = True
    nargs = 2

    @classmethod
    def eval(cls, z: Expr, t: Expr) -> Expr | None:
        return HALF - t if z is ZERO else None

    def fdiff(self, argindex: int = 1) -> Expr:
        z = self.args[0]
        return sigmoid(z) * sigmoid(-z) if argindex == 1 else S.NegativeOne


class stop_gradient(Function):
    """x itself, with derivative 0 by declaration."""

    is_real = True
    nargs = 1

    @classmethod
    def eval(cls, x: Expr) -> Expr | None:
        return x if _numbers(x) else None

    def fdiff(self, argindex: int = 1) -> Expr:
        return ZERO
