"""The programs of compiled functions: found by what was declared, or derived, planned, printed and compiled."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from graphc.emit.bounds import bounded_function
from graphc.facade.lookup import Constants, Declared, declared, recalled, remembered
from graphc.facade.pipeline import read_graph
from graphc.facade.programs import (
    OPERATIONS,
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
from graphc.lower.kernels import work_of
from graphc.lower.layout import Count
from graphc.lower.plan import PlanOptions
from graphc.native import cache
from graphc.native.buffers import address, aligned
from graphc.native.build import Program, find
from graphc.native.gc_pause import at_rest
from graphc.records import record
from graphc.rewrite.weights import depends_across_rows, depends_on
from graphc.run import bounds
from graphc.run.row_parts import RowParts, share_parts

NAME = "function"
ROWS, MOST_ROWS = 256, 8192  # of independent rows, that go through a function at once
MEMORY = 1 << 18  # bytes of the values of so many: a part of the second-level cache


@record(frozen=True)
class FunctionFacts:
    """What calling a function takes of its plan.

    ``arguments`` are in the order of the program's inputs, ``outputs`` the extents of the results, ``sizes`` the free
    extents in the order in which the program reads them, ``arena`` the elements it needs. Where all rows are
    independent, ``row_seconds`` are what one is expected to take, else 0.
    """

    machine_code: str
    signature: tuple[str, ...]
    arguments: tuple[Leaf, ...]
    constants: Constants
    outputs: tuple[tuple[Extent, ...], ...]
    sizes: tuple[str, ...]
    arena: Count
    row_seconds: float = 0.0

    def shapes(self, sizes: Mapping[str, int]) -> list[tuple[int, ...]]:
        """Of the outputs."""
        return [tuple(e if isinstance(e, int) else sizes[e] for e in extents) for extents in self.outputs]


@record(frozen=True)
class CompiledFunction:
    """A program ready to be called; ``lower`` makes its text anew, ``key`` is that of its verdict."""

    facts: FunctionFacts
    program: Program
    constants: NDArray
    lower: Callable[..., FunctionText]
    rewritten: Callable[[], Sequence[Node]]
    key: str


def obtain_function(
    outputs: Sequence[Node],
    positional: Sequence[Leaf],
    dtype: str,
    written: Sequence[Leaf] = (),
    check_bounds: bool = False,
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
        made = function_text(NAME, roots, [*taken, *_sizing(roots, taken, written)], options)
        if check_bounds and not apart:
            made.text = bounded_function(made.text, made.plan, made.constants, len(made.sizes))
        return made

    order = [f"argument {leaf.name}" for leaf in positional]
    more = ["check_bounds"] if check_bounds else []
    found = declared({f"y{t}": y for t, y in enumerate(outputs)}, positional, "compile", order, dtype, *more)
    facts = recalled(found, _from_json)
    program = find(facts.machine_code, {"call": facts.signature}, name=NAME) if facts else None
    if facts is None or program is None:
        with at_rest():
            text = lower()
            facts, program = facts_of_function(text), build_text(text.text)
        if _kept(facts, found):
            remembered(found, lambda: _to_json(facts, found))
    key = verdict_key(found, facts.machine_code)
    if check_bounds:
        program.told = lambda: lower().text
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
        row_seconds=_row_seconds(made),
    )


def _row_seconds(made: FunctionText) -> float:
    """What a row is expected to take where the rows of arguments and results are independent of one another, else 0."""
    roots = [*made.plan.roots.values()]
    shapes = [leaf.shape for leaf, _ in made.inputs] + [b.extents for b in made.outputs]
    if len(made.sizes) != 1 or any(leaf.kind == "random" for leaf in leaves_of(roots)):
        return 0.0
    [free] = made.sizes
    whole = any(free not in root.shape and depends_on(root, free) for root in roots)
    if whole or any(free in shape[1:] for shape in shapes) or depends_across_rows(roots, free):
        return 0.0
    return sum(work_of(k, {free: ROWS}) for k in made.plan.kernels) / OPERATIONS / ROWS


def call_function(
    program: Program,
    facts: FunctionFacts,
    constants: NDArray,
    arrays: Sequence[NDArray],
    sizes: Mapping[str, int],
    arena: NDArray | None = None,
) -> list[NDArray]:
    """The outputs for converted arguments; many independent rows in parts that threads share. ``arena`` is memory to
    work in."""
    dtype, shapes = constants.dtype, facts.shapes(sizes)
    outputs = [aligned(math.prod(s), str(dtype))[: math.prod(s)].reshape(s) for s in shapes]
    parts = _parts(facts, sizes, dtype.itemsize) if facts.row_seconds and arena is None else None

    if parts is None:
        memory = aligned(facts.arena.at(sizes), str(dtype)) if arena is None else arena
        control = np.array([sizes[s] for s in facts.sizes] or [0], dtype=np.int64)
        given = [memory, constants, control, *arrays, *outputs]
        _call(program, control, given, [address(a) for a in given], [0] * len(given))
        return outputs
    [free] = facts.sizes
    pieces, places, skips = parts.of(sizes[free]), parts.places(arrays, outputs), parts.skipped(arrays, outputs)

    def work(k: int) -> None:
        memory, control = aligned(facts.arena.at({free: parts.chunk}), str(dtype)), np.zeros(1, np.int64)
        given = [memory, constants, control, *arrays, *outputs]
        head = [address(a) for a in given[:3]]
        for first in range(pieces[k].start, pieces[k].stop, parts.chunk):
            control[0] = min(parts.chunk, pieces[k].stop - first)
            _call(program, control, given, [*head, *places(first)], [0, 0, 0, *skips(first)])

    share_parts(len(pieces), work)
    return outputs


def bound_function(
    compiled: CompiledFunction,
    arrays: Sequence[NDArray],
    sizes: Mapping[str, int],
    outputs: Sequence[NDArray],
    memory: NDArray | None = None,
) -> tuple[Program, list[NDArray], NDArray]:
    """The program, its arguments for converted arrays and memory of the results, all rows at once, and the control
    words among them. ``memory`` is memory to work in."""
    program, facts = compiled.program, compiled.facts
    memory = aligned(facts.arena.at(sizes), str(compiled.constants.dtype)) if memory is None else memory
    control = np.zeros(max(len(facts.sizes), 1) + bounds.room(program), np.int64)
    given = [memory, compiled.constants, control, *arrays, *outputs]
    bounds.tell(program, control, given)
    control[: len(facts.sizes)] = [sizes[s] for s in facts.sizes]
    return program, given, control


def _call(
    program: Program, control: NDArray, arrays: Sequence[NDArray], places: Sequence[int], skipped: Sequence[int]
) -> None:
    """One call with arrays at places so many elements into them, of which a program that checks them is told."""
    if not program.told:
        program.call("call", *places)
        return
    words = np.concatenate([control, np.zeros(bounds.room(program), np.int64)])
    bounds.tell(program, words, arrays, skipped)
    program.call("call", *places[:2], address(words), *places[3:])
    bounds.look(program, words)


def rows_in_cache(facts: FunctionFacts, itemsize: int) -> int:
    """How many rows go through a function at once; 0 where they are not independent."""
    if not facts.row_seconds:
        return 0
    [free] = facts.sizes
    row = max(1, facts.arena.at({free: ROWS}) * itemsize // ROWS)
    return max(ROWS, min(MOST_ROWS, 1 << (MEMORY // row).bit_length()))


def _parts(facts: FunctionFacts, sizes: Mapping[str, int], itemsize: int) -> RowParts | None:
    """How many rows are divided; None where all go through the program at once."""
    [free] = facts.sizes
    chunk = rows_in_cache(facts, itemsize)
    if sizes[free] <= chunk:
        return None
    has_rows = lambda extents: extents[:1] == (free,)
    inputs, outputs = [has_rows(leaf.shape) for leaf in facts.arguments], [*map(has_rows, facts.outputs)]
    return RowParts(inputs, outputs, chunk, facts.row_seconds * chunk)


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
        "row_seconds": facts.row_seconds,
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
        row_seconds=value["row_seconds"],
    )
