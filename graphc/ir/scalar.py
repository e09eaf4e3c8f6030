"""What can be done with ONE scalar expression: evaluate, count, differentiate, by the table of scalar functions.

A body is a SymPy expression over the placeholders a0, a1, ... (its reads), over :data:`OUT` (its own value, only in
derivatives) and over extent symbols such as n. The same function name stands in formula text, in SymPy, in the NumPy
reference and in generated code.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from fractions import Fraction
from functools import cache, lru_cache, reduce
from numbers import Integral, Rational, Real
from typing import Any

import numpy as np
import sympy as sp
from sympy import Expr, S, Symbol

from graphc.errors import DomainError
from graphc.ir.functions import (  # noqa: F401  the table is full
    activation_words,
    bessel,
    floats,
    gamma,
    numpy_words,
    special_words,
)
from graphc.ir.functions.choices import (
    absolute,
    equal,
    floor_,
    guarded,
    less,
    less_equal,
    masks_apart,
    maximum,
    minimum,
    relu,
    round_,
    sign,
    step,
    stop_gradient,
    where,
)
from graphc.ir.functions.elementary import expm1, log1p
from graphc.ir.functions.of_logarithms import derived
from graphc.ir.functions.smooth import bce, elu, leaky_relu, logcosh, sigmoid, sigmoid_minus, softplus, xlogx, xlogx1p
from graphc.ir.parts import parts, parts_of_kind, symbols_of
from graphc.ir.scalar_table import BY_CLASS, FUNCTIONS, PUBLIC, WORDS, Break, Interval, Scalar
from graphc.ir.scalar_value import SQRT_EXPONENTS, Blur, value

__all__ = [
    "FUNCTIONS", "OUT", "PUBLIC", "WORDS", "Break", "Interval", "Scalar", "absolute", "bce", "canonical", "cost",
    "derivative", "elu", "equal", "expm1", "floor_", "formula_of", "guarded", "leaky_relu", "less", "less_equal",
    "log1p", "logcosh", "masks_apart", "maximum", "minimum", "number", "numpy_function", "placeholder",
    "placeholder_index", "placeholders", "relu", "round_", "scalar_of", "sigmoid", "sigmoid_minus", "sign", "softplus",
    "step", "stop_gradient", "where", "xlogx", "xlogx1p",
]  # fmt: skip

OUT = Symbol("OUT", real=True)
"""The value of the equation itself, in a derivative that is cheaper that way (tanh' = 1 - OUT**2)."""


@cache
def placeholder(j: int) -> Symbol:
    """The symbol of read `j` in a body."""
    return Symbol(f"a{j}", real=True)


_INDEX: dict[Symbol, int] = {placeholder(j): j for j in range(64)}


def placeholder_index(symbol: Any) -> int | None:
    """`j` of the placeholder `aj`, or None for any other symbol (also for a user's symbol named a0)."""
    if symbol in _INDEX:
        return _INDEX[symbol]
    name = symbol.name if isinstance(symbol, Symbol) else ""
    j = int(name[1:]) if name[:1] == "a" and name[1:].isdecimal() else -1
    if j < 0 or placeholder(j) != symbol:
        return None
    return _INDEX.setdefault(symbol, j)


def placeholders(body: Expr) -> list[int]:
    """Numbers of the reads that occur in `body`, ascending."""
    found = (placeholder_index(s) for s in symbols_of(body))
    return sorted(j for j in found if j is not None)


def scalar_of(expr: Expr) -> Scalar | None:
    """The table entry of the outermost function of `expr`; None for sums, products, symbols and other powers."""
    if expr.is_Pow and expr.exp is S.Half:
        return FUNCTIONS["sqrt"]
    return BY_CLASS.get(expr.func)


def formula_of(entry: Scalar, args: Sequence[Expr]) -> Expr:
    """How a function is computed that has no machine code of its own."""
    assert entry.formula is not None, f"{entry.name} has neither machine code nor a formula"
    return canonical(entry.formula(*args))


# ---------------------------------------------------------------- numbers and SymPy's own spellings


def number(value: Any) -> Expr:
    """The exact number a user wrote: 0.1 becomes 1/10, not the nearest binary fraction.

    Raises
    ------
    DomainError
        For NaN and infinities, and for what is no real number.
    """
    if isinstance(value, sp.Basic):
        return sp.Rational(str(value)) if isinstance(value, sp.Float) else value
    if isinstance(value, (bool, np.bool_, Integral)):
        return sp.Integer(int(value))
    if isinstance(value, Rational):
        return sp.Rational(value.numerator, value.denominator)
    if not isinstance(value, Real) or not math.isfinite(value):
        raise DomainError(f"{value!r} is no finite real number; constants in formulas must be finite.")
    return sp.Rational(Fraction(str(value)).numerator, Fraction(str(value)).denominator)


def _from_piecewise(expr: sp.Piecewise) -> Expr:
    pieces = [(value, _condition(test)) for value, test in expr.args]
    return reduce(lambda rest, piece: where(piece[1], piece[0], rest), reversed(pieces[:-1]), pieces[-1][0])


def _condition(test: Any) -> Expr:
    if test in (sp.true, sp.false):
        return S.One if test is sp.true else S.Zero
    if isinstance(test, (sp.And, sp.Or)):
        parts = [_condition(t) for t in test.args]
        return reduce(minimum if isinstance(test, sp.And) else maximum, parts)
    if isinstance(test, sp.Not):
        return 1 - _condition(test.args[0])
    a, b = test.lhs, test.rhs
    if isinstance(test, (sp.Eq, sp.Ne)):
        return equal(a, b) if isinstance(test, sp.Eq) else 1 - equal(a, b)
    if isinstance(test, (sp.Gt, sp.Ge)):
        a, b = b, a
    return less(a, b) if isinstance(test, (sp.Gt, sp.Lt)) else less_equal(a, b)


def _chain(function: Any) -> Callable[..., Expr]:
    return lambda *args: reduce(function, sorted(args, key=sp.default_sort_key))


_FOREIGN: dict[Any, Callable[..., Expr]] = {
    **{cls: entry for entry in WORDS.values() for cls in entry.means},
    sp.Max: _chain(maximum),
    sp.Min: _chain(minimum),
    sp.Heaviside: lambda x, *_: step(x),
    sp.cot: lambda x: 1 / sp.tan(x),
    sp.sec: lambda x: 1 / sp.cos(x),
    sp.csc: lambda x: 1 / sp.sin(x),
    sp.coth: lambda x: 1 / sp.tanh(x),
    sp.sech: lambda x: 1 / sp.cosh(x),
    sp.csch: lambda x: 1 / sp.sinh(x),
    sp.acot: lambda x: sp.atan(1 / x),
    sp.asec: lambda x: sp.acos(1 / x),
    sp.acsc: lambda x: sp.asin(1 / x),
    sp.sinc: lambda x: FUNCTIONS["sinc"](x / sp.pi),  # SymPy's is sin(x)/x
    sp.frac: lambda x: x - floor_(x),
    sp.factorial: lambda x: FUNCTIONS["gamma_function"](x + 1),
    sp.erf2: lambda x, y: sp.erf(y) - sp.erf(x),
}


@lru_cache(maxsize=4096)
def canonical(expr: Expr) -> Expr:
    """`expr` in the functions of the table: SymPy's Abs, Max, sign, floor, Piecewise, ... become ours, floats exact.

    SymPy itself turns sqrt(a0**2) into Abs(a0), so this is also needed after a substitution.
    """
    if not any(part.func in _FOREIGN or isinstance(part, (sp.Float, sp.Piecewise)) for part in parts(expr)):
        return expr
    if isinstance(expr, sp.Piecewise):
        return canonical(_from_piecewise(expr))
    if isinstance(expr, sp.Float):
        return number(expr)
    args = [canonical(a) if isinstance(a, Expr) else a for a in expr.args]
    build: Callable[..., Expr] = _FOREIGN.get(expr.func) or expr.func
    return build(*args)


@lru_cache(maxsize=4096)
def is_complex(expr: Expr) -> bool:
    """Whether an expression of real numbers has become one of complex ones, as (-relu(a0))**(1/2) does in SymPy."""
    negative = lambda p: p.is_Pow and p.base.is_number and p.base.is_negative and not p.exp.is_integer
    return any(part is S.ImaginaryUnit or negative(part) for part in parts(expr))


# ---------------------------------------------------------------- cost


def _power_cost(exponent: Expr) -> int:
    if exponent.is_Integer:
        return 4 if exponent > 0 else 8 if exponent is S.NegativeOne else 10
    return 12 if exponent in SQRT_EXPONENTS else 40


def _own_cost(expr: Expr) -> int:
    if expr.is_Pow:
        return _power_cost(expr.exp)
    if expr.is_Add or expr.is_Mul:
        return len(expr.args) - 1 - (expr.args[0] is S.NegativeOne)
    entry = BY_CLASS.get(expr.func)
    return entry.cost if entry else 2 if expr.is_Function else 0


@lru_cache(maxsize=8192)
def cost(expr: Expr) -> int:
    """Weighted operation count: 1 an addition or product, 4 to 12 a small power, 20 a transcendental function."""
    return _own_cost(expr) + sum(cost(arg) for arg in expr.args)


# ---------------------------------------------------------------- evaluation


@lru_cache(maxsize=4096)
def numpy_function(body: Expr, n_operands: int, symbols: tuple[Symbol, ...] = ()) -> Callable[..., Any]:
    """A callable of `n_operands` broadcastable arrays, then one value for each of `symbols` (extents, OUT).

    Its argument `blur` is applied to the functions inside (:mod:`graphc.ir.scalar_value`).

    The arithmetic runs in the common float (or complex) dtype of the arrays, float64 if none is floating; constants are
    rounded once to it.

    Raises
    ------
    DomainError
        When `body` holds a function outside the table or a symbol that is neither a placeholder nor in `symbols`.
    """
    body = canonical(sp.sympify(body))
    slots = [placeholder(j) for j in range(n_operands)]
    _check_supported(body, {*slots, *symbols})

    def evaluate(*arrays: Any, blur: Blur | None = None) -> Any:
        dtype = _common_dtype(arrays[:n_operands] or arrays)
        given = zip((*slots, *symbols), arrays, strict=True)
        values = {s: np.asarray(v).astype(dtype, copy=False)[()] for s, v in given}
        with np.errstate(all="ignore"):
            return value(body, values, dtype, blur)

    return evaluate


def _check_supported(body: Expr, known: set[Symbol]) -> None:
    for t in parts(body):
        if t.is_Symbol and t not in known:
            raise DomainError(f"{t} has no value here; known are {', '.join(sorted(map(str, known))) or 'no symbols'}.")
        if t.is_Function and t.func not in BY_CLASS:
            raise DomainError(f"{t.func} is no scalar function of graphc; known are {', '.join(sorted(FUNCTIONS))}.")


def _common_dtype(arrays: tuple[Any, ...]) -> np.dtype:
    kinds = [np.asarray(a).dtype for a in arrays]
    floating = [d for d in kinds if d.kind in "fc"]
    return np.result_type(*floating) if floating else np.dtype(np.float64)


# ---------------------------------------------------------------- derivative

LARGEST_SOUGHT = 64  # operations of a body whose value is sought in its derivative

@lru_cache(maxsize=4096)
def derivative(body: Expr, j: int, use_output: bool = True) -> Expr:
    """d body / d a_j, in terms of :data:`OUT` where that is cheaper and `use_output` allows it.

    Cached by (body, j): a deep network has a handful of distinct bodies.
    """
    exact = _exact_derivative(canonical(body), placeholder(j))
    if not use_output or body.is_Atom or not placeholders(exact):
        return exact
    forms = [f for f in _output_forms(canonical(body), exact) if _divisors(f) <= _divisors(exact)]
    return min([exact, *forms], key=lambda e: (cost(e), len(placeholders(e))))


def _divisors(expr: Expr) -> set[Expr]:
    """What `expr` divides by, OUT apart: a form that divides by more would be undefined at more points."""
    return {p.base for p in parts_of_kind(expr, sp.Pow) if p.exp.could_extract_minus_sign() and p.base is not OUT}


def _exact_derivative(body: Expr, a: Symbol) -> Expr:
    d = canonical(derived(body, a))
    if any(symbols_of(p.exp) for p in parts_of_kind(d, sp.Pow)):
        # SymPy writes (x**y)' as x**y*y/x, a NaN at x = 0
        d = sp.powsimp(d, combine="exp")
    factored = d.replace(_is_circle, _factored_circle) if body.has(sp.asin, sp.acos) else d
    return d if is_complex(factored) else factored


def _is_circle(p: Expr) -> bool:
    return p.is_Pow and p.exp == -S.Half and p.base.is_Add and len(p.base.args) == 2 and S.One in p.base.args


def _factored_circle(p: Expr) -> Expr:
    """1/sqrt(1 - u**2)  ->  1/sqrt((1 - u)*(1 + u)): 1 - u**2 cancels at the ends of the domain."""
    u = sp.sqrt(1 - p.base)
    u = canonical(u).replace(absolute, lambda x: x)
    return 1 / sp.sqrt((1 - u) * (1 + u))


def _output_forms(body: Expr, d: Expr) -> list[Expr]:
    """Forms of the derivative `d` that use the value of `body`, possibly scaled and shifted, instead of its reads."""
    terms = _expensive_terms(body)
    # SymPy looks for the factors of a product in every power of d: minutes for the bodies of sixth derivatives, whose
    # value as a whole is no part of their derivative.
    forms = [d.subs(body, OUT)] if body.count_ops() <= LARGEST_SOUGHT else []
    if isinstance(body, relu):  # relu(x) > 0 exactly where x > 0, and then x need not be kept
        forms.append(d.xreplace({step(body.args[0]): step(OUT)}))
    for t in terms:
        slope, shift = _affine_in(body, t)
        if slope is not None:
            forms.append(_in_output(d, t, (OUT - shift) / slope))
    return forms


def _expensive_terms(body: Expr) -> list[Expr]:
    return sorted((t for t in parts(body) if _own_cost(t) >= 8), key=sp.default_sort_key)


def _affine_in(body: Expr, t: Expr) -> tuple[Expr | None, Expr]:
    """(slope, shift) if body = slope*t + shift, |shift| <= |slope|: a larger shift would cancel digits of t."""
    if body is t or body == t:
        return S.One, S.Zero
    if not (body.is_Add or body.is_Mul) or sum(not x.is_Number for x in body.args) != 1:
        return None, S.Zero
    w = sp.Dummy("w", real=True)
    replaced = body.xreplace({t: w})
    if replaced.free_symbols != {w}:
        return None, S.Zero
    slope = replaced.diff(w)
    shift = replaced.xreplace({w: S.Zero})
    good = slope.is_Number and slope is not S.Zero and shift.is_Number and abs(shift) <= abs(slope)
    return (slope, shift) if good else (None, S.Zero)


def _in_output(d: Expr, t: Expr, output: Expr) -> Expr:
    known = {t: output}
    if isinstance(t, sigmoid):
        known[sigmoid(-t.args[0])] = 1 - output
    if isinstance(t, elu):
        known[t.args[1] * sp.exp(t.args[0])] = output + t.args[1]
    if t.is_Pow:
        known[1 / t] = 1 / output
    return d.xreplace(known)
