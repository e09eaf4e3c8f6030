"""Rules are functions in a table, with the docstring `before -> after   when`; `None` means: did not fire."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from dataclasses import field
from typing import Any

from graphc.errors import GraphcError
from graphc.records import record


@record(frozen=True)
class Rule:
    """One rewriting rule: `apply(before)` gives the rewritten thing, or None when the rule does not fit.

    `of` is the class of what it is tried on, where its table holds rules for several.
    """

    name: str
    apply: Callable[[Any], Any]
    before: str
    after: str
    when: str
    why: str
    of: type | None = None

    def __call__(self, thing: Any) -> Any:
        return self.apply(thing)

    def __str__(self) -> str:
        return f"{self.name}: {self.before} -> {self.after}" + (f"   {self.when}" if self.when else "")


@record
class Table:
    """An ordered list of rules with a name; the table in the documentation is printed from it."""

    name: str
    rules: list[Rule] = field(default_factory=list)

    def __iter__(self) -> Iterator[Rule]:
        return iter(self.rules)

    def __len__(self) -> int:
        return len(self.rules)

    def __getitem__(self, name: str) -> Rule:
        return next(r for r in self.rules if r.name == name)

    def __str__(self) -> str:
        return "\n".join(map(str, self.rules))


@record(frozen=True)
class RuleFired:
    """One application of a rule, for the report: what stood there, what stands there now, and why."""

    name: str
    before: Any
    after: Any
    why: str

    def __str__(self) -> str:
        return f"{self.name}: {self.before} -> {self.after}   ({self.why})"


TRIGGERS: set[type] = set()
"""An expression without any of these functions is not looked at."""


def rule(
    table: Table, *, of: type | None = None, triggers: Collection[type] = ()
) -> Callable[[Callable[[Any], Any]], Rule]:
    """Decorator: put a function into `table`.

    Its docstring is `before  ->  after   when ...` on the first line; the further lines, if any, say why.

    Parameters
    ----------
    table
        Says what the rule is tried on: powers, products, sums, functions.
    of
        The class of what it is tried on, such as log; None for all that the table is for.
    triggers
        Functions that expressions must hold for rules to be tried; add what no other rule has named.
    """

    def add(function: Callable[[Any], Any]) -> Rule:
        first, _, rest = (function.__doc__ or "").strip().partition("\n")
        before, arrow, after = first.partition("->")
        if not arrow:
            raise GraphcError(f"The docstring of rule {function.__name__} must read 'before -> after   when'.")
        after, _, when = after.strip().partition("   ")
        why = " ".join(rest.split()) or when.strip()
        made = Rule(function.__name__, function, before.strip(), after.strip(), when.strip(), why, of)
        TRIGGERS.update(triggers)
        table.rules.append(made)
        return made

    return add
