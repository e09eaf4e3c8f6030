"""The user's own scalar functions, of one variable or several: from text, SymPy, or a callable that is called once."""

from __future__ import annotations

import inspect
import re
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any

import sympy
from sympy import Expr, S, Symbol

from graphc.declare.constants import exact, is_number
from graphc.declare.expression import Op
from graphc.declare.formula import CONSTANTS, PRINTED, parse
from graphc.declare.formula_text import formula_text
from graphc.declare.names import check_name
from graphc.declare.origin import fail, located
from graphc.declare.tensor import combine
from graphc.derive.differentiability import Hazard, hazards
from graphc.errors import DomainError, FormulaError, NameClashError, TypeMismatchError
from graphc.ir.scalar import FUNCTIONS, canonical, derivative, is_complex, placeholder
from graphc.records import record
from graphc.rewrite.stable import stabilise

_WORD = re.compile(r"\d[\w.]*|([^\W\d]\w*)(?!\w)(?!\s*\()")
_PRIMES = ("", "'", "''", "'''")
_SUPERSCRIPTS = str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹")


@record(frozen=True, eq=False)
class Function:
    """A scalar function f(x) or f(a, b, ..), applied element by element: ``f(X)`` is one equation.

    ``f.d(2)`` is the exact second derivative, ``f.d("a", "b")`` the mixed partial derivative, each again a Function;
    ``f.gradient()`` and ``f.hessian()`` are all of first and second order; ``f.report()`` lists domain, kinks, ties and
    overflow; printing it shows its formula. ``f.plot(path)`` draws it, a function of two variables as a surface.
    """

    name: str
    variables: tuple[Symbol, ...]
    expr: Expr
    constants: dict[str, Any]
    by: tuple[str, ...] = ()
    """The variables it was derived by, in the order of ``variables``."""

    @property
    def body(self) -> Expr:
        """The formula with the constants in place."""
        values = {Symbol(n, real=True): exact(v, self.name) for n, v in self.constants.items()}
        return canonical(self.expr.xreplace(values))

    def __call__(self, *args: Any, **named: Any) -> Any:
        """The function of every element of Tensors, numbers, indexed expressions, or SymPy expressions.

        Arguments come in the order of the variables or by their names, and broadcast.

        Raises
        ------
        TypeMismatchError
            When an argument is missing, or there is no such variable.
        DomainError
            When a number leaves the domain.
        """
        given = self._arguments(args, named)
        body, variables = self.body, self.variables
        text = f"{self.label}({', '.join(f'{{{t}}}' for t in range(len(given)))})"
        op = Op(self.label, text, lambda *u: canonical(body.xreplace(dict(zip(variables, u, strict=True)))))
        return combine(op, given)

    def _arguments(self, args: tuple[Any, ...], named: dict[str, Any]) -> tuple[Any, ...]:
        names = [str(v) for v in self.variables]
        wanted = f"{self.name}({', '.join(names)})"
        what = f"{self.name} has {len(names)} variable{'s' if len(names) > 1 else ''}"
        if len(args) > len(names):
            fail(TypeMismatchError, f"{what}, not {len(args)}", f"call it as {wanted}.")
        filled = dict(zip(names, args))
        for name, value in named.items():
            if name not in names:
                fail(TypeMismatchError, f"{self.name} has no variable {name}", f"call it as {wanted}.")
            if name in filled:
                fail(TypeMismatchError, f"{self.name}: {name} is given twice", f"call it as {wanted}.")
            filled[name] = value
        missing = [n for n in names if n not in filled]
        if missing:
            fail(TypeMismatchError, f"{what}, but {' and '.join(missing)} got no value", f"call it as {wanted}.")
        return tuple(filled[n] for n in names)

    def d(self, *by: str | int) -> Function:
        """A derivative: ``f.d()`` the first, ``f.d(2)`` the second, ``f.d("a", "b")`` and ``f.d("a", 2)`` partial ones.

        Parameters
        ----------
        *by : str or int
            Names of variables, one after the other; a number says how often by the variable before it. For a function
            of one variable the number alone will do.

        Raises
        ------
        DomainError
            When a number is no whole number of at least 0, or it is not said by which of several variables.
        """
        names = self._derived_by(by)
        constants = [Symbol(n, real=True) for n in self.constants]
        slots = {s: placeholder(t) for t, s in enumerate([*self.variables, *constants])}
        places = {str(v): t for t, v in enumerate(self.variables)}
        expr = self.expr.xreplace(slots)
        for name in names:
            expr = derivative(expr, places[name], use_output=False)
        expr = expr.xreplace({slot: symbol for symbol, slot in slots.items()})
        order = sorted([*self.by, *names], key=places.__getitem__)
        return Function(self.name, self.variables, expr, self.constants, tuple(order))

    def _derived_by(self, by: tuple[str | int, ...]) -> list[str]:
        known = [str(v) for v in self.variables]
        example = f'{self.name}.d("{known[0]}")'
        names: list[str] = []
        shown = f"{self.name}.d({', '.join(map(repr, by))}) is no derivative"
        if len(known) == 1 and (not by or isinstance(by[0], int)):
            by = (known[0], *by)
        if not by:
            hint = f"its variables are {', '.join(known)}: write {example}, or {self.name}.gradient()."
            fail(DomainError, f"{self.name}.d(): by which variable?", hint)
        for t, b in enumerate(by):
            if isinstance(b, str) and b in known:
                names.append(b)
                continue
            if isinstance(b, str):
                fail(DomainError, f"{self.name} has no variable {b!r}", f"its variables are {', '.join(known)}.")
            if t == 0 or not isinstance(by[t - 1], str):
                hint = f"say by which variable: {example[:-1]}, 2)." if len(known) > 1 else "give one number."
                fail(DomainError, shown, hint)
            if not isinstance(b, int) or isinstance(b, bool) or b < 0:
                fail(DomainError, shown, "n is a whole number of at least 0.")
            names[-1:] = [names[-1]] * b
        return names

    def gradient(self) -> Functions:
        """The partial derivatives by all variables, in their order."""
        return Functions(self.d(str(v)) for v in self.variables)

    def hessian(self) -> Functions:
        """The second partial derivatives, row by row; printing it shows all."""
        return Functions(f.gradient() for f in self.gradient())

    def report(self) -> Report:
        """Where the function is not defined, not smooth, or overflows, after its formula was made stable."""
        stable, fired = stabilise(self.body)
        bounds, found = hazards(stable)
        rules = tuple(f"{r.name}: {r.why}" for r in fired)
        return Report(str(self), formula_text(stable), bounds, tuple(found), rules)

    @property
    def label(self) -> str:
        """What formulas call it: f, f', f''; of several variables ∂f/∂a, ∂²f/∂a∂b."""
        order = len(self.by)
        if not order:
            return self.name
        if len(self.variables) == 1:
            return self.name + (_PRIMES[order] if order < len(_PRIMES) else f"^({order})")
        counts = Counter(self.by)
        below = "".join(f"∂{n}{_raised(times)}" for n, times in counts.items())
        return f"∂{_raised(order)}{self.name}/{below}"

    def __str__(self) -> str:
        text = f"{self.label}({', '.join(map(str, self.variables))}) = {formula_text(self.expr)}"
        used = [n for n in self.constants if Symbol(n, real=True) in self.expr.free_symbols]
        return text + "".join(f",  {n} = {self.constants[n]}" for n in used)

    __repr__ = __str__


class Functions(tuple[Any, ...]):
    """Functions one below the other, as gradients and Hessians have them; a tuple that prints a line for each."""

    __slots__ = ()

    def __str__(self) -> str:
        return "\n".join(map(str, self))

    __repr__ = __str__


def _raised(n: int) -> str:
    return "" if n == 1 else str(n).translate(_SUPERSCRIPTS)


@record(frozen=True)
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
def function(
    name: str,
    formula: str | Expr | Callable[..., Any],
    variables: str | Iterable[str | Symbol] | None = None,
    **constants: Any,
) -> Function:
    """A scalar function from a formula.

    Parameters
    ----------
    name : str
        The name that formulas print.
    formula : str, SymPy expression, or callable
        Text such as ``"z/(1 + exp(-beta*z))"``; a SymPy expression; or a Python callable, which is called once with a
        symbol for each variable (and with the constants it takes).
    variables : str or sequence of str or Symbol, optional
        The variables, in the order in which the function takes them: ``["a", "b"]`` or ``"a b"``. Without it, the one
        name of the formula that is no constant.
    **constants : number
        Values of all other names of the formula.

    Returns
    -------
    Function
        ``f(X)`` or ``f(A, B)`` applies it, ``f.d(n)`` or ``f.d("a")`` is a derivative.

    Raises
    ------
    FormulaError
        When the formula does not parse, has names that are neither variable nor constant, holds a SymPy function for
        which there is no word, or the callable needs numbers.
    NameClashError
        When a name is no identifier, or stands for two things.

    Examples
    --------
    >>> import graphc as gc
    >>> swish = gc.function("swish", "z/(1 + exp(-beta*z))", beta=1.7)
    >>> swish(gc.input("X", ("n", 2))).shape
    ('n', 2)
    >>> f = gc.function("f", "2*a + b**2", variables=["a", "b"])
    >>> f.gradient()
    ∂f/∂a(a, b) = 2
    ∂f/∂b(a, b) = 2*b
    """
    check_name(name, "a function")
    for n, value in constants.items():
        if not is_number(value):
            fail(TypeMismatchError, f"gc.function {name}: the constant {n} is {value!r:.60}", "give a number.")
        exact(value, f"gc.function {name}")
    if not isinstance(formula, str | sympy.Basic) and not callable(formula):
        hint = 'give text such as "z*exp(-z)", a SymPy expression, or a Python function of one symbol.'
        fail(TypeMismatchError, f"gc.function {name}: the formula is {formula!r:.60}", hint)
    chosen = None if variables is None else _chosen(name, variables, constants)
    if isinstance(formula, str):
        return _from_text(name, formula, chosen, constants)
    make = _from_sympy if isinstance(formula, sympy.Basic) else _from_callable
    return make(name, formula, chosen, constants)


def _chosen(name: str, variables: Any, constants: dict[str, Any]) -> list[str]:
    found = variables.replace(",", " ").split() if isinstance(variables, str) else list(variables)
    names = [check_name(str(v) if isinstance(v, Symbol) else v, "a variable") for v in found]
    if not names:
        fail(FormulaError, f"gc.function {name}: variables= is empty", 'name them: variables=["a", "b"].')
    twice = next((n for n in names if names.count(n) > 1 or n in constants), None)
    if twice is not None:
        message = f"gc.function {name}: {twice} is {'a constant, too' if twice in constants else 'named twice'}"
        fail(NameClashError, message, "every name is one variable or one constant.")
    return names


def _from_text(name: str, text: str, chosen: list[str] | None, constants: dict[str, Any]) -> Function:
    found = dict.fromkeys(m[1] for m in _WORD.finditer(text) if m[1])
    free = [w for w in found if w not in constants and w not in CONSTANTS and w not in FUNCTIONS]
    variables = _variables(name, free, chosen)
    expr = parse(text, {w: Symbol(w, real=True) for w in (*constants, *variables)})
    _check(name, expr)
    return _made(name, variables, expr, constants)


def _from_sympy(name: str, formula: sympy.Basic, chosen: list[str] | None, constants: dict[str, Any]) -> Function:
    if not isinstance(formula, Expr) or isinstance(formula, sympy.MatrixExpr):
        message = f"gc.function {name}: {formula} is no scalar expression"
        fail(FormulaError, message, "give a SymPy expression of numbers; gc.from_sympy takes sums and matrices.")
    symbols = sorted(formula.free_symbols, key=str)
    real = {s: Symbol(str(s), real=True) for s in symbols}
    variables = _variables(name, [str(s) for s in symbols if str(s) not in constants], chosen)
    expr = canonical(formula.xreplace(real))
    _check(name, expr)
    return _made(name, variables, expr, constants)


def _made(name: str, variables: list[str], expr: Expr, constants: dict[str, Any]) -> Function:
    return Function(name, tuple(Symbol(v, real=True) for v in variables), expr, dict(constants))


def _variables(name: str, free: list[str], chosen: list[str] | None) -> list[str]:
    """The variables of a formula that has such free names."""
    if chosen is not None:
        unknown = [n for n in free if n not in chosen]
        if unknown:
            message = f"gc.function {name}: {unknown[0]} is neither a variable nor a constant"
            hint = f"the variables are {', '.join(chosen)}; give {unknown[0]} a value, or add it to variables=."
            fail(FormulaError, message, hint)
        return chosen
    if not free:
        fail(FormulaError, f"gc.function {name}: the formula has no variable", "write it with one name, such as z.")
    if len(free) > 1:
        message = f"gc.function {name}: the formula has the names {', '.join(free)}; which are its variables?"
        given = ", ".join(f"{n}=..." for n in free[1:])
        hint = f"write variables={free!r}, or give the others values: gc.function({name!r}, ..., {given})."
        fail(FormulaError, message, hint)
    return free


def check_known(what: str, expr: Expr) -> None:
    """Refuse what no word stands for.

    Raises
    ------
    FormulaError
        Naming the part and the words that there are.
    """
    if expr.has(S.ComplexInfinity, S.NaN, S.Infinity, S.NegativeInfinity) or is_complex(expr):
        fail(FormulaError, f"{what}: {expr} is not finite and real", "formulas are of real numbers: change it.")
    try:
        formula_text(expr)
    except FormulaError as error:
        unknown, cannot, known = str(error).partition(" cannot be written as formula text. Known: ")
        if not cannot:
            problem, _, hint = unknown.partition(". ")
            fail(FormulaError, f"{what}: {problem}", hint)
        fail(FormulaError, f"{what}: there is no word for {unknown}", f"known are {known}")


def _check(name: str, expr: Expr) -> None:
    """Refuse what could not be read back from the file of a model."""
    what = f"gc.function {name}"
    check_known(what, expr)
    try:
        parse(formula_text(expr), {str(s): s for s in expr.free_symbols if isinstance(s, Symbol)}, limits=PRINTED)
    except FormulaError as error:
        fail(FormulaError, f"{what}: {str(error).partition(chr(10))[0].rstrip('.')}", "give a part a name of its own.")


def _from_callable(
    name: str, formula: Callable[..., Any], chosen: list[str] | None, constants: dict[str, Any]
) -> Function:
    variables = _parameters(name, formula, constants)[:1] if chosen is None else chosen
    given = [Symbol(v, real=True) for v in variables]
    symbols = {n: Symbol(n, real=True) for n in constants}
    try:
        value = formula(*given, **symbols)
    except (TypeError, AttributeError) as error:
        what = "the symbol" if len(given) == 1 else "the symbols"
        hint = "use gc.exp, gc.log, ... instead of math and NumPy, and gc.where(x > 0, a, b) instead of if."
        shown = f"{what} {', '.join(variables)} ({error})"
        message = f"gc.function {name}: the function needs a number where it gets {shown}"
        fail(FormulaError, message.replace("\n", " "), hint)
    if not isinstance(value, Expr) and not is_number(value):
        message = f"gc.function {name}: the function returns {value!r:.60}, no formula"
        fail(FormulaError, message, "return an expression of its argument.")
    expr = canonical(exact(value, name))
    _check(name, expr)
    return _made(name, variables, expr, constants)


def _parameters(name: str, formula: Callable[..., Any], constants: dict[str, Any]) -> list[str]:
    try:
        names = list(inspect.signature(formula).parameters)
    except ValueError:
        names = ["x"]
    others = set(names[1:]) - set(constants)
    if not names or others or set(constants) - set(names[1:]):
        wanted = ", ".join(["x", *constants])
        message = f"gc.function {name}: the function takes ({', '.join(names)})"
        hint = f"it is called once as f({wanted}); with several variables name them: variables={names!r}."
        fail(FormulaError, message, hint)
    return names
