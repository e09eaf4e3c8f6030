"""The dimensions that graphs cover, a greedy covering array over them, and how much of it some graphs cover.

A strand is one way through a graph: a value is produced, read in some way, by some reader, in a program of some kind.
Graphs hold several strands, of which some share what is produced, and some begin where another ends.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import combinations
from math import prod
from typing import Any

import numpy as np

DIMENSIONS: dict[str, tuple[str, ...]] = {
    "produced": (
        "product", "left product", "gram", "logsumexp", "softmax", "log softmax", "max", "min", "prod", "sum", "mean",
        "elementwise", "neighbours", "embedding", "cumsum", "indexed", "of two", "normalised", "chosen", "constant",
        "parameter",
    ),
    "read": (
        "straight", "transposed", "sliced", "backwards", "fixed", "gathered", "labels", "shifted", "rolled", "spread",
        "masked", "padded", "stacked", "reshaped", "several", "doubled",
    ),
    "reader": (
        "elementwise", "joined", "flattened", "sum", "mean", "max", "min", "prod", "logsumexp", "softmax",
        "left factor", "right factor", "dot", "bias", "update", "outer",
    ),
    "rows": ("none", "1", "3", "5", "13"),
    "dtype": ("float64", "float32"),
    "mode": ("training", "function", "evaluation", "sweep"),
    "threads": ("1", "2"),
    "order": ("first", "penalty", "hvp"),
    "limits": ("usual", "divided", "packed", "blocks"),
}  # fmt: skip
LIKELY = {"order": (0.6, 0.2, 0.2)}
OF_GRAPH = ("rows", "dtype", "mode", "threads", "order", "limits")
OF_STRAND = ("produced", "read", "reader")
Row = dict[str, Any]  # a value of each dimension of OF_GRAPH; "strands": [[produced, [[read, reader], ..]], ..]


def strands(row: Row) -> Iterator[tuple[str, ...]]:
    """Every strand of a graph as one value of every dimension."""
    common = [row[name] for name in OF_GRAPH]
    for produced, readers in row["strands"]:
        for read, reader in readers:
            yield (produced, read, reader, *common)


class Coverage:
    """Which pairs and triples of values some graphs hold."""

    def __init__(self) -> None:
        self.seen: Counter[tuple[tuple[int, str], ...]] = Counter()

    def add(self, row: Row) -> None:
        for strand in strands(row):
            for size in (2, 3):
                self.seen.update(combinations(enumerate(strand), size))

    def new(self, row: Row) -> float:
        """How much a graph would add; a pair counts as much as many triples."""
        found: set[tuple[tuple[int, str], ...]] = set()
        for strand in strands(row):
            found.update(combinations(enumerate(strand), 2), combinations(enumerate(strand), 3))
        return sum(40 if len(c) == 2 else 1 for c in found if c not in self.seen)

    def share(self, size: int) -> float:
        """Of all pairs (2) or triples (3), the part that occurred."""
        extents = [len(values) for values in DIMENSIONS.values()]
        return sum(len(c) == size for c in self.seen) / sum(map(prod, combinations(extents, size)))

    def missing(self) -> list[dict[str, str]]:
        """The pairs that did not occur: two dimensions, each with its value."""
        names = list(DIMENSIONS)
        values = [[(t, v) for v in levels] for t, levels in enumerate(DIMENSIONS.values())]
        pairs = [(a, b) for x, y in combinations(values, 2) for a in x for b in y]
        return [{names[t]: v for t, v in pair} for pair in pairs if pair not in self.seen]


def propose(rng: np.random.Generator, coverage: Coverage, tries: int = 24) -> Row:
    """A row that adds much: the best of some random ones, each strand steered towards a pair that is missing."""
    missing = coverage.missing()
    rows = [_random(rng, missing) for _ in range(tries)]
    return max(rows, key=coverage.new)


def _random(rng: np.random.Generator, missing: list[dict[str, str]]) -> Row:
    """One value with one or two readers; or two values, one of which may begin where the other ends.

    Graphs with second derivatives are smaller: these take long to derive.
    """
    chosen = missing[rng.integers(len(missing))] if missing else {}
    pick = lambda name: chosen.get(name) or str(rng.choice(DIMENSIONS[name], p=LIKELY.get(name)))
    row: Row = {name: pick(name) for name in OF_GRAPH}
    first = [pick("produced"), [[pick("read"), pick("reader")]]]
    others: list[Any] = []
    if row["order"] == "first" and rng.random() < 0.4:
        first[1] += _readers(rng, 1)
    elif row["order"] == "first" or rng.random() < 0.2:
        others = [[str(rng.choice(DIMENSIONS["produced"])), _readers(rng, 1 + int(rng.random() < 0.2))]]
    return row | {"strands": [first, *others] if rng.random() < 0.5 else [*others, first]}


def _readers(rng: np.random.Generator, count: int) -> list[list[str]]:
    return [[str(rng.choice(DIMENSIONS["read"])), str(rng.choice(DIMENSIONS["reader"]))] for _ in range(count)]


def covered(rows: Iterable[Row]) -> Coverage:
    coverage = Coverage()
    for row in rows:
        coverage.add(row)
    return coverage
