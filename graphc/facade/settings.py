"""What each copy of a sweep has of its own: hyper-parameters, values of inputs without axes, a seed."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from graphc.errors import DomainError, NameClashError, TypeMismatchError
from graphc.ir.affine import Extent
from graphc.ir.node import Leaf
from graphc.optim import Rule
from graphc.records import record
from graphc.run.data import bind

COLUMNS = ("seed", "initial", "loss", "best_loss", "steps", "stopped", "verdict")  # of the table of a sweep


@record(frozen=True)
class Setting:
    """One copy: its rule with a number for every hyper-parameter, its seed, its values of the swept inputs."""

    rule: Rule
    seed: int
    inputs: tuple[float, ...] = ()


def read_seeds(seeds: Any) -> list[int]:
    """``4`` means the seeds 0 to 3; a sequence gives them one by one.

    Raises
    ------
    TypeMismatchError, DomainError
        For anything else, for no seed at all, for a negative one.
    """
    whole = lambda value: isinstance(value, int | np.integer) and not isinstance(value, bool)
    if whole(seeds):
        if seeds < 1:
            raise DomainError(f"sweep: seeds is {seeds}\n  hint: give at least 1")
        return list(range(int(seeds)))
    if not isinstance(seeds, Sequence | np.ndarray) or isinstance(seeds, str) or not all(map(whole, seeds)):
        raise TypeMismatchError(f"sweep: seeds is {seeds!r:.60}\n  hint: give a whole number or a list of them")
    if not len(seeds) or min(seeds) < 0:
        raise DomainError(f"sweep: seeds is {seeds!r:.60}\n  hint: give whole numbers of at least 0")
    return [int(s) for s in seeds]


def grid(
    rule: Rule, seeds: Sequence[int], paired: bool = False, inputs: Mapping[Leaf, Sequence[float]] | None = None
) -> tuple[list[str], list[Setting]]:
    """The swept hyper-parameters, eta first, and every copy: for every combination of their values, then of those of
    inputs, with every seed, or with ``paired`` for value t of each with seed t.

    Raises
    ------
    DomainError
        When there are not as many of one as of another to make pairs of.
    NameClashError
        When an input has the name of a hyper-parameter that is swept, too, or of a column of the table.
    """
    swept = [name for name, value in rule.hyper.items() if isinstance(value, np.ndarray)]
    swept.sort(key=lambda name: name.rpartition("_")[2] != "eta")  # of rules for groups it has a number before it
    values: list[Any] = [rule.hyper[name].tolist() for name in swept]  # pyright: ignore[reportAttributeAccessIssue]
    own = {str(leaf.name): list(given) for leaf, given in (inputs or {}).items()}
    _check_names(own, swept)
    columns = [*values, *own.values(), list(seeds)]
    if paired:
        rows = zip(*_of_one_length([*swept, *own, "seeds"], columns), strict=True)
    else:
        rows = itertools.product(*columns)
    count = len(swept)
    made = lambda row: Setting(rule.with_(**dict(zip(swept, row, strict=False))), row[-1], row[count:-1])
    return swept, [made(row) for row in rows]


def _check_names(inputs: Collection[str], swept: Sequence[str]) -> None:
    for name in inputs:
        if name in swept or name in COLUMNS:
            what = "a hyper-parameter that is swept, too" if name in swept else "a column of the table of a sweep"
            raise NameClashError(f"sweep: the input {name} has the name of {what}\n  hint: declare it by another name")


def _of_one_length(names: Sequence[str], columns: Sequence[list]) -> list[list]:
    """The columns, one of a single value repeated."""
    counts = {name: len(column) for name, column in zip(names, columns, strict=True)}
    longest = max(counts.values())
    if any(count not in (1, longest) for count in counts.values()):
        told = ", ".join(f"{count} of {name}" for name, count in counts.items())
        raise DomainError(f"sweep: paired values must be equally many, but there are {told}\n"
                          f"  hint: leave paired out for every combination")  # fmt: skip
    return [column * (longest // len(column)) for column in columns]


# ---------------------------------------------------------------- inputs


def separated(inputs: Sequence[Leaf], args: Sequence[Any]) -> tuple[Sequence[Any], dict[Leaf, list[Any]]]:
    """Data with the first value of every input without axes that was given several, and all of these.

    Raises
    ------
    DomainError
        When there is no value.
    """
    by_name = len(args) == 1 and isinstance(args[0], Mapping)
    given: dict[Any, Any] = dict(args[0]) if by_name else dict(enumerate(args))
    if not by_name and len(args) != len(inputs):
        return args, {}
    several: dict[Leaf, list[Any]] = {}
    for place, leaf in enumerate(inputs):
        key = str(leaf.name) if by_name else place
        if leaf.shape == () and key in given and np.ndim(given[key]) == 1:
            several[leaf] = np.asarray(given[key]).tolist()
            if not several[leaf]:
                raise DomainError(f"sweep: {leaf.name} has no values\n  hint: give at least one")
            given[key] = several[leaf][0]
    return ([given] if by_name else list(given.values())), several


def as_read(
    several: Mapping[Leaf, Sequence[Any]], dtype: str, limits: Mapping[Leaf, Collection[Extent]]
) -> dict[Leaf, dict[float, NDArray]]:
    """Every value of the swept inputs as an array that a program reads, checked like data."""
    one = lambda leaf, value: bind((leaf,), (value,), dtype, limits, "sweep").arrays[leaf]
    return {leaf: {value: one(leaf, value) for value in values} for leaf, values in several.items()}


def completed(inputs: Sequence[Leaf], args: Sequence[Any], own: Mapping[Leaf, Any]) -> tuple[Sequence[Any], list[Leaf]]:
    """Data for all inputs, where those that every copy has a value of its own for may be left out; which were."""
    if len(args) == 1 and isinstance(args[0], Mapping):
        missing = [leaf for leaf in own if str(leaf.name) not in args[0]]
        return [{**args[0], **{str(leaf.name): own[leaf] for leaf in missing}}], missing
    if not own or len(args) != len(inputs) - len(own):
        return args, []
    rest = iter(args)
    return [own[leaf] if leaf in own else next(rest) for leaf in inputs], [*own]
