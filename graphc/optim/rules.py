"""Update rules as formulas.

A rule is at most ten lines `name <- formula`. They run in order and right-hand sides see new values. Given are `g`
(the gradient), `k` (the step number, from 1), `theta` (the parameter) and `norm(g)` (the Euclidean norm of the whole
gradient). A name that is read before it is assigned is a state and starts at 0; other assigned names are temporaries.
`sum(x)` and `mean(x)` run over the elements of the parameter that theta belongs to, `rowmean(x)` and `colmean(x)` along
its last axis and along the one before: see :mod:`graphc.optim.passes`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import field, replace
from types import MappingProxyType
from typing import Any

import numpy as np
import sympy as sp
from sympy import Expr, Symbol

from graphc.declare.formula import suggest
from graphc.declare.origin import located
from graphc.errors import DomainError, FormulaError
from graphc.ir.scalar import maximum, minimum, numpy_function
from graphc.ir.scalar_latex import scalar_latex
from graphc.optim.domains import KNOWN, Domain, check_hyper, check_steps
from graphc.optim.passes import Reduction
from graphc.optim.schedules import K, Schedule
from graphc.optim.statements import (
    NORM,
    THETA,
    G,
    Statement,
    classified,
    hoist,
    lines_of,
    of_the_step,
    statements_of,
    symbol_of,
)
from graphc.optim.turns import (
    AVERAGE,
    COLLECTED,
    DUE,
    TURN,
    accumulated_lines,
    averaged_line,
    check_turns,
    in_turn_lines,
)
from graphc.optim.values import Hyper, extra_value, frozen, hyper_value, shown
from graphc.records import record

_EXTRAS = ("clip_value", "clip_norm", "decay")
_CLIP_SLACK = sp.Rational(1, 10**6)
_LATEX_NAMES = {Symbol("eps", real=True): r"\varepsilon", NORM: r"\left\|g\right\|", THETA: r"\theta"}


@record(frozen=True, eq=False)
class Rule:
    """An immutable update rule, equal by value. Its state lives in the model that trains with it.

    Attributes
    ----------
    statements : tuple of (str, Expr)
        The lines of the text, over the symbols `G`, `K`, `THETA`, `NORM`, the states, temporaries and hyper-parameters
        (``Symbol(name, real=True)``).
    states, temporaries : tuple of str
        Assigned names; states start at 0 and are kept between steps.
    hyper : mapping of str to float, Schedule or 1-D array (sweeps only)
    domains : mapping of str to Domain
        Where hyper-parameters must lie; those of your own rules may lie anywhere.
    clip_norm : float, optional
        g is scaled by min(1, clip_norm/(norm(g) + 1e-6)) first (the convention of torch's clip_grad_norm_).
    clip_value : float, optional
        Then g is clipped elementwise to [-clip_value, clip_value].
    decay : float, optional
        Then decay*theta is added to g (L2; torch's weight_decay).
    """

    name: str
    text: str
    statements: tuple[Statement, ...]
    states: tuple[str, ...]
    temporaries: tuple[str, ...]
    hyper: Mapping[str, Hyper]
    clip_value: float | None = None
    clip_norm: float | None = None
    decay: float | None = None
    domains: Mapping[str, Domain] = field(default_factory=dict)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "hyper": dict(self.hyper), "domains": dict(self.domains)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        maps = {n: MappingProxyType(state[n]) for n in ("hyper", "domains")}
        self.__dict__.update({**state, **maps})

    @property
    def key(self) -> tuple:
        """What decides equality: text and values."""
        values = tuple((n, frozen(v)) for n, v in sorted(self.hyper.items()))
        return self.name, self.statements, values, self.clip_value, self.clip_norm, self.decay

    @property
    def program(self) -> tuple[Statement, ...]:
        """The statements, after those that clip g and add the decay; the latter two assign `g` itself."""
        g = G
        if self.clip_norm is not None:
            g = g * minimum(sp.S.One, Symbol("clip_norm", real=True) / (NORM + _CLIP_SLACK))
        if self.clip_value is not None:
            bound = Symbol("clip_value", real=True)
            g = maximum(-bound, minimum(bound, g))
        if self.decay is not None:
            g = g + Symbol("decay", real=True) * THETA
        return self.statements if g is G else (("g", g), *self.statements)

    @property
    def reduces(self) -> bool:
        """Whether elements of a parameter depend on one another beyond the norm of the gradient."""
        return any(isinstance(body, Reduction) for _, body in self.statements)

    @property
    def needs_norm(self) -> bool:
        """Whether a step needs the norm of the whole gradient before it updates anything."""
        return any(NORM in body.free_symbols for _, body in self.program)

    def values_at(self, k: int) -> dict[str, Any]:
        """Hyper-parameters (with `clip_value`, `clip_norm`, `decay` where used) at step `k`, schedules evaluated."""
        extras = {n: getattr(self, n) for n in _EXTRAS if getattr(self, n) is not None}
        scheduled = {n: v.at(k) if isinstance(v, Schedule) else v for n, v in self.hyper.items()}
        return {**scheduled, **extras}

    def hoisted(self) -> tuple[tuple[Statement, ...], tuple[tuple[Symbol, Expr], ...]]:
        """`program` with everything that depends on hyper-parameters and k alone replaced by constants of the step.

        The constants are to be computed once a step in float64: 1 - b2**k has three digits left in float32.
        """
        constants: dict[Expr, Symbol] = {}
        moving, program = of_the_step(self.program, set(self.states))
        statements = tuple((target, hoist(body, moving, constants)) for target, body in program)
        return statements, tuple((symbol, body) for body, symbol in constants.items())

    @located
    def with_(self, eta: Any = None, **changes: Any) -> Rule:
        """A copy with other hyper-parameters, `clip_value`, `clip_norm` or `decay`.

        Parameters
        ----------
        eta : float, Schedule or 1-D array, optional
            The learning rate.
        **changes : float, Schedule or 1-D array
            The others, by name.

        Raises
        ------
        FormulaError
            For a name that the rule does not use.
        """
        changes = changes if eta is None else {"eta": eta, **changes}
        extras = {n: extra_value(n, changes[n]) for n in _EXTRAS if n in changes and n not in self.hyper}
        hyper = {n: v for n, v in changes.items() if n not in extras}
        for name in hyper:
            if name not in self.hyper:
                known = [*self.hyper, *(n for n in _EXTRAS if n not in self.hyper)]
                raise FormulaError(f"{self.name} has no hyper-parameter '{name}'. {suggest(name, known)}")
        checked = {n: hyper_value(self.name, n, v) for n, v in hyper.items()}
        _check_domains(self.name, checked, self.domains)
        made = replace(self, hyper=MappingProxyType({**self.hyper, **checked}), **extras)
        if COLLECTED in self.states:
            made._check_collected()
        return made

    def _check_collected(self) -> None:
        if self.needs_norm:
            raise DomainError(
                f"accumulated: {self.name} needs norm(g), which is that of one batch\n"
                f"  hint: leave out clip_norm, or clip by value"
            )

    def within(self, domains: Mapping[str, Domain]) -> Rule:
        """The rule with domains for those of its hyper-parameters that have one.

        Raises
        ------
        DomainError
            When a value lies outside.
        """
        known = {n: domains[n] for n in self.hyper if n in domains}
        _check_domains(self.name, self.hyper, known)
        return replace(self, domains=MappingProxyType(known))

    @located
    def accumulated(self, every: int) -> Rule:
        """The rule that acts in the last of every few steps, on the mean of their gradients: a larger batch in parts.

        The steps of a run, and the k of schedules, count batches; the k of the rule counts its updates. Clipping by
        value and the decay act on the gradient of each batch. A run that ends within a round is continued by the next.

        Parameters
        ----------
        every : int
            Batches of an update, at least 1.

        Raises
        ------
        DomainError
            For a rule that needs norm(g), or that takes turns already.

        Examples
        --------
        >>> import graphc as gc
        >>> print(gc.SGD(0.1).accumulated(4))
        SGD(eta=0.1, every=4)
            collected <- where(mod(k - 0.5, every) < 1, 0, collected) + g
            turn      <- floor((k - 0.5)/every) + 1
            theta     <- where(mod(k + 0.5, every) < 1, theta - eta*(collected/every), theta)
        """
        if isinstance(every, bool) or not isinstance(every, int | np.integer) or every < 1:
            raise DomainError(f"accumulated: every is {every!r}\n  hint: a whole number of at least 1, of batches")
        self._check_free("accumulated", "every", COLLECTED, TURN)
        self._check_collected()
        return self._changed(accumulated_lines(lines_of(self.text)), every=float(every))

    @located
    def in_turn(self, *which: int, of: int) -> Rule:
        """The rule that acts in some of every few steps and rests in the others; its k counts its own updates.

        Parameters
        ----------
        *which : int
            The steps of a round in which it acts, from 1.
        of : int
            The steps of a round, at most 16.

        Raises
        ------
        DomainError
            For turns that are no steps of the round, or a rule that takes turns already.

        Examples
        --------
        >>> import graphc as gc
        >>> print(gc.SGD(0.1).in_turn(2, of=2))
        SGD(eta=0.1)
            due   <- where(mod(k - 1.5, 2) < 1, 1, 0)
            turn  <- max(1, floor((k - 1.5)/2) + 1)
            theta <- where(due > 0.5, theta - eta*g, theta)
        """
        check_turns(which, of)
        self._check_free("in_turn", DUE, TURN)
        return self._changed(in_turn_lines(lines_of(self.text), sorted(which), of))

    @located
    def averaged(self, share: Any = 0.999) -> Rule:
        """The rule that keeps a running mean of the parameters beside them: ``gc.averaged(model)`` predicts with it.

        Parameters
        ----------
        share : float, Schedule or 1-D array
            How much of the mean stays in an update, in [0, 1); the mean begins with the first update.

        Examples
        --------
        >>> import graphc as gc
        >>> print(gc.SGD(0.1).averaged(0.99))
        SGD(eta=0.1, share=0.99)
            theta   <- theta - eta*g
            average <- where(k <= 1, theta, share*average + (1 - share)*theta)
        """
        self._check_free("averaged", "share", AVERAGE)
        lines = lines_of(self.text)
        made = self._changed([*lines, averaged_line(lines)], share=hyper_value(self.name, "share", share))
        return made.within({**made.domains, "share": KNOWN["rho"]})

    def _check_free(self, who: str, *names: str) -> None:
        """Refuse a rule in which a name that is to be added means something."""
        taken = {*self.hyper, *(target for target, _ in lines_of(self.text))}
        found = next((n for n in names if n in taken), None)
        if found is not None:
            message = f"{who}: the rule {self.name} has '{found}' already"
            raise DomainError(f"{message}\n  hint: take turns, collect gradients or average once")

    def _changed(self, lines: list[tuple[str, str]], **hyper: Hyper) -> Rule:
        """The rule with other lines and more hyper-parameters."""
        width = max(len(target) for target, _ in lines)
        text = "\n".join(f"{target:{width}s} <- {formula}" for target, formula in lines)
        values = {**self.hyper, **hyper}
        statements = statements_of(self.name, text, tuple(values), most=len(lines))
        states, temporaries = classified(statements)
        return replace(
            self, text=text, statements=statements, states=states, temporaries=temporaries,
            hyper=MappingProxyType(values),
        )  # fmt: skip

    def of(self, name: str) -> Rule | None:  # noqa: ARG002  rules side by side ask
        """The rule of a parameter."""
        return self

    def with_rate(self, eta: float) -> Rule:
        """With this learning rate, where it is a number."""
        return self.with_(eta=eta) if isinstance(self.hyper.get("eta"), float | int) else self

    def check_steps(self, first: int, last: int) -> None:
        """Raise DomainError when a schedule leaves its domain between two steps."""
        check_steps(self.name, self.hyper, self.domains, first, last)

    def __call__(self, eta: Any = None, **changes: Any) -> Rule:
        """The same as `with_`: `lion(eta=1e-3)`."""
        return self.with_(eta, **changes)

    def latex(self) -> str:
        """The update as aligned LaTeX lines."""
        names, parts, lines = dict(_LATEX_NAMES), {}, []
        tex = lambda e: scalar_latex(e, names)
        for target, body in self.statements:
            if isinstance(body, Reduction):
                inner = parts[str(body.args[0])]
                names[symbol_of(target)] = rf"\operatorname{{{body.word}}}\left({inner}\right)"
            elif target.startswith("_"):
                parts[target] = tex(body)
            else:
                lines.append(rf"{tex(symbol_of(target))} &\leftarrow {tex(body)}")
        return "\\begin{aligned}\n" + " \\\\\n".join(lines) + "\n\\end{aligned}"

    def _repr_latex_(self) -> str:
        return f"$${self.latex()}$$"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Rule) and self.key == other.key

    def __hash__(self) -> int:
        return hash(self.key)

    def __repr__(self) -> str:
        extras = {n: getattr(self, n) for n in _EXTRAS if getattr(self, n) is not None}
        arguments = ", ".join(f"{n}={shown(v)}" for n, v in {**self.hyper, **extras}.items())
        return f"{self.name}({arguments})"

    def __str__(self) -> str:
        width = max(len(t) for t, _ in lines_of(self.text))
        lines = (f"    {t:{width}s} <- {line}" for t, line in lines_of(self.text))
        return "\n".join([repr(self), *lines])


@located
def rule(
    name: str,
    text: str,
    *,
    clip_value: float | None = None,
    clip_norm: float | None = None,
    decay: Any = None,
    **hyper: Any,
) -> Rule:
    """An update rule from text; usable as an optimizer, and callable for a copy with other hyper-parameters.

    Parameters
    ----------
    name : str
        Shown in prints and errors.
    text : str
        Lines `name <- formula`; see the module.
    clip_value, clip_norm, decay : float, optional
        See :class:`Rule`. A text that uses the name `decay` itself gets the value as a hyper-parameter instead.
    **hyper : float, Schedule or 1-D array
        The values of the other names in the text.

    Raises
    ------
    FormulaError
        For text that is no rule: an unknown name, no line for theta, an assigned hyper-parameter, too many lines.
    """
    if not isinstance(text, str):
        raise FormulaError(f"The rule '{name}' is text of lines 'name <- formula', not {type(text).__name__}.")
    own_decay = decay is not None and re.search(r"\bdecay\b", text) is not None
    hyper = {**hyper, "decay": decay} if own_decay else hyper
    checked = {n: hyper_value(name, n, v) for n, v in hyper.items()}
    statements = statements_of(name, text, tuple(checked))
    states, temporaries = classified(statements)
    used = {s.name for _, body in statements for s in body.free_symbols}
    unused = sorted(set(checked) - used)
    if unused:
        raise FormulaError(f"The hyper-parameter '{unused[0]}' does not occur in the rule '{name}'. Leave it out.")
    extras = {"clip_value": clip_value, "clip_norm": clip_norm, "decay": None if own_decay else decay}
    given: dict[str, Any] = {n: extra_value(n, v) for n, v in extras.items()}
    return Rule(name, text.strip(), statements, states, temporaries, MappingProxyType(checked), **given)


# ---------------------------------------------------------------- values


def _check_domains(rule_name: str, hyper: Mapping[str, Hyper], domains: Mapping[str, Domain]) -> None:
    for name, value in hyper.items():
        if name in domains:
            check_hyper(rule_name, name, value, domains[name])


# ---------------------------------------------------------------- reference


def reference_step(
    rule: Rule,
    theta: np.ndarray,
    g: np.ndarray,
    state: Mapping[str, np.ndarray] | None = None,
    k: int = 1,
    norm: float | None = None,
) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """One update by NumPy: (new theta, new state). Arrays of the shape of a parameter, in the dtype of `theta`.

    `state` None means zeros; `norm` None means the norm of `g` alone.
    """
    dtype = np.asarray(theta).dtype
    norm = float(np.sqrt(np.sum(np.square(g, dtype=np.float64)))) if norm is None else norm
    statements, constants = rule.hoisted()
    values = {Symbol(n, real=True): np.float64(v) for n, v in rule.values_at(k).items()} | {K: np.float64(k)}
    values |= {symbol: _evaluate(body, values) for symbol, body in constants}
    values = {s: v.astype(dtype) for s, v in values.items()}
    values |= {G: g, THETA: theta, NORM: dtype.type(norm)}
    values |= {Symbol(n, real=True): (state or {}).get(n, np.zeros_like(theta)) for n in rule.states}
    for target, body in statements:
        whole = isinstance(body, Reduction)
        values[symbol_of(target)] = body.of(values[body.args[0]]) if whole else _evaluate(body, values)
    return values[THETA], {n: values[Symbol(n, real=True)] for n in rule.states}


def _evaluate(body: Expr, values: Mapping[Symbol, Any]) -> Any:
    symbols = tuple(sorted(body.free_symbols, key=str))
    return numpy_function(body, 0, symbols)(*(values[s] for s in symbols))
