"""Records are dataclasses: the same to whoever makes, compares, prints, copies or changes one."""

from __future__ import annotations

import copy
import dataclasses
import inspect
import pickle
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

from graphc import records


def classes(kind: Callable[..., Any]) -> dict[str, Any]:
    """The same declarations by ``dataclass`` and by ``record``."""

    @kind
    class Plain:
        """Mutable."""

        a: int
        b: list[int] = field(default_factory=list)
        c: float = 2.0

    @kind(frozen=True)
    class Frozen:
        """With what is not shown, and what is set by name alone."""

        a: int
        hidden: int = field(default=3, repr=False)
        named: str = field(default="x", kw_only=True)

        def __post_init__(self) -> None:
            object.__setattr__(self, "hidden", self.hidden + 1)

    @kind(frozen=True)
    class Derived(Frozen):
        """With a field more."""

        more: int = 7

    @kind(frozen=True, eq=False)
    class Single:
        """Equal to itself alone."""

        a: int

    @kind
    class Empty:
        """No fields."""

    class Free(Frozen):
        """No record itself: what is no field may be set."""

    return {c.__name__: c for c in (Plain, Frozen, Derived, Single, Empty, Free)}


CALLS = ["Plain(1)", "Plain(1, [2], c=4.0)", "Frozen(1)", "Frozen(1, 2, named='y')", "Derived(1, more=5)", "Single(1)",
         "Empty()", "Free(4)"]  # fmt: skip
ACTS: dict[str, Callable[[Any], Any]] = {
    "printed": repr,
    "fields": lambda x: [(f.name, f.type) for f in dataclasses.fields(x)],
    "signature": lambda x: str(inspect.signature(type(x))),
    "pattern": lambda x: type(x).__match_args__,
    "as a dict": dataclasses.asdict,
    "replaced": lambda x: repr(dataclasses.replace(x, a=9)),
    "copied": lambda x: (repr(copy.deepcopy(x)), copy.copy(x) == x),
    "equal": lambda x: (x == copy.deepcopy(x), x == 1, x == x),
    "hashed": hash,
    "changed": lambda x: (setattr(x, "a", 5), repr(x)),
    "grown": lambda x: (setattr(x, "new", 5), x.new),
    "deleted": lambda x: (delattr(x, "a"), hasattr(x, "a")),
    "too many": lambda x: repr(type(x)(1, 2, 3, 4, 5, 6)),
    "too few": lambda x: repr(type(x)()),
}


def outcome(kind: Callable[..., Any], call: str, act: Callable[[Any], Any]) -> object:
    try:
        found = act(eval(call, classes(kind)))  # noqa: S307
    except (TypeError, AttributeError) as error:
        return type(error), str(error)
    return "some number" if act is hash and "Single" in call else found


@pytest.mark.parametrize("name", ACTS)
@pytest.mark.parametrize("call", CALLS)
def test_a_record_does_what_a_dataclass_does(call, name):
    """Mutation-checked: hashes of classes that change, fields by name before others, and hidden ones shown are seen."""
    assert outcome(records.record, call, ACTS[name]) == outcome(dataclass, call, ACTS[name])


@records.record(frozen=True)
class Kept:
    """What is pickled by the name of its class."""

    a: int
    b: tuple[int, ...] = ()


def test_records_are_pickled_and_keep_their_lists_to_themselves():
    kept = Kept(1, (2, 3))
    assert pickle.loads(pickle.dumps(kept)) == kept  # noqa: S301
    plain = classes(records.record)["Plain"]
    assert plain(1).b is not plain(1).b


def texts_compiled(monkeypatch: pytest.MonkeyPatch, kind: Callable[..., Any]) -> int:
    made = []
    for module in (dataclasses, records):
        counted = lambda *args: (made.append(args), exec(*args))  # noqa: S102
        monkeypatch.setattr(module, "exec", counted, raising=False)
    classes(kind)
    return len(made)


def test_a_record_compiles_one_text_when_the_first_is_made(monkeypatch):
    """``help`` and ``inspect`` ask for it, too."""
    assert texts_compiled(monkeypatch, dataclass) > 20
    assert texts_compiled(monkeypatch, records.record) == 0
    made = []
    monkeypatch.setattr(records, "exec", lambda *args: (made.append(args), exec(*args)), raising=False)  # noqa: S102

    @records.record
    class Point:
        x: int
        y: int = 2

    assert not made
    assert (Point(1), Point(1, 3)) == (Point(x=1, y=2), Point(1, y=3)) and len(made) == 1
    assert str(inspect.signature(Point)) == "(x: 'int', y: 'int' = 2) -> None"
