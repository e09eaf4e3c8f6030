"""The user's own scalar functions: formula text, a SymPy expression, or a Python callable that is called once."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import sympy
from sympy import Expr, Symbol

from graphc.declare.constants import exact, is_number
from graphc.declare.expression import Op
from graphc.declare.formula import CONSTANTS, formula_text, parse
from graphc.declare.names import check_name
from graphc.declare.origin import fail, located
from graphc.declare.tensor import combine
from graphc.derive.differentiability import Hazard, hazards
from graphc.errors import DomainError, FormulaError, TypeMismatchError
from graphc.ir.scalar import FUNCTIONS, canonical, derivative, placeholder
from graphc.rewrite.stable import stabilise

_WORD = re.compile(r"\d[\w.]*|([^\W\d]\w*)(?!\w)(?!\s*\()")
_PRIMES = ("", "'", "''", "'''")


@dataclass(frozen=True, eq=False)
class Function:
    """A scalar function f(x), applied element by element: ``f(X)`` is one equation.

    ``f.d(n)`` is the exact n-th derivative, again a Function; ``f.report()`` lists domain, kinks and overflow; printing
    it shows its formula.
    """

    name: str
    variable: Symbol
    expr: Expr
    constants: dict[str, Any]
    order: int = 0

    @property
    def body(self) -> Expr:
        """The formula with the constants in place."""
        values = {Symbol(n, real=True): exact(v, self.name) for n, v in self.constants.items()}
        return canonical(self.expr.xreplace(values))

    def __call__(self, x: Any) -> Any:
        """The function of every element of a Tensor, of an indexed expression, or of a SymPy expression.

        Raises
        ------
        DomainError
            When a number leaves the domain.
        """
        body, variable = self.body, self.variable
        op = Op(self.label, f"{self.label}({{0}})", lambda u: canonical(body.xreplace({variable: u})))
        return combine(op, (x,))

    def d(self, n: int = 1) -> Function:
        """The n-th derivative.

        Raises
        ------
        DomainError
            When n is no whole number of at least 0.
        """
        if not isinstance(n, int) or isinstance(n, bool) or n < 0:
            fail(DomainError, f"{self.name}.d({n!r}) is no derivative", "n is a whole number of at least 0.")
        expr = self.expr.xreplace({self.variable: placeholder(0)})
        for _ in range(n):
            expr = derivative(expr, 0, use_output=False)
        expr = expr.xreplace({placeholder(0): self.variable})
        return Function(self.name, self.variable, expr, self.constants, self.order + n)

    def report(self) -> Report:
        """Where the function is not defined, not smooth, or overflows, after its formula was made stable."""
        stable, fired = stabilise(self.body)
        bounds, found = hazards(stable)
        rules = tuple(f"{r.name}: {r.why}" for r in fired)
        return Report(str(self), formula_text(stable), bounds, tuple(found), rules)

    @property
    def label(self) -> str:
        """What formulas call it: f, f', f'', ..."""
        return self.name + (_PRIMES[self.order] if self.order < len(_PRIMES) else f"^({self.order})")

    def __str__(self) -> str:
        text = f"{self.label}({self.variable}) = {formula_text(self.expr)}"
        used = [n for n in self.constants if Symbol(n, real=True) in self.expr.free_symbols]
        return text + "".join(f",  {n} = {self.constants[n]}" for n in used)

    __repr__ = __str__


@dataclass(frozen=True)
class Report:
    """What a user should know about a scalar function before training with it."""

    formula: str
    stable: str
    bounds: tuple[float, float]
    hazards: tuple[Hazard, ...]
    rules: tuple[str, ...]

    def __str__(self) -> str:
        low, high = self.bounds
        lines = [self.formula, f"  computed as  {self.stable}", f"  values in    [{low:g}, {high:g}]"]
        lines += [f"  rewritten    {rule}" for rule in self.rules]
        lines += [f"  {h}" for h in self.hazards] or ["  smooth, defined everywhere, no overflow"]
        return "\n".join(lines)

    __repr__ = __str__


@located
def function(name: str, formula: str | Expr | Callable[..., Any], **constants: Any) -> Function:
    """A scalar function from a formula.

    Parameters
    ----------
    name : str
        The name that formulas print.
    formula : str, SymPy expression, or callable
        Text such as ``"z/(1 + exp(-beta*z))"``; a SymPy expression of one symbol; or a Python callable, which is called
        once with a symbol (and with the constants it takes).
    **constants : number
        Values of all names of the formula but one, its variable.

    Returns
    -------
    Function
        ``f(X)`` applies it, ``f.d(n)`` is its derivative.

    Raises
    ------
    FormulaError
        When the formula does not parse, has no variable or several, or the callable needs numbers.
    NameClashError
        When a name is no identifier.

    Examples
    --------
    >>> import graphc as gc
    >>> swish = gc.function("swish", "z/(1 + exp(-beta*z))", beta=1.7)
    >>> swish(gc.input("X", ("n", 2))).shape
    ('n', 2)
    """
    check_name(name, "a function")
    for n, value in constants.items():
        if not is_number(value):
            fail(TypeMismatchError, f"gc.function {name}: the constant {n} is {value!r:.60}", "give a number.")
        exact(value, f"gc.function {name}")
    if not isinstance(formula, str | sympy.Basic) and not callable(formula):
        hint = 'give text such as "z*exp(-z)", a SymPy expression, or a Python function of one symbol.'
        fail(TypeMismatchError, f"gc.function {name}: the formula is {formula!r:.60}", hint)
    if isinstance(formula, str):
        return _from_text(name, formula, constants)
    make = _from_sympy if isinstance(formula, sympy.Basic) else _from_callable
    return make(name, formula, constants)


def _from_text(name: str, text: str, constants: dict[str, Any]) -> Function:
    found = dict.fromkeys(m[1] for m in _WORD.finditer(text) if m[1])
    free = [w for w in found if w not in constants and w not in CONSTANTS and w not in FUNCTIONS]
    variable = _one_variable(name, free)
    symbols = {w: Symbol(w, real=True) for w in (*constants, variable)}
    expr = parse(text, symbols)
    return Function(name, symbols[variable], expr, dict(constants))


def _from_sympy(name: str, formula: sympy.Basic, constants: dict[str, Any]) -> Function:
    if not isinstance(formula, Expr):
        message = f"gc.function {name}: {formula} is no scalar expression"
        fail(FormulaError, message, "give a SymPy expression of one symbol.")
    symbols = sorted(formula.free_symbols, key=str)
    real = {s: Symbol(str(s), real=True) for s in symbols}
    variable = _one_variable(name, [str(s) for s in symbols if str(s) not in constants])
    expr = canonical(formula.xreplace(real))
    _check_known(name, expr)
    return Function(name, Symbol(variable, real=True), expr, dict(constants))


def _one_variable(name: str, free: list[str]) -> str:
    if not free:
        fail(FormulaError, f"gc.function {name}: the formula has no variable", "write it with one name, such as z.")
    if len(free) > 1:
        message = f"gc.function {name}: the formula has the names {', '.join(free)}, but a function has one variable"
        given = ", ".join(f"{n}=..." for n in free[1:])
        fail(FormulaError, message, f"give the others values: gc.function({name!r}, ..., {given}).")
    return free[0]


def _check_known(name: str, expr: Expr) -> None:
    try:
        formula_text(expr)
    except FormulaError as error:
        unknown, _, known = str(error).partition(". Known: ")
        fail(FormulaError, f"gc.function {name}: {unknown}", f"known are {known}")


def _from_callable(name: str, formula: Callable[..., Any], constants: dict[str, Any]) -> Function:
    names = _parameters(name, formula, constants)
    variable = Symbol(names[0], real=True)
    symbols = {n: Symbol(n, real=True) for n in constants}
    try:
        value = formula(variable, **symbols)
    except (TypeError, AttributeError) as error:
        hint = "use gc.exp, gc.log, ... instead of math and NumPy, and gc.where(x > 0, a, b) instead of if."
        message = f"gc.function {name}: the function needs a number where it gets the symbol {variable} ({error})"
        fail(FormulaError, message.replace("\n", " "), hint)
    if not isinstance(value, Expr) and not is_number(value):
        message = f"gc.function {name}: the function returns {value!r:.60}, no formula"
        fail(FormulaError, message, "return an expression of its argument.")
    expr = canonical(exact(value, name))
    _check_known(name, expr)
    return Function(name, variable, expr, dict(constants))


def _parameters(name: str, formula: Callable[..., Any], constants: dict[str, Any]) -> list[str]:
    try:
        names = list(inspect.signature(formula).parameters)
    except ValueError:
        names = ["x"]
    others = set(names[1:]) - set(constants)
    if not names or others or set(constants) - set(names[1:]):
        wanted = ", ".join(["x", *constants])
        message = f"gc.function {name}: the function takes ({', '.join(names)})"
        fail(FormulaError, message, f"it is called once as f({wanted}).")
    return names
