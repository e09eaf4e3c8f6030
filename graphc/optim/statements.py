"""The lines of a rule as statements: read from their text, sorted into states and temporaries, and what of them is the
same for all elements of a step.
"""

from __future__ import annotations

from collections.abc import Mapping

from sympy import Expr, Symbol

from graphc.declare.formula import formula_error, parse
from graphc.declare.formula_text import formula_text
from graphc.ir.scalar import FUNCTIONS
from graphc.optim.passes import REDUCTIONS, check_passes, kept_between, reduced_by
from graphc.optim.schedules import K

MAX_LINES = 10
G = Symbol("g", real=True)
THETA = Symbol("theta", real=True)
NORM = Symbol("norm_g", real=True, nonnegative=True)
"""norm(g): the Euclidean norm of the gradient with respect to all parameters, before clipping and decay."""

_GIVEN = {"g": G, "k": K, "theta": THETA}
Statement = tuple[str, Expr]


# ---------------------------------------------------------------- reading the text


def symbol_of(name: str) -> Symbol:
    return _GIVEN.get(name) or Symbol(name, real=True)


def _source_lines(text: str) -> list[str]:
    return [line.strip() for line in text.splitlines() if line.strip()]


def lines_of(text: str) -> list[tuple[str, str]]:
    """(target, formula) of every line."""
    pairs = (line.partition("<-") for line in _source_lines(text))
    return [(target.strip(), formula.strip()) for target, _, formula in pairs]


def statements_of(name: str, text: str, hyper: tuple[str, ...], most: int = MAX_LINES) -> tuple[Statement, ...]:
    lines = _source_lines(text)
    if len(lines) > most:
        raise formula_error(lines[most], 0, f"The rule '{name}' has {len(lines)} lines; {most} is the limit.",
                            "Join lines, or leave out temporaries.")  # fmt: skip
    targets = [_target(name, line, hyper) for line in lines]
    if "theta" not in targets:
        last = lines[-1] if lines else ""
        raise formula_error(last, len(last), f"The rule '{name}' never assigns theta.", "End with 'theta <- ...'.")
    symbols = {n: symbol_of(n) for n in (*hyper, *targets)} | _GIVEN
    found: list[Statement] = []
    for target, line in zip(targets, lines):
        body = _body(line, symbols, found)
        found.append((target, body))
    check_passes(name, lines, found)
    return tuple(found)


def _target(name: str, line: str, hyper: tuple[str, ...]) -> str:
    target, arrow, _ = line.partition("<-")
    target = target.strip()
    if not arrow:
        raise formula_error(line, 0, f"This line of the rule '{name}' assigns nothing.", "Write 'name <- formula'.")
    if not target.isidentifier():
        raise formula_error(line, 0, f"'{target}' is no name.", "Assign to theta, a state or a temporary.")
    if target in hyper:
        raise formula_error(line, 0, f"'{target}' is a hyper-parameter of '{name}' and cannot be assigned.",
                            "Choose another name, or do not pass it as a keyword.")  # fmt: skip
    if target in ("g", "k", "norm", *REDUCTIONS) or target.startswith("_") or target in FUNCTIONS:
        raise formula_error(line, 0, f"'{target}' cannot be assigned.", "Assign to theta, a state or a temporary.")
    return target


def _body(line: str, symbols: Mapping[str, Symbol], before: list[Statement]) -> Expr:
    """A right-hand side; what it takes the sum or the mean of, and these, become statements of their own before it."""
    start = line.index("<-") + 2

    def norm(*args: Expr) -> Expr:
        if args != (G,):
            raise formula_error(line, line.index("norm", start), "norm takes the gradient: norm(g).", "Write norm(g).")
        return NORM

    return parse(line, symbols, {"norm": norm, **reduced_by(before, line)}, start=start)


def classified(statements: tuple[Statement, ...]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """(states, temporaries): whether a name is read before its first assignment."""
    targets = dict.fromkeys(t for t, _ in statements if t != "theta")
    states: dict[str, None] = dict.fromkeys(n for n in kept_between(statements) if n in targets)
    assigned: set[str] = set()
    for target, body in statements:
        read = sorted(s.name for s in body.free_symbols)
        states |= {n: None for n in read if n in targets and n not in assigned}
        assigned.add(target)
    return tuple(states), tuple(t for t in targets if t not in states)


# ---------------------------------------------------------------- constants of a step


def of_the_step(program: tuple[Statement, ...], states: set[str]) -> tuple[set[Symbol], list[Statement]]:
    """(what differs from element to element, the statements that assign it): temporaries that are numbers of the step
    stand in what reads them."""
    moving = {G, THETA, NORM, *(Symbol(n, real=True) for n in states)}
    numbers: dict[Symbol, Expr] = {}
    kept: list[Statement] = []
    for target, body in program:
        symbol, body = symbol_of(target), body.xreplace(numbers)
        numbers.pop(symbol, None)
        if target in states or symbol in moving or body.free_symbols & moving:
            moving.add(symbol)
            kept.append((target, body))
        else:
            numbers[symbol] = body
    return moving, kept


def hoist(body: Expr, moving: set[Symbol], constants: dict[Expr, Symbol]) -> Expr:
    """`body` with every largest part free of `moving` named in `constants`; bare symbols and numbers stay."""
    if not body.free_symbols:
        return body
    if not body.free_symbols & moving:
        return body if body.is_Symbol else _name(body, constants)
    if body.is_Symbol:
        return body
    fixed = [a for a in body.args if not a.free_symbols & moving]
    rest = [hoist(a, moving, constants) for a in body.args if a.free_symbols & moving]
    if body.is_Add or body.is_Mul:
        return body.func(*([hoist(body.func(*fixed), moving, constants)] if fixed else []), *rest)
    return body.func(*(hoist(a, moving, constants) for a in body.args))


def _name(body: Expr, constants: dict[Expr, Symbol]) -> Symbol:
    return constants.setdefault(body, Symbol(f"_c{len(constants)}", real=True))


def text_of(statement: Statement) -> str:
    """`name <- formula` of one statement."""
    return f"{statement[0]} <- {formula_text(statement[1])}"
