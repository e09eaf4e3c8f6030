"""The one node: ``out[free..] = reduce_{bound.. : masks} body(reads..)``.

``Leaf`` is declared data or a parameter, ``Equation`` everything that is computed.  Both are hash-consed or unique, so
that *equal means identical*.  Names and source lines are annotations: they are not part of what an equation is.
Equations are made by :func:`graphc.ir.build.equation`, which brings them to canonical form.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

import sympy

from graphc.ir.affine import Affine, Extent, Size, gathers
from graphc.ir.parts import symbols_of

Reducer = Literal[
    "sum", "max", "min", "prod", "logsumexp", "inverse", "cholesky", "det", "logabsdet", "detsign"
]  # fmt: skip
DENSE: dict[str, int] = {"inverse": 2, "cholesky": 2, "det": 0, "logabsdet": 0, "detsign": 0}
"""Reducers of a whole matrix, with the axes of their result: out[b.., i, j] = inverse_{k, l} A[b.., k, l]."""
REDUCERS: dict[Reducer, float] = {
    "sum": 0.0,
    "max": float("-inf"),
    "min": float("inf"),
    "prod": 1.0,
    "logsumexp": float("-inf"),
    **dict.fromkeys(("inverse", "cholesky", "det", "logabsdet", "detsign"), 0.0),
}  # each with its identity, the value of an empty reduction

MaskKind = Literal["ge", "eq", "ne", "divides"]
LeafKind = Literal["input", "param", "constant", "random", "state", "phase", "step"]
LeafType = Literal["float", "int"]
Drawn = Literal["normal", "uniform", "bernoulli"]
_serials = itertools.count()


@dataclass(frozen=True, slots=True)
class Origin:
    """The user's line that declared a node."""

    file: str
    line: int

    def __str__(self) -> str:
        name = CELLS.get(self.file) or self.file.replace(chr(92), "/").rsplit("/", 1)[-1]
        return f"{name}:{self.line}"


CELLS: dict[str, str] = {}
"""What the reader of a notebook calls the files that its cells are for Python: In[3]."""


@dataclass(frozen=True, slots=True)
class Mask:
    """An Iverson predicate of an index map: ``map >= 0``, ``== 0``, ``!= 0`` or ``modulus | map``."""

    kind: MaskKind
    map: Affine
    modulus: int = 0


class Node:
    """What an equation can read: a leaf or another equation."""

    __slots__ = ("__weakref__", "name", "origin", "serial")
    extents: tuple[Extent, ...]

    def __init__(self) -> None:
        self.serial = next(_serials)
        self.name: str | None = None
        self.origin: Origin | None = None

    @property
    def shape(self) -> tuple[Extent, ...]:
        raise NotImplementedError

    @property
    def rank(self) -> int:
        return len(self.shape)


@dataclass(frozen=True, slots=True)
class Distribution:
    """What a random leaf is drawn from: standard normal, uniform in [0, 1), or 1 with probability p and else 0."""

    kind: Drawn
    p: float = 0.5

    @property
    def mean(self) -> float:
        """What stands for it in predict and evaluate."""
        return {"normal": 0.0, "uniform": 0.5, "bernoulli": self.p}[self.kind]

    @property
    def interval(self) -> tuple[float, float]:
        """Between which numbers it lies: log 2**-53 bounds what Box and Muller give."""
        return (-9.0, 9.0) if self.kind == "normal" else (0.0, 1.0)

    @property
    def limit(self) -> int:
        """Random words of 32 bits below it are 1."""
        return round(self.p * 2.0**32) if self.kind == "bernoulli" else 0


class Leaf(Node):
    """Declared data (``input``), a parameter (``param``) or a constant array; every declaration is a new leaf.

    Three more belong to training: ``random``, drawn anew in every step; ``state``, which a step sets to its ``update``;
    ``phase``, 1 in training and 0 otherwise (:mod:`graphc.rewrite.modes`).  ``step`` has a value within the steps of a
    scan alone (:mod:`graphc.ir.scan`).

    ``dtype`` is "float" or "int"; ``bound`` limits the values of integer data that serve as an index;
    ``value`` holds what the declaration carries along (initialiser, constant array, distribution), ``constraint`` what
    a parameter is set to after every update.
    """

    __slots__ = ("bound", "constraint", "dtype", "kind", "leaf_shape", "update", "value")

    def __init__(
        self,
        name: str,
        shape: tuple[Extent, ...],
        kind: LeafKind,
        dtype: LeafType = "float",
        value: Any = None,
        bound: int | None = None,
        constraint: Any = None,
    ) -> None:
        super().__init__()
        self.name, self.leaf_shape, self.kind = name, tuple(shape), kind
        self.dtype, self.value, self.bound, self.constraint = dtype, value, bound, constraint
        self.update: Node | None = None

    @property
    def shape(self) -> tuple[Extent, ...]:
        return self.leaf_shape

    def __repr__(self) -> str:
        return f"{self.name}[{', '.join(map(str, self.shape))}]"


@dataclass(frozen=True, slots=True)
class Read:
    """node[at..]: the value of another node at a place that the indices give."""

    node: Node
    at: tuple[Affine, ...]


@dataclass(frozen=True, slots=True)
class Indicator:
    """1 where the mask holds, else 0."""

    mask: Mask


@dataclass(frozen=True, slots=True)
class Position:
    """The index map itself as a number."""

    map: Affine


Operand = Read | Indicator | Position


class Equation(Node):
    """out[free..] = reduce_{bound.. : masks} body(a0, a1, ..), a_j the value of operand j.

    ``reads`` are the operands that read nodes, ``labels`` the nodes whose numbers are places, ``sources`` the nodes
    read, both kinds, each once and in order.
    """

    __slots__ = ("body", "extents", "labels", "masks", "n_free", "operands", "reads", "reducer", "sources")

    def __init__(
        self,
        extents: tuple[Extent, ...],
        n_free: int,
        reducer: Reducer,
        body: sympy.Expr,
        operands: tuple[Operand, ...],
        masks: tuple[Mask, ...],
    ) -> None:
        super().__init__()
        self.extents, self.n_free = extents, n_free
        self.reducer: Reducer = reducer
        self.body, self.operands, self.masks = body, operands, masks
        self.reads = tuple(op for op in operands if isinstance(op, Read))
        maps = [m for op in operands for m in operand_maps(op)] + [m.map for m in masks]
        self.labels = tuple(dict.fromkeys(g.node for m in maps for g in gathers(m)))
        self.sources: tuple[Node, ...] = tuple(dict.fromkeys([*(op.node for op in self.reads), *self.labels]))

    @property
    def shape(self) -> tuple[Extent, ...]:
        return self.extents[: self.n_free]

    @property
    def bound(self) -> tuple[Extent, ...]:
        return self.extents[self.n_free :]

    @property
    def elementwise(self) -> bool:
        """No reduction; masks are allowed (the value is 0 where they fail)."""
        return len(self.extents) == self.n_free

    @property
    def dense(self) -> bool:
        """A function of whole matrices: what it reads is one node, as it stands."""
        return self.reducer in DENSE


def operand_maps(operand: Operand) -> tuple[Affine, ...]:
    """The index maps an operand holds."""
    if isinstance(operand, Read):
        return operand.at
    return (operand.mask.map,) if isinstance(operand, Indicator) else (operand.map,)


def extent_symbol(extent: Extent) -> sympy.Expr:
    """The extent as it stands in a body: a number or the symbol of a free extent."""
    if isinstance(extent, int):
        return sympy.Integer(extent)
    return sympy.Symbol(extent, positive=True, integer=True)


@lru_cache(maxsize=4096)
def extent_symbols(body: sympy.Expr) -> frozenset[str]:
    """Names of the free extents that a body divides or multiplies by."""
    return frozenset(s.name for s in symbols_of(body) if s.is_integer and s.is_positive)


def free_sizes(node: Equation) -> frozenset[str]:
    """Free extents whose run-time size an equation needs beyond its own loops."""
    maps = [m for op in node.operands for m in operand_maps(op)] + [mask.map for mask in node.masks]
    return extent_symbols(node.body) | {a.name for m in maps for a, _ in m.terms if isinstance(a, Size)}
