"""The optimizer as one pass over the contiguous parameters: the statements of the rule become the loop body."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import sympy

from graphc.declare.constraints import LEVEL, ROUNDS, THETA, Constraint
from graphc.declare.constraints import NORM as NORM_OF_THETA
from graphc.emit.expressions import Printer
from graphc.emit.text import Text
from graphc.errors import TypeMismatchError
from graphc.ir.node import Leaf
from graphc.lower.layout import ALIGN
from graphc.lower.training import Layout
from graphc.optim.groups import AnyRule, Groups
from graphc.optim.passes import Reduction, Statement, matrices, orthogonal, passes, with_gradient
from graphc.optim.rules import NORM, Rule
from graphc.optim.schedules import K, Schedule
from graphc.records import record


@record(frozen=True)
class Hyper:
    """The run-time values behind H: their slots' names and the values themselves."""

    names: tuple[str, ...]
    values: tuple[float, ...]


def hyper_values(rule: AnyRule) -> Hyper:
    """Every number of a rule that is passed at run time: hyper-parameters, and the constants of its schedules.

    Raises
    ------
    TypeMismatchError
        When a hyper-parameter is an array: only a sweep takes those.
    """
    if isinstance(rule, Groups):
        found = [hyper_values(part) for part in rule.rules]
        names = [f"{t}_{n}" for t, part in enumerate(found) for n in part.names]
        return Hyper(tuple(names), tuple(v for part in found for v in part.values))
    names, values = [], []
    for name, value in rule.values_at(1).items():
        source = rule.hyper.get(name, value)
        if isinstance(source, Schedule):
            for constant, number in source.values.items():
                names.append(f"{name}_{constant}")
                values.append(float(number))
        elif isinstance(source, np.ndarray):
            raise TypeMismatchError(
                f"{name} of {rule.name} is an array of {source.size} values; fit takes one\n"
                f"  hint: give a number or a schedule, or train all of them: model.sweep"
            )
        else:
            names.append(name)
            values.append(float(value))
    return Hyper(tuple(names), tuple(values))


@record(frozen=True)
class Part:
    """A rule and what it updates: some parameters, the stretches in which they lie (None: all there is), the place of
    its first number behind H, and which of the rules it is."""

    rule: Rule
    layout: Layout
    stretches: Sequence[tuple[int, int]] | None = None
    slot: int = 0
    number: int = 0


def parts_of(rule: AnyRule, layout: Layout) -> list[Part]:
    """The rules that update parameters, each with its own."""
    if not isinstance(rule, Groups):
        return [Part(rule, layout)]
    found, slot, number = [], 0, 0
    for names, part in rule:
        if part is not None:
            own = {leaf: at for leaf, at in layout.offsets.items() if leaf.name in names}
            mine = Layout(own, layout.names, layout.total)
            found += [Part(part, mine, _stretches(own), slot, number)] if own else []
            slot, number = slot + len(hyper_values(part).names), number + 1
    return found


def _stretches(offsets: Mapping[Leaf, int]) -> list[tuple[int, int]]:
    """Where parameters lie, those beside each other in one piece."""
    found: list[tuple[int, int]] = []
    for leaf, at in offsets.items():
        end = at + padded(math.prod(int(e) for e in leaf.shape))
        if found and found[-1][1] == at:
            found[-1] = found[-1][0], end
        else:
            found.append((at, end))
    return found


def print_update(text: Text, rule: AnyRule, layout: Layout, meet: Callable[[], None]) -> None:
    """The update of every part; ``top`` becomes the largest of the gradient, ``peak`` that of parameters and states:
    NaN or infinite when one of them is."""
    parts = parts_of(rule, layout)
    if isinstance(rule, Groups):
        text.add("top = f(0.0)", "peak = f(0.0)")
    for part in parts:
        _print_part(text, part, meet)


def _print_part(text: Text, part: Part, meet: Callable[[], None]) -> None:
    """Scalars of the step in float64, the global norm if the rule needs it, then a loop over all parameters: several
    where the rule takes sums over a parameter, each of which one thread adds up."""
    rule, layout, whole = part.rule, part.layout, part.stretches is None
    which = "" if whole else f" of {', '.join(str(leaf.name) for leaf in layout.offsets)}"
    text.add(f"# update{which}: {rule.name}", *(f"#   {' '.join(line.split())}" for line in rule.text.splitlines()))
    names = _step_scalars(text, rule, part.slot)
    if rule.needs_norm:
        text.add("s = f(0.0)")
        for first, last in [(0, layout.total)] if part.stretches is None else part.stretches:
            with text.block(f"for t in range({f'{first}, ' if first else ''}{last}):"):
                text.add("s = radd(s, G[t]*G[t])")
        text.add("norm_g = sqrt(s)")
        names[NORM] = "norm_g"
    statements, constants = rule.hoisted()
    for symbol, expression in constants:
        text.add(f"q{symbol.name} = f({_scalar_text(expression, names)})")
        names[symbol] = f"q{symbol.name}"
    found = with_gradient(passes(statements))
    for elements, reductions in found[:-1]:
        _print_loop(text, part, elements, names, last=False)
        meet()
        _print_reductions(text, rule, reductions, layout)
        meet()
    _print_loop(text, part, found[-1][0], names)


def _step_scalars(text: Text, rule: Rule, slot: int) -> dict[sympy.Symbol, str]:
    """Load the hyper-parameters from H and evaluate the schedules; returns the text of their symbols."""
    text.add("k_step = float(number + 1)")
    names: dict[sympy.Symbol, str] = {K: "k_step"}
    slots = {name: f"H[{slot + t}]" for t, name in enumerate(hyper_values(rule).names)}
    for name in rule.values_at(1):
        source = rule.hyper.get(name)
        if isinstance(source, Schedule):
            local = {sympy.Symbol(c, real=True): slots[f"{name}_{c}"] for c in source.values}
            text.add(f"h_{name} = {_scalar_text(source.expr, {K: 'k_step', **local})}")
        else:
            text.add(f"h_{name} = {slots[name]}")
        names[sympy.Symbol(name, real=True)] = f"h_{name}"
    return names


def _scalar_text(expression: sympy.Expr, names: Mapping[sympy.Symbol, str]) -> str:
    return Printer(names, cast="", share=False, hoists=False).text(expression)[0]


def _print_loop(
    text: Text, part: Part, statements: Sequence[Statement], names: Mapping[sympy.Symbol, str], last: bool = True
) -> None:
    """One pass over this thread's elements; the last assigns theta and looks for numbers that are not finite."""
    if part.stretches is None:
        text.add(*["top = f(0.0)", "peak = f(0.0)"] * last)
        with text.block("for t in range(first, last):"):
            _print_element(text, part, statements, names, last)
    for begin, end in part.stretches or ():
        text.add(f"lo = first if first > {begin} else {begin}", f"hi = last if last < {end} else {end}")
        with text.block("for t in range(lo, hi):"):
            _print_element(text, part, statements, names, last)


def _print_element(
    text: Text, part: Part, statements: Sequence[Statement], names: Mapping[sympy.Symbol, str], last: bool
) -> None:
    rule, total = part.rule, part.layout.total
    element = {sympy.Symbol(n, real=True): n for n in ("g", "theta")}
    element |= {sympy.Symbol(n, real=True): f"v_{n}" for n in (*rule.states, *rule.temporaries)}
    scalar = {s: t if t == "norm_g" or t.startswith("q_") else f"f({t})" for s, t in names.items()}
    read, assigned = states_of(rule, statements, last)
    text.add("theta = P[t]", "g = G[t]", *["top = rlargest(top, g)"] * last)
    text.add(*(f"v_{s} = S[{rule.states.index(s) * total} + t]" for s in read))
    for number, (target, expression) in enumerate(statements):
        printer = Printer({**scalar, **element})
        printer.prefix = f"u{number}_"
        value = printer.print(expression)
        text.add(*printer.lines, f"{element[sympy.Symbol(target, real=True)]} = {value}")
    text.add(*["P[t] = theta"] * last)
    text.add(*(f"S[{rule.states.index(s) * total} + t] = v_{s}" for s in assigned))
    text.add(*[f"peak = rlargest(peak, {x})" for x in ("theta", *(f"v_{s}" for s in rule.states))] * last)


def states_of(rule: Rule, statements: Sequence[Statement], last: bool) -> tuple[list[str], list[str]]:
    """(states that a pass loads, states that it stores), in their order; the last loads all."""
    targets = {target for target, _ in statements}
    symbols = {s.name for _, body in statements for s in body.free_symbols}
    return [s for s in rule.states if last or s in symbols], [s for s in rule.states if s in targets]


def padded(size: int) -> int:
    """The room of a parameter in the layout: its elements, and zeros up to the next cache line."""
    return -(-max(size, 1) // ALIGN) * ALIGN


def _print_reductions(text: Text, rule: Rule, reductions: Sequence[tuple[str, Reduction]], layout: Layout) -> None:
    """Sums and means of every parameter, written to each of its elements, by one thread a parameter."""
    slot = lambda name: rule.states.index(str(name)) * layout.total
    for number, (leaf, at) in enumerate(layout.offsets.items()):
        with text.block(f"if me == {number} % team:"):
            for target, body in reductions:
                shape = tuple(int(e) for e in leaf.shape)
                text.add(f"# {target} = {body.word}({body.args[0]}) of {leaf.name}")
                places = [slot(name) + at for name in (*body.args, target)]
                (_print_orthogonal if isinstance(body, orthogonal) else _print_reduction)(text, body, shape, *places)


def _print_reduction(text: Text, body: Reduction, shape: tuple[int, ...], source: int, result: int) -> None:
    outer, n, inner = body.sizes(shape)
    with text.block(f"for t in range({outer * inner}):"):
        text.add(f"lo = t//{inner}*{n * inner} + t%{inner}", "s = f(0.0)")
        with text.block(f"for i in range({n}):"):
            text.add(f"s = radd(s, S[{source} + lo + i*{inner}])")
        text.add(*[f"s = s/f({n})"] * body.mean)
        with text.block(f"for i in range({n}):"):
            text.add(f"S[{result} + lo + i*{inner}] = s")
    size = math.prod(shape)
    if padded(size) > size:
        with text.block(f"for t in range({size}, {padded(size)}):"):
            text.add(f"S[{result} + t] = S[{result + size - 1}]")


def _print_orthogonal(
    text: Text, body: orthogonal, shape: tuple[int, ...], source: int, work: int, more: int, result: int
) -> None:  # fmt: skip
    """The steps of Newton and Schulz, by matrix products of one thread: X in the result, A and then
    (p1*A + p2*A**2) X in working memory, p1*A + p2*A**2 in more of it."""
    count, rows, columns = matrices(shape)
    size, m, n = rows * columns, min(rows, columns), max(rows, columns)
    down, along = (columns, 1) if rows <= columns else (1, columns)
    a, b, x = (f"S, {place} + lo" for place in (work, more, result))
    with text.block(f"for t in range({count}):"):
        text.add(f"lo = t*{size}", "s = f(0.0)")
        with text.block(f"for i in range({size}):"):
            text.add(f"s = radd(s, S[{source} + lo + i]*S[{source} + lo + i])")
        text.add("scale = sqrt(s) if s > f(0.0) else f(1.0)")
        with text.block(f"for i in range({size}):"):
            text.add(f"S[{result} + lo + i] = S[{source} + lo + i]/scale")
        with text.block(f"for j in range({body.steps}):"):
            text.add(f"gemm({x}, {down}, {along}, {x}, {along}, {down}, {a}, {m}, {m}, {m}, {n}, {a}, 0)")
            text.add(f"gemm({a}, {m}, 1, {a}, {m}, 1, {b}, {m}, {m}, {m}, {m}, {b}, 0)")
            with text.block(f"for i in range({m * m}):"):
                text.add(f"S[{more} + lo + i] = f({body.p1})*S[{work} + lo + i] + f({body.p2})*S[{more} + lo + i]")
            factors = (f"{b}, {m}, 1", f"{x}, {columns}, 1")
            left, right = factors if rows <= columns else factors[::-1]
            text.add(f"gemm({left}, {right}, {a}, {columns}, {rows}, {columns}, {m}, {a}, 0)")
            with text.block(f"for i in range({size}):"):
                text.add(f"S[{result} + lo + i] = f({body.p0})*S[{result} + lo + i] + S[{work} + lo + i]")
    with text.block(f"for i in range({count * size}):"):
        text.add(*(f"S[{place} + i] = S[{source} + i]" for place in (work, more)))


@record(frozen=True)
class Constrained:
    """A parameter with a constraint: its name, where it begins, its shape, and what it is set to."""

    name: str
    at: int
    shape: tuple[int, ...]
    constraint: Constraint

    @property
    def size(self) -> int:
        return math.prod(self.shape)

    @property
    def caption(self) -> str:
        return f"# constraint of {self.name}: theta <- {self.constraint.text}"


def constrained(layout: Layout, norms: bool) -> list[Constrained]:
    """The parameters whose constraint takes norms, or those whose constraint takes none."""
    found = [(leaf, at, leaf.constraint) for leaf, at in layout.offsets.items() if leaf.constraint is not None]
    shape = lambda leaf: tuple(int(e) for e in leaf.shape)
    return [Constrained(str(leaf.name), at, shape(leaf), c) for leaf, at, c in found if c.reads_others == norms]


def print_constraints(text: Text, layout: Layout, meet: Callable[[], None]) -> None:
    """What parameters are set to after the update: each thread its own elements; where an element depends on others,
    one thread the whole parameter."""
    for p in constrained(layout, norms=False):
        end = p.at + p.size
        text.add(p.caption, f"lo = first if first > {p.at} else {p.at}", f"hi = last if last < {end} else {end}")
        with text.block("for t in range(lo, hi):"):
            _print_constrained(text, p.constraint, "t")
    found = constrained(layout, norms=True)
    if found:
        meet()
    for number, p in enumerate(found):
        outer, n, inner = p.constraint.sizes(p.shape)
        text.add(p.caption)
        with text.block(f"if me == {number} % team:"), text.block(f"for t in range({outer * inner}):"):
            text.add(f"lo = {p.at} + t//{inner}*{n * inner} + t%{inner}", "s = f(0.0)")
            _print_level(text, n, inner) if p.constraint.reads_level else _print_norm(text, n, inner)
            with text.block(f"for i in range({n}):"):
                _print_constrained(text, p.constraint, f"lo + i*{inner}")


def _print_norm(text: Text, n: int, inner: int) -> None:
    with text.block(f"for i in range({n}):"):
        text.add(f"s = radd(s, P[lo + i*{inner}]*P[lo + i*{inner}])")
    text.add("norm_g = sqrt(s)")


def _print_level(text: Text, n: int, inner: int) -> None:
    """shift with sum max(theta - shift, 0) = 1: Newton's method, from the left of the root of a convex function."""
    with text.block(f"for i in range({n}):"):
        text.add(f"s = radd(s, P[lo + i*{inner}])")
    text.add(f"shift = (s - f(1.0))/f({n})")
    with text.block(f"for j in range({min(n, ROUNDS)}):"):
        text.add("s = f(0.0)", "scale = f(0.0)")
        with text.block(f"for i in range({n}):"):
            text.add(f"theta = P[lo + i*{inner}] - shift", "s = radd(s, relu(theta))")
            text.add("scale = radd(scale, step(theta))")
        text.add("shift = shift + (s - f(1.0))/maximum(scale, f(1.0))")


def _print_constrained(text: Text, c: Constraint, place: str) -> None:
    printer = Printer({THETA: "theta", NORM_OF_THETA: "norm_g", LEVEL: "shift"})
    value = printer.print(c.expr)
    text.add(f"theta = P[{place}]", *printer.lines, f"P[{place}] = {value}")
