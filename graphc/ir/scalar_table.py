"""The table of scalar functions: names, references, printed forms, intervals, and where they are not smooth."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import sympy as sp
from sympy import Expr

from graphc.ir import scalar_functions as own
from graphc.ir import scalar_numpy as ref

Interval = tuple[float, float]
REALS: Interval = (-math.inf, math.inf)


@dataclass(frozen=True)
class Break:
    """A kink or jump of a function: where its first argument, or the difference of its two, is `at`."""

    at: float
    text: str
    difference: bool = False


@dataclass(frozen=True)
class Scalar:
    """One scalar function: how it is written, evaluated and bounded, and where it is not smooth.

    `interval` maps closed argument intervals to a closed interval of the value (floats saturate: sigmoid gives [0, 1]);
    `domain` is the closed real domain of the first argument, `open_domain` says that its finite ends are poles; `kinks`
    and `jumps` are inner points; `unicode` and `latex` are templates for `str.format` with the printed arguments.
    """

    name: str
    cls: Any
    arity: int
    numpy: Callable[..., Any] = field(repr=False)
    unicode: str = ""
    latex: str = ""
    interval: Callable[..., Interval] = field(default=lambda *args: REALS, repr=False)
    domain: Interval = REALS
    open_domain: bool = False
    kinks: tuple[Break, ...] = ()
    jumps: tuple[Break, ...] = ()
    zero_gradient: bool = False
    cost: int = 2

    def __call__(self, *args: Expr) -> Expr:
        """The function applied to expressions (sqrt becomes a power, as SymPy has it)."""
        return sp.sqrt(args[0]) if self.name == "sqrt" else self.cls(*args)


# ---------------------------------------------------------------- intervals


def _increasing(f: Callable[[Any], Any], low: float = -math.inf) -> Callable[[Interval], Interval]:
    def bounds(x: Interval) -> Interval:
        with np.errstate(all="ignore"):
            ends = [float(f(np.float64(max(v, low)))) for v in x]
        return (-math.inf if ends[0] != ends[0] else ends[0]), (math.inf if ends[1] != ends[1] else ends[1])

    return bounds


def _even(f: Callable[[Any], Any]) -> Callable[[Interval], Interval]:
    grow = _increasing(f, 0.0)
    return lambda x: grow((0.0 if x[0] <= 0 <= x[1] else min(map(abs, x)), max(map(abs, x))))


def _within(lo: float, hi: float) -> Callable[..., Interval]:
    return lambda *args: (lo, hi)


def _hull(*parts: Interval) -> Interval:
    return min(p[0] for p in parts), max(p[1] for p in parts)


def _bent(x: Interval, alpha: Interval, f: Callable[[float], float]) -> Interval:
    low = f(min(x[0], 0.0))
    products = [0.0 if low == 0 or a == 0 else low * a for a in alpha]
    return _hull((max(x[0], 0.0), max(x[1], 0.0)), (min(products), max(products)), *([(0.0, 0.0)] if x[0] < 0 else []))


def _xlogx_interval(x: Interval) -> Interval:
    values = [0.0 if v <= 0 else math.inf if v == math.inf else v * math.log(v) for v in x]
    inside = [-1 / math.e] if x[0] <= 1 / math.e <= x[1] else []
    return min(values + inside), max(values)


def _bce_interval(z: Interval, t: Interval) -> Interval:
    return (0.0, math.inf) if t[0] >= 0 and t[1] <= 1 else REALS


def _leaky_interval(x: Interval, alpha: Interval) -> Interval:
    return _bent(x, alpha, lambda v: v)


def _elu_interval(x: Interval, alpha: Interval) -> Interval:
    return _bent(x, alpha, math.expm1)


def _maximum_interval(a: Interval, b: Interval) -> Interval:
    return max(a[0], b[0]), max(a[1], b[1])


def _minimum_interval(a: Interval, b: Interval) -> Interval:
    return min(a[0], b[0]), min(a[1], b[1])


_POSITIVE: Interval = (0.0, math.inf)
_KINK = (Break(0.0, "subgradient 0 at 0"),)
_BEND = (Break(0.0, "derivative alpha at 0"),)
_TIE = (Break(0.0, "ties share the gradient equally", difference=True),)
_WHOLE = (Break(math.nan, "jumps between whole numbers"),)
_FLAT: dict[str, Any] = {"jumps": (Break(0.0, "jumps at 0"),), "zero_gradient": True}
_CROSSING = (Break(0.0, "jumps where both sides are equal", difference=True),)
_TEST: dict[str, Any] = {"arity": 2, "jumps": _CROSSING, "zero_gradient": True}


def _entry(
    name: str,
    cls: Any,
    numpy: Callable[..., Any],
    interval: Callable[..., Interval] = lambda *args: REALS,
    unicode: str = "",
    latex: str = "",
    arity: int = 1,
    **properties: Any,
) -> Scalar:
    slots = ", ".join(f"{{{i}}}" for i in range(arity))
    shown = _SHORT.get(name.rstrip("_"), name.rstrip("_"))
    word = _LATEX_NAMES.get(shown, shown)
    command = rf"\{word}" if word in _LATEX_COMMANDS else rf"\operatorname{{{{{word}}}}}"
    latex = latex or rf"{command}\left({slots}\right)"
    unicode = unicode or f"{shown}({slots})"
    return Scalar(name, cls, arity, numpy, unicode, latex, interval, **properties)


_SHORT = {"maximum": "max", "minimum": "min"}
_LATEX_NAMES = {"leaky_relu": r"leaky\_relu", "asin": "arcsin", "acos": "arccos", "atan": "arctan"}
_LATEX_COMMANDS = frozenset(
    ("exp", "log", "tanh", "sin", "cos", "tan", "sinh", "cosh", "max", "min", "arcsin", "arccos", "arctan")
)

_TABLE = (
    _entry("exp", sp.exp, np.exp, _increasing(np.exp), latex="e^{{{0}}}", cost=20),
    _entry("log", sp.log, np.log, _increasing(np.log, 0.0), domain=_POSITIVE, open_domain=True, cost=20),
    _entry("sqrt", sp.Pow, np.sqrt, _increasing(np.sqrt, 0.0), "√({0})", r"\sqrt{{{0}}}", domain=_POSITIVE, cost=8),
    _entry("tanh", sp.tanh, np.tanh, _increasing(np.tanh), cost=20),
    _entry("sin", sp.sin, np.sin, _within(-1.0, 1.0), cost=20),
    _entry("cos", sp.cos, np.cos, _within(-1.0, 1.0), cost=20),
    _entry("erf", sp.erf, ref.erf, _increasing(ref.erf), cost=20),
    _entry("tan", sp.tan, np.tan, cost=20),
    _entry("sinh", sp.sinh, np.sinh, _increasing(np.sinh), cost=20),
    _entry("cosh", sp.cosh, np.cosh, _even(np.cosh), cost=20),
    _entry("asin", sp.asin, np.arcsin, _within(-math.pi / 2, math.pi / 2), domain=(-1.0, 1.0), cost=20),
    _entry("acos", sp.acos, np.arccos, _within(0.0, math.pi), domain=(-1.0, 1.0), cost=20),
    _entry("atan", sp.atan, np.arctan, _increasing(np.arctan), cost=20),
    _entry("sigmoid", own.sigmoid, ref.sigmoid, _increasing(ref.sigmoid), "σ({0})", r"\sigma\left({0}\right)", cost=20),
    _entry("softplus", own.softplus, ref.softplus, _increasing(ref.softplus), cost=40),
    _entry("relu", own.relu, ref.relu, _increasing(ref.relu), kinks=_KINK),
    _entry("leaky_relu", own.leaky_relu, ref.leaky_relu, _leaky_interval, arity=2, kinks=_BEND, cost=3),
    _entry("elu", own.elu, ref.elu, _elu_interval, arity=2, kinks=_BEND, cost=22),
    _entry("step", own.step, ref.step, _increasing(ref.step), "[{0} > 0]", r"\left[{0} > 0\right]", **_FLAT),
    _entry("absolute", own.absolute, ref.absolute, _even(np.abs), "|{0}|", r"\left|{0}\right|", kinks=_KINK),
    _entry("sign", own.sign, ref.sign, _increasing(np.sign), **_FLAT),
    _entry("round_", own.round_, ref.round_, _increasing(np.rint), jumps=_WHOLE, zero_gradient=True),
    _entry("floor_", own.floor_, ref.floor_, _increasing(np.floor), "⌊{0}⌋", r"\left\lfloor {0}\right\rfloor",
           jumps=_WHOLE, zero_gradient=True),
    _entry("maximum", own.maximum, ref.maximum, _maximum_interval, arity=2, kinks=_TIE),
    _entry("minimum", own.minimum, ref.minimum, _minimum_interval, arity=2, kinks=_TIE),
    _entry("where", own.where, ref.where, lambda c, a, b: _hull(a, b), arity=3),
    _entry("equal", own.equal, ref.equal, _within(0.0, 1.0), "[{0} = {1}]", r"\left[{0} = {1}\right]", **_TEST),
    _entry("less", own.less, ref.less, _within(0.0, 1.0), "[{0} < {1}]", r"\left[{0} < {1}\right]", **_TEST),
    _entry("less_equal", own.less_equal, ref.less_equal, _within(0.0, 1.0), "[{0} ≤ {1}]", r"\left[{0} \le {1}\right]",
           **_TEST),
    _entry("log1p", own.log1p, np.log1p, _increasing(np.log1p, -1.0), domain=(-1.0, math.inf), open_domain=True,
           cost=20),
    _entry("expm1", own.expm1, np.expm1, _increasing(np.expm1), cost=20),
    _entry("logcosh", own.logcosh, ref.logcosh, _even(ref.logcosh), cost=40),
    _entry("xlogx", own.xlogx, ref.xlogx, _xlogx_interval, domain=_POSITIVE, cost=22),
    _entry("bce", own.bce, ref.bce, _bce_interval, arity=2, cost=42),
    _entry("sigmoid_minus", own.sigmoid_minus, ref.sigmoid_minus, lambda z, t: (0.0 - t[1], 1.0 - t[0]),
           "(σ({0}) - {1})", r"\left(\sigma\left({0}\right) - {1}\right)", arity=2, cost=22),
    _entry("stop_gradient", own.stop_gradient, lambda x: x, lambda x: x, cost=0),
)  # fmt: skip

FUNCTIONS: dict[str, Scalar] = {f.name: f for f in _TABLE}
BY_CLASS: dict[Any, Scalar] = {f.cls: f for f in _TABLE if f.name != "sqrt"} | {own.guarded: FUNCTIONS["where"]}
