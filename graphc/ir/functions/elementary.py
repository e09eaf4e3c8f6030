"""Powers, exponentials, logarithms, trigonometric and hyperbolic functions: mostly SymPy's own classes."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import sympy as sp
from sympy import Expr, Function

from graphc.ir.functions.choices import ZERO
from graphc.ir.functions.declaring import function, within
from graphc.ir.scalar_table import POSITIVE, REALS, Interval

_OVERFLOW = 709.0
"""exp of a larger argument is no finite float64 (88 for float32)."""
_BOTH = (-_OVERFLOW, _OVERFLOW)
_QUARTER = math.pi / 2
_ARC: dict[str, Any] = {"domain": (-1.0, 1.0), "slope_at_ends": "root", "cost": 20}
_erf = np.frompyfunc(math.erf, 1, 1)  # scipy.special has it too, but takes 0.15 s to import


def erf_reference(x: Any) -> Any:
    """The error function, and its derivative times an imaginary part."""
    dtype = np.result_type(x)
    dtype = dtype if dtype.kind in "fc" else np.dtype(np.float64)
    value = np.asarray(_erf(np.real(x)), dtype=dtype)[()]
    if dtype.kind != "c":
        return value
    return value + 2 / math.sqrt(math.pi) * np.exp(-(np.real(x) ** 2)) * (x - np.real(x))


def _poles_of_tan(x: Interval) -> str:
    inside = x[1] - x[0] >= math.pi or math.tan(x[0]) > math.tan(x[1])
    return "pi/2 plus a multiple of pi" if inside else ""


function(
    "exp",
    numpy=np.exp,
    interval="increasing",
    latex="e^{{{0}}}",
    cuda="math.exp({0})",
    public="exp",
    doc="e to the power x.",
    cost=20,
    finite=(-math.inf, _OVERFLOW),
    fades=True,
)(sp.exp)
function(
    "log",
    numpy=np.log,
    interval="increasing",
    cuda="math.log({0})",
    public="log",
    doc="The natural logarithm; written inside a loss as on paper, it is compiled stably.",
    aliases=("ln",),
    domain=POSITIVE,
    open_domain=True,
    cost=20,
)(sp.log)
function(
    "sqrt",
    numpy=np.sqrt,
    interval="increasing",
    unicode="√({0})",
    latex=r"\sqrt{{{0}}}",
    cuda="math.sqrt({0})",
    public="sqrt",
    doc="The square root.",
    domain=POSITIVE,
    cost=8,
)(sp.Pow)
function("tanh", numpy=np.tanh, interval="increasing", cuda="math.tanh({0})", public="tanh",
         doc="The hyperbolic tangent; its slope, 1 - tanh(x)**2, is exact to a unit of 1, not of itself.",
         activation=True, cost=20, fades=True)(sp.tanh)  # fmt: skip
function("sin", numpy=np.sin, interval=within(-1.0, 1.0), cuda="math.sin({0})", public="sin", doc="The sine.",
         cost=20)(sp.sin)  # fmt: skip
function("cos", numpy=np.cos, interval=within(-1.0, 1.0), cuda="math.cos({0})", public="cos", doc="The cosine.",
         cost=20)(sp.cos)  # fmt: skip
function("erf", numpy=erf_reference, interval="increasing", cuda="math.erf({0})", public="erf",
         doc="The error function 2/sqrt(pi) * integral of exp(-t**2) from 0 to x.", cost=20, fades=True)(
    sp.erf
)  # fmt: skip
function("tan", numpy=np.tan, interval=lambda x: REALS if _poles_of_tan(x) else (math.tan(x[0]), math.tan(x[1])),
         cuda="math.tan({0})", public="tan", doc="The tangent.", pole=_poles_of_tan, cost=20)(sp.tan)  # fmt: skip
function("sinh", numpy=np.sinh, interval="increasing", cuda="math.sinh({0})", public="sinh",
         doc="The hyperbolic sine.", finite=_BOTH, cost=20)(sp.sinh)  # fmt: skip
function("cosh", numpy=np.cosh, interval="even", cuda="math.cosh({0})", public="cosh",
         doc="The hyperbolic cosine.", finite=_BOTH, fades=True, cost=20)(sp.cosh)  # fmt: skip
function("asin", numpy=np.arcsin, interval=within(-_QUARTER, _QUARTER), cuda="math.asin({0})", doc="The inverse sine.",
         public="arcsin", also=("asin",), **_ARC)(sp.asin)  # fmt: skip
function("acos", numpy=np.arccos, interval=within(0.0, math.pi), cuda="math.acos({0})", doc="The inverse cosine.",
         public="arccos", also=("acos",), **_ARC)(sp.acos)  # fmt: skip
function("atan", numpy=np.arctan, interval="increasing", cuda="math.atan({0})", doc="The inverse tangent.",
         public="arctan", also=("atan",), cost=20, fades=True)(sp.atan)  # fmt: skip


@function(
    "log1p",
    numpy=np.log1p,
    interval="increasing",
    cuda="math.log1p({0})",
    public="log1p",
    doc="log(1 + x), accurate near 0.",
    paper=lambda x: sp.log(1 + x),
    domain=(-1.0, math.inf),
    open_domain=True,
    careful=True,
    cost=20,
)
class log1p(Function):
    """log(1 + x), accurate near x = 0."""

    is_real = True
    nargs = 1

    @classmethod
    def eval(cls, x: Expr) -> Expr | None:
        return ZERO if x is ZERO else None

    def fdiff(self, argindex: int = 1) -> Expr:
        return 1 / (1 + self.args[0])


@function(
    "expm1",
    numpy=np.expm1,
    interval="increasing",
    cuda="math.expm1({0})",
    public="expm1",
    doc="exp(x) - 1, accurate near 0.",
    paper=lambda x: sp.exp(x) - 1,
    finite=(-math.inf, _OVERFLOW),
    careful=True,
    cost=20,
)
class expm1(Function):
    """exp(x) - 1, accurate near x = 0."""

    is_real = True
    nargs = 1

    @classmethod
    def eval(cls, x: Expr) -> Expr | None:
        return ZERO if x is ZERO else None

    def fdiff(self, argindex: int = 1) -> Expr:
        return sp.exp(self.args[0])
