"""The numbers that an update needs once a step, for one rule or several."""

from __future__ import annotations

from collections.abc import Sequence

import sympy

from graphc.optim.groups import AnyRule, Groups
from graphc.optim.rules import Rule, Statement
from graphc.optim.schedules import K, Schedule
from graphc.records import record


@record(frozen=True)
class StepScalars:
    """The numbers that an update needs once a step, which the host computes for many steps ahead.

    ``columns`` are expressions of k and the hyper-parameters, ``fixed`` those that are the same for all steps of a run;
    ``names`` are for each rule the texts of their symbols in the update: the columns come first. ``statements`` are
    those of each rule.
    """

    columns: tuple[sympy.Expr, ...]
    fixed: tuple[sympy.Expr, ...]
    names: tuple[dict[sympy.Symbol, str], ...]
    statements: tuple[tuple[Statement, ...], ...]


Bodies = dict[sympy.Symbol, sympy.Expr]


def step_scalars(rule: AnyRule) -> StepScalars:
    """The constants of an update (see :meth:`graphc.optim.Rule.hoisted`) as columns of a table, a row a step."""
    if not isinstance(rule, Groups):
        return _together([_scalars(rule)])
    named = lambda bodies, t: {s: body.xreplace(_numbered(rule.rules[t], t)) for s, body in bodies.items()}
    found = [_scalars(part) for part in rule.rules]
    return _together([(named(moving, t), named(fixed, t), of) for t, (moving, fixed, of) in enumerate(found)])


def _numbered(rule: Rule, number: int) -> dict[sympy.Symbol, sympy.Symbol]:
    """Hyper-parameters of one of several rules by the names that they have among all."""
    symbol = lambda name: sympy.Symbol(name, real=True)
    return {symbol(n): symbol(f"{number}_{n}") for n in rule.values_at(1)}


def _together(parts: Sequence[tuple[Bodies, Bodies, tuple[Statement, ...]]]) -> StepScalars:
    columns = [(t, s, body) for t, (moving, _, _) in enumerate(parts) for s, body in moving.items()]
    fixed = [(t, s, body) for t, (_, same, _) in enumerate(parts) for s, body in same.items()]
    names: list[dict[sympy.Symbol, str]] = [{} for _ in parts]
    for number, (t, s, _) in enumerate([*columns, *fixed]):
        names[t][s] = f"h_{number}"
    bodies = lambda found: tuple(body for _, _, body in found)
    return StepScalars(bodies(columns), bodies(fixed), tuple(names), tuple(of for _, _, of in parts))


def _scalars(rule: Rule) -> tuple[Bodies, Bodies, tuple[Statement, ...]]:
    """What moves from step to step, what stays the same, and the statements that read both."""
    statements, constants = rule.hoisted()
    bodies = dict(constants)
    used = sorted({s for _, body in statements for s in body.free_symbols}, key=str)
    given = {sympy.Symbol(n, real=True) for n in rule.values_at(1)} | {K}
    wanted = {s: bodies.get(s, s) for s in used if s in bodies or s in given}
    moves = {sympy.Symbol(n, real=True) for n, v in rule.hyper.items() if isinstance(v, Schedule)} | {K}
    columns = {s: body for s, body in wanted.items() if body.free_symbols & moves}
    fixed = {s: body for s, body in wanted.items() if s not in columns}
    return columns, fixed, tuple(statements)
