"""The dimensions that graphs cover, a greedy covering array over them, and how much of it some graphs cover.

A strand is one way through a graph: a value is produced, read in some way, by some reader, in a program of some kind.
Graphs hold several strands, of which some share what is produced, and some begin where another ends.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import combinations
from math import prod
from typing import Any

import numpy as np

DIMENSIONS: dict[str, tuple[str, ...]] = {
    "produced": (
        "product", "left product", "gram", "logsumexp", "softmax", "log softmax", "max", "min", "prod", "sum", "mean",
        "elementwise", "neighbours", "embedding", "cumsum", "indexed", "of two", "normalised", "chosen", "constant",
        "parameter", "scan", "convolution", "pooling", "algebra", "segments", "drawn",
    ),
    "read": (
        "straight", "transposed", "sliced", "backwards", "fixed", "gathered", "labels", "shifted", "rolled", "spread",
        "masked", "padded", "stacked", "reshaped", "several", "doubled",
        "noisy",
    ),
    "reader": (
        "elementwise", "joined", "flattened", "sum", "mean", "max", "min", "prod", "logsumexp", "softmax",
        "left factor", "right factor", "dot", "bias", "update", "outer",
    ),
    "rows": ("none", "1", "3", "5", "13"),
    "dtype": ("float64", "float32"),
    "mode": ("training", "function", "evaluation", "sweep", "two extents"),
    "threads": ("1", "2"),
    "order": ("first", "penalty", "hvp"),
    "limits": ("usual", "divided", "packed", "blocks", "in place"),
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


NUMBERS = {value: t for t, value in enumerate((name, v) for name, levels in DIMENSIONS.items() for v in levels)}


def _of(row: Row, size: int) -> set[tuple[int, ...]]:
    """The pairs (2) or triples (3) of values that a graph holds."""
    found: set[tuple[int, ...]] = set()
    for strand in strands(row):
        found.update(combinations([NUMBERS[value] for value in zip(DIMENSIONS, strand)], size))
    return found


class Coverage:
    """Which pairs and triples of values some graphs hold."""

    def __init__(self) -> None:
        self.seen: dict[int, set[tuple[int, ...]]] = {2: set(), 3: set()}  # of what NUMBERS gives
        levels = [[(name, v) for v in values] for name, values in DIMENSIONS.items()]
        pairs = [(a, b) for x, y in combinations(levels, 2) for a in x for b in y]
        self._missing = {tuple(NUMBERS[value] for value in pair): dict(pair) for pair in pairs}

    def add(self, row: Row) -> None:
        for size in self.seen:
            self.seen[size] |= _of(row, size)
        for pair in _of(row, 2):
            self._missing.pop(pair, None)

    def new(self, row: Row) -> float:
        """How much a graph would add; a pair counts as much as many triples."""
        return 20 * len(_of(row, 2) - self.seen[2]) + len(_of(row, 3) - self.seen[3])

    def share(self, size: int) -> float:
        """Of all pairs (2) or triples (3), the part that occurred."""
        extents = [len(values) for values in DIMENSIONS.values()]
        return len(self.seen[size]) / sum(map(prod, combinations(extents, size)))

    def missing(self) -> list[dict[str, str]]:
        """The pairs that did not occur: two dimensions, each with its value."""
        return list(self._missing.values())


def propose(rng: np.random.Generator, coverage: Coverage, tries: int = 64) -> Row:
    """A row that adds much: the best of some random ones, each strand steered towards a pair that is missing."""
    missing = coverage.missing()
    rows = [_random(rng, missing) for _ in range(tries)]
    return max(rows, key=coverage.new)


def _random(rng: np.random.Generator, missing: list[dict[str, str]]) -> Row:
    """One value with one or two readers; or two values, one of which may begin where the other ends.

    Graphs with second derivatives are smaller: these take long to derive.
    """
    chosen = missing[rng.integers(len(missing))] if missing else {}
    pick = lambda name: chosen.get(name) or _one(rng, name)
    row: Row = {name: pick(name) for name in OF_GRAPH}
    first = [pick("produced"), [[pick("read"), pick("reader")]]]
    others: list[Any] = []
    if row["order"] == "first" and rng.random() < 0.4:
        first[1] += _readers(rng, 1)
    elif row["order"] == "first" or rng.random() < 0.2:
        others = [[_one(rng, "produced"), _readers(rng, 1 + int(rng.random() < 0.2))]]
    return row | {"strands": [first, *others] if rng.random() < 0.5 else [*others, first]}


def _readers(rng: np.random.Generator, count: int) -> list[list[str]]:
    return [[_one(rng, "read"), _one(rng, "reader")] for _ in range(count)]


def _one(rng: np.random.Generator, name: str) -> str:
    """A value of a dimension: what ``rng.choice`` draws, in a tenth of its time."""
    levels, shares = DIMENSIONS[name], LIKELY.get(name)
    return str(rng.choice(levels, p=shares)) if shares else levels[rng.integers(len(levels))]


def covered(rows: Iterable[Row]) -> Coverage:
    coverage = Coverage()
    for row in rows:
        coverage.add(row)
    return coverage
