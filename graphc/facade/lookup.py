"""Programs found by what was declared, before anything is derived, rewritten or planned.

The cache keeps, under a hash of the declaration, the facts that running a program takes: which machine code, the order
of its arguments, sizes. The hash covers every node, the options that shape a program, all sources of graphc and all
that machine code depends on, so a file found under it says what deriving everything again would say.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import numpy as np
import sympy
from numpy.typing import NDArray

import graphc
from graphc.facade.declaration import node_data
from graphc.ir.node import Equation, Leaf, Node, extent_symbols
from graphc.ir.walk import topological
from graphc.native import cache
from graphc.native.buffers import aligned
from graphc.records import record


@record(frozen=True)
class Declared:
    """What a program is made from: the hash of it, and its leaves in the order they were made."""

    key: str
    leaves: tuple[Leaf, ...]


@record(frozen=True)
class Constants:
    """What a program reads behind one pointer: ``arrays`` with their offsets in elements, and from ``first`` on the
    ``numbers`` of its formulas."""

    arrays: tuple[tuple[Leaf, int], ...] = ()
    first: int = 0
    numbers: tuple[float, ...] = ()

    @property
    def leaves(self) -> tuple[Leaf, ...]:
        """The constant arrays."""
        return tuple(leaf for leaf, _ in self.arrays)

    def packed(self, dtype: str) -> NDArray:
        """All in one array."""
        values = [(np.asarray(leaf.value, dtype=dtype).ravel(), start) for leaf, start in self.arrays]
        with np.errstate(over="ignore"):  # of 1e300 in float32, infinity as in the text
            values.append((np.asarray(self.numbers, dtype=np.float64).astype(dtype), self.first))
        found = aligned(max(1, *(start + value.size for value, start in values)), dtype)
        for value, start in values:
            found[start : start + value.size] = value
        return found

    def as_json(self, place: Mapping[Leaf, int]) -> list[Any]:
        """What is kept of them, leaves by their ``place`` in the declaration."""
        return [[(place[leaf], offset) for leaf, offset in self.arrays], self.first, self.numbers]

    @staticmethod
    def from_json(value: Sequence[Any], leaves: Sequence[Leaf]) -> Constants:
        """The constants of a declaration with these leaves."""
        arrays, first, numbers = value
        return Constants(tuple((leaves[t], int(at)) for t, at in arrays), int(first), tuple(map(float, numbers)))


@record(frozen=True)
class Facts:
    """What running a program takes of its plan.

    ``machine_code`` is the key of the object file; ``inputs`` are in the order of the arguments; a value that is not
    finite in one of ``nan_propagating`` ends a training run.
    """

    machine_code: str
    entry: str
    signature: tuple[str, ...]
    inputs: tuple[Leaf, ...]
    constants: Constants
    sizes: Mapping[str, int]
    seconds_per_step: float
    nan_propagating: tuple[Leaf, ...] = ()


def declared(roots: Mapping[str, Node], others: Sequence[Leaf], *options: object) -> Declared:
    """The roots, leaves that belong to the program beside theirs, and the options that shape it."""
    nodes = sorted(topological([*roots.values(), *others]), key=lambda node: node.serial)
    number = {node: t for t, node in enumerate(nodes)}
    described = [_description(node, number) for node in nodes]
    named = [(name, number[node]) for name, node in roots.items()]
    around = [*_surroundings(), *cache.surroundings()]
    text = json.dumps([described, named, [number[leaf] for leaf in others], [*map(str, options)], around])
    leaves = tuple(node for node in nodes if isinstance(node, Leaf))
    return Declared(hashlib.sha256(text.encode()).hexdigest(), leaves)


def _description(node: Node, number: Mapping[Node, int]) -> list[Any]:
    data = node_data(node, number) | {"origin": None}
    if isinstance(node, Equation):
        return [data, sorted(extent_symbols(node.body))]
    if isinstance(node, Leaf) and node.kind == "constant":
        array = np.ascontiguousarray(node.value)
        unnamed = data | {"name": None}  # constants are numbered through the process
        return [unnamed, str(array.dtype), list(array.shape), hashlib.sha256(array.tobytes()).hexdigest()]
    return [data]


@functools.cache
def _surroundings() -> list[Any]:
    """What shapes a program beside its declaration: all sources of graphc, versions."""
    digest = hashlib.sha256()
    folder = os.path.dirname(graphc.__file__)
    for place, _, names in sorted(os.walk(folder)):
        for name in sorted(n for n in names if n.endswith(".py")):
            with open(os.path.join(place, name), "rb") as file:
                digest.update(f"{place[len(folder) :]}/{name}\0".encode() + file.read())
    return [digest.hexdigest(), sympy.__version__, np.__version__]


def remembered(found: Declared, make: Callable[[], Any]) -> Any:
    """A small JSON value kept under a declaration, made when it is not there."""
    store = cache.open_store()
    known = store.get(found.key, cache.FACTS) if store else None
    if known is not None:
        with contextlib.suppress(ValueError):
            return json.loads(known)
    value = make()
    if store and value is not None:
        store.put(found.key, json.dumps(value).encode(), cache.FACTS)
    return value


Told = TypeVar("Told")


def recalled(found: Declared, read: Callable[[Any, Declared], Told]) -> Told | None:
    """What is kept under a declaration, read; None where there is nothing, or what is kept is something else."""
    value = remembered(found, lambda: None)
    try:
        return None if value is None else read(value, found)
    except (AttributeError, KeyError, IndexError, TypeError, ValueError):
        return None


def recall(found: Declared) -> Facts | None:
    """The facts kept under a declaration, or None."""
    return recalled(found, _facts)


def _facts(value: Mapping[str, Any], found: Declared) -> Facts:
    leaves = found.leaves
    return Facts(
        machine_code=str(value["machine_code"]),
        entry=str(value["entry"]),
        signature=tuple(value["signature"]),
        inputs=tuple(leaves[t] for t in value["inputs"]),
        constants=Constants.from_json(value["constants"], leaves),
        sizes=value["sizes"],
        seconds_per_step=float(value["seconds_per_step"]),
        nan_propagating=tuple(leaves[t] for t in value["nan_propagating"]),
    )


def remember(found: Declared, facts: Facts) -> None:
    """Keep facts under a declaration; a program with constants that rewriting made is not kept."""
    place = {leaf: t for t, leaf in enumerate(found.leaves)}
    if not all(leaf in place for leaf in (*facts.inputs, *facts.constants.leaves)):
        return
    value = {
        "machine_code": facts.machine_code,
        "entry": facts.entry,
        "signature": facts.signature,
        "inputs": [place[leaf] for leaf in facts.inputs],
        "constants": facts.constants.as_json(place),
        "sizes": facts.sizes,
        "seconds_per_step": facts.seconds_per_step,
        "nan_propagating": [place[leaf] for leaf in facts.nan_propagating],
    }
    remembered(found, lambda: value)
