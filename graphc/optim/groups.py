"""Rules side by side, each for parameters of its own: ``{"W*": gc.AdamW(1e-3), "B*": gc.Adam(1e-3), "E": None}``."""

from __future__ import annotations

import fnmatch
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any

from graphc.declare.formula import suggest
from graphc.declare.tensor import Tensor
from graphc.errors import TypeMismatchError, UnknownNameError
from graphc.ir.node import Leaf
from graphc.optim.rules import Rule
from graphc.optim.turns import AVERAGE
from graphc.optim.values import Hyper
from graphc.records import record


@record(frozen=True)
class Groups:
    """What an optimizer is in a fit where it is a dict: rules by the names of parameters, the first that matches.

    ``names`` are those of the parameters of each part, once a model has been asked for them (:meth:`assigned`). It has
    what the run asks of a :class:`Rule`; the states of all parts lie in the same places, each beside its parameters.
    """

    parts: tuple[tuple[tuple[str, ...], Rule | None], ...]
    names: tuple[tuple[str, ...], ...] = ()

    def assigned(self, names: Sequence[str]) -> Groups:
        """With the parameters of a model, each in the first part that matches it.

        Raises
        ------
        UnknownNameError
            When no part matches a parameter, or a part matches none.
        """
        found: list[list[str]] = [[] for _ in self.parts]
        for name in names:
            at = next((t for t, (patterns, _) in enumerate(self.parts) if _matches(name, patterns)), None)
            if at is None:
                raise UnknownNameError(
                    f"optimizer: no part is for the parameter {name}\n"
                    f'  hint: end with one for all others: "*": gc.Adam(1e-3), or "*": None to leave them as they are'
                )
            found[at].append(name)
        for patterns, _ in self.parts:
            lost = next((p for p in patterns if not fnmatch.filter(names, p)), None)
            if lost is not None:
                raise UnknownNameError(f"optimizer: no parameter is named {lost!r}. {suggest(lost, list(names))}")
        return replace(self, names=tuple(map(tuple, found)))

    def __iter__(self):
        """(parameters, rule) of every part."""
        return zip(self.names, (rule for _, rule in self.parts), strict=True)

    @cached_property
    def _of(self) -> dict[str, Rule | None]:
        return {name: rule for names, rule in self for name in names}

    def of(self, name: str) -> Rule | None:
        """The rule of a parameter, None where it stays as it is."""
        return self._of[name]

    @property
    def rules(self) -> list[Rule]:
        """Those of the parts that are trained."""
        return [rule for _, rule in self.parts if rule is not None]

    @property
    def name(self) -> str:
        """The names of the rules."""
        return ", ".join(dict.fromkeys(rule.name for rule in self.rules))

    @property
    def text(self) -> str:
        """What its state is kept under: the lines of every part, with its parameters."""
        return "\n".join(f"{', '.join(names)}:\n{rule.text if rule else 'as it is'}" for names, rule in self)

    @property
    def states(self) -> tuple[str, ...]:
        """As many as the part that has most."""
        return max((rule.states for rule in self.rules), key=len)

    @property
    def hyper(self) -> Mapping[str, Hyper]:
        """Those of all parts, by number of the part and name."""
        return {f"{t}_{n}": v for t, rule in enumerate(self.rules) for n, v in rule.hyper.items()}

    @property
    def needs_norm(self) -> bool:
        """Whether a part needs the norm of the gradient of its parameters."""
        return any(rule.needs_norm for rule in self.rules)

    @property
    def reduces(self) -> bool:
        """Whether in a part elements of a parameter depend on one another beyond that norm."""
        return any(rule.reduces for rule in self.rules)

    def with_(self, **changes: Any) -> Groups:
        """With other hyper-parameters, named as in ``hyper``."""
        own: dict[int, dict[str, Any]] = {}
        for name, value in changes.items():
            number, _, rest = name.partition("_")
            own.setdefault(int(number), {})[rest] = value
        numbers = iter(range(len(self.parts)))
        changed = lambda rule: rule and rule.with_(**own.get(next(numbers), {}))
        return replace(self, parts=tuple((patterns, changed(rule)) for patterns, rule in self.parts))

    def with_rate(self, eta: float) -> Groups:
        """With one learning rate wherever a number is one."""
        rated = lambda rule: rule.with_rate(eta) if rule is not None else None
        return replace(self, parts=tuple((patterns, rated(rule)) for patterns, rule in self.parts))

    def check_steps(self, first: int, last: int) -> None:
        """Raise DomainError when a schedule leaves its domain between two steps."""
        for rule in self.rules:
            rule.check_steps(first, last)

    def __repr__(self) -> str:
        return f"{{{', '.join(f'{_shown(patterns)}: {rule!r}' for patterns, rule in self.parts)}}}"


AnyRule = Rule | Groups
"""What is printed as the update of a step."""


def _matches(name: str, patterns: Sequence[str]) -> bool:
    return any(fnmatch.fnmatchcase(name, p) for p in patterns)


def _shown(patterns: Sequence[str]) -> str:
    return repr(patterns[0]) if len(patterns) == 1 else f"({', '.join(map(repr, patterns))})"


def groups(given: Mapping[Any, Any], named: Any) -> Groups:
    """A dict of rules as given: keys are names with * and ?, parameters, or tuples of them; ``named`` reads a value.

    Raises
    ------
    TypeMismatchError
        For a key that is no name, a value that is no rule, or where nothing is trained.
    """
    parts = tuple((_patterns(key), None if value is None else named(value)) for key, value in given.items())
    for _, rule in parts:
        if rule is not None and not isinstance(rule, Rule):
            message = f"optimizer: {rule!r} is no update rule, and trains all parameters"
            raise TypeMismatchError(f"{message}\n  hint: take gc.Adam(1e-3), or gc.stop_gradient(W) in the loss")
    if not any(rule for _, rule in parts):
        message = f"optimizer: nothing is trained by {dict(given)!r:.60}"
        raise TypeMismatchError(f'{message}\n  hint: give a rule to some parameters, {{"W*": "adam", "*": None}}')
    return Groups(parts)


def _patterns(key: Any) -> tuple[str, ...]:
    keys = key if isinstance(key, tuple) else (key,)
    return tuple(_pattern(k) for k in keys)


def _pattern(key: Any) -> str:
    if isinstance(key, Tensor) and isinstance(key.node, Leaf) and key.node.kind == "param":
        return str(key.node.name)
    if isinstance(key, str):
        return key
    message = f"optimizer: {key!r:.60} names no parameter"
    raise TypeMismatchError(f'{message}\n  hint: keys are names such as "W0" or "W*", parameters, or tuples of them')


def average_places(rule: AnyRule, names: Sequence[str]) -> dict[str, int]:
    """Where the running mean of each parameter lies: the number of its state; of none for rules that keep no mean."""
    states = {n: found.states for n in names if (found := rule.of(n)) is not None}
    return {n: s.index(AVERAGE) for n, s in states.items() if AVERAGE in s}
