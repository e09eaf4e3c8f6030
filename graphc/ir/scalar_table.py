"""The table of scalar functions.  Each is declared once (:mod:`graphc.ir.functions`), with all that is known of it.

A *function* is a node of bodies: SymPy's own class, or a class with a value on numbers and a derivative.  A *word* is a
formula in known functions, which stands in its place from the first moment on.  Whoever needs something of a function
asks its entry; no other file lists functions.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any, TypeVar

import numpy as np
import sympy as sp
from sympy import Expr

Interval = tuple[float, float]
REALS: Interval = (-math.inf, math.inf)
POSITIVE: Interval = (0.0, math.inf)
Class = TypeVar("Class", bound=type)


@dataclass(frozen=True)
class Break:
    """A kink or jump of a function: where its first argument, or the difference of its two, is `at`."""

    at: float
    text: str
    difference: bool = False


@dataclass(frozen=True, eq=False)
class Scalar:
    """One scalar function: how it is written, evaluated, derived and bounded, and where it is not smooth.

    Attributes
    ----------
    name : str
        In formula text and in generated programs.
    cls : class or None
        Of SymPy or derived from its Function; its ``fdiff`` is the derivative. None for a word.
    arity : int
    numpy : callable
        The reference in NumPy, of arrays of any float or complex dtype.
    unicode, latex : str
        Templates for `str.format` with the printed arguments.
    interval : callable
        Maps closed intervals of the arguments to one of the value (floats saturate: sigmoid gives [0, 1]).
    domain : (low, high)
        The closed real domain of the first argument; with `open_domain` its finite ends are poles.
    kinks, jumps : tuple of Break
        Inner points. `smooth(*args)` tells for which arguments a kink is none.
    zero_gradient : bool
        Constant between its jumps.
    cost : int
        As :func:`graphc.ir.scalar.cost` counts.
    finite : (low, high)
        Arguments whose value is a finite float64, where the function grows without bound.
    slope_at_ends : str
        "root" or "log": how the derivative becomes infinite at finite ends of the domain, the value being finite.
    pole : callable
        Of the interval of the argument: what to say of poles inside it, or "".
    chooses, fades : bool
        It chooses between values, as comparisons do; its derivative is 0 far out.
    careful : bool
        It keeps digits that the formula on paper loses.
    public, place : str
        The name that users call, under ``graphc`` or the namespace `place`; "" for none.
    activation : bool
        Layers know it by name.
    doc : str
        One sentence.
    arguments, defaults : tuple
        Names of the arguments, numbers for the last of them.
    explained : mapping
        Meaning of the arguments behind the first.
    aliases : tuple of str
        Further names in formula text.
    means : tuple of classes
        SymPy's classes that become this function.
    folds : bool
        More than two arguments are taken from the left: max(a, b, c).
    formula : callable
        Of a word: its formula. Of a function: how it is computed where no machine code is written for it.
    paper : callable
        How it is written out on paper, where that differs from its name.
    cuda : str
        Its text for GPUs, with places {0}, {1}, ..; by default what `formula` gives.
    points : (low, high)
        Where tests look for the worst error.
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
    smooth: Callable[..., bool] = lambda *args: False
    zero_gradient: bool = False
    cost: int = 2
    finite: Interval = REALS
    slope_at_ends: str = ""
    pole: Callable[[Interval], str] = lambda x: ""
    chooses: bool = False
    fades: bool = False
    careful: bool = False
    public: str = ""
    place: str = ""
    activation: bool = False
    doc: str = ""
    arguments: tuple[str, ...] = ("x",)
    defaults: tuple[float, ...] = ()
    explained: Mapping[str, str] = field(default_factory=dict)
    aliases: tuple[str, ...] = ()
    means: tuple[Any, ...] = ()
    folds: bool = False
    formula: Callable[..., Expr] | None = None
    paper: Callable[..., Expr] | None = None
    cuda: str = ""
    points: Interval = (-9.0, 9.0)

    def __call__(self, *args: Expr) -> Expr:
        """The function applied to expressions (sqrt becomes a power, as SymPy has it)."""
        if self.cls is sp.Pow:
            return sp.sqrt(args[0])
        build: Any = self.cls or self.formula
        return build(*args)

    @property
    def grows(self) -> bool:
        """Whether finite arguments give an infinite float."""
        return self.finite != REALS

    @property
    def steep(self) -> bool:
        """Whether its slope becomes infinite like that of a root."""
        return self.slope_at_ends == "root"


FUNCTIONS: dict[str, Scalar] = {}
"""The functions: what bodies and programs are made of."""
BY_CLASS: dict[Any, Scalar] = {}
WORDS: dict[str, Scalar] = {}
"""Everything that formula text may call, aliases included."""
PUBLIC: dict[str, Scalar] = {}
"""What users call, by name; a name in a namespace has its prefix: special.erfc."""


# ---------------------------------------------------------------- declaring


def function(name: str, *, numpy: Callable[..., Any], interval: Any = None, **facts: Any) -> Callable[[Class], Class]:
    """Class decorator: the class becomes a scalar function, its docstring the `doc` that is not given.

    Parameters
    ----------
    name : str
        In formula text and in programs.
    numpy : callable
        The reference.
    interval : "increasing", "decreasing", "even" or callable
        How it maps intervals.
    **facts
        Attributes of :class:`Scalar`.
    """

    def declare(cls: Class) -> Class:
        doc = facts.pop("doc", "") or (cls.__doc__ or "").strip().partition("\n")[0]
        arguments = tuple(facts.pop("arguments", "x").split())
        bounds = _bounds(interval, numpy, facts.get("domain", REALS)[0])
        shown = facts.pop("shown", name.rstrip("_"))
        unicode, latex = _printed(shown, facts.pop("unicode", ""), facts.pop("latex", ""), len(arguments))
        texts = {"unicode": unicode, "latex": latex, "interval": bounds, "doc": doc, "arguments": arguments}
        entry = Scalar(name, cls, len(arguments), numpy, **texts, **facts)
        FUNCTIONS[name] = entry
        classes.cache_clear()
        if cls is not sp.Pow:
            BY_CLASS[cls] = entry
        _list(entry)
        return cls

    return declare


def word(name: str, formula: Callable[..., Any], doc: str, **facts: Any) -> Scalar:
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
    **facts
        `activation`, `aliases`, `explained`, `means`, `points` of :class:`Scalar`.

    Returns
    -------
    Scalar
        Which can be called with expressions.
    """
    place, _, own = name.rpartition(".")
    parameters = inspect.signature(formula).parameters
    defaults = tuple(p.default for p in parameters.values() if p.default is not p.empty)
    names = {"public": own, "place": place, "doc": doc, "arguments": tuple(parameters), "defaults": defaults}

    def build(*args: Any) -> Expr:
        return sp.sympify(formula(*args))

    def numpy(*args: Any) -> Any:
        raise NotImplementedError(f"{own} is evaluated as its formula")

    entry = Scalar(own, None, len(parameters), numpy, formula=build, **names, **facts)
    _list(entry)
    return entry


def _list(entry: Scalar) -> None:
    for name in (entry.name, entry.public, *entry.aliases):
        if name and not (name == entry.public and entry.place and name in WORDS):
            WORDS[name] = entry
    if entry.public:
        PUBLIC[f"{entry.place}.{entry.public}" if entry.place else entry.public] = entry


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


@cache
def classes(attribute: str) -> tuple[Any, ...]:
    """The classes of the functions for which an attribute holds, such as "fades"."""
    return tuple(cls for cls, entry in BY_CLASS.items() if getattr(entry, attribute))


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
