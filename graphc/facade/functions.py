"""The programs of compiled functions: found by what was declared, or derived, planned, printed and compiled."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from graphc.facade.lookup import Constants, Declared, declared, remembered
from graphc.facade.pipeline import read_graph
from graphc.facade.programs import (
    FunctionText,
    build_text,
    constants_of,
    function_text,
    verdict_key,
)
from graphc.ir.affine import Extent
from graphc.ir.node import Leaf, Node
from graphc.ir.walk import free_extents
from graphc.ir.walk import leaves as leaves_of
from graphc.lower.layout import Count
from graphc.lower.plan import PlanOptions
from graphc.native import cache
from graphc.native.build import Program, find

NAME = "function"


@dataclass(frozen=True)
class FunctionFacts:
    """What calling a function takes of its plan.

    ``arguments`` are in the order of the program's inputs, ``outputs`` the extents of the results, ``sizes`` the free
    extents in the order in which the program reads them, ``arena`` the elements it needs.
    """

    machine_code: str
    signature: tuple[str, ...]
    arguments: tuple[Leaf, ...]
    constants: Constants
    outputs: tuple[tuple[Extent, ...], ...]
    sizes: tuple[str, ...]
    arena: Count


@dataclass(frozen=True)
class CompiledFunction:
    """A program ready to be called; ``lower`` makes its text anew, ``key`` is that of its verdict."""

    facts: FunctionFacts
    program: Program
    constants: NDArray
    lower: Callable[..., FunctionText]
    rewritten: Callable[[], Sequence[Node]]
    key: str


def obtain_function(
    outputs: Sequence[Node], positional: Sequence[Leaf], dtype: str, written: Sequence[Leaf] = ()
) -> CompiledFunction:
    """The program from ``positional`` arguments, and those left over, to ``outputs``; ``written`` are the leaves of the
    outputs as they were written."""

    def rewritten() -> Sequence[Node]:
        return [*read_graph({f"y{t}": y for t, y in enumerate(outputs)}).roots.values()]

    def lower(apart: bool = False) -> FunctionText:
        roots = rewritten()
        others = [leaf for leaf in leaves_of(roots) if leaf.kind != "constant" and leaf not in positional]
        taken = [*positional, *others]
        options = PlanOptions(dtype, apart=apart)
        return function_text(NAME, roots, [*taken, *_sizing(roots, taken, written)], options)

    order = [f"argument {leaf.name}" for leaf in positional]
    found = declared({f"y{t}": y for t, y in enumerate(outputs)}, positional, "compile", order, dtype)
    value = remembered(found, lambda: None)
    facts = _from_json(value, found) if value else None
    program = find(facts.machine_code, {"call": facts.signature}, name=NAME) if facts else None
    if facts is None or program is None:
        text = lower()
        facts, program = facts_of_function(text), build_text(text.text)
        if _kept(facts, found):
            remembered(found, lambda: _to_json(facts, found))
    key = verdict_key(found, facts.machine_code)
    return CompiledFunction(facts, program, facts.constants.packed(dtype), lower, rewritten, key)


def _sizing(roots: Sequence[Node], taken: Sequence[Leaf], written: Sequence[Leaf]) -> list[Leaf]:
    """Leaves that only tell how large the free extents are of what nothing else tells, such as a gradient of zeros."""
    unknown = free_extents(roots) - {e for leaf in taken for e in leaf.shape}
    found: list[Leaf] = []
    for leaf in written:
        if unknown & set(leaf.shape) and leaf not in taken:
            found.append(leaf)
            unknown -= set(leaf.shape)
    return found


def facts_of_function(made: FunctionText) -> FunctionFacts:
    """What of a text and its plan is needed to call the program."""
    text = made.text
    return FunctionFacts(
        machine_code=cache.key_of(text.text, {text.entry: text.signature}),
        signature=text.signature,
        arguments=tuple(leaf for leaf, _ in made.inputs),
        constants=constants_of(made.constants, text),
        outputs=tuple(b.extents for b in made.outputs),
        sizes=tuple(made.sizes),
        arena=made.plan.arena,
    )


def _kept(facts: FunctionFacts, found: Declared) -> bool:
    """A program with constants that rewriting made is not kept."""
    return {*facts.arguments, *facts.constants.leaves} <= set(found.leaves)


def _to_json(facts: FunctionFacts, found: Declared) -> dict[str, Any]:
    place = {leaf: t for t, leaf in enumerate(found.leaves)}
    return {
        "machine_code": facts.machine_code,
        "signature": facts.signature,
        "arguments": [place[leaf] for leaf in facts.arguments],
        "constants": facts.constants.as_json(place),
        "outputs": facts.outputs,
        "sizes": facts.sizes,
        "arena": facts.arena.terms,
    }


def _from_json(value: Mapping[str, Any], found: Declared) -> FunctionFacts:
    leaves = found.leaves
    return FunctionFacts(
        machine_code=value["machine_code"],
        signature=tuple(value["signature"]),
        arguments=tuple(leaves[t] for t in value["arguments"]),
        constants=Constants.from_json(value["constants"], leaves),
        outputs=tuple(map(tuple, value["outputs"])),
        sizes=tuple(value["sizes"]),
        arena=Count(tuple((tuple(names), coef) for names, coef in value["arena"])),
    )
