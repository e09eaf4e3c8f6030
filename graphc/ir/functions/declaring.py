"""How a scalar function is declared: a class with all that is known of it, or a word for a formula."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Any, TypeVar

import numpy as np
import sympy as sp
from sympy import Expr, Function, S, Symbol

from graphc.ir.scalar_table import BY_CLASS, FUNCTIONS, PUBLIC, REALS, WORDS, Interval, Scalar, classes
from graphc.ir.scalar_value import value

Class = TypeVar("Class", bound=type)
_NONE = object()  # there is no default


def function(
    name: str, *, numpy: Callable[..., Any] | None = None, interval: Any = None, **facts: Any
) -> Callable[[Class], Class]:
    """Class decorator: the class becomes a scalar function, its docstring the `doc` that is not given.

    Parameters
    ----------
    name : str
        In formula text and in programs; a prefix says the namespace: ``"special.erfc"``.
    numpy : callable, optional
        The reference; by default the value of `formula`.
    interval : "increasing", "decreasing", "even" or callable
        How it maps intervals.
    **facts
        Attributes of :class:`Scalar`.
    """
    place, _, own = name.rpartition(".")

    def declare(cls: Class) -> Class:
        arguments = tuple(facts.pop("arguments", "x").split())
        doc = facts.pop("doc", "") or (cls.__doc__ or "").strip().partition("\n")[0]
        reference = numpy or _Evaluated(facts["formula"], len(arguments))
        bounds = _bounds(interval, reference, facts.get("domain", REALS)[0])
        shown = facts.pop("shown", own.rstrip("_"))
        unicode, latex = _printed(shown, facts.pop("unicode", ""), facts.pop("latex", ""), len(arguments))
        texts = {"unicode": unicode, "latex": latex, "interval": bounds, "doc": doc, "arguments": arguments}
        entry = Scalar(own, cls, len(arguments), reference, place=place, **texts, **facts)
        FUNCTIONS[own] = entry
        classes.cache_clear()
        if cls is not sp.Pow:
            BY_CLASS[cls] = entry
        _list(entry)
        return cls

    return declare


def smooth(
    name: str,
    formula: Callable[..., Any],
    *slopes: Callable[..., Any],
    at: Mapping[Any, Any] | None = None,
    **facts: Any,
) -> Any:
    """Declare a real function by how it is computed and its derivatives; returns its class.

    Parameters
    ----------
    name, **facts
        See :func:`function`; it is public under its name.
    formula : callable
        Of expressions; used wherever no machine code is written.
    *slopes : callable
        The derivatives in every argument, of expressions.
    at : mapping, optional
        Exact values at numbers, such as {0: 0}.
    """
    own = name.rpartition(".")[2]
    names = tuple(_parameters(formula))
    exact = {S(x): S(y) for x, y in (at or {}).items()}

    def value_at(cls: Any, *args: Expr) -> Expr | None:
        return exact.get(args[0]) if len(args) == 1 else None

    def fdiff(self: Any, argindex: int = 1) -> Expr:
        return S(slopes[argindex - 1](*self.args))

    members = {"is_real": True, "nargs": len(names), "eval": classmethod(value_at), "fdiff": fdiff}
    cls = type(Function)(own, (Function,), members | {"__module__": formula.__module__})
    facts = {"public": own, "arguments": " ".join(names)} | facts
    return function(name, formula=formula, **facts)(cls)


class _Evaluated:
    """The value of a formula in NumPy."""

    def __init__(self, formula: Callable[..., Any], arity: int) -> None:
        self.formula, self.slots = formula, [Symbol(f"a{j}", real=True) for j in range(arity)]

    @cached_property
    def body(self) -> Expr:
        return S(self.formula(*self.slots))

    def __call__(self, *arrays: Any) -> Any:
        kinds = [np.asarray(a).dtype for a in arrays]
        dtype = np.result_type(*[k if k.kind in "fc" else np.dtype(np.float64) for k in kinds])
        values = {s: np.asarray(a).astype(dtype, copy=False)[()] for s, a in zip(self.slots, arrays, strict=True)}
        with np.errstate(all="ignore"):
            return value(self.body, values, dtype)


def word(
    name: str, formula: Callable[..., Any], doc: str, *, options: Mapping[str, str] | None = None, **facts: Any
) -> Scalar:
    """Declare a formula in known functions under a name.

    Everything follows from the formula: derivatives, domain, range, kinks, programs. What is printed is the formula.

    Parameters
    ----------
    name : str
        For users and in formula text; a prefix says the namespace: ``"special.entr"``.
    formula : callable
        Of expressions; defaults of its parameters are those of the word.
    doc : str
        One sentence.
    options : mapping, optional
        Parameters that are Python values, not expressions, and what they mean.
    **facts
        `activation`, `also`, `aliases`, `explained`, `means`, `points` of :class:`Scalar`.

    Returns
    -------
    Scalar
        Which can be called with expressions.
    """
    place, _, own = name.rpartition(".")
    parameters = {n: default for n, default in _parameters(formula).items() if n not in (options or {})}
    defaults = tuple(default for default in parameters.values() if default is not _NONE)
    names = {"public": own, "place": place, "doc": doc, "arguments": tuple(parameters), "defaults": defaults}

    def build(*args: Any, **chosen: Any) -> Expr:
        return sp.sympify(formula(*args, **chosen))

    reference = _Evaluated(formula, len(parameters))
    entry = Scalar(own, None, len(parameters), reference, formula=build, options=options or {}, **names, **facts)
    _list(entry)
    return entry


def _parameters(formula: Callable[..., Any]) -> dict[str, Any]:
    """Names of the parameters, and defaults; from the code alone, since inspect takes a quarter of a millisecond."""
    code = getattr(formula, "__code__", None)
    if code is None:
        found = inspect.signature(formula).parameters.values()
        return {p.name: _NONE if p.default is p.empty else p.default for p in found}
    names, defaults = code.co_varnames[: code.co_argcount], getattr(formula, "__defaults__", None) or ()
    return dict(zip(names, (*[_NONE] * (len(names) - len(defaults)), *defaults), strict=True))


def _list(entry: Scalar) -> None:
    for name in (entry.name, entry.public, *entry.also, *entry.aliases):
        if name and not (entry.place and name in WORDS):  # the name without its namespace, if that is free
            WORDS[name] = entry
    for name in (entry.public, *entry.also):
        if name:
            PUBLIC[f"{entry.place}.{name}" if entry.place else name] = entry


_LATEX_NAMES = {"asin": "arcsin", "acos": "arccos", "atan": "arctan"}
_LATEX_COMMANDS = frozenset(
    ("exp", "log", "tanh", "sin", "cos", "tan", "sinh", "cosh", "max", "min", "arcsin", "arccos", "arctan")
)


def _printed(shown: str, unicode: str, latex: str, arity: int) -> tuple[str, str]:
    """Templates: by default the name and the arguments in parentheses."""
    slots = ", ".join(f"{{{i}}}" for i in range(arity))
    word = _LATEX_NAMES.get(shown, shown).replace("_", r"\_")
    command = rf"\{word}" if word in _LATEX_COMMANDS else rf"\operatorname{{{{{word}}}}}"
    return unicode or f"{shown}({slots})", latex or rf"{command}\left({slots}\right)"


# ---------------------------------------------------------------- intervals


def _bounds(kind: Any, f: Callable[..., Any], low: float) -> Callable[..., Interval]:
    if kind is None:
        return lambda *args: REALS
    makers = {"increasing": _increasing, "decreasing": _decreasing, "even": _even}
    return makers[kind](f, low) if isinstance(kind, str) else kind


def _increasing(f: Callable[[Any], Any], low: float) -> Callable[[Interval], Interval]:
    def bounds(x: Interval) -> Interval:
        with np.errstate(all="ignore"):
            ends = [float(f(np.float64(max(v, low)))) for v in x]
        return (-math.inf if ends[0] != ends[0] else ends[0]), (math.inf if ends[1] != ends[1] else ends[1])

    return bounds


def _decreasing(f: Callable[[Any], Any], low: float) -> Callable[[Interval], Interval]:
    down = _increasing(lambda x: -f(x), low)

    def bounds(x: Interval) -> Interval:
        high, least = down(x)
        return -least, -high

    return bounds


def _even(f: Callable[[Any], Any], low: float) -> Callable[[Interval], Interval]:
    grow = _increasing(f, 0.0)
    return lambda x: grow((0.0 if x[0] <= 0 <= x[1] else min(map(abs, x)), max(map(abs, x))))


def within(lo: float, hi: float) -> Callable[..., Interval]:
    """Between two numbers, whatever the argument."""
    return lambda *args: (lo, hi)


def hull(*parts: Interval) -> Interval:
    """The smallest interval that holds all."""
    return min(p[0] for p in parts), max(p[1] for p in parts)
