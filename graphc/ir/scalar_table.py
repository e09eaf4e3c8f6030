"""The table of scalar functions.  Each is declared once (:mod:`graphc.ir.functions`) with all that is known of it.

A *function* is a node of bodies: SymPy's own class, or a class with a value on numbers and a derivative.  A *word* is a
formula in known functions, which stands in its place from the first moment on.  Whoever needs something of a function
asks its entry; no other file lists functions.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import field
from functools import cache
from typing import Any

import sympy as sp
from sympy import Expr

from graphc.records import record

Interval = tuple[float, float]
REALS: Interval = (-math.inf, math.inf)
POSITIVE: Interval = (0.0, math.inf)


@record(frozen=True)
class Break:
    """A kink or jump of a function: where its first argument, or the difference of its two, is `at`."""

    at: float
    text: str
    difference: bool = False


@record(frozen=True, eq=False)
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
    options : mapping
        Further parameters of a word, which are Python values, and what they mean.
    also : tuple of str
        Further names that users call.
    explained : mapping
        Meaning of the arguments behind the first.
    example : str
        Arguments in the example of its documentation, where X and numbers will not do.
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
    plain : callable
        How SymPy's own functions say it, where neither its class nor `means` nor `paper` does.
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
    defaults: tuple[Any, ...] = ()
    options: Mapping[str, str] = field(default_factory=dict)
    also: tuple[str, ...] = ()
    explained: Mapping[str, str] = field(default_factory=dict)
    example: str = ""
    aliases: tuple[str, ...] = ()
    means: tuple[Any, ...] = ()
    folds: bool = False
    formula: Callable[..., Expr] | None = None
    paper: Callable[..., Expr] | None = None
    plain: Callable[..., Expr] | None = None
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


@cache
def classes(attribute: str) -> tuple[Any, ...]:
    """The classes of the functions for which an attribute holds, such as "fades"."""
    return tuple(cls for cls, entry in BY_CLASS.items() if getattr(entry, attribute))
